"""HTML out of a text. In time linear in it, and the same in every version of Python, which the standard library's parser is not."""

from __future__ import annotations

import html
import re


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


UNSEEN = _names("script style template noscript")
"""Elements whose content nobody reads."""
BREAKS = _names(
    "address article aside blockquote body br button caption center dd details dialog dir div dl dt fieldset figcaption figure footer form"
    " h1 h2 h3 h4 h5 h6 head header hgroup hr html iframe img legend li main menu nav ol optgroup option p pre section select summary"
    " table tbody td textarea tfoot th thead title tr ul video"
)
"""Elements with a gap before and after them on a page."""
WITHIN = _names(
    "a abbr acronym area audio b base basefont bdi bdo big canvas cite code col colgroup data datalist del dfn em embed font frame frameset"
    " i input ins kbd label link map mark meta meter nobr object output param picture progress q rp rt ruby s samp slot small source span"
    " strike strong sub sup svg time track tt u var wbr"
)
"""Elements within a line: `<b>W</b>ord` is one word."""

_KNOWN = BREAKS | WITHIN | UNSEEN
# No "<" stands within a tag, quantifiers are possessive: a match is given up at the next "<", and the whole stays linear.
_TAG = re.compile(r"""</?([a-zA-Z][a-zA-Z0-9]*+)(?:[\s/](?:(?:[^<>"']++|"[^"<]*+"|'[^'<]*+')*+|[^<>]*+))?>""")
_DECLARED = re.compile(r"<[!?][a-zA-Z\[][^<>]*+>")
_END = {name: re.compile(rf"</{name}(?:[\s/][^<>]*+)?>", re.IGNORECASE) for name in UNSEEN}


def without_markup(text: str) -> str:
    """The text that a reader of the page would see.

    Tags, comments, scripts and styles are gone, entities are their characters, an element with a gap around it becomes a space.
    Tags that HTML does not know stay: `<3` and `<John>` are no markup. Entities are read once, as a browser does.
    """
    if "<" not in text:
        return html.unescape(text) if "&" in text else text
    said: list[str] = []
    missing: set[str] = set()
    at = 0
    while (start := text.find("<", at)) >= 0:
        said.append(html.unescape(text[at:start]))
        seen, at = _taken(text, start, missing)
        said.append(seen)
    said.append(html.unescape(text[at:]))
    return "".join(said)


def _taken(text: str, start: int, missing: set[str]) -> tuple[str, int]:
    """What is seen of the markup at `start`, and where it ends. `missing`: ends that come no more, so that they are sought once."""
    if text.startswith("<!--", start):
        end = -1 if "-->" in missing else text.find("-->", start + 4)
        if end >= 0:
            return "", end + 3
        missing.add("-->")
        return "<", start + 1
    if declared := _DECLARED.match(text, start):
        return "", declared.end()
    tag = _TAG.match(text, start)
    name = tag[1].lower() if tag else ""
    if tag is None or name not in _KNOWN:
        return "<", start + 1
    if name in UNSEEN and text[start + 1] != "/" and name not in missing:
        if end_tag := _END[name].search(text, tag.end()):
            return " ", end_tag.end()
        missing.add(name)
    return "" if name in WITHIN else " ", tag.end()
