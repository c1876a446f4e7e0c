"""What a recipe may say about a text input. Imports nothing heavy: recipes are checked before torch is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from triptych.base.errors import InputError, unknown_word
from triptych.base.settings import Settings, base_or_word
from triptych.contract.augment import Step, steps
from triptych.contract.modality import InputSettings
from triptych.contract.pretrained import Pretrained, refuse_clashes

BYTES_AND_SPECIALS = 256 + 3
"""What a byte-pair vocabulary always holds: every byte, and [PAD], [UNK], [CLS]."""


TOKENIZERS = ("bpe", "word")
FILE = ".json"


class Cleaning(Settings):
    """What is done to a text before it is cut into tokens, in this order; each word does one thing."""

    mend_encoding: bool = Field(
        default=False, description="put letters right that were read in the wrong encoding (Ã© for é), with the library ftfy"
    )
    strip_markup: bool = Field(
        default=False, description="drop HTML tags, scripts and styles; entities become their characters, blocks a space"
    )
    strip_control: bool = Field(default=False, description="drop control characters; tabs and ends of lines stay")
    replace_links: bool = Field(default=False, description="an address of a page becomes the word url, one of a person the word email")
    unicode: Literal["nfc", "nfkc", "none"] | None = Field(
        default=None,
        description=(
            "form of letters: nfc: é is one letter however it was typed; "
            "nfkc: full-width letters, ligatures and raised digits as plain ones too; "
            "by default nfc, unless the encoder is pretrained and has its own ways"
        ),
    )
    strip_accents: bool = Field(
        default=False, description="read é as e, ü as u: every mark on a letter goes, so not for scripts that write vowels so"
    )
    lowercase: bool | None = Field(
        default=None, description="read capital letters as small ones; by default yes, unless the tokenizer is a file, which says so itself"
    )
    fold_spaces: bool = Field(default=False, description="any run of white space is one space, and there is none at the ends")


def _tokenizer(value: Any) -> Any:
    if isinstance(value, str) and value not in TOKENIZERS and not value.lower().endswith(FILE):
        raise unknown_word("tokenizer", value, [*TOKENIZERS, "a file NAME.json"])
    return value


def room_for_bytes(kind: str, vocabulary: int) -> None:
    """Refuse a byte-pair vocabulary that does not hold every byte."""
    if kind == "bpe" and vocabulary <= BYTES_AND_SPECIALS:
        held = f"a bpe vocabulary holds {BYTES_AND_SPECIALS} tokens before it learns any"
        raise ValueError(f"{held}: vocabulary must be greater than that, it is {vocabulary}")


VOCABULARY = Field(
    default=8000, ge=8, le=200_000, description="most tokens the tokenizer may learn; it takes no more than the training texts need"
)


class Prepare(Cleaning):
    """How texts become token ids: cleaned, and cut by a tokenizer that is trained on the training rows, or that is there already."""

    tokenizer: Annotated[Literal["bpe", "word"] | str, BeforeValidator(_tokenizer)] = Field(
        default="bpe",
        description=(
            "bpe: pieces of words, down to single bytes, so nothing is unknown; word: whole words and signs, unseen ones are [UNK]; "
            "or a tokenizer.json, relative to the recipe, whose vocabulary is taken as it is"
        ),
    )
    vocabulary: int = VOCABULARY
    max_tokens: int = Field(
        default=128, ge=2, le=8192, description="longest text in tokens, with the [CLS] at its start; the rest is cut off"
    )

    @property
    def file(self) -> Path | None:
        """The tokenizer that is there already, if that is what the recipe says."""
        return None if self.tokenizer in TOKENIZERS else Path(self.tokenizer)

    @model_validator(mode="after")
    def _room_for_bytes(self) -> Prepare:
        room_for_bytes(self.tokenizer, self.vocabulary)
        return self


class Corpus(Cleaning):
    """Options of `triptych data tokenizer`."""

    kind: Literal["bpe", "word"] = Field(
        default="bpe", description="bpe: pieces of words, down to single bytes; word: whole words and signs"
    )
    vocabulary: int = VOCABULARY

    @model_validator(mode="after")
    def _room_for_bytes(self) -> Corpus:
        room_for_bytes(self.kind, self.vocabulary)
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


class Synonym(Step):
    """Words are replaced by others that mean the same (EDA: Wei and Zou 2019)."""

    kind: Literal["synonym"] = "synonym"
    share: float = Field(default=0.2, gt=0, le=1, description="share of the words that is replaced, and at least one that the list knows")
    file: str | None = Field(
        default=None,
        min_length=1,
        description="a list of synonyms, relative to the recipe: a thesaurus of LibreOffice (th_en_US_v2.dat), or lines of words that mean "
        "the same, with commas between them; by default a short list of everyday English",
    )


class Swap(Step):
    """Pairs of words change places (EDA)."""

    kind: Literal["swap"] = "swap"
    share: float = Field(default=0.1, gt=0, le=1, description="pairs that change places, in proportion to the words; at least one")


class Drop(Step):
    """Words are left out, but never all (EDA)."""

    kind: Literal["drop"] = "drop"
    share: float = Field(default=0.1, gt=0, lt=1, description="chance of each word to be left out")


class Paraphrase(Step):
    """The text in other words, by a text-to-text model; one that loses a number or a class's name is not taken."""

    kind: Literal["paraphrase"] = "paraphrase"
    model: str = Field(min_length=1, description="a text-to-text model: its name on the hub, or its folder, relative to the recipe")
    prompt: str = Field(default="paraphrase: {text}", description="what the model is told; {text} is the text")
    temperature: float = Field(default=1.0, gt=0, le=5, description="how freely words are drawn; low: the likeliest ones")
    candidates: int = Field(default=4, ge=1, le=32, description="paraphrases that are drawn; the first that keeps what it must is taken")

    @model_validator(mode="after")
    def _has_a_place(self) -> Paraphrase:
        if "{text}" not in self.prompt:
            raise ValueError(f"prompt {self.prompt!r} has no place for the text; write {{text}} there")
        return self

    @property
    def folder(self) -> bool:
        """Whether the model is meant to be a folder."""
        return self.model.startswith(("./", "../", "/", "~")) or self.model.count("/") > 1


class Input(InputSettings):
    """A text input of a recipe."""

    modality: Literal["text"] = Field(default="text", description="the room that reads this input")
    prepare: Prepare = Field(default=Prepare(), description="how texts become token ids")
    encoder: Annotated[Transformer | Lstm | Gru | Pretrained, Field(discriminator="kind"), BeforeValidator(base_or_word)] = Field(
        default=Transformer(), description="the network that reads the tokens: transformer, lstm, gru, or a pretrained one: owner/name"
    )
    augment: Annotated[
        list[Annotated[Synonym | Swap | Drop | Paraphrase, Field(discriminator="kind")]],
        BeforeValidator(steps(Synonym, Swap, Drop, Paraphrase)),
    ] = Field(default=[], description="what is done to training rows, in this order: synonym, swap, drop, paraphrase")

    @model_validator(mode="after")
    def _one_tokenizer(self) -> Input:
        refuse_clashes(self.prepare, self.encoder, ("tokenizer", "vocabulary"), "which brings its own tokenizer")
        return self

    def placed(self, path: Callable[[str], str]) -> Input:
        """The same with the paths of a tokenizer, a pretrained encoder, a list of synonyms and a model from the recipe's folder.

        Raises:
            InputError: there is no such file or folder.
        """
        placed = self.model_copy(update={"augment": [_placed(step, path) for step in self.augment]})
        if isinstance(self.encoder, Pretrained):
            return placed.model_copy(update={"encoder": self.encoder.placed(path)})
        if self.prepare.file is None:
            return placed
        found = path(self.prepare.tokenizer)
        if not Path(found).is_file():
            fix = f"triptych data tokenizer SOURCE --column COLUMN --out {self.prepare.tokenizer} makes one"
            raise InputError(f"there is no tokenizer {self.prepare.tokenizer!r}", where=found, known=TOKENIZERS, fix=fix)
        return placed.model_copy(update={"prepare": self.prepare.model_copy(update={"tokenizer": found})})


def _placed(step: Any, path: Callable[[str], str]) -> Any:
    """A step with the path of what it reads."""
    if isinstance(step, Synonym) and step.file is not None:
        if not Path(found := path(step.file)).is_file():
            fix = "a line a group of words, with commas between them; or a LibreOffice thesaurus: apt-get install mythes-en-us"
            raise InputError(f"there is no list of synonyms {step.file!r}", where=found, fix=fix)
        return step.model_copy(update={"file": found})
    if isinstance(step, Paraphrase) and (step.folder or Path(path(step.model)).is_dir()):
        if not Path(found := path(step.model)).is_dir():
            fix = "name a model of the hub (google/flan-t5-small), or the folder it was saved in"
            raise InputError(f"there is no folder {step.model!r} with a model", where=found, fix=fix)
        return step.model_copy(update={"model": found})
    return step
