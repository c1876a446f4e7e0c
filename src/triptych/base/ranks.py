"""Several processes that do one work: which of them this one is, and what they say to each other.

Whoever starts the processes says so in the environment: `triptych train --devices 2` (run/launch.py), torchrun, or SLURM.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from triptych.base.errors import TriptychError

T = TypeVar("T")
PATIENCE = timedelta(hours=6)
"""How long one process waits for another: the first one measures and writes alone, and may have much to do."""


@dataclass(frozen=True)
class Ranks:
    """This process among `size` of them; `here` of them are on this machine. The first one alone speaks and writes."""

    rank: int = 0
    size: int = 1
    local: int = 0
    here: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks and writes."""
        return self.rank == 0

    def told(self, value: T) -> T:
        """What the first process has for `value`, in every process."""
        if self.size == 1:
            return value
        import torch.distributed as dist

        held: list[Any] = [value if self.first else None]
        dist.broadcast_object_list(held, 0)
        found: T = held[0]
        return found

    def gathered(self, value: T) -> list[T]:
        """The value of every process, by rank, in each of them."""
        if self.size == 1:
            return [value]
        import torch.distributed as dist

        held: list[Any] = [None] * self.size
        dist.all_gather_object(held, value)
        return held

    def wait(self) -> None:
        """Until every process has come here."""
        self.gathered(None)


ALONE = Ranks()


def ranks() -> Ranks:
    """What the environment says; alone where it says nothing."""
    if os.environ.get("WORLD_SIZE", "").isdecimal() and "RANK" in os.environ:
        local, here = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), local, here)
    if os.environ.get("SLURM_STEP_NUM_TASKS", "1") != "1" and "SLURM_PROCID" in os.environ:  # srun with several tasks
        size = int(os.environ["SLURM_STEP_NUM_TASKS"])
        nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", os.environ.get("SLURM_NNODES", "1")))
        return Ranks(int(os.environ["SLURM_PROCID"]), size, int(os.environ["SLURM_LOCALID"]), max(1, size // nodes))
    return ALONE


@contextmanager
def together(device: str) -> Iterator[Ranks]:
    """Connect the processes there are, for as long as the work takes: over NCCL on GPUs, else over Gloo."""
    mine = ranks()
    if mine.size == 1:
        yield mine
        return
    import torch.distributed as dist
    from lightning.fabric.plugins.environments.lightning import LightningEnvironment
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment

    kinds = (TorchElasticEnvironment, SLURMEnvironment, LightningEnvironment)
    place: Any = next(kind for kind in kinds if kind is LightningEnvironment or kind.detect())()
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = place.main_address, str(place.main_port)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, rank=mine.rank, world_size=mine.size, timeout=PATIENCE)
    try:
        yield mine
    except RuntimeError as problem:
        if (told := plainly(problem, mine)) is not problem:
            raise told from problem
        raise
    finally:
        dist.destroy_process_group()


def plainly(problem: BaseException, mine: Ranks) -> BaseException:
    """The problem itself; in plain words where it is that another process cannot be heard any more."""
    from torch.distributed import DistError

    if mine.size == 1 or not (isinstance(problem, DistError) or (isinstance(problem, RuntimeError) and "gloo" in str(problem))):
        return problem
    what = f"another of the {mine.size} processes that work together is gone: it failed, was killed, or its machine cannot be reached"
    fix = "read what it said, if it could say something; then triptych train --resume RUN goes on with all of them"
    return TriptychError(what, where=f"process {mine.rank} of 0 to {mine.size - 1}", fix=fix)
