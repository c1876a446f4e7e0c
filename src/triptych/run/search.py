"""What a search may change: words of a recipe with the values to try, said by the user or derived from the recipe.

Nothing here imports torch or Optuna, so a wrong word is answered at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from triptych.base.errors import InputError
from triptych.base.settings import override, parse, read_yaml, write_yaml
from triptych.modalities import rooms
from triptych.model.settings import Fusion
from triptych.run.recipe import Recipe
from triptych.run.settings import Spread

Space = dict[str, Spread | list[Any]]

JUDGES = ("name", "about", "data.source", "data.split", "training.select", "report", "track", "search")
"""Words that decide what is measured, or nothing: scores of trials that differ in them could not be compared."""
LEAST_DECAY, MOST_DECAY = 1e-3, 0.3
FORMS = "--search 'stages.0.lr=log:1e-4:1e-2', 'fusion.dropout=range:0:0.5', or 'training.batch_size=32,64,128'"


def bare(recipe: Recipe) -> dict[str, Any]:
    """The recipe as its author wrote it, without defaults: those of another kind of encoder or fusion are others."""
    tree = recipe.model_dump(mode="json", exclude_unset=True)
    return {name: value for name, value in tree.items() if name not in ("search", "track")}


def changed(recipe: Recipe, words: Mapping[str, Any]) -> Recipe:
    """The recipe of one trial.

    A path may have `*` for all items of a list or all names. Where a `kind` changes, fields that the new kind lacks go.

    Raises:
        InputError: the values do not go together.
    """
    tree = bare(recipe)
    for path, value in sorted(words.items(), key=lambda pair: not pair[0].endswith(("kind", "encoder", "fusion"))):
        for place in places(tree, path):
            tree = _other_kind(tree, place, value) if place.endswith("kind") else override(tree, [f"{place}={_text(value)}"])
    return parse(Recipe, tree, recipe.name or "recipe")


def _text(value: Any) -> str:
    return write_yaml(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")


def places(tree: Any, path: str) -> list[str]:
    """The paths that one with `*` stands for."""
    if "*" not in path.split("."):
        return [path]
    before, _, after = path.partition("*")
    held = tree
    for step in filter(None, before.split(".")):
        held = held[int(step)] if isinstance(held, list) and step.isdecimal() and int(step) < len(held) else _named(held, step)
    names: Iterable[Any] = range(len(held)) if isinstance(held, list) else held if isinstance(held, dict) else ()
    return [whole for name in names for whole in places(tree, f"{before}{name}{after}")]


def _named(held: Any, step: str) -> Any:
    return held.get(step) if isinstance(held, dict) else None


def _other_kind(tree: dict[str, Any], place: str, kind: Any) -> dict[str, Any]:
    """Change a kind and keep of its mapping what the new kind also has."""
    owner = place.rpartition(".")[0]
    known = _kinds(tree, owner).get(str(kind))
    held: Any = tree
    for step in owner.split("."):
        held = _named(held, step)
    if known is None or not isinstance(held, dict):
        return override(tree, [f"{place}={_text(kind)}"])
    kept = {name: value for name, value in held.items() if name in known.model_fields}
    return override(tree, [f"{owner}={_text({**kept, 'kind': kind})}"])


def _kinds(tree: dict[str, Any], owner: str) -> dict[str, type[BaseModel]]:
    """The kinds that may stand at `fusion` or at an input's `encoder`, with their settings."""
    steps = owner.split(".")
    if steps == ["fusion"]:
        return _members(Fusion)
    if len(steps) == 3 and steps[0] == "inputs" and steps[2] == "encoder":
        modality = tree["inputs"].get(steps[1], {}).get("modality")
        return _members(rooms()[modality].Input.model_fields["encoder"].annotation) if modality in rooms() else {}
    return {}


def _members(annotation: Any) -> dict[str, type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation.model_fields["kind"].default: annotation}
    return {kind: found for part in get_args(annotation) for kind, found in _members(part).items()}


def fusions(recipe: Recipe, asked: Iterable[str] | None = None) -> dict[str, Recipe]:
    """The recipe with each fusion that can join its inputs, or with those `asked` for.

    Raises:
        InputError: one that was asked for is not known, or does not fit.
    """
    found: dict[str, Recipe] = {}
    for kind in asked or _members(Fusion):
        try:
            if kind == "single" and not asked and len(recipe.inputs) > 1:
                continue
            found[kind] = changed(recipe, {"fusion.kind": kind, **_dividing(recipe, kind)})
        except InputError:
            if asked:
                raise
    return found


def _dividing(recipe: Recipe, kind: str) -> dict[str, int]:
    """Attention heads where their default does not divide the width."""
    known, width = _members(Fusion).get(kind), recipe.fusion.width
    if known is None or "heads" not in known.model_fields or "heads" in recipe.fusion.model_fields_set or width % 4 == 0:
        return {}
    return {"fusion.heads": next(heads for heads in (3, 2, 1) if width % heads == 0)}


def asked_space(recipe: Recipe, options: Iterable[str] = ()) -> Space:
    """The recipe's `search:` with the command line's words over it; where neither says anything, what suits the recipe.

    Raises:
        InputError: a word cannot be read, names no field, or would change what is measured.
    """
    said: Space = dict(recipe.search)
    for option in options:
        path, equals, text = option.partition("=")
        if not equals or not path or not text:
            raise InputError(f"cannot read the search {option!r}", fix=FORMS)
        said[path] = _values(text, option)
    space = said or suited(recipe)
    _check(recipe, space)
    return space


def _values(text: str, option: str) -> Spread | list[Any]:
    scale, _, bounds = text.partition(":")
    if scale in ("log", "range") and bounds:
        if bounds.count(":") != 1:
            raise InputError(f"cannot read the search {option!r}: a range has two ends", fix=FORMS)
        tree: Any = {scale: [read_yaml(bound) for bound in bounds.split(":")]}
    else:
        tree = override({}, [f"x={text}"])["x"]
        if isinstance(tree, str) and "," in tree:
            tree = [read_yaml(part) for part in tree.split(",")]
    try:
        return TypeAdapter(Spread).validate_python(tree) if isinstance(tree, dict) else _listed(tree)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InputError(f"cannot read the search {option!r}: {reason}") from None


def _listed(tree: Any) -> list[Any]:
    return tree if isinstance(tree, list) else [tree]


def suited(recipe: Recipe) -> Space:
    """A space around what the recipe says: rates, batch size, decay, size and dropout of the parts, and the fusion."""
    space: Space = {}
    for number, stage in enumerate(recipe.stages):
        rates = stage.lr if isinstance(stage.lr, dict) else {"": stage.lr}
        for part, rate in rates.items():
            space[f"stages.{number}.lr" + (f".{part}" if part else "")] = Spread(log=(rate / 10, min(rate * 10, 10.0)))
    size = recipe.training.batch_size
    space["training.batch_size"] = sorted({max(2, size // 2), size, size * 2})
    space["stages.*.weight_decay"] = Spread(log=(LEAST_DECAY, MOST_DECAY))
    for name, settings in recipe.inputs.items():
        space |= {f"inputs.{name}.encoder.{field}": values for field, values in _around(settings.encoder)}
    if len(recipe.inputs) > 1:
        space["fusion.kind"] = list(fusions(recipe))
        space["fusion.dropout"] = Spread(range=(0.0, 0.5))
    for name, task in recipe.tasks.items():
        if "dropout" in type(task).model_fields:
            space[f"tasks.{name}.dropout"] = Spread(range=(0.0, 0.5))
    return space


def _around(encoder: BaseModel) -> Iterator[tuple[str, Spread | list[Any]]]:
    """Depth, width and dropout of an encoder from scratch, where its kind has them."""
    fields = type(encoder).model_fields
    if "depth" in fields:
        depth = encoder.depth  # type: ignore[attr-defined]
        yield "depth", Spread(range=(max(1, depth // 2), max(2, depth + depth // 2)))
    if "width" in fields:
        width = encoder.width  # type: ignore[attr-defined]
        yield "width", sorted({width // 2, width, width * 2} if width % 8 == 0 else {width, width * 2})
    if "dropout" in fields:
        yield "dropout", Spread(range=(0.0, 0.5))


def _check(recipe: Recipe, space: Space) -> None:
    """Each word must name a field that takes at least one of its values, and none may change what is measured."""
    for path, values in space.items():
        if judge := next((word for word in JUDGES if path == word or path.startswith(f"{word}.")), None):
            raise InputError(f"a search may not change {judge}: its trials could not be compared", where=f"search: {path}")
        if not places(bare(recipe), path):
            raise InputError(f"the search's {path!r} stands for nothing in the recipe", where=f"search: {path}")
        tried = list(values.bounds) if isinstance(values, Spread) else values
        refused = [problem for value in tried if (problem := _refusal(recipe, path, value))]
        # A value that does not suit the others of the recipe may suit those of a trial; a word that nobody knows suits none.
        misspelt = [problem for problem in refused if problem.what.startswith("unknown ")]
        if misspelt or len(refused) == len(tried):
            first = [*misspelt, *refused][0]
            raise InputError(first.what, where=f"search: {path}", known=first.known, fix=first.fix)


def _refusal(recipe: Recipe, path: str, value: Any) -> InputError | None:
    try:
        changed(recipe, {path: value})
    except InputError as problem:
        return problem
    return None


def choice(value: Any) -> Any:
    """A value as Optuna takes it among choices: scalars as they are, the rest as JSON."""
    return value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)


def suggest(trial: Any, space: Space) -> dict[str, Any]:
    """Ask an Optuna trial for a value of every word."""
    found: dict[str, Any] = {}
    for path, values in space.items():
        if isinstance(values, Spread):
            low, high = values.bounds
            whole = isinstance(low, int) and isinstance(high, int)
            found[path] = (trial.suggest_int if whole else trial.suggest_float)(path, low, high, log=values.log is not None)
        else:
            plain = [choice(value) for value in values]
            found[path] = values[plain.index(trial.suggest_categorical(path, plain))]
    return found
