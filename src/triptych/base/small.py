"""Small bases with random weights, in the form that save_pretrained writes: a beginning where none can be downloaded.

A recipe names one as `small:clap`; a run trains it, and `triptych export RUN --base FOLDER` writes what it became.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from triptych.base.errors import unknown_word
from triptych.base.files import kept_folder

PREFIX = "small:"
VERSION = 1  # raise it when a base changes, so that those on disk are made again
SEED = 0
WORDS = 400
"""Tokens of a small base's own vocabulary, about; the 256 bytes are always among them."""
ENGLISH = (
    "a an the this that is are was it in on of and to for with without by at as from or not no very one two some many few more less "
    "you we they i my your what how there here has have can all other new old good bad great small big high low long short loud soft "
    "quiet clear slow medium fast calm happy sad cheerful merry joyful mournful gloomy sorrowful suspense tense eerie uneasy epic heroic "
    "mighty grand angry music song tune piece track melody soundtrack background key major minor drums drum instruments instrument notes "
    "note register middle played play plays band something rock jazz classical piano guitar violin flute voice speaking talking singing "
    "man woman child people crowd dog bird cat car engine rain wind water sea door bell phone noise sound hears heard recording"
)
"""What the vocabulary's merges are learnt from, so that common words of descriptions are one token each."""


def is_small(name: str) -> bool:
    """Whether a word means one of these."""
    return name.startswith(PREFIX)


def small(name: str) -> Path:
    """The folder of `small:KIND` in the cache folder, made if it is not there yet; always the same weights.

    Raises:
        InputError: there is no such kind.
    """
    kind = name.removeprefix(PREFIX)
    if kind not in MAKERS:
        raise unknown_word("small base", kind, MAKERS)
    return kept_folder(f"bases/{kind}-v{VERSION}", MAKERS[kind])


def small_clap(folder: Path, **sizes: Any) -> None:
    """A CLAP (Wu et al. 2023) of 0.8 million parameters: HTSAT over 5 s at 16 kHz, and a RoBERTa of two layers.

    Args:
        folder: gets config, weights, feature extractor and tokenizer.
        sizes: words of the sound half's config that are to be others.
    """
    import torch
    import transformers as t

    text, ids = _tokenizer(t)
    words = {"vocab_size": len(text), "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 192}
    hears = {"num_mel_bins": 64, "spec_size": 128, "patch_size": 8, "patch_stride": (8, 8), "patch_embeds_hidden_size": 32}
    layers = {"hidden_size": 128, "depths": [2, 2, 2], "num_attention_heads": [2, 4, 8], "window_size": 4, "enable_fusion": False}
    config = t.ClapConfig(
        text_config={**words, **ids, "max_position_embeddings": 66},
        audio_config={**hears, **layers, "drop_path_rate": 0.0, **sizes},
        projection_dim=64,
    )
    extractor = t.ClapFeatureExtractor(
        feature_size=64,
        sampling_rate=16_000,
        hop_length=320,
        fft_window_size=1_024,
        max_length_s=5,
        frequency_min=50,
        frequency_max=8_000,
        truncation="rand_trunc",
        padding="pad",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = t.ClapModel(config)
    shown = t.utils.logging.is_progress_bar_enabled()
    t.utils.logging.disable_progress_bar()
    for part in (model, extractor, text):
        part.save_pretrained(folder)
    if shown:
        t.utils.logging.enable_progress_bar()


def _tokenizer(t: Any) -> tuple[Any, dict[str, int]]:
    """Byte-level pairs as RoBERTa has them, learnt from `ENGLISH`: any text can be written in it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    merges = trainers.BpeTrainer(
        vocab_size=256 + len(special) + WORDS, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator([ENGLISH] * 3, merges)
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=True)
    named = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), special, strict=True))
    held = t.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=64, cls_token="<s>", sep_token="</s>", **named)
    return held, {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


MAKERS: dict[str, Callable[[Path], None]] = {"clap": small_clap}
