"""Several files in one word: `part-*.jsonl`, `clips/**/*.wav`, `shard-{0000..0003}.tar`."""

from __future__ import annotations

import glob
import itertools
import re
from pathlib import Path

from triptych.base.errors import InputError

BRACES = re.compile(r"\{([^{}]*,[^{}]*|\d+\.\.\d+)\}")
MOST = 1_000_000  # files that a brace may stand for


def is_pattern(path: Path) -> bool:
    """Whether a path names several files; one that is there as it is written does not."""
    return bool(glob.has_magic(str(path)) or BRACES.search(str(path))) and not path.exists()


def expanded(path: Path) -> list[Path]:
    """The files a pattern stands for, in order: `*`, `?`, `[ab]` find what is there, `**` in all folders below, braces list.

    Raises:
        InputError: nothing fits, or a file that braces name is not there.
    """
    found: list[Path] = []
    for name in _unbraced(str(path)):
        if not glob.has_magic(name):
            if not Path(name).exists():
                raise InputError(f"there is no file {name!r}", where=str(path), fix="check the numbers between the braces")
            found.append(Path(name))
            continue
        found += sorted(Path(fit) for fit in glob.glob(name, recursive=True))
    files = [fit for fit in dict.fromkeys(found) if not fit.is_dir()]
    if not files:
        fix = "check the folder's name; to mean the sign itself write [*], [?] or [[]"
        raise InputError(f"no file fits the pattern {str(path)!r}", known=["*", "**", "?", "[ab]", "{a,b}", "{00..12}"], fix=fix)
    return files


def root(path: Path) -> Path:
    """The folder above a pattern's first sign."""
    plain = itertools.takewhile(lambda part: not glob.has_magic(part) and not BRACES.search(part), path.parts[:-1])
    return Path(*plain)


def _unbraced(text: str) -> list[str]:
    """`{a,b}` and `{08..11}` written out, as a shell does; numbers keep their leading zeros."""
    texts = [text]
    while any(BRACES.search(one) for one in texts):
        texts = [made for one in texts for made in _first_written_out(one)]
        if len(texts) > MOST:
            raise InputError(f"the braces stand for more than {MOST:,} files", where=text)
    return texts


def _first_written_out(text: str) -> list[str]:
    match = BRACES.search(text)
    if not match:
        return [text]
    words = match[1].split(",")
    if "," not in match[1]:
        first, last = match[1].split("..")
        if abs(int(last) - int(first)) >= MOST:
            raise InputError(f"the braces stand for more than {MOST:,} files", where=text)
        step = 1 if int(last) >= int(first) else -1
        words = [str(number).zfill(len(first)) for number in range(int(first), int(last) + step, step)]
    return [f"{text[: match.start()]}{word}{text[match.end() :]}" for word in words]
