"""The space that things are found in: which of a run's vectors it is of, and how parts of a question become one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError, unknown_word

if TYPE_CHECKING:
    import numpy as np

    from triptych.use.opened import Run

FUSED = "fused"
SMALLEST = 1e-6
"""Length below which a sum of unit vectors points nowhere."""


@dataclass(frozen=True)
class Space:
    """A contrastive task of a run, or what its inputs fuse to; `inputs` are those that have a place in it."""

    name: str
    inputs: tuple[str, ...]

    def digest(self, run: Run) -> str:
        """A word for the model that makes the vectors: all its weights, how every input is prepared, and which space it is.

        It is made of the checksums in run.json, which are compared with the files before a weight is used. A copy of a run has the same.

        Raises:
            InputError: run.json names no checksums.
        """
        sums: Mapping[str, str] = run.folder.read("run.json").get("files") or {}
        made_by = {name: known for name, known in sums.items() if name.startswith(("model/", "inputs/"))}
        if not made_by:
            raise InputError("run.json of the run names no files", where=str(run.folder.path), fix="copy the whole run folder again")
        return hashlib.sha256(json.dumps([self.name, self.inputs, sorted(made_by.items())]).encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """One part of a question: a value of an input, and how much it counts; below 0 it leads away."""

    input: str
    value: Any
    """A path, the bytes of a file (`Blob`, where their name is known), or the value itself where its room reads it: a text."""
    weight: float = 1.0


def space_of(run: Run, asked: str | None = None) -> Space:
    """The space called so; by default the run's contrastive task, and where it has none what its inputs fuse to.

    Raises:
        InputError: there is no such space, or several contrastive tasks and none is named.
    """
    spaces = {name: Space(name, tuple(task.between)) for name, task in run.recipe.tasks.items() if task.kind == "contrast"}
    known = {**spaces, FUSED: Space(FUSED, tuple(run.recipe.inputs))}
    if asked is not None:
        if asked not in known:
            raise unknown_word("space", asked, known, where=str(run.folder.path))
        return known[asked]
    if len(spaces) > 1:
        raise InputError(
            f"this run has several spaces: {', '.join(spaces)}", where=str(run.folder.path), fix=f"--space {next(iter(spaces))}"
        )
    return next(iter(spaces.values()), known[FUSED])


def row_vectors(run: Run, space: Space, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """One vector of length one a row (N, D) float32: the mean of those of all that the row has, each of length one.

    A row is rows of values by input, read or not, and has one of the space's inputs at least. One that points nowhere is all zeros.
    """
    import numpy as np

    found = run.embed_rows([{name: value for name, value in row.items() if name in space.inputs} for row in rows])
    columns = [FUSED] if space.name == FUSED else [f"{space.name}.{name}" for name in space.inputs]
    held = [[vector for column in columns if (vector := found[column][n]) is not None] for n in range(len(rows))]
    return np.stack([_unit(sum(_unit(np.asarray(vector, np.float32)) for vector in vectors)) for vectors in held])


def query_vector(run: Run, space: Space, parts: Sequence[Part]) -> np.ndarray:
    """The unit vectors of all parts times their weights, added, as a vector of length one (D,) float32.

    Raises:
        InputError: there is no part, an input that has no place in the space, a weight that is 0 or no number, or nothing is left.
        BadValue: a value cannot be read.
    """
    import numpy as np

    if not parts:
        raise InputError("there is nothing to look for", known=[f"--{name}" for name in space.inputs], fix="give at least one part")
    for part in parts:
        if part.input not in space.inputs:
            raise unknown_word("input of the index", part.input, space.inputs)
        if not np.isfinite(part.weight) or part.weight == 0:
            raise InputError(f"a part cannot count {part.weight:g} times", where=part.input, fix="1, 0.5, or -0.5 to lead away from it")
    read = [run.read({part.input: part.value}) for part in parts]
    if lacking := [part.input for part, values in zip(parts, read, strict=True) if not values]:
        raise BadValue(f"there is no {lacking[0]} in it")
    vectors_PD = row_vectors(run, space, read)
    whole_D = _unit(np.asarray([part.weight for part in parts], np.float32) @ vectors_PD)
    if not whole_D.any():
        raise InputError("the parts cancel each other out: nothing is left to look for", fix="give one of them another weight")
    return whole_D


def _unit(vector_D: Any) -> Any:
    """Of length one; zeros where it points nowhere or is no number."""
    import numpy as np

    length = np.linalg.norm(vector_D)
    return vector_D / length if np.isfinite(length) and length > SMALLEST else np.zeros_like(vector_D)
