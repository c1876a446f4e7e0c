"""Nothing frozen is computed twice: what the frozen part of an encoder gives is kept by content, for all runs and recipes.

A folder of the cache, `features/KEY`, holds what one frozen part gives with one preparation; a row in it is found by the
content of its cell. So another rate, another head, another split, or the same files under other names compute nothing anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

import triptych
from triptych.base.errors import TriptychError
from triptych.base.files import cache_root, write_json
from triptych.base.settings import spelled_out
from triptych.contract.part import Encoder
from triptych.contract.values import Encoded, Item, Packed
from triptych.data.ahead import ahead
from triptych.data.inputs import InputColumn
from triptych.data.kept import ABOUT, Kept, Key, key
from triptych.data.looks import Looks, code_of, is_media
from triptych.data.remembered import Remembered, taken_apart
from triptych.layers.tower import POOLED, TOKENS
from triptych.run.bench import Bench
from triptych.run.progress import Voice
from triptych.run.recipe import TRAINABLE, Stage

FOLDER = "features"
ROWS = 32
"""Encoded at once; rows of like length come together."""
PART_BYTES, PART_SECONDS = 2**26, 20.0
"""A part is written when it holds so much, or so long after the last: what a kill may cost."""


def remember(bench: Bench, number: int, voice: Voice) -> None:
    """Let stage `number` and all that is measured around it read what is remembered; what is not yet is computed now.

    Raises:
        TriptychError: a row cannot be read any more.
    """
    for name, column in list(bench.inputs.items()):
        plain = column.plain if isinstance(column, Remembered) else column
        encoder = bench.model.encoders[name]
        assert isinstance(encoder, Encoder)
        last = last_trained(name, bench.recipe.stages[: number + 1])
        if last is None or not bench.recipe.training.remember or type(encoder).cut is Encoder.cut:
            bench.inputs[name] = plain
            continue
        whole = last == 0 and (bench.model.fusion.reads_sequences or bool(encoder.fresh()))
        if not (isinstance(column, Remembered) and column.cut == (last, whole)):
            bench.inputs[name] = _remembered(bench, name, encoder, plain, (last, whole), voice)


def last_trained(name: str, stages: Sequence[Stage]) -> int | None:
    """How many of a part's last blocks these stages train: 0 where it is frozen, None where all of it learns."""
    most = 0
    for words in (words for stage in stages for words in stage.train):
        match = TRAINABLE.match(words)
        if match is None or match["part"] not in (name, "all"):
            continue
        if match["last"] is None:
            return None
        most = max(most, int(match["last"]))
    return most


def _remembered(bench: Bench, name: str, encoder: Encoder, plain: InputColumn, cut: tuple[int, bool], voice: Voice) -> Remembered:
    """The input with all its rows in memory, computed now where they are not."""
    precision = bench.precision if encoder.facts.get("digest") else "float32"
    about = _about(encoder, plain, *cut, precision)
    kept = Kept(cache_root() / FOLDER / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24])
    keys = _row_keys(bench, plain)
    if bench.ranks.first:
        if kept.damaged:
            voice.say(f"  {kept.damaged} files of what was remembered of {name} were damaged: those rows are computed again")
        rows = [row for row, place in zip(keys, kept.places(list(keys.values())).tolist(), strict=True) if place < 0]
        told = f"{len(keys) - len(rows):,} of {len(keys):,} rows of {name} are remembered"
        voice.say(f"  {told}" + ("" if rows else "; nothing of it is computed"))
        if rows:
            if not (kept.folder / ABOUT).exists():
                write_json(kept.folder / ABOUT, {**about, "input": name, "of": str(getattr(encoder.settings, "name", ""))})
            _compute(bench, name, encoder, plain, [rows, keys], cut, kept, voice)
    bench.ranks.wait()
    kept.refresh()
    return Remembered(plain, kept, keys, cut)


def _about(encoder: Encoder, plain: InputColumn, last: int, whole: bool, precision: str) -> dict[str, Any]:
    """All that decides what is given for a row, but for the row: another word anywhere is another folder."""
    with tempfile.TemporaryDirectory() as folder:
        plain.preparation.save(Path(folder))
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).rglob("*")) if path.is_file()}
    prepared = hashlib.sha256(b"".join(name.encode() + b"\0" + content for name, content in files.items())).hexdigest()
    settings = {word: value for word, value in spelled_out(encoder.settings).items() if word not in ("name", "revision", "lora")}
    code = [code_of(package) for package in (type(plain.room).__module__, "triptych.layers")]
    given = "what enters the last " + str(last) if last else "tokens" if whole else "vectors"
    return {
        "base": encoder.facts["digest"],
        "settings": settings,
        "prepared": prepared,
        "given": given,
        "precision": precision,
        "code": code,
        "version": triptych.__version__,
    }


def _row_keys(bench: Bench, plain: InputColumn) -> dict[int, Key]:
    """The content of each row's cell, of the rows that are on a side of the split."""
    rows = [row for row in range(len(plain.there_N)) if plain.has(row)]
    keys: dict[int, Key] = {}
    with contextlib.closing(Looks()) as looks:
        for row, cell in zip(rows, _cells(plain, rows), strict=True):
            try:
                keys[row] = key("media", looks.content(cell)) if is_media(cell) else key("cell", json.dumps(cell))
            except OSError as problem:
                fix = "it was fine when the rows were checked: put it back as it was, and train again"
                raise TriptychError(f"a file cannot be read any more: {problem}", where=str(cell), fix=fix) from problem
    return keys


def _cells(plain: InputColumn, rows: Sequence[int]) -> Iterator[Any]:
    for start in range(0, len(rows), 1024):
        for row in plain.table.rows.take(rows[start : start + 1024], [plain.column]):
            yield row.cells[plain.column]


def _compute(
    bench: Bench, name: str, encoder: Encoder, plain: InputColumn, asked: list[Any], cut: tuple[int, bool], kept: Kept, voice: Voice
) -> None:
    """The rows that are missing, in batches of like length, written part by part."""
    rows, keys = asked
    once = dataclasses.replace(plain, keep_bytes=0)  # each is prepared once, so nothing of it is worth keeping
    lengths_N = bench.table.lengths.get(plain.column)
    order = rows if lengths_N is None else sorted(rows, key=lambda row: float(lengths_N[row]), reverse=True)
    first: dict[Key, int] = {}
    for row in order:
        first.setdefault(keys[row], row)
    todo = list(first.values())
    batches = [todo[start : start + ROWS] for start in range(0, len(todo), ROWS)]
    waiting: tuple[list[Key], list[Item]] = ([], [])
    began = time.monotonic()
    packs = ahead(lambda batch: once.pack(batch)[0], batches, 1, 2)
    with voice.bar() as bar:
        task = bar.add_task(f"remembering {name}", total=len(todo), note="")
        for batch, packed in zip(batches, packs, strict=True):
            assert packed is not None
            waiting[0].extend(keys[row] for row in batch)
            waiting[1].extend(_given(bench, encoder, packed, *cut))
            size = sum(tensor.nbytes for item in waiting[1] for tensor in item.values())
            if size > PART_BYTES or time.monotonic() - began > PART_SECONDS:
                kept.add(*waiting)
                waiting, began = ([], []), time.monotonic()
            bar.update(task, advance=len(batch))
        if waiting[0]:
            kept.add(*waiting)


@torch.no_grad()
def _given(bench: Bench, encoder: Encoder, packed: Packed, last: int, whole: bool) -> list[Item]:
    """What the frozen part gives for a batch, an item a row."""
    was_training = encoder.training
    encoder.eval()
    device = torch.device(bench.device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bench.precision == "bf16"):
        given = encoder.cut(packed.to(device), last)
        if last == 0 and not whole:
            made: Encoded = encoder(given)
            pooled_PD = made.pooled_BD.float()
            given = Packed({TOKENS: pooled_PD[:, None], POOLED: pooled_PD})
    encoder.train(was_training)
    return taken_apart(given)
