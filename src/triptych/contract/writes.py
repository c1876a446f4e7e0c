"""What a room offers that can answer in its own values: words for a recipe, how a row is asked, and the part that writes.

A room that can write has a `Decoder`, a `script` and a `generator`; a room that lacks them only listens. Nothing heavy is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from triptych.contract.generator import Generator
    from triptych.contract.values import Item, Packed


class How(NamedTuple):
    """How an answer is written; see the settings of a generate task."""

    longest: int
    beams: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    ended: Callable[[Sequence[int]], bool] | None = None
    """Whether what is written so far has words that end an answer."""
    seed: int = 0


class Script(Protocol):
    """How rows become what a generator is asked, for all tasks of a recipe."""

    def fit(self, rows: Iterable[tuple[Any, Mapping[str, Any]]]) -> None:
        """Learn what is needed from training rows: each with the task that asks it, its cells by column."""

    def columns(self, task: Any, inputs: Sequence[str]) -> list[str]:
        """Columns of the table that a task's question and answer are made of, besides the inputs."""

    def item(self, task: Any, cells: Mapping[str, Any], inputs: Mapping[str, int], open: bool = False) -> Item:
        """One row with its answer; without one it ends where the answer begins. `total` is how long it was before a question was cut.

        Args:
            task: settings of the generate task.
            cells: what the row has, by column.
            inputs: how many values of each input the row has, of those that it has.
            open: end where the last answer begins, whatever was answered before.

        Raises:
            BadValue: the row cannot be asked: nothing is left of the question, the answer is empty or too long.
        """

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items side by side."""

    def facts(self) -> dict[str, Any]:
        """What the generator must know: vocabulary and so on."""

    def answer(self, text: str) -> list[int]:
        """The ids of an answer, what ends it included."""

    def text(self, ids: Sequence[int]) -> str:
        """What was written, as a person reads it."""

    def shown(self, item: Item) -> str:
        """What a row is asked, with its control words, and `<input>` where a value stands."""

    def save(self, folder: Path) -> None:
        """Write all that is needed to ask the same way again."""

    def load(self, folder: Path) -> None:
        """Read what `save` wrote. Raises InputError where a file is missing or damaged."""


@runtime_checkable
class Writes(Protocol):
    """A room that can write."""

    Decoder: Any
    """What a recipe may say under `decoder`: a type that pydantic checks."""

    def script(self, decoder: Any, inputs: Mapping[str, str]) -> Script:
        """The (not yet fitted) script for a decoder; `inputs`: all of the recipe in their order, each with its modality."""

    def generator(self, decoder: Any, facts: Mapping[str, Any]) -> Generator:
        """The part that writes, new or pretrained. `facts` are the script's, and `inputs`, and the `fused` width it looks at."""

    def hand_over(self, generator: Generator, script: Script, folder: Path) -> None:
        """Write a decoder that began with nothing, and its script, as other programs open such."""

    def written_scores(self, names: Sequence[str], said: Sequence[str], expected: Sequence[Sequence[str]]) -> dict[str, float]:
        """Scores of what was written against one or several right answers each."""

    def written_statistics(self, name: str, said: Sequence[str], expected: Sequence[Sequence[str]]) -> tuple[Any, Any]:
        """What one score is made of: numbers of each row (N x K tensor), and the score of their sums (... x K -> ...)."""

    def written_doubts(self, names: Sequence[str], expected: Sequence[Sequence[str]]) -> list[str]:
        """What these scores cannot judge of such answers, in a sentence each."""
