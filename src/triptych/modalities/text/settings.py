"""What a recipe may say about a text input. Imports nothing heavy: recipes are checked before torch is loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings, word
from triptych.contract.modality import InputSettings

BYTES_AND_SPECIALS = 256 + 3
"""What a byte-pair vocabulary always holds: every byte, and [PAD], [UNK], [CLS]."""


class Prepare(Settings):
    """How texts become token ids, with a tokenizer trained on the training rows."""

    tokenizer: Literal["bpe", "word"] = Field(
        default="bpe",
        description="bpe: pieces of words, down to single bytes, so nothing is unknown; word: whole words and signs, unseen ones are [UNK]",
    )
    vocabulary: int = Field(
        default=8000, ge=8, le=200_000, description="most tokens the tokenizer may learn; it takes no more than the training texts need"
    )
    lowercase: bool = Field(default=True, description="read capital letters as small ones")
    max_tokens: int = Field(
        default=128, ge=2, le=8192, description="longest text in tokens, with the [CLS] at its start; the rest is cut off"
    )

    @model_validator(mode="after")
    def _room_for_bytes(self) -> Prepare:
        if self.tokenizer == "bpe" and self.vocabulary <= BYTES_AND_SPECIALS:
            held = f"a bpe vocabulary holds {BYTES_AND_SPECIALS} tokens before it learns any"
            raise ValueError(f"{held}: vocabulary must be greater than that, it is {self.vocabulary}")
        return self


class Transformer(Settings):
    """Self-attention blocks over token embeddings, with fixed (sinusoid) positions, so any length can be read."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(default=128, ge=2, le=4096, description="size of each token's vector")
    depth: int = Field(default=4, ge=1, le=48, description="number of blocks")
    heads: int = Field(default=4, ge=1, le=64, description="attention heads; must divide the width")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of values zeroed while training")

    @model_validator(mode="after")
    def _fits(self) -> Transformer:
        if self.width % self.heads:
            raise ValueError(f"heads must divide width: {self.heads} heads do not divide a width of {self.width}")
        if self.width % 2:
            raise ValueError(f"width must be even (half sines, half cosines for the positions), it is {self.width}")
        return self


class Recurrent(Settings):
    """What `lstm` and `gru` share: layers that read the tokens in both directions."""

    width: int = Field(default=128, ge=2, le=4096, description="size of each token's vector; half of it for each reading direction")
    depth: int = Field(default=2, ge=1, le=16, description="number of layers")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of values zeroed before each layer while training")

    @model_validator(mode="after")
    def _two_directions(self) -> Recurrent:
        if self.width % 2:
            raise ValueError(f"width must be even (half for each reading direction), it is {self.width}")
        return self


class Lstm(Recurrent):
    """Long short-term memory layers (Hochreiter and Schmidhuber 1997)."""

    kind: Literal["lstm"] = "lstm"


class Gru(Recurrent):
    """Gated recurrent units (Cho et al. 2014): three quarters of an LSTM's weights."""

    kind: Literal["gru"] = "gru"


class Input(InputSettings):
    """A text input of a recipe."""

    modality: Literal["text"] = Field(default="text", description="the room that reads this input")
    prepare: Prepare = Field(default=Prepare(), description="how texts become token ids")
    encoder: Annotated[Transformer | Lstm | Gru, Field(discriminator="kind"), BeforeValidator(word)] = Field(
        default=Transformer(), description="the network that reads the tokens: transformer, lstm or gru"
    )
