"""Text encoders that code of their own builds, and tokenizers that only their own code can ask."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch

from triptych.base import hub
from triptych.contract.values import Packed
from triptych.layers.own import Own, class_of
from triptych.layers.tower import quiet

FOLDER = "tokenizer"


class OwnText(Own):
    """Ids and their mask go in."""

    asks: ClassVar[Mapping[str, tuple[str, ...]]] = {"ids": ("input_ids",)}

    def facts(self, config: Any) -> dict[str, Any]:
        """How many tokens fit, as far as the config says."""
        return {"positions": int(getattr(config, "max_position_embeddings", 0) or 0), "filled": False}

    def sample(self, folder: Path, base: Any) -> Packed:
        """Three tokens, of the lowest ids."""
        return Packed({"ids": torch.tensor([[1, 2, 3]])}, torch.ones(1, 3, dtype=torch.bool))


def tokenizer(folder: Path, code: bool) -> Any:
    """A folder's tokenizer as transformers has it; the one of its own code, if that may run. Raises all kinds."""
    from transformers import AutoTokenizer

    with quiet():
        own = class_of(folder, "tokenizer_config.json", "AutoTokenizer") if code else None
        if own is not None:
            return own.from_pretrained(folder, local_files_only=True)
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


class Slow:
    """A tokenizer of transformers that has no form of the `tokenizers` library: it is asked text by text."""

    def __init__(self, folder: Path, code: bool) -> None:
        """From the folder of a base, or what `save` wrote; with code of its own, if that may run."""
        self.folder = folder
        self.held = tokenizer(folder, code)

    def ids(self, texts: Sequence[str], most: int | None) -> list[list[int]]:
        """Of each text, special tokens and all; a text that is cut keeps the token at its end."""
        words = {} if most is None else {"truncation": True, "max_length": most}
        with quiet():  # of a text that is longer than the model takes it warns, and that is measured here
            made: list[list[int]] = self.held(list(texts), return_attention_mask=False, **words)["input_ids"]
        return made

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Each token as readable text."""
        return [self.held.decode([number]) or str(self.held.convert_ids_to_tokens(number)) for number in ids]

    @property
    def unknown(self) -> int:
        """The token of what is not in the vocabulary; -1 where nothing is."""
        found = self.held.unk_token_id
        return -1 if found is None else int(found)

    def save(self, folder: Path) -> None:
        """Its files and its code as they are."""
        out = folder / FOLDER
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(self.folder.iterdir()):
            if file.suffix in hub.TEXTS and file.name != hub.INDEX:
                shutil.copyfile(file, out / file.name)
        hub.carry_code(self.folder, out)
