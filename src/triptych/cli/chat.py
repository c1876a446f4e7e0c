"""`triptych chat`: a conversation in the terminal. Answers go to standard output, everything else to standard error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.base.errors import TriptychError

if TYPE_CHECKING:
    from triptych.use.chatting import Conversation

REFUSED = 2
PROMPT = "> "


def chat(
    run: Annotated[str, typer.Argument(metavar="RUN", help="folder of a finished run with a task that is answered in writing")],
    task: Annotated[str | None, typer.Option(help="task to begin with; by default the first that is answered in writing")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object a line: what was asked and answered")] = False,
) -> None:
    """Talk to a run: /image cat.png, /audio question.wav, a question, and its answer as it is written. /help says more."""
    from triptych.run.folder import open_folder

    folder = open_folder(run)
    from triptych.use.chatting import Conversation
    from triptych.use.opened import Run

    talk = Talk(Conversation(Run(folder), task), as_json)
    if not talk.through():
        raise typer.Exit(REFUSED)


class Talk:
    """Lines of a person or a script, each a command or a question."""

    def __init__(self, conversation: Conversation, as_json: bool = False) -> None:
        """Without a terminal there is no prompt, and the end tells whether every line could be followed."""
        self.conversation, self.as_json = conversation, as_json
        self.person = sys.stdin.isatty()
        self.refused = 0
        self.open = True
        self.commands: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "task": self._task,
            "system": self._system,
            "show": self._show,
            "reset": self._reset,
            "quit": self._quit,
        }

    def through(self) -> bool:
        """Follow all lines; whether all could be followed. A person sees what could not be, and needs no exit code."""
        if self.person:
            _say(f"{self._whom()}  /help lists what can be done, Ctrl-D ends")
        for line in self._lines():
            try:
                self.follow(line)
            except TriptychError as problem:
                self.refused += 1
                _say(f"error: {problem}")
            if not self.open:
                break
        return self.person or not self.refused

    def follow(self, line: str) -> None:
        """One line.

        Raises:
            InputError: an unknown command, or a file or question that cannot be read.
        """
        said = line.strip()
        if said.startswith("/") and not said.startswith("//"):
            word, _, rest = said[1:].partition(" ")
            self._command(word, rest.strip())
        elif said or (self.conversation.asked is None and not self.conversation.whole):
            self._ask(said.removeprefix("/") if said.startswith("//") else said)

    def _lines(self) -> Iterator[str]:
        """What is typed, or comes through a pipe. Ctrl-C at the prompt ends nothing; without one it ends the program."""
        if not self.person:
            yield from sys.stdin
            return
        if sys.stdin is sys.__stdin__:
            import readline  # noqa: F401 arrows and earlier lines, for input()
        while True:
            try:
                yield input(PROMPT)
            except EOFError:
                _say("")
                return
            except KeyboardInterrupt:
                _say("\n/quit or Ctrl-D ends")

    def _command(self, word: str, rest: str) -> None:
        if word in self.commands:
            self.commands[word](rest)
            return
        from triptych.base.errors import InputError, unknown_word

        if word not in self.conversation.names():
            known = [f"/{name}" for name in [*self.conversation.names(), *self.commands]]
            problem = unknown_word("command", f"/{word}", known)
            raise InputError(problem.what, known=known, fix=problem.fix or "two slashes begin a line that is no command: //")
        name = self.conversation.name_of(word)
        self.conversation.give(name, ([rest] if rest else []) if self.conversation.typed(name) else _values(rest))
        given = next((line for line in self.conversation.held() if line.startswith(f"{name}: ")), f"{name}: nothing")
        self._note(given if self.conversation.whole or not rest else f"{given}  (stays until another takes its place)")

    def _ask(self, line: str) -> None:
        asked, said = self.conversation.row(line), ""
        try:
            for piece in self.conversation.answer(line):
                said += piece
                if not self.as_json:
                    print(piece, end="", flush=True)
        except KeyboardInterrupt:
            if not self.person:
                raise
            _say(" (stopped)")
        if self.as_json:
            row = {name: value if isinstance(value, str) else json.loads(json.dumps(value, default=str)) for name, value in asked.items()}
            print(json.dumps({"task": self.conversation.task, "asked": row, "said": said}, ensure_ascii=False), flush=True)
        else:
            print(flush=True)

    # commands

    def _help(self, _: str) -> None:
        talk = self.conversation
        lines = [self._whom()]
        for name, means in talk.names().items():
            if len(means) == 1:
                takes = f"{name} {'WORDS' if talk.typed(means[0]) else 'FILE ...'}"
                lines.append(f"  /{takes:<16}{'' if means == [name] else f'as /{means[0]}'}".rstrip())
        own = {"task NAME": "talk to another task", "system WORDS": "words that stand before the question; none takes them away"}
        own |= {"show": "what the decoder is told", "reset": "forget what was said and given", "quit": "end; so does Ctrl-D"}
        lines += [f"  /{word:<16}{text}" for word, text in own.items()]
        lines.append("Ctrl-C stops an answer. A line that begins with two slashes is no command.")
        _say("\n".join(lines))

    def _whom(self) -> str:
        talk = self.conversation
        if talk.whole:
            how = "the whole conversation goes in, and files with the next question"
        elif talk.asked is None:
            how = f"an empty line asks: {talk.tasks[talk.task].template}"
        else:
            how = f"each question stands alone, a line is its {talk.asked}: {talk.tasks[talk.task].template}"
        others = [name for name in talk.tasks if name != talk.task]
        return f"task {talk.task}: {how}" + (f"; other tasks: {', '.join(others)}" if others else "")

    def _task(self, name: str) -> None:
        if name:
            self.conversation.choose(name)
        self._note(self._whom())

    def _system(self, words: str) -> None:
        self.conversation.system = words or None
        self._note(f"system words: {words}" if words else "system words: those of the recipe, if any")

    def _show(self, line: str) -> None:
        for held in self.conversation.held():
            _say(held)
        _say(self.conversation.shown(line))

    def _reset(self, _: str) -> None:
        self.conversation.reset()
        self._note("nothing is said or given")

    def _quit(self, _: str) -> None:
        self.open = False

    def _note(self, text: str) -> None:
        """What a person wants to see, and a script does not."""
        if self.person:
            _say(text)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _values(rest: str) -> list[str]:
    """The files of a command; a name with spaces needs no quotes where there is such a file."""
    if not rest:
        return []
    if Path(rest).expanduser().exists():
        return [rest]
    try:
        return shlex.split(rest)
    except ValueError:  # a quotation mark in words
        return rest.split()
