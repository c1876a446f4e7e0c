"""From a user's files to rows: what stands at a path, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from triptych.base.errors import InputError
from triptych.contract.modality import Modality
from triptych.data.layouts import recognised, said, within
from triptych.data.rows import Source
from triptych.data.samples import SAMPLE, make_sample, rooms_with
from triptych.data.sources.delimited import read_delimited
from triptych.data.sources.folder import ABOUT, SPLIT_FOLDERS, files_in, read_files, read_folder
from triptych.data.sources.hub import is_name, is_saved, read_hub, read_saved
from triptych.data.sources.iterable import ROWS
from triptych.data.sources.joined import held, joined
from triptych.data.sources.jsonl import read_jsonl
from triptych.data.sources.parquet import read_parquet
from triptych.data.sources.patterns import expanded, is_pattern, root
from triptych.data.sources.subtitles import ENDINGS as SUBTITLES
from triptych.data.sources.subtitles import read_subtitles
from triptych.data.sources.tar import ENDINGS, read_tar
from triptych.data.stored import SUFFIX, read_stored

__all__ = ["SPLIT_FOLDERS", "open_source"]

Reader = Callable[[Path, Mapping[str, Modality]], Source]


def open_source(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """The rows of what stands at a path, read as they are asked for; nothing is decoded yet.

    A table; a built-in sample, with a column for each modality that it has; a published data set as its publisher lays it out, found by
    looking or said as `coco:FOLDER`; a folder of class folders, of Parquet files, of shards or of tables; a saved Hugging Face
    data set; one such file; a pattern of several; a name on the Hub.

    Raises:
        InputError: there is nothing there, or nothing in it that can be read as rows.
    """
    if path.as_posix().startswith(SAMPLE):
        name = path.as_posix().removeprefix(SAMPLE)
        path = make_sample(name, rooms_with(name, rooms))
    if is_name(path.as_posix()):
        return read_hub(path.as_posix(), rooms)
    if path.as_posix().startswith(ROWS):
        fix = "from Python: triptych.train(recipe, rows=...)"
        raise InputError(f"the rows {path.as_posix()!r} come from a Python program and must be given by it", fix=fix)
    if published := said(str(path)) if not path.exists() else None:
        layout, folder = published
        return layout.read(folder)
    if path.is_dir():
        return _folder(path, rooms)
    if is_pattern(path):
        return _pattern(path, rooms)
    if not path.exists():
        fix = "give a folder of class folders, a table (.csv, .jsonl, .parquet, .tar), hf:owner/name, or sample:digits"
        raise InputError(f"there is no file or folder {str(path)!r}", fix=fix)
    reader = _reader(path) or (read_jsonl if path.name.lower().endswith(LISTS) else None)
    if reader is None:
        raise InputError(
            f"cannot read rows from a {path.suffix or 'suffixless'} file", where=str(path), known=["a folder", *READERS, *LISTS]
        )
    return reader(path, rooms)


def _delimited(path: Path, rooms: Mapping[str, Modality]) -> Source:
    return read_delimited(path)


READERS: dict[str, Reader] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".csv.gz": _delimited,
    ".tsv.gz": _delimited,
    ".jsonl": read_jsonl,
    ".ndjson": read_jsonl,
    ".jsonl.gz": read_jsonl,
    ".ndjson.gz": read_jsonl,
    ".parquet": read_parquet,
    **dict.fromkeys(SUBTITLES, read_subtitles),
    **dict.fromkeys(ENDINGS, read_tar),
}


LISTS = (".json", ".json.gz")
"""A table where it is named by itself; in a folder such files tell about the others."""


def _reader(path: Path) -> Reader | None:
    return next((reader for ending, reader in READERS.items() if path.name.lower().endswith(ending)), None)


def _folder(path: Path, rooms: Mapping[str, Modality]) -> Source:
    if path.suffix == SUFFIX:
        return held(read_stored(path))
    if is_saved(path):
        return read_saved(path, rooms)
    if published := recognised(path):
        return published.read(path)
    if inner := within(path):
        layout, folder = inner
        found = layout.read(folder)
        found.findings.insert(0, f"{folder.name} holds {layout.NAME} as it is published, and is read")
        return found
    tables = _tables_in(path, rooms)
    reader = _one_reader(tables, path) if tables else None
    if reader is None:
        return held(read_folder(path, rooms))
    if reader in (read_parquet, read_tar):  # these know what folders of theirs look like
        return reader(path, rooms)
    return _one_after_the_other(str(path), tables, path, rooms)


def _tables_in(folder: Path, rooms: Mapping[str, Modality]) -> list[Path]:
    """The tables in a folder that holds nothing else to read but their README; none in a folder of files of the rooms."""
    suffixes = {suffix for room in rooms.values() for suffix in room.suffixes}
    tables = []
    for file in files_in(folder):
        if _reader(file):
            tables.append(file)
        elif file.suffix.lower() in suffixes and file.stem.lower() not in ABOUT:
            return []
    return tables


def _pattern(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """Files of rooms as a folder would be read; tables one after the other."""
    files = expanded(path)
    tables = [file for file in files if _reader(file)]
    if not tables:
        return held(read_files(files, root(path), rooms))
    if len(tables) < len(files):
        other = next(file for file in files if not _reader(file))
        fix = "write a pattern that fits one of the two"
        raise InputError(f"the pattern fits tables ({tables[0].name}) and other files ({other.name})", where=str(path), fix=fix)
    if _one_reader(tables, path) is read_tar:
        return read_tar(path, rooms)
    return _one_after_the_other(str(path), tables, root(path), rooms)


def _one_reader(tables: list[Path], where: Path) -> Reader | None:
    readers = {_reader(table): table.name for table in tables}
    if len(readers) > 1:
        fix = "name one of them, or list them as several sources"
        raise InputError("there are tables of several kinds", where=str(where), known=readers.values(), fix=fix)
    return next(iter(readers))


def _one_after_the_other(name: str, tables: list[Path], root: Path, rooms: Mapping[str, Modality]) -> Source:
    """Tables of one kind; ids start with each one's name, and subtitles are of the recording that lies as they do."""
    names = {table.relative_to(root).with_name(_stem(table.name)).as_posix(): table for table in tables}
    parts = {
        name: read_subtitles(table, rooms, name) if _reader(table) is read_subtitles else open_source(table, rooms)
        for name, table in names.items()
    }
    if len(parts) < len(tables):
        raise InputError("two tables have one name but for their endings", where=name, known=[table.name for table in tables])
    return joined(name, parts)


def _stem(name: str) -> str:
    """`a.jsonl.gz` -> `a`, whose end says how it is read."""
    ending = max((ending for ending in READERS if name.lower().endswith(ending)), key=len)
    return name[: -len(ending)] or name
