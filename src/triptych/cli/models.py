"""`triptych models`: pretrained models to choose from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from triptych.use.models import Browsed, Here

TASKS = ["embed", "classify", "contrast", "generate"]
FEW = 12
"""So many or fewer are told of at length."""


def models(
    modality: Annotated[str | None, typer.Option(help="what it takes; several, with commas: all of them, in one space")] = None,
    task: Annotated[
        str | None, typer.Option(help="what it was made for: embed, classify, contrast, generate; several: any of them")
    ] = None,
    size: Annotated[str | None, typer.Option(help="most parameters: 500M, 1.5B")] = None,
    licence: Annotated[str | None, typer.Option(help="its licence: apache-2.0, mit; several: any of them")] = None,
    language: Annotated[str | None, typer.Option(help="a language that it knows: en, de")] = None,
    search: Annotated[str | None, typer.Option(help="words in its name or what is said of it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
) -> None:
    """Browse pretrained models: what they are for, what they need on this machine, the line to use them."""
    from triptych.base import catalogue
    from triptych.modalities import rooms
    from triptych.use.models import Wanted, browse

    inputs = list(dict.fromkeys(name for entry in catalogue.entries() for name in entry.towers if name in rooms()))
    wanted = Wanted(
        tuple(catalogue.known("modality", _words(modality), inputs)),
        tuple(catalogue.known("task", _words(task), TASKS)),
        catalogue.count(size) if size else None,
        tuple(catalogue.known("licence", _words(licence), _licences())),
        language.strip().lower() if language else None,
        tuple((search or "").split()),
    )
    found = browse(wanted)
    if as_json:
        told = {"source": found.source, "why": found.why, "machine": found.machine, "speed": round(found.speed)}
        print(json.dumps({**told, "models": [one.as_dict() for one in found.models]}))
    else:
        _shown(found)


def _words(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _licences() -> list[str]:
    """Those of the catalogue, and others that are common on the Hub."""
    from triptych.base import catalogue

    common = ["apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "openrail", "gpl-3.0", "other", "not said"]
    return list(dict.fromkeys([*common, *(entry.licence for entry in catalogue.entries())]))


def _shown(found: Browsed) -> None:
    from triptych.cli import tables
    from triptych.cli.cache import in_bytes

    where = f"{found.why}: from the catalogue that comes along" if found.source == "catalogue" else "from the Hub, most downloads first"
    if not found.models:
        tables.lines(f"no model is so ({where}); leave out one of the conditions")
        return
    tables.models([_cells(one) for one in found.models])
    tables.lines(f"{len(found.models)} models, {where}")
    speed = f"{found.speed / 1e9:,.0f} billion operations a second ({found.machine}), of which half is counted on"
    tables.lines(f"time is an estimate for 1,000 rows, from sizes and this machine's matrix products: {speed}; memory: its weights")
    if len(found.models) > FEW:
        tables.lines(f"{FEW} or fewer are told of at length, with the line to use them: --search WORDS, --size 100M, --task embed")
        return
    for one in found.models:
        rough = ", roughly" if one.entry.rough else ""
        tables.lines("", f"{one.entry.id}: {one.entry.good}")
        tables.lines(f"  weights {in_bytes(one.frozen)}; all of it trained, {in_bytes(one.trained)} and what a batch takes{rough}")
        tables.lines(f"  {one.use}" if one.use else f"  no encoder here: {one.entry.family} is not known")


def _cells(one: Here) -> list[str]:
    from triptych.cli.cache import in_bytes

    entry = one.entry
    size = f"{entry.parameters / 1e6:,.0f} M" if entry.parameters >= 10**7 else f"{entry.parameters / 1e6:.1f} M"
    name = entry.id if one.known else f"{entry.id} (not known here)"
    languages = ", ".join(entry.languages[:3]) + (" ..." if len(entry.languages) > 3 else "")
    cells = [name, ", ".join(entry.towers), ", ".join(entry.tasks), size, entry.licence, languages, in_bytes(one.frozen)]
    return [*cells, duration(one.seconds)]


def duration(seconds: float) -> str:
    """About how long, in one unit."""
    if seconds < 1:
        return "< 1 s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
