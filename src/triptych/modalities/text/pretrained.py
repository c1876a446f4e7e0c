"""Pretrained text encoders: their own tokenizer, with cleaned texts before it. `families.py` says how each is built."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from triptych.base import hub, trust
from triptych.base.errors import InputError
from triptych.base.files import write_json, write_text
from triptych.base.settings import parse, spelled_out
from triptych.contract.modality import Limit
from triptych.contract.pretrained import Pretrained
from triptych.contract.values import Item, Packed
from triptych.layers.tower import Tower, described
from triptych.modalities.text.clean import cleaned, normalizer
from triptych.modalities.text.families import FAMILIES
from triptych.modalities.text.own import FOLDER, OwnText, Slow, tokenizer
from triptych.modalities.text.settings import Prepare

TOKENIZER, SETTINGS = "tokenizer.json", "prepare.json"
UNLIMITED = 100_000
"""A longer "longest text" in a tokenizer's files says that nobody thought of one."""


class BasePreparation:
    """Implements `Preparation` with a base's own tokenizer: an item is `{"ids": int64 (T,), "total": int64 ()}`.

    Ids are those of transformers, special tokens and all; a text that is cut keeps the token at its end.
    """

    def __init__(self, settings: Prepare, base: Pretrained) -> None:
        """Its files are looked at when the first text comes."""
        self.settings, self.base = settings, base
        self._tokenizer: Tokenizer | None = None
        self._slow: Slow | None = None
        self._about: dict[str, Any] = {}

    def fit(self, values: Iterable[str]) -> None:
        """Learns nothing.

        Raises:
            InputError: the base cannot be had, is no text model, or reads less than `max_tokens`.
        """
        self._ready()

    def prepare(self, values: Sequence[str]) -> list[Item]:
        """Texts -> items."""
        whole = self._encoded(values)
        long = [row for row, ids in enumerate(whole) if len(ids) > self.most]
        cut = dict(zip(long, self._encoded([values[row] for row in long], self.most), strict=True)) if long else {}
        return [{"ids": self._filled(cut.get(row, ids)), "total": torch.tensor(len(ids))} for row, ids in enumerate(whole)]

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> ids_PT, padded to the longest, and their mask."""
        lengths = [len(item["ids"]) for item in items]
        ids_PT = torch.full((len(items), max(lengths)), int(self._ready()["pad"]))
        for row, item in enumerate(items):
            ids_PT[row, : lengths[row]] = item["ids"]
        return Packed({"ids": ids_PT}, torch.arange(max(lengths)) < torch.tensor(lengths)[:, None])

    def facts(self) -> dict[str, int]:
        """Nothing: the base knows its own sizes."""
        return {}

    @functools.cached_property
    def unknown(self) -> int:
        """The token of what is not in the vocabulary; -1 where nothing is."""
        self._ready()
        if self._slow is not None:
            return self._slow.unknown
        model = json.loads(self._own().to_str())["model"]
        named = model.get("unk_token")
        found = self._own().token_to_id(named) if named else model.get("unk_id")
        return -1 if found is None else int(found)

    @property
    def most(self) -> int:
        """Tokens of a text that are read at most: what the recipe says, and no more than the base takes."""
        longest = self._ready()["longest"]
        return min(self.settings.max_tokens, longest) if longest else self.settings.max_tokens

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` (readable by the `tokenizers` library) and `prepare.json`; of one that has no such form its files."""
        about = self._ready()
        if self._slow is not None:
            self._slow.save(folder)
        else:
            write_text(folder / TOKENIZER, self._own().to_str(pretty=True))
        write_json(folder / SETTINGS, {"settings": spelled_out(self.settings), **about})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: a file is missing or damaged.
        """
        again = "copy the whole run folder again, or train again"
        try:
            about = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
            self.settings = parse(Prepare, about.pop("settings"), str(folder / SETTINGS))
            self._about = {"pad": int(about["pad"]), "longest": int(about["longest"]), "fill": int(about["fill"])}
            if (folder / FOLDER).is_dir():
                self._slow = _slow(folder / FOLDER, self.base)
            else:
                self._tokenizer = Tokenizer.from_str((folder / TOKENIZER).read_text(encoding="utf-8"))
                self._tokenizer.no_truncation()  # runs of older versions kept it in their files
        except FileNotFoundError as error:
            raise InputError("a file of the text preparation is missing", where=str(error.filename), fix=again) from error
        except InputError:
            raise
        except Exception as error:  # the tokenizers library raises bare Exception
            raise InputError(f"the text preparation is damaged: {error}", where=str(folder), fix=again) from error

    def limit(self) -> Limit:
        """`max_tokens`, or less where the base reads less."""
        return Limit("tokens", "max_tokens", self.most, 1, learnt=False)

    def lengths(self, values: Iterable[str]) -> list[float]:
        """Tokens of each text, those at its ends included."""
        return [float(len(ids)) for ids in self._encoded(list(values))]

    def pieces(self, ids: Tensor) -> list[str]:
        """Each token as readable text."""
        self._ready()
        if self._slow is not None:
            return self._slow.pieces(ids.tolist())
        held = self._own()
        return [held.decode([number], skip_special_tokens=False) or str(held.id_to_token(number)) for number in ids.tolist()]

    def _encoded(self, values: Sequence[str], most: int | None = None) -> list[list[int]]:
        self._ready()
        before = normalizer(self.settings, lowercase=False, unicode="none")
        texts = [cleaned(value, self.settings) for value in values]
        texts = texts if before is None else [before.normalize_str(text) for text in texts]
        if self._slow is not None:
            return self._slow.ids(texts, most)
        held = self._own() if most is None else self._cutting
        return [encoding.ids for encoding in held.encode_batch(texts)]

    def _filled(self, ids: Sequence[int]) -> Tensor:
        """A base that was trained on texts filled up to one length reads them so."""
        return torch.tensor([*ids, *[self._ready()["pad"]] * (self._ready()["fill"] - len(ids))], dtype=torch.int64)

    @functools.cached_property
    def _cutting(self) -> Tokenizer:
        """One for texts that are too long. How much is cut is a tokenizer's own state: switched in one, another thread would see it."""
        held = Tokenizer.from_str(self._own().to_str())
        held.enable_truncation(self.most)
        return held

    def _own(self) -> Tokenizer:
        self._ready()
        assert self._tokenizer is not None
        return self._tokenizer

    def _ready(self) -> dict[str, Any]:
        if self._tokenizer is None and self._slow is None:
            folder = hub.located(self.base.name, self.base.revision, self.base.trust_remote_code)
            held = tokenizer_of(folder, self.base)
            self._about = {name: held[name] for name in ("pad", "longest", "fill")}
            if held["tokenizer"] is None:
                self._slow = _slow(folder, self.base)
            else:
                self._tokenizer = Tokenizer.from_str(held["tokenizer"])
                self._tokenizer.no_padding()
                self._tokenizer.no_truncation()
            asked, longest = self.settings.max_tokens, self._about["longest"]
            if longest and asked > longest and asked != Prepare.model_fields["max_tokens"].default:
                what = f"prepare.max_tokens {asked} clashes with encoder {self.base.name}, which reads at most {longest} tokens"
                raise InputError(what, fix=f"prepare.max_tokens: {longest}, or another encoder")
        return self._about


def _slow(folder: Path, base: Pretrained) -> Slow:
    """A tokenizer that is asked itself; its own code, if it has some, only where that may run."""
    return Slow(folder, trust.runs(folder, base.name, base.trust_remote_code))


def tokenizer_of(folder: Path, base: Pretrained) -> dict[str, Any]:
    """`tokenizer` (as the `tokenizers` library reads it), `pad`, `longest` (0: no end), `fill`: once a base, by its digest.

    Of one that can be asked only as it is, `tokenizer` is None.
    """
    facts = described(folder, FAMILIES, "text", TextTower.own, base)
    code = base.trust_remote_code and trust.brings(folder)
    if code:
        trust.let(folder, hub.called(folder), base.name, base.revision)
    word = f"{facts['digest'][:32]}{'-' + trust.word(folder) if code else ''}"
    return hub.kept(f"tokenizers/{word}.json", lambda: _tokenizer(folder, facts, code))


def _tokenizer(folder: Path, facts: Mapping[str, Any], code: bool) -> dict[str, Any]:
    fix = "copy or download the tokenizer's files too: tokenizer.json, or vocab and merges"
    try:
        held = tokenizer(folder, code)
        slow = code and (type(held).__module__.startswith("transformers_modules") or not hasattr(held, "backend_tokenizer"))
        text = None if slow else held.backend_tokenizer.to_str()
    except Exception as error:  # transformers, tokenizers and code of strangers raise all kinds
        if not code and trust.mapped(folder, "tokenizer_config.json"):
            raise trust.refuse_unsaid(folder, hub.called(folder)) from error
        what = f"the tokenizer of the pretrained model cannot be read: {(str(error).strip() or 'nothing is said').splitlines()[0]}"
        raise InputError(what, where=str(folder), fix=fix) from error
    told = held.model_max_length if held.model_max_length < UNLIMITED else 0
    longest = min([n for n in (told, facts["positions"]) if n], default=0)
    pad = held.pad_token_id if held.pad_token_id is not None else 0
    return {"tokenizer": text, "pad": pad, "longest": longest, "fill": longest if facts["filled"] else 0}


class TextTower(Tower):
    """A pretrained text encoder."""

    Settings = Pretrained
    families = FAMILIES
    own = OwnText()
