"""A tree of plain values and tensors in one file that is whole or absent: what a training needs to go on where it stopped.

The tensors lie in a safetensors file; the tree, with a name in each tensor's place, is JSON in its header, beside a digest of
all of it. Nothing in it is code or pickle, and a flipped byte is found before anything is used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from triptych.base.errors import InputError
from triptych.base.files import written_aside

TENSOR, PAIRS = "$tensor", "$pairs"
"""Marks in the tree: a tensor by its name; a mapping whose keys are not all words, or look like a mark."""


def write_state(path: Path, tree: Mapping[str, Any]) -> None:
    """Write the tree in the place of the one that is there, in one step. Tuples come back as lists.

    Raises:
        OSError: the disk is full; what was there is whole.
        TypeError: the tree holds something else than mappings, lists, texts, numbers, truth values, None and tensors.
    """
    tensors: dict[str, Tensor] = {}
    plain = json.dumps(_packed(tree, "", tensors))
    # Each in memory of its own: safetensors refuses two that share it, such as weights that are tied.
    held = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with written_aside(path) as aside:
        try:
            save_file(held, aside, {"tree": plain, "digest": _digest(plain, held)})
        except SafetensorError as error:  # a full disk, in words only
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else errno.EIO, f"cannot write the state of the training: {error}", str(path)) from error
        with aside.open("rb") as file:
            os.fsync(file.fileno())  # the new name must not reach the disk before the content does


def read_state(path: Path) -> dict[str, Any]:
    """What `write_state` wrote.

    Raises:
        InputError: it is missing or damaged.
    """
    fix = "copy the whole run folder again, or train again"
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 it is no mapping
        if about.get("digest") != _digest(about["tree"], tensors):
            raise InputError("the saved state of the training is damaged: it is not what was written", where=str(path), fix=fix)
        found: dict[str, Any] = _unpacked(json.loads(about["tree"]), tensors)
    except FileNotFoundError as error:
        raise InputError("there is no saved state of a training", where=str(path), fix=fix) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the saved state of the training is damaged: {error}", where=str(path), fix=fix) from error
    return found


def _digest(plain: str, tensors: Mapping[str, Tensor]) -> str:
    told = hashlib.sha256(plain.encode())
    for name in sorted(tensors):
        told.update(f"\n{name} {tensors[name].dtype} {list(tensors[name].shape)}\n".encode())
        told.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return told.hexdigest()


def _packed(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    """The value with marks for its tensors, which are put into `tensors` by their place."""
    if isinstance(value, Tensor):
        tensors[place] = value
        return {TENSOR: place}
    if isinstance(value, Mapping):
        inner = [(key, _packed(held, f"{place}/{key}", tensors)) for key, held in value.items()]
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return dict(inner)
        return {PAIRS: [[key, held] for key, held in inner]}
    if isinstance(value, list | tuple):
        return [_packed(held, f"{place}/{number}", tensors) for number, held in enumerate(value)]
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if TENSOR in value:
            return tensors[value[TENSOR]]
        pairs = value[PAIRS] if PAIRS in value else value.items()
        return {key: _unpacked(held, tensors) for key, held in pairs}
    return [_unpacked(held, tensors) for held in value] if isinstance(value, list) else value
