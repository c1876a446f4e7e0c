"""A conversation with a run: media and words are given one after the other, and each question is answered as it is written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError, unknown_word
from triptych.modalities import rooms
from triptych.run.writing import words_of
from triptych.use.opened import Run

FAR = 24
"""Characters without a space after which nobody waits for the end of a word: some languages have no spaces."""
HALF = "\ufffd"
"""Stands at the end of a text whose last letter is not whole yet."""


class Conversation:
    """What is said to one task of a run, and what it answered.

    A task of whole conversations is told all of it each time. Questions of a template stand alone; what fills them stays until
    something else takes its place.
    """

    def __init__(self, run: Run, task: str | None = None) -> None:
        """Begin with `task`, or the first that is answered in writing.

        Raises:
            InputError: the run has no such task.
        """
        self.run = run
        self.tasks = {name: one for name, one in run.recipe.tasks.items() if one.kind == "generate"}
        if not self.tasks:
            known = [f"{name} ({one.kind})" for name, one in run.recipe.tasks.items()]
            what = "no task of this run is answered in writing, so there is nobody to talk to"
            raise InputError(what, where=str(run.folder.path), known=known, fix="triptych predict RUN FILE asks the tasks that there are")
        self.system: str | None = None
        self.given: dict[str, list[Path | str]] = {}
        self.choose(task or next(iter(self.tasks)))

    def choose(self, name: str) -> None:
        """Talk to another task; the conversation begins anew, with the files that are given.

        Raises:
            InputError: there is no such task.
        """
        if name not in self.tasks:
            raise unknown_word("task", name, self.tasks)
        self.task = name
        held = {name: values for name, values in self.given.items() if name in [*self.run.recipe.inputs, *self.words]}
        self.reset()
        self.given = held

    def reset(self) -> None:
        """Forget what was said and given, but for the system words."""
        self.given = {}
        self.said: list[dict[str, Any]] = []
        self.shared: dict[str, list[Path | str]] = {}

    @property
    def whole(self) -> bool:
        """Whether the task is told the whole conversation."""
        return bool(self._settings.messages)

    @property
    def _settings(self) -> Any:
        return self.tasks[self.task]

    # what is given

    @property
    def words(self) -> list[str]:
        """What takes the words of this task's questions: columns of its template, then inputs that are read as they are typed."""
        if self.whole:
            return []
        columns = [name for name in words_of(self.run.recipe, self._settings) if name != self._settings.target]
        return [*columns, *(name for name in self.run.recipe.inputs if self.typed(name))]

    @property
    def asked(self) -> str | None:
        """What takes a plain line; None where the question has no words to fill in."""
        columns = [name for name in self.words if name not in self.run.recipe.inputs]
        return next(iter([*reversed(columns), *self.words]), None)

    def names(self) -> dict[str, list[str]]:
        """{command: the inputs or columns it may mean}: each one's own name, and the name of its modality."""
        inputs = {name: settings.modality for name, settings in self.run.recipe.inputs.items()}
        found = {name: [name] for name in [*inputs, *self.words]}
        for modality in inputs.values():
            found.setdefault(modality, [name for name, one in inputs.items() if one == modality])
        return found

    def name_of(self, command: str) -> str:
        """The input or column that a command means.

        Raises:
            InputError: none, or several.
        """
        names = self.names()
        if command not in names:
            raise unknown_word("command", f"/{command}", [f"/{name}" for name in names])
        if len(names[command]) > 1:
            raise InputError(f"/{command} could be any of several inputs", known=[f"/{name}" for name in names[command]])
        return names[command][0]

    def give(self, name: str, values: Sequence[str]) -> None:
        """Give an input its files, or a column its words; nothing takes away what it has.

        Raises:
            InputError: a file cannot be read.
        """
        if not values:
            self.given.pop(name, None)
        elif not self.typed(name):
            files: list[Path | str] = [Path(value).expanduser() for value in values]
            self.run.read({name: files})  # what is wrong is said now, and not with the question
            self.given[name] = files
        else:
            self.given[name] = [" ".join(values)]

    def typed(self, name: str) -> bool:
        """Whether an input or column takes words as they are typed, and no files."""
        inputs = self.run.recipe.inputs
        return name not in inputs or not rooms()[inputs[name].modality].by_reference

    # what is asked

    def row(self, line: str) -> dict[str, Any]:
        """What the run is given for a question."""
        if self.whole:
            media = {name: [*self.shared.get(name, []), *self.given.get(name, [])] for name in {**self.shared, **self.given}}
            return {**_together(media), self._settings.messages: [*self._first(), *self.said, self._message(line)]}
        row = _together(self.given)
        if line and self.asked is None:
            fix = "ask without words: the question stands in the template"
            raise InputError(f"the question of task {self.task!r} has no place for words", known=[self._settings.template], fix=fix)
        return {**row, self.asked: line} if line and self.asked else row

    def _message(self, line: str) -> dict[str, str]:
        """What is said now, with a place for all that was given: where the line names it, else before the words."""
        before = [f"<{name}>\n" * max(len(files) - line.count(f"<{name}>"), 0) for name, files in self.given.items()]
        return {"role": "user", "content": "".join(before) + line}

    def _first(self) -> list[dict[str, str]]:
        return [{"role": "system", "content": self.system}] if self.system else []

    def settings(self) -> Any:
        """The task's settings, with the system words of this conversation."""
        if self.whole or self.system is None:
            return self._settings
        return self._settings.model_copy(update={"system": self.system.replace("{", "{{").replace("}", "}}")})

    def answer(self, line: str) -> Iterator[str]:
        """The answer to a line, piece by piece; the conversation goes on with as much of it as was listened to.

        Raises:
            InputError: the question cannot be asked; nothing of it is kept.
        """
        written = ""
        try:
            for piece in pieces(self.run.stream(self.task, self.row(line), self.settings()), self._settings.stop):
                written += piece
                yield piece
        finally:
            if written.strip() and self.whole:
                self._keep(line, written)

    def _keep(self, line: str, answer: str) -> None:
        """Remember a question and its answer; what was given with it stands in it from now on."""
        self.said += [self._message(line), {"role": "assistant", "content": answer}]
        for name, files in self.given.items():
            self.shared.setdefault(name, []).extend(files)
        self.given = {}

    def shown(self, line: str = "") -> str:
        """What the decoder would read if this line were said now."""
        return self.run.question(self.task, self.row(line), self.settings())

    def held(self) -> list[str]:
        """What is given at the moment, in a line each."""
        return [f"{name}: {', '.join(map(str, values))}" for name, values in self.given.items()]


def _together(given: dict[str, list[Path | str]]) -> dict[str, Any]:
    return {name: values if len(values) > 1 else values[0] for name, values in given.items() if values}


def pieces(texts: Iterable[str], stops: Sequence[str] = ()) -> Iterator[str]:
    """What is new in each of a text's versions, word by word: `texts` is one text as far as it is written, again and again.

    Nothing is said that may change: half a letter, a word that is still written, what may be the beginning of a word in `stops`.
    """
    said, text = "", ""
    for text in texts:
        sure = _sure(text, stops)
        if len(sure) > len(said) and sure.startswith(said):
            yield sure[len(said) :]
            said = sure
    text = text.rstrip(HALF)
    if text.startswith(said):
        if rest := text[len(said) :]:
            yield rest
    else:  # a tokenizer took back what it had said
        yield f"\n{text}"


def _sure(text: str, stops: Sequence[str]) -> str:
    """The beginning of a text that stays as it is, whatever follows."""
    sure = text.rstrip(HALF)
    for stop in stops:
        cut = next((n for n in range(min(len(stop) - 1, len(sure)), 0, -1) if sure.endswith(stop[:n])), 0)
        sure = sure[: len(sure) - cut]
    space = max(sure.rfind(" "), sure.rfind("\n"))
    end = space if len(sure) - space <= FAR else len(sure) - 1
    return sure[: max(end, 0)].rstrip()
