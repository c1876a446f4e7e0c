"""GGUF files (llama.cpp) as bases: read once by transformers, dequantised, and kept in the cache folder as save_pretrained writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from triptych.base import hub
from triptych.base.errors import InputError
from triptych.base.extras import need
from triptych.base.files import kept_digest, kept_folder
from triptych.layers.tower import quiet

SUFFIX = ".gguf"


def unpacked(name: str, revision: str, file: str) -> Path:
    """The folder of a base whose weights are a GGUF file in a folder, or in a name on the Hub. In float32, whatever they were.

    Raises:
        InputError: the file is missing or damaged, or of an architecture that transformers does not read from such files.
    """
    need("gguf", extra="gguf", why=f"decoder.file {file}")
    path = hub.one_file(name, revision, file)
    return kept_folder(f"bases/gguf-{kept_digest(path)[:32]}", lambda out: _unpack(path, out))


def _unpack(path: Path, out: Path) -> None:
    import transformers as t

    where: dict[str, Any] = {"gguf_file": path.name, "local_files_only": True, "trust_remote_code": False}
    with quiet():
        try:
            t.AutoTokenizer.from_pretrained(path.parent, **where).save_pretrained(out)
            read = t.AutoModelForCausalLM.from_pretrained(path.parent, dtype=torch.float32, **where)
        except Exception as error:  # of gguf and transformers, all kinds
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            fix = "download it again; or name the model as its makers published it, in safetensors"
            raise InputError(f"the GGUF file cannot be read: {said}", where=str(path), fix=fix) from error
        words = {name: value for name, value in read.config.to_dict().items() if name != "quantization_config"}
        plain = t.AutoModelForCausalLM.from_config(read.config.__class__(**words))  # the one that was read is marked as quantised
        plain.load_state_dict(read.state_dict())
        plain.float().save_pretrained(out)
