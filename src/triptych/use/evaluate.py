"""`triptych evaluate`: a recipe's untouched model, or a trained one, measured and judged without training anything."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from triptych.base.errors import InputError
from triptych.base.files import write_json, write_text
from triptych.data.sources.words import absolute
from triptych.data.table import Table
from triptych.objective.intervals import interval
from triptych.run.again import on_rows, other_rows
from triptych.run.baselines import Told, baselines
from triptych.run.bench import Bench
from triptych.run.building import build
from triptych.run.fit import measured_on
from triptych.run.folder import fresh, open_folder, refuse_full
from triptych.run.inspect import told as findings_of
from triptych.run.measure import Measured
from triptych.run.memory import remember
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.prompts import BY_PROMPTS
from triptych.run.recipe import Recipe, read
from triptych.run.record import details, finite
from triptych.run.reliance import reliance
from triptych.run.verdict import shown_by, statistics
from triptych.use.opened import Run


@dataclass(frozen=True)
class Evaluation:
    """What was measured: `told` is what stands in `evaluation.json` of `folder`, `page` the same to look at."""

    folder: Path
    told: dict[str, Any]

    @property
    def scores(self) -> list[dict[str, Any]]:
        """One entry a score: name, task, metric, of, value, direction, and of headlines `low` and `high`."""
        found: list[dict[str, Any]] = self.told["scores"]
        return found

    @property
    def reliance(self) -> dict[str, Any]:
        """What each input adds; empty of an untouched model."""
        found: dict[str, Any] = self.told["reliance"]
        return found

    @property
    def page(self) -> Path:
        """The HTML page."""
        return self.folder / "evaluation.html"

    def value(self, name: str) -> float | None:
        """One score by its name, such as `digit.accuracy`; None where it was not measured."""
        return next((score["value"] for score in self.scores if score["name"] == name), None)


def evaluate(
    what: str,
    *,
    untouched: bool = False,
    data: str | None = None,
    changes: Iterable[str] = (),
    out: str | Path | None = None,
    voice: Voice | None = None,
) -> Evaluation:
    """Measure a run's trained model, or a recipe's untouched one, and write the figures as JSON and HTML.

    Args:
        what: folder of a run, or a recipe.
        untouched: measure the model as it is before its first step, and what can be had without training.
        data: another source with the same columns; its rows are all judged. By default a run's own test rows.
        changes: `--set` words, of an untouched model alone.
        out: folder to write; by default one below the run, or runs/DATE-NAME-untouched.
        voice: says what is being done.

    Raises:
        InputError: neither a run nor a recipe, a recipe that is to be measured trained, rows that cannot be used.
    """
    voice, changes, started = voice or Voice(quiet=True), list(changes), time.perf_counter()
    trained = Path(what).is_dir() and not untouched
    if not trained and not untouched:
        fix = f"triptych evaluate {what} --untouched, or triptych train {what} and evaluate its run"
        read(what, changes)  # a name that is nothing at all is answered before
        raise InputError("a recipe is not trained; its model can be measured untouched", where=what, fix=fix)
    if trained and changes:
        raise InputError("--set changes a recipe, and a run is measured as it was trained", fix="remove --set, or add --untouched")
    if out:
        refuse_full(out)
    source = None if data is None else absolute(data, Path.cwd())
    told = _of_run(Run(open_folder(what)), source, voice) if trained else _of_recipe(what, changes, source, voice)
    told["seconds"] = round(time.perf_counter() - started, 1)
    return _written(what, told, trained, out)


def _of_recipe(what: str, changes: list[str], source: str | None, voice: Voice) -> dict[str, Any]:
    path = Path(what) / "recipe.yaml" if Path(what).is_dir() else None
    recipe = read(str(path) if path and path.exists() else what, changes, source)
    bench = build(recipe, open_table(recipe, voice), voice)
    remember(bench, 0, voice)
    measured = measured_on(bench, voice, "measuring the untouched model")
    with voice.waiting("measuring what can be had without training"):
        simple = baselines(bench, measured)
    return _told(bench, measured, simple, {}, "the untouched model")


def _of_run(run: Run, source: str | None, voice: Voice) -> dict[str, Any]:
    model, inputs = run.model, run.inputs  # a damaged run is told before any row is read
    recipe, table = _own_rows(run.recipe, voice) if source is None else other_rows(run.recipe, source, voice)
    bench = on_rows(recipe, table, model, inputs, run.script)
    remember(bench, len(recipe.stages) - 1, voice)
    measured = measured_on(bench, voice, "measuring the trained model")
    with voice.waiting("asking what each input adds"):
        relied = finite(reliance(bench))
    told = _told(bench, measured, {}, relied, f"the trained model of {run.folder.path}")
    return {**told, "stored": _against_stored(run, measured) if source is None else None}


def _own_rows(recipe: Recipe, voice: Voice) -> tuple[Recipe, Table]:
    """The rows that a run was measured on; those that were only learnt from are not needed, and may have gone."""
    return recipe, open_table(recipe.model_copy(update={"data": recipe.data.model_copy(update={"added": None})}), voice)


def _told(bench: Bench, measured: Measured, simple: dict[str, Told], relied: dict[str, Any], what: str) -> dict[str, Any]:
    recipe = bench.recipe
    sure = _intervals(bench, measured)
    scores = [
        {**score._asdict(), "value": finite(score.value), "name": score.name, **sure.get(score.name, {})} for score in measured.scores
    ]
    return {
        "name": recipe.name,
        "what": what,
        "source": bench.table.source,
        "judged_on": bench.judged_side(),
        "rows": len(measured.ids),
        "rejected": [asdict(reject) for reject in bench.table.rejects],
        "scores": scores,
        "baselines": {name: {baseline: finite(values) for baseline, values in found.items()} for name, found in simple.items()},
        "details": details(bench, {"measured": measured}),
        "reliance": relied,
        "findings": [
            one.as_dict() for one in findings_of(recipe, bench.table, bench.targets) if bench.table.at("train") or one.code != "empty side"
        ],
        "stored": None,
    }


def _intervals(bench: Bench, measured: Measured) -> dict[str, dict[str, Any]]:
    """{name of a headline score: its `low` and `high`}, also of answers by prompts; rows of one group are drawn together."""
    group_N = bench.groups(bench.table.at(bench.judged_side()))
    found = {}
    for name, task in bench.recipe.tasks.items():
        for of, answers in (("", measured.answers), (f" {BY_PROMPTS}", measured.prompted)):
            if of and name not in answers:
                continue
            seen = statistics(name, task, measured if not of else _answering(measured, name))
            if seen is not None:
                sure = interval(seen, group_N)
                found[f"{name}.{shown_by(name, task, measured)}{of}"] = {"low": finite(sure.low), "high": finite(sure.high)}
    return found


def _answering(measured: Measured, name: str) -> Measured:
    """As if the prompts' answers were the task's own."""
    from dataclasses import replace

    return replace(measured, answers={**measured.answers, name: measured.prompted[name]})


def _against_stored(run: Run, measured: Measured) -> dict[str, Any]:
    """Whether the figures are those that the run holds, and where they are not: another machine adds up in another order."""
    now = {score.name: finite(score.value) for score in measured.scores}
    then = {score["name"]: score["trained"] for score in run.scores}
    differ = {name: [then[name], now.get(name)] for name in then if not alike(then[name], now.get(name))}
    return {"same": not differ, "differ": differ}


def alike(then: float | None, now: float | None) -> bool:
    """But for the sixth digit, which no page shows."""
    return then == now if then is None or now is None else math.isclose(then, now, rel_tol=1e-5, abs_tol=1e-6)


def _written(what: str, told: dict[str, Any], trained: bool, out: str | Path | None) -> Evaluation:
    from triptych.use.pages import rendered
    from triptych.use.trust import evaluation_facts

    stamp = time.strftime("%Y%m%d-%H%M%S")
    default = Path(what) / "evaluations" / stamp if trained else Path("runs") / f"{stamp}-{told['name']}-untouched"
    folder = Path(out) if out else fresh(default)
    told = {**told, "made": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    write_json(folder / "evaluation.json", told)
    write_text(folder / "evaluation.html", rendered("evaluation.html.j2", evaluation_facts(told)))
    return Evaluation(folder, told)
