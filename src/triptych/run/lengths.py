"""How long the values of each input are, and what its limit cuts off: said before training."""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych.contract.examined import Examined, Finding
from triptych.contract.modality import Limit, Limited, Preparation
from triptych.data.loader import InputColumn
from triptych.data.looks import Looks, is_media, look_key
from triptych.data.sheet import EXAMPLES
from triptych.data.table import Table
from triptych.modalities import rooms
from triptych.run.recipe import Recipe

LOOKED_AT = 2000
"""Training rows that are measured: the share of rows that a limit cuts is then known to within 2 in 100."""
TOO_MANY = 0.1
"""Share of cut rows from which it is a warning."""
ALLOWED = 0.01
"""Share of cut rows at which a limit is generous enough."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of one input's training rows, in the unit of its limit."""

    input: str
    unit: str
    word: str
    limit: float
    rows: int
    """Rows that were measured, of `of` that have the input."""
    of: int
    shortest: float
    half: float
    most: float
    """Half, and 95 in 100, are at most so long."""
    longest: float
    rows_cut: float
    cut: float
    """Shares: of the rows, and of all of their length."""
    enough: float
    """The limit that would cut 1 row in 100."""
    provisional: bool
    """Whether what must be learnt before a length is known was learnt from the measured rows alone: training learns from all."""
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it."""
        return {**asdict(self), "examples": list(self.examples)}

    def line(self) -> str:
        """`caption: 4 to 412 tokens, half up to 23, 95 % up to 88; max_tokens 128 cuts 2.1 % of the rows, 0.8 % of the tokens`."""
        span = f"{self.input}: {plain(self.shortest)} to {plain(self.longest)} {self.unit}"
        spread = f"half up to {plain(self.half)}, 95 % up to {plain(self.most)}"
        cuts = f"cuts {share(self.rows_cut)} of the rows, {share(self.cut)} of the {self.unit}" if self.rows_cut else "cuts nothing"
        return f"{span}, {spread}; {self.word} {plain(self.limit)} {cuts} ({self.measured()})"

    def measured(self) -> str:
        """`2,000 of 31,000 training rows`."""
        if self.rows == self.of:
            return f"{self.of:,} training rows"
        return f"{self.rows:,} of {self.of:,} training rows" + (", as is learnt from these alone" if self.provisional else "")

    def finding(self) -> Finding | None:
        """What to say of the cut, if anything is."""
        if not self.rows_cut:
            return None
        text = (
            f"{self.input}: {self.word} {plain(self.limit)} cuts {share(self.rows_cut)} of the training rows"
            f" and {share(self.cut)} of their {self.unit}: the rest is not seen"
        )
        text += f" ({self.rows:,} of {self.of:,} rows were measured)" if self.rows < self.of else ""
        better = (
            f"{plain(self.enough)} would cut 1 % of the rows"
            if self.enough > self.limit
            else f"{plain(math.ceil(round(self.longest * 10, 6)) / 10)} would cut none"
        )
        fix = f"prepare.{self.word}: {better}; or divide long ones into several rows"
        severity = "warning" if self.rows_cut > TOO_MANY else "note"
        return Finding(severity, "cut", text, fix, round(self.rows_cut * self.rows), self.examples)  # type: ignore[arg-type]


def measure_lengths(table: Table, inputs: Mapping[str, InputColumn], provisional: bool = False) -> list[Lengths]:
    """Of each input that has a limit."""
    found = []
    for name, held in inputs.items():
        preparation = held.preparation
        rows = [index for index in table.at("train") if held.has(index)]
        if isinstance(preparation, Limited) and rows:
            looked = sorted(random.Random(0).sample(rows, min(LOOKED_AT, len(rows))))
            lengths = _lengths(held, preparation, looked)
            ids = table.rows.ids()
            found.append(
                _summed(
                    name,
                    preparation.limit(),
                    lengths,
                    [ids[index] for index in looked],
                    len(rows),
                    provisional and preparation.limit().learnt,
                )
            )
    return found


def _lengths(held: InputColumn, preparation: Limited, rows: list[int]) -> list[float]:
    """Of these rows. Of media they are kept by content: where all else is remembered, no file is decoded for its length alone."""
    cells = [row.cells[held.column] for row in held.table.rows.take(rows, [held.column])]
    media = [cell for cell in cells if is_media(cell)]
    if preparation.limit().learnt or len(media) < len(cells):
        return preparation.lengths(held.value(index) for index in rows)
    about = f"length {digest_of(held.preparation)}"
    with contextlib.closing(Looks()) as looks:
        keys = [look_key(held.room, about, looks.content(cell)) for cell in media]
        known = {row: seen.length for row, key in zip(rows, keys, strict=True) if (seen := looks.get(key))}
        lacking = [(row, key) for row, key in zip(rows, keys, strict=True) if row not in known]
        for (row, key), length in zip(lacking, preparation.lengths(held.value(row) for row, _ in lacking), strict=True):
            known[row] = length
            looks.put(key, Examined(content=0, length=length))
    return [known[row] for row in rows]


def digest_of(preparation: Preparation) -> str:
    """One word for all that a preparation saves."""
    with tempfile.TemporaryDirectory() as folder:
        preparation.save(Path(folder))
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    return hashlib.sha256(b"".join(name.encode() + b"\0" + content for name, content in files.items())).hexdigest()


def lengths_before(recipe: Recipe, table: Table) -> list[Lengths]:
    """The same without training: what a preparation must learn for it, it learns from the measured rows."""
    inputs = {
        name: InputColumn(room := rooms()[settings.modality], room.preparation(settings), recipe.columns()[name], table, 0)
        for name, settings in recipe.inputs.items()
    }
    return measure_lengths(table, inputs, provisional=True)


def _summed(name: str, limit: Limit, lengths: list[float], ids: list[str], of: int, provisional: bool) -> Lengths:
    lengths_N = np.array(lengths)
    over_N = np.maximum(lengths_N - limit.most, 0)
    over_N[over_N < limit.step / 2] = 0  # what is lost is less than can be said
    shortest, half, most, longest = (float(np.quantile(lengths_N, share, method="higher")) for share in (0, 0.5, 0.95, 1))
    kept = float(np.quantile(lengths_N, 1 - ALLOWED, method="inverted_cdf"))
    cut = np.flatnonzero(over_N)
    examples = tuple(ids[place] for place in cut[:EXAMPLES])
    shares = float(np.mean(over_N > 0)), float(over_N.sum() / max(lengths_N.sum(), 1e-9))
    enough = round(math.ceil(round(kept / limit.step, 6)) * limit.step, 6)
    return Lengths(
        name, limit.unit, limit.word, limit.most, len(lengths), of, shortest, half, most, longest, *shares, enough, provisional, examples
    )


def plain(number: float) -> str:
    """`412`, `1.5`."""
    return f"{number:,.0f}" if float(number).is_integer() else f"{number:,.1f}" if number >= 0.1 else f"{number:.2g}"


def share(part: float) -> str:
    """`2.1 %`."""
    return f"{part:.1%}".replace("%", " %") if part >= 0.001 or not part else "under 0.1 %"
