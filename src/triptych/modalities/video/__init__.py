"""The room of films: their moving pictures. Their sound is read by another room. Heavy files are imported inside the methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from triptych.contract.modality import InputSettings, Preparation, ToyCell, ToyRow
from triptych.modalities.video.settings import Input

if TYPE_CHECKING:
    from triptych.contract.augment import Augmenter
    from triptych.contract.examined import Examined, Ratio
    from triptych.contract.part import Encoder
    from triptych.contract.values import Item, Value


class Video:
    """Implements `contract.modality.Modality`; see there for what each method promises."""

    name = "video"
    suffixes = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"})
    guest: frozenset[str] = frozenset()
    by_reference = True
    Input: type[InputSettings] = Input
    alike = 0.99
    mixable = True
    ratios: tuple[Ratio, ...] = ()

    def read(self, source: Any) -> Value:
        """Path, bytes, file object, span, (frames, rate) or a `Clip` -> `Clip`; see `read.py`."""
        from triptych.modalities.video.read import read

        return read(source)

    def holds(self, source: Any) -> bool:
        """Whether a file has moving pictures."""
        from triptych.modalities.video.read import holds

        return holds(source)

    def preparation(self, settings: Any) -> Preparation:
        """Square frames at the wanted rate, not yet fitted."""
        from triptych.modalities.video.prepare import Frames

        return Frames(settings.prepare)

    def encoder(self, settings: Any, facts: dict[str, int]) -> Encoder:
        """A new transformer or gru over frames."""
        from triptych.modalities.video.encode import ENCODERS

        return ENCODERS[settings.encoder.kind](settings.encoder, **facts)

    def augmenter(self, settings: Any, words: frozenset[str]) -> Augmenter:
        """Mirrored, cut out, other colours. See `augment.py`."""
        from triptych.modalities.video.augment import augmenter

        return augmenter(settings)

    def examine(self, value: Value, settings: Any) -> Examined:
        """Damaged, one colour, still, tiny. See `examine.py`."""
        from triptych.modalities.video.examine import examine

        return examine(value, settings)

    def show(self, value: Value) -> str:
        """A sheet of frames."""
        from triptych.modalities.video.show import show

        return show(value)

    def seen(self, item: Item, preparation: Preparation) -> str:
        """The prepared frames as a sheet."""
        from triptych.modalities.video.show import seen

        return seen(item, preparation)

    def toy(self, sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
        """Handwritten digits seen through a moving slit, as MP4 files."""
        from triptych.modalities.video.toy import toy

        return toy(sample, rows, seed)

    def recognises(self, column: str, cells: Sequence[Any]) -> bool:
        """A table's cell never holds a film itself."""
        return False

    def suggest(self, values: Sequence[Value]) -> dict[str, Any]:
        """A rate, a side and channels that suit the films."""
        from triptych.modalities.video.prepare import suggest

        return suggest(values)


MODALITY = Video()
