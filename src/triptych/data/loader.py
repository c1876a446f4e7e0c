"""From rows to batches: read and prepared in threads ahead of the step, in an order that can be taken up anywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from triptych.base.errors import InputError
from triptych.base.runtime import usable_cores
from triptych.contract.values import Batch
from triptych.data.ahead import Gate, ahead
from triptych.data.asked import AskedRows
from triptych.data.inputs import InputColumn
from triptych.data.order import Order
from triptych.data.remembered import Column, VariedColumn
from triptych.data.table import Table
from triptych.data.targets import Target, pick
from triptych.data.varied import showings

__all__ = ["InputColumn", "Loader"]

MOST_THREADS = 4
AHEAD = 2
"""Batches made or in the making beyond one a thread."""


class Loader:
    """Batches of some rows of a table.

    Where it is in its epochs can be asked for, and set: `state_dict` counts the batches that were handed out, not those
    that are made ahead.
    """

    def __init__(
        self,
        table: Table,
        inputs: Mapping[str, Column],
        targets: dict[str, Target],
        order: Order,
        threads: int | None = None,
        share: tuple[int, int] = (0, 1),
        varied: Mapping[str, VariedColumn] | None = None,
        asked: Mapping[str, AskedRows] | None = None,
    ) -> None:
        """`threads` make batches; by default as many as there are cores, up to `MOST_THREADS`.

        `share` (this process, all of them): only every so manyth row of a batch is made here. Where none is left for it, the
        first row is, without its id, so that the model has something to do. Of the inputs in `varied`, an epoch shows variants.
        `asked` are the tasks that are answered in writing.
        """
        self.ids = table.rows.ids()
        self.table, self.inputs, self.targets, self.order = table, inputs, targets, order
        self.threads = threads or min(usable_cores(), MOST_THREADS)
        self.epoch, self.position = 0, 0
        self.share, self.varied, self.asked = share, varied or {}, asked or {}
        self._begun = False

    @property
    def rows(self) -> list[int]:
        """The table's rows that batches are made of."""
        return [int(row) for row in self.order.rows_R]

    def __len__(self) -> int:
        """Number of batches an epoch."""
        return len(self.order)

    def __iter__(self) -> Iterator[Batch]:
        """One epoch, or what is left of it after `load_state_dict`; the next call gives the next one."""
        if self._begun:
            self.epoch, self.position = self.epoch + 1, 0
        self._begun = True
        batches = self.order.batches(self.epoch)
        shown: Sequence[np.ndarray | None] = showings(batches, self.epoch) if self.varied else [None] * len(batches)
        left = list(zip(batches, shown, strict=True))[self.position :]
        for batch in self._ahead(left):
            self.position += 1
            yield batch

    def _ahead(self, left: list[tuple[np.ndarray, np.ndarray | None]]) -> Iterator[Batch]:
        gate = Gate(self.threads)

        def made(one: tuple[np.ndarray, np.ndarray | None]) -> Batch:
            rows, shown = one
            with gate.pass_for(len(rows)):
                return self.batch(rows.tolist(), None if shown is None else shown.tolist())

        yield from ahead(made, left, self.threads, self.threads + AHEAD)

    def batch(self, indices: Sequence[int], shown: Sequence[int] | None = None) -> Batch:
        """The batch of these rows; with `shown`, a number a row, of the variants that these showings are.

        Raises:
            TriptychError: a file is gone or was changed since the rows were checked.
        """
        rank, size = self.share
        own = indices[rank::size]
        ids = tuple(self.ids[index] for index in own)
        shares = tuple(tuple(self.ids[index] for index in indices[other::size]) for other in range(size)) if size > 1 else ()
        indices, shown = own or indices[:1], shown and (shown[rank::size] or shown[:1])
        packed, present = {}, {}
        for name, column in self.inputs.items():
            varied = self.varied.get(name)
            made, present[name] = column.pack(indices) if varied is None or shown is None else varied.pack(indices, shown)
            if made is not None:
                packed[name] = made
        values, has = pick(self.targets, indices)
        rows = {name: [index for index, there in zip(indices, has[name].tolist(), strict=True) if there] for name in self.asked}
        asked = {name: self.asked[name].pack(these) for name, these in rows.items() if these}
        return Batch(packed, present, values, has, ids, shares, asked)

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch comes from, as JSON takes it: the epoch, and how many of its batches were handed out."""
        done = self.position >= len(self)
        epoch, position = (self.epoch + 1, 0) if done and self._begun else (self.epoch, self.position)
        return {"epoch": epoch, "position": position, **self._about()}

    def _about(self) -> dict[str, Any]:
        return {"seed": self.order.seed, "rows": len(self.order.rows_R), "batch_size": self.order.batch_size, "batches": len(self)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Let the next iteration begin where `state` was taken; nothing is read or made again to get there.

        Raises:
            InputError: it was taken of other rows or in another order.
        """
        for name, value in self._about().items():
            if state.get(name) != value:
                what = f"the place in the epoch was kept for {name} {state.get(name)}, and this is {name} {value}"
                raise InputError(what, fix="go on with the same rows and recipe, or start anew")
        self.epoch, self.position, self._begun = int(state["epoch"]), int(state["position"]), False
