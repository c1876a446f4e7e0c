"""A run's trained base as a folder of its own, as save_pretrained would have written it: transformers and other recipes open it.

The halves of a dual encoder that two inputs trained come together again, with the temperature of the space they share.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from triptych.base import hub
from triptych.base.errors import InputError
from triptych.layers.held import BASE
from triptych.layers.tower import Tower
from triptych.use.opened import Run


def export_base(run: Run, out: Path, column: str | None = None) -> dict[str, Any]:
    """Write the base of a run's pretrained encoders into `out`, with what was trained in the place of what it was.

    Args:
        run: an opened run.
        out: a folder that is not there, or empty.
        column: an input whose base is meant; needed where there are several bases.

    Returns:
        `out`, `inputs` whose encoders are in it, `trained` and `tensors`: how many tensors differ from the base's, of how many.

    Raises:
        InputError: the run has no pretrained encoder or several bases, `out` is not empty, or two inputs trained one tensor.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{str(out)!r} is there already", fix="name a new folder with --base")
    towers = _of_one_base(run, column)
    first = next(iter(towers.values()))
    whole = {name: tensor for file in hub.weights(first.folder) for name, tensor in load_file(file).items()}
    changed: dict[str, Tensor] = {}
    for name, tower in towers.items():
        for key, tensor in _trained(tower, whole).items():
            if key in changed and not torch.equal(changed[key], tensor):
                what = f"inputs {', '.join(towers)} each trained {key} of one base, and it can have one value only"
                raise InputError(what, fix=f"say which is meant: --input {name}")
            changed[key] = tensor
    changed |= _scale(run, towers, whole)
    _write({**whole, **changed}, first.folder, out)
    return {"out": str(out), "inputs": list(towers), "trained": len(changed), "tensors": len(whole)}


def _of_one_base(run: Run, column: str | None) -> dict[str, Tower]:
    towers = {name: encoder for name, encoder in run.model.encoders.items() if isinstance(encoder, Tower)}
    if not towers:
        raise InputError("no encoder of this run is a pretrained one, so there is no base to write", where=str(run.folder.path))
    if column is not None:
        if column not in towers:
            raise InputError(f"input {column!r} has no pretrained encoder", known=towers, fix="--input NAME")
        return {column: towers[column]}
    bases = {tower.facts["digest"]: name for name, tower in towers.items()}
    if len(bases) > 1:
        raise InputError("this run has several bases", known=towers, fix=f"say whose is meant: --input {next(iter(towers))}")
    return towers


def _trained(tower: Tower, whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of a base's file that are no longer as they were there, by their name in it; low-rank additions are added up."""
    changed = {}
    for name, tensor in _merged(tower).items():
        key = _in_file(name, whole)
        if key is not None and tensor.is_floating_point() and not torch.equal(tensor, whole[key].to(tensor.dtype)):
            changed[key] = tensor.contiguous().clone()
    return changed


@torch.no_grad()
def _merged(tower: Tower) -> dict[str, Tensor]:
    base, added = tower.base, {}
    for name, layer in base.named_modules():
        if hasattr(layer, "get_delta_weight"):
            added[f"{name}.weight"] = sum(layer.get_delta_weight(one) for one in layer.active_adapters)
    plain = {name.replace(".base_layer.", "."): tensor.detach() for name, tensor in base.state_dict().items() if ".lora_" not in name}
    return {name: tensor + added[name] if name in added else tensor for name, tensor in plain.items()}


def _in_file(name: str, whole: dict[str, Tensor]) -> str | None:
    """A tensor's name in the base's file: its own, or that behind the name of the whole model or without it."""
    if name in whole:
        return name
    longer = [key for key in whole if key.endswith(f".{name}")]
    if len(longer) == 1:
        return longer[0]
    short = name.partition(".")[2]
    return short if short in whole else None


def _scale(run: Run, towers: dict[str, Tower], whole: dict[str, Tensor]) -> dict[str, Tensor]:
    """The temperature and bias that a contrast task learnt in the base's own space, in the base's own place for them."""
    found: dict[str, Tensor] = {}
    for name, task in run.recipe.tasks.items():
        if getattr(task, "space", None) != "own" or not set(task.between) & set(towers):  # type: ignore[union-attr]
            continue
        head: Any = run.model.heads[name]
        values = {"scale": float(head.log_scale.detach()), "bias": float(head.bias.detach())}
        for tower in towers.values():
            for fact, key in tower.family.scalars.items():
                if key in whole and math.isfinite(values[fact]):
                    found[key] = torch.full_like(whole[key], values[fact], dtype=torch.float32)
    return found


def _write(tensors: dict[str, Tensor], base: Path, out: Path) -> None:
    """The base's other files as they are, and one file of weights; the folder appears whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{BASE}-"))
    try:
        shutil.copytree(base, aside, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", hub.INDEX, ".*"))
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, aside / hub.WEIGHTS, {"format": "pt"})
        aside.chmod(0o755)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
