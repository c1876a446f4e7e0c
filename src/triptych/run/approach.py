"""One word for how a pretrained model is tuned, spelled out as stages. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from triptych.base.errors import InputError
from triptych.base.explain import explained
from triptych.base.settings import Settings, base_or_word, word
from triptych.contract.tasks import IN_WRITING

Rate = Annotated[float, Field(gt=0, le=10)]


class Head(Settings):
    """The base stays frozen; only what is new learns: fusion, heads, encoders from scratch."""

    kind: Literal["head"] = "head"
    epochs: int = Field(10, ge=1, description="most epochs in which only what is new learns")
    lr: Rate = Field(1e-3, description="highest rate of what is new")
    patience: int | None = Field(None, ge=1, description="of every stage; see stages")


class _Base(Head):
    base_epochs: int = Field(3, ge=1, description="most epochs of each stage in which the base learns too")
    base_lr: Rate = Field(3e-5, description="highest rate of the base's last block")
    decay: float = Field(0.8, gt=0, le=1, description="what a block's rate is of that of the block after it")


class Last(_Base):
    """Then the last blocks of each base learn too."""

    kind: Literal["last"] = "last"  # type: ignore[assignment]
    blocks: int = Field(1, ge=1, description="how many")


class Gradual(_Base):
    """Then one block of each base more in every stage, from the last one down (gradual unfreezing, Howard & Ruder 2018)."""

    kind: Literal["gradual"] = "gradual"  # type: ignore[assignment]
    blocks: int = Field(3, ge=1, description="how many in the end")


class Full(_Base):
    """Then everything learns."""

    kind: Literal["full"] = "full"  # type: ignore[assignment]


class Lora(Head):
    """Then low-rank additions to the base's linear layers learn (LoRA, Hu et al. 2022)."""

    kind: Literal["lora"] = "lora"  # type: ignore[assignment]
    base_epochs: int = Field(5, ge=1, description="most epochs in which the additions learn too")
    base_lr: Rate = Field(3e-4, description="highest rate of the additions")
    rank: int = Field(8, ge=1, le=512, description="of each addition")
    blocks: int | None = Field(None, ge=1, description="only in so many last blocks of each base: what lies below is then remembered")


Approach = Annotated[Annotated[Head | Last | Gradual | Full | Lora, Field(discriminator="kind")], BeforeValidator(word)]
"""What stands under `approach:` of a recipe, in the place of `stages:`."""


class _Asked(Settings):
    """For the words of an answer to a wrong approach."""

    approach: Approach


def spelled(tree: dict[str, Any]) -> dict[str, Any]:
    """A recipe's tree with stages in the place of its approach, and with additions (LoRA) where a stage trains them.

    Raises:
        InputError: it has stages as well, no input is pretrained, or the approach is none.
    """
    if tree.get("approach") is not None:
        tree = _with_stages(tree)
    return _with_additions(tree)


def _with_stages(tree: dict[str, Any]) -> dict[str, Any]:
    if tree.get("stages"):
        what = "a recipe says either an approach, which is spelled out as stages, or its stages"
        raise InputError(what, where="approach", fix="remove stages (--set stages=null), or remove approach")
    try:
        asked = _Asked.model_validate({"approach": tree["approach"]}).approach
    except ValidationError as error:
        found = explained(error, _Asked, {"approach": tree["approach"]}, "")
        raise InputError(found.what, where=found.where.removeprefix(": "), known=found.known, fix=found.fix) from None
    inputs, tasks, decoder = tree.get("inputs"), tree.get("tasks"), base_or_word(tree.get("decoder"))
    if not isinstance(inputs, dict) or not isinstance(tasks, dict):
        return {**tree, "stages": [{"epochs": 1}]}  # refused later for what it lacks
    bases = [str(name) for name, settings in inputs.items() if _encoder(settings).get("kind") == "pretrained"]
    writes = isinstance(decoder, dict)
    if writes and decoder.get("kind") == "pretrained":
        bases.append("decoder")
    if not bases:
        fix = "give an input a pretrained encoder: inputs: {text: {encoder: OWNER/NAME}}; or say stages"
        raise InputError(f"approach {asked.kind!r} is about pretrained encoders, and no input has one", where="approach", fix=fix)
    new = ["decoder"] if writes and "decoder" not in bases else []
    heads = [str(name) for name, task in tasks.items() if not isinstance(task, dict) or task.get("kind") not in IN_WRITING]
    fresh = [*(str(name) for name in inputs if str(name) not in bases), "fusion", *new, *heads]
    return {
        **{key: value for key, value in tree.items() if key != "approach"},
        "stages": stages(asked, bases, fresh),
        **_ranked(asked, tree, bases),
    }


def stages(asked: Any, bases: list[str], fresh: list[str]) -> list[dict[str, Any]]:
    """The stages of an approach: `fresh` parts first, then with them those of `bases` that it wakes."""
    first = {"train": fresh, "epochs": asked.epochs, "lr": asked.lr, "patience": asked.patience}
    return [first, *(_stage(asked, bases, fresh, words) for words in _woken(asked))]


def _woken(asked: Any) -> list[str]:
    """What follows the name of each base in each later stage."""
    if asked.kind == "gradual":
        return [f".last({number})" for number in range(1, asked.blocks + 1)]
    last = f".last({asked.blocks})" if getattr(asked, "blocks", None) else ""
    return {"head": [], "last": [last], "full": [""], "lora": [f".lora{last}"]}[asked.kind]


def _stage(asked: Any, bases: list[str], fresh: list[str], words: str) -> dict[str, Any]:
    # What is new has learnt already: a tenth of its rate keeps it from running ahead of a base that moves slowly.
    rates = {**dict.fromkeys(fresh, max(asked.lr / 10, asked.base_lr)), **dict.fromkeys(bases, asked.base_lr)}
    train = [*fresh, *(f"{base}{words}" for base in bases)]
    return {"train": train, "epochs": asked.base_epochs, "lr": rates, "decay": getattr(asked, "decay", 1.0), "patience": asked.patience}


def _ranked(asked: Any, tree: Mapping[str, Any], bases: list[str]) -> dict[str, Any]:
    """The inputs with the additions' rank, where the approach is one of additions and they say none."""
    if asked.kind != "lora":
        return {}
    made, found = dict(tree["inputs"]), {}
    for name in bases:
        if name == "decoder":
            decoder = base_or_word(tree["decoder"])
            found["decoder"] = {**decoder, "lora": {"rank": asked.rank, **(decoder.get("lora") or {})}}
            continue
        encoder = _encoder(made[name])
        made[name] = {**(made[name] or {}), "encoder": {**encoder, "lora": {"rank": asked.rank, **(encoder.get("lora") or {})}}}
    return {**found, "inputs": made}


def _with_additions(tree: dict[str, Any]) -> dict[str, Any]:
    """Encoders of which a stage trains the additions have some, by default plain ones."""
    if not isinstance(tree.get("stages"), list) or not isinstance(tree.get("inputs"), dict):
        return tree
    named = {
        str(words).split(".lora")[0]
        for stage in tree["stages"]
        if isinstance(stage, dict)
        for words in _list(stage.get("train"))
        if ".lora" in str(words)
    }
    made = dict(tree["inputs"])
    if "decoder" in named and tree.get("decoder") is not None:
        decoder = base_or_word(tree["decoder"])
        if not isinstance(decoder, dict) or decoder.get("kind") != "pretrained":
            fix = "train decoder itself, or name a pretrained language model"
            raise InputError("decoder.lora adds to a pretrained language model, and the decoder is none", where="stages", fix=fix)
        tree = {**tree, "decoder": {**decoder, "lora": decoder.get("lora") or {}}}
    for name in named & {str(key) for key in made}:
        encoder = _encoder(made[name])
        if encoder.get("kind") != "pretrained":
            fix = f"train {name} itself, or give it a pretrained encoder"
            raise InputError(f"{name}.lora adds to a pretrained encoder, and {name} has none", where="stages", fix=fix)
        made[name] = {**(made[name] or {}), "encoder": {**encoder, "lora": encoder.get("lora") or {}}}
    return {**tree, "inputs": made}


def _encoder(settings: Any) -> dict[str, Any]:
    found = base_or_word(settings.get("encoder")) if isinstance(settings, dict) else None
    return found if isinstance(found, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
