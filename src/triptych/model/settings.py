"""The words under `fusion:` of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings, word


class _Fusion(Settings):
    width: int = Field(128, ge=2, description="width D that every input is projected to before fusion")
    dropout: float = Field(0.1, ge=0, lt=1, description="dropout inside the fusion")


class Single(_Fusion):
    """One input, nothing to fuse."""

    kind: Literal["single"] = "single"


class Concat(_Fusion):
    """The inputs side by side, an absent one replaced by a learnt vector, then two dense layers."""

    kind: Literal["concat"] = "concat"


class Gated(_Fusion):
    """Sum of the present inputs, each weighted by a learnt gate (gated multimodal unit, Arevalo et al. 2017)."""

    kind: Literal["gated"] = "gated"


class _Heads(_Fusion):
    heads: int = Field(4, ge=1, description="attention heads; must divide width")

    @model_validator(mode="after")
    def _divides(self) -> _Heads:
        if self.width % self.heads:
            raise ValueError(
                f"heads={self.heads} does not divide width={self.width}; try heads={next(h for h in (4, 3, 2, 1) if self.width % h == 0)}"
            )
        return self


class Attention(_Heads):
    """One learnt query looks over the inputs' vectors: attention pooling."""

    kind: Literal["attention"] = "attention"


class CrossAttention(_Heads):
    """Each input's tokens look at the tokens of all the others, `layers` times."""

    kind: Literal["cross_attention"] = "cross_attention"
    layers: int = Field(1, ge=1, description="rounds of looking at each other")


class Joint(_Fusion):
    """Every input alone into one space, on the unit sphere; a row is the mean of what it has."""

    kind: Literal["joint"] = "joint"


class Prefix(_Fusion):
    """Each input's sequence, projected to the decoder's width, stands among the words where the template says (LLaVA, Liu et al. 2023)."""

    kind: Literal["prefix"] = "prefix"
    projector: Literal["linear", "mlp", "resampler", "none"] = Field(
        "mlp",
        description="linear: one dense layer; mlp: two (LLaVA-1.5); resampler: learnt queries look at the sequence (Flamingo); "
        "none: as it is, for a decoder that was trained with the encoder (Whisper)",
    )
    shorten: dict[str, Annotated[int, Field(ge=1, le=64)]] = Field(
        {}, description="so many steps of an input's sequence are made one before they are projected: {voice: 4}"
    )
    queries: int = Field(32, ge=1, le=1024, description="of a resampler: what a sequence becomes, however long it is")
    layers: int = Field(2, ge=1, description="of a resampler")

    @model_validator(mode="after")
    def _as_it_is(self) -> Prefix:
        if self.projector == "none" and (longer := [name for name, by in self.shorten.items() if by > 1]):
            raise ValueError(
                f"projector none leaves a sequence as it is, and shorten makes that of {longer[0]} shorter: remove one of them"
            )
        return self


Fusion = Annotated[
    Annotated[Single | Concat | Gated | Attention | CrossAttention | Joint | Prefix, Field(discriminator="kind")], BeforeValidator(word)
]
"""How the inputs of a row become one; a bare word or a mapping with `kind`."""
