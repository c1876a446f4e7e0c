"""Turns to ids, with a place for every medium and a mask that is true at what is learnt: answers and what ends them.

A tokenizer's own chat template decides how a conversation is written, and ids are those that transformers gives for it. Two
things are stricter here. What a person wrote never becomes a control token: `<|im_end|>` in a question is six words, not the end
of a turn. And an answer begins with a token of its own, as it does when it is written, so that a conversation that ends where the
answer begins is a prefix, id by id, of the one that goes on.

A tokenizer without a template has the plain form, a line for each who speaks (`User: ...`, `Assistant: ...`); or, where no chat
is wanted, the question, a new line where it has words, and the answer.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.base.errors import BadValue, InputError
from triptych.modalities.text.messages import Slot, Turn
from triptych.modalities.text.rendering import ID, SLOT, WORDS, Form

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from triptych.contract.values import Item

TEXT = -1
"""In `slot`, where a word stands and no medium."""
ENDS = ("eos_token", "sep_token", "bos_token", "cls_token")
"""The tokens that may end an answer in the plain form, best first: GPT-2 has one for both ends of a text."""
_MARKS = re.compile(
    f"{SLOT[0]}(?P<slot>\\d+){SLOT[1]}|{ID[0]}(?P<id>\\d+){ID[1]}|{WORDS[0]}(?P<words>[^{WORDS[1]}]*){WORDS[1]}|[\ufdd0-\ufdef]"
)
_LOOK = (Turn("user", ("What is it?",)), Turn("assistant", ("It is so.",), learnt=True))
TOKENIZERS = ("tokenizer.json", "*.model", "vocab*", "*.vocab")
"""Names of files that hold a vocabulary."""
UNLIMITED = 100_000
SHORTER = "shorten the answer, or give the decoder more room: decoder.context"


def chat_files(folder: Path) -> tuple[str, dict[str, Any]]:
    """The tokenizer of a base (as `tokenizer.json` has it) and the facts that `Chat` wants, both to be kept in files.

    Raises:
        InputError: there is no tokenizer, or it cannot be read.
    """
    import json

    from transformers import AutoTokenizer

    try:
        held = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        text = held.backend_tokenizer.to_str()
    except Exception as error:  # transformers and tokenizers raise all kinds
        said = (str(error).strip() or "nothing is said").splitlines()[0]
        what = f"the tokenizer of the decoder cannot be read: {said}"
        if not any(one.match(word) for word in TOKENIZERS for one in folder.iterdir()):
            what = "the decoder has weights and no tokenizer"
        fix = "copy or download the tokenizer's files too: tokenizer.json, or vocab and merges"
        raise InputError(what, where=str(folder), fix=fix) from error
    template = held.chat_template
    if isinstance(template, dict):
        template = template.get("default", next(iter(template.values()), None))
    about = folder / "generation_config.json"
    told = json.loads(about.read_text(encoding="utf-8")).get("eos_token_id") if about.exists() else None
    stops = [told] if isinstance(told, int) else list(told or [])
    longest = held.model_max_length if held.model_max_length < UNLIMITED else 0
    special = {name: value for name, value in held.special_tokens_map.items() if isinstance(value, str)}
    if template and "date_string" in template:  # else a model would be asked otherwise tomorrow
        special["date_string"] = datetime.date.today().strftime("%d %b %Y")
    return text, {"template": template, "special": special, "stops": stops, "longest": longest}


class Chat:
    """Conversations for one tokenizer."""

    def __init__(self, tokenizer_json: str, facts: Mapping[str, Any], slots: Sequence[str] = ()) -> None:
        """Read the tokenizer and try its template.

        Args:
            tokenizer_json: what the `tokenizers` library writes.
            facts: `template` (Jinja, or None), `special` ({eos_token: "</s>" ...}), `longest` (0: no end), `stops` (more ids that end
                an answer).
            slots: names of the inputs; the k-th of them has number k in `slot`, its item i the number `k + i * len(slots)`.

        Raises:
            InputError: it is no tokenizer, has no token that ends a text, or its template cannot be rendered.
        """
        import json

        from tokenizers import Tokenizer

        try:
            self.tokenizer = Tokenizer.from_str(tokenizer_json)
            told = json.loads(tokenizer_json)
            self._bare = Tokenizer.from_str(json.dumps({**told, "added_tokens": [], "post_processor": None}))
        except Exception as error:  # the tokenizers library raises bare Exception
            raise InputError(f"this is no tokenizer.json: {error}", where="tokenizer.json") from error
        for held in (self.tokenizer, self._bare):
            held.no_padding()
            held.no_truncation()
        self.slots, self.longest = list(slots), int(facts.get("longest") or 0)
        template, special = facts.get("template"), dict(facts.get("special") or {})
        end = self._named(special, ENDS)
        if end is None:
            known = [name for name in special if name.endswith("_token")]
            raise InputError("the tokenizer has no token that ends a text", known=known, fix="name one: eos_token in tokenizer_config.json")
        pad = self._named(special, ("pad_token",))
        self.pad = end if pad is None else pad
        added = told.get("added_tokens") or []
        control = [t["content"] for t in added if t["special"] or (template and t["content"] in template and t["content"].strip())]
        apart = [t["content"] for t in added if t["special"] and not t["lstrip"] and not t["single_word"]]
        self._apart = re.compile("|".join(map(re.escape, sorted(apart, key=len, reverse=True))) or "(?!)")
        self._end = end
        enders = [t for t in apart if t != special.get("bos_token") or self.tokenizer.token_to_id(t) == end]
        self._stop = re.compile(f"\\s*(?:{'|'.join([f'{ID[0]}{end}{ID[1]}', *map(re.escape, sorted(enders, key=len, reverse=True))])})")
        self.form = Form(template, special, control, end, self._begins())
        ids, learnt = (self._encoded(list(_LOOK), False, True)[name] for name in ("ids", "learnt"))
        last = max(place for place, is_learnt in enumerate(learnt) if is_learnt)
        self.stops: tuple[int, ...] = tuple(dict.fromkeys([int(ids[last]), end, *map(int, facts.get("stops") or ())]))

    def encode(self, turns: Sequence[Turn], open: bool = False, *, chat: bool = True, most: int | None = None) -> Item:
        """A conversation as an item: `ids` int64 (T,), `slot` int64 (T,), `learnt` bool (T,) and `total` int64 (), T before a cut.

        Args:
            turns: who says what. Media slots take one place each and have the id `pad`.
            open: end where the answer begins; answers that the turns end with are left away.
            chat: whether the plain form says who speaks; a tokenizer with a template has its own form.
            most: places there are, by default the tokenizer's own end; a question that is too long loses words from the left of
                its longest text.

        Raises:
            BadValue: there is nothing to learn, or no question; the answers are too long; the template refuses the turns.
        """
        import torch

        held = list(turns)
        while open and held and held[-1].role == "assistant":
            held.pop()
        if not held:
            raise BadValue("there is no question")
        if not open and not any(turn.learnt for turn in held):
            raise BadValue("there is no answer to learn")
        if any(turn.learnt and not "".join(p for p in turn.parts if isinstance(p, str)).strip() for turn in held):
            raise BadValue("an answer is empty")
        made, total = self._fitting(held, open, chat, self.longest if most is None else most)
        return {
            "ids": torch.tensor(made["ids"], dtype=torch.int64),
            "slot": torch.tensor(made["slot"], dtype=torch.int64),
            "learnt": torch.tensor(made["learnt"], dtype=torch.bool),
            "total": torch.tensor(total),
        }

    def text(self, ids: Sequence[int]) -> str:
        """What was written, up to what ends it, as a person reads it."""
        held = [int(number) for number in ids]
        stop = next((place for place, number in enumerate(held) if number in self.stops), len(held))
        return str(self.tokenizer.decode(held[:stop], skip_special_tokens=True)).strip()

    def _fitting(self, turns: list[Turn], open_: bool, chat: bool, most: int) -> tuple[dict[str, list[int]], int]:
        """The conversation in `most` places (0: any number), and how many it wanted."""
        made = self._encoded(turns, open_, chat)
        total = len(made["ids"])
        while (over := self._over(made, most)) > 0:
            turns = self._shortened(turns, over, total, most)
            made = self._encoded(turns, open_, chat)
        return made, total

    def _over(self, made: Mapping[str, Sequence[int]], most: int) -> int:
        """How many places too many there are, where there may be `most` (0: any number)."""
        return len(made["ids"]) - most if most else 0

    def _shortened(self, turns: list[Turn], over: int, total: int, most: int) -> list[Turn]:
        """Without about `over` tokens' worth of words at the left of the longest text of a question.

        Raises:
            BadValue: nothing would be left of the questions.
        """
        texts = {(n, k): p for n, t in enumerate(turns) if t.role == "user" for k, p in enumerate(t.parts) if isinstance(p, str) and p}
        if not texts:
            what = f"question and answer take {total:,} places, the decoder has {most:,}, and the answer alone fills them"
            raise BadValue(what, fix=SHORTER)
        turn, part = max(texts, key=lambda at: len(texts[at]))
        parts = list(turns[turn].parts)
        parts[part] = _without_left(texts[turn, part], self._bare.encode(texts[turn, part], add_special_tokens=False).offsets, over)
        made = [*turns[:turn], replace(turns[turn], parts=tuple(parts)), *turns[turn + 1 :]]
        if not any(part for t in made if t.role == "user" for part in t.parts):
            what = f"question and answer take {total:,} places and the decoder has {most:,}, so nothing would be left of the question"
            raise BadValue(what, fix=SHORTER)
        return made

    def _encoded(self, turns: list[Turn], open_: bool, chat: bool) -> dict[str, list[int]]:
        """Ids, slots and whether each is learnt."""
        found = self.form.rendered(turns, open_, chat)
        text, spans = self._ended(found.text, found.answers, open_)
        numbers = self._numbers(turns)
        made: dict[str, list[int]] = {"ids": [], "slot": [], "learnt": []}
        for start, ids, slot in self._pieces(text, sorted({edge for span in spans for edge in span})):
            made["ids"] += ids
            made["slot"] += [TEXT if slot is None else numbers[slot]] * len(ids)
            made["learnt"] += [not open_ and any(first <= start < last for first, last in spans)] * len(ids)
        return made

    def _ended(self, text: str, answers: Sequence[tuple[int, int]], open_: bool) -> tuple[str, list[tuple[int, int]]]:
        """The answers with the token that ends each. Where a template ends them with none, the last gets the one that ends texts."""
        spans = []
        for number, (start, end) in enumerate(answers):
            stop = self._stop.match(text, end)
            if stop is None and number == len(answers) - 1 and not open_:
                mark = f"{ID[0]}{self._end}{ID[1]}"
                text = text[:end] + mark + text[end:]
                spans.append((start, end + len(mark)))
            else:
                spans.append((start, stop.end() if stop else end))
        return text, spans

    def _numbers(self, turns: Sequence[Turn]) -> list[int]:
        """What stands in `slot` for each medium of a conversation, in the order of its turns."""
        media = [part for turn in turns for part in turn.parts if isinstance(part, Slot)]
        for name, _ in media:
            if name not in self.slots:
                raise BadValue(f"a place for {name!r} is named, and there is no such input", known=self.slots)
        return [self.slots.index(name) + item * len(self.slots) for name, item in media]

    def _pieces(self, text: str, cuts: Sequence[int]) -> Iterator[tuple[int, list[int], int | None]]:
        """(where in the text, ids, number of a slot) of each piece; none of them crosses a cut."""
        done = 0
        for mark in [*_MARKS.finditer(text), None]:
            end = mark.start() if mark else len(text)
            yield from ((at, ids, None) for at, ids in self._run(text, done, end, cuts))
            if mark is None:
                return
            done = mark.end()
            if mark["slot"]:
                yield mark.start(), [self.pad], int(mark["slot"])
            elif mark["id"]:
                yield mark.start(), [int(mark["id"])], None
            elif mark["words"]:
                yield mark.start(), self._as_words(mark["words"]), None

    def _run(self, text: str, start: int, end: int, cuts: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Text without marks. The tokenizer sets special tokens apart before it reads on, so each begins a piece of its own."""
        edges = [start, *(found.start() for found in self._apart.finditer(text, start, end) if found.start() > start), end]
        for first, last in pairwise(edges):
            inner = [cut for cut in cuts if first < cut < last]
            within = first > 0 and first == start and not self._apart.match(text, first, last)
            yield from self._section(text, first, last, inner, within)

    def _section(self, text: str, first: int, last: int, cuts: Sequence[int], within: bool) -> Iterator[tuple[int, list[int]]]:
        """Ids as they are of the whole, cut where they agree with those of the text up to the cut; else from there on anew."""
        whole = self._ids(self.tokenizer, text[first:last], within)
        done = 0
        for number, cut in enumerate(cuts):
            before = self._ids(self.tokenizer, text[first:cut], within)
            agree = whole[: len(before)] == before and len(before) >= done
            yield (cuts[number - 1] if number else first), before[done:]
            if not agree:
                yield from self._section(text, cut, last, cuts[number + 1 :], True)
                return
            done = len(before)
        yield (cuts[-1] if cuts else first), whole[done:]

    @staticmethod
    def _ids(tokenizer: Tokenizer, text: str, within: bool) -> list[int]:
        """The ids of a text; `within`: of one that others go before, so that no space is put in front (as SentencePiece does)."""
        for before in ("\n", ".", "a") if within and text else ():  # one with which the text does not come to a single token
            first, both = (tokenizer.encode(some, add_special_tokens=False).ids for some in (before, f"{before}{text}"))
            if both[: len(first)] == first:
                return list(both[len(first) :])
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    def _as_words(self, text: str) -> list[int]:
        """What somebody wrote that looks like a control token, as plain words."""
        ids = self._ids(self._bare, text, True)
        if self.tokenizer.token_to_id(text) not in ids:
            return ids
        return [*self._ids(self._bare, text[:1], True), *self._ids(self._bare, text[1:], True)]

    def _begins(self) -> list[int]:
        """The ids that the tokenizer puts before any text."""
        word, whole = (list(self.tokenizer.encode("a", add_special_tokens=special).ids) for special in (False, True))
        ends = next((n for n in range(len(whole)) if whole[n : n + len(word)] == word), 0)
        return whole[:ends]

    def _named(self, special: Mapping[str, Any], names: Sequence[str]) -> int | None:
        """The id of the first of these tokens that there is."""
        found = (self.tokenizer.token_to_id(special[name]) for name in names if isinstance(special.get(name), str))
        return next((int(number) for number in found if number is not None), None)


def _without_left(text: str, offsets: Sequence[tuple[int, int]], tokens: int) -> str:
    """A text without the words that hold its first so many tokens."""
    cut = max(offsets[tokens][0], 1) if tokens < len(offsets) else len(text)
    if not text[cut - 1 : cut].isspace():
        space = re.compile(r"\s").search(text, cut)
        cut = space.end() if space else cut
    return text[cut:].lstrip()
