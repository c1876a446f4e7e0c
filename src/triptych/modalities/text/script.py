"""How a row becomes what a language model is asked: its question, with inputs in their places, and its answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from triptych.base.errors import BadValue, InputError
from triptych.base.files import write_json, write_text
from triptych.contract.generator import IDS, LEARNT, SLOTS, TEXT
from triptych.contract.values import Item, Packed

TOKENIZER, ABOUT = "tokenizer.json", "script.json"
NAMES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


class TextScript:
    """Implements `Script`."""

    def __init__(self, decoder: Any, inputs: Sequence[str]) -> None:
        """Not yet fitted: `fit` or `load` comes first."""
        self.decoder, self.inputs = decoder, list(inputs)
        self._tokenizer: Tokenizer | None = None
        self._about: dict[str, Any] = {}

    def fit(self, rows: Iterable[tuple[Any, Mapping[str, Any]]]) -> None:
        from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers

        specials = ["[PAD]", "[UNK]", "[END]", "[ANSWER]"]
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
        trainer = trainers.BpeTrainer(min_frequency=2, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), vocab_size=self.decoder.vocabulary, special_tokens=specials, show_progress=False)
        tokenizer.train_from_iterator(self._texts(rows), trainer)
        self._tokenizer = tokenizer
        self._about = {"stops": [2], "pad": 0}

    def _texts(self, rows) -> Iterator[str]:
        for task, cells in rows:
            for part in _parts(task.template):
                if isinstance(part, str):
                    yield part
            yield from (str(cell) for cell in cells.values())

    def columns(self, task: Any, inputs: Sequence[str]) -> list[str]:
        names = [part[0] for part in _parts(task.template) if not isinstance(part, str)]
        return list(dict.fromkeys([*(n for n in names if n not in inputs), task.target]))

    def item(self, task: Any, cells: Mapping[str, Any], inputs: Sequence[str]) -> Item:
        ids, slots = [], []
        for part in _parts(task.template):
            if not isinstance(part, str) and part[0] in self.inputs:
                if part[0] in inputs:
                    ids.append(0); slots.append(self.inputs.index(part[0]))
                continue
            text = part if isinstance(part, str) else str(cells.get(part[0], ""))
            got = self._ids(text)
            ids += got; slots += [TEXT] * len(got)
        ids.append(3); slots.append(TEXT)
        learnt = [False] * len(ids)
        if (answer := cells.get(task.target)) is not None:
            got = self.answer(str(answer))
            ids += got; slots += [TEXT] * len(got); learnt += [True] * len(got)
        return {"ids": torch.tensor(ids), "slot": torch.tensor(slots), "learnt": torch.tensor(learnt)}

    def answer(self, text: str) -> list[int]:
        return [*self._ids(text), 2]

    def _ids(self, text):
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def collate(self, items: Sequence[Item]) -> Packed:
        lengths = [len(item["ids"]) for item in items]
        rows, longest = len(items), max(lengths)
        made = {IDS: torch.full((rows, longest), int(self._about["pad"])), SLOTS: torch.full((rows, longest), TEXT), LEARNT: torch.zeros(rows, longest, dtype=torch.bool)}
        for row, item in enumerate(items):
            for name, key in ((IDS, "ids"), (SLOTS, "slot"), (LEARNT, "learnt")):
                made[name][row, : lengths[row]] = item[key]
        return Packed(made, torch.arange(longest) < torch.tensor(lengths)[:, None])

    def facts(self) -> dict[str, Any]:
        return {**self._about, "vocabulary": self._tokenizer.get_vocab_size()}

    def text(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def save(self, folder: Path) -> None:
        write_text(folder / TOKENIZER, self._tokenizer.to_str(pretty=True))
        write_json(folder / ABOUT, self._about)

    def load(self, folder: Path) -> None:
        self._about = json.loads((folder / ABOUT).read_text())
        self._tokenizer = Tokenizer.from_str((folder / TOKENIZER).read_text())


def _parts(template: str) -> list[str | tuple[str]]:
    found, start = [], 0
    for match in NAMES.finditer(template):
        found.append(template[start : match.start()])
        found.append((match[1],) if match[1] is not None else match[0][0])
        start = match.end()
    return [part for part in [*found, template[start:]] if part]
