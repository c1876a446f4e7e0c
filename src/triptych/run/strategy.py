"""How one stage runs on several devices: what Lightning is told, and how sharded weights come home."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from triptych.base.ranks import Ranks

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


def sharded(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """A copy whose weights lie in parts on all devices (FSDP2), as one unit.

    One unit, since all processes must ask for the same weights: encoder by encoder, one whose rows lack an input would not.
    Scalars (a temperature) cannot be cut. They have the same gradient everywhere, as every process computes the whole loss.
    """
    from torch.distributed.fsdp import fully_shard

    made = copy.deepcopy(model)
    scalars = {parameter for parameter in made.parameters() if parameter.ndim == 0}
    fully_shard(made, mesh=mesh, ignored_params=scalars)
    return made


def anchored(loss: torch.Tensor, model: nn.Module) -> torch.Tensor:
    """The loss with every trained weight in its graph: sharded gradients travel together, so none may be missing anywhere."""
    zero = torch.stack([parameter.sum() for parameter in model.parameters() if parameter.requires_grad and parameter.ndim]).sum() * 0.0
    return loss + zero


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
