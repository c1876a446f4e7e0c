"""WebDataset shards: tar files whose members of one name are one row. Nothing is ever unpacked onto the disk."""

from __future__ import annotations

import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.contract.cells import Blob, Cell
from triptych.contract.modality import Modality
from triptych.data.kinds import readers, room_of
from triptych.data.rows import Reject, Row, Source
from triptych.data.sources.encoded import CHUNK, decoded
from triptych.data.sources.flat import flattened
from triptych.data.sources.folder import files_in, printable
from triptych.data.sources.patterns import expanded, is_pattern

ENDINGS = (".tar", ".tar.gz", ".tgz")
LARGEST_ROW = 512 * 2**20  # bytes of all members of one row
LARGEST_NOTE = 2**20  # bytes of a long name or of extended headers, which tarfile holds in memory
BROKEN = (tarfile.TarError, OSError, EOFError, zlib.error, ValueError, OverflowError)
CLIMBS = re.compile(r"^[/\\]|^[A-Za-z]:[/\\]|(^|[/\\])\.\.([/\\]|$)")


class _Header(tarfile.TarInfo):
    """Tells how an archive ended, which tarfile keeps to itself, and refuses to hold a note of gigabytes."""

    @classmethod
    def fromtarfile(cls, tarfile: Any) -> _Header:
        try:
            return super().fromtarfile(tarfile)
        except Exception as error:
            tarfile.end = error
            raise

    @classmethod
    def frombuf(cls, *args: Any, **kwargs: Any) -> _Header:
        header = super().frombuf(*args, **kwargs)
        notes = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if header.type in notes and header.size > LARGEST_NOTE:
            raise tarfile.ReadError(f"a header claims {header.size:,} bytes, more than {LARGEST_NOTE:,}")
        return header


class Cut(Exception):
    """The archive ends where it should not: in the middle of which row, and how."""

    def __init__(self, key: str, how: str) -> None:
        super().__init__(how)
        self.key, self.how = key, how


@dataclass
class Group:
    """The members of one row, and the first thing that is wrong with one of them."""

    key: str
    members: dict[str, bytes] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    size: int = 0
    problem: str = ""

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, ending: str, wanted: bool) -> None:
        """Take a member in, or note why the row is of no use."""
        twice = f"two members are called {member.name}" if ending in self.members else ""
        self.problem = self.problem or _refused(member, self.size) or twice
        if self.problem or not wanted:
            return
        content = archive.extractfile(member)
        assert content is not None  # it is a plain file
        self.members[ending] = content.read()
        self.names[ending] = printable(member.name)
        self.size += member.size


@dataclass(frozen=True)
class Shards:
    """Several archives, and how their members become columns."""

    paths: list[Path]
    rooms: Mapping[str, Modality]
    findings: list[str]

    def rows(self) -> Iterator[Row | Reject]:
        """Of every archive in turn; with several of them, ids start with the archive's name."""
        for path in self.paths:
            prefix = f"{_stem(path)}/" if len(self.paths) > 1 else ""
            seen: set[int] = set()
            try:
                for group in self._groups(path):
                    if group.problem or group.members:
                        yield self._row(group, prefix, seen)
            except Cut as cut:
                row_id = prefix + printable(cut.key or path.name)
                yield Reject(row_id, f"{path.name} breaks off here, and what follows is lost: {cut.how}")

    def _groups(self, path: Path) -> Iterator[Group]:
        """Members of one key that follow each other. Of a row that is cut off, nothing is kept."""
        group = None
        try:
            with _opened(path) as archive:
                for member in _members(archive):
                    key, ending = _split(member.name)
                    if group is None or group.key != key:
                        if group is not None:
                            yield group
                        group = Group(key)
                    group.add(archive, member, ending, not CLIMBS.search(member.name) and self._wants(ending))
        except BROKEN as error:
            raise Cut(group.key if group else "", str(error) or type(error).__name__) from error
        if group is not None:
            yield group

    def _wants(self, ending: str) -> bool:
        suffix = _suffix(ending)
        if suffix in {".json", ".cls"} or self._room(suffix):
            return True
        _say(self.findings, f"{suffix or 'suffixless'} members are of a kind that is not read and were left aside")
        return False

    def _room(self, suffix: str) -> Modality | None:
        return next(iter(readers(suffix, self.rooms.values())), None)

    def _taker(self, ending: str, name: str, content: bytes) -> Modality | None:
        """Where several rooms read an ending, a look into the file says which one takes it."""
        fitting = readers(_suffix(ending), self.rooms.values())
        return room_of(Blob(content, name), self.rooms) if len(fitting) > 1 else next(iter(fitting), None)

    def _row(self, group: Group, prefix: str, seen: set[int]) -> Row | Reject:
        row_id = prefix + printable(group.key)
        if hash(group.key) in seen:
            return Reject(f"{row_id} (again)", f"the members of {group.key!r} do not follow each other; tar --sort=name puts them together")
        seen.add(hash(group.key))
        if group.problem:
            return Reject(row_id, printable(group.problem))
        try:
            cells = self._cells(group)
        except (ValueError, RecursionError) as error:
            return Reject(row_id, str(error))
        return Row(row_id, cells)

    def _cells(self, group: Group) -> dict[str, Cell]:
        """Members of a room by its name, or by their endings where there are several; fields of JSON; the label."""
        cells: dict[str, Cell] = {}
        rooms = {ending: self._taker(ending, group.names[ending], content) for ending, content in group.members.items()}
        counted = [room.name for room in rooms.values() if room]
        fields: list[tuple[str, str, Cell]] = []
        for ending, content in group.members.items():
            room, name = rooms[ending], group.names[ending]
            if room:
                column = room.name if counted.count(room.name) == 1 else ending
                cells[column] = Blob(content, name) if room.by_reference else _text(content, name)
            elif _suffix(ending) == ".cls":
                cells["label"] = _text(content, name)
            else:
                fields += [(ending, column, cell) for column, cell in _json(content, name).items()]
        for ending, column, cell in fields:  # after the members: a field called like one of them gets another name
            cells[f"{ending}.{column}" if column in cells else column] = cell
        return {column: cell for column, cell in cells.items() if cell is not None}


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every member but folders and hidden files.

    Raises:
        tarfile.ReadError: the archive ends before its end mark.
    """
    while (member := archive.next()) is not None:
        archive.members = []  # type: ignore[attr-defined]  # tarfile would keep every header it has seen
        if CLIMBS.search(member.name) or not (member.isdir() or _base(member.name).startswith(".")):
            yield member
        _pass_over(archive)
    end = getattr(archive, "end", None)
    if type(end).__name__ != "EOFHeaderError":  # the two empty blocks at the end of every finished archive
        raise tarfile.ReadError(ENDS.get(type(end).__name__, str(end)))


ENDS = {
    "EmptyHeaderError": "it has no end mark, as an archive has that was not written to its end",
    "TruncatedHeaderError": "it ends in the middle of a header",
    "InvalidHeaderError": "a header is damaged",
}


def _pass_over(archive: Any) -> None:
    """Read on to the next header. tarfile itself does not stop at the end of a file whose header claims exabytes."""
    while (rest := archive.offset - archive.fileobj.tell()) > 0:
        if not archive.fileobj.read(min(rest, CHUNK)):
            raise tarfile.ReadError("the file ends before its last member does")


def read_tar(path: Path, rooms: Mapping[str, Modality]) -> Source:
    """A shard, a folder of shards, or a pattern of them. A row is what stands before the first dot of its members' names.

    What a room reads becomes the column of that name (with two of one room, of the endings: `left.png`), fields of
    `.json` become columns, `.cls` is the `label`. Members that are links, devices, or climb out cost their row.

    Raises:
        InputError: there is no shard, or the first one is none.
    """
    if path.is_dir():
        paths = sorted(file for file in files_in(path) if file.name.lower().endswith(ENDINGS))
    else:
        paths = expanded(path) if is_pattern(path) else [path]
    if not paths:
        raise InputError("there is no shard in this folder", where=str(path), known=ENDINGS)
    _check(paths[0])
    shards = Shards(paths, rooms, [])
    return Source(str(path), shards.rows, paths[0].parent, shards.findings)


def _check(path: Path) -> None:
    """Whether it begins as an archive does."""
    try:
        with _opened(path) as archive:
            if archive.next() is None:
                raise InputError("the archive is empty", where=str(path))
    except PermissionError as error:
        raise InputError(f"cannot read the file: {error.strerror}", where=str(path)) from error
    except BROKEN as error:
        fix = "shards are plain or packed with gzip; copy or export it again"
        raise InputError(f"this is not a tar archive: {error}", where=str(path), known=ENDINGS, fix=fix) from error


def _opened(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "r|*", tarinfo=_Header)


def _stem(path: Path) -> str:
    return printable(re.sub(r"\.(tar|tar\.gz|tgz)$", "", path.name, flags=re.IGNORECASE))


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _split(name: str) -> tuple[str, str]:
    """`./cat/001.left.png` -> `cat/001`, `left.png`."""
    if CLIMBS.search(name):
        return name, ""
    base = _base(name)
    stem, _, ending = base.partition(".")
    return name.removeprefix("./").removesuffix(base) + stem, ending


def _suffix(ending: str) -> str:
    return f".{ending.rsplit('.', 1)[-1].lower()}" if ending else ""


def _refused(member: tarfile.TarInfo, already: int) -> str:
    if CLIMBS.search(member.name):
        return f"{member.name} names a place outside of the archive"
    if member.issym() or member.islnk():
        return f"{member.name} is a link to {member.linkname}, and links are not followed"
    if not member.isreg() or member.issparse() or member.size < 0:
        return f"{member.name} is not a plain file"
    if member.size + already > LARGEST_ROW:
        return f"{member.name} claims {member.size:,} bytes; a row may have {LARGEST_ROW:,} in all"
    return ""


def _text(content: bytes, name: str) -> str | None:
    try:
        return decoded(content).strip() or None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _json(content: bytes, name: str) -> dict[str, Cell]:
    try:
        value = json.loads(decoded(content))
        if not isinstance(value, dict):
            raise ValueError("an object is wanted, {...}")
        return flattened(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"{name}, line {error.lineno}, column {error.colno}: this is not JSON: {error.msg.removesuffix(' at')}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from None


def _say(findings: list[str], said: str) -> None:
    if said not in findings:
        findings.append(said)
