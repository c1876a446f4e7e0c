"""Tasks that are answered in writing: how their rows are asked, and what is written, one way for measuring and for users."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.contract.generator import IDS, LEARNT, SLOTS, TEXT, Generator, answer_start, opened
from triptych.contract.modality import Modality
from triptych.contract.tasks import IN_WRITING
from triptych.contract.values import Fused, Packed
from triptych.contract.writes import How, Script, Writes
from triptych.data.asked import AskedRows
from triptych.data.table import Table
from triptych.data.targets import Target, learn_target
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.objective.intervals import Statistics
from triptych.run.recipe import Recipe

KIND = "generate"
DOUBTED = 1_000
"""Answers at which it is looked whether the scores can judge them."""


@dataclass
class Written:
    """What was written of a task, and what should have been; `places` among the rows that were measured."""

    places: list[int] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    modality: str = ""
    """The room that can judge them."""

    def statistics(self, score: str, rows: int) -> Statistics:
        """What a score of them is made of, over `rows` that were measured; those that were not written count for nothing.

        Raises:
            InputError: what the score needs is not here.
        """
        rows_PK, judge = cast(Writes, rooms()[self.modality]).written_statistics(score, self.said, [[one] for one in self.expected])
        whole_NK = rows_PK.new_zeros(rows, rows_PK.shape[1])
        return Statistics(whole_NK.index_copy(0, torch.tensor(self.places), rows_PK), judge)


def tasks_of(recipe: Recipe) -> dict[str, Any]:
    """The tasks that the decoder answers, or judges answers of."""
    return {name: task for name, task in recipe.tasks.items() if task.kind in IN_WRITING}


def room_of(recipe: Recipe) -> tuple[Writes, Modality]:
    """The room of the recipe's decoder."""
    decoder: Any = recipe.decoder
    room = rooms()[decoder.modality]
    return cast(Writes, room), room


def script_of(recipe: Recipe) -> Script | None:
    """The script of a recipe with a decoder; it has learnt nothing yet."""
    return (
        None
        if recipe.decoder is None
        else room_of(recipe)[0].script(recipe.decoder, {name: one.modality for name, one in recipe.inputs.items()})
    )


def words_of(recipe: Recipe, task: Any) -> list[str]:
    """Columns besides the inputs that a task's question and answer are made of."""
    script = script_of(recipe)
    return [] if script is None else list(dict.fromkeys(c for side in task.sides() for c in script.columns(side, list(recipe.inputs))))


def asked_words(recipe: Recipe) -> list[str]:
    """What the recipe's questions are made of besides the inputs, and are no answers: columns that a user types."""
    tasks = tasks_of(recipe).values()
    answers = {side.target for task in tasks for side in task.sides()}
    return [column for column in dict.fromkeys(c for task in tasks for c in words_of(recipe, task)) if column not in answers]


def words_alone(recipe: Recipe) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row without any input can be learnt from: it has a conversation, or an answer and words that a question is made of.

    Only where inputs stand between words: there nothing stands there, while every other fusion has to make something of nothing.
    """
    script = script_of(recipe) if recipe.fusion.kind == "prefix" else None
    sides = [side for task in tasks_of(recipe).values() for side in task.sides()] if script is not None else []
    asked = [(side.target, set(script.columns(side, list(recipe.inputs))) - {side.target}) for side in sides if script is not None]

    def enough(cells: Mapping[str, Any]) -> bool:
        there = {name for name, cell in cells.items() if cell is not None}
        return any((answer is None or answer in there) and question & there for answer, question in asked)

    return enough


def pen_of(recipe: Recipe, script: Script | None) -> Pen | None:
    """What writes the recipe's answers; None where nothing is written."""
    return None if script is None else Pen(recipe, script)


def asked_rows(recipe: Recipe, script: Script | None, table: Table, inputs: Mapping[str, Sequence[int]]) -> dict[str, AskedRows]:
    """Each such task over a table; `inputs` says how many values of each input each row has."""
    return {} if script is None else {name: AskedRows(name, task, script, table, inputs) for name, task in tasks_of(recipe).items()}


def learn(script: Script | None, asked: Mapping[str, AskedRows], train: Sequence[int]) -> None:
    """Let a script learn from the training rows."""
    if script is not None:
        script.fit(row for one in asked.values() for row in one.cells(train))


def generator_of(recipe: Recipe, script: Script | None, looks: int | None = None) -> Generator | None:
    """The recipe's decoder; `looks` is the width of what it looks at where inputs do not stand between the words."""
    if script is None:
        return None
    return room_of(recipe)[0].generator(recipe.decoder, {**script.facts(), "inputs": list(recipe.inputs), "looks": looks})


def targets_of(recipe: Recipe, table: Table, asked: Mapping[str, AskedRows]) -> dict[str, Target]:
    """What every task asks of each row; of one that is answered in writing, which rows can be asked.

    Raises:
        InputError: a column is missing, or the training rows cannot teach a task.
    """
    found = {
        name: asked[name].target() if name in asked else learn_target(name, task, table, recipe.columns())
        for name, task in recipe.tasks.items()
    }
    for one in list(asked.values())[:1]:  # a row that has words alone is learnt from by what is answered in writing, and by nothing else
        any_N = torch.tensor([list(counts) for counts in one.inputs.values()]).any(0)
        found = {name: target if name in asked else replace(target, has=target.has & any_N) for name, target in found.items()}
    train = table.at("train")
    for name, one in asked.items():
        if not bool(found[name].has[train].any()):
            wanted = " and a ".join(repr(side.target or side.messages) for side in one.sides)
            why = "; ".join(found[name].findings) or f"no training row has a {wanted}"
            raise InputError(f"task {name}: nothing can be learnt: {why}", where=table.source, fix="check the task's columns and template")
        if one.task.kind == KIND and one.task.written:  # what a score needs is missed now, and not after an hour
            room_of(recipe)[0].written_scores(one.task.scores, ["a word"], [["a word"]])
        if one.task.kind == KIND and one.task.target is not None:
            some = [row for row in train if bool(found[name].has[row])][:DOUBTED]
            answers = [[str(cells[one.task.target])] for _, cells in one.cells(some)]
            said = [f"task {name}: {text}" for text in room_of(recipe)[0].written_doubts(one.task.scores, answers)]
            found[name] = replace(found[name], findings=[*found[name].findings, *said])
    return found


class Pen:
    """Writes answers with a model, and scores them."""

    def __init__(self, recipe: Recipe, script: Script) -> None:
        """The script has learnt, or was read from a run."""
        self.script = script
        self.tasks = {name: task for name, task in tasks_of(recipe).items() if task.kind == KIND}
        self.room = room_of(recipe)[0]
        self.modality: str = cast(Any, recipe.decoder).modality

    def write(self, model: Model, asked: Packed, fused: Fused, task: Any) -> list[str]:
        """Rows, whether their answers stand in `asked` or not -> the answer to each."""
        assert model.decoder is not None
        question = opened(asked) if bool(asked.tensors[LEARNT].any()) else asked
        if task.choices:
            best = self.chances(model, question, fused, task).argmax(1).tolist()
            return [task.choices[n] for n in best]
        return [self._text(ids, task) for ids in model.decoder.write(question, fused, self.how(task))]

    def stream(self, model: Model, asked: Packed, fused: Fused, task: Any, seed: int = 0) -> Iterator[str]:
        """One row's answer as far as it is written, again and again; `seed` is for what is drawn."""
        assert model.decoder is not None
        ids: list[int] = []
        for one in model.decoder.stream(asked, fused, self.how(task)._replace(seed=seed)):
            ids.append(one)
            yield self._text(ids, task)

    def how(self, task: Any) -> How:
        """How a task's answers are written."""

        def ended(ids: Sequence[int]) -> bool:
            said = self.script.text(ids)
            return any(word in said for word in task.stop)

        return How(task.longest, task.beams, task.temperature, task.top_p, ended if task.stop else None)

    def chances(self, model: Model, question: Packed, fused: Fused, task: Any) -> Tensor:
        """Probability of each of the task's choices, (P, C): softmax of how likely the model finds it as the answer."""
        assert model.decoder is not None
        found = []
        for choice in task.choices:
            made = model.decoder(_answered(question, self.script.answer(choice)), fused)
            found.append(-made["nll_B"])
        return torch.stack(found, 1).softmax(1)

    def expected(self, asked: Packed) -> list[str]:
        """The answers that stand at the end of the rows."""
        found = []
        for ids, learnt in zip(asked.tensors[IDS], asked.tensors[LEARNT], strict=True):
            start = answer_start(learnt)
            found.append(self.script.text(ids[start:][learnt[start:]].tolist()).strip())
        return found

    def _text(self, ids: Sequence[int], task: Any) -> str:
        text = self.script.text(ids)
        for word in task.stop:
            text = text.split(word)[0]
        return text.strip()

    def scores(self, name: str, written: Written) -> dict[str, float]:
        """The scores that the task asks for."""
        return self.room.written_scores(self.tasks[name].scores, written.said, [[one] for one in written.expected]) if written.said else {}

    def usual(self, name: str, answers: Iterable[str], written: Written) -> dict[str, float]:
        """Scores of the training rows' most frequent answer: what can be had without looking."""
        counted: dict[str, int] = {}
        for one in answers:
            counted[one] = counted.get(one, 0) + 1
        best = max(counted, key=lambda text: counted[text], default="")
        return self.scores(name, Written(written.places, [best] * len(written.said), written.expected))


def _answered(question: Packed, ids: Sequence[int]) -> Packed:
    """Every row with the same answer after it."""
    assert question.mask_PT is not None
    lengths = question.mask_PT.sum(1).tolist()
    rows, longest = len(lengths), max(lengths) + len(ids)
    made = {IDS: question.tensors[IDS].new_zeros(rows, longest), SLOTS: question.tensors[SLOTS].new_full((rows, longest), TEXT)}
    learnt_PT = question.mask_PT.new_zeros(rows, longest)
    for row, length in enumerate(lengths):
        for name in (IDS, SLOTS):
            made[name][row, :length] = question.tensors[name][row, :length]
        made[IDS][row, length : length + len(ids)] = made[IDS].new_tensor(ids)
        learnt_PT[row, length : length + len(ids)] = True
    mask_PT = torch.arange(longest, device=learnt_PT.device) < (question.mask_PT.sum(1) + len(ids))[:, None]
    return Packed({**made, LEARNT: learnt_PT}, mask_PT)
