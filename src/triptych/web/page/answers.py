"""An answer as HTML: a bar a label, words with times, a box drawn in, a text; and what each given input counted for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from triptych.use.influence import said_labels
from triptych.use.opened import Run

BARS = 6
"""Labels that are shown at once; the others unfold."""


def answer_html(run: Run, tasks: Mapping[str, dict[str, Any]], boxed: Mapping[str, str], seconds: float) -> str:
    """All tasks' answers; `boxed` has the drawings of those that say a box."""
    ordered = sorted(tasks.items(), key=lambda pair: run.recipe.tasks[pair[0]].kind == "contrast")
    parts = [_task(run, name, answer, boxed.get(name, "")) for name, answer in ordered]
    return f"<div class='answers'>{''.join(parts)}<p class='quiet' role='status'>answered in {seconds:.2f} s</p></div>"


def _task(run: Run, name: str, answer: Mapping[str, Any], drawn: str) -> str:
    kind = run.recipe.tasks[name].kind
    if kind == "contrast":
        return _nearest(name, answer)
    said = escape(str(answer.get("said", "")))
    if answer.get("why_not"):
        inside = f"<p class='quiet'>not asked: {escape(str(answer['why_not']))}</p>"
    elif answer.get("probabilities"):
        inside = f"<p class='said'>{said}</p>{_bars(answer)}"
    elif "words" in answer:
        inside = f"<blockquote>{said or '<em>nothing was heard</em>'}</blockquote>{_words(answer)}"
    elif kind == "generate":
        inside = f"<blockquote>{said}</blockquote>"
    else:
        sure = f"<p class='quiet'>confidence {_percent(answer['confidence'])}</p>" if answer.get("confidence") is not None else ""
        inside = f"<p class='said'>{said}</p>{sure}{drawn}"
    return f"<section class='task'><h2>{escape(name)}</h2>{inside}</section>"


def _bars(answer: Mapping[str, Any]) -> str:
    """A bar a label, the likeliest first; what was said is marked with a word, too."""
    shares, said = answer["probabilities"], set(said_labels(answer)) if answer["said"] != "none" else set()
    ranked = sorted(shares.items(), key=lambda pair: -pair[1])
    rows = [_bar(label, share, label in said) for label, share in ranked]
    more = len(rows) - BARS
    rest = f"<details><summary>{more} more labels</summary><ul class='bars'>{''.join(rows[BARS:])}</ul></details>" if more > 0 else ""
    return f"<ul class='bars'>{''.join(rows[:BARS])}</ul>{rest}"


def _bar(label: str, share: float, said: bool) -> str:
    width = f"{100 * min(max(share, 0.0), 1.0):.1f}%"
    mark = " <span class='mark'>said</span>" if said else ""
    return (
        f"<li class='{'bar said-bar' if said else 'bar'}'><span class='label'>{escape(label)}{mark}</span>"
        f"<span class='track' aria-hidden='true'><span class='fill' style='width:{width}'></span></span>"
        f"<span class='share'>{_percent(share)}</span></li>"
    )


def _words(answer: Mapping[str, Any]) -> str:
    """Words with their times, as a table that unfolds."""
    words: Sequence[Mapping[str, Any]] = answer["words"]
    if not words:
        return ""
    cells = [[str(word["word"]), f"{word['start']:.2f}", f"{word['end']:.2f}", _percent(word.get("confidence"))] for word in words]
    rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in cells)
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("word", "from, s", "to, s", "confidence"))
    return (
        f"<details open><summary>when each word was said</summary><div class='scroll'><table><tr>{head}</tr>{rows}</table></div></details>"
    )


def _nearest(name: str, answer: Mapping[str, Any]) -> str:
    """In a contrastive space: the labels of the test rows next to each given input."""
    lines = []
    for given, others in answer.get("nearest", {}).items():
        for other, hits in others.items():
            if hits:
                near = ", ".join(f"{escape(str(hit['label']))} ({hit['similarity']:.2f})" for hit in hits)
                lines.append(f"<li>{escape(given)} → {escape(other)}: {near}</li>")
    if not lines:
        return ""
    listed = f"<ul>{''.join(lines)}</ul>"
    summary = f"<summary>{escape(name)}: nearest test rows in the shared space</summary>"
    return f"<section class='task'><details>{summary}{listed}</details></section>"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def influence_html(found: Mapping[str, dict[str, Any]], given: Sequence[str], asked: bool = True) -> str:
    """What each given input counted for; why that cannot be told, where it cannot. `asked`: whether any task of the run can tell."""
    if not asked or (len(given) > 1 and not found):
        return "<p class='quiet'>No task of this run has a confidence that could change without an input.</p>"
    if len(given) < 2:
        return "<p class='quiet'>One input was given, so all of the answer comes from it. Give two or more to see which one counts.</p>"
    return "".join(_weighed(name, one) for name, one in found.items())


def _weighed(name: str, one: Mapping[str, Any]) -> str:
    rows = sorted(one["inputs"].items(), key=lambda pair: -abs(pair[1]["change"] if pair[1]["change"] is not None else 9))
    body = "".join(_left_out(column, cells, one["measure"] == "value") for column, cells in rows)
    head = "".join(
        f"<th scope='col'>{text}</th>"
        for text in ("without", "answer", escape(one["measure"]), "change" if one["measure"] == "value" else "points", "what it does")
    )
    caption = f"<caption>{escape(name)}: asked again without each input</caption>"
    return f"<div class='scroll'><table class='weighed'>{caption}<tr>{head}</tr>{body}</table></div>"


def _left_out(column: str, cells: Mapping[str, Any], value: bool) -> str:
    def figure(number: float | None) -> str:
        return "-" if number is None else f"{number:.4g}" if value else _percent(number)

    change = cells["change"]
    word = "counts" if cells["counts"] else "changes nothing"
    if cells["counts"] and change is not None and change < 0:
        word = "speaks against"
    signed = "no answer" if change is None else f"{-change:+.4g}" if value else f"{-100 * change:+.1f}"
    texts = [escape(str(cells["said"])), figure(cells["after"]), signed, f"<strong>{word}</strong>" if cells["counts"] else word]
    return f"<tr><th scope='row'>{escape(column)}</th>{''.join(f'<td>{text}</td>' for text in texts)}</tr>"


def drawn_boxes(run: Run, tasks: Mapping[str, dict[str, Any]], row: Mapping[str, Any]) -> dict[str, str]:
    """The value in which each box was looked for, with the box drawn in."""
    found = {}
    for name, answer in tasks.items():
        task: Any = run.recipe.tasks[name]
        if task.kind == "ground" and answer.get("box") is not None:
            found[name] = _drawn(run, task, answer["box"], row)
    return found


def _drawn(run: Run, task: Any, box: Sequence[float], row: Mapping[str, Any]) -> str:
    import torch

    from triptych.contract.boxes import converted

    room: Any = run.inputs[task.input][0]
    value = run.read({task.input: row[task.input]})[task.input]
    corners = converted(torch.tensor(box, dtype=torch.float64), task.form, "xyxy").tolist()
    width, height = room.extent(value) if task.unit == "own" else (1.0, 1.0)
    return str(room.marked(value, {"said": [corners[0] / width, corners[1] / height, corners[2] / width, corners[3] / height]}))
