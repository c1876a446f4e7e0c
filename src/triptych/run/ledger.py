"""The ledger: what each epoch was spent on. Rows, losses and gradients by task, class, source, mixture of inputs and input.

Losses are summed over every row of the epoch. Gradients are measured on `MEASURED` batches of an epoch, evenly spaced, because
each costs a few partial passes backward:

- of a task: the norm of its weighted loss's gradient on what the tasks share (`gradients.shared`);
- of a group of rows: the sum over its rows of the norm of the loss's gradient on the row's own answers (`gradients.by_row`): how
  hard these rows pull, before the model is gone back through;
- of an input's encoder: the norm of the gradient that reaches its parameters.

All are told as shares of their sum. A row's loss in a contrast is the mean over the pairs of inputs that it is in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from triptych.contract.values import Batch
from triptych.objective.losses import Term

MEASURED = 2
"""Batches of an epoch on which gradients are measured."""
MOST_MIXED = 8
"""Inputs up to which mixtures of them are told apart: there are 2^M."""
KINDS = ("classes", "sources", "mixtures", "inputs")
"""Ways in which the rows of a task are grouped; a row is in one group of each, but in that of each of its inputs."""
ROWS, LOSS, LOOKED, PULL = range(4)
"""What is summed of a group: rows, their losses, rows whose gradient was measured, the norms of those."""


class Ledger:
    """The sums of one epoch."""

    def __init__(
        self, inputs: Sequence[str], tasks: Sequence[str], classes: Mapping[str, Sequence[str]], source_of: Mapping[str, str] | None = None
    ) -> None:
        """`classes`: labels of the classify tasks; `source_of`: of each row's id, where there are several sources."""
        self.inputs, self.tasks, self.classes = list(inputs), list(tasks), dict(classes)
        self.sources = sorted(set((source_of or {}).values()))
        place = {source: number for number, source in enumerate(self.sources)}
        self.source_of = {row: place[source] for row, source in (source_of or {}).items()}
        self.mixed = len(self.inputs) <= MOST_MIXED
        self.clear()

    def clear(self) -> None:
        """A new epoch."""
        self.rows = self.steps = self.looked = 0
        self.weights = dict.fromkeys(self.tasks, 0.0)
        self.pulls = dict.fromkeys(self.tasks, 0.0)
        self.encoders: dict[str, float] = {}
        self.sums: dict[str, Tensor] = {}

    def due(self, index: int, steps: int) -> bool:
        """Whether gradients are to be measured at the step `index` of `steps` of the epoch."""
        return index in {steps * number // MEASURED for number in range(MEASURED)}

    def add(self, batch: Batch, found: Mapping[str, Mapping[str, Term]], weights: Mapping[str, float]) -> None:
        """Count a step's rows and losses."""
        self.rows += len(batch)
        self.steps += 1
        for name, weight in weights.items():
            self.weights[name] += weight
        for name in found:
            if found[name]:
                has_B, loss_B = row_losses(found[name])
                self._sum(name, batch, torch.stack([has_B, loss_B], 1), ROWS)

    def look(
        self, batch: Batch, found: Mapping[str, Mapping[str, Term]], norms: Mapping[str, float], by_row: Mapping[str, Tensor | None]
    ) -> None:
        """Count a measured batch: each task's norm, times its weight, and each row's."""
        self.looked += 1
        self.look_at_tasks(norms)
        for name, pull_B in by_row.items():
            if pull_B is not None and found[name]:
                self._sum(name, batch, torch.stack([row_losses(found[name])[0], pull_B], 1), LOOKED)

    def look_at_tasks(self, norms: Mapping[str, float]) -> None:
        """Count what each task's weighted gradient measures."""
        for name, norm in norms.items():
            self.pulls[name] += norm

    def look_at_encoders(self, norms: Mapping[str, float]) -> None:
        """Count what reaches the encoders in a measured batch."""
        for name, norm in norms.items():
            self.encoders[name] = self.encoders.get(name, 0.0) + norm

    def _sum(self, task: str, batch: Batch, values_B2: Tensor, first: int) -> None:
        """Add to a row's class, source, mixture and inputs; rows that do not count are zero in `values_B2`."""
        values_B2 = values_B2.detach()
        there_BM = torch.stack([batch.present[column] for column in self.inputs], 1)
        for key, in_BG in (("all", torch.ones_like(there_BM[:, :1])), ("inputs", there_BM)):
            self._at(f"{key}.{task}", in_BG.shape[1], values_B2)[:, first : first + 2] += in_BG.T.to(values_B2) @ values_B2
        if self.mixed:
            code_B = (there_BM.long() << torch.arange(len(self.inputs), device=there_BM.device)).sum(1)
            self._group(f"mixtures.{task}", 2 ** len(self.inputs), code_B, values_B2, first)
        if task in self.classes:
            self._group(f"classes.{task}", len(self.classes[task]), batch.targets[task].clamp(min=0), values_B2, first)
        if self.sources:
            code_B = torch.tensor([self.source_of[row] for row in batch.ids], device=there_BM.device)
            self._group(f"sources.{task}", len(self.sources), code_B, values_B2, first)

    def _group(self, key: str, size: int, code_B: Tensor, values_B2: Tensor, first: int) -> None:
        self._at(key, size, values_B2)[:, first : first + 2].index_add_(0, code_B, values_B2)

    def _at(self, key: str, size: int, like: Tensor) -> Tensor:
        if key not in self.sums:
            self.sums[key] = like.new_zeros(size, 4)
        self.sums[key] = self.sums[key].to(like)  # what was taken up again lies on the processor
        return self.sums[key]

    def entry(self) -> dict[str, Any]:
        """The epoch as one line of ledger.jsonl; shares are None where nothing was measured."""
        weights = {name: total / max(self.steps, 1) for name, total in self.weights.items()}
        return {
            "rows": self.rows,
            "steps": self.steps,
            "measured": self.looked,
            "tasks": self._tasks(weights),
            **{kind: {t: told for t in self.tasks if (told := self._groups(kind, t))} for kind in KINDS},
            "encoders": _shares(self.encoders),
        }

    def _tasks(self, weights: Mapping[str, float]) -> dict[str, Any]:
        totals = {task: self._total(task) for task in self.tasks}
        means = {task: loss / rows if rows else 0.0 for task, (rows, loss) in totals.items()}
        losses, pulls = _shares({task: weights[task] * means[task] for task in self.tasks}), _shares(self.pulls)
        return {
            task: {
                "rows": int(totals[task][0]),
                "loss": means[task],
                "weight": weights[task],
                "loss_share": losses[task],
                "gradient_share": pulls[task],
            }
            for task in self.tasks
        }

    def _total(self, task: str) -> tuple[float, float]:
        key = f"all.{task}"
        rows, loss = self.sums[key][0, ROWS : LOSS + 1].tolist() if key in self.sums else (0.0, 0.0)
        return rows, loss

    def _groups(self, kind: str, task: str) -> dict[str, Any]:
        """Each group that has rows, with its shares of the task's whole."""
        if f"{kind}.{task}" not in self.sums:
            return {}
        names, sums = self._names(kind, task), self.sums[f"{kind}.{task}"].tolist()
        rows, loss, _, pull = self.sums[f"all.{task}"][0].tolist()
        return {
            name: {
                "rows": int(of[ROWS]),
                "row_share": of[ROWS] / rows,
                "loss": of[LOSS] / of[ROWS],
                "loss_share": of[LOSS] / loss if loss > 0 else None,
                "gradient_share": of[PULL] / pull if pull > 0 else None,
            }
            for name, of in zip(names, sums, strict=True)
            if of[ROWS]
        }

    def _names(self, kind: str, task: str) -> Sequence[str]:
        if kind == "mixtures":
            return [" + ".join(c for m, c in enumerate(self.inputs) if code >> m & 1) for code in range(2 ** len(self.inputs))]
        return {"classes": self.classes.get(task, []), "sources": self.sources, "inputs": self.inputs}[kind]

    def state_dict(self) -> dict[str, Any]:
        """The sums so far: tensors and plain values."""
        return {name: getattr(self, name) for name in ("rows", "steps", "looked", "weights", "pulls", "encoders", "sums")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        vars(self).update(state)


def row_losses(found: Mapping[str, Term]) -> tuple[Tensor, Tensor]:
    """Of one task: (B) 1 where the row counts, and (B) its loss, the mean over the terms it is in; 0 where it does not count."""
    first = next(iter(found.values()))
    count_B, loss_B = (torch.zeros(len(first.rows_B), dtype=_wide(first.loss_P), device=first.loss_P.device) for _ in range(2))
    for term in found.values():
        count_B += term.rows_B
        loss_B[term.rows_B] += term.loss_P.detach().to(loss_B)
    return (count_B > 0).to(loss_B), loss_B / count_B.clamp(min=1)


def _wide(like: Tensor) -> torch.dtype:
    """float64, where the device has it: an epoch may have many rows."""
    return torch.float32 if like.device.type == "mps" else torch.float64


def _shares(values: Mapping[str, float]) -> dict[str, float | None]:
    total = sum(values.values())
    return {name: value / total if total > 0 else None for name, value in values.items()}
