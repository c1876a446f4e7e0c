"""Texts in other words, by a text-to-text model of the user's choice (T5, BART and their like)."""

from __future__ import annotations

import re
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from triptych.base.errors import InputError
from triptych.base.extras import need
from triptych.modalities.text.settings import Paraphrase

NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
LONGEST = 2.0
SHORTEST = 0.4
"""A paraphrase has between so many times the characters of its text; others add or lose something."""
TOP = 0.95
"""Least probability of the words that are drawn from (nucleus sampling: Holtzman et al. 2020)."""
SEEDS = 2**31
MOST = 512
"""Tokens of a text that are read, and of a paraphrase."""
TAKEN, LEFT = "texts paraphrased", "texts left as they are: no paraphrase kept their numbers and classes in other words"


class Paraphraser:
    """A text -> the first of some drawn paraphrases that keeps every number and every name of a class; else the text itself.

    `counts` says how often which of them happened. The model is loaded at once, so that what is wrong with it is said before training.
    """

    def __init__(self, step: Paraphrase, words: frozenset[str], counts: Counter[str]) -> None:
        """`words` are the names of classes.

        Raises:
            InputError: transformers is not installed, or the model cannot be loaded, or is no text-to-text model.
        """
        self.step, self.counts = step, counts
        self.names = [(name, re.compile(rf"(?<!\w){re.escape(name)}(?!\w)", re.IGNORECASE)) for name in sorted(words) if name]
        self.tokenizer, self.model = loaded(step.model)
        self._lock = threading.Lock()

    def __call__(self, text: str, step: Paraphrase, rng: np.random.Generator) -> str:
        """The text in other words."""
        with self._lock:  # tokenizers are not made for several threads
            kept = next((other for other in self.drawn(text, int(rng.integers(SEEDS))) if self.keeps(text, other)), None)
            self.counts[TAKEN if kept else LEFT] += 1
        return kept or text

    def keeps(self, text: str, other: str) -> bool:
        """Whether a paraphrase may stand for the text: other words, the same numbers, the same names of classes, of like length."""
        if other.casefold().split() == text.casefold().split() or not SHORTEST <= len(other) / len(text) <= LONGEST:
            return False
        if sorted(NUMBER.findall(text)) != sorted(NUMBER.findall(other)):
            return False
        return all(bool(name.search(text)) == bool(name.search(other)) for _, name in self.names)

    def drawn(self, text: str, seed: int) -> list[str]:
        """Some paraphrases: always the same for a text and a seed, as no other text is in their batch."""
        import torch

        given = self.tokenizer(self.step.prompt.replace("{text}", text), return_tensors="pt", truncation=True, max_length=MOST)
        count, most = self.step.candidates, int(given["input_ids"].shape[1] * LONGEST) + 8
        with torch.inference_mode():
            made = self.model.generate(
                **{name: tensor.expand(count, -1) for name, tensor in given.items()},
                do_sample=False,
                num_beams=1,
                logits_processor=[_drawing(seed, self.step.temperature)],
                max_new_tokens=min(most, MOST),
            )
        return [" ".join(other.split()) for other in self.tokenizer.batch_decode(made, skip_special_tokens=True)]


def _drawing(seed: int, temperature: float) -> Any:
    """Lets the likeliest word be one that was drawn: the largest of log-probabilities with Gumbel noise is such a draw.

    The library's own sampling takes torch's global random numbers, which the training takes its own from at the same time.
    """
    import torch
    from transformers import TopPLogitsWarper

    numbers, likely = torch.Generator().manual_seed(seed), TopPLogitsWarper(TOP)

    def draw(ids_PT: Any, scores_PV: Any) -> Any:
        noise_PV = -torch.empty(scores_PV.shape).exponential_(generator=numbers).log()
        return likely(ids_PT, scores_PV.float() / temperature) + noise_PV

    return draw


def loaded(name: str) -> tuple[Any, Any]:
    """Tokenizer and model, in eval mode, from a folder or the hub; weights from safetensors alone.

    Raises:
        InputError: there is no such model, or it writes no texts from texts.
    """
    transformers = need("transformers", extra="augment", why="augment: paraphrase")
    where = "augment.paraphrase.model"
    fix = "name a text-to-text model (google/flan-t5-small), or the folder that save_pretrained wrote"
    bars = transformers.utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
        if not config.is_encoder_decoder:
            raise InputError(f"{name} is a {config.model_type} model, which does not write texts from texts", where=where, fix=fix)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(name, trust_remote_code=False, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        kind = "folder" if Path(name).is_dir() else "model"
        raise InputError(f"the {kind} {name} cannot be loaded: {str(error).strip().splitlines()[0]}", where=where, fix=fix) from error
    finally:
        if shown:
            bars.enable_progress_bar()
    return tokenizer, model.eval()
