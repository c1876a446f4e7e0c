"""Tasks of an opened run that are answered in writing: what is asked of rows, and what its decoder writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from triptych.base.errors import BadValue
from triptych.contract.generator import IDS, TooLong
from triptych.contract.values import Fused, Item, Packed, Passed

if TYPE_CHECKING:
    from triptych.use.opened import Run


def question_of(run: Run, task: Any, row: Mapping[str, Any], counts: Mapping[str, int]) -> Item | BadValue:
    """What a task asks of one row that has so many values of each input, or why it cannot."""
    assert run.script is not None
    try:
        return run.script.item(task, {key: row[key] for key in run.words if row.get(key) is not None}, counts, open=True)
    except BadValue as problem:
        return problem


def check_asked(run: Run, row: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    """Look for a task that can be asked of a row; one that is not answered in writing always can.

    Raises:
        BadValue: there is none; what is wrong is the first task's.
    """
    problems = []
    for task in run.recipe.tasks.values():
        made = question_of(run, task, row, counts) if task.kind == "generate" else None
        if not isinstance(made, BadValue):
            return
        problems.append(made)
    raise problems[0]


def counted(present: Mapping[str, Tensor], row: int) -> dict[str, int]:
    """How many values of each input a row has, of those that it has."""
    return {name: int(there[row]) for name, there in present.items() if there[row]}


def questions_of(run: Run, task: Any, rows: Sequence[Mapping[str, Any]], present: Mapping[str, Tensor]) -> list[Item | BadValue]:
    """What a task asks of each row, or why it cannot."""
    return [question_of(run, task, row, counted(present, n)) for n, row in enumerate(rows)]


@torch.inference_mode()
def written(run: Run, task: Any, passed: Passed, present: Mapping[str, Tensor], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is written of the rows that can be asked; of the others why they cannot."""
    made = questions_of(run, task, rows, present)
    places = [n for n, one in enumerate(made) if not isinstance(one, BadValue)]
    found = [{"said": "", "why_not": one.what} if isinstance(one, BadValue) else {} for one in made]
    if places:
        assert run.script is not None
        asked = run.script.collate([one for one in made if not isinstance(one, BadValue)])
        for place, one in zip(places, _each_answered(run, task, asked, passed.fused.rows(torch.tensor(places))), strict=True):
            found[place] = one
    return found


@torch.inference_mode()
def versions(run: Run, task: Any, asked: Packed, fused: Fused, seed: int) -> Iterator[str]:
    """One answer as far as it is written, again and again; whole where beams search for it, or where it is one of some choices."""
    if task.choices or task.beams > 1:
        yield str(_answered(run, task, asked, fused)[0]["said"])
    else:
        yield from run.pen.stream(run.model, asked, fused, task, seed)


def _each_answered(run: Run, task: Any, asked: Packed, fused: Fused) -> list[dict[str, Any]]:
    """The answers; a row that is too long for the decoder says so, and costs no other row."""
    places, costly = list(range(len(asked.tensors[IDS]))), dict[int, TooLong]()
    while places:
        chosen = torch.tensor(places)
        some = Packed({name: tensor[chosen] for name, tensor in asked.tensors.items()}, asked.mask_PT[chosen])  # type: ignore[index]
        try:
            answers = dict(zip(places, _answered(run, task, some, fused.rows(chosen)), strict=True))
            break
        except TooLong as problem:
            costly[places.pop(problem.row)] = problem
    else:
        answers = {}
    return [answers[n] if n in answers else {"said": "", "why_not": costly[n].what} for n in range(len(asked.tensors[IDS]))]


def _answered(run: Run, task: Any, asked: Packed, fused: Fused) -> list[dict[str, Any]]:
    if not task.choices:
        return [{"said": said} for said in run.pen.write(run.model, asked, fused, task)]
    shares = run.pen.chances(run.model, asked, fused, task).tolist()
    found = [dict(zip(task.choices, row, strict=True)) for row in shares]
    return [{"said": max(row, key=row.__getitem__), "confidence": max(row.values()), "probabilities": row} for row in found]
