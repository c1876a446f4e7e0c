"""Choices about the machine, each with its reason, so that a user can read why and say otherwise."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from triptych.base.errors import InputError
from triptych.base.files import cache_root
from triptych.base.freed import keep_freed_memory

CONTROL_GROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Choice:
    """One decision that triptych took or was told to take."""

    name: str
    value: str
    reason: str


@dataclass
class Choices:
    """All decisions of a run, in the order they were taken."""

    made: list[Choice] = field(default_factory=list)

    def note(self, name: str, value: object, reason: str) -> None:
        """Remember a decision."""
        self.made.append(Choice(name, str(value), reason))

    def as_rows(self) -> list[dict[str, str]]:
        """For the run folder and the report."""
        return [asdict(choice) for choice in self.made]


def choose_device(asked: str, choices: Choices) -> str:
    """`cpu`, `cuda` or `mps`.

    Raises:
        InputError: the recipe asks for a device that is not there.
    """
    there = [name for name, ok in (("cuda", torch.cuda.is_available()), ("mps", torch.backends.mps.is_available()), ("cpu", True)) if ok]
    if asked != "auto" and asked not in there:
        raise InputError(f"the recipe asks for the device {asked!r}, which is not there", where="training.device", known=["auto", *there])
    device = there[0] if asked == "auto" else asked
    choices.note("device", device, "as the recipe says" if asked != "auto" else f"the best there is of: {', '.join(there)}")
    return device


def choose_threads(asked: int | None, choices: Choices, sharing: int = 1) -> int:
    """How many threads one operation may use; sets it for the process. `sharing` processes have the cores together."""
    cores = usable_cores()
    threads = asked or max(1, cores // sharing)
    torch.set_num_threads(threads)
    shared = f" by {sharing} processes" if sharing > 1 else ""
    choices.note("threads", threads, "as the recipe says" if asked else f"{cores} cores may be used{shared}")
    return threads


def choose_memory(choices: Choices) -> None:
    """Whether memory that was freed stays with the process: wherever its C library can do that."""
    if keep_freed_memory():
        choices.note("freed memory", "kept", "the next step takes it again, and its pages need not be cleared anew")


# In smaller models casting costs more than the faster product gains (docs/performance.md).
BF16_FROM_PARAMETERS = 3_000_000


def choose_precision(asked: str, device: str, parameters: int, choices: Choices) -> str:
    """`float32` or `bf16` (mixed: weights, losses and statistics stay in float32)."""
    if asked != "auto":
        value, reason = asked, "as the recipe says"
    elif device == "cuda":
        fast = torch.cuda.is_bf16_supported()
        value, reason = ("bf16", "this GPU has it") if fast else ("float32", "this GPU has no bf16")
    elif device == "cpu" and not _has_amx():
        value, reason = "float32", "this CPU has no AMX tiles for bf16"
    elif device != "cpu":
        value, reason = "float32", f"bf16 is not faster on {device}"
    elif parameters < BF16_FROM_PARAMETERS:
        value, reason = "float32", f"{parameters:,} parameters are too few for AMX to pay for its casts"
    else:
        value, reason = "bf16", "this CPU has AMX: matrix products are several times faster than in float32"
    choices.note("precision", value, reason)
    return value


def _has_amx() -> bool:
    return bool(torch.cpu._is_amx_tile_supported())


def usable_cores() -> int:
    """Cores this process may keep busy: of the machine, of its affinity, and of its container's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _container("cpu.max").split()  # "200000 100000": microseconds of processor time a period
    if len(quota) == 2 and quota[0].isdecimal():
        cores = min(cores, max(1, round(int(quota[0]) / int(quota[1]))))
    return cores


def _container(name: str) -> str:
    """What the container's control group (version 2) says; nothing outside of one."""
    try:
        return (CONTROL_GROUP / name).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""


def choose_keep(choices: Choices) -> int:
    """Bytes of prepared rows that may lie on the disk."""
    folder = cache_root()
    budget = min(free_disk(folder) // 4, 64 * 2**30)
    choices.note(
        "prepared rows kept",
        f"up to {budget / 2**30:.1f} GB",
        f"a quarter of the free disk at {folder}, 64 GB at most, until the run ends: what is kept is not prepared again",
    )
    return budget


def free_disk(folder: Path) -> int:
    """Bytes that may still be written where `folder` is or would be; none where the system does not say."""
    there = next((place for place in (folder, *folder.absolute().parents) if place.exists()), Path("/"))
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return 0


class Stopwatch:
    """Wall and processor seconds since it was made; an honest energy estimate needs both."""

    WATTS_A_CORE = 10.0  # a busy server core with its share of memory and board: 5 to 15 W by most vendors' figures

    def __init__(self) -> None:
        """Starts at once."""
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def add(self, cost: Mapping[str, float]) -> None:
        """Count what an earlier part of the work has taken, as `read` gave it."""
        self._wall -= cost.get("seconds", 0.0)
        self._cpu -= cost.get("cpu_seconds", 0.0)

    def read(self) -> dict[str, float]:
        """`seconds`, `cpu_seconds`, and `watt_hours` estimated from the processor time alone (a GPU is not counted)."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"seconds": wall, "cpu_seconds": cpu, "watt_hours": cpu * self.WATTS_A_CORE / 3600}


def matmul_speed(device: str, precision: str, side: int = 1024, seconds: float = 0.2) -> float:
    """Multiplications and additions a second in products of `side` x `side` matrices: the best of those that fit into `seconds`."""
    one = torch.ones(side, side, device=device, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    ended, best = time.perf_counter() + seconds, math.inf
    while True:
        began = time.perf_counter()
        made = one @ one
        float(made[0, 0])  # a device that works on its own is waited for
        best = min(best, time.perf_counter() - began)
        if time.perf_counter() > ended:
            return 2 * side**3 / best
