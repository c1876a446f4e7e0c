"""Prepared items kept on the disk: memory stays flat however many rows there are, and no row is prepared twice."""

from __future__ import annotations

import math
import os
import struct
import threading
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from triptych.base.files import nameless
from triptych.contract.values import Item

ALIGN = 8  # bytes: a tensor of any number type may start there
LONGEST = 1 << 30  # bytes of one item: less than what one call writes
RAW: dict[int, np.dtype[Any]] = {1: np.dtype(np.uint8), 2: np.dtype(np.int16), 4: np.dtype(np.int32), 8: np.dtype(np.int64)}
"""What stands in for a number type that numpy does not have, by its bytes."""


class Layout:
    """The tensors of an item by name, with their types and numbers of dimensions: the same for all items of one input.

    A record is the sides of all tensors as 64-bit numbers, then their numbers, each tensor on a multiple of `ALIGN`.
    """

    def __init__(self, item: Item) -> None:
        """Of one item, which the others are like."""
        self.parts = [(name, tensor.dtype, tensor.ndim) for name, tensor in item.items()]
        self.shapes = struct.Struct("=" + "".join(f"{ndim}q" for _, _, ndim in self.parts))
        self._read = [(name, dtype, dtype.itemsize, *_numpy_type(dtype), ndim) for name, dtype, ndim in self.parts]

    def packed(self, item: Item) -> list[Any] | None:
        """The record's pieces; None where the item is not like the others."""
        if [(name, tensor.dtype, tensor.ndim) for name, tensor in item.items()] != self.parts:
            return None
        pieces: list[Any] = [self.shapes.pack(*(side for tensor in item.values() for side in tensor.shape))]
        for tensor in item.values():
            pieces.append(tensor.contiguous().view(-1).view(torch.uint8).numpy())
            if spare := -tensor.nbytes % ALIGN:
                pieces.append(bytes(spare))
        return pieces

    def unpacked(self, room: memoryview, start: int) -> Item:
        """The item whose record begins at `start`; its tensors lie in `room`."""
        sides = self.shapes.unpack_from(room, start)
        item, at, taken = {}, start + self.shapes.size, 0
        for name, dtype, width, kind, same, ndim in self._read:
            shape = sides[taken : taken + ndim]
            tensor = torch.from_numpy(np.ndarray(shape, kind, room, at))
            item[name] = tensor if same else tensor.view(dtype)
            at, taken = at + -(-math.prod(shape) * width // ALIGN) * ALIGN, taken + ndim
        return item


def _numpy_type(dtype: torch.dtype) -> tuple[np.dtype[Any], bool]:
    """Numpy's type, and whether it is the same one."""
    try:
        return torch.empty(0, dtype=dtype).numpy().dtype, True
    except TypeError:  # bfloat16
        return RAW[dtype.itemsize], False


class Scratch:
    """Items of one input by the row's number, in a file without a name: it is gone when the process is, however that ends.

    Sixteen bytes a row stay in memory. Any number of threads may put and get.
    """

    def __init__(self, rows: int, most: int, folder: Path | None = None) -> None:
        """At most `most` bytes, in `folder` or the cache folder; no file is made before there is something to keep."""
        self.most, self.folder = most, folder
        self.at_N, self.size_N = np.zeros(rows, np.int64), np.zeros(rows, np.int64)
        self.end = 0
        self._layout: Layout | None = None
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()

    def __contains__(self, row: int) -> bool:
        """Whether the row's item is kept."""
        return bool(self.size_N[row])

    def keep(self, rows: Sequence[int], items: Iterable[Item]) -> None:
        """Keep items as far as there is room; one that there is no room for is simply not there later."""
        for row, item in zip(rows, items, strict=True):
            if self.most <= 0:
                return
            if row not in self:
                self._keep(row, item)

    def _keep(self, row: int, item: Item) -> None:
        if self._layout is None:
            self._layout = Layout(item)
        record = self._layout.packed(item)
        size = sum(map(len, record)) if record else LONGEST
        if record is None or size >= LONGEST:
            return
        with self._lock:
            if self.end + size > self.most or not self._opened():
                return
            at, self.end = self.end, self.end + size
        try:
            written = os.pwritev(self._file.fileno(), record, at)  # type: ignore[union-attr]
        except OSError:
            written = 0
        if written < size:  # the disk is full: what is kept stays
            self.most = 0
            return
        self.at_N[row] = at
        self.size_N[row] = size  # last: from here on others may read it

    def _opened(self) -> bool:
        if self._file is None:
            try:
                self._file = nameless(self.folder)
                weakref.finalize(self, self._file.close)
            except OSError:  # no folder takes a file: nothing is kept
                self.most = 0
        return self._file is not None

    def items(self, rows: Sequence[int]) -> list[Item]:
        """The items of rows that are kept. They lie side by side in one piece of memory."""
        if not len(rows):
            return []
        assert self._layout is not None and self._file is not None
        file, sizes = self._file.fileno(), self.size_N[rows]
        ends = np.cumsum(sizes)
        room = np.empty(int(ends[-1]), np.uint8).data
        items = []
        for at, size, end in zip(self.at_N[rows].tolist(), sizes.tolist(), ends.tolist(), strict=True):
            if os.preadv(file, [room[end - size : end]], at) != size:
                raise OSError(f"the scratch file of prepared rows ends before byte {at + size}")
            items.append(self._layout.unpacked(room, end - size))
        return items
