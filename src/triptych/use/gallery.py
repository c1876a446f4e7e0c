"""What was found, as a page to look at: what was looked for on top, then a card a row, the nearest first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triptych.base.errors import BadValue
from triptych.base.files import write_text
from triptych.contract.cells import Blob, Cell, Several, Span
from triptych.use.catalogue import Catalogue, Hit
from triptych.use.opened import Run
from triptych.use.pages import rendered
from triptych.use.shown import cell_html
from triptych.use.spaces import Part


def write_gallery(catalogue: Catalogue, run: Run, parts: Sequence[Part], hits: Sequence[Hit], out: Path, where: str | None = None) -> None:
    """Write the page: one file, without a network and without scripts."""
    asked = [{"input": part.input, "weight": part.weight, "html": _part(run, part)} for part in parts]
    found = [_card(hit, rank, catalogue.rows.root) for rank, hit in enumerate(hits, start=1)]
    facts = {"name": catalogue.path.name, "rows": len(catalogue), "where": where or "", "asked": asked, "found": found}
    write_text(out, rendered("gallery.html.j2", facts))


def _part(run: Run, part: Part) -> str:
    room = run.inputs[part.input][0]
    try:
        return room.show(room.read(part.value))
    except BadValue as problem:
        return problem.what


def _card(hit: Hit, rank: int, root: Path) -> dict[str, Any]:
    """Files are shown, the rest are facts."""
    media = [(name, cell_html(cell, root)) for name, cell in hit.row.items() if is_media(cell)]
    facts = [(name, said(cell)) for name, cell in hit.row.items() if not is_media(cell)]
    return {"id": hit.id, "rank": rank, "similarity": hit.similarity, "media": media, "facts": facts}


def is_media(cell: Cell) -> bool:
    """Whether a cell holds files."""
    return isinstance(cell, Path | Blob | Span | Several)


def said(cell: Cell) -> str:
    """A cell in a few words; of a file its name."""
    if isinstance(cell, Blob):
        return cell.name or "a file in it"
    return ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
