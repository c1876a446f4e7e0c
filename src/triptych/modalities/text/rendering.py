"""Turns to one text, by a tokenizer's own chat template, with marks at what the text alone would not tell: slots, answers, ids.

The template is rendered by transformers, in Jinja's sandbox. Marks are code points that Unicode reserves for inside a program
and never gives a meaning, so none can come from a user: they are taken out of what people wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.modalities.text.messages import Slot, Turn

SLOT, START, END, WORDS, ID = (("\ufdd0", "\ufdd1"), ("\ufdd2", "\ufdd3"), ("\ufdd4", "\ufdd5"), ("\ufdd6", "\ufdd7"), ("\ufdd8", "\ufdd9"))
"""Pairs around a number: a slot's, an answer's where it starts and ends, an id's; around words: what looks like a control token."""
_RESERVED = re.compile("[\ufdd0-\ufdef]")
_ENDS = re.compile(f"{START[0]}(\\d+){START[1]}|{END[0]}(\\d+){END[1]}")
_SLOTS = re.compile(f"{SLOT[0]}(\\d+){SLOT[1]}")
_LOOK = ("Wise words.", "What is it?", "It is so.")
"""A system, a user and an assistant to try a template with."""


@dataclass(frozen=True)
class Rendered:
    """A conversation as one text.

    `answers`: of each turn that is learnt, where in the text its answer begins and ends, without the token that ends a turn.
    """

    text: str
    answers: tuple[tuple[int, int], ...]


class Form:
    """How a conversation is written down. One for each tokenizer."""

    def __init__(self, template: str | None, special: Mapping[str, Any], control: Sequence[str], ends: int, begins: Sequence[int]) -> None:
        """Try the template.

        Args:
            template: a Jinja chat template; None: the plain form.
            special: what templates are told of special tokens (`bos_token` ...).
            control: tokens that a user's words must not become.
            ends: the id that ends an answer in the plain form.
            begins: the ids that a tokenizer puts before any text.

        Raises:
            InputError: the template cannot be rendered.
        """
        self._template, self._special = template, dict(special)
        self._control = re.compile("|".join(map(re.escape, sorted(control, key=len, reverse=True))) or "(?!)")
        self._end, self._begin = _id(ends), "".join(map(_id, begins))
        self.system = self.prompts = True
        self._in_parts = False
        if template is not None:
            self._try()

    def rendered(self, turns: Sequence[Turn], open_: bool, chat: bool) -> Rendered:
        """Turns to a text; one that is `open_` ends where the next answer begins. `chat`: the plain form says who speaks.

        Raises:
            BadValue: the template refuses them, or leaves out a slot or an answer.
        """
        if self._template is None:
            return self._plain(turns, open_, chat)
        turns = turns if self.system else _without_system(turns)
        if not open_ or self.prompts:
            return self._whole(turns, open_)
        found = self._whole([*turns, Turn("assistant", (_LOOK[2],), learnt=True)], False)
        return Rendered(found.text[: found.answers[-1][0]], found.answers[:-1])

    def _whole(self, turns: Sequence[Turn], prompt: bool) -> Rendered:
        messages = self._messages(turns)
        text = _checked(self._render(messages, prompt), turns)
        marked, starts, ends = _taken_out(self._render([_marked(n, m) if turns[n].learnt else m for n, m in enumerate(messages)], prompt))
        if marked != text:
            raise BadValue("the decoder's chat template writes an answer differently when its ends are marked, so it cannot be told apart")
        answers = []
        for place, turn in enumerate(turns):
            if not turn.learnt:
                continue
            start, end = self._start(text, messages[:place], starts.get(place)), ends.get(place)
            if start is None or end is None or end < start:
                raise BadValue(f"the decoder's chat template leaves out answer {place + 1} of {len(turns)} turns, or a part of it")
            answers.append((start, end))
        return Rendered(text, tuple(answers))

    def _start(self, text: str, before: Sequence[Mapping[str, Any]], marked: int | None) -> int | None:
        """Where an answer begins: where the template stops when it asks for one, else where its words begin, with the space before."""
        try:
            asked = self._render(before, True) if self.prompts and before else None
        except BadValue:  # a template may want a question before anything else
            asked = None
        if asked is not None and text.startswith(asked):
            return len(asked)
        return None if marked is None else len(text[:marked].rstrip(" "))

    def _messages(self, turns: Sequence[Turn]) -> list[dict[str, Any]]:
        """As templates take them, slots numbered through all turns."""
        number = 0
        messages: list[dict[str, Any]] = []
        for turn in turns:
            content = ""
            for part in turn.parts:
                if isinstance(part, Slot):
                    content += f"{SLOT[0]}{number}{SLOT[1]}"
                    number += 1
                else:
                    content += self.guarded(part)
            messages.append({"role": turn.role, "content": content})
        return messages

    def guarded(self, text: str) -> str:
        """What people wrote, with marks around all that would become a control token."""
        return self._control.sub(f"{WORDS[0]}\\g<0>{WORDS[1]}", _RESERVED.sub("\ufffd", text))

    def _render(self, messages: Sequence[Mapping[str, Any]], prompt: bool) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        held = [{**m, "content": [{"type": "text", "text": m["content"]}]} if self._in_parts else dict(m) for m in messages]
        try:
            made: Any = render_jinja_template([held], chat_template=self._template, add_generation_prompt=prompt, **self._special)
        except Exception as error:  # of Jinja, or of Python where the template does what cannot be done
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise BadValue(f"the decoder's chat template refuses this conversation: {said}") from error
        return str(made[0][0])

    def _try(self) -> None:
        """What the template can: words of a system, contents that are texts, the beginning of an answer."""
        system, user, assistant = ({"role": r, "content": c} for r, c in zip(("system", "user", "assistant"), _LOOK, strict=True))
        problem: BadValue | None = None
        for self._in_parts in (False, True):
            try:
                if all(words in self._render([user, assistant], False) for words in _LOOK[1:]):
                    break
            except BadValue as error:
                problem = problem or error
        else:
            what = problem.what if problem else "the decoder's chat template leaves out what is said"
            raise InputError(what, where="chat_template", fix="mend the template, or remove it: the plain form is used then") from problem
        self.prompts = self._render([user], True) != self._render([user], False)
        try:
            self.system = _LOOK[0] in self._render([system, user, assistant], False)
        except BadValue:
            self.system = False

    def _plain(self, turns: Sequence[Turn], open_: bool, chat: bool) -> Rendered:
        """Of a tokenizer without a template: a line for each who speaks, or question and answer as they are."""
        text = self._begin
        answers: list[tuple[int, int]] = []
        for turn, message in zip(turns, self._messages(turns), strict=True):
            content = message["content"]
            if turn.role == "assistant":
                text += "Assistant:" if chat else ""
                start, text = len(text), text + (f" {content}" if chat else content)
                answers += [(start, len(text))] if turn.learnt else []
                text += f"{self._end}\n" if chat else self._end
            elif turn.role == "system":
                text += f"{content}\n\n"
            elif chat:
                text += f"User: {content}\n"
            else:
                text += f"{content}\n" if _SLOTS.sub("", content).strip() else content
        return Rendered(text + ("Assistant:" if open_ and chat else ""), tuple(answers))


def _id(number: int) -> str:
    return f"{ID[0]}{number}{ID[1]}"


def _without_system(turns: Sequence[Turn]) -> list[Turn]:
    """System words before the first question, for a template that has no place for them."""
    words = [part for turn in turns if turn.role == "system" for part in (*turn.parts, "\n\n")]
    rest = [turn for turn in turns if turn.role != "system"]
    first = next((place for place, turn in enumerate(rest) if turn.role == "user"), None)
    if not words or first is None:
        return rest
    asked = rest[first]
    return [*rest[:first], Turn(asked.role, (*words, *asked.parts), asked.learnt), *rest[first + 1 :]]


def _marked(number: int, message: Mapping[str, Any]) -> dict[str, Any]:
    """An answer with marks at its ends, inside of white space there: a template that takes that away still does."""
    text = message["content"]
    left, right = len(text) - len(text.lstrip()), len(text.rstrip())
    inner = f"{START[0]}{number}{START[1]}{text[left:right]}{END[0]}{number}{END[1]}"
    return {**message, "content": f"{text[:left]}{inner}{text[right:]}"}


def _taken_out(text: str) -> tuple[str, dict[int, int], dict[int, int]]:
    """The text without the marks of answers, and at which of its characters each began and ended."""
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    held, last = "", 0
    for mark in _ENDS.finditer(text):
        held += text[last : mark.start()]
        last = mark.end()
        if mark[1]:
            starts[int(mark[1])] = len(held)
        else:
            ends[int(mark[2])] = len(held)
    return held + text[last:], starts, ends


def _checked(text: str, turns: Sequence[Turn]) -> str:
    """That every slot is there once."""
    slots = sum(isinstance(part, Slot) for turn in turns for part in turn.parts)
    found = sorted(int(mark[1]) for mark in _SLOTS.finditer(text))
    if found != list(range(slots)):
        raise BadValue(f"the decoder's chat template makes {len(found)} places for media of {slots}")
    return text
