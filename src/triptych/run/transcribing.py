"""What a task that reads a sequence must know of its input, and rows whose text cannot be heard in so few frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from triptych.base.errors import InputError
from triptych.contract.modality import Paced
from triptych.contract.part import Encoder
from triptych.contract.spelling import frames_needed
from triptych.data.remembered import Column
from triptych.data.table import Table
from triptych.data.targets import Target
from triptych.run.lengths import Lengths
from triptych.run.recipe import Recipe

SHOWN = 3


def sequence_facts(recipe: Recipe, name: str, inputs: Mapping[str, Column], encoders: Mapping[str, Encoder]) -> dict[str, Any]:
    """Of a task's input: its name, the width of its encoder's tokens, and seconds from one token to the next.

    Raises:
        InputError: its encoder gives tokens that do not follow each other in time.
    """
    given = recipe.tasks[name].input  # type: ignore[union-attr]
    assert given is not None  # the recipe was checked
    encoder, preparation = encoders[given], inputs[given].preparation
    stride, pace = encoder.stride, preparation.pace() if isinstance(preparation, Paced) else 0.0
    if stride is None or not pace:
        kind = recipe.inputs[given].encoder.kind
        what = f"tasks.{name} reads what input {given!r} says over time, and its encoder ({kind}) gives no steps in the order of time"
        fix = "an encoder that says one thing a step of time; of a pretrained one a single piece of each row: see docs/guides/transcribe.md"
        raise InputError(what, where=f"inputs.{given}.encoder", fix=fix)
    return {"input": given, "sequence": encoder.width, "frame": stride * pace}


def fitting(name: str, target: Target, table: Table, column: str, given: str, frame: float, lengths: Sequence[Lengths]) -> Target:
    """The target without training rows whose text has more symbols than the input has tokens: nothing can be learnt from them.

    Rows of the other sides stay: there the model is wrong, and that counts.
    """
    seconds_N = _seconds(table, column, given, lengths)
    if seconds_N is None:
        return target
    ids, long = table.rows.ids(), []
    for row in table.at("train"):
        needed = frames_needed([c for c in target.values[row].tolist() if c > 0]) if bool(target.has[row]) else 0
        if needed > math.ceil(float(seconds_N[row]) / frame) + 1:
            long.append(row)
    if not long:
        return target
    has = target.has.clone()
    has[long] = False
    if not bool(has[table.at("train")].any()):
        what = f"task {name}: the text of every training row has more symbols than {given!r} has steps, one in {1000 * frame:.0f} ms"
        raise InputError(what, where=table.source, fix=f"shorter steps of time for {given!r}, or check that texts belong to their rows")
    told = (
        f"task {name}: {len(long):,} training row{'s have' if len(long) > 1 else ' has'} more symbols in the text than {given!r} has "
        f"steps, one in {1000 * frame:.0f} ms ({', '.join(ids[row] for row in long[:SHOWN])}); not used for it"
    )
    return replace(target, has=has, findings=[*target.findings, told])


def _seconds(table: Table, column: str, given: str, lengths: Sequence[Lengths]) -> np.ndarray | None:
    """How long each row's value is; where all are alike, that one length."""
    if column in table.lengths:
        return np.asarray(table.lengths[column])
    longest = next((min(one.longest, one.limit) for one in lengths if one.input == given and one.unit == "seconds"), None)
    return None if longest is None else np.full(len(table.rows), longest)
