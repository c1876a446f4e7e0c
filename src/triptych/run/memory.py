"""Nothing frozen is computed twice: what the frozen part of an encoder gives is kept by content, for all runs and recipes.

A folder of the cache, `features/KEY`, holds what one frozen part gives with one preparation; a row in it is found by the
content of its cell. So another rate, another head, another split, or the same files under other names compute nothing anew.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from triptych.base.errors import TriptychError
from triptych.base.files import cache_root, write_json
from triptych.base.settings import spelled_out
from triptych.contract.part import Encoder
from triptych.contract.values import Encoded, Item, Packed
from triptych.data.ahead import ahead
from triptych.data.inputs import InputColumn
from triptych.data.kept import ABOUT, Kept, Key, key
from triptych.data.looks import Looks, code_of, is_media
from triptych.data.remembered import Remembered, RememberedVaried, taken_apart
from triptych.data.shelf import FOLDER
from triptych.data.varied import Varied
from triptych.layers.tower import Tower, vectors_alone
from triptych.run.bench import Bench
from triptych.run.clashes import TRAINABLE
from triptych.run.lengths import digest_of
from triptych.run.progress import Voice
from triptych.run.recipe import Stage

ELSEWHERE = ("name", "revision", "lora", "trust_remote_code")
"""Words of an encoder that its digest says better, code and all, or that change nothing of what is frozen."""
UNLIKE = ("code", "input", "of")
"""Words about what is kept in which two versions, or two recipes, may differ over the same base and preparation."""
LEAST, ROWS = 8, 32
"""Encoded at once: half of what a step of training takes, between these: no slower, and memory is no more than its."""
PART_BYTES, PART_SECONDS = 2**26, 20.0
"""A part is written when it holds so much, or so long after the last: what a kill may cost."""


def remember(bench: Bench, number: int, voice: Voice) -> None:
    """Let stage `number` and all that is measured around it read what is remembered; what is not yet is computed now.

    Under mixup nothing is: rows are mixed before the encoder, in other pairs every time.

    Raises:
        TriptychError: a row cannot be read any more.
    """
    for name, column in list(bench.inputs.items()):
        plain = column.plain if isinstance(column, Remembered) else column
        varied = bench.varied.get(name)
        shown = varied.plain if isinstance(varied, RememberedVaried) else varied
        encoder = bench.model.encoders[name]
        assert isinstance(encoder, Encoder)
        last = last_trained(name, bench.recipe.stages[: number + 1])
        if last is None or not bench.recipe.training.remember or bench.recipe.training.mixup or plain.several or not encoder.cuts(last):
            bench.inputs[name] = plain
            if shown is not None:
                bench.varied[name] = shown
            continue
        cut = (last, last == 0 and (bench.model.reads_sequences or bool(encoder.fresh())))
        if isinstance(column, Remembered) and column.cut == cut:
            continue
        frozen = _Frozen(bench, name, encoder, plain, cut, voice)
        before = _before(bench, name, encoder, plain, last, voice)
        bench.inputs[name] = frozen.column(before)
        if shown is not None and shown.most:
            bench.varied[name] = frozen.variants(shown, before)
        elif shown is not None and number == 0:
            told = "so training rows go through the whole encoder: --set training.variants=4 lets each have four, computed once"
            voice.say(f"  {name} is augmented anew in every epoch, {told}")


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


def _before(bench: Bench, name: str, encoder: Encoder, plain: InputColumn, last: int, voice: Voice) -> _Frozen | None:
    """What a later stage needs, which cuts the encoder further in front: what is asked for now goes on from there, not from the files.

    The blocks between have learnt nothing yet, as no stage so far trains more than the `last`.
    """
    later = last_trained(name, bench.recipe.stages)
    if later is None or later <= last or not encoder.cuts(later):
        return None
    return _Frozen(bench, name, encoder, plain, (later, False), voice)


class _Frozen:
    """The frozen part of one input's encoder, and what is kept of it."""

    def __init__(self, bench: Bench, name: str, encoder: Encoder, plain: InputColumn, cut: tuple[int, bool], voice: Voice) -> None:
        """`cut`: before how many last blocks, and whether whole sequences are kept."""
        self.bench, self.name, self.encoder, self.plain, self.cut, self.voice = bench, name, encoder, plain, cut, voice
        about = _about(encoder, plain, *cut, bench.precision)
        self.kept = Kept(_place(about))
        self.about = {**about, "input": name, "of": str(getattr(encoder.settings, "name", ""))}
        if self.kept.damaged and bench.ranks.first:
            what = "1 file" if self.kept.damaged == 1 else f"{self.kept.damaged} files"
            voice.say(f"  damaged: {what} of what was remembered of {name}; those rows are computed again")
        self.contents = _contents(plain)

    def column(self, before: _Frozen | None = None) -> Remembered:
        """The input with all its rows in memory, computed now where they are not: from `before`, or from the table."""
        keys = {row: key(content) for row, content in self.contents.items()}
        # Each is prepared once, so nothing of it is worth keeping.
        once: InputColumn | Remembered = dataclasses.replace(self.plain, keep_bytes=0)
        if before is not None and self._lacks(keys):
            once = before.column()
        self._filled(keys, lambda rows: once.pack(rows)[0], "rows")
        return Remembered(self.plain, self.kept, keys, self.cut)

    def variants(self, varied: Varied, before: _Frozen | None = None) -> RememberedVaried:
        """All variants of the training rows that have the input."""
        told = json.dumps([spelled_out(step) for step in self.bench.recipe.inputs[self.name].augment])
        keys = {
            (row, variant): key(self.contents[row], varied.ids[row], self.name, str(varied.seed), str(variant), told)
            for row in self.bench.table.at("train")
            if row in self.contents
            for variant in range(varied.most or 0)
        }
        once: Varied | RememberedVaried = before.variants(varied) if before is not None and self._lacks(keys) else varied
        self._filled(keys, lambda some: once.made_once([row for row, _ in some], [variant for _, variant in some]), "variants")
        return RememberedVaried(varied, self.kept, keys)

    def _lacks(self, keys: Mapping[Any, Key]) -> bool:
        """Whether something is to be computed; every process must ask."""
        return self.bench.ranks.told(bool((self.kept.places(list(keys.values())) < 0).any()))

    def _filled(self, keys: Mapping[Any, Key], pack: Callable[[Sequence[Any]], Packed | None], what: str) -> None:
        """Everything is there; only the first process computes."""
        if self.bench.ranks.first:
            missing = [one for one, place in zip(keys, self.kept.places(list(keys.values())).tolist(), strict=True) if place < 0]
            told = f"{len(keys) - len(missing):,} of {len(keys):,} {what} of {self.name} are remembered{self._cut_told()}"
            self.voice.say(f"  {told}" + ("" if missing else "; nothing of it is computed"))
            if missing:
                if not len(self.kept) and not self.kept.damaged and _of_another_version(self.about, self.kept.folder):
                    self.voice.say(f"  what is remembered of {self.name} was made by another version of triptych, so it is computed again")
                if not (self.kept.folder / ABOUT).exists():
                    write_json(self.kept.folder / ABOUT, self.about)
                self._compute(missing, keys, pack)
        self.bench.ranks.wait()
        self.kept.refresh()

    def _cut_told(self) -> str:
        last = self.cut[0]
        return "" if not last else f" before its last {f'{last} blocks' if last > 1 else 'block'}"

    def _compute(self, missing: Sequence[Any], keys: Mapping[Any, Key], pack: Callable[[Sequence[Any]], Packed | None]) -> None:
        """What is missing, in batches of like length, written part by part."""
        lengths_N = self.bench.table.lengths.get(self.plain.column)
        if lengths_N is not None:
            missing = sorted(missing, key=lambda one: float(lengths_N[one if isinstance(one, int) else one[0]]), reverse=True)
        first: dict[Key, Any] = {}
        for one in missing:
            first.setdefault(keys[one], one)
        todo = list(first.values())
        size = max(LEAST, min(ROWS, self.bench.batch_size // 2))
        batches = [todo[start : start + size] for start in range(0, len(todo), size)]
        waiting: tuple[list[Key], list[Item]] = ([], [])
        began = time.monotonic()
        half = isinstance(self.encoder, Tower) and self.bench.precision == "bf16"
        with self.voice.bar() as bar, self.encoder.halved() if half else contextlib.nullcontext():  # type: ignore[operator]
            task = bar.add_task(f"remembering {self.name}", total=len(todo), note="")
            for batch, packed in zip(batches, ahead(pack, batches, 1, 2), strict=True):
                assert packed is not None
                waiting[0].extend(keys[one] for one in batch)
                waiting[1].extend(_given(self.bench, self.encoder, packed, *self.cut))
                held = sum(tensor.nbytes for item in waiting[1] for tensor in item.values())
                if held > PART_BYTES or time.monotonic() - began > PART_SECONDS:
                    self.kept.add(*waiting)
                    waiting, began = ([], []), time.monotonic()
                bar.update(task, advance=len(batch))
            if waiting[0]:
                self.kept.add(*waiting)
        if isinstance(self.encoder, Tower) and self.cut[0] == 0:  # its vectors are all that is asked for from here on
            self.encoder.rest()


def opened_store(encoder: Encoder, plain: Any, precision: str, told: Mapping[str, str]) -> Kept:
    """What is kept of the vectors that a whole encoder gives, for an input of which `plain` has the room and the preparation."""
    about = _about(encoder, plain, 0, False, precision)
    kept = Kept(_place(about))
    if not (kept.folder / ABOUT).exists():
        write_json(kept.folder / ABOUT, {**about, **told})
    return kept


@torch.no_grad()
def vectors_of(encoder: Encoder, packed: Packed) -> list[Item]:
    """An item a row: its vector."""
    pooled_PD = encoder.eval()(packed).pooled_BD.float()
    return taken_apart(vectors_alone(pooled_PD))


def _place(about: Mapping[str, Any]) -> Path:
    return cache_root() / FOLDER / hashlib.sha256(json.dumps(about).encode()).hexdigest()[:24]


def _about(encoder: Encoder, plain: Any, last: int, whole: bool, precision: str) -> dict[str, Any]:
    """All that decides what is given for a row, but for the row: another word anywhere is another folder."""
    settings = {word: value for word, value in spelled_out(encoder.settings).items() if word not in ELSEWHERE}
    code = [code_of(package) for package in (type(plain.room).__module__, "triptych.layers")]
    given = "what enters the last " + str(last) if last else "sequences" if whole else "vectors"
    return {
        "base": encoder.facts["digest"],
        "settings": settings,
        "prepared": digest_of(plain.preparation),
        "given": given,
        "precision": precision,
        "code": code,
    }


def _of_another_version(about: Mapping[str, Any], folder: Path) -> bool:
    """Whether the same is kept, but for the code that made it."""
    for path in folder.parent.glob(f"*/{ABOUT}"):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            other = json.loads(path.read_text(encoding="utf-8"))
            if path.parent != folder and all(other.get(word) == value for word, value in about.items() if word not in UNLIKE):
                return True
    return False


def _contents(plain: InputColumn) -> dict[int, str]:
    """A digest of each row's cell, of the rows that have the input."""
    rows = [row for row in range(len(plain.there_N)) if plain.has(row)]
    found: dict[int, str] = {}
    with contextlib.closing(Looks()) as looks:
        for row, cell in zip(rows, _cells(plain, rows), strict=True):
            try:
                found[row] = f"media {looks.content(cell)}" if is_media(cell) else f"cell {json.dumps(cell)}"
            except OSError as problem:
                fix = "it was fine when the rows were checked: put it back as it was, and train again"
                raise TriptychError(f"a file cannot be read any more: {problem}", where=str(cell), fix=fix) from problem
    return found


def _cells(plain: InputColumn, rows: Sequence[int]) -> Iterator[Any]:
    for start in range(0, len(rows), 1024):
        for row in plain.table.rows.take(rows[start : start + 1024], [plain.column]):
            yield row.cells[plain.column]


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
            given = vectors_alone(pooled_PD)
    encoder.train(was_training)
    return taken_apart(given)
