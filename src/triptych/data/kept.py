"""Tensors by key in files that are whole or absent: what was computed once, for all who come later.

A folder holds parts, each a safetensors file with some rows: their keys, and of each tensor all rows one after the other.
A part is written aside and renamed, so any number of processes may add to a folder, and a killed one loses its last part
alone. A row that two of them added is there twice and read once. Parts are mapped into memory, not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from triptych.base.files import held, written_aside
from triptych.contract.values import Item
from triptych.data.shelf import ABOUT, KEYS, LOCK, SUFFIX

__all__ = ["ABOUT", "KEY", "Kept", "Key", "key"]

KEY = 16
"""Bytes of a key."""
SIZES = "sizes."
Key = bytes


class _Part(NamedTuple):
    """The tensors of one file by name; `starts` says where each row's begin along the first side."""

    tensors: dict[str, Tensor]
    starts: dict[str, np.ndarray]


class Kept:
    """Items by key. All items of a folder have tensors of the same names, types and sides, but for the first side."""

    def __init__(self, folder: Path) -> None:
        """Open what is there. A part that is damaged is removed, and `damaged` counts it: what it held is computed again."""
        self.folder, self.damaged = folder, 0
        if (lock := held(folder / LOCK)) is not None:
            weakref.finalize(self, os.close, lock)
        self._parts: list[_Part] = []
        self._seen: set[str] = set()
        self._keys_N = np.zeros(0, f"S{2 * KEY}")
        self._at_N = np.zeros((0, 2), np.int64)
        self.refresh()

    def __len__(self) -> int:
        """How many rows are kept."""
        return len(self._keys_N)

    def refresh(self) -> None:
        """Take in what others have added."""
        for path in sorted(self.folder.glob(f"[!.]*{SUFFIX}")):
            if path.name not in self._seen:
                self._seen.add(path.name)
                self._open(path)

    def _open(self, path: Path) -> None:
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
                said = (file.metadata() or {}).get("sum")
            keys = tensors.pop(KEYS)
            if said != _sum({KEYS: keys, **tensors}):
                raise ValueError("it is not what was written")
        except FileNotFoundError:  # somebody freed it just now
            return
        except (SafetensorError, OSError, ValueError, KeyError):
            self.damaged += 1
            with contextlib.suppress(OSError):
                path.unlink()
            return
        names = [name for name in tensors if not name.startswith(SIZES)]
        starts = {name: np.concatenate([[0], tensors[SIZES + name].numpy().cumsum()]) for name in names}
        self._parts.append(_Part({name: tensors[name] for name in names}, starts))
        hexed = np.array([row.tobytes().hex().encode() for row in keys.numpy()], f"S{2 * KEY}")
        places = np.stack([np.full(len(hexed), len(self._parts) - 1), np.arange(len(hexed))], 1)
        whole, at = np.concatenate([self._keys_N, hexed]), np.concatenate([self._at_N, places])
        self._keys_N, first = np.unique(whole, return_index=True)
        self._at_N = at[first]

    def places(self, keys: Sequence[Key]) -> np.ndarray:
        """Where each key's row is, as `items` takes it; -1 where it is not there."""
        wanted = np.array([key.hex().encode() for key in keys], f"S{2 * KEY}")
        if not len(self._keys_N):
            return np.full(len(wanted), -1)
        near = np.searchsorted(self._keys_N, wanted).clip(max=len(self._keys_N) - 1)
        return np.where(self._keys_N[near] == wanted, near, -1)

    def items(self, keys: Sequence[Key]) -> list[Item]:
        """The rows of keys that are all there; their tensors lie in the files."""
        found = []
        for part, row in self._at_N[self.places(keys)].tolist():
            held = self._parts[part]
            found.append({name: tensor[held.starts[name][row] : held.starts[name][row + 1]] for name, tensor in held.tensors.items()})
        return found

    def add(self, keys: Sequence[Key], items: Sequence[Item]) -> None:
        """Write a part.

        Raises:
            OSError: there is no room for it; what was there is whole.
        """
        names = list(items[0])
        tensors = {name: torch.cat([item[name] for item in items]).contiguous() for name in names}
        sizes = {SIZES + name: torch.tensor([len(item[name]) for item in items]) for name in names}
        whole = {KEYS: torch.frombuffer(bytearray(b"".join(keys)), dtype=torch.uint8).view(len(keys), KEY), **tensors, **sizes}
        told = hashlib.sha256(b"".join(keys) + os.urandom(8)).hexdigest()[:24]
        with written_aside(self.folder / f"{told}{SUFFIX}") as aside:
            try:
                save_file(whole, aside, {"sum": _sum(whole)})
            except SafetensorError as error:
                raise OSError(str(error)) from error
        self.refresh()


def key(*words: str) -> Key:
    """A key of words that say all there is to know of a row."""
    return hashlib.blake2b(json.dumps(words).encode("utf-8", "surrogatepass"), digest_size=KEY).digest()


def _sum(tensors: dict[str, Tensor]) -> str:
    """A checksum over all tensors, in the order of their names."""
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(name.encode(), total)
        total = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data, total)
    return f"{total:08x}"
