"""How the losses of several tasks become one: the word `training.weighting`.

A task's own `weight` multiplies whatever is chosen here. A task of weight 0 has no part in the sum. What is learnt are
parameters and buffers of a module, so it is saved, moved and taken up again with the module that holds it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

SMOOTH = 0.9
"""Share of the old mean that stays when a gradient's size is measured anew."""
EVERY = 10
"""Steps from one measurement of gradient sizes to the next, after as many in which each is measured."""
MOST = 100.0
"""No factor is above this, nor below one part of it: the size of a gradient that is nearly gone says little."""


class Weighting(nn.Module):
    """`fixed`: the tasks' own weights."""

    measures = False
    """Whether `observe` wants the sizes of the tasks' gradients."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """`weights`: the tasks' own; those of weight 0 are left out."""
        super().__init__()
        self.own = {name: weight for name, weight in weights.items() if weight > 0}

    def forward(self, losses: Mapping[str, Tensor], rows: Mapping[str, int]) -> Tensor:
        """The weighted sum of the losses; `rows` says over how many rows of the batch each is."""
        factors = self.factors()
        return torch.stack([self.own[name] * factors[name] * losses[name] for name in self.own]).sum()

    def factors(self) -> dict[str, Tensor]:
        """What the tasks' own weights are multiplied by."""
        return dict.fromkeys(self.own, torch.tensor(1.0))

    def weights(self) -> dict[str, float]:
        """Each task's weight as it is now, its own included."""
        return {name: self.own[name] * float(factor.detach()) for name, factor in self.factors().items()}

    def due(self, step: int) -> bool:
        """Whether sizes of gradients should be measured at this step."""
        return self.measures and (step < EVERY or step % EVERY == 0)

    def observe(self, norms: Mapping[str, float]) -> None:
        """Take up the sizes of the gradients of the tasks' losses, unweighted."""


class Uncertainty(Weighting):
    """`uncertainty`: each task's noise is learnt (Kendall et al. 2018), in the form that stays positive (Liebel and Koerner 2018).

    With s = log of a task's variance, its part of the sum is exp(-s) loss + log(1 + exp(s)): a loss that stays large counts less.
    All start at s = 0, so that every factor is 1. A batch in which no row has a task's target says nothing of its noise.
    """

    RATE = 1e-2
    """Learning rate of s: under Adam a step is about as long as the rate, so a factor can halve in 70 steps."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """See `Weighting`."""
        super().__init__(weights)
        self.log_variance_T = nn.Parameter(torch.zeros(len(self.own)))

    def forward(self, losses: Mapping[str, Tensor], rows: Mapping[str, int]) -> Tensor:
        """See the class."""
        noise = {n: nn.functional.softplus(self.log_variance_T[t]) for t, n in enumerate(self.own) if rows[n] and losses[n].requires_grad}
        whole = super().forward(losses, rows)
        return torch.stack([whole, *(self.own[name] * value for name, value in noise.items())]).sum()

    def factors(self) -> dict[str, Tensor]:
        """See `Weighting`."""
        return dict(zip(self.own, (-self.log_variance_T).exp(), strict=True))


class GradientSize(Weighting):
    """`gradient`: every task pulls on what the tasks share with a gradient of the same size, times its own weight.

    A factor is one over the running mean of the gradient's norm, and all factors together make the number of tasks. That is the
    state GradNorm (Chen et al. 2018) comes to rest in when all tasks are to train at one rate (its alpha = 0), set at once from
    what is measured rather than approached by an optimiser of its own.
    """

    measures = True

    def __init__(self, weights: Mapping[str, float]) -> None:
        """See `Weighting`."""
        super().__init__(weights)
        self.mean_T: Tensor
        self.seen_T: Tensor
        self.register_buffer("mean_T", torch.zeros(len(self.own)))
        self.register_buffer("seen_T", torch.zeros(len(self.own)))

    def observe(self, norms: Mapping[str, float]) -> None:
        """See `Weighting`; a task that this batch says nothing of is not in `norms`, or with a size of zero."""
        for place, name in enumerate(self.own):
            norm = norms.get(name, 0.0)
            if 0.0 < norm < float("inf"):
                # The first few count evenly: a running mean that starts at zero would be too small for long.
                keep = min(SMOOTH, float(self.seen_T[place] / (self.seen_T[place] + 1)))
                self.mean_T[place] = keep * self.mean_T[place] + (1 - keep) * norm
                self.seen_T[place] += 1

    def factors(self) -> dict[str, Tensor]:
        """See `Weighting`; all 1 until each task has been measured."""
        if not bool((self.seen_T > 0).all()):
            return dict.fromkeys(self.own, torch.ones((), device=self.mean_T.device))
        inverse_T = 1 / self.mean_T
        factor_T = inverse_T * len(self.own) / inverse_T.sum()
        return dict(zip(self.own, factor_T.clamp(1 / MOST, MOST), strict=True))


_KINDS: dict[str, type[Weighting]] = {"fixed": Weighting, "uncertainty": Uncertainty, "gradient": GradientSize}


def build_weighting(word: str, weights: Mapping[str, float]) -> Weighting:
    """The weighting that a recipe's word means, for tasks of these own weights."""
    return _KINDS[word](weights)
