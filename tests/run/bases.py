"""What the walk over all fields trains on: tiny pretrained models of random weights, pictures of noise, tables."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3}


def write_bases(folder: Path, suffix: str, seed: int) -> None:
    """A tiny BERT with its tokenizer, and a tiny ViT, AST and Whisper with their processors, of random weights."""
    torch.manual_seed(seed)
    words = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8}
    letters = {letter: number for number, letter in enumerate(["[UNK]", *"abcdefghijklmnopqrstuvwxyz<>/ "])}
    held = Tokenizer(models.WordLevel(letters, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokens = transformers.PreTrainedTokenizerFast(tokenizer_object=held, unk_token="[UNK]", pad_token="[UNK]", model_max_length=64)
    bert = transformers.BertModel(transformers.BertConfig(vocab_size=len(letters), max_position_embeddings=64, **words))
    vit = transformers.ViTModel(transformers.ViTConfig(image_size=16, patch_size=8, **words))
    processor = transformers.ViTImageProcessorPil(size={"height": 16, "width": 16})
    ast = transformers.ASTModel(transformers.ASTConfig(max_length=32, num_mel_bins=16, patch_size=8, **words))
    heard = transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=32)
    halves = {
        f"{half}_{name}": size for half in ("encoder", "decoder") for name, size in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 8))
    }
    whisper = transformers.WhisperModel(
        transformers.WhisperConfig(d_model=8, num_mel_bins=8, max_source_positions=50, vocab_size=9, **TOKENS, **halves)
    )
    spoken = transformers.WhisperFeatureExtractor(8, chunk_length=1)
    sizes = {**words, "num_key_value_heads": 1, "max_position_embeddings": 128}
    letters_ = transformers.PreTrainedTokenizerFast(tokenizer_object=held, unk_token="[UNK]", pad_token="[UNK]", eos_token="/")
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=len(letters), eos_token_id=letters["/"], bos_token_id=None, pad_token_id=0, **sizes)
    )
    speaks, speech = write_whisper(letters, halves)
    bases = {
        "speaks": (speaks, speech),
        "llama": (llama, letters_),
        "bert": (bert, tokens),
        "vit": (vit, processor),
        "ast": (ast, heard),
        "whisper": (whisper, spoken),
    }
    for name, parts in bases.items():
        for part in parts:
            part.save_pretrained(folder / f"{name}{suffix}")


def write_whisper(letters: dict[str, int], halves: dict[str, int]) -> tuple[Any, Any]:
    """A Whisper of two languages that writes letters."""
    held = Tokenizer(models.WordLevel(letters, unk_token="[UNK]"))
    held.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    held.add_special_tokens([f"<|{word}|>" for word in ("startoftranscript", "en", "de", "transcribe", "translate", "notimestamps")])
    speech = transformers.PreTrainedTokenizerFast(tokenizer_object=held, unk_token="[UNK]", pad_token="[UNK]", eos_token="/")
    ids = {**TOKENS, "decoder_start_token_id": held.token_to_id("<|startoftranscript|>"), "eos_token_id": letters["/"]}
    sizes = {"d_model": 8, "num_mel_bins": 8, "max_source_positions": 50, "max_target_positions": 40, "vocab_size": held.get_vocab_size()}
    model = transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**sizes, **ids, **halves))
    model.generation_config.is_multilingual = True
    return model, speech


def noise(film: int, frame: int) -> np.ndarray:
    return np.random.default_rng([film, frame]).integers(0, 250, (16, 24, 3)).astype(np.uint8)


def write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
