"""Tables and lines on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from triptych.base.plain import one_line
from triptych.contract.tasks import headline, unwritten
from triptych.run.recipe import Recipe

if TYPE_CHECKING:
    from triptych.use.opened import Answer

COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def _console() -> Console:
    return Console(highlight=False)


def lines(*texts: str) -> None:
    """Plain lines, never wrapped: a path that is broken cannot be copied. A name with a newline in it stays on its line."""
    for text in texts:
        _console().print(one_line(text), markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 1000 else f"{value:,.0f}"


def scores(recipe: Recipe, found: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """The headline score of each task, overall and of every mixture and direction, and the one that chose the epoch."""
    table = Table(title=f"untouched against trained, on the {about['judged_on']} rows", title_justify="left", title_style="bold")
    for header, justify in (("score", "left"), ("of", "left"), ("untouched", "right"), ("trained", "right")):
        table.add_column(header, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for name, task in recipe.tasks.items():
        for score in found:
            own = score["metric"] in getattr(task, "scores", ()) and not score["of"]
            chose = score["name"] == recipe.selected()
            if score["task"] == name and (own or chose or score["metric"] in (headline(task), unwritten(task))):
                cells = (f"{name}.{score['metric']}", score["of"] or "overall", _number(score["untouched"]), _number(score["trained"]))
                table.add_row(*map(escape, cells), style="bold" if not score["of"] else None)
        table.add_section()
    _console().print(table)


def labels(details: dict[str, Any]) -> None:
    """Of tasks whose answers are labels, each label with its threshold, precision and recall."""
    _each_class({name: rows for name, rows in details.get("classes", {}).items() if rows and "threshold" in rows[0]})


def verdicts(found: dict[str, Any]) -> None:
    """How sure the headline scores are, and what can be had without training."""
    from triptych.run.verdict import in_words

    for name, told in found.items():
        first, *others = in_words(name, told)
        lines(first, *(f"  {line}" for line in others))


def evaluation(told: dict[str, Any]) -> None:
    """What was measured: headline scores with intervals, what can be had without training, classes, inputs, gaps."""
    lines(f"{told['what']}, on {told['rows']:,} {told['judged_on']} rows of {told['source']}")
    for reject in told["rejected"][:5]:
        lines(f"  rejected {reject['id']}: {reject['reason']}")
    for one in told["findings"]:
        if one["severity"] != "note" or one["code"] == "source":
            lines(f"  {one['severity']}: {one['text']}" + (f" ({one['rows']} rows)" if one["rows"] else ""))
    heads = {(s["task"], s["metric"]) for s in told["scores"] if "low" in s}
    rows = [s for s in told["scores"] if (s["task"], s["metric"]) in heads]
    table = Table()
    for header, justify in (("score", "left"), ("of", "left"), ("value", "right"), ("95 % interval", "left")):
        table.add_column(header, justify=justify)  # type: ignore[arg-type]
    for s in rows:
        sure = f"{_number(s['low'])} to {_number(s['high'])}" if "low" in s else ""
        table.add_row(*map(escape, (f"{s['task']}.{s['metric']}", s["of"] or "overall", _number(s["value"]), sure)))
    _console().print(table)
    for name, baselines in told["baselines"].items():
        metric = next((metric for task, metric in heads if task == name), None)
        values = ", ".join(f"{baseline} {_number(values.get(metric))}" for baseline, values in baselines.items())
        lines(f"{name}.{metric} without training: {values or '-'}")
    _each_class(told["details"]["classes"])
    _reliance(told["reliance"])
    for name, pairs in told["details"]["gap"].items():
        said = ", ".join(f"{' and '.join(one['pair'])} {_number(one['measured']['distance'])}" for one in pairs)
        lines(f"{name}: modality gap of {said}   (0 to 2)")


def _each_class(classes: dict[str, Any]) -> None:
    for name, rows in classes.items():
        cuts = ["threshold"] if rows and "threshold" in rows[0] else []
        table = Table(title=f"classes of {name}", title_justify="left")
        for header in ("class", "rows", *cuts, "precision", "recall", "F1"):
            table.add_column(header, justify="left" if header == "class" else "right", overflow="fold")
        for row in rows[:20]:
            values = (_number(row[score]) for score in (*cuts, "precision", "recall", "f1"))
            table.add_row(escape(row["class"]), str(row["rows"]), *values)
        _console().print(table)
        if len(rows) > 20:
            lines(f"and {len(rows) - 20} more classes; --json lists all")


def _reliance(told: dict[str, Any]) -> None:
    from triptych.run.verdict import with_interval

    if not told:
        return
    for name, task in told["tasks"].items():
        if not any(task["inputs"].values()):
            continue
        table = Table(title=f"{name}.{task['metric']} lost without an input", title_justify="left")
        for header, justify in (("input", "left"), ("rows", "right"), ("exchanged", "left"), ("left out", "left"), ("so it is", "left")):
            table.add_column(header, justify=justify)  # type: ignore[arg-type]
        for given, one in task["inputs"].items():
            if one is not None:
                lost = (with_interval(one[how]) for how in ("shuffle", "drop"))
                table.add_row(*map(escape, (given, str(one["rows"]), *lost, one["verdict"])))
        _console().print(table)
    if told["why_not"]:
        lines(told["why_not"])
    reliance_warnings(told)


def reliance_warnings(told: dict[str, Any]) -> None:
    """A line for each input that a task does not use."""
    from triptych.run.reliance import warnings

    for line in warnings(told):
        lines(f"warning: {line}")


def table_columns(told: dict[str, Any]) -> None:
    """The columns of a table and what is in them."""
    table = Table()
    for header, justify in (("column", "left"), ("filled", "right"), ("share", "right"), ("what is in it", "left")):
        table.add_column(header, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for column in told["columns"]:
        table.add_row(escape(column["name"]), f"{column['filled']:,}", column["share"], escape(column["what"]))
    _console().print(table)


def builds(told: Sequence[Mapping[str, Any]]) -> None:
    """What each build of a table said."""
    for built in told:
        counts = f"{built['rows']:,} rows in, {built['kept']:,} kept, {built['rejected']:,} rejected"
        lines(f"{'appended' if built['append'] else 'built'} from {built['source']}: {counts}")
        lines(*(f"note: {text}" for text in built["findings"]))


def answer(answer: Answer) -> None:
    """What the run says of one row."""
    console = _console()
    console.print(", ".join(f"{name}: {value}" for name, value in answer.row.items()), markup=False, style="bold", soft_wrap=True)
    for task, told in answer.tasks.items():
        for line in _told(task, told):
            console.print(f"  {line}", markup=False, soft_wrap=True)


def _told(task: str, told: dict[str, Any]) -> Iterable[str]:
    if "nearest" in told:
        for given, others in told["nearest"].items():
            for other, rows in others.items():
                near = ", ".join(f"{row['label']} {row['similarity']:.2f}" for row in rows)
                yield f"{task}: nearest {other} to this {given}: {near or 'none'}"
    elif "probabilities" in told:
        ranked = sorted(told["probabilities"].items(), key=lambda pair: -pair[1])[:3]
        cuts = told.get("thresholds", {})
        shares = (f"{label} {share:.2f}" + (f" of {cuts[label]:.2f}" if label in cuts else "") for label, share in ranked)
        yield f"{task}: {told['said']}   ({', '.join(shares)})"
    else:
        later = told.get("heard_from")
        note = f"   (heard from {later:.1f} s on, for the rest is cut off; `triptych subtitles` hears all)" if later else ""
        note += f"   ({told['why_not']})" if "why_not" in told else ""
        nothing = "-" if "why_not" in told or told["said"] is None else "-   (the answer is empty)"
        yield f"{task}: {told['said'] or nothing}{note}"


def comparison(found: dict[str, Any]) -> None:
    """Recipe differences, scores and cost of several runs; the best score of a row is bold."""
    console = _console()
    for number, (name, side) in enumerate(zip(found["runs"], found["judged_on"], strict=True), start=1):
        lines(f"{number}  {name}   (measured on its {side} rows)")
    if len(set(found["judged_on"])) > 1:
        lines("warning: the runs were measured on different sides of their splits; their scores do not compare")
    if found["seeds"]:
        _over_seeds(found["seeds"])
    for task in found["intervals"]:
        _sure(task, found["runs"])
    for part, title in (("recipe", "recipe differences"), ("scores", "scores"), ("cost", "cost")):
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("", overflow="fold")
        for number in range(len(found["runs"])):
            table.add_column(str(number + 1), justify="right", overflow="fold")
        rows = [row for row in found[part] if part != "scores" or _at_a_glance(row["name"], found["intervals"])]
        for row in rows:
            table.add_row(escape(row["name"]), *_marked(row))
        if rows:
            console.print(table)
        else:
            lines(f"{title}: none")
        if len(rows) < len(found[part]):
            lines(
                f"and {len(found[part]) - len(rows)} more scores, of one direction or mixture of inputs each: --out compare.html or --json"
            )


def _at_a_glance(name: str, tasks: list[dict[str, Any]]) -> bool:
    """Whether a score is over all rows, or the headline of its task: a terminal is no place for hundreds."""
    return " " not in name or any(name.startswith(f"{task['task']}.{task['metric']} ") for task in tasks)


def _over_seeds(rows: list[dict[str, Any]]) -> None:
    """Runs that differ in their seed alone, a line each set."""
    table = Table(title="over seeds", title_justify="left", title_style="bold")
    asked = any(row["prompts"] is not None for row in rows)
    for header in ("runs", "score", "mean", "lowest to highest", *(["by prompts, untouched"] if asked else [])):
        table.add_column(header, justify="left" if header in ("runs", "score") else "right", overflow="fold")
    for row in rows:
        cells = [", ".join(map(str, row["runs"])), escape(row["score"]), _number(row["mean"]), _range(row)]
        table.add_row(*cells, *(["-" if row["prompts"] is None else _number(row["prompts"])] if asked else []))
    _console().print(table)


def _sure(task: dict[str, Any], runs: list[str]) -> None:
    """A task's headline with its interval a run, and how sure its difference to the first run is."""
    table = Table(title=f"{task['task']}.{task['metric']}", title_justify="left", title_style="bold")
    for header in ("run", "score", "95 %", f"to run {task['first']}", "95 %", "verdict"):
        table.add_column(header, justify="left" if header == "verdict" else "right", overflow="fold")
    told = {one["run"]: one for one in task["differences"]}
    for number in range(1, len(runs) + 1):
        value, change = task["values"][number - 1], told.get(number)
        cells = [_number(value["value"]), _range(value)] if value else ["-", ""]
        if change is not None:
            why = "" if change["paired"] else f" (not paired: {change['why']})"
            p_value = change["p_value"]
            tested = "" if p_value is None else f", McNemar p {'< 0.001' if p_value < 0.001 else f'= {p_value:.3f}'}"
            gap = "-" if change["value"] is None else f"{change['value']:+.3f}"
            cells += [gap, _range(change, "+"), f"{change['verdict']}{tested}{why}"]
        table.add_row(str(number), *(escape(cell) for cell in cells))
    _console().print(table)


def _range(found: dict[str, Any], sign: str = "") -> str:
    low, high = found["low"], found["high"]
    return "" if low is None or high is None else f"{low:{sign}.3f} to {high:{sign}.3f}"


def _marked(row: dict[str, Any]) -> list[str]:
    values = row["values"]
    if "direction" not in row:
        return [escape(f"{value:,.1f}" if isinstance(value, float) and row["name"] == "seconds" else str(value)) for value in values]
    there = [value for value in values if value is not None]
    best = (max if row["direction"] == "higher" else min)(there) if len(set(there)) > 1 else None
    return [f"[bold]{_number(value)}[/bold]" if value is not None and value == best else _number(value) for value in values]


def findings(found: dict[str, Any]) -> None:
    """What `check` saw."""
    lines(f"{found['recipe']}: the recipe is fine; {found['rows']} rows in, {found['kept']} kept, {found['rejected']} rejected")
    table = Table()
    for header in ("side", "rows", *found["targets"]):
        table.add_column(escape(header), justify="left" if header == "side" else "right")
    for side, count in found["sides"].items():
        table.add_row(side, str(count), *(escape(target[side]) for target in found["targets"].values()))
    _console().print(table)
    if found["sampling"]:
        _sampling(found["sampling"])
    lengths(found["lengths"])
    for reject in found["rejects"][:20]:
        lines(f"rejected {reject['id']}: {reject['reason']}")
    if len(found["rejects"]) > 20:
        lines(f"and {len(found['rejects']) - 20} more; --json lists all")
    _findings(found["findings"])


def _sampling(plan: dict[str, Any]) -> None:
    """How often training rows are drawn, the largest groups first."""
    table = Table(title=f"training rows drawn by {escape(plan['by'])}, {plan['rows']:,} an epoch", title_justify="left", title_style="bold")
    for header in (plan["by"], "rows", "share", "drawn", "share drawn", "a row is seen"):
        table.add_column(escape(header), justify="left" if header == plan["by"] else "right")
    groups = sorted(plan["groups"], key=lambda group: -group["rows"])
    for group in groups[:20]:
        shares = f"{group['rows']:,}", f"{group['share']:.1%}", f"{group['drawn']:,}", f"{group['drawn_share']:.1%}"
        table.add_row(escape(group["group"]), *shares, f"{group['seen']:.2f} times")
    _console().print(table)
    if len(groups) > 20:
        lines(f"and {len(groups) - 20} more groups; --json lists all")


def lengths(found: list[dict[str, Any]]) -> None:
    """How long the values of each input are, and what its limit cuts off."""
    from triptych.run.lengths import Lengths

    for one in found:
        lines(Lengths(**one).line())


def _findings(found: list[dict[str, Any]]) -> None:
    """Severity and what was found, a line each; below it the rows and what to do."""
    if not found:
        lines("nothing odd was found")
    for one in found:
        mark = f"[{COLOURS[one['severity']]}]{one['severity']:<8}[/]"
        _console().print(f"{mark} [bold]{escape(one['code'])}[/bold]  {escape(one['text'])}", soft_wrap=True)
        such = f", such as {', '.join(one['examples'][:3])}" if one["examples"] else ""
        details = [
            f"{one['rows']:,} row{'s' if one['rows'] > 1 else ''}{such}" if one["rows"] else "",
            f"what to do: {one['fix']}" if one["fix"] else "",
        ]
        for detail in filter(None, details):
            _console().print(f"{'':8} {detail}", markup=False, style="dim", soft_wrap=True)


def recipes(found: list[dict[str, str]]) -> None:
    """Shipped recipes."""
    table = Table()
    for header in ("name", "what", "takes", "needs"):
        table.add_column(header, overflow="fold")
    for recipe in found:
        table.add_row(*(escape(recipe[word]) for word in ("name", "about", "takes", "needs")))
    _console().print(table)


def hoard(rows: list[list[str]]) -> None:
    """What lies in the cache folder."""
    table = Table()
    for header in ("key", "kind", "what", "rows", "size", "used"):
        table.add_column(
            header, justify="right" if header in ("rows", "size") else "left", overflow="fold", no_wrap=header in ("key", "size")
        )
    for row in rows:
        table.add_row(*map(escape, row))
    _console().print(table)


def models(rows: list[list[str]]) -> None:
    """Pretrained models to choose from."""
    table = Table()
    for header in ("model", "takes", "for", "size", "licence", "languages", "memory", "time"):
        table.add_column(header, justify="right" if header in ("size", "memory", "time") else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    _console().print(table)
