"""The image room: photographs, scans, drawings; any still picture Pillow reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from triptych.contract.modality import InputSettings, Modality, Preparation, ToyCell, ToyRow
from triptych.modalities.image.settings import Input

if TYPE_CHECKING:
    from triptych.contract.augment import Augmenter
    from triptych.contract.examined import Examined, Ratio
    from triptych.contract.part import Encoder
    from triptych.contract.values import Item, Value


class ImageModality:
    """Pictures: a value is a PIL image in mode L or RGB, a table's cell is the path of a file."""

    name = "image"
    suffixes = frozenset(
        {".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"}
        | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".jpx", ".j2k", ".avif", ".qoi"}
    )
    guest: frozenset[str] = frozenset()
    by_reference = True
    Input: type[InputSettings] = Input
    alike = 0.995
    mixable = True
    ratios: tuple[Ratio, ...] = ()

    def read(self, source: Any) -> Value:
        """Path, bytes, file, array or PIL image -> upright PIL image in mode L or RGB; see `read.py`."""
        from triptych.modalities.image.read import read

        return read(source)

    def holds(self, source: Any) -> bool:
        """Whether a file has a picture."""
        return True

    def preparation(self, settings: Any) -> Preparation:
        """The preparation of square pictures, see `prepare.py`; or that of a pretrained encoder."""
        if settings.encoder.kind == "pretrained":
            from triptych.modalities.image.pretrained import BasePreparation

            return BasePreparation(settings.prepare, settings.encoder)
        from triptych.modalities.image.prepare import ImagePreparation

        return ImagePreparation(settings.prepare)

    def encoder(self, settings: Any, facts: dict[str, int]) -> Encoder:
        """A cnn, vit or mobilenet with new weights, see `encode.py`; or a pretrained one."""
        if settings.encoder.kind == "pretrained":
            from triptych.modalities.image.pretrained import ImageTower

            return ImageTower.named(settings.encoder, self.name)
        from triptych.modalities.image.encode import ENCODERS

        made: Encoder = ENCODERS[settings.encoder.kind](settings.encoder, **facts)
        return made

    def augmenter(self, settings: Any, words: frozenset[str]) -> Augmenter:
        """Mirrored, cut out, other colours, turned, partly hidden. See `augment.py`."""
        from triptych.modalities.image.augment import augmenter

        return augmenter(settings)

    def examine(self, value: Value, settings: Any) -> Examined:
        """Width and height; one colour only, tiny. See `examine.py`."""
        from triptych.modalities.image.examine import examine

        return examine(value, settings)

    def show(self, value: Value) -> str:
        """A thumbnail."""
        from triptych.modalities.image.show import show

        return show(value)

    def seen(self, item: Item, preparation: Preparation) -> str:
        """The prepared pixels with their numbers."""
        from triptych.modalities.image.show import seen

        return seen(item, preparation)

    def extent(self, value: Value) -> tuple[float, float]:
        """Width and height in pixels."""
        return float(value.width), float(value.height)

    def shown_part(self, preparation: Any, extent: tuple[float, float]) -> tuple[float, float, float, float]:
        """Left, top, width and height, in pixels of the picture, of the square that the network sees."""
        part: tuple[float, float, float, float] = preparation.shown_part(*extent)
        return part

    def marked(self, value: Value, boxes: Mapping[str, Sequence[float]]) -> str:
        """A thumbnail with boxes: what was said drawn through, the truth dashed."""
        from triptych.modalities.image.show import marked

        return marked(value, boxes)

    def toy(self, sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
        """Handwritten digits as PNG files; see `toy.py`."""
        from triptych.modalities.image.toy import toy

        return toy(sample, rows, seed)

    def recognises(self, column: str, cells: Sequence[Any]) -> bool:
        """A table's cell never holds a picture itself."""
        return False

    def suggest(self, values: Sequence[Value]) -> dict[str, Any]:
        """A side and a number of channels that suit the pictures."""
        from triptych.modalities.image.prepare import suggest

        return suggest(values)


MODALITY: Modality = ImageModality()
