"""What flows through a model, from a prepared batch to the answers.

Shape letters, used as suffixes of names and in docstrings everywhere:

    B batch    T tokens or frames    D width    C channels or classes    H W height, width    M columns (inputs)
    P rows of the batch that have the input (P <= B)

A missing input is normal. `Batch.present` says which rows have which input; a `Packed` holds the present rows only, so
nothing is computed for an absent one; `Encoded` is spread back over all B rows before fusion, with zeros and a false
mask where the input is absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Packed:
    """One input of a batch, ready for its encoder: named tensors, each with the P present rows first.

    `mask_PT` marks the real tokens or frames (true) against padding (false); None where rows have no length.
    """

    tensors: Mapping[str, Tensor]
    mask_PT: Tensor | None = None
    counts_P: Tensor | None = None
    """Where a row may have several values of the input: how many each has. The tensors then hold all of them, row by row."""

    def to(self, device: torch.device) -> Packed:
        """The same on another device."""
        mask = None if self.mask_PT is None else self.mask_PT.to(device)
        counts = None if self.counts_P is None else self.counts_P.to(device)
        return Packed({name: tensor.to(device) for name, tensor in self.tensors.items()}, mask, counts)

    def part(self, start: int, stop: int) -> Packed:
        """Some of the P rows, as long as they were."""
        counts = None if self.counts_P is None else self.counts_P[start:stop]
        if self.counts_P is not None and counts is not None:
            start = int(self.counts_P[:start].sum())
            stop = start + int(counts.sum())
        mask = None if self.mask_PT is None else self.mask_PT[start:stop]
        return Packed({name: tensor[start:stop] for name, tensor in self.tensors.items()}, mask, counts)


@dataclass(frozen=True)
class Batch:
    """B rows: inputs ready for their encoders, and what is asked of them.

    A column that no row of the batch has is absent from `inputs` but stays, all false, in `present`.
    `targets` holds one tensor a task, in the form its loss wants; `has_target` says which rows have it.
    """

    inputs: Mapping[str, Packed]
    present: Mapping[str, Tensor]  # {column: bool_B}
    targets: Mapping[str, Tensor] = field(default_factory=dict)
    has_target: Mapping[str, Tensor] = field(default_factory=dict)  # {task: bool_B}
    ids: tuple[str, ...] = ()
    shares: tuple[tuple[str, ...], ...] = ()
    """Where several processes share a step: the ids of each one's rows, this one's included."""
    asked: Mapping[str, Packed] = field(default_factory=dict)
    """{task that is answered in writing: its question and answer}, of the rows that `has_target` marks, in their order."""

    def __len__(self) -> int:
        """Number of rows B."""
        return len(next(iter(self.present.values())))

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        inputs = {column: packed.to(device) for column, packed in self.inputs.items()}
        present, targets, has = ({k: v.to(device) for k, v in part.items()} for part in (self.present, self.targets, self.has_target))
        asked = {task: packed.to(device) for task, packed in self.asked.items()}
        return Batch(inputs, present, targets, has, self.ids, self.shares, asked)

    def part(self, start: int, stop: int) -> Batch:
        """Rows from `start` up to `stop`; an input that none of them has is absent from `inputs`."""
        before = {column: (int(there[:start].sum()), int(there[:stop].sum())) for column, there in self.present.items()}
        inputs = {c: packed.part(*before[c]) for c, packed in self.inputs.items() if before[c][0] < before[c][1]}
        present, targets, has = ({k: v[start:stop] for k, v in part.items()} for part in (self.present, self.targets, self.has_target))
        rows = {task: (int(has[:start].sum()), int(has[:stop].sum())) for task, has in self.has_target.items()}
        asked = {task: packed.part(*rows[task]) for task, packed in self.asked.items() if rows[task][0] < rows[task][1]}
        return Batch(inputs, present, targets, has, self.ids[start:stop], asked=asked)


@dataclass(frozen=True)
class Encoded:
    """What an encoder gives: a sequence, its mask, and one vector a row.

    `inner` holds every intermediate by name (`block.0`, `block.1` ...), for reports, probes, caching and distillation.
    """

    tokens_BTD: Tensor
    mask_BT: Tensor
    pooled_BD: Tensor
    inner: Mapping[str, Tensor] = field(default_factory=dict)
    each: tuple[tuple[int, ...], ...] | None = None
    """Where a row may have several values of the input: how many of its tokens are of each, in their order."""

    def together(self, counts_P: Tensor | None) -> Encoded:
        """The values of each row as one: their sequences one after the other, padding last; of their vectors the mean.

        `inner` is left away, as it is of single values. Nothing changes where each row has one, or `counts_P` is None.
        """
        if counts_P is None:
            return self
        most, (length, width) = int(counts_P.max()), self.tokens_BTD.shape[1:]
        row_N = torch.arange(len(counts_P), device=counts_P.device).repeat_interleave(counts_P)
        first_P = counts_P.cumsum(0) - counts_P
        places_N = row_N * most + torch.arange(len(row_N), device=row_N.device) - first_P[row_N]
        tokens = self.tokens_BTD.new_zeros((len(counts_P) * most, length, width)).index_copy(0, places_N, self.tokens_BTD)
        mask = self.mask_BT.new_zeros((len(counts_P) * most, length)).index_copy(0, places_N, self.mask_BT)
        tokens, mask = tokens.reshape(len(counts_P), most * length, width), mask.reshape(len(counts_P), most * length)
        order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)[:, : max(int(mask.sum(1).max()), 1)]
        tokens, mask = tokens.gather(1, order[..., None].expand(-1, -1, width)), mask.gather(1, order)
        sums = self.pooled_BD.new_zeros((len(counts_P), self.pooled_BD.shape[1])).index_add(0, row_N, self.pooled_BD)
        lengths = self.mask_BT.sum(1).split(counts_P.tolist())
        return Encoded(tokens, mask, sums / counts_P[:, None], each=tuple(tuple(row.tolist()) for row in lengths))

    def spread(self, present_B: Tensor) -> Encoded:
        """Put P encoded rows back into their places among B rows; absent rows are zero and masked out."""
        if bool(present_B.all()):
            return self
        tokens, mask, pooled = (_spread(rows, present_B) for rows in (self.tokens_BTD, self.mask_BT, self.pooled_BD))
        held = iter(self.each or ())
        each = None if self.each is None else tuple(next(held) if there else () for there in present_B.tolist())
        return replace(self, tokens_BTD=tokens, mask_BT=mask, pooled_BD=pooled, each=each)

    def float(self) -> Encoded:
        """The same in float32, without what was made on the way: what an encoder gave in bf16 is fused and judged in full."""
        return Encoded(self.tokens_BTD.float(), self.mask_BT, self.pooled_BD.float(), each=self.each)


def _spread(rows: Tensor, present_B: Tensor) -> Tensor:
    places = present_B.nonzero()[:, 0]
    return rows.new_zeros((len(present_B), *rows.shape[1:])).index_copy(0, places, rows)


@dataclass(frozen=True)
class Fused:
    """All inputs of a row in one.

    `parts` holds each column alone, in the fusion's width, taken before anything is mixed, so that a contrastive loss
    over parts cannot see the other side's answer. `sequences` holds what each encoder gave before it was mixed, with the real
    tokens that are shown, for heads that read a sequence.
    """

    tokens_BTD: Tensor
    mask_BT: Tensor
    pooled_BD: Tensor
    parts: Mapping[str, Tensor]  # {column: pooled_BD}
    inner: Mapping[str, Tensor] = field(default_factory=dict)
    prefix: Mapping[str, Sequence[Sequence[Tensor]]] = field(default_factory=dict)
    """{column: of each row the sequence (T, D) of each of its values, in a decoder's width}, of a fusion that puts them between words."""

    sequences: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)  # {column: (tokens_BTD, mask_BT)}

    def rows(self, places_P: Tensor) -> Fused:
        """Some of the rows, in the order asked for, a row as often as it is named."""
        chosen = places_P.tolist()
        prefix = {column: [values[place] for place in chosen] for column, values in self.prefix.items()}
        sequences = {c: (tokens[places_P], mask[places_P]) for c, (tokens, mask) in self.sequences.items()}
        parts, inner = ({name: tensor[places_P] for name, tensor in some.items()} for some in (self.parts, self.inner))
        return Fused(self.tokens_BTD[places_P], self.mask_BT[places_P], self.pooled_BD[places_P], parts, inner, prefix, sequences)


def vector(column: str) -> str:
    """Name in `Fused.inner` of what a column's encoder gave, (B, its width), before it was projected."""
    return f"vector.{column}"


@dataclass(frozen=True)
class Output:
    """One task's answer by name (`logits_BC`, `value_BC`, `embedding.<column>_BD`, `scale`), before any loss.

    T of a tensor `..._BTC` is that of the batch's longest row, so it may differ between batches.
    """

    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        """One tensor of the answer."""
        return self.tensors[name]


SEQUENCE = "_BTC"
"""How the name of an answer ends that has a step T for each token of a batch's longest row."""


def level(name: str, pieces: Sequence[Tensor], length: int = 0) -> list[Tensor]:
    """One tensor of several outputs, each as long as the longest, and as `length`, where it has steps; else as they are."""
    if not name.endswith(SEQUENCE):
        return list(pieces)
    most = max([length, *(piece.shape[1] for piece in pieces)])
    return [nn.functional.pad(piece, (0, 0, 0, most - piece.shape[1])) for piece in pieces]


@dataclass(frozen=True)
class Passed:
    """All that one forward pass made: the answers, and every step on the way by name."""

    outputs: Mapping[str, Output]  # {task: Output}
    encoded: Mapping[str, Encoded]
    fused: Fused


Item = dict[str, Tensor]
"""One row of one input, prepared: named tensors without a batch dimension."""

Value = Any
"""What a room reads: its own kind of thing (a picture, a recording, a string), not looked into by any other floor."""
