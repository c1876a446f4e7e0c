"""The part that answers in a modality's own values, a sentence for one, and what it is asked."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.base.errors import InputError
from triptych.contract.part import Part
from triptych.contract.values import Fused, Output, Packed
from triptych.contract.writes import How

IDS, SLOTS, LEARNT = "ids_PT", "slot_PT", "learnt_PT"
"""Names of what a row is asked: the ids of its words; where the value of an input stands (its number, or -1); what is the answer."""
WRITTEN = ("nll_B", "count_B", "hits_B", "words_B")
"""What a generator tells of each row; see `Generator.forward`."""
PREFERRED = ("chosen_B", "rejected_B")
"""What is told of each row with two answers: by how much likelier (in nats) each is than it is without the generator's additions."""
TEXT = -1
"""Stands in `slot_PT` where there is a word."""
FILL: Mapping[str, int | bool] = {IDS: 0, SLOTS: TEXT, LEARNT: False}
"""What rows are padded with."""


class TooLong(InputError):
    """A row has more values' tokens than the model reads; words alone are cut, values never."""

    def __init__(self, row: int, what: str, fix: str, name: str = "") -> None:
        """`row` is its place among the rows that were asked; `name` its id, where somebody knows it."""
        self.row = row
        super().__init__(what, where=name and f"row {name}", fix=fix)

    def of(self, name: str) -> TooLong:
        """The same, with the row's id."""
        return TooLong(self.row, self.what, self.fix, name)


@contextmanager
def named_rows(ids: Sequence[str]) -> Iterator[None]:
    """A row that is too long is called by its id; `ids` are those of the rows that are asked inside, or nothing."""
    try:
        yield
    except TooLong as problem:
        raise (problem.of(ids[problem.row]) if ids else problem) from None


class Generator(Part):
    """A part that learns to give an answer, one piece after the other, and then writes it."""

    width: int

    @abstractmethod
    def forward(self, asked: Packed, fused: Fused) -> Output:
        """P rows with their answers -> what the model thinks of them.

        Args:
            asked: `ids_PT`, `slot_PT` and `learnt_PT` of P rows.
            fused: of the same rows.

        Returns:
            `nll_B` the sum of -log p over the pieces of the answer, `count_B` how many there are; of those that do not end an answer
            `words_B` how many there are, and `hits_B` how many of them came first (zero while training).
        """

    @contextmanager
    def plain(self) -> Iterator[None]:
        """Within it the part is as it was before anything was added to it (LoRA); one to which nothing is added is as it is."""
        yield

    @abstractmethod
    def write(self, asked: Packed, fused: Fused, how: How) -> list[list[int]]:
        """P rows that end where the answer begins -> the ids of each answer, without what ends it."""

    @abstractmethod
    def stream(self, asked: Packed, fused: Fused, how: How) -> Iterator[int]:
        """The answer to one row, an id at a time as it is written."""


def side_by_side(several: Sequence[Packed]) -> Packed:
    """The rows of several, one below the other, padded on the right to the longest."""
    if len(several) == 1:
        return several[0]
    counts = [one.counts_P for one in several if one.counts_P is not None]
    if counts and len(counts) < len(several):
        raise ValueError("rows with one answer and rows with several do not go side by side")
    longest = max(one.tensors[IDS].shape[1] for one in several)

    def filled(tensor: Tensor, value: int | bool) -> Tensor:
        return F.pad(tensor, (0, longest - tensor.shape[1]), value=value)

    tensors = {name: torch.cat([filled(one.tensors[name], FILL[name]) for one in several]) for name in FILL}
    masks = [one.mask_PT for one in several if one.mask_PT is not None]
    return Packed(tensors, torch.cat([filled(mask, False) for mask in masks]), torch.cat(counts) if counts else None)


def opened(asked: Packed) -> Packed:
    """The same rows, each cut where its last answer begins; padded on the right."""
    ends = [answer_start(row) for row in asked.tensors[LEARNT]]
    longest = max(max(ends), 1)
    mask_PT = torch.arange(longest, device=asked.tensors[IDS].device) < torch.tensor(ends, device=asked.tensors[IDS].device)[:, None]
    cut = {name: tensor[:, :longest] for name, tensor in asked.tensors.items()}
    return Packed({**cut, LEARNT: torch.zeros_like(cut[LEARNT])}, mask_PT)


def answer_start(learnt_T: Tensor) -> int:
    """Where the last answer of a row begins."""
    places = learnt_T.nonzero()[:, 0].tolist()
    start = places[-1] if places else len(learnt_T)
    while start and learnt_T[start - 1]:
        start -= 1
    return int(start)
