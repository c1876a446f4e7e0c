"""What a task that draws boxes must know of its input: which part of each value a model is shown, and where boxes lie in it.

A model knows nothing of a value but what its preparation makes of it, which may have edges laid around or cut off. So boxes are
learnt as shares of what is shown, and told in the user's unit again. An IoU is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.boxes import put_back, seen_from
from triptych.contract.modality import Flat
from triptych.contract.part import Encoder
from triptych.data.boxes import learnable, outside
from triptych.data.inputs import InputColumn
from triptych.data.table import Table
from triptych.data.targets import Target
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe

SHAPES = ((1000.0, 1000.0), (1000.0, 370.0), (370.0, 1000.0))
"""Extents that tell whether a preparation shows the whole of any value."""
EDGE = 1e-3


def framed(recipe: Recipe, table: Table, targets: Mapping[str, Target], inputs: Mapping[str, Any], voice: Voice) -> dict[str, Target]:
    """All targets, with boxes as shares of what is shown of each row's value.

    Raises:
        InputError: no training row has a box that lies in its value.
    """
    grounds = {name: task for name, task in recipe.tasks.items() if task.kind == "ground"}
    return {**targets, **{name: _framed(name, task, targets[name], inputs[task.input], table, voice) for name, task in grounds.items()}}


def frame_of(task: Any, room: Any, preparation: Any, extent: tuple[float, float]) -> list[float]:
    """Left, top, width and height of what is shown of a value, in the task's unit."""
    width, height = extent
    frame = cast(Flat, room).shown_part(preparation, extent)
    return list(frame) if task.unit == "own" else [frame[0] / width, frame[1] / height, frame[2] / width, frame[3] / height]


def ground_facts(recipe: Recipe, inputs: Mapping[str, InputColumn], encoders: Mapping[str, Encoder]) -> dict[str, dict[str, Any]]:
    """{task: the width of its input's sequence, and how many places it has}, by a look at one value.

    Raises:
        InputError: the encoder gives one step for a whole value, in which nothing can be found.
    """
    found = {}
    for name, task in recipe.tasks.items():
        if task.kind != "ground":
            continue
        held, encoder = inputs[task.input], encoders[task.input]
        row = next(row for row in range(len(held.table.rows)) if held.has(row))
        was, places = encoder.training, 0
        encoder.eval()
        with torch.no_grad():
            places = encoder(held.preparation.collate(held.items([row])[:1])).mask_BT.shape[1]
        encoder.train(was)
        if places < 2:
            what = f"tasks.{name} asks where something lies in {task.input!r}, and its encoder says one thing of the whole value"
            raise InputError(what, where=f"inputs.{task.input}.encoder", fix="an encoder that gives a sequence, such as cnn or vit")
        found[name] = {"sequence": encoder.width, "places": places}
    return found


def _framed(name: str, task: Any, target: Target, held: InputColumn, table: Table, voice: Voice) -> Target:
    counts_N = torch.as_tensor(held.counts_N)
    has_N, findings = target.has & (counts_N == 1), list(target.findings)
    if several := int((target.has & (counts_N > 1)).sum()):
        findings.append(f"task {name}: {several:,} rows have several values of {task.input!r}, and it is not clear in which the box lies")
    frame_N4 = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64).repeat(len(has_N), 1)
    if task.unit == "own" or not _whole(held):
        extent_N2, frame_N4 = _extents(task, has_N, held, frame_N4, voice)
        if task.unit == "own":
            has_N, told = outside(name, table.column(task.target, f"task {name}"), target.values, has_N, extent_N2)
            findings += told
    if bool(torch.tensor(table.at("train")).numel()):
        learnable(name, task, table, has_N, findings)
    corners_N4 = torch.where(has_N[:, None], seen_from(target.values, frame_N4), 0.0)
    if cut := int(((corners_N4 < -EDGE) | (corners_N4 > 1 + EDGE)).any(1).sum()):
        findings.append(f"task {name}: {cut:,} boxes reach out of what is shown of {task.input!r}; no answer can be right to their edges")
    return replace(target, values=corners_N4.float(), has=has_N, findings=findings, frames=frame_N4)


def _whole(held: InputColumn) -> bool:
    """Whether all of every value is shown, and no more: then nobody needs to know how large each is."""
    parts = [cast(Flat, held.room).shown_part(held.preparation, extent) for extent in SHAPES]
    return all(part == (0.0, 0.0, *extent) for part, extent in zip(parts, SHAPES, strict=True))


def _extents(task: Any, has_N: Tensor, held: InputColumn, frame_N4: Tensor, voice: Voice) -> tuple[Tensor, Tensor]:
    """Width and height of each row's value, and what is shown of it; of rows that have a box."""
    extent_N2, frame_N4 = torch.ones(len(has_N), 2, dtype=torch.float64), frame_N4.clone()
    rows = has_N.nonzero()[:, 0].tolist()
    for row in voice.track(rows, len(rows), f"measuring {task.input}"):
        extent = cast(Flat, held.room).extent(held.value(row))
        extent_N2[row] = torch.tensor(extent, dtype=torch.float64)
        frame_N4[row] = torch.tensor(frame_of(task, held.room, held.preparation, extent), dtype=torch.float64)
    return extent_N2, frame_N4


def in_shares(task: Any, room: Any, value: Any, box_4: Tensor, frame_4: Tensor) -> list[float]:
    """A box as it is learnt, as shares of the whole value: for drawing."""
    corners = put_back(box_4[:4].double().cpu(), frame_4)
    if task.unit == "own":
        width, height = cast(Flat, room).extent(value)
        corners = corners / torch.tensor([width, height, width, height], dtype=torch.float64)
    return corners.clamp(0, 1).tolist()
