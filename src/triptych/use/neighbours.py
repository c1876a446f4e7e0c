"""What the training rows say that lie nearest to inputs that were remarked on, in the run's own fused space."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from triptych.base.errors import BadValue, InputError
from triptych.data.table import Table
from triptych.run.again import on_rows
from triptych.use.feedback import Kept
from triptych.use.opened import Run

ROWS = 2_000
"""Training rows that are looked at, drawn at random."""
NEAREST = 10
MOST = 0.6
AT_ONCE = 64


def neighbours(run: Run, table: Table, kept: Sequence[Kept]) -> dict[str, str]:
    """By id of a correction of a classify task: what most of the nearest training rows say, where most say one thing."""
    tasks = {name: task for name, task in run.recipe.tasks.items() if task.kind == "classify"}
    asked = [one for one in kept if one.remark.kind == "correction" and one.remark.task in tasks]
    if not asked:
        return {}
    rows, labels_of = _training_rows(run, table, tasks)
    found: dict[str, str] = {}
    for start in range(0, len(asked), AT_ONCE):
        some = [(one, values) for one in asked[start : start + AT_ONCE] if (values := _values(run, one)) is not None]
        if not some:
            continue
        passed, _ = run.passed([values for _, values in some])
        near_PK = (F.normalize(passed.fused.pooled_BD.float(), dim=-1).cpu() @ rows.T).topk(min(NEAREST, len(rows)), dim=1).indices
        for (one, _), places in zip(some, near_PK.tolist(), strict=True):
            said = Counter(word for place in places if (word := labels_of[one.remark.task][place]) is not None)
            word, count = said.most_common(1)[0] if said else ("", 0)
            if count >= MOST * len(places):
                found[one.remark.id] = word
    return found


def _values(run: Run, one: Kept) -> Any:
    try:
        return run.read({name: cell for name, cell in one.cells.items() if name in run.recipe.inputs}) or None
    except (BadValue, InputError):
        return None


@torch.inference_mode()
def _training_rows(run: Run, table: Table, tasks: dict[str, Any]) -> tuple[Tensor, dict[str, list[str | None]]]:
    """Fused vectors of some training rows, of length one, and what they say of each task."""
    train = np.array(table.at("train"), np.int64)
    chosen = sorted(np.random.default_rng(0).permutation(train)[:ROWS].tolist())
    bench = on_rows(run.recipe, table, run.model, run.inputs, run.script)
    bench.model.eval()
    vectors = []
    for batch in bench.loader("train", rows=chosen):
        batch = batch.to(torch.device(bench.device)) if hasattr(batch, "to") else batch
        vectors.append(bench.model(batch).fused.pooled_BD.float().cpu())
    said: dict[str, list[str | None]] = {}
    for name in tasks:
        target = bench.targets[name]
        labels = target.facts["labels"]
        said[name] = [labels[int(target.values[place])] if bool(target.has[place]) else None for place in chosen]
    return F.normalize(torch.cat(vectors), dim=-1), said
