"""The room of sound: speech, music, any recording. Heavy files are imported inside the methods, never at the top."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from triptych.contract.modality import Preparation, ToyCell, ToyRow
from triptych.contract.tools import Tool
from triptych.modalities.audio.settings import Input
from triptych.modalities.audio.speak import SpeakTool

if TYPE_CHECKING:
    from triptych.contract.augment import Augmenter
    from triptych.contract.examined import Examined, Ratio
    from triptych.contract.part import Encoder
    from triptych.contract.values import Item, Value


class Audio:
    """Implements `contract.modality.Modality`; see there for what each method promises."""

    name = "audio"
    guest = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"})
    """Films, whose sound track is read, and files of such a name that hold nothing but sound."""
    suffixes = guest | {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".aiff", ".aif", ".au", ".mka"}
    by_reference = True
    Input = Input
    alike = 0.98
    mixable = True
    ratios: tuple[Ratio, ...] = ()
    tools: tuple[Tool, ...] = (SpeakTool(),)

    def read(self, source: Any) -> Value:
        """Path, bytes, file object, (array, rate), a data set's dict or a `Recording` -> `Recording`."""
        from triptych.modalities.audio.read import read

        return read(source)

    def duration(self, source: Any) -> float:
        """Path or bytes -> seconds, from the header where that knows them."""
        from triptych.modalities.audio.duration import duration

        return duration(source)

    def windows(self, source: Any, seconds: float, overlap: float) -> Iterator[tuple[float, Value]]:
        """(start, `Recording`) of each window of a path, decoded once from front to back."""
        from triptych.modalities.audio.stream import windows

        return windows(source, seconds, overlap)

    def holds(self, source: Any) -> bool:
        """Whether a file has a sound track."""
        from triptych.modalities.audio.read import holds

        return holds(source)

    def preparation(self, settings: Any) -> Preparation:
        """Log-mel or MFCC features, not yet fitted; or what a pretrained encoder wants."""
        if settings.encoder.kind == "pretrained":
            from triptych.modalities.audio.pretrained import BasePreparation

            return BasePreparation(settings.prepare, settings.encoder)
        from triptych.modalities.audio.prepare import Features

        return Features(settings.prepare)

    def encoder(self, settings: Any, facts: dict[str, int]) -> Encoder:
        """A new `cnn` or `transformer` over `facts["features"]` features a frame; or a pretrained one."""
        if settings.encoder.kind == "pretrained":
            from triptych.modalities.audio.pretrained import AudioTower

            return AudioTower.named(settings.encoder, self.name)
        from triptych.modalities.audio.encode import ENCODERS

        return ENCODERS[settings.encoder.kind](settings.encoder, **facts)

    def augmenter(self, settings: Any, words: frozenset[str]) -> Augmenter:
        """Pitch, tempo, noise, loudness, hidden stretches. See `augment.py`."""
        from triptych.modalities.audio.augment import augmenter

        return augmenter(settings)

    def examine(self, value: Value, settings: Any) -> Examined:
        """Length and rate; silent, clipped. See `examine.py`."""
        from triptych.modalities.audio.examine import examine

        return examine(value, settings)

    def show(self, value: Value) -> str:
        """A player over a small spectrogram."""
        from triptych.modalities.audio.show import show

        return show(value)

    def seen(self, item: Item, preparation: Preparation) -> str:
        """The prepared features as a picture with its axes."""
        from triptych.modalities.audio import show

        processor = getattr(preparation, "processor", None)
        if processor is not None:
            return show.heard(item, processor.rate, preparation.settings.windows > 1)
        return show.seen(item, preparation.settings)

    def toy(self, sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
        """Spoken words of a named sample, as WAV files."""
        from triptych.modalities.audio.toy import toy

        return toy(sample, rows, seed)

    def recognises(self, column: str, cells: Sequence[Any]) -> bool:
        """A table's cell never holds a sound itself."""
        return False

    def suggest(self, values: Sequence[Value]) -> dict[str, Any]:
        """The sampling rate and the length that fit the user's recordings."""
        from triptych.modalities.audio.prepare import suggest

        return suggest(values)


MODALITY = Audio()
