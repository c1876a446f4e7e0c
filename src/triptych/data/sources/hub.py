"""Hugging Face data sets: folders that `save_to_disk` wrote, and names on the Hub.

Saved folders are Arrow streams beside two JSON files, so they are read with pyarrow alone; names on the Hub need the
package `datasets`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import InputError
from triptych.base.extras import need
from triptych.contract.modality import Modality
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.arrow import Shape, listed, named_by, rows_of, shape_of
from triptych.data.sources.flat import all_named
from triptych.data.sources.folder import SPLIT_FOLDERS

if TYPE_CHECKING:
    import pyarrow as pa

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
NAME = re.compile(r"(?P<how>hf|hf-stream):(?P<name>[\w][\w.-]*(/[\w][\w.-]*)?)(:(?P<config>[^:@]+))?(@(?P<split>[^@]+))?")
FORMS = ("hf:owner/name", "hf:owner/name:config", "hf:owner/name@split", "hf:owner/name:config@split", "hf-stream:owner/name")
ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Part:
    """One split: its batches from the first, each time they are asked for."""

    split: str
    shape: Shape
    batches: Callable[[], Iterator[pa.RecordBatch]]
    ids: Callable[[], bool]
    """Whether its rows have ids of their own."""
    findings: list[str]
    """Why they have none, where some do."""


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` wrote this folder."""
    return (folder / DICT).is_file() or ((folder / STATE).is_file() and (folder / INFO).is_file())


def is_name(word: str) -> bool:
    """Whether a source is a name on the Hub."""
    return word.startswith(("hf:", "hf-stream:"))


def _source(name: str, parts: list[Part], folder: Path, total: int | None) -> Source:
    """Splits in turn. Where there are several, their names are a column and stand before the ids."""
    several = len(parts) > 1
    findings = list(dict.fromkeys(said for part in parts for said in part.shape.findings))

    def rows() -> Iterator[Row | Reject]:
        for part in parts:
            named = part.ids()
            findings.extend(said for said in part.findings if said not in findings)
            more = {"split": SPLIT_FOLDERS.get(part.split.lower(), part.split)} if several else {}
            prefix = f"{part.split}/" if several else ""
            yield from rows_of(part.batches(), part.shape, folder, named_by(prefix, named), more)

    return Source(name, rows, folder, findings, total)


# Folders


def read_saved(folder: Path, rooms: Mapping[str, Modality]) -> Source:
    """A data set, or several splits of one, that `save_to_disk` wrote.

    Raises:
        InputError: a file is missing or damaged; it is named.
    """
    if not (folder / DICT).is_file():
        part, total = _saved_part(folder, "")
        return _source(str(folder), [part], folder, total)
    splits = _json(folder / DICT).get("splits")
    if not isinstance(splits, list) or not splits:
        raise InputError("it names no splits", where=str(folder / DICT))
    found = [_saved_part(_inside(folder, str(split)), str(split)) for split in splits]
    return _source(str(folder), [part for part, _ in found], folder, sum(total for _, total in found))


def _saved_part(folder: Path, split: str) -> tuple[Part, int]:
    state, info = _json(folder / STATE), _json(folder / INFO)
    if state.get("_indices_data_files") or state.get("_indices_files"):
        fix = "save it again with a newer version of datasets, or after flatten_indices()"
        raise InputError("this data set was saved as a choice from another one's rows", where=str(folder), fix=fix)
    names = [str(entry.get("filename")) for entry in state.get("_data_files") or []]
    if not names:
        raise InputError("it names no files", where=str(folder / STATE))
    paths = [_inside(folder, name) for name in names]
    total = sum(batch.num_rows for path in paths for batch in _stream(path))  # reads headers only: files are mapped
    shape = shape_of(_schema(paths[0]), str(paths[0]), info.get("features") or {})
    findings: list[str] = []
    ids = functools.cache(lambda: all_named(_saved_ids(paths), findings, split or folder.name))
    return Part(split, shape, lambda: _streams(paths), ids, findings), total


def _inside(folder: Path, name: str) -> Path:
    """A file that a data set names; it must stand in the data set's own folder."""
    if Path(name).name != name or name in ("", ".", "..") or "\\" in name:
        raise InputError(f"the data set names {name!r}, which is not in its own folder", where=str(folder))
    return folder / name


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read a file of the data set: {error.strerror}", where=str(path), fix="save or copy it again") from error
    except ValueError as error:
        raise InputError(f"this is not JSON: {error}", where=str(path), fix="save or copy it again") from error
    if not isinstance(value, dict):
        raise InputError("a JSON object is wanted", where=str(path))
    return value


def _streams(paths: list[Path]) -> Iterator[pa.RecordBatch]:
    for path in paths:
        yield from _stream(path)


def _schema(path: Path) -> pa.Schema:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
        return reader.schema


def _stream(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as reader:
            yield from reader
    except (pa.ArrowException, OSError) as error:
        what = f"this Arrow file is damaged: {(str(error) or type(error).__name__).splitlines()[0]}"
        raise InputError(what, where=str(path), fix="save or copy the data set again") from error


def _saved_ids(paths: list[Path]) -> Iterator[Any]:
    for batch in _streams(paths):
        yield from listed(batch.column("id")) if "id" in batch.schema.names else [None]


# Names on the Hub


def read_hub(word: str, rooms: Mapping[str, Modality]) -> Source:
    """`hf:owner/name`, with `:config` and `@split` where wanted; downloaded once and kept in the cache of `datasets`.

    `hf-stream:` downloads nothing before its rows are read, each time again; its rows are always called after their number.

    Raises:
        InputError: `datasets` is not installed, or it finds no such data set, config or split.
    """
    match = NAME.fullmatch(word)
    if not match:
        raise InputError(f"cannot read the name {word!r}", known=FORMS)
    datasets = need("datasets", extra="hub", why=f"reading {word}")
    streaming = match["how"] == "hf-stream"
    try:
        found = datasets.load_dataset(match["name"], match["config"], split=match["split"], streaming=streaming)
    except Exception as error:  # of datasets, huggingface_hub, its HTTP client, or a reader of files
        what = f"the data set {match['name']!r} cannot be opened: {_said(error)}"
        raise InputError(
            what, where=word, fix="check its name, config and split on huggingface.co; private ones need: hf auth login"
        ) from error
    splits = dict(found) if isinstance(found, dict) else {match["split"] or "": found}
    parts = [_hub_part(str(split), data, streaming, word) for split, data in splits.items()]
    total = None if streaming else sum(len(data) for data in splits.values())
    return replace(_source(word, parts, Path(), total), version=_version(match["name"], splits, streaming))


def _version(name: str, splits: Mapping[str, Any], streaming: bool) -> str:
    """Of what was downloaded, the fingerprint of `datasets`; of what is streamed, the commit that stands on the Hub now."""
    if not streaming:
        return " ".join(str(data._fingerprint) for data in splits.values())
    from huggingface_hub import HfApi

    try:
        return str(HfApi().dataset_info(name).sha)
    except Exception:  # whatever its HTTP client raises: rows are read all the same
        return ""


def _hub_part(split: str, data: Any, streaming: bool, word: str) -> Part:
    """`data` as Arrow: nothing is decoded, so no decoder need be installed."""
    features = data.features.to_dict() if data.features is not None else {}
    shape = shape_of(data.features.arrow_schema, word, features) if data.features is not None else Shape()
    findings: list[str] = []
    ids = functools.cache(lambda: not streaming and all_named(_hub_ids(data), findings, split or word))
    return Part(split, shape, lambda: _hub_batches(data, word), ids, findings)


def _hub_batches(data: Any, word: str, rows: int = ROWS_AT_ONCE) -> Iterator[pa.RecordBatch]:
    try:
        for table in data.with_format("arrow").iter(batch_size=rows):
            yield from table.to_batches()
    except Exception as error:  # a lost connection, a damaged file
        raise InputError(f"the data set breaks off: {_said(error)}", where=word, fix="try again") from error


def _hub_ids(data: Any) -> Iterator[Any]:
    if "id" not in data.column_names:
        return
    for batch in _hub_batches(data.select_columns(["id"]), "id", 1024):
        yield from listed(batch.column(0))


def _said(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
