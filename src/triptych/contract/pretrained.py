"""The words of a recipe for a pretrained encoder: the same in every room. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from triptych.base.errors import InputError
from triptych.base.hub import is_folder
from triptych.base.settings import Settings

Named = TypeVar("Named", bound=Any)


class Lora(Settings):
    """Low-rank additions to linear layers (LoRA, Hu et al. 2022)."""

    rank: int = Field(default=8, ge=1, le=512, description="numbers that a layer's addition goes through")
    alpha: float | None = Field(default=None, gt=0, description="an addition counts alpha / rank times; by default alpha is twice the rank")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="dropout before each addition, while training")
    targets: Literal["all"] | list[str] = Field(
        default="all", description="linear layers that get one: all in the blocks, or names such as [query, value]"
    )


class Pretrained(Settings):
    """A network that somebody has trained: a name on the Hugging Face Hub, or a folder that save_pretrained wrote."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = Field(
        min_length=1,
        description="owner/name on the Hub, a folder, relative to the recipe, or small:clap, a small one with random weights; alone it may "
        "stand in the encoder's place",
    )
    revision: str = Field(default="main", min_length=1, description="branch, tag or commit on the Hub; a folder has none")
    pool: Literal["auto", "mean", "first", "attention"] = Field(
        default="auto",
        description="one vector from the tokens: auto, as the base does it; mean; first; attention, learnt in every stage",
    )
    trust_remote_code: bool = Field(
        default=False,
        description="run the code of the model's repository, which can do all that you can: for architectures that transformers lacks. "
        "Read it first, and pin its revision to a commit",
    )
    lora: Lora | None = Field(default=None, description="low-rank additions, which a stage trains as NAME.lora")

    def placed(self, path: Callable[[str], str]) -> Pretrained:
        """The same with a folder from the recipe's. Raises InputError where there is no such folder."""
        return placed(self, path)


def placed(base: Named, path: Callable[[str], str]) -> Named:
    """Settings with the `name` of a base: the same with a folder, if it is one, made absolute by `path`.

    Raises:
        InputError: there is no such folder.
    """
    there = path(base.name)
    if Path(there).is_dir():
        return base.model_copy(update={"name": there})
    if is_folder(base.name):
        fix = "name a folder that is there, or owner/name on the Hub"
        raise InputError(f"there is no pretrained model {base.name!r}", where=there, fix=fix)
    return base


def refuse_clashes(prepare: Settings, encoder: Any, words: tuple[str, ...], instead: str) -> None:
    """Raise ValueError where `prepare` sets one of the `words` that a pretrained encoder brings along; `instead` says what does it."""
    fields = type(prepare).model_fields
    said = [word for word in words if getattr(prepare, word) != fields[word].get_default()]
    if isinstance(encoder, Pretrained) and said:
        raise ValueError(f"prepare.{said[0]} clashes with encoder {encoder.name}, {instead}: remove prepare.{said[0]}")
