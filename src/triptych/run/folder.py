"""The run folder: all that came of a recipe, and the only thing that predict, report and compare need.

    recipe.yaml         the recipe as it was expanded, every default visible
    run.json            format, versions, status, choices with reasons, cost, what stopped it, checksums
    log.jsonl           one line an epoch: rates, losses, scores; ledger.jsonl: what the epoch was spent on
    scores.json         untouched against trained, on the test rows
    verdicts.json       how sure the headline scores are; reliance.json: what each input adds
    details.json        confusion matrices, gaps; shown.json: pieces of the report that need the data
    predictions.parquet answers on the test rows; embeddings.parquet where a task gives them
    rejects.csv         rows that could not be used, each with its reason
    state.safetensors   the last state of the training: --resume and `continue` go on from it; untouched.safetensors
    model/              one folder a part: part.json, weights.safetensors;  inputs/: how each input is prepared
    report.html
    track/              what trackers write, where the recipe names any

Nothing in it is code or pickle. Opening it imports no torch, so reports and comparisons are quick.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from triptych.base.errors import InputError
from triptych.base.files import digest, kept_digest, write_json, write_text, written_aside
from triptych.base.plain import read_yaml, write_yaml
from triptych.base.settings import parse, spelled_out
from triptych.run.recipe import Recipe

FORMAT = 1
LOG = "log.jsonl"
ABOUT = ("made", "versions", "choices", "rows", "parameters", "stages", "best", "cost", "judged_on", "files")
NEEDED = ("recipe.yaml", "run.json", "scores.json")
WATCHED = ("triptych", "torch", "lightning", "tokenizers", "numpy", "pillow", "soundfile", "av")


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path, rank: int = 0) -> None:
        """Does not touch the disk. Of several processes that train one run, by `rank`, the first alone writes."""
        self.path, self.rank = path, rank
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        """Hear of every line of the log."""

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def model(self) -> Path:
        """Folder of the trained parts."""
        return self.path / "model"

    @property
    def state(self) -> Path:
        """The last state of the training, from which it goes on."""
        return self.path / "state.safetensors"

    @property
    def untouched(self) -> Path:
        """What was measured before the first step."""
        return self.path / "untouched.safetensors"

    @property
    def report(self) -> Path:
        """The report's file."""
        return self.path / "report.html"

    @property
    def tracked(self) -> Path:
        """Folder of what trackers write, which may go on after the run is sealed."""
        return self.path / "track"

    @property
    def script(self) -> Path:
        """Folder of how rows are asked in writing."""
        return self.path / "script"

    def input(self, name: str) -> Path:
        """Folder of how an input is prepared."""
        return self.path / "inputs" / name

    @staticmethod
    def create(recipe: Recipe, out: str | Path | None) -> RunFolder:
        """A new folder: `out`, else runs/DATE-NAME.

        Raises:
            InputError: `out` exists and holds something.
        """
        if out:
            refuse_full(out)
        try:
            path = Path(out) if out else fresh(Path("runs") / f"{time.strftime('%Y%m%d-%H%M%S')}-{recipe.name}")
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the run folder: {error.strerror}", where=str(error.filename)) from error
        run = RunFolder(path)
        write_text(path / "recipe.yaml", write_yaml(spelled_out(recipe)))
        run.about({"format": FORMAT, "status": "running", "made": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "versions": _versions()})
        return run

    def about(self, changes: Mapping[str, Any]) -> None:
        """Add to run.json."""
        if self.rank:
            return
        path = self.path / "run.json"
        write_json(path, {**(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}), **changes})

    def seal(self, changes: Mapping[str, Any]) -> None:
        """Mark the run as done, with the checksum of every file that answers or the report depend on."""
        made_again = {self.report, self.path / "run.json", self.state, self.untouched, self.path / ".lock"}  # states hold their own
        watched = sorted(p for p in self.path.rglob("*") if p.is_file() and p not in made_again and self.tracked not in p.parents)
        self.about({**changes, "status": "done", "files": {path.relative_to(self.path).as_posix(): _sum(path) for path in watched}})

    def log(self, row: Mapping[str, Any], name: str = LOG) -> None:
        """Add one line to a log; of the main one the listeners hear. A line that a full disk cuts off is ignored when it is read."""
        if self.rank:
            return
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        for listener in self.listeners if name == LOG else ():
            listener(row)

    def read_log(self, name: str = "log.jsonl") -> list[dict[str, Any]]:
        """The log's whole lines."""
        path = self.path / name
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                break
        return rows

    def write(self, name: str, value: Any) -> None:
        """Write a JSON file of the run."""
        write_json(self.path / name, value)

    def write_rejects(self, rejects: Iterable[Any]) -> None:
        """Write rejects.csv: id, reason."""
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["id", "reason"])
        writer.writerows((reject.id, reject.reason) for reject in rejects)
        write_text(self.path / "rejects.csv", text.getvalue())

    def write_rows(self, name: str, columns: Mapping[str, Any]) -> None:
        """Write a Parquet file of the run."""
        import pyarrow as pa
        from pyarrow import parquet

        with written_aside(self.path / name) as aside:
            parquet.write_table(pa.table(dict(columns)), aside)

    def read_rows(self, name: str) -> dict[str, list[Any]]:
        """Read a Parquet file of the run; empty where there is none. Raises InputError where it is damaged."""
        from pyarrow import ArrowException, parquet

        try:
            found: dict[str, list[Any]] = parquet.read_table(self.path / name).to_pydict() if (self.path / name).exists() else {}
        except (ArrowException, OSError) as error:
            raise InputError(f"{name} of the run is damaged: {error}", where=str(self.path)) from error
        return found

    def read(self, name: str, *, default: Any = None) -> Any:
        """Read a JSON file of the run.

        Raises:
            InputError: it is damaged, or missing while no `default` is given.
        """
        path = self.path / name
        if not path.exists() and default is not None:
            return default
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
            raise InputError(
                f"{name} of the run is {reason}", where=str(self.path), fix="copy the whole run folder again, or train again"
            ) from error

    def recipe(self) -> Recipe:
        """The recipe as it was expanded."""
        try:
            tree = read_yaml((self.path / "recipe.yaml").read_text(encoding="utf-8"))
        except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"recipe.yaml of the run is missing or damaged: {error}", where=str(self.path)) from error
        return parse(Recipe, tree, f"{self.path.name}/recipe.yaml")

    def digest(self) -> str:
        """A word for the trained model: what its weights, its preparations and its recipe are. Two runs of one word answer alike."""
        files = self.read("run.json").get("files", {})
        told = {name: known for name, known in files.items() if name.startswith(("model/", "inputs/", "script/")) or name == "recipe.yaml"}
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def verify(self, among: Callable[[str], bool] = lambda name: True) -> None:
        """Compare the run's files with their checksums; `among` says which, by default all.

        Raises:
            InputError: one is missing or was changed; it is named.
        """
        files = self.read("run.json").get("files")
        if not files:
            raise InputError("run.json of the run names no files", where=str(self.path), fix="copy the whole run folder again")
        for name, known in files.items():
            path = self.path / name
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise InputError(f"run.json names a file outside the run: {name}", where=str(self.path), fix="do not use this run")
            if not among(name):
                continue
            if not path.is_file():
                raise InputError(f"the run lacks {name}", where=str(self.path), fix="copy the whole run folder again, or train again")
            if digest(path) != known:
                raise InputError(
                    f"{name} is damaged: it is not what was written", where=str(self.path), fix="copy the run folder again, or train again"
                )


def open_folder(path: str | Path) -> RunFolder:
    """The folder of a finished run.

    Raises:
        InputError: it is not a run, not finished, of a newer version, or lacks a file.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"there is no run {str(path)!r}", known=_neighbours(path), fix="triptych train RECIPE makes one and says its name")
    missing = [name for name in NEEDED if not (path / name).exists()]
    if "run.json" in missing:
        raise InputError(f"{str(path)!r} is not a run folder: it has no run.json", known=_neighbours(path / "x"))
    run = RunFolder(path)
    about = run.read("run.json")
    refuse_newer(about, path)  # first: what it holds may well be other than what this version looks for
    if not isinstance(about, dict) or (about.get("status") == "done" and any(name not in about for name in ABOUT)):
        raise InputError("run.json of the run is damaged", where=str(path), fix="copy the whole run folder again, or train again")
    if about.get("status") != "done":
        fix = f"triptych train --resume {path}"
        raise InputError(f"the run is not finished: its status is {about.get('status', 'unknown')!r}", where=str(path), fix=fix)
    if missing:
        raise InputError(f"the run lacks {', '.join(missing)}", where=str(path), fix="copy the whole run folder again, or train again")
    return run


def refuse_newer(about: Any, path: str | Path) -> None:
    """Raise InputError where a run.json says that a newer version wrote the run."""
    if isinstance(about, dict) and about.get("format", 0) > FORMAT:
        version = about.get("versions", {}).get("triptych", "?")
        raise InputError(f"the run was written by a newer triptych ({version})", where=str(path), fix=f"update triptych to {version}")


def _neighbours(path: Path) -> list[str]:
    folder = path.parent if path.parent.is_dir() else Path("runs")
    return sorted(str(found.parent) for found in folder.glob("*/run.json"))[-5:] if folder.is_dir() else []


def refuse_full(out: str | Path) -> None:
    """Raise InputError where `out` is there and holds something."""
    path = Path(out)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise InputError(f"{str(path)!r} is there already", fix="name another folder with --out, or remove that one")


def fresh(path: Path) -> Path:
    """Make the folder, or one with a number: two runs in one second do not share a folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        candidate = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            candidate.mkdir()
        except FileExistsError:
            continue
        return candidate
    raise AssertionError("never reached")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in WATCHED:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _sum(path: Path) -> str:
    """A file's digest; one that other runs share, as a base's weights are, was read for it before and is written by nobody."""
    return kept_digest(path) if path.stat().st_nlink > 1 else digest(path)
