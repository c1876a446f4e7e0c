"""A condition on an index's columns in the words of SQL, with the names that its user knows, for Lance."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from triptych.base.errors import InputError, unknown_word
from triptych.data.columns import ID, Column

_PIECES = re.compile(
    r"""(?P<text>'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*"|`[^`]*`)|(?P<number>\d[\w.]*)|(?P<word>[^\W\d]\w*)|(?P<other>\s+|.)""", re.DOTALL
)
_JOINING = "and or not in is null true false between like ilike similar to escape case when then else end cast as"
_NAMING = "date timestamp interval int integer bigint smallint float double real decimal boolean string varchar text"
_WORDS, _KINDS = frozenset(_JOINING.split()), frozenset(_NAMING.split())
"""Words that are no names of columns; and kinds, which are names where there is such a column. `"like"` in double quotes is a name."""


def condition(where: str, columns: Mapping[str, Column]) -> str:
    """The condition as Lance reads it: each column by the name of its field.

    Raises:
        InputError: it names a column that is not there, is empty, or a quote in it does not end.
    """
    if not where.strip():
        raise InputError("the condition is empty", where="--where", known=columns, fix="""--where "price < 50" """.strip())
    pieces = [(str(found.lastgroup), found[0], found.end()) for found in _PIECES.finditer(where)]
    return "".join(_as_field(kind, piece, where[end:], where, columns) for kind, piece, end in pieces)


def _as_field(kind: str, piece: str, rest: str, where: str, columns: Mapping[str, Column]) -> str:
    if kind == "other" and piece in "'\"`":
        raise InputError(f"a quote {piece} has no end", where=where)
    if kind == "other" and piece == ";":
        raise InputError("a condition is one expression, without ;", where=where)
    if kind == "quoted":
        return _field(piece[1:-1].replace('""', '"') if piece[0] == '"' else piece[1:-1], where, columns)
    if kind != "word" or piece.lower() in _WORDS:
        return piece
    after = rest.lstrip()[:1]
    spoken = after == "'" if piece in columns else piece.lower() in _KINDS or after == "("  # date '2026-01-31', lower(name)
    if spoken:
        return piece
    return _field(piece, where, columns)


def _field(name: str, where: str, columns: Mapping[str, Column]) -> str:
    if name != ID and name not in columns:
        error = unknown_word("column", name, [ID, *columns], where=f"--where {where}")
        error.fix = error.fix or "a text stands in single quotes: name = 'value'"
        raise InputError(error.what, where=error.where, known=error.known, fix=error.fix)
    return f"`{columns[name].field if name in columns else ID}`"


def refusal(error: Exception, where: str, columns: Mapping[str, Column]) -> InputError:
    """What Lance says of a condition, in a user's names, with the kinds of the columns."""
    said = str(error).splitlines()[0]
    said = re.sub(r", [\w/.-]+\.rs:\d+(:\d+)?$", "", said).removeprefix("LanceError(IO): ").removeprefix("Invalid user input: ")
    names: dict[str, str] = {column.field: column.name for column in columns.values()}
    named: Callable[[re.Match[str]], str] = lambda found: names.get(found[0], found[0])  # noqa: E731
    said = re.sub(r"\bc_[\w%]+", named, said)
    known = [f"{column.name} ({column.kind})" for column in columns.values()]
    return InputError(f"the condition cannot be used: {said[:300]}", where=f"--where {where}", known=known)
