"""What one training has on its table, made before the first step: rows, inputs, targets, model, choices."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from triptych.base.ranks import ALONE, Ranks
from triptych.base.runtime import Choices
from triptych.contract.modality import Split
from triptych.contract.writes import Script
from triptych.data.asked import AskedRows
from triptych.data.loader import Loader
from triptych.data.order import Order
from triptych.data.remembered import Column, VariedColumn
from triptych.data.table import Table
from triptych.data.targets import Target
from triptych.model.assemble import Model
from triptych.run.lengths import Lengths
from triptych.run.recipe import Recipe
from triptych.run.writing import Pen, pen_of


@dataclass
class Bench:
    """All that one training has on its table."""

    recipe: Recipe
    choices: Choices
    table: Table
    inputs: dict[str, Column]
    targets: dict[str, Target]
    model: Model
    device: str
    precision: str
    batch_size: int
    lengths: list[Lengths]
    order: Order
    """Of the training rows, shuffled."""
    ranks: Ranks = ALONE
    varied: dict[str, VariedColumn] = field(default_factory=dict)
    """Inputs whose training rows are shown in variants."""
    script: Script | None = None
    """How rows become what the decoder is asked."""
    asked: dict[str, AskedRows] = field(default_factory=dict)
    """Tasks that are answered in writing."""
    stops: list[dict[str, Any]] = field(default_factory=list)

    def loader(self, split: Split, *, shuffled: bool = False, rows: list[int] | None = None) -> Loader:
        """Batches of one side of the split, or of some `rows` of it; `shuffled` are the training rows alone."""
        chosen = self.table.at(split) if rows is None else rows
        order = self.order if shuffled else Order(np.array(chosen, np.int64), self.batch_size)
        if not shuffled:
            return Loader(self.table, self.inputs, self.targets, order, asked=self.asked)
        share = self.ranks.rank, self.ranks.size
        return Loader(self.table, self.inputs, self.targets, order, share=share, varied=self.varied, asked=self.asked)

    def pen(self) -> Pen | None:
        """What writes answers; None where nothing is to be written."""
        return pen_of(self.recipe, self.script)

    def labels(self) -> dict[str, list[str]]:
        """The classes of each task that has some, in the order of its answers."""
        return {name: target.facts["labels"] for name, target in self.targets.items() if "labels" in target.facts}

    def groups(self, rows: list[int]) -> Tensor | None:
        """A number a row, equal where rows are not independent (`data.split.group`); a row without a group is one of its own."""
        column = self.recipe.data.split.group
        if column is None:
            return None
        return groups_of([row.cells.get(column) for row in self.table.rows.take(rows, [column])])

    def judged_side(self) -> Split:
        """Where scores are taken: the test rows, or the next best where nothing was kept for a test."""
        sides: tuple[Split, ...] = ("test", "validation")
        return next((side for side in sides if self.table.at(side)), "train")


def groups_of(cells: list[Any]) -> Tensor:
    """A number a row, equal where the cells are; a row without one is a group of its own."""
    number: dict[str, int] = {}
    return torch.tensor([number.setdefault(f"row {i}" if cell is None else f"cell {cell}", len(number)) for i, cell in enumerate(cells)])
