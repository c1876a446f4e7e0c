"""Low-rank additions (LoRA, Hu et al. 2022) to the linear layers of a pretrained network, through peft; saved as peft saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from triptych.base.errors import InputError
from triptych.base.files import written_aside

MARK = "lora_"
"""In the names of what is added."""
SECOND = "lora_B"
"""In the names of the factor that begins at zero."""
ADAPTER = "default"


def add(base: nn.Module, layers: list[nn.Module], lora: Any, name: str) -> None:
    """Put additions beside the linear layers in `layers`, blocks of `base`, that `lora.targets` names; they add nothing yet.

    Raises:
        InputError: no layer is named so; the names that are there are listed.
    """
    from peft import inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D  # a linear layer with its weight on its side (GPT-2)

    inside = {id(module) for layer in layers for module in layer.modules()}
    linear = [path for path, module in base.named_modules() if isinstance(module, nn.Linear | Conv1D) and id(module) in inside]
    if not linear:
        raise InputError(
            f"{name} has no linear layers that low-rank additions could lie beside", fix="approach: last, or stages that train last(N)"
        )
    asked = None if lora.targets == "all" else set(lora.targets)
    chosen = [path for path in linear if asked is None or asked & {path.rsplit(".", 1)[-1], path}]
    known = sorted({path.rsplit(".", 1)[-1] for path in linear})
    strange = sorted((asked or set()) - {word for path in linear for word in (path.rsplit(".", 1)[-1], path)})
    if strange or not chosen:
        raise InputError(
            f"lora.targets names {strange[0] if strange else 'nothing'!r}, and no linear layer of {name} is called so",
            known=[*known, "all"],
        )
    inject_adapter_in_model(_config(lora, chosen, name, base), base, ADAPTER)


def _config(lora: Any, targets: list[str], name: str, base: nn.Module) -> Any:
    from peft import LoraConfig
    from transformers.pytorch_utils import Conv1D

    aside = all(isinstance(getattr(layer, "base_layer", layer), Conv1D) for layer in map(base.get_submodule, targets))

    words = {"r": lora.rank, "lora_alpha": lora.alpha or 2 * lora.rank, "lora_dropout": lora.dropout, "fan_in_fan_out": aside}
    return LoraConfig(**words, target_modules=targets, base_model_name_or_path=name, inference_mode=True)


def write(base: nn.Module, lora: Any, name: str, folder: Path) -> None:
    """The additions as `peft.PeftModel.from_pretrained(base, folder)` takes them."""
    held = {path: tensor for path, tensor in base.state_dict().items() if MARK in path}
    targets = sorted({path.split(f".{MARK}")[0] for path in held})
    folder.mkdir(parents=True, exist_ok=True)
    _config(lora, targets, name, base).save_pretrained(folder)
    plain = {f"base_model.model.{path.replace(f'.{ADAPTER}.', '.')}": tensor.contiguous() for path, tensor in held.items()}
    with written_aside(folder / "adapter_model.safetensors") as aside:
        save_file(plain, aside, {"format": "pt"})
