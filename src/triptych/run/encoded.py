"""Rows that were encoded once, to be fused again and again: an input left out, or exchanged among the rows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from triptych.contract.generator import side_by_side
from triptych.contract.part import Encoder
from triptych.contract.values import Batch, Encoded, Packed
from triptych.model.assemble import Model
from triptych.objective.transcripts import joined
from triptych.run.bench import Bench
from triptych.run.measure import answer

MOST_ROWS = 5000
MOST_BYTES = 2**30  # of sequences; vectors alone take far less
CHUNK = 256  # rows fused at once
MOST_WRITTEN, FEW = 200, 16  # the same where a decoder reads every row again and again

Donors = Mapping[str, Tensor]
"""{column: N numbers}: whose value of the column each row gets."""


@dataclass
class EncodedRows:
    """N rows in a drawn order: what each column's encoder gave, which rows have it, and what is asked of them."""

    rows: list[int]
    """Their numbers in the table."""
    pooled: dict[str, Tensor]
    sequences: dict[str, list[Tensor]]
    """{column: N sequences (T, D), T the row's own}; empty where only vectors are looked at."""
    present: dict[str, Tensor]
    truth: dict[str, Tensor]
    has_truth: dict[str, Tensor]
    each: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    """{column: how long each of a row's values is in its sequence}, of inputs that rows may have several of."""
    asked: dict[str, list[Packed]] = field(default_factory=dict)
    """{task that is answered in writing: question and answer of each row that has them}"""

    def chunks(self, present: Mapping[str, Tensor], donors: Donors) -> Iterator[tuple[dict[str, Encoded], dict[str, Tensor]]]:
        """Some rows at a time, as a fusion takes them."""
        for here in self._places():
            shown = {column: present[column][here] for column in self.pooled}
            yield {column: self._of(column, donors[column][here] if column in donors else here) for column in self.pooled}, shown

    def _places(self) -> list[Tensor]:
        """The rows' places, as many as go through the model at once."""
        return list(torch.arange(len(self.rows)).split(FEW if self.asked else CHUNK))

    def batch(self, here: Tensor, shown: Mapping[str, Tensor]) -> Batch:
        """What is asked of some rows, without their inputs."""
        has = {name: there[here] for name, there in self.has_truth.items()}
        before = {name: int(self.has_truth[name][: int(here[0])].sum()) for name in self.asked}
        rows = {name: self.asked[name][before[name] : before[name] + int(has[name].sum())] for name in self.asked}
        asked = {name: side_by_side(found) for name, found in rows.items() if found}
        return Batch({}, shown, {name: truth[here] for name, truth in self.truth.items()}, has, asked=asked)

    def _of(self, column: str, given: Tensor) -> Encoded:
        pooled_BD, there_B = self.pooled[column][given], self.present[column][given]
        if column not in self.sequences:
            return Encoded(pooled_BD[:, None], there_B[:, None], pooled_BD)
        rows = [self.sequences[column][n] for n in given.tolist()]
        mask_BT = torch.arange(max(map(len, rows))) < torch.tensor([len(row) for row in rows])[:, None]
        each = tuple(self.each[column][n] for n in given.tolist()) if column in self.each else None
        return Encoded(pad_sequence(rows, batch_first=True), mask_BT & there_B[:, None], pooled_BD, each=each)

    @torch.no_grad()
    def answers(self, model: Model, tasks: Mapping[str, Any], present: Mapping[str, Tensor], donors: Donors) -> dict[str, Tensor]:
        """{task: what it answers to each row}, from the inputs that `present` marks, exchanged as `donors` says."""
        found: dict[str, list[Tensor]] = {name: [] for name in tasks}
        device = next(model.parameters()).device
        for here, (encoded, shown) in zip(self._places(), self.chunks(present, donors), strict=True):
            moved = {
                c: Encoded(e.tokens_BTD.to(device), e.mask_BT.to(device), e.pooled_BD.to(device), each=e.each) for c, e in encoded.items()
            }
            fused = model.fusion(moved, {c: there.to(device) for c, there in shown.items()})
            outputs = model.ask(fused, self.batch(here, shown).to(device))
            for name, task in tasks.items():
                found[name].append(answer(task, outputs[name]).cpu())
        return {name: joined(made) for name, made in found.items()}


@torch.no_grad()
def encode(bench: Bench, tasks: Mapping[str, Any]) -> EncodedRows:
    """The judged rows, each once through the encoders, in eval mode and float32.

    They come in a drawn order, so that those which fit (`MOST_ROWS`, `MOST_BYTES` of sequences) are a fair sample of all.
    """
    model, judged = bench.model, bench.table.at(bench.judged_side())
    most = MOST_WRITTEN if model.decoder is not None else MOST_ROWS
    order = random.Random(0).sample(judged, min(len(judged), most))
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
    return Encoded(made.tokens_BTD.cpu() if sequences else pooled_BD[:, :0], made.mask_BT.cpu(), pooled_BD, each=made.each)


def _joined(model: Model, tasks: Mapping[str, Any], order: list[int], kept: list[tuple[Batch, dict[str, Encoded]]]) -> EncodedRows:
    columns = list(dict(model.encoders.items()))
    pooled = {column: torch.cat([_pooled(model, batch, encoded, column) for batch, encoded in kept]) for column in columns}
    sequences = {column: [row for batch, encoded in kept for row in _rows(model, batch, encoded, column)] for column in columns}
    present = {column: torch.cat([batch.present[column] for batch, _ in kept]) for column in columns}
    truth = {name: torch.cat([batch.targets[name] for batch, _ in kept]) for name in tasks}
    has = {name: torch.cat([batch.has_target[name] for batch, _ in kept]) for name in tasks}
    asked: dict[str, list[Packed]] = {}
    for batch, _ in kept:
        for name, packed in batch.asked.items():
            if name in tasks:
                asked.setdefault(name, []).extend(packed.part(row, row + 1) for row in range(int(batch.has_target[name].sum())))
    rows = order[: sum(len(batch) for batch, _ in kept)]
    each = {column: found for column in columns if model.reads_sequences and (found := _each(kept, column))}
    return EncodedRows(rows, pooled, sequences if model.reads_sequences else {}, present, truth, has, each, asked)


def _each(kept: list[tuple[Batch, dict[str, Encoded]]], column: str) -> list[tuple[int, ...]]:
    """How long each value of each row is; nothing where every row has one at most."""
    if all(column not in encoded or encoded[column].each is None for _, encoded in kept):
        return []
    found: list[tuple[int, ...]] = []
    for batch, encoded in kept:
        made = encoded.get(column)
        if made is None:
            found += [()] * len(batch)
        else:
            found += made.each if made.each is not None else [(length,) if length else () for length in made.mask_BT.sum(1).tolist()]
    return found


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
