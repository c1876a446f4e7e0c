"""The text room: captions, messages, transcripts, documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.contract.examined import Examined, Ratio
from triptych.contract.modality import InputSettings, Preparation, ToyCell, ToyRow
from triptych.contract.tools import Tool
from triptych.modalities.text.decoders import Decoder
from triptych.modalities.text.learn import TokenizerTool
from triptych.modalities.text.settings import Input

if TYPE_CHECKING:
    from triptych.contract.augment import Augmenter
    from triptych.contract.generator import Generator
    from triptych.contract.part import Encoder
    from triptych.contract.values import Item
    from triptych.contract.writes import Script


class Text:
    """Implements `triptych.contract.modality.Modality`; a value is a `str`."""

    name = "text"
    suffixes = frozenset({".txt", ".md"})
    guest: frozenset[str] = frozenset()
    by_reference = False
    Input: type[InputSettings] = Input
    alike = 0.9
    mixable = False
    ratios = (
        Ratio(
            of="characters",
            per="seconds",
            most=25.0,
            text="more than 25 characters a second, which nobody can say: the text is not that of the recording, or the recording is cut",
            fix="check that the two belong together",
        ),
    )

    tools: tuple[Tool, ...] = (TokenizerTool(),)
    Decoder: Any = Decoder

    def read(self, source: Any) -> str:
        """See `read.read`."""
        from triptych.modalities.text.read import read

        return read(source)

    def taken_apart(self, fields: Mapping[str, Any]) -> Mapping[str, Any]:
        """Files that a conversation holds, in fields of their own; see `attached.py`."""
        from triptych.modalities.text.attached import taken_apart

        return taken_apart(fields)

    def plain(self, value: str) -> str:
        """What a person would read out: no markup, no control characters, single spaces."""
        from triptych.modalities.text.clean import plain

        return plain(value)

    def holds(self, source: Any) -> bool:
        """Whether a file has a text."""
        return True

    def preparation(self, settings: Any) -> Preparation:
        """A tokenizer still to be trained, or that of a pretrained encoder."""
        if settings.encoder.kind == "pretrained":
            from triptych.modalities.text.pretrained import BasePreparation

            return BasePreparation(settings.prepare, settings.encoder)
        from triptych.modalities.text.prepare import TextPreparation

        return TextPreparation(settings.prepare)

    def encoder(self, settings: Any, facts: dict[str, int]) -> Encoder:
        """A transformer, an LSTM, a GRU; or a pretrained one."""
        if settings.encoder.kind == "pretrained":
            from triptych.modalities.text.pretrained import TextTower

            return TextTower.named(settings.encoder, self.name)
        from triptych.modalities.text.encode import ENCODERS

        return ENCODERS[settings.encoder.kind](settings.encoder, **facts)

    def script(self, decoder: Any, inputs: Mapping[str, str]) -> Script:
        """See `script.py`."""
        from triptych.modalities.text.script import TextScript

        return TextScript(decoder, inputs)

    def generator(self, decoder: Any, facts: Mapping[str, Any]) -> Generator:
        """A language model, new or pretrained. See `causal.py`, `seq2seq.py`."""
        if decoder.kind == "pretrained":
            from triptych.modalities.text.basewriter import writer

            return writer(decoder, facts)
        from triptych.modalities.text.causal import SmallWriter

        return SmallWriter(decoder, **facts)

    def hand_over(self, generator: Generator, script: Script, folder: Path) -> None:
        """A Llama and its tokenizer as save_pretrained writes them. See `handover.py`."""
        from triptych.modalities.text.handover import hand_over

        hand_over(generator, script, folder)

    def written_scores(self, names: Sequence[str], said: Sequence[str], expected: Sequence[Sequence[str]]) -> dict[str, float]:
        """See `score.py`."""
        from triptych.modalities.text.score import scores

        return scores(names, said, expected)

    def written_statistics(self, name: str, said: Sequence[str], expected: Sequence[Sequence[str]]) -> tuple[Any, Any]:
        """See `Writes`."""
        from triptych.modalities.text.score import statistics

        return statistics(name, said, expected)

    def written_doubts(self, names: Sequence[str], expected: Sequence[Sequence[str]]) -> list[str]:
        """See `doubts.py`."""
        from triptych.modalities.text.doubts import doubts

        return doubts(names, expected)

    def augmenter(self, settings: Any, words: frozenset[str]) -> Augmenter:
        """Synonyms, words that change places or go, paraphrases. See `augment.py`."""
        from triptych.modalities.text.augment import augmenter

        return augmenter(settings, words)

    def examine(self, value: str, settings: Any) -> Examined:
        """Characters and script; garbled, with markup. See `examine.py`."""
        from triptych.modalities.text.examine import examine

        return examine(value, settings)

    def show(self, value: str) -> str:
        """See `show.show`."""
        from triptych.modalities.text.show import show

        return show(value)

    def seen(self, item: Item, preparation: Any) -> str:
        """See `show.seen`."""
        from triptych.modalities.text.show import seen

        return seen(item, preparation)

    def toy(self, sample: str, rows: Sequence[ToyRow], seed: int) -> list[ToyCell]:
        """See `toy.toy`."""
        from triptych.modalities.text.toy import toy

        return toy(sample, rows, seed)

    def recognises(self, column: str, cells: Sequence[Any]) -> bool:
        """See `recognise.recognises`."""
        from triptych.modalities.text.recognise import recognises

        return recognises(column, cells)

    def suggest(self, values: Sequence[str]) -> dict[str, Any]:
        """See `prepare.suggest`."""
        from triptych.modalities.text.prepare import suggest

        return suggest(values)


MODALITY = Text()
