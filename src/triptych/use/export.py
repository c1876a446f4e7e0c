"""A run's trained base as a folder of its own, as save_pretrained would have written it: transformers and other recipes open it.

The halves of a dual encoder that two inputs trained come together again, with the temperature of the space they share; so do an encoder
and a decoder of one base. Low-rank additions are added in, or written alone.
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from triptych.base import hub
from triptych.base.errors import InputError
from triptych.base.files import written_aside
from triptych.contract.generator import Generator
from triptych.layers import adapter as additions
from triptych.layers.held import BASE, Held
from triptych.layers.tower import Tower
from triptych.run.writing import room_of
from triptych.use.opened import Run

DECODER = "decoder"
"""Its name among the inputs."""


def export_base(run: Run, out: Path, column: str | None = None, adapter: bool = False) -> dict[str, Any]:
    """Write the base of a run's pretrained parts into `out`, with what was trained in the place of what it was.

    Args:
        run: an opened run.
        out: a folder that is not there, or empty.
        column: an input whose base is meant, or `decoder`; needed where there are several bases.
        adapter: write the low-rank additions alone, as peft does, for the base as it was.

    Returns:
        `out`, `inputs` whose parts are in it, `trained` and `tensors`: how many tensors differ from the base's, of how many.

    Raises:
        InputError: the run has no pretrained part or several bases, `out` is not empty, or two parts trained one tensor; there are no
            additions, or more than these was trained.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{str(out)!r} is there already", fix="name a new folder with --base")
    held = _of_one_base(run, column)
    if adapter:
        return _adapter(held, out)
    if (decoder := held.get(DECODER)) is not None and not isinstance(decoder, Held):
        return _from_scratch(run, decoder, out)
    bases = {name: part for name, part in held.items() if isinstance(part, Held)}
    first = next(iter(bases.values()))
    whole = {name: tensor for file in hub.weights(first.folder) for name, tensor in load_file(file).items()}
    changed: dict[str, Tensor] = {}
    for name, part in bases.items():
        for key, tensor in _trained(part, whole).items():
            if key in changed and not torch.equal(changed[key], tensor):
                what = f"{', '.join(bases)} each trained {key} of one base, and it can have one value only"
                raise InputError(what, fix=f"say which is meant: --input {name}")
            changed[key] = tensor
    changed |= _scale(run, {name: part for name, part in bases.items() if isinstance(part, Tower)}, whole)
    _write({**whole, **changed}, first.folder, out)
    return {"out": str(out), "inputs": list(bases), "trained": len(changed), "tensors": len(whole)}


def _of_one_base(run: Run, column: str | None) -> dict[str, Any]:
    """Parts by the input's name, or `decoder`; a decoder from scratch is one too."""
    held: dict[str, Any] = {name: encoder for name, encoder in run.model.encoders.items() if isinstance(encoder, Tower)}
    if run.model.decoder is not None and (isinstance(run.model.decoder, Held) or not held or column == DECODER):
        held[DECODER] = run.model.decoder
    if not held:
        raise InputError("no encoder of this run is a pretrained one, so there is no base to write", where=str(run.folder.path))
    if column is not None:
        if column not in held:
            raise InputError(f"input {column!r} has no pretrained encoder", known=held, fix="--input NAME")
        return {column: held[column]}
    bases = {part.facts.get("digest"): name for name, part in held.items()}
    if len(bases) > 1:
        raise InputError("this run has several bases", known=held, fix=f"say whose is meant: --input {next(iter(held))}")
    return held


def _adapter(held: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """The additions of one part as peft takes them, with the base's files that say how it is asked."""
    name, part = next(iter(held.items()))
    if len(held) > 1 or not isinstance(part, Held) or part.settings.lora is None:
        fix = f"--input {name}" if len(held) > 1 else "leave --adapter out: all of the base is written then"
        what = "additions are of one part, and this base has several" if len(held) > 1 else f"{name} has no low-rank additions"
        raise InputError(what, known=held, fix=fix)
    whole = {key: tensor for file in hub.weights(part.folder) for key, tensor in load_file(file).items()}
    added = sum(additions.SECOND in key for key in part.base.state_dict())
    if more := _trained(part, whole, added=False):
        what = f"{len(more)} tensors of {name} were trained besides its additions, the first is {next(iter(more))}"
        raise InputError(what, fix="leave --adapter out: all of the base is written then")

    def fill(folder: Path) -> None:
        for file in part.folder.iterdir():
            if file.suffix in hub.TEXTS and file.name not in (hub.CONFIG, hub.INDEX, "generation_config.json"):
                shutil.copyfile(file, folder / file.name)
        additions.write(part.base, part.settings.lora, part.settings.name, folder)

    _appear(out, fill)
    return {"out": str(out), "inputs": [name], "trained": added, "tensors": len(whole)}


def _from_scratch(run: Run, decoder: Generator, out: Path) -> dict[str, Any]:
    """A decoder that began with nothing: all of it was trained."""
    assert run.script is not None
    script, room = run.script, room_of(run.recipe)[0]
    _appear(out, lambda folder: room.hand_over(decoder, script, folder))
    count = len(decoder.kept())
    return {"out": str(out), "inputs": [DECODER], "trained": count, "tensors": count}


def _trained(part: Held, whole: dict[str, Tensor], added: bool = True) -> dict[str, Tensor]:
    """Tensors of a base's file that are no longer as they were there, by their name in it; low-rank additions are added up, or left out."""
    changed = {}
    for name, tensor in _merged(part, added).items():
        key = _in_file(name, whole)
        if key is not None and tensor.is_floating_point() and not torch.equal(tensor, whole[key].to(tensor.dtype)):
            changed[key] = tensor.contiguous().clone()
    return changed


@torch.no_grad()
def _merged(part: Held, with_added: bool) -> dict[str, Tensor]:
    base, added = part.base, {}
    for name, layer in base.named_modules():
        if with_added and hasattr(layer, "get_delta_weight"):
            added[f"{name}.weight"] = sum(layer.get_delta_weight(one) for one in layer.active_adapters)
    plain = {name.replace(".base_layer.", "."): tensor.detach() for name, tensor in base.state_dict().items() if additions.MARK not in name}
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


def _scale(run: Run, towers: Mapping[str, Tower], whole: dict[str, Tensor]) -> dict[str, Tensor]:
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
    """The base's other files as they are, and one file of weights.

    Where some were trained, and so are in full, a base in half the bits is written in full: it would be read in half the bits again.
    """
    kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    full = len(kinds) > 1 and torch.float32 in kinds
    held = {name: tensor.float() if full and tensor.is_floating_point() else tensor for name, tensor in tensors.items()}

    def fill(folder: Path) -> None:
        shutil.copytree(base, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", hub.INDEX, ".*"))
        if full:
            _in_full(folder / hub.CONFIG)
        with written_aside(folder / hub.WEIGHTS) as aside:
            save_file({name: tensor.contiguous() for name, tensor in held.items()}, aside, {"format": "pt"})

    _appear(out, fill)


def _in_full(config: Path) -> None:
    """Let a config say that the weights are float32."""
    told = json.loads(config.read_text(encoding="utf-8"))
    told = {name: value for name, value in told.items() if name != "torch_dtype"} | {"dtype": "float32"}
    config.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _appear(out: Path, fill: Callable[[Path], None]) -> None:
    """A folder that is there once it is whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{BASE}-"))
    try:
        fill(aside)
        aside.chmod(0o755)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
