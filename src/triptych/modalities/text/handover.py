"""A language model from scratch, as transformers opens it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from triptych.layers.tower import quiet


def hand_over(writer: Any, script: Any, folder: Path) -> None:
    """Write config, weights, generation config and tokenizer. There is no chat template: it was asked in the plain form."""
    from transformers import PreTrainedTokenizerFast

    chat = script.chat
    special = {"pad_token": chat.pad, "eos_token": chat.stops[0]}
    names = {name: chat.tokenizer.id_to_token(number) for name, number in special.items()}
    with quiet():
        writer.base.save_pretrained(folder)
        PreTrainedTokenizerFast(tokenizer_object=chat.tokenizer, **names).save_pretrained(folder)
