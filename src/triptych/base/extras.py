"""The one door to optional packages: an import that fails names the install command."""

from __future__ import annotations

import importlib
from types import ModuleType

from triptych.base.errors import InputError


def need(module: str, *, extra: str, why: str) -> ModuleType:
    """Import `module`, which the extra `extra` installs.

    Raises:
        InputError: it is not installed; the message says `why` it is needed and the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise InputError(
            f"{why} needs the package {module.split('.')[0]!r}, which is not installed", fix=f"pip install 'triptych[{extra}]'"
        ) from error
