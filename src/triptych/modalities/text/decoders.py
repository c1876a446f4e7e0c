"""What a recipe may say under `decoder`, for texts. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.settings import Settings, base_or_word
from triptych.contract.pretrained import Lora, placed
from triptych.modalities.text.settings import BYTES_AND_SPECIALS


class _Decoder(Settings):
    modality: Literal["text"] = Field(default="text", description="the room whose values are written")
    look_every: int = Field(
        default=1, ge=1, description="before so manyth block a gated layer looks at the inputs, where the fusion is not prefix (Flamingo)"
    )


class Small(_Decoder):
    """A language model from scratch: a Llama (Touvron et al. 2023) of the given sizes, with a vocabulary of the training rows' own."""

    kind: Literal["small"] = "small"
    layers: int = Field(default=4, ge=1, description="transformer blocks")
    width: int = Field(default=192, ge=8, description="width of a token")
    heads: int = Field(default=4, ge=1, description="attention heads; width is a multiple of twice their number")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="dropout of attention")
    context: int = Field(default=512, ge=8, description="most tokens of question, media and answer together")
    tokenizer: Literal["bpe", "word"] = Field(default="bpe", description="bpe: pairs of bytes, any text can be written; word: whole words")
    vocabulary: int = Field(default=2048, ge=16, description="most tokens of the vocabulary")

    @model_validator(mode="after")
    def _divides(self) -> Small:
        if self.width % (2 * self.heads):
            near = 2 * self.heads * (self.width // (2 * self.heads) or 1)
            raise ValueError(f"width {self.width} is no multiple of twice the {self.heads} heads; try {near}")
        if self.tokenizer == "bpe" and self.vocabulary <= BYTES_AND_SPECIALS:
            raise ValueError(f"a vocabulary of byte pairs holds every byte: more than {BYTES_AND_SPECIALS}, or tokenizer: word")
        return self


class Base(_Decoder):
    """A language model that somebody has trained: a name on the Hugging Face Hub, or a folder that save_pretrained wrote."""

    kind: Literal["pretrained"] = "pretrained"
    name: str = Field(
        min_length=1, description="owner/name on the Hub, or a folder, relative to the recipe; alone it may stand in the decoder's place"
    )
    revision: str = Field(default="main", min_length=1, description="branch, tag or commit on the Hub; a folder has none")
    file: str | None = Field(
        default=None,
        min_length=1,
        description="a GGUF file in the folder or on the Hub, in the place of safetensors; its numbers become float32, whatever they were",
    )
    context: int | None = Field(
        default=None, ge=8, description="most tokens of question, media and answer together; by default what the base takes, 2048 at most"
    )
    language: str | None = Field(
        default=None, min_length=2, description="of Whisper: the language that is spoken, as en; a model of many languages wants one"
    )
    speech: Literal["transcribe", "translate"] = Field(
        default="transcribe", description="of a Whisper of many languages: what was said, or what it means in English"
    )
    lora: Lora | None = Field(default=None, description="low-rank additions, which a stage trains as decoder.lora")

    @model_validator(mode="after")
    def _one_file(self) -> Base:
        if self.file is not None and not self.file.endswith(".gguf"):
            raise ValueError(
                f"file is for weights in one GGUF file, NAME.gguf, and {self.file!r} is none; a folder of safetensors needs no file"
            )
        return self

    def placed(self, path: Callable[[str], str]) -> Base:
        """The same with a folder from the recipe's. Raises InputError where there is no such folder."""
        return placed(self, path)


Decoder = Annotated[Annotated[Small | Base, Field(discriminator="kind")], BeforeValidator(base_or_word)]
