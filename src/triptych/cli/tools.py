"""The verbs under `triptych data` that rooms bring along: their options are the fields of their settings."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from triptych.base.settings import Settings
    from triptych.contract.tools import Learner, Renderer

SOURCE = "folder, file, pattern of files, hf:owner/name, data set as published, or table"
MOST_SHOWN = 20


class WithTools(TyperGroup):
    """A group of verbs that has those of the rooms too, made when they are first asked for: `triptych --help` need not wait."""

    _verbs: dict[str, Any]
    _whole = False

    @property  # type: ignore[override]
    def commands(self) -> dict[str, Any]:
        """The verbs by name."""
        if not self._whole:
            self._whole = True
            self._verbs.update(_verbs_of_rooms())
        return self._verbs

    @commands.setter
    def commands(self, verbs: dict[str, Any]) -> None:
        self._verbs = dict(verbs)


def _verbs_of_rooms() -> dict[str, Any]:
    """A verb for each tool of each room."""
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)  # one verb alone would not be a group
    from triptych.modalities import rooms

    for name, room in rooms().items():
        for tool in getattr(room, "tools", ()):
            verb = _learning(name, tool) if tool.kind == "learner" else _rendering(tool)
            app.command(tool.name, help=tool.about)(verb)
    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def _learning(room: str, tool: Learner) -> Callable[..., None]:
    def verb(source: str, column: str, out: str, as_json: bool, **said: Any) -> None:
        options = _options(tool.Options, said)
        from triptych.data.learnt import ColumnValues
        from triptych.data.sources.asked import asked
        from triptych.data.sources.words import opened
        from triptych.modalities import rooms
        from triptych.run.progress import Voice

        values = ColumnValues(opened(asked([source], [], rooms()), rooms(), {}), column, rooms()[room], Voice(quiet=as_json))
        told = tool.learn(values, options, Path(out))
        told = {**told, "out": out, "rows": values.rows, "empty": values.empty, "refused": len(values.refused)}
        if as_json:
            print(json.dumps(told))
            return
        from triptych.cli import tables

        tables.lines(*(f"refused {reject.id}: {reject.reason}" for reject in values.refused[:MOST_SHOWN]))
        lost = f"; {values.empty:,} rows are empty, {len(values.refused):,} cannot be read" if values.rows > values.given else ""
        tables.lines(f"{told['text']} -> {out}{lost}", f"in a recipe: {told['recipe']}")

    first = [
        _parameter("source", str, typer.Argument(metavar="SOURCE", help=SOURCE)),
        _parameter("column", str, typer.Option("--column", help="column to learn from")),
        _parameter("out", str, typer.Option("--out", help="file to write"), tool.out),
    ]
    return _signed(verb, first, tool.Options)


def _rendering(tool: Renderer) -> Callable[..., None]:
    def verb(table: str, column: str, into: str, files: str | None, replace: bool, workers: int, as_json: bool, **said: Any) -> None:
        options = _options(tool.Options, said)
        from triptych.data.rendered import Task, render_column, summary
        from triptych.modalities import rooms
        from triptych.run.progress import Voice

        beside = Path(files) if files else None
        task = Task(Path(table), column, into, tool.open(options), rooms()[tool.reads], beside, workers, replace)
        found = render_column(task, Voice(quiet=as_json))
        if as_json:
            print(json.dumps(summary(found)))
            return
        from triptych.cli import tables

        tables.lines(*(f"left out {reject.id}: {reject.reason}" for reject in found.reasons[:MOST_SHOWN]))
        if found.rejects:
            tables.lines(f"all {found.refused:,} that were left out, with reasons: {found.rejects}")
        counts = f"{found.rows:,} rows: {found.made:,} made, {found.empty:,} empty, {found.refused:,} left out"
        tables.lines(f"{counts} -> {', '.join(found.columns)} of {table} (version {found.version})")

    first = [
        _parameter("table", str, typer.Argument(metavar="TABLE", help="a table: NAME.lance")),
        _parameter("column", str, typer.Option("--column", help="column of texts")),
        _parameter("into", str, typer.Option("--as", help="name of the new column; what was drawn for a row is kept beside it"), tool.out),
        _parameter("files", str | None, typer.Option("--files", help="folder for the files; by default they lie in the table"), None),
        _parameter("replace", bool, typer.Option("--replace", help="put it in the place of an older column of that name"), False),
        _parameter("workers", int, typer.Option("--workers", min=1, max=256, help="processes that do the work"), 1),
    ]
    return _signed(verb, first, tool.Options)


def _options(kind: type[Settings], said: dict[str, Any]) -> Any:
    from triptych.base.settings import parse

    return parse(kind, {name: value for name, value in said.items() if value is not None}, "the command line")


def _signed(verb: Callable[..., None], first: list[inspect.Parameter], options: type[Settings]) -> Callable[..., None]:
    """Tell typer what the verb takes: `first`, an option for each field, and --json."""
    fields = [_field(name, field) for name, field in options.model_fields.items()]
    last = _parameter("as_json", bool, typer.Option("--json", help="print JSON instead of text"), False)
    parameters = [*first, *fields, last]
    verb.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    verb.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return verb


def _field(name: str, field: Any) -> inspect.Parameter:
    """An option whose value the settings check themselves; left out, they have their own default."""
    kinds = {field.annotation, *get_args(field.annotation)}
    words = next((get_args(part) for part in (field.annotation, *get_args(field.annotation)) if get_origin(part) is Literal), ())
    option = f"--{name.replace('_', '-')}"
    default = "" if field.default is None or field.default is False else f" [default: {field.default}]"
    text = f"{field.description}{default}"
    if bool in kinds:
        return _parameter(name, bool | None, typer.Option(f"{option}/--no-{name.replace('_', '-')}", help=text, show_default=False), None)
    metavar = "|".join(words) if words else "NUMBER" if int in kinds else "TEXT"
    return _parameter(name, str | None, typer.Option(option, help=text, metavar=metavar, show_default=False), None)


def _parameter(name: str, kind: Any, info: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[kind, info], default=default)
