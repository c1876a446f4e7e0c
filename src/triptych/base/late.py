"""Packages that are read late: torchmetrics reads transformers, scipy.signal and more at its start, and most of it is not needed.

Lightning and the scores need a few of its modules. What it offers stays whole: the rest is read when somebody asks for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

HOMES = "_homes"


class Late(ModuleType):
    """A package whose own `__init__` is carried out when a name is asked for that it alone gives; its modules are there at once.

    As `importlib.util.LazyLoader`, which reads a package as soon as one of its modules is imported.
    """

    def __getattr__(self, name: str) -> Any:
        """A name whose home is known comes from there; any other comes from the whole."""
        homes = self.__dict__[HOMES]
        if name in homes:
            found = getattr(importlib.import_module(homes[name]), name)
            setattr(self, name, found)
            return found
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(self)
        return getattr(self, name)


def late(package: str, homes: Mapping[str, str], **values: Any) -> None:
    """Read the package late, unless it was read already.

    Args:
        package: its whole name; the one above it is there.
        homes: names that it gives, and the modules that they come from.
        values: what it gives besides, before it is read.
    """
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.loader is None:  # it is not installed: whoever imports it is told so
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = Late
    module.__dict__.update({HOMES: dict(homes), **values})
    sys.modules[package] = module
    above, _, name = package.rpartition(".")
    if above:
        setattr(sys.modules[above], name, module)


def late_scores() -> None:
    """Of torchmetrics, read what Lightning and triptych use. To be called before either is imported, where torch is needed anyway."""
    if "torchmetrics" in sys.modules:
        return
    homes = {"Metric": "torchmetrics.metric", "MetricCollection": "torchmetrics.collections", "__version__": "torchmetrics.__about__"}
    late("torchmetrics", homes, _logger=logging.getLogger("torchmetrics"))
    late("torchmetrics.functional", {})
    importlib.import_module("torchmetrics.utilities")  # its modules import each other in a circle, which the package enters here
