"""Pretrained sound encoders: their own feature extractors, over one piece of a recording or several.

`families.py` says how each network is built, `processors.py` what each extractor does, `windows.py` how pieces become one row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import pad

from triptych.base import hub, trust
from triptych.base.errors import InputError
from triptych.base.files import write_json
from triptych.base.settings import parse, spelled_out
from triptych.contract.modality import Limit
from triptych.contract.pretrained import Pretrained
from triptych.contract.values import Encoded, Item, Packed
from triptych.layers.tower import OWN, TOKENS, Flow, Tower, described
from triptych.modalities.audio.families import FAMILIES
from triptych.modalities.audio.features import middle
from triptych.modalities.audio.own import FOLDER, Asked, OwnSound
from triptych.modalities.audio.prepare import begin, resampled, trimmed
from triptych.modalities.audio.processors import PROCESSORS, Processor, of_extractor
from triptych.modalities.audio.read import Recording
from triptych.modalities.audio.settings import Prepare
from triptych.modalities.audio.windows import COUNT, gathered, joined, spread

FILE = "prepare.json"
COPY_AGAIN = "copy the whole run folder again, or train again"


class BasePreparation:
    """Implements `Preparation` with what a base's feature extractor does: items are those of `processors.py`.

    With `windows` above 1 an item has those of its recording, one behind the other in a first dimension.
    """

    def __init__(self, settings: Prepare, base: Pretrained) -> None:
        """Its files are looked at when the first recording comes."""
        self.settings, self.base = settings, base
        self._processor: Processor | None = None

    def fit(self, values: Iterable[Recording]) -> None:
        """Learns nothing.

        Raises:
            InputError: the base cannot be had, is no sound model, hears less than `seconds`, or cannot be filled up.
        """
        _ = self.processor

    def prepare(self, values: Sequence[Recording]) -> list[Item]:
        """Recordings -> items; all pieces of all of them are computed together."""
        cut = [self.pieces(value) for value in values]
        made = iter(self.processor.items([wave_N for pieces in cut for wave_N in pieces]))
        grouped = [[next(made) for _ in pieces] for pieces in cut]
        if self.settings.windows == 1:
            return [item for (item,) in grouped]
        return [{name: torch.stack([one[name] for one in pieces]) for name in pieces[0]} for pieces in grouped]

    def collate(self, items: Sequence[Item]) -> Packed:
        """P items -> a batch, filled up to the longest, and the mask of real samples or frames where they have lengths."""
        if self.settings.windows == 1:
            return self.processor.collate(items, self.settings.fill)
        counts = [len(next(iter(item.values()))) for item in items]
        level = [{name: _more(tensor, max(counts)) for name, tensor in item.items()} for item in items]
        packed = self.processor.collate(level, self.settings.fill)
        return Packed({**packed.tensors, COUNT: torch.tensor(counts)}, packed.mask_PT)

    def pieces(self, value: Recording) -> list[np.ndarray]:
        """The waves that are heard, at the base's rate: the middle, or windows spread evenly from the start to the end."""
        samples_N = trimmed(value.samples_N) if self.settings.trim_silence else value.samples_N
        size = max(1, round(self.seconds * value.rate))
        count = min(self.settings.windows, -(-len(samples_N) // size))
        if count == 1:
            cut = [middle(samples_N, size)]
        else:
            cut = [samples_N[start : start + size] for start in np.linspace(0, len(samples_N) - size, count).round().astype(int)]
        return [np.asarray(resampled(wave_N, value.rate, self.processor.rate), np.float32) for wave_N in cut]

    def facts(self) -> dict[str, int]:
        """Nothing: the base knows its own sizes."""
        return {}

    @property
    def seconds(self) -> float:
        """The longest piece: what the recipe says, and no more than the base hears at once."""
        return min(self.settings.seconds, self.processor.longest or self.settings.seconds)

    def pace(self) -> float:
        """A sample, or the hop of the base's spectrogram; 0 where windows lie one behind the other, or frames not in the order of time."""
        return self.processor.pace if self.settings.windows == 1 else 0.0

    def begins(self, value: Recording) -> float:
        """What is cut off in front."""
        return begin(value, self.settings, self.seconds)

    def limit(self) -> Limit:
        """`seconds`, or `windows` where there are several."""
        if self.settings.windows > 1:
            return Limit(f"windows of {self.seconds:g} s", "windows", self.settings.windows, 1, learnt=False)
        return Limit("seconds", "seconds", self.seconds, 0.1, learnt=False)

    def lengths(self, values: Iterable[Recording]) -> list[float]:
        """Each recording's length in the limit's unit, without the silent ends that are dropped."""
        trim, unit = self.settings.trim_silence, self.seconds if self.settings.windows > 1 else 1.0
        return [len(trimmed(value.samples_N) if trim else value.samples_N) / value.rate / unit for value in values]

    def save(self, folder: Path) -> None:
        """Write what the feature extractor does."""
        if isinstance(self.processor, Asked):
            self.processor.save(folder)
            write_json(folder / FILE, {"settings": spelled_out(self.settings), "processor": FOLDER})
            return
        about = {"processor": type(self.processor).__name__, **asdict(self.processor)}  # type: ignore[call-overload]
        write_json(folder / FILE, {"settings": spelled_out(self.settings), **about})

    def load(self, folder: Path) -> None:
        """Read what `save` wrote.

        Raises:
            InputError: it is missing or damaged.
        """
        path = folder / FILE
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
            self.settings = parse(Prepare, about.pop("settings"), str(path))
            if (folder / FOLDER).is_dir():
                self._processor = _asked(folder / FOLDER, self.base)
                return
            kinds = {kind.__name__: kind for kind in PROCESSORS.values()}
            self._processor = kinds[about.pop("processor")](**about)
        except OSError as error:
            raise InputError("the preparation of sounds is missing", where=str(path), fix=COPY_AGAIN) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"the preparation of sounds is damaged: {error}", where=str(path), fix=COPY_AGAIN) from error

    @property
    def processor(self) -> Processor:
        """What the base's feature extractor does.

        Raises:
            InputError: see `fit`.
        """
        if self._processor is None:
            folder = hub.located(self.base.name, self.base.revision, self.base.trust_remote_code)
            made, name = processor_of(folder, self.base), self.base.name
            asked, default = self.settings.seconds, Prepare.model_fields["seconds"].default
            if made.longest and asked > made.longest and asked != default:
                what = f"prepare.seconds {asked:g} clashes with encoder {name}, which hears at most {made.longest:g} s at once"
                raise InputError(what, fix=f"prepare: {{seconds: {made.longest:g}, windows: N}}, which hears N pieces of a long recording")
            if self.settings.fill and not made.fills:
                what = f"prepare.fill clashes with encoder {name}: only Whisper's can hear a recording filled up or not"
                raise InputError(what, fix="remove prepare.fill")
            self._processor = made
        return self._processor


def _more(tensor: torch.Tensor, count: int) -> torch.Tensor:
    """Zeros behind the first dimension."""
    return pad(tensor, (0, 0) * (tensor.ndim - 1) + (0, count - len(tensor)))


def _asked(folder: Path, base: Pretrained) -> Asked:
    """A feature extractor that is asked itself; its own code, if it has some, only where that may run."""
    return Asked(folder, trust.runs(folder, base.name, base.trust_remote_code))


def processor_of(folder: Path, base: Pretrained) -> Processor:
    """What a base's feature extractor does: found out once a base, by its digest.

    Raises:
        InputError: the base is no sound model, its extractor's file is missing, or is of a kind that is not known.
    """
    facts = described(folder, FAMILIES, "audio", AudioTower.own, base)
    code = base.trust_remote_code and trust.brings(folder)
    if code:
        trust.let(folder, hub.called(folder), base.name, base.revision)
    word = f"{facts['digest'][:32]}{'-' + trust.word(folder) if code else ''}"
    about = dict(hub.kept(f"extractors/{word}.json", lambda: _extractor(folder, facts, code)))
    kind = about.pop("kind")
    return _asked(folder, base) if kind == FOLDER else PROCESSORS[kind](**about)


def _extractor(folder: Path, facts: dict[str, Any], code: bool) -> dict[str, Any]:
    try:
        held = Asked(folder, code).held
    except InputError as error:
        if not code and trust.mapped(folder, "preprocessor_config.json"):
            raise trust.refuse_unsaid(folder, hub.called(folder)) from error
        raise
    if code and (type(held).__module__.startswith("transformers_modules") or facts["family"] == OWN):
        return {"kind": FOLDER}
    kind = type(held).__name__
    if kind not in PROCESSORS:
        what = f"the base's feature extractor does what is not known here: {kind}"
        raise InputError(what, where=str(folder), known=PROCESSORS, fix="name a base with one of the known feature extractors")
    if kind == "ClapFeatureExtractor" and (held.truncation == "fusion") != facts["fused"]:
        what = (
            f"the base's feature extractor says truncation: {held.truncation}, and its config enable_fusion: {str(facts['fused']).lower()}"
        )
        raise InputError(what, where=str(folder), fix="truncation: fusion goes with enable_fusion: true, rand_trunc with false")
    fields = of_extractor(held, facts.get("fused", False), facts.get("least", 1))
    return {"kind": kind, "rate": int(held.sampling_rate), **fields}


class AudioTower(Tower):
    """A pretrained sound encoder. Several windows of one recording are encoded by themselves; the mean of their vectors is the row's."""

    Settings = Pretrained
    families = FAMILIES
    own = OwnSound()

    def forward(self, packed: Packed) -> Encoded:
        """See `Encoder`. With windows, tokens lie one window behind the other, and `inner` has a row for each."""
        if COUNT not in packed.tensors:
            return super().forward(packed)
        windows, count_P = spread(packed)
        return joined(super().forward(windows), count_P)

    def cut(self, packed: Packed, last: int) -> Packed:
        """See `Encoder`."""
        if COUNT not in packed.tensors or TOKENS in packed.tensors:
            return super().cut(packed, last)
        windows, count_P = spread(packed)
        return gathered(super().cut(windows, last), count_P)

    def _entered(self, packed: Packed) -> tuple[Flow, int]:
        """The mask of windows says which tokens are there; where all have one length, the blocks know none."""
        flow, start = super()._entered(packed)
        return (flow if self.family.lengths else replace(flow, mask_PT=None)), start
