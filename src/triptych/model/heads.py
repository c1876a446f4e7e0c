"""What is asked of the fused row: one head a task, all with one signature.

forward(fused: Fused) -> Output
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.base.settings import Settings
from triptych.contract import tasks
from triptych.contract.boxes import converted
from triptych.contract.part import Part
from triptych.contract.values import Fused, Output, vector
from triptych.layers.mlp import mlp
from triptych.layers.named import ByName
from triptych.layers.pointing import Pointing


class Head(Part):
    """Base of all heads."""

    reads_sequences: ClassVar[bool] = False
    """Whether it looks at an input's sequence, and not only at vectors."""

    @abstractmethod
    def forward(self, fused: Fused) -> Output:
        """(B rows) -> the task's answer by name."""

    def constrain(self) -> None:
        """Put parameters that a step took out of their bounds back into them; most heads have none."""


class Classify(Head):
    """`logits_BC` over the classes `labels`; `weights_CK`, where classes do not count the same in the loss.

    K is 1 for one of several classes, 2 for any number of labels: where a row lacks the label, and where it has it.
    """

    Settings: ClassVar[type[Settings]] = tasks.Classify

    def __init__(
        self, settings: tasks.Classify | tasks.MultiLabel, *, width: int, labels: list[str], class_weights: list[list[float]] | None = None
    ) -> None:
        """`width` of the fused vector; `labels` in the order of the logits."""
        facts = {"width": width, "labels": labels} | ({} if class_weights is None else {"class_weights": class_weights})
        super().__init__(settings, **facts)
        self.labels = labels
        self.weights_CK: Tensor | None
        self.register_buffer("weights_CK", None if class_weights is None else torch.tensor(class_weights), persistent=False)
        self.norm = nn.LayerNorm(width)
        self.dense = mlp(width, settings.hidden, len(labels), settings.dropout)

    def forward(self, fused: Fused) -> Output:
        """See the module's text."""
        logits_BC = self.dense(self.norm(fused.pooled_BD)).float()
        return Output({"logits_BC": logits_BC} | ({} if self.weights_CK is None else {"weights_CK": self.weights_CK}))


class MultiLabel(Classify):
    """`logits_BC`, each label for itself."""

    Settings = tasks.MultiLabel

    def __init__(
        self,
        settings: tasks.MultiLabel,
        *,
        width: int,
        labels: list[str],
        class_weights: list[list[float]] | None = None,
        thresholds: list[float] | None = None,
    ) -> None:
        """See `Classify`; `thresholds` of the labels, where each has one that was chosen."""
        super().__init__(settings, width=width, labels=labels, class_weights=class_weights)
        if thresholds is not None:
            self.decide(thresholds)

    def decide(self, thresholds: list[float]) -> None:
        """Keep the probabilities above which labels count as given; they are a fact like the labels themselves."""
        self.facts = {**self.facts, "thresholds": thresholds}


class Regress(Head):
    """`standard_B`, the number as (number - mean) / std, and `std`, the unit that an error is told in."""

    Settings = tasks.Regress

    def __init__(self, settings: tasks.Regress, *, width: int, mean: float, std: float) -> None:
        """`mean` and `std` of the target over the training rows."""
        super().__init__(settings, width=width, mean=mean, std=std)
        self.std: Tensor
        self.register_buffer("std", torch.tensor(std), persistent=False)  # known from the facts
        self.norm = nn.LayerNorm(width)
        self.dense = mlp(width, settings.hidden, 1, settings.dropout)

    def forward(self, fused: Fused) -> Output:
        """See the module's text."""
        standard_B = self.dense(self.norm(fused.pooled_BD)).float()[:, 0]
        return Output({"standard_B": standard_B, "std": self.std})


class Contrast(Head):
    """`embedding.<column>_BD` of unit length for each column of `between`, and the learnt `scale` and `bias`."""

    Settings = tasks.Contrast
    COLDEST = 100.0  # scale = 1 / temperature, bounded as in CLIP (Radford et al. 2021), so that it cannot run away
    HOTTEST = 0.1

    def __init__(self, settings: tasks.Contrast, *, width: int, own: dict[str, Any] | None = None) -> None:
        """`width` of the fusion's parts; of a space that a base brings along its `widths`, `scale` and `bias`."""
        super().__init__(settings, width=width, **({} if own is None else {"own": own}))
        self.own = own
        learnt = settings.between if own is None else []
        self.project = ByName({column: nn.Linear(width, settings.width) for column in learnt})
        scale = 1 / settings.temperature if own is None else min(max(own["scale"], self.HOTTEST), self.COLDEST)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        # SigLIP starts its bias at -10, for thousands of negatives a positive; it is learnt from there (Zhai et al. 2023).
        # The softmax form has no use for one: there it is a constant.
        self.bias: Tensor
        if settings.form == "sigmoid":
            bias = own.get("bias") if own else None
            self.bias = nn.Parameter(torch.tensor(-10.0 if bias is None else float(bias)))
        else:
            self.register_buffer("bias", torch.tensor(0.0), persistent=False)

    def forward(self, fused: Fused) -> Output:
        """See the module's text."""
        if self.own is not None:
            vectors = {c: fused.inner.get(vector(c)) for c in self.own["widths"]}
            rows = len(fused.pooled_BD)
            plain = {c: fused.pooled_BD.new_zeros(rows, self.own["widths"][c]) if v is None else v for c, v in vectors.items()}
        else:
            plain = {c: p(fused.parts[c]) for c, p in self.project.items()}
        named: dict[str, Tensor] = {f"embedding.{c}_BD": F.normalize(v.float(), dim=-1) for c, v in plain.items()}
        return Output({**named, "scale": self.log_scale.exp(), "bias": self.bias})

    @torch.no_grad()
    def constrain(self) -> None:
        """See `Head`. The parameter is bounded and not its use: there the gradient would be zero outside for good."""
        self.log_scale.clamp_(math.log(self.HOTTEST), math.log(self.COLDEST))


class Ground(Head):
    """`box_B4`, corners as shares of what is shown of one input, and `sure_B`, the logit of how well the box fits.

    A row that lacks the input gets the box that its phrase alone makes likely.
    """

    Settings = tasks.Ground
    reads_sequences = True

    def __init__(self, settings: tasks.Ground, *, width: int, sequence: int, places: int) -> None:
        """`width` of the fused vector and of each input's part; `sequence` and `places` of the input's steps."""
        super().__init__(settings, width=width, sequence=sequence, places=places)
        self.input, self.phrase, self.sequence = settings.input, settings.phrase, sequence
        self.norm = nn.LayerNorm(width)
        self.ask = nn.Linear(width, settings.width)
        self.point = Pointing(settings.width, sequence, places, settings.depth, settings.dropout)
        self.found = nn.LayerNorm(settings.width)
        self.dense = mlp(settings.width, settings.hidden or [settings.width], 5, settings.dropout)

    def forward(self, fused: Fused) -> Output:
        """See the module's text."""
        question_BW = self.ask(self.norm(self._question(fused)))
        if self.input in fused.sequences:
            sequence_BTD, mask_BT = fused.sequences[self.input]
        else:
            sequence_BTD = question_BW.new_zeros(len(question_BW), 1, self.sequence)
            mask_BT = torch.zeros(len(question_BW), 1, dtype=torch.bool, device=question_BW.device)
        told_B5 = self.dense(self.found(self.point(question_BW, sequence_BTD, mask_BT))).float()
        return Output({"box_B4": converted(told_B5[:, :4].sigmoid(), "cxcywh", "xyxy"), "sure_B": told_B5[:, 4]})

    def _question(self, fused: Fused) -> Tensor:
        """The phrase's own vector, zero where it is not shown; or that of all inputs."""
        if self.phrase is None:
            return fused.pooled_BD
        part_BD = fused.parts[self.phrase]
        if self.phrase not in fused.sequences:
            return torch.zeros_like(part_BD)
        return part_BD * fused.sequences[self.phrase][1].any(1, keepdim=True)


class Ctc(Head):
    """`logits_BTC` of each token of one input, the blank first, and `frames_B`: how many tokens of a row are real.

    A row that lacks the input has none.
    """

    Settings = tasks.Ctc
    reads_sequences = True

    def __init__(self, settings: tasks.Ctc, *, width: int, symbols: list[str], input: str, sequence: int, frame: float) -> None:
        """`sequence`: width of the tokens of `input`; `frame`: seconds from one to the next, for whoever asks when something was said."""
        super().__init__(settings, width=width, symbols=symbols, input=input, sequence=sequence, frame=frame)
        self.input, self.sequence = input, sequence
        self.norm = nn.LayerNorm(sequence)
        self.dense = mlp(sequence, settings.hidden, len(symbols) + 1, settings.dropout)

    def forward(self, fused: Fused) -> Output:
        """See the module's text."""
        rows = len(fused.pooled_BD)
        if self.input in fused.sequences:
            sequence_BTD, mask_BT = fused.sequences[self.input]
        else:
            sequence_BTD = fused.pooled_BD.new_zeros(rows, 1, self.sequence)
            mask_BT = torch.zeros(rows, 1, dtype=torch.bool, device=sequence_BTD.device)
        return Output({"logits_BTC": self.dense(self.norm(sequence_BTD)).float(), "frames_B": mask_BT.sum(1)})


HEADS: dict[str, type[Head]] = {
    "classify": Classify,
    "multilabel": MultiLabel,
    "regress": Regress,
    "ground": Ground,
    "contrast": Contrast,
    "ctc": Ctc,
}


def build_head(task: Any, width: int, facts: dict[str, Any]) -> Head:
    """The head for a task's settings; `facts` is what the training rows say of its target (labels, mean and std)."""
    return HEADS[task.kind](task, width=width, **facts)
