"""triptych trains and fine-tunes models that see, hear and read: one table, one recipe, one run.

import triptych

run = triptych.train("digits")                      # a shipped recipe, or the path of your own
run.predict(image="seven.png")["digit"]["said"]     # -> "seven"
run = triptych.open_run("runs/20250101-120000-digits")
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError, TriptychError

if TYPE_CHECKING:
    from triptych.use.opened import Answer, Run

__all__ = ["Answer", "BadValue", "InputError", "Run", "TriptychError", "__version__", "open_run", "train"]
__version__ = metadata.version("triptych")

# torch's threads (GNU OpenMP) wait for each other by spinning. Where another program wants a core too, that multiplies the
# time of a step; giving up soon costs nothing on an idle machine (docs/performance.md). It is read when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")
