"""Prepared items kept on the disk: memory stays flat however many rows there are, and no row is prepared twice."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from triptych.base.files import cache_root
from triptych.contract.values import Item

ALIGN = 8  # bytes: a tensor of any number type may start there
LONGEST = 1 << 31  # bytes of one item: what a single read gives


class Layout:
    """The tensors of an item by name, with their types and numbers of dimensions: the same for all items of one input."""

    def __init__(self, item: Item) -> None:
        """Of one item, which the others are like."""
        self.parts = [(name, tensor.dtype, tensor.ndim) for name, tensor in item.items()]
        self.head = sum(ndim for _, _, ndim in self.parts) * 8  # bytes of all shapes

    def packed(self, item: Item) -> np.ndarray | None:
        """The shapes and numbers of an item as bytes; None where it is not like the others."""
        if [(name, tensor.dtype, tensor.ndim) for name, tensor in item.items()] != self.parts:
            return None
        sizes = [_aligned(tensor.nbytes) for tensor in item.values()]
        record = np.zeros(self.head + sum(sizes), np.uint8)
        record[: self.head].view(np.int64)[:] = [side for tensor in item.values() for side in tensor.shape]
        at = self.head
        for tensor, size in zip(item.values(), sizes, strict=True):
            if tensor.nbytes:
                record[at : at + tensor.nbytes] = tensor.contiguous().view(-1).view(torch.uint8).numpy()
            at += size
        return record

    def unpacked(self, record: Tensor) -> Item:
        """The item; its tensors lie in `record`."""
        sides = iter(record[: self.head].view(torch.int64).tolist())
        item, at = {}, self.head
        for name, dtype, ndim in self.parts:
            shape = [next(sides) for _ in range(ndim)]
            size = dtype.itemsize * int(np.prod(shape))
            item[name] = record[at : at + size].view(dtype).view(shape)
            at += _aligned(size)
        return item


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


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
        self._file: int | None = None
        self._lock = threading.Lock()

    def __del__(self) -> None:
        """The file ends with its last user."""
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]
            self._file = None

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
        if record is None or len(record) >= LONGEST:
            return
        with self._lock:
            if self.end + len(record) > self.most or not self._opened():
                return
            at, self.end = self.end, self.end + len(record)
        try:
            written = os.pwrite(self._file, record, at)  # type: ignore[arg-type]
        except OSError:
            written = 0
        if written < len(record):  # the disk is full: what is kept stays
            self.most = 0
            return
        self.at_N[row] = at
        self.size_N[row] = len(record)  # last: from here on others may read it

    def _opened(self) -> bool:
        if self._file is None:
            self._file = _nameless(self.folder or cache_root() / "scratch")
            self.most = self.most if self._file is not None else 0
        return self._file is not None

    def items(self, rows: Sequence[int]) -> list[Item]:
        """The items of rows that are kept. They lie side by side in one piece of memory."""
        if not len(rows):
            return []
        assert self._layout is not None and self._file is not None
        sizes = self.size_N[rows]
        ends = np.cumsum(sizes)
        whole = torch.empty(int(ends[-1]), dtype=torch.uint8)
        room = whole.numpy().data
        items = []
        for at, size, end in zip(self.at_N[rows].tolist(), sizes.tolist(), ends.tolist(), strict=True):
            if os.preadv(self._file, [room[end - size : end]], at) != size:
                raise OSError(f"the scratch file of prepared rows ends before byte {at + size}")
            items.append(self._layout.unpacked(whole[end - size : end]))
        return items


def _nameless(folder: Path) -> int | None:
    """A file that is removed as soon as it is made; None where no folder takes one."""
    for place in (folder, Path(tempfile.gettempdir())):
        try:
            place.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=place, prefix="prepared-")
            os.unlink(name)
            return handle
        except OSError:
            continue
    return None
