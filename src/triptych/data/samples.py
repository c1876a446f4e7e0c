"""Samples: small honest tables that are made on this machine, without a network, and read like a user's own files.

A sample is a list of concepts and a number of rows; what a cell of it looks like is each room's affair (`toy.py`).
"""

from __future__ import annotations

import csv
import random
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from triptych.base.errors import InputError, unknown_word
from triptych.base.files import cache_root, in_use, made_aside
from triptych.contract.modality import Modality, Split, ToyCell, ToyRow
from triptych.data import toy_cases, toy_commands, toy_messages, toy_posts, toy_products, toy_scenes, toy_songs

TABLE = "table.csv"
SAMPLE = "sample:"
"""Before the name of a sample, where a source is said."""


@dataclass(frozen=True)
class Sample:
    """`rows` a concept and side of the split; `target` is the column that names the concept.

    `draw` gives what all rooms must agree on of one row; where it gives one called as the target, that is the answer. `told` are those
    of its traits that are columns of the table too.
    """

    concepts: tuple[str, ...]
    rows: Mapping[Split, int]
    target: str
    draw: Callable[[str, Split, random.Random], Mapping[str, str]] | None = None
    told: tuple[str, ...] = ()
    version: int = 1
    """Raised when what is made changes, so that a sample already on disk is made again."""

    def wanted(self, seed: int = 0) -> list[ToyRow]:
        """Every row; what is drawn depends on the seed and the row's place alone."""
        plain = [ToyRow(concept, split) for split, count in self.rows.items() for _ in range(count) for concept in self.concepts]
        if self.draw is None:
            return plain
        drawn = [self.draw(row.concept, row.split, random.Random(f"{seed}/{place}/{row.split}")) for place, row in enumerate(plain)]
        return [row._replace(traits=tuple(traits.items())) for row, traits in zip(plain, drawn, strict=True)]


SAMPLES = {
    "digits": Sample(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
        {"train": 120, "validation": 20, "test": 34},  # 1,740 of the 1,797 pictures there are: the rarest digit has 174
        target="digit",
    ),
    "songs": Sample(toy_songs.MOODS, {"train": 160, "validation": 25, "test": 40}, target="mood", draw=toy_songs.song),
    "commands": Sample(("command",), {"train": 900, "validation": 100, "test": 200}, target="words", draw=toy_commands.command),
    "messages": Sample(toy_messages.FEELINGS, {"train": 160, "validation": 30, "test": 50}, target="feeling", draw=toy_messages.message),
    "posts": Sample(("post",), {"train": 1000, "validation": 300, "test": 300}, target="labels", draw=toy_posts.post),
    "cases": Sample(("case",), {"train": 1000, "validation": 120, "test": 240}, target="finding", draw=toy_cases.case, told=("report",)),
    "products": Sample(
        toy_products.KINDS,
        {"train": 240, "validation": 25, "test": 30},
        target="product",
        draw=toy_products.product,
        told=("kind", "colour", "pattern", "price"),
    ),
    "scenes": Sample(
        toy_scenes.ABOUT,
        {"train": 1200, "validation": 60, "test": 80},
        target="about",
        draw=toy_scenes.scene,
        told=("caption", "question", "said", "answer"),
        version=2,
    ),
}


def make_sample(name: str, columns: Mapping[str, Modality]) -> Path:
    """The sample's table on disk, made if it is not there yet: one column for each entry of `columns`.

    Raises:
        InputError: the sample is unknown, a column cannot be called so, or a room has nothing of that name.
    """
    if known := sample_made(name, columns):
        return known
    folder = _folder(name, columns)
    _make(name, columns, folder)
    return folder / TABLE


def rooms_with(name: str, rooms: Mapping[str, Modality]) -> dict[str, Modality]:
    """Those of the rooms that have something of the sample: a shop has no films."""
    return {column: room for column, room in rooms.items() if _has(room, name)}


def _has(room: Modality, name: str) -> bool:
    """Whether a room knows the sample. One that lacks a program for it knows it too, and says so when it is asked for rows."""
    try:
        room.toy(name, [], 0)
    except InputError as problem:
        return not problem.known  # an unknown name comes with those that are known
    return True


def sample_made(name: str, columns: Mapping[str, Modality]) -> Path | None:
    """The sample's table, if it was made before; raises as `make_sample`."""
    if name not in SAMPLES:
        raise unknown_word("sample", name, SAMPLES, where="data.source")
    _check_columns(SAMPLES[name], columns)
    folder = _folder(name, columns)
    in_use(folder)
    return folder / TABLE if (folder / TABLE).exists() else None


def _folder(name: str, columns: Mapping[str, Modality]) -> Path:
    mix = "-".join(f"{column}.{room.name}" for column, room in sorted(columns.items()))
    return cache_root() / "samples" / f"{name}-v{SAMPLES[name].version}-{mix}"


def _check_columns(sample: Sample, columns: Mapping[str, Modality]) -> None:
    """A sample's columns are called as the recipe likes, in plain words, which also name its folder."""
    taken = {"id", "split", sample.target, *sample.told, *(f"{column}_group" for column in columns)}
    for column in columns:
        if column in taken or not re.fullmatch(r"[A-Za-z0-9_-]{1,40}", column):
            raise InputError(
                f"a sample cannot have an input column {column!r}",
                where="inputs",
                fix=f"use a plain word that is none of: {', '.join(sorted(taken))}",
            )


def _make(name: str, columns: Mapping[str, Modality], folder: Path) -> None:
    """Write the sample aside and rename it, so that a half-made one is never used."""
    with made_aside(folder.parent) as aside:
        _write(SAMPLES[name], name, columns, aside)
        try:
            aside.rename(folder)
        except OSError:  # something stands there: made by a faster process, or without its table and of no use
            if not (folder / TABLE).exists():
                shutil.rmtree(folder)
                aside.rename(folder)


def _write(sample: Sample, name: str, columns: Mapping[str, Modality], folder: Path) -> None:
    wanted = sample.wanted()
    made = {column: room.toy(name, wanted, seed=0) for column, room in columns.items()}
    header = ["id", *columns, sample.target, *sample.told, "split", *(f"{column}_group" for column in columns)]
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for index, row in enumerate(wanted):
            row_id = f"{row.concept}-{index:04d}"
            cells = [_kept(made[column][index], folder, column, row_id) for column in columns]
            groups, traits = [made[column][index].group for column in columns], dict(row.traits)
            told = [traits.get(sample.target, row.concept), *(traits[name] for name in sample.told)]
            writer.writerow([row_id, *cells, *told, row.split, *groups])


def _kept(cell: ToyCell, folder: Path, column: str, row_id: str) -> str:
    """What stands in the table: the string itself, or the path of the file that was written."""
    if isinstance(cell.content, str):
        return cell.content
    path = folder / column / f"{row_id}{cell.suffix}"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(cell.content)
    return path.relative_to(folder).as_posix()
