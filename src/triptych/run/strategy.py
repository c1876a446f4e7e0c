"""How one stage runs on several devices: what Lightning is told, and how sharded weights come home."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from triptych.base.ranks import Ranks
from triptych.contract.values import Batch
from triptych.model.assemble import Model

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def trainer_words(ranks: Ranks, device: str, kind: str) -> dict[str, Any]:
    """What `lightning.Trainer` is told of devices."""
    accelerator = "gpu" if device == "cuda" else device
    if ranks.size == 1:
        return {"accelerator": accelerator, "devices": 1}
    from datetime import timedelta

    from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

    backend = "nccl" if device == "cuda" else "gloo"
    strategy: Any
    if kind == "fsdp":
        strategy = ModelParallelStrategy(ranks.size, 1, save_distributed_checkpoint=False, process_group_backend=backend)
    else:  # a process whose rows lack an input does not use that encoder in that step
        strategy = DDPStrategy(find_unused_parameters=True, process_group_backend=backend, timeout=timedelta(hours=6))
    nodes = ranks.size // ranks.here
    return {
        "accelerator": accelerator,
        "devices": ranks.here,
        "num_nodes": nodes,
        "strategy": strategy,
        "use_distributed_sampler": False,
    }


class Sharded(Model):
    """A model whose weights lie in parts on all devices (FSDP2), as one unit.

    One unit, since all processes must ask for the same weights: encoder by encoder, one whose rows lack an input would not. For
    the same reason every trained weight has its part in every answer, with a factor of zero: gradients travel together too.
    Scalars (a temperature) cannot be cut. They have the same gradient everywhere, as every process computes the whole loss.
    """

    def forward(self, batch: Batch, shown: Mapping[str, Tensor] | None = None) -> Any:
        """{task: {name: tensor}}: FSDP finds its way back through plain dictionaries only."""
        trained = [p for p in self.parameters() if p.requires_grad and p.ndim]
        nothing = torch.stack([p.sum() for p in trained]).sum() * 0.0 if trained else torch.zeros(())
        outputs = super().forward(batch, shown).outputs
        return {task: {n: t + nothing if t.ndim else t for n, t in output.tensors.items()} for task, output in outputs.items()}


def sharded(model: Model, mesh: DeviceMesh) -> Sharded:
    """A copy of the model, cut up."""
    from torch.distributed.fsdp import fully_shard

    made = copy.deepcopy(model)
    made.__class__ = Sharded
    scalars = {parameter for parameter in made.parameters() if parameter.ndim == 0}
    fully_shard(made, mesh=mesh, ignored_params=scalars, reshard_after_forward=False)
    return cast(Sharded, made)


def clip(parameters: Sequence[nn.Parameter], most: float | None) -> Tensor:
    """Clip gradients of which some lie in parts; returns their norm before."""
    gradients: list[Any] = [p.grad for p in parameters if p.grad is not None]
    squares = [g.norm() ** 2 for g in gradients]
    norm = torch.stack([s.full_tensor() if hasattr(s, "full_tensor") else s for s in squares]).sum().sqrt()
    if most and norm > most and norm.isfinite():
        for gradient in gradients:
            gradient.mul_(float(most / norm))
    return norm


def come_home(model: nn.Module, home: nn.Module) -> None:
    """Put the sharded model's weights into the whole one, in every process."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict

    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    set_model_state_dict(home, whole, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))


def whole_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The sharded optimiser's state, whole, in the first process; nothing in the others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return dict(get_optimizer_state_dict(model, optimizer, options=options))


def put_optimizer(model: nn.Module, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Give every process its part of what `whole_optimizer` gave."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

    set_optimizer_state_dict(model, optimizer, state, options=StateDictOptions(full_state_dict=True))
