"""A text, and the tokens a network sees of it, as HTML fragments."""

from __future__ import annotations

from html import escape
from typing import Any

from triptych.contract.values import Item
from triptych.modalities.text.tokenizer import SPECIALS, START

MOST_CHARACTERS = 600
MOST_CHIPS = 96

_QUOTE = "margin:0;padding:.3em .8em;border-left:3px solid var(--line,#8884);white-space:pre-wrap;overflow-wrap:anywhere"
_SMALL = "font-size:.85em;color:var(--muted,#888)"
_ROW = "display:flex;flex-wrap:wrap;gap:.3em;font-family:ui-monospace,monospace;font-size:.85em;line-height:1.3"
_CHIP = "padding:.1em .4em;border:1px {line};border-radius:.4em;text-align:center;max-width:100%;overflow-wrap:anywhere"
_KNOWN, _UNKNOWN = _CHIP.format(line="solid var(--line,#8884)"), _CHIP.format(line="dashed var(--accent,#4a7dff)")


def show(value: str) -> str:
    """The text as a quotation; of a long one the first `MOST_CHARACTERS` characters and how many there are."""
    short, note = value, ""
    if len(value) > MOST_CHARACTERS:
        short = _cut(value) + "…"
        note = f'<figcaption style="{_SMALL}">the start of {len(value):,} characters</figcaption>'
    quote = f'<blockquote dir="auto" style="{_QUOTE}">{escape(short)}</blockquote>'
    return f'<figure class="value text" style="margin:0">{quote}{note}</figure>'


def seen(item: Item, preparation: Any) -> str:
    """One chip a token with its id under it; unknown tokens are dashed; says what was cut off."""
    ids, total = item["ids"], int(item["total"])
    shown = zip(preparation.pieces(ids[:MOST_CHIPS]), ids[:MOST_CHIPS].tolist(), strict=True)
    chips = [_chip(piece, number, number == preparation.unknown) for piece, number in shown]
    unknown = int((ids == preparation.unknown).sum())
    said = [f"{len(ids)} token{'s' * (len(ids) != 1)}"]
    said += [f"{len(ids) - MOST_CHIPS} of them not shown here"] * (len(ids) > MOST_CHIPS)
    said += [f"{unknown} unknown (not in the vocabulary)"] * (unknown > 0)
    limit = int(preparation.limit().most)
    said += [f"cut: the last {total - len(ids)} of {total} are never seen (max_tokens {limit})"] * (total > len(ids))
    caption = f'<figcaption style="{_SMALL};margin-top:.3em">{"; ".join(said)}</figcaption>'
    row = f'<div role="list" aria-label="tokens" style="{_ROW}">{"".join(chips)}</div>'
    return f'<figure class="seen text" style="margin:0">{row}{caption}</figure>'


def _chip(piece: str, number: int, unknown: bool) -> str:
    text = escape(piece) if number < len(SPECIALS) else escape(_visible(piece))
    title = "not in the vocabulary" if unknown else "start of the text" if piece == START and number < len(SPECIALS) else f"token {number}"
    style = _UNKNOWN if unknown else _KNOWN
    return f'<span role="listitem" title="{title}" style="{style}">{text}<br><small style="color:var(--muted,#888)">{number}</small></span>'


def _visible(piece: str) -> str:
    """White space as signs, so that " the" and "the" are told apart."""
    return piece.replace(" ", "·").replace("\n", "↵").replace("\t", "⇥")


def _cut(value: str) -> str:
    """The first characters, up to the last space among them where there is one near the end."""
    start = value[:MOST_CHARACTERS]
    at = start.rfind(" ")
    return (start[:at] if at > MOST_CHARACTERS - 40 else start).rstrip()
