"""The elements of a JSON list, one by one as text: a file of any size is read piece by piece."""

from __future__ import annotations

import re
from collections.abc import Iterator

from triptych.data.sources.encoded import CHUNK, TextFile

MARK = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
"""A whole string, a bracket or a comma; a lone quotation mark begins a string whose end is not read yet."""


def elements(text: TextFile, longest: int, chunk: int = CHUNK) -> Iterator[str | None]:
    """The text of each element of the list that a file is; None for one with more than `longest` characters, never held whole.

    What stands between two commas need not be JSON: who reads it says so, and the next one is read all the same.

    Raises:
        OSError, EOFError, zlib.error: the list has no end, the file breaks off or is damaged.
    """
    with text.open() as file:
        held, at, depth, long = "", 0, 0, False
        while piece := file.read(chunk):
            held, start = held + piece, 0
            while found := MARK.search(held, at):
                mark = found[0]
                if mark == '"':  # its end comes with the next piece
                    at = found.start()
                    break
                at = found.end()
                ends = depth == 1 and mark in ",]"
                if ends:
                    yield None if long else held[start : found.start()]
                    long = False
                depth += 1 if mark in "[{" else -1 if mark in "]}" else 0
                if ends or (depth == 1 and mark == "["):
                    start = at
                if depth == 0:
                    if (held[at:] + file.read(chunk)).strip():
                        raise EOFError("more stands behind the end of the list")
                    return
            else:
                at = len(held)
            if len(held) - at > longest:
                raise EOFError(f"a text in it has more than {longest:,} characters")
            held, at = held[start:], at - start
            if len(held) > longest:  # its beginning is not needed: it is not told
                held, at, long = held[at:], 0, True
        if held.strip() and not long:
            yield held
        raise EOFError("the list has no end")
