"""Code that comes with weights: it runs on somebody's word alone, and then that code and no other.

Three words count. A recipe that its user trains says `trust_remote_code: true` of an encoder; what ran by that word is noted, by
its content, in the user's own settings folder, so that the runs that came of it open again. And who opens a run that came from
elsewhere says so in the environment: TRIPTYCH_TRUST_REMOTE_CODE=WORD, the word of that code, or 1, for any code.

The recipe inside a run folder is nobody's word: it travels with the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.base.files import write_json

VARIABLE = "TRIPTYCH_TRUST_REMOTE_CODE"
FIELD = "trust_remote_code"
CODE = ".py"
MAPS = ("config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json")
"""Files whose `auto_map` says which class of which file builds what."""
ANY = ("1", "true", "yes")
LENGTH = 32
"""Hexadecimal digits of a word: 128 bits, so that nobody can write other code with the word of code that you know."""
COMMIT = 40

_said: set[tuple[str, str]] = set()
_ran: set[str] = set()


class RemoteCode(UserWarning):
    """Code of a model's repository is about to run."""


def files(folder: Path) -> list[Path]:
    """The code beside the weights, in a fixed order."""
    return sorted(path for path in folder.rglob(f"*{CODE}") if path.is_file() and "__pycache__" not in path.parts)


def word(folder: Path) -> str:
    """One word for all the code of a folder: another letter anywhere is another word."""
    told = sha256()
    for path in files(folder):
        told.update(f"{path.relative_to(folder).as_posix()} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return told.hexdigest()[:LENGTH]


def mapped(folder: Path, file: str = MAPS[0]) -> dict[str, Any]:
    """What code builds what, by a file of the folder; nothing where it says nothing."""
    try:
        told = json.loads((folder / file).read_text(encoding="utf-8")).get("auto_map", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return told if isinstance(told, dict) else {}


def brings(folder: Path) -> bool:
    """Whether the model, or what prepares for it, is built by code of its own."""
    return any(mapped(folder, file) for file in MAPS)


def say(name: str, revision: str) -> None:
    """The recipe that a user trains says that the code of this base may run."""
    _said.add((name, revision))


def refuse_unsaid(folder: Path, called: str) -> InputError:
    """What is said of a base that only its own code can build, and nobody said that it may."""
    named = _flat(reference for file in MAPS for reference in mapped(folder, file).values())
    needed = ", ".join(dict.fromkeys(reference.rsplit(".", 1)[0] + CODE for reference in named))
    what = f"{called} can be built by code of its own repository alone ({needed or 'none is named'}), and that is not run unasked"
    fix = f"read that code. If you trust it, say so in the recipe: {words_of(called)}; or name a model of a known architecture"
    return InputError(what, where=str(folder), fix=fix)


def words_of(name: str) -> str:
    """What a recipe says of a base whose code may run."""
    pinned = "" if Path(name).is_dir() or "/" not in name else "revision: THE_COMMIT_YOU_READ, "
    return f"encoder: {{kind: pretrained, name: {name}, {pinned}{FIELD}: true}}"


def let(folder: Path, called: str, name: str = "", revision: str = "") -> None:
    """Let the code of a folder run, on one of the three words; it is said aloud once, with its files and where it is from.

    Args:
        folder: of a base, whole.
        called: its name for people.
        name: as the recipe has it; left out of a folder within a run, for a recipe's word is for what it names.
        revision: as the recipe has it.

    Raises:
        InputError: nobody said so, its code lies in another repository or is not there.
    """
    _complete(folder, called)
    own = word(folder)
    if own in _ran:
        return
    by = "the recipe says so" if (name, revision) in _said else "it ran here before" if own in _noted() else _in_the_environment(own)
    if not by:
        raise _refused(folder, own)
    _ran.add(own)
    if by != "it ran here before":
        listed = ", ".join(path.relative_to(folder).as_posix() for path in files(folder))
        warnings.warn(
            f"code of {called} runs now, with all you may do: {listed}; {_revision(folder, revision)}; {by}", RemoteCode, stacklevel=2
        )
    if by == "the recipe says so":
        _note(own, called, folder)


def runs(folder: Path, name: str, said: bool) -> bool:
    """Whether code of this folder is to run: it brings some, its recipe says that it may, and it is let; raises as `let`."""
    code = said and brings(folder)
    if code:
        let(folder, name)  # what the recipe names was let when it was described
    return code


def _revision(folder: Path, revision: str) -> str:
    """What is known of where the code stands, and whether its owner can put another there."""
    commit = folder.name if len(folder.name) == COMMIT else ""
    if not commit:
        return f"from {folder}"
    moves = "" if revision == commit else f"; {revision or 'it'} may be other code tomorrow: pin it with revision: {commit}"
    return f"commit {commit}{moves}"


def _complete(folder: Path, called: str) -> None:
    """Every file that is named is there, in this folder and not in another's repository."""
    there = {path.relative_to(folder).as_posix() for path in files(folder)}
    for file in MAPS:
        for reference in _flat(mapped(folder, file).values()):
            if "--" in reference:
                other = reference.split("--")[0]
                what = f"the code of {called} lies in another repository, {other}, which its revision does not pin"
                fix = f"copy both into one folder, take '{other}--' out of the auto_map of {file}, and name that folder"
                raise InputError(what, where=str(folder / file), fix=fix)
            if (path := reference.rsplit(".", 1)[0] + CODE) not in there:  # one that lies elsewhere has no part in the word
                raise InputError(
                    f"the code of {called} is not whole: {path} is missing", where=str(folder), fix="download or copy it again"
                )


def _flat(values: Any) -> list[str]:
    return [one for value in values for one in (value if isinstance(value, list | tuple) else [value]) if isinstance(one, str)]


def _in_the_environment(own: str) -> str:
    said = os.environ.get(VARIABLE, "").strip().lower()
    return f"{VARIABLE} says so" if said in ANY or own in said.replace(",", " ").split() else ""


def _refused(folder: Path, own: str) -> InputError:
    listed = ", ".join(path.relative_to(folder).as_posix() for path in files(folder))
    what = f"this model comes with code of its own ({listed}), and nobody has said on this machine that it may run"
    fix = f"read those files first: they can do all that you can. If you trust them: {VARIABLE}={own} before the command"
    return InputError(what, where=str(folder), fix=fix)


def record() -> Path:
    """Where it is noted which code ran here by a recipe's word: in the user's settings, never in a cache that others may write to."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "triptych" / "trusted-code.json"


def _noted() -> dict[str, Any]:
    """By word. A record that another user wrote, or could write, counts for nothing."""
    path = record()
    try:
        about = path.stat()
        if hasattr(os, "getuid") and (about.st_uid != os.getuid() or about.st_mode & 0o022):
            return {}
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def _note(own: str, called: str, folder: Path) -> None:
    entry = {"of": called, "folder": str(folder), "files": [path.relative_to(folder).as_posix() for path in files(folder)]}
    with contextlib.suppress(OSError):  # a home that cannot be written to costs a word when a run is opened
        write_json(record(), {**_noted(), own: {**entry, "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}})
