"""Boxes in cells: four numbers, as a list or as text; what is none is told, and its row is not used for the task."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.boxes import converted
from triptych.data.table import Cell, Table

LARGEST = 1e7
SLACK = 0.01
"""Edges may lie so much outside, in shares: they were rounded."""
APART = re.compile(r"[\s,;]+")
BRACKETS = "[]()"


def read_box(cell: Cell) -> list[float] | str:
    """The four numbers of a cell, or what is wrong with it."""
    if isinstance(cell, list):
        entries = [str(entry) for entry in cell]
    else:
        entries = [entry for entry in APART.split(str(cell).strip().strip(BRACKETS).strip()) if entry]
    try:
        numbers = [float(entry) for entry in entries]
    except ValueError:
        return "not four numbers"
    if len(numbers) != 4:
        return f"{len(numbers)} number{'s' if len(numbers) != 1 else ''} in place of four"
    if not all(math.isfinite(number) and abs(number) < LARGEST for number in numbers):
        return "a number without bounds"
    return numbers


def read_boxes(name: str, task: Any, cells: Sequence[Cell]) -> tuple[Tensor, Tensor, list[str]]:
    """Corners (N, 4) in the task's unit, which rows have a box (N), and what is to be said of those that hold something else."""
    corners_N4 = torch.zeros(len(cells), 4, dtype=torch.float64)
    has_N = torch.zeros(len(cells), dtype=torch.bool)
    wrong: list[str] = []
    for row, cell in enumerate(cells):
        if cell is None:
            continue
        found = read_box(cell)
        why = found if isinstance(found, str) else None
        if why is None:
            corners_N4[row] = converted(torch.tensor(found, dtype=torch.float64), task.form, "xyxy")
            why = _impossible(corners_N4[row].tolist(), task)
        if why is None:
            has_N[row] = True
        else:
            wrong.append(f"{str(cell)[:60]}: {why}")
    return corners_N4, has_N, _told(name, wrong)


def _impossible(corners: list[float], task: Any) -> str | None:
    left, top, right, bottom = corners
    if right <= left or bottom <= top:
        return "it has no size"
    if min(left, top) < (-SLACK if task.unit == "shares" else -LARGEST) or (task.unit == "shares" and max(right, bottom) > 1 + SLACK):
        return "it lies outside"
    return None


def outside(name: str, cells: Sequence[Cell], corners_N4: Tensor, has_N: Tensor, extent_N2: Tensor) -> tuple[Tensor, list[str]]:
    """Which rows' boxes, in the values' own unit, lie within the values; and what is to be said of the others."""
    slack_N2 = (SLACK * extent_N2).clamp(min=1)
    within_N = (corners_N4[:, :2] >= -slack_N2).all(1) & (corners_N4[:, 2:] <= extent_N2 + slack_N2).all(1)
    gone = (has_N & ~within_N).nonzero()[:, 0].tolist()
    wrong = [f"{str(cells[n])[:60]}: it lies outside of {extent_N2[n, 0]:g} x {extent_N2[n, 1]:g}" for n in gone]
    return has_N & within_N, _told(name, wrong)


def _told(name: str, wrong: list[str]) -> list[str]:
    if not wrong:
        return []
    cells = "cell is no box" if len(wrong) == 1 else "cells are no boxes"
    rows = "its row is" if len(wrong) == 1 else "those rows are"
    return [f"task {name}: {len(wrong):,} {cells} ({'; '.join(wrong[:3])}); {rows} not used for it"]


def learnable(name: str, task: Any, table: Table, has_N: Tensor, findings: list[str]) -> None:
    """Refuse training rows without a box.

    Raises:
        InputError: none of them has one.
    """
    if bool(has_N[table.at("train")].any()):
        return
    seen = f": {findings[0]}" if findings else ""
    far = any("outside" in finding for finding in findings) and task.unit == "shares"
    fix = (
        f"--set tasks.{name}.unit=own, if these are not shares from 0 to 1"
        if far
        else f"four numbers a cell, [0.1, 0.2, 0.3, 0.4], as tasks.{name}.form says ({task.form})"
    )
    raise InputError(f"task {name}: no training row has a box in {task.target!r}{seen}", where=table.source, fix=fix)
