"""Remarks sorted for the next version: what is learnt, what is held out to judge by, and what is left out and why.

Nothing is lost in silence: every remark is in exactly one of the three. What is held out is decided by a hash of what the input
holds, so that an input is never on both sides, however often it was remarked on, and stays held out when more remarks come.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from triptych.base.errors import BadValue, InputError
from triptych.contract.cells import Blob, Cell
from triptych.contract.examined import Finding
from triptych.data.rows import Row
from triptych.data.several import each
from triptych.run.recipe import Recipe
from triptych.use.disputes import Doubts
from triptych.use.feedback import Kept
from triptych.use.remarks import CORRECTED, Remark

CHOSEN, REJECTED = "feedback_chosen", "feedback_rejected"
"""Columns of the better and the worse answer."""
FEW = 5
"""Fewer different inputs are all learnt from: nothing could be judged by one or two."""


@dataclass(frozen=True)
class Lesson:
    """One row that remarks make, and the remarks; `tasks` are those that it has an answer to."""

    row: Row
    remarks: tuple[Remark, ...]
    tasks: tuple[str, ...]


@dataclass
class Sorted:
    """All remarks, each in one place."""

    learnt: list[Lesson] = field(default_factory=list)
    held: list[Lesson] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """{id of a remark: why}"""
    findings: list[Finding] = field(default_factory=list)

    def counts(self, remarks: int) -> dict[str, Any]:
        """How many remarks went where; they add up, or it is a defect."""
        learnt, held = (sum(len(one.remarks) for one in side) for side in (self.learnt, self.held))
        if learnt + held + len(self.left_out) != remarks:
            raise AssertionError(f"{remarks} remarks came in, {learnt} are learnt, {held} held out, {len(self.left_out)} left out")
        why = Counter(self.left_out.values())
        rows = {"learnt": len(self.learnt), "held_out": len(self.held)}
        return {"remarks": remarks, "learnt": learnt, "held_out": held, "left_out": len(self.left_out), "rows": rows, "why": dict(why)}


@dataclass(frozen=True)
class Wanted:
    """What a user wants of the sorting."""

    held: float = 0.2
    keep_contradictions: bool = False
    drop_suspects: bool = False
    without: tuple[str, ...] = ()
    """Raters to leave out."""


def sort_out(
    kept: Sequence[Kept],
    recipe: Recipe,
    labels: Mapping[str, Sequence[str]],
    doubts: Doubts,
    wanted: Wanted,
    content: Callable[[str, Cell], Collection[str]],
    test: Collection[str] = (),
) -> Sorted:
    """Sort remarks.

    Args:
        kept: all of them, with their inputs.
        recipe: the run's.
        labels: the classes that the run knows, by task.
        doubts: what is doubtful in them.
        wanted: what the user wants.
        content: words for what a cell of an input holds, equal where two hold the same; raises BadValue where it cannot be read.
        test: such words of the rows that the run is judged by: what is learnt of them would make the judgement worthless.
    """
    made = Sorted()
    words: dict[str, frozenset[str]] = {}
    for one in kept:
        why = _why_not(one.remark, recipe, labels, doubts, wanted)
        if why is None:
            words[one.remark.id], why = _contents(one, recipe, content)
        if why is None and words[one.remark.id] & set(test):
            why = "its input is a row that the run was judged by: what is learnt of it would be judged by it"
        if why is not None:
            made.left_out[one.remark.id] = why
    usable = [one for one in kept if one.remark.id not in made.left_out]
    held = _held(usable, words, wanted.held)
    for lesson in _rows(usable, recipe, words):
        (made.held if lesson.remarks[0].id in held else made.learnt).append(lesson)
    made.findings = _new_labels(made, kept)
    return made


def _why_not(remark: Remark, recipe: Recipe, labels: Mapping[str, Sequence[str]], doubts: Doubts, wanted: Wanted) -> str | None:
    """Why nothing is learnt from a remark; None where something is."""
    if remark.kind in ("rating", "listening"):
        return f"a {remark.kind} says how good an answer is, not which one is right"
    if remark.rater and remark.rater in wanted.without:
        return "its rater is left out, as asked"
    task = recipe.tasks.get(remark.task)
    if task is None:
        return "the run has no such task"
    if remark.kind == "preference":
        if task.kind != "generate" or task.template is None:
            return "the better of two is learnt of answers to a template alone"
    elif task.kind not in CORRECTED:
        return f"nothing can be learnt from corrections of a {task.kind} task"
    elif strange := unknown_labels(remark, task, labels):
        return f"{NEW_LABEL}: {', '.join(map(repr, strange[:3]))}"
    if remark.id in doubts.superseded:
        return doubts.superseded[remark.id]
    if remark.id in doubts.contradictions and not wanted.keep_contradictions:
        return "it contradicts another one of the same input"
    return "it is doubtful, and such are left out, as asked" if remark.id in doubts.suspects and wanted.drop_suspects else None


NEW_LABEL = "the run does not know this answer"


def unknown_labels(remark: Remark, task: Any, labels: Mapping[str, Sequence[str]]) -> list[str]:
    """Labels of a correction that the run cannot answer with."""
    known = labels.get(remark.task) or getattr(task, "choices", None)
    if known is None or remark.kind != "correction":
        return []
    said = remark.correction if isinstance(remark.correction, list) else [remark.correction]
    return [str(one) for one in said if str(one) not in known]


def _contents(one: Kept, recipe: Recipe, content: Callable[[str, Cell], Collection[str]]) -> tuple[frozenset[str], str | None]:
    """Words for what the inputs of a remark hold; or why none of it can be read."""
    found: set[str] = set()
    given = {name: cell for name, cell in one.cells.items() if name in recipe.inputs}
    try:
        for name, cell in given.items():
            found |= set(content(name, cell))
    except (BadValue, InputError) as problem:
        return frozenset(), f"its input cannot be read: {problem.what}"
    if not given and not one.cells:
        return frozenset(), "it has no input"
    return frozenset(found or {one.remark.input_hash}), None


def _held(usable: Sequence[Kept], words: Mapping[str, frozenset[str]], share: float) -> set[str]:
    """Ids of remarks that are held out: whole groups of inputs that hold the same in part, by the hash of what they hold."""
    if not share:
        return set()
    parent: dict[str, str] = {}

    def root(word: str) -> str:
        while parent.setdefault(word, word) != word:
            parent[word] = parent[parent[word]]
            word = parent[word]
        return word

    for one in usable:
        first, *others = sorted(words[one.remark.id])
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    groups: dict[str, list[str]] = defaultdict(list)
    for one in usable:
        groups[root(min(words[one.remark.id]))].append(one.remark.id)
    if len(groups) < FEW:
        return set()
    places = {word: int.from_bytes(hashlib.sha256(f"held out {word}".encode()).digest()[:8]) / 2**64 for word in groups}
    chosen = {word for word, place in places.items() if place < share} or {min(places, key=lambda word: places[word])}
    if len(chosen) == len(groups):
        chosen.remove(max(places, key=lambda word: places[word]))
    return {remark for word in chosen for remark in groups[word]}


def _rows(usable: Iterable[Kept], recipe: Recipe, words: Mapping[str, frozenset[str]]) -> list[Lesson]:
    """One row an input and what is said of it; several tasks corrected of one input share a row, and so do those who say the same."""
    groups: dict[tuple[str, ...], list[Kept]] = defaultdict(list)
    for one in usable:
        groups[_place(one, groups)].append(one)
    return [_lesson(number, found, recipe) for number, found in enumerate(groups.values())]


def _place(one: Kept, groups: Mapping[tuple[str, ...], list[Kept]]) -> tuple[str, ...]:
    """Where a remark belongs: with others of its input that do not say something else of the same task."""
    remark = one.remark
    if remark.kind == "preference":
        return (remark.input_hash, "", remark.task, str(remark.chosen), str(remark.rejected))
    number = 0
    while True:
        place = (remark.input_hash, str(number))
        others = [other.remark for other in groups.get(place, ()) if other.remark.task == remark.task]
        if all(other.correction == remark.correction for other in others):
            return place
        number += 1


def _lesson(number: int, found: Sequence[Kept], recipe: Recipe) -> Lesson:
    first = found[0]
    cells: dict[str, Any] = {}
    for name, cell in first.cells.items():
        if name in recipe.inputs:
            cells[recipe.columns()[name]] = cell
        elif not isinstance(cell, Blob):
            cells[name] = cell
    for one in found:
        remark, task = one.remark, cast(Any, recipe.tasks[one.remark.task])
        if remark.kind == "preference":
            cells |= {CHOSEN: remark.chosen, REJECTED: remark.rejected}
        elif task.kind == "generate" and task.messages:
            asked = cells.get(task.messages)
            cells[task.messages] = [*(asked if isinstance(asked, list) else []), {"role": "assistant", "content": remark.correction}]
        else:
            cells[str(task.target)] = remark.correction
    tasks = tuple(dict.fromkeys(one.remark.task for one in found))
    remarks = tuple(one.remark for one in found)
    return Lesson(Row(f"{number:05d}-{remarks[0].id[:12]}", cells), remarks, tasks)


def _new_labels(made: Sorted, kept: Iterable[Kept]) -> list[Finding]:
    """What to do about answers that the run has no word for."""
    gone = [one.remark for one in kept if made.left_out.get(one.remark.id, "").startswith(NEW_LABEL)]
    if not gone:
        return []
    said = Counter(str(one.correction) for one in gone)
    text = f"{len(gone)} corrections say what the run cannot answer: " + ", ".join(f"{word!r}" for word, _ in said.most_common(5))
    fix = "a new class needs training from the recipe: triptych feedback export RUN rows.lance, add it to data.source, and train"
    return [Finding("warning", "new labels", text, fix, len(gone), tuple(word for word, _ in said.most_common(5)))]


def key_of(content: bytes) -> str:
    """A word for bytes."""
    return hashlib.sha256(content).hexdigest()[:32]


def texts_alike(text: str) -> str:
    """A word for a text, the same for other capitals and spaces."""
    return key_of(" ".join(text.split()).casefold().encode("utf-8", "replace"))


def parts_of(cell: Cell) -> list[Any]:
    """The files of a cell, or the value."""
    return each(cell)
