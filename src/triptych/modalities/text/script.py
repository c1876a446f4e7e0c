"""How a row becomes what a language model is asked: its question, with inputs in their places, and its answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from string import Formatter
from typing import Any

import torch

from triptych.base import hub
from triptych.base.errors import BadValue, InputError
from triptych.base.files import write_json, write_text
from triptych.contract.generator import IDS, LEARNT, SLOTS, TEXT
from triptych.contract.values import Item, Packed
from triptych.modalities.text.apart import Apart
from triptych.modalities.text.bases import APART, CAUSAL, HEARD, check_ids, context_of, described, folder_of
from triptych.modalities.text.chat import Chat, chat_files
from triptych.modalities.text.messages import Turn, check_counts, read_messages
from triptych.modalities.text.settings import Cleaning
from triptych.modalities.text.tokenizer import PAD, START, train
from triptych.modalities.text.wording import Template

TOKENIZER, ABOUT = "tokenizer.json", "script.json"
MULTILINGUAL = 51865
"""Entries of the vocabulary of a Whisper of many languages, at least."""


class TextScript:
    """Implements `Script`: an item is `{"ids", "slot", "learnt"}`, each (T,), and `total` (), T before a question was cut."""

    def __init__(self, decoder: Any, inputs: Mapping[str, str]) -> None:
        """Not yet fitted: `fit` or `load` comes first. `inputs` are the recipe's, each with its modality."""
        self.decoder, self.inputs = decoder, dict(inputs)
        self._tokenizer, self._about = "", dict[str, Any]()
        self._templates: dict[tuple[str, str | None], Template] = {}

    def fit(self, rows: Iterable[tuple[Any, Mapping[str, Any]]]) -> None:
        """Train a vocabulary of questions and answers, or take that of the pretrained model, which learns nothing.

        Raises:
            InputError: there is no text to learn from; the pretrained model cannot be had, or its tokenizer is that of another.
        """
        if self.decoder.kind == "pretrained":
            self._take(folder_of(self.decoder))
        else:
            words = Cleaning(lowercase=False)
            vocabulary, _ = train(self.decoder.tokenizer, self.decoder.vocabulary, self._texts(rows), words)
            self._tokenizer = vocabulary.text()
            special = {"pad_token": PAD, "cls_token": START}
            self._about = {"template": None, "special": special, "stops": [], "longest": self.decoder.context}
        self.__dict__.pop("chat", None)
        if self.decoder.kind == "pretrained":
            check_ids(self.decoder.name, self.facts()["vocabulary"], described(folder_of(self.decoder))["vocabulary"])

    def _take(self, folder: Path) -> None:
        """The tokenizer of a pretrained model, and what its form wants to know."""
        word = hub.fingerprint(folder)
        held = hub.kept(f"chat/{word[:32]}.json", lambda: dict(zip(("tokenizer", "about"), chat_files(folder), strict=True)))
        known = described(folder)
        longest = context_of(self.decoder, known)
        self._tokenizer, self._about = held["tokenizer"], {**held["about"], "longest": longest, "form": known["form"]}
        spoken = spoken_of(self.decoder, folder)
        if known["form"] != CAUSAL:
            room = known["positions"] - (len(spoken or ()) + 2) if known["positions"] else 0
            more = {"start": known["start"], "room": room, "heard": known["form"] == HEARD, "spoken": spoken}
            self._about = {**self._about, **more}

    def columns(self, task: Any, inputs: Sequence[str]) -> list[str]:
        """See `Script`."""
        return [task.messages] if task.messages else [*dict.fromkeys([*self._template(task).columns, task.target])]

    def item(self, task: Any, cells: Mapping[str, Any], inputs: Mapping[str, int], open: bool = False) -> Item:
        """See `Script`."""
        if task.messages:
            if cells.get(task.messages) is None:
                raise BadValue(f"there is no conversation: {task.messages} is empty")
            turns = read_messages(cells[task.messages], media=self._media)
            named = {part.name for turn in turns for part in turn.parts if not isinstance(part, str)}
            check_counts(turns, {name: count for name, count in inputs.items() if name in named or name in self._media.values()})
        else:
            answer = cells.get(task.target)
            turns = self._template(task).turns(cells, inputs, None if answer is None else str(answer))
        if self._about.get("form") == HEARD:
            _only_heard(turns)
        item = self.chat.encode(turns, open=open or not any(turn.learnt for turn in turns), chat=bool(task.messages))
        if turns[-1].learnt and not open and int(item["learnt"].sum()) <= 1:  # its end alone: the model would learn to say nothing
            raise BadValue("the decoder's vocabulary has no token for anything in the answer", fix="decoder.tokenizer: bpe")
        return item

    def answer(self, text: str) -> list[int]:
        """See `Script`."""
        turns = [Turn("user", ("-",)), Turn("assistant", (text,), learnt=True)]
        item = self.chat.encode(turns, chat=False, most=0)
        return [int(number) for number in item["ids"][item["learnt"]]]

    def collate(self, items: Sequence[Item]) -> Packed:
        """See `Script`."""
        lengths = torch.tensor([len(item["ids"]) for item in items])
        rows, longest = len(items), int(lengths.max())
        ids_PT, slot_PT = torch.full((rows, longest), self.chat.pad), torch.full((rows, longest), TEXT)
        learnt_PT = torch.zeros(rows, longest, dtype=torch.bool)
        for row, item in enumerate(items):
            for made, name in ((ids_PT, "ids"), (slot_PT, "slot"), (learnt_PT, "learnt")):
                made[row, : lengths[row]] = item[name]
        return Packed({IDS: ids_PT, SLOTS: slot_PT, LEARNT: learnt_PT}, torch.arange(longest) < lengths[:, None])

    def facts(self) -> dict[str, Any]:
        """See `Script`."""
        known = max(self.chat.tokenizer.get_vocab().values()) + 1
        prompt = {"prompt": self.chat.prompt} if isinstance(self.chat, Apart) else {}
        return {"vocabulary": known, "stops": list(self.chat.stops), "pad": self.chat.pad, **prompt}

    def text(self, ids: Sequence[int]) -> str:
        """See `Script`."""
        return self.chat.text(ids)

    def shown(self, item: Item) -> str:
        """See `Script`."""
        told, names = [], list(self.inputs)
        for number, run in groupby(zip(item["ids"].tolist(), item["slot"].tolist(), strict=True), key=lambda pair: pair[1]):
            ids = [one for one, _ in run]
            told.append(self.chat.tokenizer.decode(ids, skip_special_tokens=False) if number == TEXT else f"<{names[number % len(names)]}>")
        return "".join(told).strip()

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` (readable by the `tokenizers` library) and `script.json`."""
        write_text(folder / TOKENIZER, self._tokenizer)
        write_json(folder / ABOUT, self._about)

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        again = "copy the whole run folder again, or train again"
        try:
            self._about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self._tokenizer = (folder / TOKENIZER).read_text(encoding="utf-8")
            self.__dict__.pop("chat", None)
            self.chat  # noqa: B018 it is made here, so that what is wrong shows here
        except FileNotFoundError as error:
            raise InputError("a file of the decoder's script is missing", where=str(error.filename), fix=again) from error
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"the decoder's script is damaged: {error}", where=str(folder), fix=again) from error

    @cached_property
    def chat(self) -> Chat:
        """The form of conversations for the decoder."""
        if not self._tokenizer:
            raise InputError("the script has no vocabulary yet", fix="call fit with training rows, or load a saved one")
        kind = Apart if self._about.get("form") in (APART, HEARD) else Chat
        return kind(self._tokenizer, self._about, list(self.inputs))

    @cached_property
    def _media(self) -> dict[str, str]:
        """The input that takes each medium of a conversation: the first of its modality."""
        found: dict[str, str] = {}
        for name, modality in self.inputs.items():
            found.setdefault(modality, name)
        return {**found, **{name: name for name in self.inputs}}

    def _template(self, task: Any) -> Template:
        """A task's words; names in them that are no inputs are columns, and whether there are such is seen where the table is."""
        key = task.template, task.system
        if key not in self._templates:
            columns = [name for name in _named(task) if name not in self.inputs]
            self._templates[key] = Template(task.template, task.system, list(self.inputs), columns)
        return self._templates[key]

    def _texts(self, rows: Iterable[tuple[Any, Mapping[str, Any]]]) -> Iterator[str]:
        """All that is said in some rows."""
        for task, cells in rows:
            try:
                if task.messages:
                    turns = read_messages(cells.get(task.messages), media=self._media)
                else:
                    turns = self._template(task).turns(cells, dict.fromkeys(self.inputs, 1), str(cells.get(task.target, "")))
            except BadValue:  # costs its row where rows are looked through
                continue
            yield from (part for turn in turns for part in turn.parts if isinstance(part, str))


def spoken_of(decoder: Any, folder: Path) -> list[str] | None:
    """The words of Whisper's prompt, `[language, task]`; None of a model that knows one language, and of others.

    Raises:
        InputError: the recipe says a language of a model that has no choice, or none of one that has.
    """
    several = hub.config(folder)["model_type"] == "whisper" and multilingual(folder)
    if several and decoder.language is None:
        what = f"{decoder.name} knows many languages, and the recipe does not say which is spoken"
        raise InputError(what, where="decoder.language", fix=f"decoder: {{kind: pretrained, name: {decoder.name}, language: en}}")
    if not several and (decoder.language is not None or decoder.speech != "transcribe"):
        word = "language" if decoder.language is not None else "speech"
        raise InputError(f"decoder.{word} is for a Whisper of many languages, and {decoder.name} is none", fix=f"remove decoder.{word}")
    return [decoder.language, decoder.speech] if several else None


def multilingual(folder: Path) -> bool:
    """Whether a Whisper knows several languages: what its makers say, else by its vocabulary, which has one id more then."""
    path = folder / "generation_config.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return bool(told.get("is_multilingual", int(hub.config(folder).get("vocab_size", 0)) >= MULTILINGUAL))


def _only_heard(turns: Sequence[Turn]) -> None:
    """Raise InputError where a question has words, BadValue where there is nothing to listen to."""
    asked = [part for turn in turns if not turn.learnt for part in turn.parts]
    if any(isinstance(part, str) for part in asked):
        what = "the decoder is Whisper's, which listens and reads no words, and the question has some"
        raise InputError(what, where="template", fix='template: "{INPUT}", the input alone')
    if not asked:
        raise BadValue("there is nothing to listen to")


def _named(task: Any) -> list[str]:
    """All names in braces; none where the braces do not match, which is said where the template is read."""
    try:
        return [name for words in (task.template, task.system or "") for _, name, _, _ in Formatter().parse(words) if name]
    except ValueError:
        return []
