"""Modules by a user's names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import nn


class ByName(nn.Module):
    """Like `nn.ModuleDict`, but any name will do: `type`, `train` and `forward` are good names for a user's column."""

    def __init__(self, modules: Mapping[str, nn.Module]) -> None:
        """Keeps the order of `modules`."""
        super().__init__()
        self._names = list(modules)
        for name, module in modules.items():
            self.add_module(f"{name}:", module)  # no attribute of a module ends in a colon

    def __getitem__(self, name: str) -> nn.Module:
        """The module of that name; KeyError where there is none."""
        return self._modules[f"{name}:"]  # type: ignore[return-value]

    def __iter__(self) -> Iterator[str]:
        """The names."""
        return iter(self._names)

    def items(self) -> Iterator[tuple[str, nn.Module]]:
        """Names and modules."""
        return ((name, self[name]) for name in self._names)
