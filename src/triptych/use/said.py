"""Remarks from what users have (an answer to one row, a spreadsheet of corrections), and feedback as a table for any tool."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.base.files import write_text
from triptych.contract.cells import Blob, Several, Span
from triptych.data.build import Plan, build
from triptych.data.rows import Reject, Row, Source
from triptych.data.settings import RowSettings
from triptych.data.several import each
from triptych.data.sources.words import opened
from triptych.data.stored import SUFFIX
from triptych.modalities import rooms
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.writing import asked_words
from triptych.use.feedback import Feedback, Kept
from triptych.use.opened import Answer, Run
from triptych.use.remarks import CORRECTED, Remark, cells_of, remark_of

WORDS = ("task", "correction", "rating", "chosen", "rejected", "score", "rater", "note", "when", "answer_id")
"""Columns of a spreadsheet that are words of a remark."""
AT_ONCE = 64


def remark_on(run: Run, feedback: Feedback, row: Mapping[str, Any], words: Mapping[str, Any]) -> Remark:
    """Add what a user says of the run's answer to one row; the answer is asked for, and kept with it.

    Raises:
        InputError: the row cannot be answered, or the words say nothing that can be said of the run.
    """
    remark = remark_of(words, run.recipe)
    cells = cells_of(run.recipe, row)
    if remark.answer is None:
        remark = _answered(remark, run.predict(**row))
    feedback.add(remark, cells)
    return remark


def _answered(remark: Remark, answer: Answer) -> Remark:
    """With what the run says, of the task or of all."""
    told = answer.tasks.get(remark.task) if remark.task else answer.tasks
    return remark if told is None else remark.model_copy(update={"answer": json.loads(json.dumps(told))})


@dataclass
class Imported:
    """What came of a spreadsheet: `rows` = those that said something + `empty` + rejected."""

    rows: int = 0
    remarks: int = 0
    empty: int = 0
    rejects: list[Reject] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    """Columns that nothing was made of."""


def import_table(run: Run, feedback: Feedback, table: Path, defaults: Mapping[str, str]) -> Imported:
    """Add the remarks of a table: inputs by the run's names, and words of a remark, or a column for each task's right answer.

    Raises:
        InputError: no column is an input, none says anything, or no row could be used.
    """
    made, seen = Imported(), set[str]()
    inputs = {column: name for name, column in run.recipe.columns().items()} | {name: name for name in run.recipe.inputs}
    media = {column: rooms()[run.recipe.inputs[name].modality] for column, name in inputs.items()}
    source = opened(RowSettings(source=str(table)), rooms(), media)
    waiting: list[tuple[str, dict[str, Any], list[Remark]]] = []
    for row in source.rows():
        made.rows += 1
        if isinstance(row, Reject):
            made.rejects.append(row)
            continue
        seen.update(row.cells)
        try:
            cells = cells_of(run.recipe, _inputs_in(row, inputs, run.recipe))
            remarks = [remark_of({**defaults, **words}, run.recipe) for words in _said_in(row, run.recipe)]
        except InputError as problem:
            made.rejects.append(Reject(row.id, problem.what))
            continue
        if not remarks:
            made.empty += 1
        elif not cells:
            made.rejects.append(Reject(row.id, "no input of the run stands in it"))
        else:
            waiting.append((row.id, cells, remarks))
    _add(run, feedback, waiting, made)
    used = {*inputs, *asked_words(run.recipe), *WORDS, *_own_columns(run.recipe), "id", "source"}
    made.unused = sorted(seen - used)
    _refuse_nothing(made, source, seen, inputs, run.recipe)
    return made


def _refuse_nothing(made: Imported, source: Source, seen: Iterable[str], inputs: Iterable[str], recipe: Recipe) -> None:
    if made.remarks:
        return
    if made.rejects:
        reasons = "".join(f"\n    {one.id}: {one.reason}" for one in made.rejects[:5])
        raise InputError(f"no row could be used:{reasons}", where=source.name, fix="mend the rows")
    known = [*dict.fromkeys(inputs), *_own_columns(recipe), *WORDS]
    raise InputError(f"nothing is said in the columns {', '.join(sorted(seen)) or '(none)'}", where=source.name, known=known)


def _inputs_in(row: Row, inputs: Mapping[str, str], recipe: Recipe) -> dict[str, Any]:
    words = asked_words(recipe)
    found = {inputs[column]: cell for column, cell in row.cells.items() if column in inputs and cell is not None}
    return found | {word: row.cells[word] for word in words if row.cells.get(word) is not None}


def _own_columns(recipe: Recipe) -> dict[str, str]:
    """{column: the task whose right answer stands there}: a task's name, or its target."""
    tasks: dict[str, Any] = {name: task for name, task in recipe.tasks.items() if task.kind in CORRECTED}
    inputs = {*recipe.inputs, *recipe.columns().values()}
    found = {str(task.target): name for name, task in tasks.items() if task.target} | {name: name for name in tasks}
    return {column: name for column, name in found.items() if column not in inputs}


def _said_in(row: Row, recipe: Recipe) -> Iterator[dict[str, Any]]:
    """What a row says: by the words of a remark, and by columns named after tasks."""
    words = {name: row.cells[name] for name in WORDS if row.cells.get(name) not in (None, "")}
    about: dict[str, Any] = {name: str(words[name]) for name in ("rater", "note", "when", "answer_id") if name in words}
    sayings: dict[str, Any] = {name: words[name] for name in ("correction", "rating", "chosen", "rejected", "score") if name in words}
    for name in ("rating", "score"):
        if isinstance(sayings.get(name), str):
            sayings[name] = _number(name, str(sayings[name]))
    for name in ("chosen", "rejected"):
        if name in sayings:
            sayings[name] = str(sayings[name])
    if sayings:
        yield {**about, **sayings, **({"task": str(words["task"])} if "task" in words else {})}
    for column, task in _own_columns(recipe).items():
        cell = row.cells.get(column)
        if cell not in (None, "") and column not in WORDS:
            yield {**about, "task": task, "correction": cell}


def _number(name: str, text: str) -> float | int:
    try:
        number = float(text)
    except ValueError:
        raise InputError(f"{name} {text!r} is no number") from None
    return int(number) if number == int(number) else number


def _add(run: Run, feedback: Feedback, waiting: Sequence[tuple[str, dict[str, Any], list[Remark]]], made: Imported) -> None:
    """Ask the run about every row, and add the remarks, some rows at a time."""
    for start in range(0, len(waiting), AT_ONCE):
        some = waiting[start : start + AT_ONCE]
        ready: list[tuple[Remark, Mapping[str, Any]]] = []
        for (row_id, cells, remarks), told in zip(some, run.predict_each([cells for _, cells, _ in some]), strict=True):
            if isinstance(told, BadValue):
                made.rejects.append(Reject(row_id, told.what))
                continue
            ready += [(_answered(one, told), cells) for one in remarks]
        feedback.add_all(ready)
        made.remarks += len(ready)


def export_table(run: Run, kept: Sequence[Kept], out: Path) -> dict[str, Any]:
    """Write feedback as a table whose columns are named as the run's recipe names them, so that a recipe takes it as a source.

    Corrections stand in the column of their task; what else is known of a remark stands in columns that begin with `feedback_`.
    Of a `.csv` or `.jsonl` the files lie in a folder beside it.

    Raises:
        InputError: the ending is not known, or something is there already.
    """
    if out.suffix not in (endings := (SUFFIX, ".csv", ".jsonl")):
        raise InputError(f"feedback cannot be written as {out.suffix or 'a file without ending'}", where=str(out), known=endings)
    if out.exists():
        raise InputError(f"{str(out)!r} is there already", fix="name another")
    if not kept:
        raise InputError("there is no feedback yet", where=str(run.folder.path), fix=f"triptych feedback add {run.folder.path} ...")
    rows = [Row(one.remark.id, _exported(one, run.recipe)) for one in kept]
    columns = list(dict.fromkeys([*run.recipe.columns().values(), *(name for row in rows for name in row.cells)]))
    if out.suffix == SUFFIX:
        source = Source("feedback", lambda: iter(rows), out.parent, total=len(rows), columns=columns)
        built = build(source, out, rooms(), Plan(workers=0, max_rejected=1.0), Voice(quiet=True))
        there = [one.name for one in built.columns]
        return {"out": str(out), "remarks": len(kept), "rows": built.kept, "rejected": built.rejected, "columns": there}
    folder = out.with_name(f"{out.stem}_files")
    plain = [{"id": row.id, **{name: _beside(row.cells.get(name), row.id, name, folder) for name in columns}} for row in rows]
    write_text(
        out,
        _as_csv(plain, ["id", *columns]) if out.suffix == ".csv" else "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in plain),
    )
    return {"out": str(out), "remarks": len(kept), "rows": len(rows), "rejected": 0, "columns": columns}


def _exported(one: Kept, recipe: Recipe) -> dict[str, Any]:
    remark = one.remark
    cells: dict[str, Any] = {recipe.columns().get(name, name): cell for name, cell in one.cells.items()}
    task: Any = recipe.tasks.get(remark.task)
    if remark.kind == "correction" and getattr(task, "target", None):
        cells[task.target] = remark.correction
    said = {
        name: getattr(remark, name) for name in ("kind", "task", "rating", "chosen", "rejected", "score", "rater", "note", "when", "run")
    }
    said["correction"] = None if remark.correction is None else json.dumps(remark.correction, ensure_ascii=False)
    said["answer"] = None if remark.answer is None else json.dumps(remark.answer, ensure_ascii=False)
    return cells | {f"feedback_{name}": value for name, value in said.items() if value not in (None, "")}


def _beside(cell: Any, row_id: str, name: str, folder: Path) -> Any:
    """A cell in plain values; a file is written beside the table, under a name of ours."""
    if isinstance(cell, Several):
        return [_beside(one, f"{row_id}-{number}", name, folder) for number, one in enumerate(each(cell))]
    if isinstance(cell, Span):
        return _beside(cell.source, row_id, name, folder)
    if not isinstance(cell, Blob):
        return cell
    folder.mkdir(parents=True, exist_ok=True)
    suffix = Path(cell.name).suffix.lower()
    path = folder / f"{row_id}-{name}{suffix if suffix[1:].isalnum() else ''}"
    path.write_bytes(cell)
    return f"{folder.name}/{path.name}"


def _as_csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "|".join(map(str, value)) if isinstance(value, list) else value for name, value in row.items()})
    return text.getvalue()


def rejected_by_reason(made: Imported) -> dict[str, int]:
    """How many rows each reason cost."""
    return dict(Counter(one.reason for one in made.rejects))
