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
from triptych.modalities.text.chat import Chat, chat_files
from triptych.modalities.text.generate import MOST, described
from triptych.modalities.text.messages import Turn, check_counts, read_messages
from triptych.modalities.text.settings import Cleaning
from triptych.modalities.text.tokenizer import PAD, START, train
from triptych.modalities.text.wording import Template

TOKENIZER, ABOUT = "tokenizer.json", "script.json"


class TextScript:
    """Implements `Script`: an item is `{"ids", "slot", "learnt"}`, each (T,)."""

    def __init__(self, decoder: Any, inputs: Mapping[str, str]) -> None:
        """Not yet fitted: `fit` or `load` comes first. `inputs` are the recipe's, each with its modality."""
        self.decoder, self.inputs = decoder, dict(inputs)
        self._tokenizer, self._about = "", dict[str, Any]()
        self._templates: dict[tuple[str, str | None], Template] = {}

    def fit(self, rows: Iterable[tuple[Any, Mapping[str, Any]]]) -> None:
        """Train a vocabulary of questions and answers, or take that of the pretrained model, which learns nothing.

        Raises:
            InputError: there is no text to learn from; the pretrained model cannot be had.
        """
        if self.decoder.kind == "pretrained":
            folder = hub.located(self.decoder.name, self.decoder.revision)
            word = hub.fingerprint(folder)
            held = hub.kept(f"chat/{word[:32]}.json", lambda: dict(zip(("tokenizer", "about"), chat_files(folder), strict=True)))
            self._tokenizer, self._about = held["tokenizer"], held["about"]
            longest = described(folder)["positions"] or MOST
            self._about = {**self._about, "longest": min(self.decoder.context or MOST, longest)}
        else:
            words = Cleaning(lowercase=False)
            vocabulary, _ = train(self.decoder.tokenizer, self.decoder.vocabulary, self._texts(rows), words)
            self._tokenizer = vocabulary.text()
            special = {"pad_token": PAD, "cls_token": START}
            self._about = {"template": None, "special": special, "stops": [], "longest": self.decoder.context}
        self.__dict__.pop("chat", None)

    def columns(self, task: Any, inputs: Sequence[str]) -> list[str]:
        """See `Script`."""
        return [task.messages] if task.messages else [*dict.fromkeys([*self._template(task).columns, task.target])]

    def item(self, task: Any, cells: Mapping[str, Any], inputs: Mapping[str, int], open: bool = False) -> Item:
        """See `Script`."""
        if task.messages:
            if cells.get(task.messages) is None:
                raise BadValue(f"the row has no {task.messages}")
            turns = read_messages(cells.get(task.messages), media=self._media)
            named = {part.name for turn in turns for part in turn.parts if not isinstance(part, str)}
            check_counts(turns, {name: count for name, count in inputs.items() if name in named or name in self._media.values()})
        else:
            answer = cells.get(task.target)
            turns = self._template(task).turns(cells, inputs, None if answer is None else str(answer))
        item = self.chat.encode(turns, open=open or not any(turn.learnt for turn in turns), chat=bool(task.messages))
        return {name: item[name] for name in ("ids", "slot", "learnt")}

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
        return {"vocabulary": self.chat.tokenizer.get_vocab_size(), "stops": list(self.chat.stops), "pad": self.chat.pad}

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
        return Chat(self._tokenizer, self._about, list(self.inputs))

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


def _named(task: Any) -> list[str]:
    """All names in braces; none where the braces do not match, which is said where the template is read."""
    try:
        return [name for words in (task.template, task.system or "") for _, name, _, _ in Formatter().parse(words) if name]
    except ValueError:
        return []
