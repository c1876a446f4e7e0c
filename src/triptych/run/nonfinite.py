"""A loss or a gradient that is no number: the step is left out, its batch kept for a look, the first place named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from triptych.base.errors import TriptychError
from triptych.base.files import write_json, written_aside
from triptych.contract.values import Batch
from triptych.model.assemble import Model
from triptych.run.folder import RunFolder
from triptych.run.monitors import Moment, Notice, lower_rate

IN_A_ROW = 5
"""Steps without a number, one after the other, after which training stops; two epochs of them where those have fewer steps."""
KEPT = 3
"""Batches that are kept."""


@dataclass(frozen=True)
class Place:
    """Where something is first not a number, and in which rows of the batch."""

    where: str
    rows: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`input audio, spectra: row 12, row 17`."""
        return self.where + (f": {', '.join(self.rows[:5])}{' ...' if len(self.rows) > 5 else ''}" if self.rows else "")


class NotANumber:
    """Counts the steps that were left out, and says so once a place."""

    name = "not a number"

    def __init__(self, run: RunFolder) -> None:
        """Batches are kept in the run's folder `nan`."""
        self.run = run
        self.steps: list[int] = []
        self.told: list[str] = []
        self.in_a_row, self.kept, self.most = 0, 0, IN_A_ROW

    def fine(self) -> None:
        """A step had a number."""
        self.in_a_row = 0

    def begin(self, steps_an_epoch: int) -> None:
        """A stage begins."""
        self.in_a_row, self.told, self.most = 0, [], min(IN_A_ROW, 2 * steps_an_epoch)

    def bad(self, now: Moment, model: Model, batch: Batch, what: str) -> Notice | None:
        """A step is left out; what is to be said of it, None where that was said already.

        Raises:
            TriptychError: it was one too many in a row.
        """
        self.steps.append(now.step)
        self.in_a_row += 1
        place = first_place(model, batch)
        kept = f" Its batch: {self._keep(now, batch, what, place)} (safetensors.torch.load_file)." if self.kept < KEPT else ""
        if self.in_a_row >= self.most:
            raise TriptychError(
                f"{what} was no number in {self.in_a_row} steps in a row, the last of them step {now.step}; first in {place}",
                where=str(self.run.path / "nan"),
                fix=self._fix(place, now),
            )
        if str(place) in self.told:
            return None
        self.told.append(str(place))
        text = f"{what} is no number at step {now.step}, first in {place}. The step was left out.{kept}"
        return now.notice(self.name, text, self._fix(place, now), now.step, "error")

    @staticmethod
    def _fix(place: Place, now: Moment) -> str:
        if place.where.startswith(("input", "target")):
            return "look at these rows, and take them out or mend them"
        return f"{lower_rate(now)}; --set training.precision=float32 where it is bf16"

    def summary(self) -> str:
        """`3 steps were left out, between step 4 and step 90`; empty where none was."""
        if not self.steps:
            return ""
        count = f"{len(self.steps)} step{'s were' if len(self.steps) > 1 else ' was'} left out because something was no number"
        return f"{count}, between step {self.steps[0]} and step {self.steps[-1]}"

    def _keep(self, now: Moment, batch: Batch, what: str, place: Place) -> Path:
        """Tensors, and beside them which rows they are of; returns the file with the tensors."""
        self.kept += 1
        folder = self.run.path / "nan"
        folder.mkdir(exist_ok=True)
        name = f"step-{now.step}" + (f"-rank-{self.run.rank}" if self.run.rank else "")
        file = folder / f"{name}.safetensors"
        with written_aside(file) as aside:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(batch)}, aside)
        about = {"step": now.step, "epoch": now.epoch, "what": what, "first": place.where, "rows": list(place.rows), "ids": list(batch.ids)}
        write_json(folder / f"{name}.json", about)
        return file

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, as plain values."""
        return {"steps": self.steps, "told": self.told, "in_a_row": self.in_a_row, "kept": self.kept, "most": self.most}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        vars(self).update(state)


def _tensors(batch: Batch) -> Iterator[tuple[str, Tensor]]:
    for column, packed in batch.inputs.items():
        yield from ((f"input.{column}.{name}", tensor) for name, tensor in packed.tensors.items())
        if packed.mask_PT is not None:
            yield f"input.{column}.mask", packed.mask_PT
    yield from ((f"present.{column}", there_B) for column, there_B in batch.present.items())
    yield from ((f"target.{task}", target) for task, target in batch.targets.items())


@torch.no_grad()
def first_place(model: Model, batch: Batch) -> Place:
    """The first thing on the way from inputs to answers that is not finite, with its rows; the gradient where all of it is."""
    for where, tensor, rows_B in _on_the_way(model, batch):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            if not tensor.ndim or rows_B is None or len(tensor) != int(rows_B.sum()):
                return Place(where)
            wrong_P = ~tensor.reshape(len(tensor), -1).isfinite().all(1)
            places = rows_B.nonzero()[:, 0][wrong_P].tolist()
            return Place(where, tuple(batch.ids[place] for place in places) if batch.ids else ())
    return Place(next((f"the gradient of {name}" for name in _parts(model, "grad")), "the loss"))


def _on_the_way(model: Model, batch: Batch) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """(name, tensor, which rows of the batch it has), from inputs to answers."""
    everyone_B = torch.ones_like(next(iter(batch.present.values())))
    for column, packed in batch.inputs.items():
        yield from ((f"input {column}, {name}", tensor, batch.present[column]) for name, tensor in packed.tensors.items())
    for task, target in batch.targets.items():
        yield f"target of {task}", target[batch.has_target[task]], batch.has_target[task]
    yield from ((f"the weights of {name}", torch.tensor(float("nan")), None) for name in _parts(model, "data"))
    passed = model(batch, batch.present)
    for column, encoded in passed.encoded.items():
        yield from ((f"encoder {column}, {name}", tensor, batch.present[column]) for name, tensor in encoded.inner.items())
        yield f"encoder {column}", encoded.pooled_BD, everyone_B
    yield from ((f"fusion, {name}", tensor, everyone_B) for name, tensor in passed.fused.inner.items())
    yield "fusion", passed.fused.pooled_BD, everyone_B
    for task, output in passed.outputs.items():
        yield from ((f"task {task}, {name}", tensor, everyone_B) for name, tensor in output.tensors.items())


def _parts(model: Model, what: str) -> Iterator[str]:
    """Names of parts in which some weight, or its gradient, is not finite."""
    for name, part in model.parts().items():
        held = [getattr(parameter, what) for parameter in part.parameters()]
        if any(tensor is not None and not bool(tensor.isfinite().all()) for tensor in held):
            yield name
