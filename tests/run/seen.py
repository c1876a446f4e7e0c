"""What a user can see of a recipe, found out step by step and compared."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from triptych.contract.modality import SIDES
from triptych.run.bench import Bench
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.folder import RunFolder, open_folder
from triptych.run.inspect import told as found_in
from triptych.run.lit import Lit, freeze_all_but
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import Recipe
from triptych.run.shared import Shared
from triptych.run.watch import Watch
from triptych.use.report import write_report


class Seen:
    """What a user can see of a recipe, found out no further than it is asked for: most fields change what training begins with."""

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.recipe, self.out, self.shared = recipe, out, Shared()

    @cached_property
    def bench(self) -> Bench:
        """All that a training begins with."""
        voice = Voice(quiet=True)
        return build(self.recipe, self.shared.table(self.recipe, lambda: open_table(self.recipe, voice)), voice, self.shared)

    @cached_property
    def begun(self) -> str:
        """What there is before the first step: the rows of each side, the first batches and the weights. No word of the recipe is in it."""
        bench = self.bench
        sides = [[bench.table.rows.ids()[row] for row in bench.table.at(side)] for side in SIDES]
        batches = [next(iter(loader)) for loader in (bench.loader("train", shuffled=True), bench.loader(bench.judged_side()))]
        return digest([sides, batches, bench.model.state_dict()])

    @cached_property
    def told(self) -> str:
        """What is said of the rows and of what was chosen, before anything is trained: it stands in run.json too."""
        bench = self.bench
        findings = [finding.as_dict() for finding in found_in(bench.recipe, bench.table, bench.targets, bench.lengths)]
        rejects = [[reject.id, reject.reason] for reject in bench.table.rejects]
        return json.dumps([findings, rejects, chosen(bench.choices.as_rows())], sort_keys=True)

    @cached_property
    def stepped(self) -> str:
        """The weights after two steps of the first stage, without the epochs and measurements around them."""
        bench = build(self.recipe, self.bench.table, Voice(quiet=True), self.shared)
        stage, loader = self.recipe.stages[0], bench.loader("train", shuffled=True)
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(bench, RunFolder(Path(folder)), lambda line: None)
            freeze_all_but(bench.model, stage)
            bench.model.train()
            watch.begin(0, stage, 0, len(loader))
            lit = Lit(bench.model, self.recipe, stage, None, stage.epochs * len(loader), watch, pen=bench.pen())
            made = lit.configure_optimizers()
            optimizer, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
            for index, batch in enumerate(islice(loader, 2)):
                loss = lit.training_step(batch, index)
                if loss is not None:
                    loss.backward()
                    lit.configure_gradient_clipping(optimizer, self.recipe.training.clip)
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
                bench.model.constrain()
        return digest([bench.model.state_dict()])

    @cached_property
    def left(self) -> str:
        """Everything in the folder of the finished run but the recipe itself, clocks and the folder's own name."""
        fit(self.recipe, self.out, quiet=True, shared=self.shared)
        about = json.loads((self.out / "run.json").read_text())
        kept = {name: about[name] for name in ("choices", "rows", "parameters", "stages", "best", "findings", "rejected")}
        kept["choices"] = chosen(kept["choices"])
        for stage_free in ("scores.json", "details.json", "shown.json"):
            kept[stage_free] = (self.out / stage_free).read_text()
        lines = [json.loads(line) for line in (self.out / "log.jsonl").read_text().splitlines()]
        kept["log"] = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
        kept["files"] = {name: value for name, value in about["files"].items() if name.endswith(".safetensors")}
        return json.dumps(kept, sort_keys=True)

    @cached_property
    def page(self) -> str:
        """The head of the report, without clocks."""
        assert self.left  # it is trained
        report, made = write_report(open_folder(self.out)).read_text(), json.loads((self.out / "run.json").read_text())["made"]
        head = report[: report.index("</header>")] if "</header>" in report else report[:2000]
        return re.sub(r"\d+ s\b", "", head.replace(made[:16].replace("T", " "), ""))


def chosen(choices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The choices but for what the memory of this machine decides."""
    return [choice for choice in choices if choice["name"] != "prepared rows kept"]


def digest(value: Any) -> str:
    """Equal for equal values."""
    told = hashlib.sha256()
    for part in parts_of(value):
        told.update(part)
    return told.hexdigest()


def parts_of(value: Any) -> Iterator[bytes]:
    """The bytes of all tensors and words in it, each with its name or place."""
    if isinstance(value, torch.Tensor):
        yield (
            f"{value.dtype} {tuple(value.shape)}".encode()
            + value.contiguous().view(torch.uint8 if value.ndim else value.dtype).numpy().tobytes()
        )
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from (name.encode(), *parts_of(part))
    elif is_dataclass(value):
        yield from parts_of({one.name: getattr(value, one.name) for one in fields(value)})
    elif isinstance(value, list | tuple):
        for part in value:
            yield from parts_of(part)
    else:
        yield repr(value).encode()


def changed(before: Seen, after: Seen) -> str | None:
    """The first thing that is not the same, looked for in the order in which things come to be."""
    return next((part for part in ("begun", "told", "stepped", "left", "page") if getattr(before, part) != getattr(after, part)), None)
