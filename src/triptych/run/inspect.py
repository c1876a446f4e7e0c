"""What can be said of a recipe and its rows without training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.examined import Finding, worst_first
from triptych.contract.modality import SIDES, Split
from triptych.contract.tasks import METRICS
from triptych.data.sheet import Asked
from triptych.data.table import Table
from triptych.data.targets import Target, learn_target
from triptych.objective.classes import TOP
from triptych.run.recipe import Recipe


def findings(recipe: Recipe, table: Table) -> dict[str, Any]:
    """Counts by side and target, rejects with reasons, and findings.

    Raises:
        InputError: a task cannot be learnt from these rows.
    """
    targets = {name: learn_target(name, task, table, recipe.columns()) for name, task in recipe.tasks.items()}
    counted = {
        f"{name} ({task.target})": {side: _counted(table, task.target, side) for side in SIDES}
        for name, task in recipe.tasks.items()
        if task.kind != "contrast"
    }
    return {
        "recipe": recipe.name,
        "rows": len(table.rows) + len(table.rejects),
        "kept": len(table.rows),
        "rejected": len(table.rejects),
        "sides": {side: len(table.at(side)) for side in SIDES},
        "targets": counted,
        "rejects": [{"id": reject.id, "reason": reject.reason} for reject in table.rejects],
        "findings": [finding.as_dict() for finding in told(recipe, table, targets)],
    }


def _counted(table: Table, column: str, side: Split) -> str:
    """`12 a, 9 b` for few values, else the number of different ones."""
    cells = [row.cells.get(column) for row in table.rows.take(table.at(side), [column])]
    counts = Counter(str(cell) for cell in cells if cell is not None)
    if len(counts) > 6:
        return f"{len(counts)} values"
    return ", ".join(f"{count} {value}" for value, count in sorted(counts.items())) or "-"


def told(recipe: Recipe, table: Table, targets: Mapping[str, Target] | None = None) -> list[Finding]:
    """All that is to be said of the rows, worst first: by the source, the doctor, and the tasks as far as they were learnt."""
    read = [Finding("note", "source", text) for text in table.findings]
    asked = [Finding("warning", "target", text) for target in (targets or {}).values() for text in target.findings]
    return worst_first([*asked, *table.diagnosis, *read, *_gaps(recipe, table)])


def asked_of(recipe: Recipe) -> Asked:
    """What the doctor must know of the recipe."""
    split = recipe.data.split
    wanted = {getattr(task, name, None) for task in recipe.tasks.values() for name in ("target", "positives")}
    used = {*recipe.columns().values(), *wanted, split.column, split.group, *split.test_where}
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
    kind = recipe.tasks[name].kind
    others = [f"{name}.{other}" for other in METRICS[kind] if other != metric]
    raise InputError(f"training.select: {name}.{metric} cannot tell epochs apart: {why}", where="training.select", known=others)


def _differ(rows: Tensor) -> bool:
    """Whether two rows are unlike; of several labels, whether any label is."""
    return len(rows) > 0 and bool((rows != rows[0]).any())
