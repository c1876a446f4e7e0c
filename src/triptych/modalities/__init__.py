"""Floor 3: one room per modality, found by looking: a folder here that defines `MODALITY` is a room."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from triptych.contract.modality import Modality


@functools.cache
def rooms() -> dict[str, Modality]:
    """All rooms by name. Copy a room, fill it in, and recipes know the new modality: no list to add it to."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    found = [importlib.import_module(f"{__name__}.{name}").MODALITY for name in names]
    return {room.name: room for room in found}
