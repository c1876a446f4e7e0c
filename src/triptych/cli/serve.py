"""`triptych serve`: runs behind HTTP, with the page on the same port."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from triptych.base.errors import InputError

LOOPBACK = "127.0.0.1"


def serve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="folders of finished runs")],
    index: Annotated[
        str | None, typer.Option(metavar="FOLDER", help="an index of one of them, to be searched: triptych search build")
    ] = None,
    host: Annotated[str, typer.Option(help="where it listens; other machines call it only where this says so, with keys")] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
    page: Annotated[bool, typer.Option("--page/--no-page", help="the page at /")] = True,
    feedback: Annotated[str | None, typer.Option(metavar="FOLDER", help="where remarks are kept; by default beside each run")] = None,
    allow_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="fetch addresses of this host for callers; none by default")
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(metavar="ORIGIN", help="let pages of this origin call: https://shop.example")
    ] = None,
    anybody: Annotated[bool, typer.Option("--anybody", help="other machines may call without a key")] = False,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="change a bound: --limit seconds=60; --limits lists them")
    ] = None,
    limits: Annotated[bool, typer.Option("--limits", help="list the bounds and end")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="threads of torch; by default as many as there are cores")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="no line a request")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="say where it is as JSON")] = False,
) -> None:
    """Answer over HTTP: an API of the run's own inputs, one that OpenAI's clients know, and a page. Keys: TRIPTYCH_KEYS."""
    from triptych.web.limits import Limits

    bounds = Limits.read(_changes(limit or []))
    if limits:
        _list(bounds, as_json)
        return
    from triptych.run.folder import open_folder
    from triptych.web import serving

    for run in runs:
        open_folder(run)  # a slip is answered before anything heavy is loaded
    keys = serving.keys_of()
    serving.check_open(host, keys, anybody)
    listening = serving.bound(host, port)
    from triptych.web.app import create_app
    from triptych.web.service import Service, open_runs

    _set_threads(threads)
    place = Path(feedback) if feedback else None
    service = Service(open_runs(runs), _opened(index), bounds, feedback_at=place)
    names = serving.names_of(host)
    app = create_app(service, keys=keys, page=page, hosts=names, origins=allow_origin or [], fetched=allow_host or [])
    service.load()
    _log(quiet)

    def ready(url: str) -> None:
        told = {"url": url, "runs": list(service.runs), "index": index, "keys": len(keys)}
        print(json.dumps(told) if as_json else _said(told), flush=True)

    if not serving.is_loopback(host) and not keys:
        print(f"warning: anybody who reaches {host}:{port} may ask these runs", file=sys.stderr)
    serving.serve(app, listening, bounds, ready)


def _said(told: dict[str, Any]) -> str:
    url = told["url"]
    lines = [f"{', '.join(told['runs'])} at {url}", f"what can be asked: {url}docs", f"OpenAI's clients: base_url={url}v1"]
    lines += [f"a key is needed: one of {told['keys']}"] if told["keys"] else []
    return "\n".join([*lines, "Ctrl-C ends"])


def _changes(limit: list[str]) -> dict[str, str]:
    for one in limit:
        if "=" not in one:
            raise InputError(f"{one!r} changes no bound", fix="--limit NAME=VALUE; --limits lists them")
    return dict(one.split("=", 1) for one in limit)


def _list(bounds: Any, as_json: bool) -> None:
    from triptych.web.limits import PREFIX

    if as_json:
        print(bounds.model_dump_json())
        return
    for name, field in type(bounds).model_fields.items():
        print(f"{name:<14}{getattr(bounds, name):>14,}  {field.description}  ({PREFIX}{name.upper()})")


def _opened(index: str | None) -> Any:
    if index is None:
        return None
    from triptych.use.catalogue import open_catalogue

    return open_catalogue(index)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _log(quiet: bool) -> None:
    """A line a request, without what was said, and what goes wrong."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", level=logging.WARNING)
    logging.getLogger("triptych.web").setLevel(logging.WARNING if quiet else logging.INFO)
