"""Text -> token ids, with a tokenizer that is trained on the training rows or read from a file, and kept as one `tokenizer.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from triptych.base.errors import InputError
from triptych.base.files import write_json, write_text
from triptych.base.settings import parse, spelled_out
from triptych.contract.modality import Limit
from triptych.contract.values import Item, Packed
from triptych.modalities.text.clean import CONTROL, cleaned
from triptych.modalities.text.examine import MARKUP_SIGNS
from triptych.modalities.text.settings import BYTES_AND_SPECIALS, Prepare
from triptych.modalities.text.tokenizer import PAD_ID, START_ID, UNKNOWN_ID, Vocabulary, read_file, train

TOKENIZER, SETTINGS = "tokenizer.json", "prepare.json"
OFTEN = 0.05  # share of the texts from which cleaning is proposed

_TIDY = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4000, 8000, 16_000, 32_000)


class TextPreparation:
    """Implements `Preparation`: an item is `{"ids": int64 (T,), "total": int64 ()}`, `total` being the length before the cut.

    Every text starts with [CLS], so even one that holds no token gives one.
    """

    unknown = UNKNOWN_ID
    """The token of what is not in the vocabulary."""

    def __init__(self, settings: Prepare) -> None:
        """Not yet fitted: `fit` or `load` comes first."""
        self.settings = settings
        self._vocabulary: Vocabulary | None = None

    def fit(self, values: Iterable[str]) -> None:
        """Train the tokenizer, or take the one that the settings name, which learns nothing.

        Raises:
            InputError: there is no text at all to learn from; the file is no tokenizer.
        """
        file = self.settings.file
        self._vocabulary = read_file(file, self.settings) if file else self._trained(values)

    def prepare(self, values: Sequence[str]) -> list[Item]:
        """Texts -> items."""
        return [self._item([START_ID, *ids]) for ids in self._ids(self._fitted(), values)]

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> ids_PT, padded with [PAD] to the longest, and their mask."""
        lengths = [len(item["ids"]) for item in items]
        ids_PT = torch.full((len(items), max(lengths)), PAD_ID)
        for row, item in enumerate(items):
            ids_PT[row, : lengths[row]] = item["ids"]
        return Packed({"ids": ids_PT}, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])

    def facts(self) -> dict[str, int]:
        """The number of tokens in the vocabulary."""
        return {"vocabulary": self._fitted().size}

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` (readable by the `tokenizers` library) and `prepare.json`."""
        write_text(folder / TOKENIZER, self._fitted().text())
        write_json(folder / SETTINGS, spelled_out(self.settings))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        again = "copy the whole run folder again, or train again"
        try:
            self.settings = parse(Prepare, json.loads((folder / SETTINGS).read_text(encoding="utf-8")), str(folder / SETTINGS))
            self._vocabulary = read_file(folder / TOKENIZER)
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError("a file of the text preparation is missing", where=str(error.filename), fix=again) from error
        except (OSError, ValueError) as error:
            raise InputError(f"the text preparation is damaged: {error}", where=str(folder), fix=again) from error
        if self._vocabulary.shift and self.settings.file is None:
            raise InputError("this tokenizer was not made by triptych: its special tokens differ", where=str(folder / TOKENIZER), fix=again)

    def limit(self) -> Limit:
        """`max_tokens`."""
        return Limit("tokens", "max_tokens", self.settings.max_tokens, 1, learnt=self.settings.file is None)

    def lengths(self, values: Iterable[str]) -> list[float]:
        """Tokens of each text, the [CLS] included; while there is no tokenizer yet, of one that these texts alone give."""
        texts = list(values)
        file = self.settings.file
        held = self._vocabulary or (read_file(file, self.settings) if file else self._trained(texts))
        return [1.0 + len(ids) for ids in self._ids(held, texts)]

    def pieces(self, ids: Tensor) -> list[str]:
        """Each token as readable text."""
        return [self._fitted().piece(number) for number in ids.tolist()]

    def _trained(self, values: Iterable[str]) -> Vocabulary:
        return train(self.settings.tokenizer, self.settings.vocabulary, values, self.settings)[0]

    def _ids(self, held: Vocabulary, values: Sequence[str]) -> list[list[int]]:
        return held.ids([cleaned(value, self.settings) for value in values])

    def _item(self, ids: list[int]) -> Item:
        return {"ids": torch.tensor(ids[: self.settings.max_tokens]), "total": torch.tensor(len(ids))}

    def _fitted(self) -> Vocabulary:
        if self._vocabulary is None:
            fix = "call fit with the training texts, or load a saved preparation"
            raise InputError("the text preparation has no tokenizer yet", fix=fix)
        return self._vocabulary


def suggest(values: Sequence[str]) -> dict[str, Any]:
    """Room for 99 in 100 of the texts (a word is about 1.5 tokens), a vocabulary that fits the words, cleaning where it is needed."""
    if not values:
        return {}
    words = [re.findall(r"\w+|[^\w\s]", value.lower()) for value in values]
    # Five bytes a token holds where words are not set apart by spaces (Chinese, Japanese, Thai).
    tokens = sorted(max(1.5 * len(row), len(value.encode()) / 5) for row, value in zip(words, values, strict=True))
    different = len({word for row in words for word in row})
    longest = 1 + tokens[min(len(tokens) - 1, int(0.99 * len(tokens)))]
    vocabulary = max(512, _tidy(BYTES_AND_SPECIALS + 1.5 * different, 16_000))
    signs = {"strip_markup": MARKUP_SIGNS, "strip_control": CONTROL}
    cleaning = {word: True for word, sign in signs.items() if sum(bool(sign.search(v)) for v in values) > OFTEN * len(values)}
    return {"prepare": {"max_tokens": _tidy(longest, 1024), "vocabulary": vocabulary, **cleaning}}


def _tidy(number: float, most: int) -> int:
    return next(tidy for tidy in _TIDY if tidy >= number or tidy == most)
