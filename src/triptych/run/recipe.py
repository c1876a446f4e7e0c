"""The recipe: every word a user may say, checked before anything heavy is imported."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, model_validator

from triptych.base import trust
from triptych.base.errors import InputError, unknown_word
from triptych.base.settings import SchemaWriter, Settings, override, parse, read_yaml
from triptych.contract.modality import InputSettings, Timed
from triptych.contract.tasks import IN_WRITING, Task, metrics, unwritten
from triptych.contract.writes import Writes
from triptych.data.samples import SAMPLE, SAMPLES
from triptych.data.settings import ColumnSettings, DataSettings
from triptych.data.sources.words import absolute
from triptych.modalities import rooms
from triptych.model.settings import Fusion
from triptych.run.approach import Approach, spelled
from triptych.run.clashes import check
from triptych.run.settings import Forgetting, Spread, Track, short_track

LAST = "last"
"""In the place of a score: the last epoch is kept, whatever the validation rows say."""
NAME = r"^[A-Za-z][A-Za-z0-9_-]*$"

if TYPE_CHECKING:
    AnyInput = InputSettings
else:
    # The rooms that are there decide what an input may say, so the union is made when this file is read.
    _words = functools.reduce(operator.or_, (room.Input for room in rooms().values()))
    AnyInput = Annotated[_words, Field(discriminator="modality")]

if TYPE_CHECKING:
    AnyDecoder = Settings
else:
    _decoders = [room.Decoder for room in rooms().values() if isinstance(room, Writes)]
    AnyDecoder = functools.reduce(operator.or_, _decoders)


class Stage(Settings):
    """One stretch of training: what learns, for how long, how fast."""

    train: list[str] = Field(
        ["all"],
        min_length=1,
        description="parts that learn: all, fusion, an input, a task; NAME.last(N) for its last N blocks, NAME.lora for additions to it",
    )
    epochs: int = Field(ge=1, description="most passes over the training rows")
    lr: Annotated[float, Field(gt=0, le=10)] | dict[str, Annotated[float, Field(gt=0, le=10)]] = Field(
        1e-3, description="highest learning rate, or one a trained part: {fusion: 1e-3, label: 1e-4}"
    )
    decay: float = Field(1.0, gt=0, le=1, description="what the rate of a part's block is of that of the block after it")
    weight_decay: float = Field(0.05, ge=0, description="AdamW's decoupled weight decay; biases and norms are spared")
    schedule: Literal["cosine", "constant"] = Field("cosine", description="how the rate goes after warm-up: down to zero, or flat")
    warmup: float = Field(0.1, ge=0, lt=1, description="share of the stage's steps over which the rate rises from zero")
    patch_dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of their patches that inputs with patch_dropout leave out in this stage, by default what each says; "
        "0 in a short last stage: the model gets used to seeing all (unmasked tuning, Li et al. 2022)",
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many epochs without a better score, or a loss lower by 0.001 at the same score"
    )


class Training(Settings):
    """How training goes, in all stages."""

    batch_size: int = Field(64, ge=1, description="rows a step, over all devices together")
    seed: int = Field(0, ge=0, lt=2**32, description="initial weights, order of rows, dropout")
    select: str | None = Field(
        None,
        description="score that chooses the best epoch: task.metric, or metric where one task has it; by default the first task's; "
        "last: none does, and the last epoch is kept",
    )
    clip: float | None = Field(1.0, gt=0, description="largest norm of the gradient; null: not clipped")
    drop_inputs: float = Field(
        0.0, ge=0, lt=1, description="chance that an input of a training row is hidden, so that each learns to do without the others"
    )
    variants: int | None = Field(
        None,
        ge=1,
        le=100,
        description="most variants of a row that inputs with augment show, made once and shown in turn; null: always new",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=10,
        description="rows of a batch are mixed in pairs, and so is what is asked of them; 0.2: mostly a little, 1: any share as often as "
        "any other, 0: not at all (Zhang et al. 2018)",
    )
    weighting: Literal["fixed", "uncertainty", "gradient"] = Field(
        "fixed",
        description="how tasks are weighed, besides their own weight: not at all; by learnt uncertainty (Kendall et al. 2018); so that all "
        "pull alike on what they share (GradNorm, Chen et al. 2018)",
    )
    chunk: int | None = Field(
        None,
        ge=1,
        description="most rows of a batch that go through the model at once: less memory, the same gradients, one more pass forward "
        "(GradCache, Gao et al. 2021)",
    )
    remember: bool = Field(
        True,
        description="whether what the frozen part of a pretrained encoder gives is computed once, and kept in the cache for all runs",
    )
    check_batch: Literal["auto", True, False] = Field(
        "auto", description="whether a copy of the model first tries to learn one batch by heart; auto: before 1,000 steps or more"
    )
    buckets: Literal["auto"] | Annotated[int, Field(ge=0)] = Field(
        "auto",
        description="batches among which rows of like length are brought together, so that less is padded; 0: none; "
        "auto: 50 where that spares a fifth of what is computed and no task contrasts a row with the others of its batch",
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="where the model computes")
    devices: int = Field(1, ge=1, le=1024, description="devices of this machine that share each step, a process each")
    strategy: Literal["ddp", "fsdp"] = Field(
        "ddp", description="what several devices share: ddp, the rows; fsdp, the weights and the optimiser's memory too"
    )
    precision: Literal["auto", "float32", "bf16"] = Field("auto", description="number format of the products")
    save_seconds: float = Field(
        30.0, ge=0, description="seconds of training that a stop may cost at most: so often the state is written that --resume goes on from"
    )
    threads: int | None = Field(None, ge=1, description="processor threads an operation may use; by default all cores there are")


class Report(Settings):
    """What the report shows."""

    rows: int = Field(4, ge=1, le=50, description="worst rows, and queries a direction of retrieval, that are shown")


class Recipe(Settings):
    """One experiment: which columns go in, how they are encoded, fused, what is asked of them and how that is learnt."""

    name: str = Field("", pattern=r"^[A-Za-z0-9_.-]*$", description="name of the run; by default the recipe file's")
    about: str = Field("", description="one line on what it does, shown by `triptych recipes` and in the report")
    data: DataSettings = Field(description="where the rows come from and how they are split")
    inputs: dict[Annotated[str, Field(pattern=NAME)], AnyInput] = Field(min_length=1, description="what goes in, by name")
    tasks: dict[Annotated[str, Field(pattern=NAME)], Task] = Field(min_length=1, description="what is asked, by name")
    fusion: Fusion = Field(
        description="how several inputs become one; by default prefix where there is a decoder, single for one input, joint for more"
    )
    decoder: AnyDecoder | None = Field(
        None, description="what writes the answers of generate tasks: small, or a pretrained language model: owner/name, or a folder"
    )
    approach: Approach | None = Field(
        None, description="how a pretrained model is tuned, spelled out as stages, which it stands in for: head, last, gradual, full, lora"
    )
    start: str | None = Field(
        None,
        min_length=1,
        description="a finished run with the same inputs, fusion and tasks: training starts from its weights, preparations and classes",
    )
    stages: list[Stage] = Field(min_length=1, description="stretches of training, one after the other")
    training: Training = Field(default_factory=Training, description="settings of all stages")
    forgetting: Forgetting | None = Field(None, description="what the pretrained base should still know, measured before and after")
    report: Report = Field(default_factory=Report, description="settings of the report")
    track: Annotated[
        Track | None,
        BeforeValidator(short_track, json_schema_input_type=Literal["tensorboard", "wandb", "mlflow"] | list[str] | Track | None),
    ] = Field(None, description="trackers that keep the curves too: tensorboard, wandb, mlflow, or a list of them")
    search: dict[Annotated[str, Field(min_length=1)], Spread | Annotated[list[Any], Field(min_length=1)]] = Field(
        {}, description="what `triptych tune` may change, by path: {stages.0.lr: {log: [1e-4, 1e-2]}, training.batch_size: [32, 64]}"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, tree: Any) -> Any:
        """An input called like a room is of that modality; a recipe without a fusion gets the plainest that fits."""
        if not isinstance(tree, dict):
            return tree
        tree = spelled(tree)
        if isinstance(tree.get("tasks"), dict):
            tree = {**tree, "tasks": {str(name): settings for name, settings in tree["tasks"].items()}}  # 1 is no word in YAML
        if not isinstance(tree.get("inputs"), dict):  # refused later; the fusion, which nobody need say, must not be missed before
            return {"fusion": "joint", **tree}
        inputs = {str(name): _with_modality(str(name), settings) for name, settings in tree["inputs"].items()}
        if isinstance(tree.get("tasks"), dict):
            tree = {**tree, "tasks": {name: _with_input(settings, inputs) for name, settings in tree["tasks"].items()}}
        plainest = "prefix" if tree.get("decoder") is not None else "single" if len(inputs) == 1 else "joint"
        return {"fusion": plainest, **tree, "inputs": inputs}

    @model_validator(mode="after")
    def _fits(self) -> Recipe:
        check(self)
        return self

    def parts(self) -> list[str]:
        """Names a stage may train."""
        decoder = ["decoder"] if self.decoder is not None else []
        return [*self.inputs, "fusion", *decoder, *(name for name, task in self.tasks.items() if task.kind not in IN_WRITING)]

    def named(self) -> dict[str, str]:
        """{input: column of the source}, as the recipe names it."""
        return {name: settings.column or name for name, settings in self.inputs.items()}

    def columns(self) -> dict[str, str]:
        """{input: column of the table}. One that a second room reads too is there again: `clip`, and `clip as MODALITY`."""
        first: dict[str, str] = {}
        for name, column in self.named().items():
            first.setdefault(column, self.inputs[name].modality)
        kinds = {name: settings.modality for name, settings in self.inputs.items()}
        return {name: column if kinds[name] == first[column] else f"{column} as {kinds[name]}" for name, column in self.named().items()}

    def read_from(self) -> DataSettings:
        """The words under `data`, which also say which columns are there again."""
        made = dict(self.data.columns)
        for name, column in self.columns().items():
            if column != (source := self.named()[name]):
                words = made.setdefault(source, ColumnSettings(column=source))
                again = words if words.column or words.template else words.model_copy(update={"column": source})
                made[column] = again
        return self.data.model_copy(update={"columns": made})

    def prompted(self, name: str) -> tuple[str, str] | None:
        """The contrast task, and its input that takes sentences, in whose space a task's prompts lie; None of a task without.

        Two empty words: the space is that of an input's own base, if it has one.

        Raises:
            InputError: the task has a prompt and no space takes one.
        """
        if getattr(self.tasks[name], "prompt", None) is None:
            return None
        values = [column for column, settings in self.inputs.items() if not rooms()[settings.modality].by_reference]
        spaces = {other: task.between for other, task in self.tasks.items() if task.kind == "contrast"}
        for other, between in spaces.items():
            if takes := [column for column in between if column in values]:
                return other, takes[0]
        if any(settings.encoder.kind == "pretrained" and column not in values for column, settings in self.inputs.items()):
            return "", ""
        raise _no_space(name, list(self.inputs), values, spaces)

    def selected(self) -> str:
        """The score that chooses the best epoch."""
        if self.training.select is None:
            task = next((name for name, task in self.tasks.items() if task.weight > 0), next(iter(self.tasks)))
            return f"{task}.{unwritten(self.tasks[task])}"
        return _in_full(self, self.training.select)


def _with_modality(name: str, settings: Any) -> Any:
    settings = {} if settings is None else settings
    if isinstance(settings, dict) and "modality" not in settings:
        if name not in rooms():
            what, fix = f"input {name!r} does not say its modality", f"inputs: {{{name}: {{modality: {next(iter(rooms()))}}}}}"
            raise InputError(what, where=f"inputs.{name}", known=rooms(), fix=fix)
        return {"modality": name, **settings}
    return settings


def _with_input(task: Any, inputs: Mapping[str, Any]) -> Any:
    """A task that reads a sequence, told which where there is but one input that lasts in time."""
    if not isinstance(task, dict) or task.get("kind") != "ctc" or task.get("input") is not None:
        return task
    modalities = {name: settings.get("modality") if isinstance(settings, dict) else None for name, settings in inputs.items()}
    lasting = [name for name, modality in modalities.items() if isinstance(rooms().get(str(modality)), Timed)]
    return {**task, "input": lasting[0]} if len(lasting) == 1 else task


def _no_space(name: str, inputs: list[str], values: list[str], spaces: Mapping[str, list[str]]) -> InputError:
    where = f"tasks.{name}.prompt"
    if not values:
        what = f"tasks.{name} has a prompt, and no input takes sentences: the cells of {', '.join(inputs)} are files"
        return InputError(what, where=where, fix="add an input whose cells are texts, and a contrast task over it; or remove the prompt")
    there = "; ".join(f"{task} is between {', '.join(between)}" for task, between in spaces.items()) or "the recipe has no contrast task"
    others = [column for column in inputs if column != values[0]]
    match = f"tasks: {{match: {{kind: contrast, between: [{others[0]}, {values[0]}]}}}}, or remove the prompt" if others else ""
    return InputError(
        f"tasks.{name} has a prompt, and no contrast task brings {' or '.join(values)} together with another input: {there}",
        where=where,
        fix=match or "remove the prompt, or add an input that sentences can be compared with",
    )


def _in_full(recipe: Recipe, select: str) -> str:
    """`macro_f1` as `label.macro_f1`, where one task has such a score."""
    having = [name for name, task in recipe.tasks.items() if select in metrics(task)]
    if select in ("loss", LAST) or not having:
        return select
    if len(having) > 1:
        could = [f"{name}.{select}" for name in having]
        raise InputError(
            f"training.select: {select!r} could be {' or '.join(could)}", where="training.select", known=could, fix=f"select: {could[0]}"
        )
    return f"{having[0]}.{select}"


def shipped() -> dict[str, Path]:
    """Recipes that come with the package, by bare name."""
    folder = Path(str(resources.files("triptych"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def find(name: str) -> Path:
    """The recipe file that a user's word means: a path, or the bare name of a shipped one.

    Raises:
        InputError: there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.is_dir() and name not in shipped():
        raise InputError(f"{name!r} is a folder, not a recipe", known=shipped(), fix=f"triptych init {name} writes a recipe for it")
    if name in shipped():
        return shipped()[name]
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        raise InputError(f"there is no recipe file {name!r}", known=shipped(), fix="triptych init FOLDER writes one for your own files")
    raise unknown_word("recipe", name, shipped())


def read(name: str | Mapping[str, Any], changes: Iterable[str] = (), source: str | None = None, own: bool = True) -> Recipe:
    """Read, change (`--set` words) and check a recipe; the source of its data becomes an absolute path.

    Args:
        name: path of a recipe, bare name of a shipped one, or the recipe itself as a mapping.
        changes: `--set` words.
        source: takes the place of its `data.source`.
        own: it is its user's own, whose `trust_remote_code` counts; what was made of a run is not.

    Raises:
        InputError: whatever is wrong with it, before torch is imported.
    """
    path = Path("recipe.yaml") if isinstance(name, Mapping) else find(name)
    tree = _changed(dict(name) if isinstance(name, Mapping) else _tree(path), list(changes))
    if source is not None and isinstance(tree.get("data", {}), dict):
        tree = {**tree, "data": {**tree.get("data", {}), "source": source}}
    recipe = parse(Recipe, tree, path.name)
    data = recipe.data.with_sources(lambda source: _source(source, path))
    inputs = {name: _placed(name, settings, path) for name, settings in recipe.inputs.items()}
    decoder = recipe.decoder and _placed_decoder(recipe.decoder, path)
    if own and not (path.parent / "run.json").exists():  # the recipe within a run may be a stranger's
        _give_word(*(getattr(settings, "encoder", None) for settings in inputs.values()), decoder)
    kept = recipe.forgetting and recipe.forgetting.model_copy(update={"source": _source(recipe.forgetting.source, path)})
    return recipe.model_copy(
        update={
            "data": data,
            "inputs": inputs,
            "decoder": decoder,
            "forgetting": kept,
            "start": recipe.start and absolute(recipe.start, _home(path)),
            "name": recipe.name or re.sub(r"[^A-Za-z0-9_.-]", "-", path.stem),
        }
    )


def _changed(tree: dict[str, Any], changes: list[str]) -> dict[str, Any]:
    """The tree with `--set` words; where one is of a stage and an approach stands for the stages, it is spelled out before that."""
    of_stages = [change for change in changes if change.startswith("stages.")]
    made = override(tree, [change for change in changes if change not in of_stages])
    if of_stages and made.get("approach") is not None and not made.get("stages"):
        return override(spelled(made), of_stages)
    return override(tree, changes)


def _give_word(*parts: Any) -> None:
    """Let the code of those bases run of which the recipe says so."""
    for part in parts:
        if getattr(part, trust.FIELD, False):
            trust.say(part.name, part.revision)


def _source(source: str, recipe: Path) -> str:
    """A known sample as it stands; a path from the recipe's folder, made absolute."""
    if source.startswith(SAMPLE) and (name := source.removeprefix(SAMPLE)) not in SAMPLES:
        raise unknown_word("sample", name, SAMPLES, where=f"{recipe.name}: data.source")
    return absolute(source, _home(recipe))


def _placed(name: str, settings: InputSettings, recipe: Path) -> InputSettings:
    """An input's settings with paths from the recipe's folder made absolute."""
    try:
        return settings.placed(lambda path: absolute(path, _home(recipe)))
    except InputError as error:
        where = f"{recipe.name}: inputs.{name} ({error.where})"
        raise InputError(error.what, where=where, known=error.known, fix=error.fix) from None


def _placed_decoder(decoder: Any, recipe: Path) -> Any:
    """A decoder that lies in a folder, from the recipe's."""
    return decoder.placed(lambda path: absolute(path, _home(recipe))) if hasattr(decoder, "placed") else decoder


def _home(recipe: Path) -> Path:
    """Where paths in a recipe begin: its folder; those that are added to a recipe of the package (--set), where triptych was started."""
    return Path() if recipe in shipped().values() else recipe.parent


def _tree(path: Path) -> dict[str, Any]:
    try:
        tree = read_yaml(path.read_text(encoding="utf-8-sig"))
    except InputError as error:
        raise InputError(error.what, where=f"{path.name}, {error.where}", fix=error.fix) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path.name}, line {mark.line + 1}" if mark else path.name
        raise InputError(f"this is not YAML: {getattr(error, 'problem', None) or error}", where=where) from None
    except OSError as error:
        raise InputError(f"cannot read the recipe: {error.strerror}", where=str(path)) from None
    if not isinstance(tree, dict):
        raise InputError(
            "a recipe is a mapping with data, inputs, tasks and stages",
            where=path.name,
            fix="triptych init FOLDER writes one to start from",
        )
    return tree


def schema() -> dict[str, Any]:
    """JSON Schema of a recipe, for editors."""
    described = Recipe.model_json_schema(schema_generator=SchemaWriter)
    described["required"] = [word for word in described["required"] if word not in ("fusion", "stages")]  # filled in
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **described, "title": "triptych recipe"}


def described() -> list[dict[str, str]]:
    """Name, purpose, time and expectation, and needs of each shipped recipe, from the recipe and its first comment."""
    found = []
    for name, path in shipped().items():
        comments = [line.lstrip("# ").strip() for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
        takes = comments[0].removeprefix(f"triptych train {name}").strip() if comments else ""
        needs = next((line.removeprefix("needs:").strip() for line in comments if line.startswith("needs:")), "nothing more")
        found.append({"name": name, "about": read(name).about, "takes": takes, "needs": needs, "file": str(path)})
    return found
