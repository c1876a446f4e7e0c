"""A finished run, opened: ask it about new values. One preprocessing path for Python, the command line and everything above."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from triptych.base.errors import BadValue, InputError, unknown_word
from triptych.contract.cells import Blob, Several
from triptych.contract.generator import IDS, TooLong
from triptych.contract.modality import Modality, Paced, Preparation
from triptych.contract.tasks import cut_of
from triptych.contract.values import Batch, Fused, Item, Packed, Passed, Value
from triptych.contract.writes import Script
from triptych.data.lacking import costs_row
from triptych.data.several import as_cell, each, read_each, together
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.objective.transcripts import spelling_of
from triptych.run.examples import box_in_unit, in_unit, in_words
from triptych.run.folder import RunFolder, open_folder
from triptych.run.grounding import frame_of
from triptych.run.measure import answer
from triptych.run.recipe import Recipe
from triptych.run.spoken import spoken
from triptych.run.writing import Pen, asked_words, script_of

NEAREST = 3


@dataclass(frozen=True)
class Answer:
    """What a run says of one row.

    `tasks` holds, by task: `said`, `confidence` and `probabilities` by label (classify, multilabel; of labels also the `thresholds`
    above which they are given), `said` and `value` (regress), `said`, `box` and `confidence` (ground), `said` and `words` with their
    times (ctc), or `nearest`: for each given input and each other one the closest rows of the run's test (contrast).
    """

    row: dict[str, str]
    tasks: dict[str, dict[str, Any]]

    def __getitem__(self, task: str) -> dict[str, Any]:
        """One task's answer."""
        return self.tasks[task]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"row": self.row, "tasks": self.tasks}


@dataclass
class Run:
    """A run folder, opened. Weights are read when they are first needed."""

    folder: RunFolder
    recipe: Recipe = field(init=False)
    verified: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Read the recipe; the weights wait."""
        self.recipe = self.folder.recipe()

    @property
    def scores(self) -> list[dict[str, Any]]:
        """Untouched against trained on the test rows, one entry a score."""
        found: list[dict[str, Any]] = self.folder.read("scores.json")
        return found

    @functools.cached_property
    def model(self) -> Model:
        """The trained model, in eval mode."""
        self._verify()
        return Model.load(self.folder.model)

    @functools.cached_property
    def inputs(self) -> dict[str, tuple[Modality, Preparation]]:
        """The room and the fitted preparation of each input."""
        self._verify()
        found = {}
        for name, settings in self.recipe.inputs.items():
            room = rooms()[settings.modality]
            preparation = room.preparation(settings)
            preparation.load(self.folder.input(name))
            found[name] = room, preparation
        return found

    def _verify(self) -> None:
        """Compare every file with its checksum before the first of them is read; once is enough."""
        if not self.verified:
            self.folder.verify()
            self.verified = True

    @functools.cached_property
    def script(self) -> Script | None:
        """How rows are asked in writing; None where nothing is written."""
        script = script_of(self.recipe)
        if script is not None:
            self._verify()
            script.load(self.folder.script)
        return script

    @functools.cached_property
    def pen(self) -> Pen:
        """What writes answers."""
        assert self.script is not None
        return Pen(self.recipe, self.script)

    @functools.cached_property
    def words(self) -> list[str]:
        """What a question is made of besides the inputs: names that take words."""
        return asked_words(self.recipe)

    @functools.cached_property
    def gallery(self) -> dict[str, list[Any]]:
        """Embeddings of the run's test rows; empty where no task gives any."""
        self._verify()
        return self.folder.read_rows("embeddings.parquet")

    @property
    def answered(self) -> list[str]:
        """The tasks that a row is told of: all but those that only compare answers."""
        return [name for name, task in self.recipe.tasks.items() if task.kind != "prefer"]

    def predict(self, **values: Any) -> Answer:
        """Answer for one row: `run.predict(image="seven.png", audio=some_bytes)`; inputs left out are absent.

        Raises:
            InputError: an unknown input, none at all, or a value that cannot be read.
        """
        return self.predict_rows([values])[0]

    def predict_rows(self, rows: Iterable[Mapping[str, Any]]) -> list[Answer]:
        """Answers for several rows, computed in one batch; equal to one at a time."""
        rows = list(rows)
        return self._answers(rows, [self._values(row) for row in rows])

    def predict_each(self, rows: Iterable[Mapping[str, Any]], batch_size: int = 64) -> Iterator[Answer | BadValue]:
        """Answers in the order of the rows, batch by batch; a row that cannot be read gives its error and costs no other row."""
        waiting = iter(rows)
        while batch := list(itertools.islice(waiting, batch_size)):
            read = [self._readable(row) for row in batch]
            pairs = [(row, values) for row, values in zip(batch, read, strict=True) if not isinstance(values, BadValue)]
            answers = iter(self._answers([row for row, _ in pairs], [values for _, values in pairs]))
            yield from (values if isinstance(values, BadValue) else next(answers) for values in read)

    def embed_rows(self, rows: Iterable[Mapping[str, Any]]) -> dict[str, list[list[float] | None]]:
        """Vectors of several rows: `fused`, and `<task>.<input>` for each contrastive task; None where the row lacks the input."""
        return self.vectors([self._values(row) for row in rows])

    def read_row(self, row: Mapping[str, Any]) -> dict[str, Value]:
        """What a row gives, read by its rooms: the part of `predict_rows` that needs no model, for those who share the work out.

        Raises:
            InputError: as `predict` does.
        """
        return self._values(row)

    def answers(
        self, rows: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Value]], tasks: Iterable[str] | None = None
    ) -> list[Answer]:
        """The rest of it: what is said of rows whose `values` were read; `tasks` alone are answered, by default all."""
        return self._answers(rows, values, tasks)

    def vectors(self, values: Sequence[Mapping[str, Value]]) -> dict[str, list[list[float] | None]]:
        """As `embed_rows`, of rows that were read."""
        passed, present = self.passed(values)
        vectors: dict[str, list[list[float] | None]] = {"fused": passed.fused.pooled_BD.float().tolist()}
        for name, task in self.recipe.tasks.items():
            for column in task.between if task.kind == "contrast" else ():
                found = passed.outputs[name][f"embedding.{column}_BD"].tolist()
                vectors[f"{name}.{column}"] = [v if has else None for v, has in zip(found, present[column].tolist(), strict=True)]
        return vectors

    def _values(self, row: Mapping[str, Any]) -> dict[str, Value]:
        """What a row gives, read by its rooms."""
        known = [*self.recipe.inputs, *self.words]
        for name in row:
            if name not in known:
                raise unknown_word("input", name, known, where=str(self.folder.path))
        given = {name: value for name, value in row.items() if value is not None}
        if not given:
            raise InputError("there is no input at all", known=known, fix="give at least one of the run's inputs")
        values = self.read({name: value for name, value in given.items() if name in self.recipe.inputs})
        self._check_asked(given, values)
        return values

    def _check_asked(self, row: Mapping[str, Any], values: Mapping[str, Value]) -> None:
        """Raises BadValue where a row has nothing that any task could be asked of."""
        problems = []
        for task in self.recipe.tasks.values():
            made = (
                self._question(task, row, {name: len(each(value)) for name, value in values.items()}) if task.kind == "generate" else None
            )
            if not isinstance(made, BadValue):
                return
            problems.append(made)
        raise problems[0]

    def read(self, cells: Mapping[str, Any]) -> dict[str, Value]:
        """Values by input, `Several` where a list of files was given; a file that has nothing of one of several inputs leaves that one out.

        Raises:
            BadValue: a cell cannot be read, or there is nothing in any.
        """
        room = {name: self.inputs[name][0] for name in cells}
        values: dict[str, Value] = {}
        problems: dict[str, BadValue] = {}
        for name, cell in cells.items():
            try:
                values[name] = together(read_each(room[name], as_cell(room[name], cell)))
            except BadValue as problem:
                problems[name] = problem
        if costly := costs_row(problems, cells, room):
            raise problems[costly]
        return values

    def _readable(self, row: Mapping[str, Any]) -> dict[str, Value] | BadValue:
        try:
            return self._values(row)
        except BadValue as error:
            return error

    def _answers(
        self, rows: Sequence[Mapping[str, Any]], values: Sequence[Mapping[str, Value]], tasks: Iterable[str] | None = None
    ) -> list[Answer]:
        """`values` are what was read of `rows`."""
        if not rows:
            return []
        passed, present = self.passed(values)
        counts = {name: torch.tensor([len(each(row[name])) if name in row else 0 for row in values]) for name in present}
        asked = [name for name in (self.answered if tasks is None else tasks) if name in self.answered]
        told = {name: self._told(name, passed, counts, rows, values) for name in asked}
        return [
            Answer({k: _brief(v) for k, v in row.items() if k in values[i] or k in self.words}, {n: told[n][i] for n in told})
            for i, row in enumerate(rows)
        ]

    @torch.inference_mode()
    def passed(self, rows: Sequence[Mapping[str, Value]]) -> tuple[Passed, Mapping[str, Tensor]]:
        """One forward pass over rows of values that rooms have read, and which rows have which input."""
        batch = self._batch(rows)
        return self.model(batch), batch.present

    def _batch(self, rows: Sequence[Mapping[str, Value]]) -> Batch:
        packed, present = {}, {}
        for name, (_, preparation) in self.inputs.items():
            present[name] = torch.tensor([name in row for row in rows])
            values = [each(row[name]) for row in rows if name in row]
            if values:
                made = preparation.collate(preparation.prepare([value for of_row in values for value in of_row]))
                counts_P = torch.tensor([len(of_row) for of_row in values])
                packed[name] = made if counts_P.max() == 1 else replace(made, counts_P=counts_P)
        return Batch(packed, present)

    def asked(self, name: str, rows: Sequence[Mapping[str, Any]], present: Mapping[str, Tensor]) -> Packed:
        """The questions that a task which is answered in writing puts to some rows, without answers.

        `present` says which rows have which input, or how many values of it.

        Raises:
            BadValue: nothing is left of a question.
        """
        assert self.script is not None
        items = []
        for n, row in enumerate(rows):
            made = self._question(self.recipe.tasks[name], row, _counts(present, n))
            if isinstance(made, BadValue):
                raise made
            items.append(made)
        return self.script.collate(items)

    def _question(self, task: Any, row: Mapping[str, Any], counts: Mapping[str, int]) -> Item | BadValue:
        """What a task asks of one row, or why it cannot."""
        assert self.script is not None
        try:
            return self.script.item(task, {key: row[key] for key in self.words if row.get(key) is not None}, counts, open=True)
        except BadValue as problem:
            return problem

    @torch.inference_mode()
    def stream(self, name: str, row: Mapping[str, Any], task: Any = None) -> Iterator[str]:
        """One row's answer to a task that is answered in writing, as far as it is written, again and again.

        `task` stands for the recipe's settings of it, where others are wanted. What is searched for with beams, or is one of some
        choices, comes whole.

        Raises:
            InputError: an unknown input, a value that cannot be read, or nothing is left of the question.
        """
        yield from self.writing(name, row, self._values(row), task)[1]

    @torch.inference_mode()
    def writing(
        self, name: str, row: Mapping[str, Any], values: Mapping[str, Value], task: Any = None, seed: int = 0
    ) -> tuple[int, Iterator[str]]:
        """How many pieces the question of a row that was read has, and what `stream` gives of it; `seed` is for what is drawn.

        Raises:
            InputError: nothing is left of the question.
        """
        held: Any = task or self.recipe.tasks[name]
        item = self._question(held, row, {column: len(each(value)) for column, value in values.items()})
        if isinstance(item, BadValue):
            raise item
        passed, _ = self.passed([values])
        assert self.script is not None
        asked = self.script.collate([item])
        return int(asked.mask_PT.sum() if asked.mask_PT is not None else 0), self._versions(held, asked, passed.fused, seed)

    @torch.inference_mode()
    def _versions(self, task: Any, asked: Packed, fused: Fused, seed: int) -> Iterator[str]:
        if task.choices or task.beams > 1:
            yield str(self._answered(task, asked, fused)[0]["said"])
        else:
            yield from self.pen.stream(self.model, asked, fused, task, seed)

    def question(self, name: str, row: Mapping[str, Any], task: Any = None) -> str:
        """What a task asks of one row, as the decoder reads it, with `<input>` where a value stands; nothing is read or computed."""
        held, inputs = task or self.recipe.tasks[name], self.recipe.inputs
        counts = {column: len(each(as_cell(rooms()[inputs[column].modality], value))) for column, value in row.items() if column in inputs}
        item = self._question(held, row, counts)
        if isinstance(item, BadValue):
            raise item
        assert self.script is not None
        return self.script.shown(item)

    @torch.inference_mode()
    def _written(self, name: str, passed: Passed, present: Mapping[str, Tensor], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """What is written of the rows that can be asked; of the others why they cannot."""
        task: Any = self.recipe.tasks[name]
        made = [self._question(task, row, _counts(present, n)) for n, row in enumerate(rows)]
        places = [n for n, one in enumerate(made) if not isinstance(one, BadValue)]
        found = [{"said": "", "why_not": one.what} if isinstance(one, BadValue) else {} for one in made]
        if places:
            assert self.script is not None
            asked = self.script.collate([one for one in made if not isinstance(one, BadValue)])
            for place, one in zip(places, self._each_answered(task, asked, passed.fused.rows(torch.tensor(places))), strict=True):
                found[place] = one
        return found

    def _each_answered(self, task: Any, asked: Packed, fused: Fused) -> list[dict[str, Any]]:
        """The answers; a row that is too long for the decoder says so, and costs no other row."""
        places, costly = list(range(len(asked.tensors[IDS]))), dict[int, TooLong]()
        while places:
            chosen = torch.tensor(places)
            some = Packed({name: tensor[chosen] for name, tensor in asked.tensors.items()}, asked.mask_PT[chosen])  # type: ignore[index]
            try:
                answers = dict(zip(places, self._answered(task, some, fused.rows(chosen)), strict=True))
                break
            except TooLong as problem:
                costly[places.pop(problem.row)] = problem
        else:
            answers = {}
        return [answers[n] if n in answers else {"said": "", "why_not": costly[n].what} for n in range(len(asked.tensors[IDS]))]

    def _answered(self, task: Any, asked: Packed, fused: Fused) -> list[dict[str, Any]]:
        if not task.choices:
            return [{"said": said} for said in self.pen.write(self.model, asked, fused, task)]
        shares = self.pen.chances(self.model, asked, fused, task).tolist()
        found = [dict(zip(task.choices, row, strict=True)) for row in shares]
        return [{"said": max(row, key=row.__getitem__), "confidence": max(row.values()), "probabilities": row} for row in found]

    def _told(
        self,
        name: str,
        passed: Passed,
        present: Mapping[str, Tensor],
        rows: Sequence[Mapping[str, Any]],
        values: Sequence[Mapping[str, Value]],
    ) -> list[dict[str, Any]]:
        task = self.recipe.tasks[name]
        if task.kind == "ground":
            return self._located(task, answer(task, passed.outputs[name]), values)
        if task.kind == "generate":
            return self._written(name, passed, present, rows)
        if task.kind == "ctc":
            return self._transcribed(name, task, passed, values)
        if task.kind == "contrast":
            return self._nearest(name, task, passed, present)
        facts = self.model.parts()[name].facts
        return [_in_full(task, facts, row) for row in answer(task, passed.outputs[name])]

    def _located(self, task: Any, answers_B5: Tensor, values: Sequence[Mapping[str, Value]]) -> list[dict[str, Any]]:
        """A box a row, in the unit and form of the cells it was learnt from; none where there is nothing to look at."""
        room, preparation = self.inputs[task.input]
        told: list[dict[str, Any]] = []
        for answer_5, row in zip(answers_B5, values, strict=True):
            several = each(row[task.input]) if task.input in row else []
            if len(several) != 1:
                why = f"no box: {len(several)} values of {task.input}"
                told.append({"said": why, "confidence": None, "box": None})
                continue
            frame_4 = torch.tensor(frame_of(task, room, preparation, room.extent(several[0])), dtype=torch.float64)  # type: ignore[attr-defined]
            said, confidence = in_words(task, {"frame": frame_4}, answer_5)
            told.append({"said": said, "confidence": confidence, "box": box_in_unit(task, frame_4, answer_5)})
        return told

    def _transcribed(self, name: str, task: Any, passed: Passed, values: Sequence[Mapping[str, Value]]) -> list[dict[str, Any]]:
        """What is said, and when; `heard_from` where the beginning of a value was cut off."""
        facts = self.model.parts()[name].facts
        given = facts["input"]
        preparation = self.inputs[given][1]
        paced = preparation if isinstance(preparation, Paced) else None
        begins = [paced.begins(row[given]) if paced and given in row else 0.0 for row in values]
        rows = spoken(task, facts, passed.outputs[name], begins)
        spelt = spelling_of(task, facts)
        said = [spelt.text(row) for row in answer(task, passed.outputs[name], searching=True).tolist()]
        return [
            {"said": text, "words": [word.as_dict() for word in words], **({"heard_from": round(begin, 3)} if begin else {})}
            for text, words, begin in zip(said, rows, begins, strict=True)
        ]

    def _nearest(self, name: str, task: Any, passed: Passed, present: Mapping[str, Tensor]) -> list[dict[str, Any]]:
        rows = len(next(iter(present.values())))
        told: list[dict[str, Any]] = [{"nearest": {}} for _ in range(rows)]
        for given in task.between:
            for place in present[given].nonzero()[:, 0].tolist():
                query = passed.outputs[name][f"embedding.{given}_BD"][place]
                told[place]["nearest"][given] = {other: self._closest(name, other, query) for other in task.between if other != given}
        return told

    def _closest(self, name: str, column: str, query_D: Tensor) -> list[dict[str, Any]]:
        vectors = self.gallery.get(f"{name}.{column}", [])
        there = [place for place, vector in enumerate(vectors) if vector is not None]
        if not there:
            return []
        similar = torch.tensor([vectors[place] for place in there]) @ query_D
        best = similar.topk(min(NEAREST, len(there)))
        labels, ids = self.gallery[f"{name}.label"], self.gallery["id"]
        return [
            {"id": ids[there[i]], "label": labels[there[i]], "similarity": score}
            for score, i in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ]


def _in_full(task: Any, facts: Mapping[str, Any], row: Tensor) -> dict[str, Any]:
    said, confidence = in_words(task, facts, row)
    if task.kind == "regress":
        return {"said": said, "value": in_unit(facts, row)}
    found = {"said": said, "confidence": confidence, "probabilities": dict(zip(facts["labels"], row.tolist(), strict=True))}
    if task.kind == "multilabel":
        cut = cut_of(task, facts)
        found["thresholds"] = dict(zip(facts["labels"], cut if isinstance(cut, list) else [cut] * len(row), strict=True))
    return found


def _counts(present: Mapping[str, Tensor], row: int) -> dict[str, int]:
    """How many values of each input a row has, of those that it has."""
    return {name: int(there[row]) for name, there in present.items() if there[row]}


def _brief(value: Any) -> str:
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Mapping) or (isinstance(value, list) and value and isinstance(value[0], Mapping)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple) and len(value) < 10:
        return ", ".join(map(_brief, value))
    if isinstance(value, Several):
        return ", ".join(map(_brief, value.items))
    if isinstance(value, Blob):
        return value.name or "a file in it"
    return f"{type(value).__name__}" + (f" of {len(value):,} bytes" if isinstance(value, bytes) else "")


def open_run(path: str | Path) -> Run:
    """Open a finished run folder.

    Raises:
        InputError: it is not a run, not finished, written by a newer version, or a file is missing or damaged.
    """
    return Run(open_folder(path))


def rows_of_files(run: Run, files: Iterable[str]) -> Iterator[dict[str, Path]]:
    """One row a file; the file's suffix says which input it is, or which ones where several read one column.

    Raises:
        InputError: no input, or more than one, takes such a file.
    """
    for file in files:
        path = Path(file)
        fitting = [name for name, settings in run.recipe.inputs.items() if path.suffix.lower() in rooms()[settings.modality].suffixes]
        if not fitting:
            known = sorted({suffix for settings in run.recipe.inputs.values() for suffix in rooms()[settings.modality].suffixes})
            raise InputError(
                f"no input of this run takes a {path.suffix or 'suffixless'} file: {file}", known=known, fix=_name_it(run, file)
            )
        if len({run.recipe.named()[name] for name in fitting}) > 1:
            raise InputError(f"{file} could be any of {', '.join(fitting)}", fix=_name_it(run, file))
        yield dict.fromkeys(fitting, path)  # several inputs of one column: all of them see the file


def _name_it(run: Run, file: str) -> str:
    return f"say which input it is: --{next(iter(run.recipe.inputs))} {file}"
