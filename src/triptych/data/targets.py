"""What is asked of each row, as tensors; what the training rows say of it goes into the heads as facts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from triptych.base.errors import InputError, unknown_word
from triptych.data.boxes import learnable, read_boxes
from triptych.data.table import Cell, Table
from triptych.data.transcripts import known_transcripts, learn_transcripts

LARGEST = 1e30  # a float32 ends near 3e38, and sums of such numbers must fit too; NaN is not below it


@dataclass(frozen=True)
class Target:
    """One task's targets over all rows of a table: `values` (N or N x C), `has` (bool N), `facts` for the head.

    Numbers to be estimated are kept as (number - mean) / std: in float32, years or prices in cents would run together. Boxes are
    corners in the task's unit, until `run/grounding.py` knows what is seen of each value.
    Of texts, `values` are their classes, padded with -1.
    """

    values: Tensor
    has: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    frames: Tensor | None = None
    """Of boxes: (N, 4) left, top, width and height of what a model is shown of each row's value, in the task's unit."""


def learn_target(name: str, task: Any, table: Table, columns: Mapping[str, str]) -> Target:
    """Read a task's column; what must be learnt (the labels, a mean) is learnt from training rows alone.

    `columns` says which column of the table each input reads.

    Raises:
        InputError: the column is missing, or the training rows cannot teach the task (one class, no number).
    """
    if task.kind == "contrast":
        return _contrast(name, task, table, columns)
    if task.kind == "ctc":
        return Target(*learn_transcripts(name, task, table, columns))
    return _LEARN[task.kind](name, task, table)


def known_target(name: str, task: Any, table: Table, columns: Mapping[str, str], facts: Mapping[str, Any]) -> Target:
    """The targets of rows that a trained model is to be measured on: labels and unit are those it has learnt, its `facts`.

    Raises:
        InputError: the column is missing.
    """
    if task.kind == "contrast":
        return _grouped(name, task, table, [columns[given] for given in task.between if columns[given] in table.columns])
    if task.kind == "ctc":
        return Target(*known_transcripts(name, task, table, columns, facts))
    return _KNOWN[task.kind](name, task, table, table.column(task.target, f"task {name}"), facts)


def _cells(name: str, task: Any, table: Table) -> tuple[list[Cell], list[Cell]]:
    cells = table.column(task.target, f"task {name}")
    train = [cells[index] for index in table.at("train")]
    if not any(cell is not None for cell in train):
        raise InputError(f"task {name}: no training row has a {task.target!r}", where=table.source)
    return cells, train


def _classify(name: str, task: Any, table: Table) -> Target:
    cells, train = _cells(name, task, table)
    labels = sorted({str(cell) for cell in train if cell is not None}, key=_natural)
    if len(labels) < 2:
        raise InputError(
            f"task {name}: all training rows are {labels[0]!r}; one class cannot be learnt",
            where=f"{table.source}, column {task.target}",
            fix="add rows of another class, or check data.split",
        )
    made = _as_classes(name, task, table, cells, {"labels": labels})
    count_C = torch.bincount(made.values[table.at("train")].clamp(min=-1) + 1, minlength=len(labels) + 1)[1:]
    return replace(made, facts={"labels": labels, **_weights(name, task, labels, count_C[:, None], table)})


def _as_classes(name: str, task: Any, table: Table, cells: list[Cell], facts: Mapping[str, Any]) -> Target:
    number = {label: index for index, label in enumerate(facts["labels"])}
    values = torch.tensor([number.get(str(cell), -1) if cell is not None else -1 for cell in cells])
    strange = sorted({str(cell) for cell in cells if cell is not None and str(cell) not in number})
    findings = [f"task {name}: {', '.join(strange[:5])} not in the training rows; rows with them are not scored"] if strange else []
    return Target(values, values >= 0, dict(facts), findings)


def _weights(name: str, task: Any, labels: list[str], count_CK: Tensor, table: Table) -> dict[str, Any]:
    """How much rows of each class count, of a task that says so: (C, K) for the training rows counted in `count_CK`.

    `balanced` is rows / (classes x rows of the class), as in scikit-learn's `compute_class_weight` (King and Zeng 2001); of a
    label, those that lack it and those that have it are the two classes. Weights named by the recipe are taken as they are.
    """
    if task.class_weights is None:
        return {}
    if task.class_weights == "balanced":
        total, classes = (count_CK.sum(), len(labels)) if count_CK.shape[1] == 1 else (count_CK.sum(1, keepdim=True), 2)
        return {"class_weights": (total / (classes * count_CK.clamp(min=1))).tolist()}
    if strange := [label for label in task.class_weights if label not in labels]:
        raise unknown_word(f"label in tasks.{name}.class_weights", strange[0], labels, where=table.source)
    ones = [1.0] * (count_CK.shape[1] - 1)
    return {"class_weights": [[*ones, float(task.class_weights.get(label, 1.0))] for label in labels]}


def _natural(label: str) -> tuple[int, float, str]:
    """Numbers in their order, before words in theirs; the label itself decides between 1 and 1.0, and `nan` is a word."""
    number = _number(label)
    return (1, 0.0, label) if number is None else (0, number, label)


def _multilabel(name: str, task: Any, table: Table) -> Target:
    cells, train = _cells(name, task, table)
    labels = sorted({label for cell in train for label in split_labels(cell, task.separator)}, key=_natural)
    if not labels:
        raise InputError(
            f"task {name}: no training row has a label",
            where=f"{table.source}, column {task.target}",
            fix=f"check separator: {task.separator!r}",
        )
    made = _as_labels(name, task, table, cells, {"labels": labels})
    given_C = made.values[table.at("train")].sum(0)
    weights = _weights(name, task, labels, torch.stack([len(train) - given_C, given_C], 1), table)
    return replace(made, facts={"labels": labels, **weights})


def _as_labels(name: str, task: Any, table: Table, cells: list[Cell], facts: Mapping[str, Any]) -> Target:
    labels = facts["labels"]
    rows = [set(split_labels(cell, task.separator)) for cell in cells]
    values = torch.tensor([[float(label in row) for label in labels] for row in rows])
    strange = sorted(set().union(*rows) - set(labels))
    findings = [f"task {name}: labels {', '.join(strange[:5])} are not in the training rows and cannot be answered"] if strange else []
    # An empty cell is an answer here: none of the labels.
    return Target(values, torch.ones(len(cells), dtype=torch.bool), dict(facts), findings)


def split_labels(cell: Cell, separator: str) -> list[str]:
    """The labels of one cell: a list, or a text with a separator between them."""
    entries = cell if isinstance(cell, list) else [] if cell is None else str(cell).split(separator)
    return [label for entry in entries if (label := str(entry).strip())]


def _regress(name: str, task: Any, table: Table) -> Target:
    cells, _ = _cells(name, task, table)
    values, wrong = _numbers(cells)
    train = values[table.at("train")]
    train = train[train.isfinite()]
    if len(train) < 2 or float(train.std()) == 0:
        raise _no_numbers(name, f"{table.source}, column {task.target}", list(wrong.values()))
    return _as_numbers(name, task, table, cells, {"mean": float(train.mean()), "std": float(train.std())})


def _ground(name: str, task: Any, table: Table) -> Target:
    made = _as_boxes(name, task, table, _cells(name, task, table)[0], {})
    learnable(name, task, table, made.has, made.findings)
    return made


def _as_boxes(name: str, task: Any, table: Table, cells: list[Cell], facts: Mapping[str, Any]) -> Target:
    corners_N4, has_N, findings = read_boxes(name, task, cells)
    return Target(corners_N4, has_N, dict(facts), findings)


def _numbers(cells: Sequence[Cell]) -> tuple[Tensor, dict[int, str]]:
    """Of each cell its number, or NaN; and {row: cell} of those that hold something else."""
    numbers = [_number(cell) for cell in cells]
    wrong = {row: str(cell) for row, (cell, number) in enumerate(zip(cells, numbers, strict=True)) if cell is not None and number is None}
    return torch.tensor([float("nan") if n is None else n for n in numbers], dtype=torch.float64), wrong


def _as_numbers(name: str, task: Any, table: Table, cells: list[Cell], facts: Mapping[str, Any]) -> Target:
    values, wrong = _numbers(cells)
    has, mean = values.isfinite(), facts["mean"]
    findings = [_left_out(name, table.rows.ids(), wrong)] if wrong else []
    return Target(((torch.where(has, values, mean) - mean) / facts["std"]).float(), has, dict(facts), findings)


def _left_out(name: str, ids: Sequence[str], wrong: Mapping[int, str]) -> str:
    some = ", ".join(f"{ids[row]}: {cell[:60]}" for row, cell in list(wrong.items())[:3])
    what, which = ("cell holds", "its row is") if len(wrong) == 1 else ("cells hold", "their rows are")
    return f"task {name}: {len(wrong):,} {what} no number below {LARGEST:g} ({some}); {which} not used for it"


def _no_numbers(name: str, where: str, wrong: list[str]) -> InputError:
    seen = f"; {len(wrong)} cells are no numbers: {', '.join(repr(cell) for cell in wrong[:3])}" if wrong else ""
    commas = any(_number(cell.replace(".", "").replace(",", ".")) is not None for cell in wrong[:20])
    fix = "write numbers with a point, 0.5 and not 0,5" if commas else ""
    return InputError(f"task {name}: the training rows hold no two different numbers{seen}", where=where, fix=fix)


def _number(cell: Cell) -> float | None:
    try:
        number = float(str(cell))
    except ValueError:
        return None
    return number if abs(number) < LARGEST else None


def _contrast(name: str, task: Any, table: Table, columns: Mapping[str, str]) -> Target:
    paired = [list(table.rows.cells(columns[given])) for given in task.between]
    both = sum(sum(cells[index] is not None for cells in paired) > 1 for index in table.at("train"))
    if both < 2:
        what = f"task {name}: {both} training rows have two of {', '.join(task.between)}, so there is nothing to bring together"
        raise InputError(what, where=table.source, fix="remove the task, or put what belongs together into one row")
    return _grouped(name, task, table, [columns[given] for given in task.between])


def _grouped(name: str, task: Any, table: Table, shown: Sequence[str]) -> Target:
    """A number a row, equal where rows belong together: by the task's positives, or because they share a value that is shown."""
    named = table.column(task.positives, f"task {name}") if task.positives else None
    if named is None:
        groups = _sharing([list(table.rows.cells(column)) for column in shown])
    else:
        number: dict[str, int] = {}
        groups = [number.setdefault(f"row:{i}" if cell is None else f"cell:{cell!s}", len(number)) for i, cell in enumerate(named)]
    values = torch.tensor(groups)
    return Target(values, torch.ones(len(groups), dtype=torch.bool))


def _sharing(columns: Sequence[Sequence[Cell]]) -> list[int]:
    """A number a row; rows that share a value in any column have the same: five captions of one picture belong to it all."""
    root = list(range(len(columns[0])))

    def find(row: int) -> int:
        while root[row] != row:
            root[row] = row = root[root[row]]
        return row

    for cells in columns:
        first: dict[str, int] = {}
        for row, cell in enumerate(cells):
            if cell is not None:
                root[find(row)] = find(first.setdefault(f"{cell!s}", row))
    return [find(row) for row in range(len(root))]


_LEARN: dict[str, Callable[[str, Any, Table], Target]] = {
    "classify": _classify,
    "multilabel": _multilabel,
    "regress": _regress,
    "ground": _ground,
}
_KNOWN: dict[str, Callable[[str, Any, Table, list[Cell], Mapping[str, Any]], Target]] = {
    "classify": _as_classes,
    "multilabel": _as_labels,
    "regress": _as_numbers,
    "ground": _as_boxes,
}


def pick(targets: dict[str, Target], indices: Sequence[int]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Values and presence of every task for some rows."""
    rows = torch.tensor(indices, dtype=torch.long)
    return {n: t.values[rows] for n, t in targets.items()}, {n: t.has[rows] for n, t in targets.items()}
