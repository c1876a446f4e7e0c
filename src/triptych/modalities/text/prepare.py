"""Text -> token ids, with a tokenizer trained on the training rows and kept as one `tokenizer.json`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from triptych.base.errors import InputError
from triptych.base.files import write_json, write_text
from triptych.base.settings import parse, spelled_out
from triptych.contract.values import Item, Packed
from triptych.modalities.text.settings import BYTES_AND_SPECIALS, Prepare

PAD, UNKNOWN, START = SPECIALS = ("[PAD]", "[UNK]", "[CLS]")
PAD_ID, UNKNOWN_ID, START_ID = range(3)
TOKENIZER, SETTINGS = "tokenizer.json", "prepare.json"

_TIDY = (16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4000, 8000, 16_000, 32_000)


class TextPreparation:
    """Implements `Preparation`: an item is `{"ids": int64 (T,), "total": int64 ()}`, `total` being the length before the cut.

    Every text starts with [CLS], so even one that holds no token gives one.
    """

    def __init__(self, settings: Prepare) -> None:
        """Not yet fitted: `fit` or `load` comes first."""
        self.settings = settings
        self._tokenizer: Tokenizer | None = None

    def fit(self, values: Iterable[str]) -> None:
        """Train the tokenizer. The same texts in the same order give the same file, byte for byte.

        Raises:
            InputError: there is no text at all to learn from.
        """
        count = 0

        def counted() -> Iterator[str]:
            nonlocal count
            for value in values:
                count += 1
                yield value

        tokenizer, trainer = _untrained(self.settings)
        tokenizer.train_from_iterator(counted(), trainer)
        if not count:
            what = "there are no training texts to learn a vocabulary from"
            raise InputError(what, fix="check the split: some training rows must have this input")
        self._tokenizer = _literal(tokenizer)

    def prepare(self, values: Sequence[str]) -> list[Item]:
        """Texts -> items."""
        encodings = self._fitted().encode_batch(list(values), add_special_tokens=False)
        return [self._item([START_ID, *encoding.ids]) for encoding in encodings]

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> ids_PT, padded with [PAD] to the longest, and their mask."""
        lengths = [len(item["ids"]) for item in items]
        ids_PT = torch.full((len(items), max(lengths)), PAD_ID)
        for row, item in enumerate(items):
            ids_PT[row, : lengths[row]] = item["ids"]
        return Packed({"ids": ids_PT}, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])

    def facts(self) -> dict[str, int]:
        """The number of tokens in the vocabulary."""
        return {"vocabulary": self._fitted().get_vocab_size()}

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` (readable by the `tokenizers` library) and `prepare.json`."""
        write_text(folder / TOKENIZER, self._fitted().to_str(pretty=True))
        write_json(folder / SETTINGS, spelled_out(self.settings))

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        again = "copy the whole run folder again, or train again"
        try:
            self.settings = parse(Prepare, json.loads((folder / SETTINGS).read_text(encoding="utf-8")), str(folder / SETTINGS))
            self._tokenizer = _literal(Tokenizer.from_str((folder / TOKENIZER).read_text(encoding="utf-8")))
        except InputError:
            raise
        except FileNotFoundError as error:
            raise InputError("a file of the text preparation is missing", where=str(error.filename), fix=again) from error
        except Exception as error:  # the tokenizers library raises bare Exception
            raise InputError(f"the text preparation is damaged: {error}", where=str(folder), fix=again) from error
        if [self._tokenizer.token_to_id(special) for special in SPECIALS] != [PAD_ID, UNKNOWN_ID, START_ID]:
            raise InputError("this tokenizer was not made by triptych: its special tokens differ", where=str(folder / TOKENIZER), fix=again)

    def pieces(self, ids: Tensor) -> list[str]:
        """Each token as readable text, leading space and all; a token that is a part of a character as its bytes (`0xC3`)."""
        return [self._piece(number) for number in ids.tolist()]

    def _piece(self, number: int) -> str:
        tokenizer = self._fitted()
        raw = str(tokenizer.id_to_token(number))
        if number < len(SPECIALS) or self.settings.tokenizer == "word":
            return raw
        text = str(tokenizer.decode([number], skip_special_tokens=False))
        return text if "\ufffd" not in text else "".join(f"0x{_BYTE_OF[letter]:02X}" for letter in raw)

    def _item(self, ids: list[int]) -> Item:
        return {"ids": torch.tensor(ids[: self.settings.max_tokens]), "total": torch.tensor(len(ids))}

    def _fitted(self) -> Tokenizer:
        if self._tokenizer is None:
            fix = "call fit with the training texts, or load a saved preparation"
            raise InputError("the text preparation has no tokenizer yet", fix=fix)
        return self._tokenizer


def suggest(values: Sequence[str]) -> dict[str, Any]:
    """Room for 99 in 100 of the texts (a word is about 1.5 tokens), and a vocabulary in keeping with the words there are."""
    if not values:
        return {}
    words = [re.findall(r"\w+|[^\w\s]", value.lower()) for value in values]
    # Five bytes a token holds where words are not set apart by spaces (Chinese, Japanese, Thai).
    tokens = sorted(max(1.5 * len(row), len(value.encode()) / 5) for row, value in zip(words, values, strict=True))
    different = len({word for row in words for word in row})
    longest = 1 + tokens[min(len(tokens) - 1, int(0.99 * len(tokens)))]
    return {"prepare": {"max_tokens": _tidy(longest, 1024), "vocabulary": max(512, _tidy(BYTES_AND_SPECIALS + 1.5 * different, 16_000))}}


def _tidy(number: float, most: int) -> int:
    return next(tidy for tidy in _TIDY if tidy >= number or tidy == most)


def _untrained(settings: Prepare) -> tuple[Tokenizer, Any]:
    """Byte-level pairs as in GPT-2 (Radford et al. 2019), or whole words and signs."""
    common: dict[str, Any] = {"vocab_size": settings.vocabulary, "special_tokens": list(SPECIALS), "show_progress": False}
    if settings.tokenizer == "bpe":
        tokenizer = Tokenizer(models.BPE())
        # A space is put before the first word, so that "seven" is the same token at the start of a text and within it.
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
        trainer: Any = trainers.BpeTrainer(min_frequency=2, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), **common)
    else:
        tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        trainer = trainers.WordLevelTrainer(min_frequency=1, **common)
    if settings.lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    return tokenizer, trainer


def _literal(tokenizer: Tokenizer) -> Tokenizer:
    """A text in which somebody wrote "[PAD]" has a word in brackets, not padding; the file format does not keep this switch."""
    tokenizer.encode_special_tokens = True
    return tokenizer


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in a byte-level vocabulary (GPT-2's table), the other way round."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_letters()
