"""Rows that were encoded once, to be fused again and again: an input left out, or exchanged among the rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from triptych.contract.part import Encoder
from triptych.contract.values import Batch, Encoded
from triptych.model.assemble import Model
from triptych.objective.transcripts import joined
from triptych.run.bench import Bench
from triptych.run.measure import answer

MOST_ROWS = 5000
MOST_BYTES = 2**30  # of sequences; vectors alone take far less
CHUNK = 256  # rows fused at once

Donors = Mapping[str, Tensor]
"""{column: N numbers}: whose value of the column each row gets."""


@dataclass
class EncodedRows:
    """N rows in a drawn order: what each column's encoder gave, which rows have it, and what is asked of them."""

    rows: list[int]
    """Their numbers in the table."""
    pooled: dict[str, Tensor]
    sequences: dict[str, list[Tensor]]
    """{column: N sequences (T, D), T the row's own}; empty where the fusion looks at vectors alone."""
    present: dict[str, Tensor]
    truth: dict[str, Tensor]
    has_truth: dict[str, Tensor]

    def chunks(self, present: Mapping[str, Tensor], donors: Donors) -> Iterator[tuple[dict[str, Encoded], dict[str, Tensor]]]:
        """Some rows at a time, as a fusion takes them."""
        for start in range(0, len(self.rows), CHUNK):
            here = torch.arange(start, min(start + CHUNK, len(self.rows)))
            shown = {column: present[column][here] for column in self.pooled}
            yield {column: self._of(column, donors[column][here] if column in donors else here) for column in self.pooled}, shown

    def _of(self, column: str, given: Tensor) -> Encoded:
        pooled_BD, there_B = self.pooled[column][given], self.present[column][given]
        if column not in self.sequences:
            return Encoded(pooled_BD[:, None], there_B[:, None], pooled_BD)
        rows = [self.sequences[column][n] for n in given.tolist()]
        mask_BT = torch.arange(max(map(len, rows))) < torch.tensor([len(row) for row in rows])[:, None]
        return Encoded(pad_sequence(rows, batch_first=True), mask_BT & there_B[:, None], pooled_BD)

    @torch.no_grad()
    def answers(self, model: Model, tasks: Mapping[str, Any], present: Mapping[str, Tensor], donors: Donors) -> dict[str, Tensor]:
        """{task: what it answers to each row}, from the inputs that `present` marks, exchanged as `donors` says."""
        found: dict[str, list[Tensor]] = {name: [] for name in tasks}
        device = next(model.parameters()).device
        for encoded, shown in self.chunks(present, donors):
            moved = {c: Encoded(e.tokens_BTD.to(device), e.mask_BT.to(device), e.pooled_BD.to(device)) for c, e in encoded.items()}
            fused = model.fusion(moved, {c: there.to(device) for c, there in shown.items()})
            for name, task in tasks.items():
                found[name].append(answer(task, model.heads[name](fused)).cpu())
        return {name: joined(made) for name, made in found.items()}


@torch.no_grad()
def encode(bench: Bench, tasks: Mapping[str, Any]) -> EncodedRows:
    """The judged rows, each once through the encoders, in eval mode and float32.

    They come in a drawn order, so that those which fit (`MOST_ROWS`, `MOST_BYTES` of sequences) are a fair sample of all.
    """
    model, judged = bench.model, bench.table.at(bench.judged_side())
    order = random.Random(0).sample(judged, min(len(judged), MOST_ROWS))
    was_training = model.training
    model.eval()
    kept: list[tuple[Batch, dict[str, Encoded]]] = []
    room = MOST_BYTES
    for batch in bench.loader(bench.judged_side(), rows=order):
        encoded = {column: made.float() for column, made in model.encode(batch.to(torch.device(bench.device))).items()}
        kept.append((batch, {column: _on_cpu(made, model.reads_sequences) for column, made in encoded.items()}))
        room -= sum(made.tokens_BTD.nbytes for made in kept[-1][1].values())
        if room < 0:
            break
    model.train(was_training)
    return _joined(model, tasks, order, kept)


def _on_cpu(made: Encoded, sequences: bool) -> Encoded:
    pooled_BD = made.pooled_BD.cpu()
    return Encoded(made.tokens_BTD.cpu() if sequences else pooled_BD[:, :0], made.mask_BT.cpu(), pooled_BD)


def _joined(model: Model, tasks: Mapping[str, Any], order: list[int], kept: list[tuple[Batch, dict[str, Encoded]]]) -> EncodedRows:
    columns = list(dict(model.encoders.items()))
    pooled = {column: torch.cat([_pooled(model, batch, encoded, column) for batch, encoded in kept]) for column in columns}
    sequences = {column: [row for batch, encoded in kept for row in _rows(model, batch, encoded, column)] for column in columns}
    present = {column: torch.cat([batch.present[column] for batch, _ in kept]) for column in columns}
    truth = {name: torch.cat([batch.targets[name] for batch, _ in kept]) for name in tasks}
    has = {name: torch.cat([batch.has_target[name] for batch, _ in kept]) for name in tasks}
    return EncodedRows(
        order[: sum(len(batch) for batch, _ in kept)], pooled, sequences if model.reads_sequences else {}, present, truth, has
    )


def _pooled(model: Model, batch: Batch, encoded: Mapping[str, Encoded], column: str) -> Tensor:
    return encoded[column].pooled_BD if column in encoded else torch.zeros(len(batch), cast(Encoder, model.encoders[column]).width)


def _rows(model: Model, batch: Batch, encoded: Mapping[str, Encoded], column: str) -> list[Tensor]:
    """Each row's sequence without its padding; one empty step of a row that has none."""
    if not model.reads_sequences:
        return []
    nothing = torch.zeros(1, cast(Encoder, model.encoders[column]).width)
    if column not in encoded:
        return [nothing] * len(batch)
    made = encoded[column]
    return [row[real].clone() if bool(real.any()) else nothing for row, real in zip(made.tokens_BTD, made.mask_BT, strict=True)]
