"""Tokenizers of the `tokenizers` library: trained on texts as they pass by, or read from somebody's file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from triptych.base.errors import InputError
from triptych.modalities.text.clean import cleaned, normalizer
from triptych.modalities.text.settings import Cleaning

PAD, UNKNOWN, START = SPECIALS = ("[PAD]", "[UNK]", "[CLS]")
PAD_ID, UNKNOWN_ID, START_ID = range(3)


class Vocabulary:
    """A tokenizer whose ids 0 to 2 are [PAD], [UNK] and [CLS]. One that was made elsewhere keeps its own ids behind them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Switch off what its file may say of padding and cutting: that is done here."""
        tokenizer.no_padding()
        tokenizer.no_truncation()
        # A text in which somebody wrote "[PAD]" has a word in brackets, not padding; the file format does not keep this switch.
        tokenizer.encode_special_tokens = True
        ours = [tokenizer.token_to_id(special) for special in SPECIALS] == [PAD_ID, UNKNOWN_ID, START_ID]
        self.tokenizer = tokenizer
        self.shift = 0 if ours else len(SPECIALS)
        self.unknown = None if ours else _unknown_of(tokenizer)
        self.size = self.shift + 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
        self._bytes = isinstance(tokenizer.decoder, decoders.ByteLevel)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, without any at its ends."""
        encodings = self.tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [[self._id(number) for number in encoding.ids] for encoding in encodings] if self.shift else [e.ids for e in encodings]

    def _id(self, number: int) -> int:
        return UNKNOWN_ID if number == self.unknown else number + self.shift

    def piece(self, number: int) -> str:
        """A token as readable text, leading space and all; one that is a part of a character as its bytes (`0xC3`)."""
        if number < len(SPECIALS):
            return SPECIALS[number]
        raw = str(self.tokenizer.id_to_token(number - self.shift))
        if not self._bytes:
            return raw
        text = str(self.tokenizer.decode([number - self.shift], skip_special_tokens=False))
        return text if "\ufffd" not in text else "".join(f"0x{_BYTE_OF[letter]:02X}" for letter in raw)

    def text(self) -> str:
        """The file, as the `tokenizers` library reads it."""
        return str(self.tokenizer.to_str(pretty=True))


def train(kind: str, vocabulary: int, texts: Iterable[str], words: Cleaning) -> tuple[Vocabulary, int]:
    """A new vocabulary, and how many texts it learnt from. The same texts in the same order give the same file, byte for byte.

    Only words and their counts are held, never the texts.

    Raises:
        InputError: there is no text at all to learn from.
    """
    count = 0

    def counted() -> Iterator[str]:
        nonlocal count
        for text in texts:
            count += 1
            yield cleaned(text, words)

    tokenizer, trainer = _untrained(kind, vocabulary)
    if (rest := normalizer(words, lowercase=True)) is not None:
        tokenizer.normalizer = rest
    tokenizer.train_from_iterator(counted(), trainer)
    if not count:
        what = "there are no training texts to learn a vocabulary from"
        raise InputError(what, fix="check the split: some training rows must have this input")
    return Vocabulary(tokenizer), count


def read_file(path: Path, words: Cleaning | None = None) -> Vocabulary:
    """A tokenizer.json, with `words` done to a text before what the file itself says.

    Raises:
        InputError: there is no such file, or it is no tokenizer.
    """
    fix = "triptych data tokenizer makes one; so does Tokenizer.save of the tokenizers library"
    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        if not tokenizer.get_vocab_size():
            raise ValueError("its vocabulary is empty")
    except OSError as error:
        raise InputError(f"the tokenizer cannot be read: {error.strerror}", where=str(path), fix=fix) from error
    except Exception as error:  # the tokenizers library raises bare Exception
        raise InputError(f"this is no tokenizer.json: {error}", where=str(path), fix=fix) from error
    before = normalizer(words, lowercase=False) if words else None
    if before is not None:
        tokenizer.normalizer = before if tokenizer.normalizer is None else normalizers.Sequence([before, tokenizer.normalizer])
    return Vocabulary(tokenizer)


def _untrained(kind: str, vocabulary: int) -> tuple[Tokenizer, Any]:
    """Byte-level pairs as in GPT-2 (Radford et al. 2019), or whole words and signs."""
    common: dict[str, Any] = {"vocab_size": vocabulary, "special_tokens": list(SPECIALS), "show_progress": False}
    if kind == "bpe":
        tokenizer = Tokenizer(models.BPE())
        # A space is put before the first word, so that "seven" is the same token at the start of a text and within it.
        tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
        return tokenizer, trainers.BpeTrainer(min_frequency=2, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), **common)
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.WordLevelTrainer(min_frequency=1, **common)


def _unknown_of(tokenizer: Tokenizer) -> int | None:
    """The id that the file's own model gives to what it does not know."""
    model = json.loads(tokenizer.to_str())["model"]
    if model.get("unk_token") is not None:
        found = tokenizer.token_to_id(model["unk_token"])
        return None if found is None else int(found)
    return model.get("unk_id")


def _byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in a byte-level vocabulary (GPT-2's table), the other way round."""
    printed = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printed]
    return {chr(byte): byte for byte in printed} | {chr(256 + n): byte for n, byte in enumerate(others)}


_BYTE_OF = _byte_letters()
