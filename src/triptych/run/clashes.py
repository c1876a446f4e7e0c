"""What in a recipe does not go together, and a way out of each: looked at before anything heavy is imported."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from triptych.base.errors import InputError, unknown_word
from triptych.contract.modality import Flat
from triptych.contract.tasks import IN_WRITING, METRICS, metrics
from triptych.data.kinds import share
from triptych.modalities import rooms

if TYPE_CHECKING:
    from triptych.run.recipe import Recipe, Stage, Training

TRAINABLE = re.compile(r"^(?P<part>[A-Za-z][A-Za-z0-9_-]*)(?P<lora>\.lora)?(\.last\((?P<last>[1-9]\d*)\))?$")
"""What a stage may train: a part, its last blocks, what was added to it."""


def check(recipe: Recipe) -> None:
    """Raise InputError for the first thing that clashes; it names both sides."""
    _check_names(recipe)
    _check_columns(recipe)
    _check_contrasts(recipe)
    _check_writing(recipe)
    _check_grounds(recipe)
    _check_sequences(recipe)
    _check_left_out(recipe)
    for name in recipe.tasks:
        recipe.prompted(name)
    for number, stage in enumerate(recipe.stages):
        _check_stage(recipe, stage, f"stages.{number}")
    _check_select(recipe)
    _check_weights(recipe)
    _check_devices(recipe.training)
    _check_variants(recipe)
    if recipe.training.drop_inputs and len(recipe.inputs) == 1:
        raise InputError("training.drop_inputs hides inputs from each other and there is one input", fix="remove training.drop_inputs")


def _check_names(recipe: Recipe) -> None:
    own = {"all", "fusion", "decoder"}
    both = sorted(set(recipe.inputs) & set(recipe.tasks) | own & {*recipe.inputs, *recipe.tasks})
    if both:
        raise InputError(
            f"the name {both[0]!r} stands for two things: inputs, tasks, 'fusion', 'decoder' and 'all' share one list of names",
            fix=f"rename it: {both[0]}_task",
        )
    if recipe.fusion.kind == "single" and len(recipe.inputs) > 1:
        raise InputError(
            f"fusion 'single' takes one input and inputs has {len(recipe.inputs)}: {', '.join(recipe.inputs)}",
            fix="--set fusion=joint, or remove an input",
        )


def _check_columns(recipe: Recipe) -> None:
    reader: dict[str, str] = {}
    for name, column in recipe.named().items():
        first = reader.setdefault(column, name)
        one, other = (recipe.inputs[each].modality for each in (first, name))
        if one != other and not share(rooms()[one], rooms()[other]):
            raise InputError(
                f"inputs {first!r} and {name!r} read one column, {column!r}, as two modalities, and no file is both {one} and {other}",
                fix=f"name another column for {name!r}",
            )
        if recipe.columns()[name] != column and recipe.columns()[name] in recipe.data.columns:
            raise InputError(f"data.columns may not write {recipe.columns()[name]!r}: input {name!r} is called so", fix="rename it there")
    for name, task in recipe.tasks.items():
        target = getattr(task, "target", None)
        if target in reader:
            raise InputError(
                f"task {name!r} asks for the column {target!r}, which input {reader[target]!r} shows: the answer stands in the question",
                fix="remove the input, or ask for another column",
            )


def _check_contrasts(recipe: Recipe) -> None:
    for name, task in recipe.tasks.items():
        for column in task.between if task.kind == "contrast" else ():
            if column not in recipe.inputs:
                raise unknown_word(f"input of tasks.{name}.between", column, recipe.inputs)


def _check_writing(recipe: Recipe) -> None:
    """A decoder writes for tasks, tasks need a decoder; what takes whole outputs apart does not go with either."""
    names = [name for name, task in recipe.tasks.items() if task.kind in IN_WRITING]
    preferring = [name for name, task in recipe.tasks.items() if task.kind == "prefer"]
    if preferring and recipe.decoder is not None and getattr(recipe.decoder, "lora", None) is None:
        what = f"task {preferring[0]!r} compares a decoder with what it is without its additions, and it has none"
        raise InputError(what, where="decoder", fix="decoder: {name: OWNER/NAME, lora: {}}, and a stage that trains decoder.lora")
    if names and recipe.decoder is None:
        fix = "decoder: small, or OWNER/NAME of a language model"
        raise InputError(f"task {names[0]!r} is answered in writing, and the recipe has no decoder", where="decoder", fix=fix)
    if recipe.decoder is not None and not names:
        fix = "tasks: {caption: {kind: generate, target: COLUMN, template: ...}}, or remove decoder"
        raise InputError("the recipe has a decoder and no generate task, so nothing would be written", where="decoder", fix=fix)
    if recipe.fusion.kind == "prefix" and recipe.decoder is None:
        what = "fusion 'prefix' puts inputs between a decoder's words, and the recipe has no decoder"
        raise InputError(what, where="fusion", fix="decoder: small, or OWNER/NAME; or fusion: joint")
    if names and recipe.training.mixup:
        raise InputError(f"training.mixup makes two rows one, and the words of {names[0]!r} have no mean", fix="remove training.mixup")


def _check_grounds(recipe: Recipe) -> None:
    """A box lies in one flat input, and nothing may move what lies there."""
    for name, task in recipe.tasks.items():
        if task.kind != "ground":
            continue
        for word, given in (("input", task.input), ("phrase", task.phrase)):
            if given is not None and given not in recipe.inputs:
                raise unknown_word(f"input of tasks.{name}.{word}", given, recipe.inputs)
        flat = [one for one, settings in recipe.inputs.items() if isinstance(rooms()[settings.modality], Flat)]
        if task.input not in flat:
            what = f"tasks.{name} asks for a box, and values of {task.input!r} have no width and height"
            raise InputError(what, where=f"tasks.{name}.input", known=flat)
        if moving := [step.kind for step in recipe.inputs[task.input].augment if step.moves]:
            what = f"augment {moving[0]} moves what lies in {task.input!r}, and the box of task {name!r} would stay where it is"
            raise InputError(what, where=f"inputs.{task.input}.augment", fix=f"remove {moving[0]}; what changes colours only may stay")
        if recipe.training.mixup:
            raise InputError(f"training.mixup makes two rows one, and the boxes of {name!r} have no mean", fix="remove training.mixup")


def _check_sequences(recipe: Recipe) -> None:
    for name, task in recipe.tasks.items():
        if task.kind != "ctc":
            continue
        if task.input is None:
            what = f"tasks.{name} reads the sequence of one input, and it is not clear of which"
            raise InputError(what, where=f"tasks.{name}.input", known=recipe.inputs, fix=f"--set tasks.{name}.input=NAME")
        if task.input not in recipe.inputs:
            raise unknown_word(f"input of tasks.{name}.input", task.input, recipe.inputs)


def _check_left_out(recipe: Recipe) -> None:
    """Patches may be left out where an answer is about the whole; not where each has its place in it."""
    dropping = [name for name, settings in recipe.inputs.items() if getattr(settings.encoder, "patch_dropout", 0)]
    for name, task in recipe.tasks.items():
        if task.kind in ("ctc", "ground") and task.input in dropping:
            what = f"patch_dropout leaves patches of {task.input!r} out, and task {name!r} needs every one in its place"
            raise InputError(what, where=f"inputs.{task.input}.encoder.patch_dropout", fix="remove patch_dropout")
    if dropping and recipe.fusion.kind == "prefix":
        what = f"patch_dropout leaves patches of {dropping[0]!r} out, and fusion 'prefix' puts every one in its place before the decoder"
        raise InputError(what, where=f"inputs.{dropping[0]}.encoder.patch_dropout", fix="remove patch_dropout, or fusion: joint")
    for number, stage in enumerate(recipe.stages):
        if stage.patch_dropout is not None and not dropping:
            what = f"stages.{number}.patch_dropout says how much of their patches inputs leave out, and no input has patch_dropout"
            fix = "inputs: {NAME: {encoder: {kind: vit, patch_dropout: 0.5}}}, or remove it from the stage"
            raise InputError(what, where=f"stages.{number}.patch_dropout", fix=fix)


def _check_stage(recipe: Recipe, stage: Stage, where: str) -> None:
    trained: set[str] = set()
    for words in stage.train:
        match = TRAINABLE.match(words)
        if not match or match["part"] not in {*recipe.parts(), "all"}:
            part = match["part"] if match else words
            raise unknown_word(f"part in {where}.train", part, ["all", *recipe.parts(), "NAME.last(N)", "NAME.lora"])
        if match["part"] == "all" and (match["last"] or match["lora"]):
            raise InputError(f"{where}.train: last(N) and lora are of one part, not of all", known=recipe.parts())
        trained |= set(recipe.parts()) if match["part"] == "all" else {match["part"]}
    if isinstance(stage.lr, dict):
        if strange := sorted(set(stage.lr) - trained):
            raise InputError(f"{where}.lr names {strange[0]!r}, which {where}.train does not train", known=sorted(trained))
        if without := sorted(trained - set(stage.lr)):
            raise InputError(
                f"{where}.lr has no rate for {', '.join(without)}", fix="give one rate for all (lr: 1e-3) or one a trained part"
            )


def _check_devices(training: Training) -> None:
    """Weights that lie in parts cannot be asked for gradients in between."""
    if training.strategy == "fsdp" and training.chunk is not None:
        raise InputError("training.chunk does not go with strategy 'fsdp'", fix="--set training.chunk=null, or strategy: ddp")
    if training.strategy == "fsdp" and training.weighting == "gradient":
        raise InputError("training.weighting 'gradient' does not go with strategy 'fsdp'", fix="weighting: uncertainty, or strategy: ddp")


def _check_variants(recipe: Recipe) -> None:
    """Variants need a step that makes them; rows are mixed where the mean of two is something, and what is asked of them too."""
    if recipe.training.variants is not None and not any(settings.augment for settings in recipe.inputs.values()):
        what = "training.variants counts variants of a row, and no input has augment, so that there is one"
        raise InputError(what, fix="add augment to an input, or remove training.variants")
    if not recipe.training.mixup:
        return
    for name, settings in recipe.inputs.items():
        if not rooms()[settings.modality].mixable:
            what = f"training.mixup takes the mean of two rows, and of {name!r}, a {settings.modality} input, there is no mean"
            raise InputError(what, fix="remove training.mixup, or the input")
    for name, task in recipe.tasks.items():
        if task.kind == "contrast":
            what = f"training.mixup makes two rows one, and task {name!r} asks which rows belong together"
            raise InputError(what, fix="remove training.mixup, or the task")


def _check_select(recipe: Recipe) -> None:
    if (selected := recipe.selected()) == "last":
        return
    known = [f"{name}.{metric}" for name, task in recipe.tasks.items() for metric in metrics(task)] + ["loss"]
    if selected in known:
        return
    task, _, metric = selected.rpartition(".")
    kinds = [kind for kind, scores in METRICS.items() if (metric or selected) in scores]
    if task in recipe.tasks and recipe.tasks[task].kind in kinds:
        what, fix = (
            f"nothing that {task!r} writes is scored by {metric}",
            f"add {metric} to tasks.{task}.scores, and let tasks.{task}.written be above 0",
        )
        raise InputError(what, where="training.select", known=[name for name in known if name.startswith(f"{task}.")], fix=fix)
    if task in recipe.tasks and kinds:
        kind = recipe.tasks[task].kind
        what = f"{metric} is no score of {task!r}, a {kind} task; {' and '.join(kinds)} tasks have it"
        raise InputError(what, where="training.select", known=[name for name in known if name.startswith(f"{task}.")])
    if not task and kinds:
        what = f"training.select: no task of this recipe has the score {metric!r}; {' and '.join(kinds)} tasks do"
        raise InputError(what, where="training.select", known=known)
    raise unknown_word("score in training.select", selected, known)


def _check_weights(recipe: Recipe) -> None:
    learnt = [name for name, task in recipe.tasks.items() if task.weight > 0]
    if not learnt:
        first = next(iter(recipe.tasks))
        raise InputError("the weight of every task is 0, so nothing would be learnt", where="tasks", fix=f"--set tasks.{first}.weight=1")
    if len(learnt) == 1 and recipe.training.weighting != "fixed":
        raise InputError(
            f"training.weighting {recipe.training.weighting!r} weighs tasks against each other, and only {learnt[0]!r} is learnt",
            fix="remove training.weighting, or give a second task a weight above 0",
        )
