"""What can be said of a recipe and its rows without training."""

from __future__ import annotations

from collections import Counter
from typing import Any

from triptych.contract.modality import SIDES, Split
from triptych.data.table import Table
from triptych.data.targets import learn_target
from triptych.run.recipe import Recipe


def findings(recipe: Recipe, table: Table) -> dict[str, Any]:
    """Counts by side and target, rejects with reasons, and notes.

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
        "findings": [*table.findings, *_gaps(recipe, table), *(text for target in targets.values() for text in target.findings)],
    }


def _counted(table: Table, column: str, side: Split) -> str:
    """`12 a, 9 b` for few values, else the number of different ones."""
    cells = [row.cells.get(column) for row in table.rows.take(table.at(side), [column])]
    counts = Counter(str(cell) for cell in cells if cell is not None)
    if len(counts) > 6:
        return f"{len(counts)} values"
    return ", ".join(f"{count} {value}" for value, count in sorted(counts.items())) or "-"


def _gaps(recipe: Recipe, table: Table) -> list[str]:
    notes = []
    for name, column in recipe.columns().items():
        absent = table.has(column).count(False)
        if absent:
            notes.append(f"input {name}: {absent} of {len(table.rows)} rows have none (that is fine: they are used without it)")
    notes += [f"there are no {side} rows" for side in SIDES if not table.at(side)]
    return notes
