"""Every message a user reads about something wrong: what, where, what is known, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TriptychError(Exception):
    """The work failed. The command line turns it into its text and exit code 1, never into a stack trace."""

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", known: Iterable[object] = (), fix: str = "") -> None:
        """Say `what` is wrong, `where` it stands, which words are `known` there, and the `fix` to try."""
        self.what, self.where, self.known, self.fix = what, where, [str(word) for word in known], fix
        super().__init__(self._text())

    def _text(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.known:
            lines.append(f"  known: {', '.join(self.known)}")
        if self.fix:
            lines.append(f"  try:   {self.fix}")
        return "\n".join(lines)


class InputError(TriptychError):
    """What the user gave cannot be used: a recipe, a folder, a column, a run. Exit code 2."""

    exit_code = 2


class BadValue(InputError):
    """One value (a file, a cell) cannot be read. In a table it costs its row and leaves the reason; alone it is an error."""


class Absent(BadValue):
    """A file is whole but has nothing of what was looked for in it: a film without sound. In a table the row is used without it."""


def why(error: Exception) -> str:
    """What the system says of a file, without its number and the path, which the message around it names."""
    return getattr(error, "strerror", None) or str(error)


def nearest(word: str, known: Iterable[object], most: int = 3) -> list[str]:
    """The known words closest to a misspelt one, best first; empty where none is near."""
    by_lower = {str(k).lower(): str(k) for k in known}
    return [by_lower[match] for match in difflib.get_close_matches(word.lower(), list(by_lower), n=most, cutoff=0.5)]


def unknown_word(kind: str, word: str, known: Iterable[object], where: str = "") -> InputError:
    """The error for a word that is not one of the known ones, with the nearest as the thing to try."""
    words = [str(k) for k in known]
    close = nearest(word, words)
    fix = f"did you mean {' or '.join(repr(w) for w in close)}?" if close else ""
    return InputError(f"unknown {kind} {word!r}", where=where, known=words, fix=fix)
