"""A pretrained language model that writes: read late, from its own files, frozen unless a stage trains it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from torch import nn

from triptych.base.errors import InputError
from triptych.layers.held import Held
from triptych.layers.tower import pretrained
from triptych.modalities.text.bases import APART, CAUSAL, CLASSES, HEARD, check_ids, context_of, described, ends, folder_of, pieces, trimmed
from triptych.modalities.text.decoders import Base
from triptych.modalities.text.writers import Writer


class BaseWriter(Held, Writer):
    """A pretrained language model. Its facts are those of the base (see `bases.described`) and of the script."""

    Settings = Base

    @classmethod
    def named(cls, settings: Base, facts: Mapping[str, Any]) -> Self:
        """The writer that the settings name; its weights are not read yet. `facts` are the script's, and `inputs`.

        Raises:
            InputError: the base cannot be had, knows fewer ids than its tokenizer, or reads less than the recipe wants.
        """
        folder = folder_of(settings)
        known = described(folder)
        check_ids(settings.name, facts["vocabulary"], known.pop("vocabulary"))
        if known["form"] != CAUSAL and facts.get("looks") is not None:
            what = f"{settings.name} reads with an encoder, and gated layers in a decoder that has its own are not known here"
            raise InputError(what, where="decoder", fix="fusion: prefix, which puts inputs into what its encoder reads")
        writer = cls(settings, **known, **facts, context=context_of(settings, known))
        writer.folder = folder
        return writer

    def opened(self) -> nn.Module:
        """See `Held`."""
        return pretrained(self.folder, _Family(self.facts["form"]))  # type: ignore[arg-type]

    def pieces(self, base: Any) -> list[nn.Module]:
        """See `Held`."""
        return pieces(base, self.facts["form"])

    def ends(self, base: Any) -> tuple[list[nn.Module], list[nn.Module]]:
        """See `Held`."""
        return ends(base, self.facts["form"])


class _Family:
    """What `tower.pretrained` asks of a family."""

    def __init__(self, form: str) -> None:
        self.form, self.model = form, CLASSES[form]
        self.optional: tuple[str, ...] = ()

    def trimmed(self, base: Any) -> None:
        """See `bases.trimmed`."""
        trimmed(base, self.form)


def writer(settings: Base, facts: Mapping[str, Any]) -> BaseWriter:
    """The writer of the form that the base is of. Raises InputError as `BaseWriter.named` does."""
    from triptych.modalities.text.causal import CausalWriter
    from triptych.modalities.text.seq2seq import ApartWriter, HeardWriter

    kinds: dict[str, type[BaseWriter]] = {CAUSAL: CausalWriter, APART: ApartWriter, HEARD: HeardWriter}
    return kinds[described(folder_of(settings))["form"]].named(settings, facts)
