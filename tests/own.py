"""Tiny models that only code of their own builds, as a repository on the Hub has them: of texts, pictures and sounds."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

WIDTH, LETTERS = 8, {letter: number for number, letter in enumerate(["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz "])}

CONFIGURATION = """
from transformers import PretrainedConfig


class TinyConfig(PretrainedConfig):
    model_type = "tiny_of_its_own"

    def __init__(self, width=8, depth=2, takes="text", **words):
        self.width, self.depth, self.takes = width, depth, takes
        super().__init__(**words)
"""

MODEL = """
import torch
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_tiny import TinyConfig

SCALE = 1.0


class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.enters = torch.nn.Embedding(29, config.width) if config.takes == "text" else torch.nn.Linear(1, config.width)
        self.blocks = torch.nn.ModuleList([torch.nn.Linear(config.width, config.width) for _ in range(config.depth)])
        self.norm = torch.nn.LayerNorm(config.width)
        self.post_init()

    def forward(self, FORWARD, attention_mask=None):
        hidden = ENTER
        for block in self.blocks:
            hidden = hidden + torch.tanh(block(hidden))
        hidden = self.norm(hidden) * SCALE
        return BaseModelOutputWithPooling(last_hidden_state=hidden)
"""
FORWARDS = {
    "text": ("input_ids", "self.enters(input_ids)"),
    "image": ("pixel_values", "self.enters(pixel_values.mean(1).flatten(1)[:, :, None])"),
    "audio": ("input_values", "self.enters(input_values.unfold(1, 80, 80).std(-1)[:, :, None])"),
}

SPELLER = """
from transformers import PythonBackend


class TinySpeller(PythonBackend):
    vocab_files_names = {}

    def __init__(self, **words):
        self.letters = {letter: number for number, letter in enumerate(["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz "])}
        super().__init__(pad_token="[PAD]", unk_token="[UNK]", **words)

    @property
    def vocab_size(self):
        return len(self.letters)

    def get_vocab(self):
        return dict(self.letters)

    def _tokenize(self, text, **words):
        return list(text.lower())

    def _convert_token_to_id(self, token):
        return self.letters.get(token, 1)

    def _convert_id_to_token(self, number):
        return list(self.letters)[number]

    def save_vocabulary(self, folder, filename_prefix=None):
        return ()
"""

PROCESSOR = """
import numpy as np
from transformers import BaseImageProcessor, BatchFeature


class TinyProcessor(BaseImageProcessor):
    model_input_names = ["pixel_values"]

    def __call__(self, images, return_tensors=None, **words):
        made = np.asarray(images.resize((6, 6)), np.float32).transpose(2, 0, 1)[None] / 255
        return BatchFeature({"pixel_values": made}, tensor_type=return_tensors)

    preprocess = __call__
"""


def write_own(folder: Path, takes: str = "text", seed: int = 0, speller: bool = False) -> Path:
    """A repository: weights, config, code; a tokenizer of the usual kind or of its own; processors by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    argument, enters = FORWARDS[takes]
    (folder / "configuration_tiny.py").write_text(CONFIGURATION)
    (folder / "modeling_tiny.py").write_text(MODEL.replace("FORWARD", argument).replace("ENTER", enters))
    auto = {"AutoConfig": "configuration_tiny.TinyConfig", "AutoModel": "modeling_tiny.TinyModel"}
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny_of_its_own", "takes": takes, "auto_map": auto}))
    enter = {"enters.weight": torch.randn(29, WIDTH)}
    if takes != "text":
        enter = {"enters.weight": torch.randn(WIDTH, 1), "enters.bias": torch.randn(WIDTH)}
    blocks = {
        f"blocks.{n}.{name}": torch.randn(*shape) for n in range(2) for name, shape in (("weight", (WIDTH, WIDTH)), ("bias", (WIDTH,)))
    }
    norm = {"norm.weight": torch.ones(WIDTH), "norm.bias": torch.zeros(WIDTH)}
    save_file({**enter, **blocks, **norm}, folder / "model.safetensors", {"format": "pt"})
    if takes == "text" and not speller:
        held = Tokenizer(models.WordLevel(LETTERS, unk_token="[UNK]"))
        held.pre_tokenizer = pre_tokenizers.Split("", "isolated")
        words = {"unk_token": "[UNK]", "pad_token": "[PAD]", "model_max_length": 32}
        transformers.PreTrainedTokenizerFast(tokenizer_object=held, **words).save_pretrained(folder)
    if speller:
        (folder / "spelling_tiny.py").write_text(SPELLER)
        auto = {"AutoTokenizer": ["spelling_tiny.TinySpeller", None]}
        about = {"tokenizer_class": "TinySpeller", "auto_map": auto, "model_max_length": 32}
        (folder / "tokenizer_config.json").write_text(json.dumps(about))
    if takes == "image":
        (folder / "processing_tiny.py").write_text(PROCESSOR)
        about = {"image_processor_type": "TinyProcessor", "auto_map": {"AutoImageProcessor": "processing_tiny.TinyProcessor"}}
        (folder / "preprocessor_config.json").write_text(json.dumps(about))
    if takes == "audio":
        transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000, return_attention_mask=True).save_pretrained(folder)
    return folder


def repository(folder: Path) -> dict[str, bytes]:
    """Its files, as the server of `hubs.py` wants them."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
