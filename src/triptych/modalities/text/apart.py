"""Questions and answers of a model of two halves: an encoder reads the one, a decoder of its own writes the other.

A row's ids are those of the question as the tokenizer makes them of a text, ends and all, and after them those of the answer as a text of
its own. There is no chat template; words of several speakers stand one below the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from triptych.base.errors import BadValue, InputError
from triptych.contract.generator import TEXT
from triptych.modalities.text.chat import Chat
from triptych.modalities.text.messages import Turn

FIRST, PLAIN = "<|startoftranscript|>", "<|notimestamps|>"
"""Whisper's: a transcript begins; it tells no times."""


class Apart(Chat):
    """Conversations for a tokenizer of such a model. Of several answers the last is learnt, the others belong to the question."""

    def __init__(self, tokenizer_json: str, facts: Mapping[str, Any], slots: Sequence[str] = ()) -> None:
        """See `Chat`. Facts have besides: `heard` (words are not read), `room` (most ids of an answer; 0: no end), `start`, `spoken`."""
        self.heard, self.room = bool(facts.get("heard")), int(facts.get("room") or 0)
        super().__init__(tokenizer_json, {**facts, "template": None}, slots)
        self.prompt = self._prompt(facts.get("start"), facts.get("spoken"))

    def _encoded(self, turns: list[Turn], open_: bool, chat: bool) -> dict[str, list[int]]:
        """See `Chat`."""
        answered = turns[-1].learnt and not open_
        asked = turns[:-1] if answered else turns
        numbers = self._numbers(asked)
        text = self.form.rendered(asked, True, chat and len(asked) > 1).text.rstrip("\n")
        made: dict[str, list[int]] = {"ids": [], "slot": [], "learnt": []}
        for _, ids, slot in self._pieces(text, []):
            if slot is not None or not self.heard:
                made["ids"] += ids
                made["slot"] += [TEXT if slot is None else numbers[slot]] * len(ids)
        after = [] if self.heard else self._after
        answer = self._answer(turns[-1]) if answered else []
        made["ids"] += [*after, *answer]
        made["slot"] += [TEXT] * (len(after) + len(answer))
        made["learnt"] = [0] * (len(made["ids"]) - len(answer)) + [1] * len(answer)
        return made

    def _answer(self, turn: Turn) -> list[int]:
        """An answer as a text of its own, and what ends it. Whisper's begin with a space."""
        text = "".join(part for part in turn.parts if isinstance(part, str))
        text = self.form.guarded(f" {text.strip()}" if self.heard else text)
        ids = [number for _, some, _ in self._pieces(text, []) for number in some]
        return [*ids, *(self._after or [self._end])]

    def _over(self, made: Mapping[str, Sequence[int]], most: int) -> int:
        """Only what the encoder reads is counted. Raises BadValue where the answer is longer than the decoder."""
        said = sum(made["learnt"])
        if most and self.room and said > self.room:
            raise BadValue(f"the answer takes {said} places and the decoder has {self.room}", fix="shorten the answer")
        return len(made["ids"]) - said - most if most else 0

    @cached_property
    def _after(self) -> list[int]:
        """The ids that the tokenizer puts after any text."""
        word, whole = (list(self.tokenizer.encode("a", add_special_tokens=special).ids) for special in (False, True))
        return whole[len(self._begins()) + len(word) :]

    def _prompt(self, start: int | None, spoken: Sequence[str] | None) -> list[int]:
        """What the decoder is given before it writes: where it starts, and what the tokenizer puts before a text."""
        if self.heard:
            return self._spoken(spoken)
        begins = self._begins()
        first = [self.pad if start is None else int(start)]
        return begins if begins[:1] == first else [*first, *begins]

    def _spoken(self, spoken: Sequence[str] | None) -> list[int]:
        """Whisper's prompt: language and task, of a model that knows several."""
        words = [FIRST, *(f"<|{word}|>" for word in spoken or ()), PLAIN]
        ids = [self.tokenizer.token_to_id(word) for word in words]
        if None in ids:
            strange = words[ids.index(None)]
            raise InputError(
                f"the tokenizer of the decoder has no {strange}", where="decoder", fix="language: en, or another that it knows"
            )
        return [number for number in ids if number is not None]
