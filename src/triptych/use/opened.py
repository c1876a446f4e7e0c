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
from triptych.contract.modality import Modality, Preparation
from triptych.contract.values import Batch, Passed, Value
from triptych.contract.writes import Script
from triptych.data.lacking import costs_row
from triptych.data.several import as_cell, each, read_each, together
from triptych.modalities import rooms
from triptych.model.assemble import Model
from triptych.run.folder import RunFolder, open_folder
from triptych.run.recipe import Recipe
from triptych.run.writing import Pen, asked_words, script_of
from triptych.use.asking import check_asked, question_of, versions
from triptych.use.telling import Heard, told


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
        check_asked(self, given, {name: len(each(value)) for name, value in values.items()})
        return values

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
        heard = Heard(rows, values, passed, counts)
        said = {name: told(self, name, heard) for name in asked}
        return [
            Answer({k: _brief(v) for k, v in row.items() if k in values[i] or k in self.words}, {n: said[n][i] for n in said})
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
        item = question_of(self, held, row, {column: len(each(value)) for column, value in values.items()})
        if isinstance(item, BadValue):
            raise item
        passed, _ = self.passed([values])
        assert self.script is not None
        asked = self.script.collate([item])
        return int(asked.mask_PT.sum() if asked.mask_PT is not None else 0), versions(self, held, asked, passed.fused, seed)

    def question(self, name: str, row: Mapping[str, Any], task: Any = None) -> str:
        """What a task asks of one row, as the decoder reads it, with `<input>` where a value stands; nothing is read or computed."""
        held, inputs = task or self.recipe.tasks[name], self.recipe.inputs
        counts = {column: len(each(as_cell(rooms()[inputs[column].modality], value))) for column, value in row.items() if column in inputs}
        item = question_of(self, held, row, counts)
        if isinstance(item, BadValue):
            raise item
        assert self.script is not None
        return self.script.shown(item)


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
