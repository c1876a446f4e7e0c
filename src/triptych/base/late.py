"""Packages that are read late: torchmetrics reads transformers, scipy.signal and more at its start, and most of it is not needed.

Lightning and the scores need a few of its modules. Lightning and torch's optimisers ask torch's compiler only whether something is
compiled, which nothing is before it was read. What they offer stays whole: the rest is read when somebody asks for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

HOMES = "_homes"
COMPILER = "torch._dynamo"
_DRAW = ("plot_single_or_multi_val", "plot_confusion_matrix", "plot_curve")


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
        self.read()
        return getattr(self, name)

    def read(self) -> None:
        """Carry out the package's own `__init__`: from here on it is as any other."""
        self.__class__ = ModuleType  # type: ignore[assignment]
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(self)


def late(package: str, homes: Mapping[str, str], **values: Any) -> None:
    """Read the package late, unless it was read already.

    Args:
        package: its whole name; the one above it is there.
        homes: names that it gives, and the modules that they come from.
        values: what it gives besides, before it is read.
    """
    if package in sys.modules:
        return
    above, _, name = package.rpartition(".")
    spec = _spec(package)
    if spec is None or spec.loader is None:  # it is not installed: whoever imports it is told so
        return
    module = importlib.util.module_from_spec(spec)
    module.__class__ = Late
    module.__dict__.update({HOMES: dict(homes), **values})
    sys.modules[package] = module
    if above in sys.modules:
        setattr(sys.modules[above], name, module)


def _spec(package: str) -> ModuleSpec | None:
    """Where it lies, without reading what is above it: `importlib.util.find_spec` would."""
    path: list[str] | None = None
    parts = package.split(".")
    for depth in range(1, len(parts)):
        above = PathFinder.find_spec(".".join(parts[:depth]), path)
        path = list(above.submodule_search_locations or []) if above else []
    return PathFinder.find_spec(package, path)


def late_scores() -> None:
    """Of torchmetrics, read what Lightning and triptych use. To be called before either is imported, where torch is needed anyway."""
    if "torchmetrics" in sys.modules:
        return
    homes = {"Metric": "torchmetrics.metric", "MetricCollection": "torchmetrics.collections", "__version__": "torchmetrics.__about__"}
    late("torchmetrics", homes, _logger=logging.getLogger("torchmetrics"))
    late("torchmetrics.functional", {})
    words = {"_AX_TYPE": Any, "_PLOT_OUT_TYPE": Any, "_CMAP_TYPE": Any}  # what drawing a metric says of its words; pyplot would tell them
    late("torchmetrics.utilities.plot", {}, **words, **{name: _drawn_by(name) for name in _DRAW})
    importlib.import_module("torchmetrics.utilities")  # its modules import each other in a circle, which the package enters here


def _drawn_by(name: str) -> Callable[..., Any]:
    """What draws a metric, under the name that metrics import: pyplot is read when one is drawn."""

    def drawn(*words: Any, **more: Any) -> Any:
        plot: Any = sys.modules["torchmetrics.utilities.plot"]
        if isinstance(plot, Late):
            plot.read()
        return getattr(plot, name)(*words, **more)

    return drawn


class _WholeFirst(MetaPathFinder):
    """A module of the compiler is imported: the package is read first, as ever, and it has read that module then, or it has not."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None where nothing was read, or not this: the other finders go on."""
        package = sys.modules.get(COMPILER)
        if not fullname.startswith(f"{COMPILER}.") or not isinstance(package, Late):
            return None
        package.read()
        return ModuleSpec(fullname, _Read(sys.modules[fullname])) if fullname in sys.modules else None


class _Read(Loader):
    """Gives a module that was read already; two of one name would be two kinds of everything in it."""

    def __init__(self, module: ModuleType) -> None:
        """Its own spec is put back: importlib gives it that of this loader."""
        self.module, self.spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module."""
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        """It was carried out."""
        module.__spec__ = self.spec


class _OptimizedKind(type):
    def __instancecheck__(cls, one: Any) -> bool:
        real = sys.modules.get(f"{COMPILER}.eval_frame")
        return real is not None and isinstance(one, real.OptimizedModule)


class OptimizedModule(metaclass=_OptimizedKind):
    """What `torch.compile` makes of a module, for whoever only asks whether one is: none is before the compiler was read."""


def _as_it_is(made: Callable[..., Any] | None = None, *words: Any, **more: Any) -> Any:
    """Kept from being compiled: as it is, where nothing compiles. A decorator with words too."""
    return made if made is not None else _as_it_is


def _nothing() -> None:
    """Where compiled code would be cut in two."""


def late_compiler() -> None:
    """Read torch's compiler when somebody compiles. To be called before Lightning is imported, where torch is needed anyway."""
    if COMPILER in sys.modules:
        return
    importlib.import_module("torch")
    late(COMPILER, {}, OptimizedModule=OptimizedModule, disable=_as_it_is, graph_break=_nothing)
    sys.meta_path.insert(0, _WholeFirst())
