"""What can be said of a recipe and its rows without training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from triptych.base.errors import InputError
from triptych.base.plain import is_number
from triptych.contract.examined import Finding, Severity, worst_first
from triptych.contract.modality import SIDES, Split
from triptych.contract.tasks import IN_WRITING, metrics, rule_of
from triptych.data.lacking import SHOWN
from triptych.data.settings import SOURCE
from triptych.data.sheet import Asked
from triptych.data.table import Table
from triptych.data.targets import LARGEST, Target, split_labels
from triptych.objective.classes import TOP
from triptych.objective.thresholds import FEW
from triptych.run.lengths import Lengths, lengths_before
from triptych.run.ordering import plan_of
from triptych.run.recipe import Recipe
from triptych.run.writing import asked_rows, learn, script_of, targets_of, tasks_of, words_of


def findings(recipe: Recipe, table: Table) -> dict[str, Any]:
    """Counts by side and target, rejects with reasons, lengths, and findings.

    Raises:
        InputError: a task cannot be learnt from these rows.
    """
    script = script_of(recipe)
    asked = asked_rows(recipe, script, table, {name: table.counts(column) for name, column in recipe.columns().items()})
    learn(script, asked, table.at("train"))
    targets = targets_of(recipe, table, asked)
    lengths = lengths_before(recipe, table)
    counted = {
        f"{name} ({_answers(task)})": {side: _counted(table, task, side, targets[name].has) for side in SIDES}
        for name, task in recipe.tasks.items()
        if task.kind != "contrast"
    }
    plan = plan_of(recipe, table)
    return {
        "recipe": recipe.name,
        "rows": len(table.rows) + len(table.rejects),
        "kept": len(table.rows),
        "rejected": len(table.rejects),
        "sides": {side: len(table.at(side)) for side in SIDES},
        "targets": counted,
        "sampling": plan.as_dict() if plan else None,
        "rejects": [{"id": reject.id, "reason": reject.reason} for reject in table.rejects],
        "lengths": [one.as_dict() for one in lengths],
        "findings": [finding.as_dict() for finding in told(recipe, table, targets, lengths)],
    }


def _answers(task: Any) -> str:
    """The column that a task's answers stand in."""
    return str(getattr(task, "target", None) or getattr(task, "messages", None) or task.chosen)


def _counted(table: Table, task: Any, side: Split, has: Tensor) -> str:
    """`12 a, 9 b` for few classes or labels, `0 (12), 1 (9)` where they are numbers.

    Of many, the rows and how many different ones, or from where to where they go. Rows whose answer cannot be used (it is not
    among those that the task `has`) do not count; a class that no training row has stands here all the same.
    """
    column = _answers(task)
    usable = [index for index in table.at(side) if has[index] or task.kind in ("classify", "multilabel")]
    cells = [row.cells.get(column) for row in table.rows.take(usable, [column])]
    filled = [cell for cell in cells if cell is not None]
    if not filled:
        return "-"
    rows = f"{len(filled):,} row{'s' if len(filled) > 1 else ''}"
    if task.kind == "ground" or task.kind in IN_WRITING:
        return rows
    if task.kind == "regress":
        numbers = [number for cell in filled if is_number(cell) and abs(number := float(str(cell))) < LARGEST]
        return f"{rows}, {min(numbers):g} to {max(numbers):g}" if numbers else f"{rows}, no numbers"
    if task.kind == "ctc":
        return f"{rows}, {sum(len(str(cell).split()) for cell in filled):,} words"
    entries = [split_labels(cell, task.separator) if task.kind == "multilabel" else [str(cell)] for cell in filled]
    counts = Counter(label for labels in entries for label in labels)
    if len(counts) > 6:
        return f"{rows}, {len(counts)} {'labels' if task.kind == 'multilabel' else 'classes'}"
    form = "{value} ({count})" if any(value[:1].isdigit() for value in counts) else "{count} {value}"  # not "2 0, 4 4"
    return ", ".join(form.format(value=value, count=count) for value, count in sorted(counts.items())) or "-"


def told(recipe: Recipe, table: Table, targets: Mapping[str, Target] | None = None, lengths: Sequence[Lengths] = ()) -> list[Finding]:
    """All that is to be said of the rows, worst first: by the source, the doctor, the tasks as far as they were learnt, the lengths."""
    read = [Finding("note", "source", text) for text in table.findings]
    asked = [Finding("warning", "target", text) for target in (targets or {}).values() for text in target.findings]
    cut = [finding for one in lengths if (finding := one.finding())]
    few = few_to_choose_on(recipe, table, targets or {})
    unanswered = _unanswered(recipe, table, targets or {})
    return worst_first([*asked, *few, *table.diagnosis, *cut, *read, *_gaps(recipe, table), *unanswered, *_unasked(recipe)])


def asked_of(recipe: Recipe) -> Asked:
    """What the doctor must know of the recipe."""
    split = recipe.data.split
    wanted = {getattr(task, name, None) for task in recipe.tasks.values() for name in ("target", "positives", "messages")}
    balance = recipe.data.balance.by if recipe.data.balance else None
    used = {
        *recipe.columns().values(),
        *wanted,
        *(column for task in recipe.tasks.values() if task.kind in IN_WRITING for column in words_of(recipe, task)),
        split.column,
        split.group,
        *split.test_where,
        balance,
        SOURCE if recipe.data.weights else None,
    }
    return Asked(
        classes={
            task.target: getattr(task, "separator", None) for task in recipe.tasks.values() if task.kind in ("classify", "multilabel")
        },
        pairs={
            name: tuple(recipe.columns()[column] for column in task.between)
            for name, task in recipe.tasks.items()
            if task.kind == "contrast" and task.positives is None
        },
        group=split.group,
        split=split.column,
        used=frozenset(filter(None, used)),
    )


def _gaps(recipe: Recipe, table: Table) -> list[Finding]:
    notes = []
    for name, column in recipe.columns().items():
        absent = table.has(column).count(False)
        if absent:
            notes.append(
                Finding("note", "gaps", f"input {name}: these rows have none (that is fine: they are used without it)", rows=absent)
            )
    return notes + [Finding("note", "empty side", f"there are no {side} rows") for side in SIDES if not table.at(side)]


def _unanswered(recipe: Recipe, table: Table, targets: Mapping[str, Target]) -> list[Finding]:
    """Rows that a task has no answer for: a gap, where other tasks have one; nothing is learnt from a row that no task asks."""
    ids = table.rows.ids()
    gaps, silent = list[Finding](), [True] * len(ids)
    for name, task in recipe.tasks.items():
        columns = [column for word in ("target", "messages", "chosen", "rejected") if (column := getattr(task, word, None))]
        if not columns:  # what belongs together is learnt from every row
            silent = [False] * len(silent)
            continue
        answered = [all(cells) for cells in zip(*map(table.has, columns), strict=True)]
        if name in targets:  # of several labels, nothing said is an answer
            answered = [there or has for there, has in zip(answered, targets[name].has.tolist(), strict=True)]
        lacking = [not there for there in answered]
        silent = [before and now for before, now in zip(silent, lacking, strict=True)]
        gaps += _no_answer(
            "note", f"task {name}: these rows have no answer ({' or '.join(columns)} is empty), and are not asked it", lacking, ids
        )
    text, fix = "no task has an answer for these rows, so nothing is learnt from them", "fill in their answers, or take them out"
    lost = _no_answer("warning", text, silent, ids, fix)
    return lost + (gaps if len(recipe.tasks) > 1 or not lost else [])


def _no_answer(severity: Severity, text: str, lacking: Sequence[bool], ids: Sequence[str], fix: str = "") -> list[Finding]:
    rows = [index for index, lacks in enumerate(lacking) if lacks]
    return [Finding(severity, "no answer", text, fix, len(rows), tuple(ids[index] for index in rows[:SHOWN]))] if rows else []


def _unasked(recipe: Recipe) -> list[Finding]:
    """Inputs that stand in no question, where nothing but the questions shows them."""
    if recipe.fusion.kind != "prefix" or any(task.kind not in IN_WRITING for task in recipe.tasks.values()):
        return []
    sides = [side for task in tasks_of(recipe).values() for side in task.sides()]
    told = " ".join(f"{side.template}" for side in sides)
    if any(side.messages for side in sides):
        return []
    return [
        Finding(
            "warning",
            "not asked about",
            f"input {name}: no template names it, so nothing is learnt from it",
            f"write {{{name}}} in a template, or remove the input",
        )
        for name in recipe.inputs
        if f"{{{name}}}" not in told
    ]


def check_select(recipe: Recipe, table: Table, targets: Mapping[str, Target]) -> None:
    """Refuse a `training.select` that the validation rows cannot give: an epoch without it could not be judged."""
    name, _, metric = recipe.selected().rpartition(".")
    validation = table.at("validation")
    if name not in targets or not validation:
        return
    target = targets[name]
    rows = target.values[validation][target.has[validation]]
    classes = len(target.facts.get("labels", ()))
    if metric == "top5" and classes <= TOP:
        why = f"{name} has {classes} classes, and the truth is always among the first {TOP}"
    elif metric in ("roc_auc", "r2") and not _differ(rows):
        why = f"all validation rows say the same of {name}"
    else:
        return
    others = [f"{name}.{other}" for other in metrics(recipe.tasks[name]) if other != metric]
    raise InputError(f"training.select: {name}.{metric} cannot tell epochs apart: {why}", where="training.select", known=others)


def _differ(rows: Tensor) -> bool:
    """Whether two rows are unlike; of several labels, whether any label is."""
    return len(rows) > 0 and bool((rows != rows[0]).any())


def ruled(recipe: Recipe) -> dict[str, Any]:
    """The tasks whose thresholds are chosen."""
    return {name: task for name, task in recipe.tasks.items() if rule_of(task) is not None}


def check_thresholds(recipe: Recipe, table: Table) -> None:
    """Raises InputError where thresholds are to be chosen and there are no rows for it: training rows would flatter them."""
    if ruled(recipe) and not table.at("validation"):
        name = next(iter(ruled(recipe)))
        fix = "--set data.split.validation=0.15, mark some rows as validation, or give threshold a number"
        raise InputError("thresholds are chosen on validation rows, and there are none", where=f"tasks.{name}.threshold", fix=fix)


def few_to_choose_on(recipe: Recipe, table: Table, targets: Mapping[str, Target]) -> list[Finding]:
    """Labels that so few validation rows have that their thresholds say little, or stay as they are."""
    found = []
    for name in ruled(recipe):
        target = targets.get(name)
        if target is None or not table.at("validation"):
            continue
        count_C = target.values[table.at("validation")].sum(0).tolist()
        few = [f"{label} {int(count)}" for label, count in zip(target.facts["labels"], count_C, strict=True) if count < FEW]
        if few:
            text = f"task {name}: thresholds are chosen on validation rows, and few have these labels: {', '.join(few[:8])}"
            found.append(Finding("warning", "few to choose on", text, fix="more validation rows: data.split.validation"))
    return found
