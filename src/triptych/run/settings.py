"""The words under `track:`, `search:` and `forgetting:` of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from triptych.base.errors import unknown_word
from triptych.base.settings import Settings
from triptych.contract.tasks import check_prompt

TRACKERS = ("tensorboard", "wandb", "mlflow")


class Forgetting(Settings):
    """A task of the pretrained base on a table of its own, measured before and after tuning: by prompts, or by retrieval."""

    source: str = Field(min_length=1, description="rows with the recipe's inputs, of what the base should still know")
    target: str = Field("label", description="column with the class of each row")
    prompt: str | list[str] | None = Field(
        None, description="a sentence about a class, as in This is {label} music., in the base's own space; or several wordings of it"
    )
    between: list[str] = Field([], description="or two inputs, each to be found by the other in the base's own space")
    shares: list[Annotated[float, Field(ge=0, le=1)]] = Field(
        [0.25, 0.5, 0.75], description="how much of the tuning is left in the weights at the points between untouched and tuned"
    )

    @model_validator(mode="after")
    def _one_task(self) -> Forgetting:
        if (self.prompt is None) == (not self.between):
            raise ValueError("forgetting says either a prompt (This is {label} music.) or the two inputs that it lies between")
        check_prompt(self.prompt)
        if self.between and len(set(self.between)) != 2:
            raise ValueError("forgetting.between names two different inputs")
        return self


class Track(Settings):
    """Who else keeps the curves of a run. A bare word, or a list of them, stands for `{to: [...]}`."""

    to: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(min_length=1, description="trackers that are told of every epoch")
    project: str | None = Field(None, min_length=1, description="project, or experiment, the run belongs to; by default the recipe's name")
    folder: str | None = Field(
        None, min_length=1, description="where their files go, from where triptych is started; by default the run's own folder track/"
    )


def short_track(value: Any) -> Any:
    """Let `track: tensorboard` and `track: [tensorboard, mlflow]` stand for their long form."""
    if isinstance(value, dict) and "kind" in value:  # what --set track.project=x makes of the bare word
        value = {"to": value["kind"], **{name: held for name, held in value.items() if name != "kind"}}
    tree = value if isinstance(value, dict) else {"to": value} if isinstance(value, str | list) else value
    if isinstance(tree, dict) and isinstance(tree.get("to"), str):
        tree = {**tree, "to": [tree["to"]]}
    named = tree.get("to") if isinstance(tree, dict) else None
    for word in named if isinstance(named, list) else ():
        if word not in TRACKERS:
            raise unknown_word("tracker", str(word), TRACKERS, where="track")
    return tree


class Spread(Settings):
    """Numbers from one bound to another that a search may try; whole numbers where both bounds are."""

    log: tuple[int | float, int | float] | None = Field(None, description="[lowest, highest], tried evenly on a logarithmic scale: rates")
    range: tuple[int | float, int | float] | None = Field(None, description="[lowest, highest], tried evenly")

    @model_validator(mode="after")
    def _one_way(self) -> Spread:
        if (self.log is None) == (self.range is None):
            raise ValueError("a range to search is {log: [lowest, highest]} or {range: [lowest, highest]}")
        low, high = self.bounds
        if not low < high:
            raise ValueError(f"[{low:g}, {high:g}] is no range: the first number must be the lower one")
        if self.log is not None and low <= 0:
            raise ValueError(f"a logarithmic scale begins above zero, not at {low:g}; use range: [{low:g}, {high:g}]")
        return self

    @property
    def bounds(self) -> tuple[int | float, int | float]:
        """Lowest and highest."""
        found = self.log if self.log is not None else self.range
        assert found is not None
        return found
