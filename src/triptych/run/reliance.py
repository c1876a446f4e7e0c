"""What each input adds: the score that is lost without it, and with another row's in its place.

An input that can be exchanged at will is not used, however much it costs to collect. The exchange is permutation importance
(Breiman 2001; Fisher, Rudin and Dominici 2019) over all judged rows, with whole inputs for variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from triptych.contract.spelling import PAD
from triptych.contract.tasks import IN_WRITING, cut_of, direction, unwritten
from triptych.objective.intervals import Interval, Statistics, difference, interval, mean_of_all
from triptych.run.bench import Bench
from triptych.run.encoded import EncodedRows, encode
from triptych.run.measure import Measured
from triptych.run.verdict import statistics, with_interval

SHUFFLES = 5
NEAR = 0.005  # a loss below this is none
WIDE = 0.1  # an interval that reaches from none to this says nothing
FEWEST = 30  # rows, or groups of them, below which nothing is said: with none changed of 30, up to 10 % may (rule of three)

USED, SPARE, PRESENCE, IGNORED, UNSURE = "used", "spare", "presence only", "ignored", "too few rows"
FLAGGED = (PRESENCE, IGNORED)


def reliance(bench: Bench) -> dict[str, Any]:
    """How much each task's score (that needs no writing) owes to each input.

    Returns:
        `rows` that were looked at `of` all that are judged; `why_not` a sentence where there is nothing to audit. `tasks`:
        of each its `metric` and `inputs`: `rows` that have this input and another, the `score` on them, what is lost where
        it is left out (`drop`) or exchanged (`shuffle`, the mean of five), the score from it `alone`, all
        `{value, low, high}`, and a `verdict`:

        * used: exchanging it surely costs score.
        * spare: it does not, but the input alone answers surely better than a constant: the others say the same.
        * presence only: it costs nothing to exchange it and something to leave it out: what it says is ignored.
        * ignored: neither costs anything.
        * too few rows: the interval is too wide to tell.
    """
    recipe = bench.recipe
    alone = len(recipe.inputs) < 2  # then only words could stand in for it
    tasks = {name: task for name, task in recipe.tasks.items() if task.kind in IN_WRITING or not (alone or task.kind == "contrast")}
    judged = len(bench.table.at(bench.judged_side()))
    told: dict[str, Any] = {"rows": 0, "of": judged, "shuffles": SHUFFLES, "tasks": {}, "why_not": why_not(recipe)}
    if told["why_not"]:
        return told
    rows = encode(bench, tasks)
    group_N = bench.groups(rows.rows)
    was_training = bench.model.training
    bench.model.eval()
    whole = rows.answers(bench.model, tasks, rows.present, {})
    for name, task in tasks.items():
        told["tasks"][name] = {"metric": unwritten(task), "inputs": {}}
    for given in rows.pooled:
        changed = _changed(bench, rows, tasks, given)
        for name, task in tasks.items():
            if _shown(recipe, task, given):
                facts = bench.targets[name].facts
                told["tasks"][name]["inputs"][given] = _input(name, task, facts, rows, given, whole, changed, group_N)
    bench.model.train(was_training)
    return {**told, "rows": len(rows.rows)}


def _shown(recipe: Any, task: Any, given: str) -> bool:
    """Whether a task is shown an input at all: one that stands between words is seen by the questions that name it alone."""
    template = getattr(task, "template", None)
    return recipe.fusion.kind != "prefix" or task.kind not in IN_WRITING or template is None or f"{{{given}}}" in template


def why_not(recipe: Any) -> str:
    """Why a recipe's inputs cannot be audited; empty where they can."""
    if len(recipe.inputs) < 2 and all(task.kind not in IN_WRITING for task in recipe.tasks.values()):
        return "what each input adds can be asked of two or more inputs; this recipe has one"
    if all(task.kind == "contrast" for task in recipe.tasks.values()):
        return "a contrast task embeds each input alone, so none can be ignored; its directions say what each is worth"
    return ""


def _changed(bench: Bench, rows: EncodedRows, tasks: Mapping[str, Any], given: str) -> dict[str, list[dict[str, Tensor]]]:
    """Every task's answers without the input, with it exchanged, and from it alone."""
    without = {**rows.present, given: torch.zeros_like(rows.present[given])}
    alone = {c: there if c == given else torch.zeros_like(there) for c, there in rows.present.items()}
    donors = [{given: exchanged(rows.present[given], seed)} for seed in range(SHUFFLES)]
    return {
        "drop": [rows.answers(bench.model, tasks, without, {})],
        "shuffle": [rows.answers(bench.model, tasks, rows.present, one) for one in donors],
        "alone": [rows.answers(bench.model, tasks, alone, {})],
        "none": [rows.answers(bench.model, tasks, {c: torch.zeros_like(there) for c, there in rows.present.items()}, {})],
    }


def exchanged(there_N: Tensor, seed: int) -> Tensor:
    """Whose value each row gets: one drawn ring through all rows that have one, so that none keeps its own (but a lone one)."""
    places = there_N.nonzero()[:, 0]
    ring = places[torch.randperm(len(places), generator=torch.Generator().manual_seed(seed))]
    donors = torch.arange(len(there_N))
    donors[ring] = ring.roll(1)
    return donors


def _input(
    name: str,
    task: Any,
    facts: Mapping[str, Any],
    rows: EncodedRows,
    given: str,
    whole: Mapping[str, Tensor],
    changed: Mapping[str, list[dict[str, Tensor]]],
    group_N: Tensor | None,
) -> dict[str, Any] | None:
    """One input of one task; None where no row with the target has it and another."""
    others = torch.stack([there for column, there in rows.present.items() if column != given or task.kind in IN_WRITING]).any(0)
    judged_N = rows.has_truth[name] & rows.present[given] & others

    def of(answers: Tensor) -> Statistics:
        cuts = {name: cut_of(task, facts)} if task.kind == "multilabel" else {}
        seen = Measured([], [], {name: answers}, {name: rows.truth[name]}, {name: judged_N}, {}, {}, cuts=cuts)
        found = statistics(name, task, seen)
        assert found is not None
        return found

    if not bool(judged_N.any()):
        return None
    before = of(whole[name])
    made = {how: mean_of_all([of(one[name]) for one in several]) for how, several in changed.items()}
    blind = of(changed["none"][0][name] if task.kind in IN_WRITING else constant(task, rows.truth[name], judged_N, whole[name]))

    def gain(worse: Statistics, better: Statistics) -> Interval:
        return difference(worse, better, group_N) if direction(task, unwritten(task)) == "higher" else difference(better, worse, group_N)

    losses = {how: gain(made[how], before) for how in ("drop", "shuffle")}
    above = gain(blind, made["alone"])
    units = int(judged_N.sum()) if group_N is None else len(group_N[judged_N].unique())
    return {
        "rows": int(judged_N.sum()),
        "score": before.value,
        **{how: asdict(loss) for how, loss in losses.items()},
        "alone": asdict(interval(made["alone"], group_N)),
        "verdict": _verdict(losses, above, units),
    }


def constant(task: Any, truth: Tensor, judged_N: Tensor, answers: Tensor) -> Tensor:
    """The best answer that looks at nothing: the most frequent class, all labels, the mean, the mean box, no word."""
    if task.kind == "ground":
        return torch.cat([truth[judged_N].mean(0), torch.ones(1)]).expand(len(truth), -1)
    if task.kind == "ctc":
        return torch.full_like(answers, PAD)
    if task.kind == "classify":
        return one_hot(truth[judged_N].mode().values, answers.shape[1]).float().expand(len(truth), -1)
    return torch.ones_like(answers) if task.kind == "multilabel" else truth[judged_N].mean().expand(len(truth))


def _verdict(losses: Mapping[str, Interval], alone_above: Interval, units: int) -> str:
    drop, shuffle = losses["drop"], losses["shuffle"]
    if shuffle.low > NEAR:
        return USED
    if alone_above.low > NEAR:
        return SPARE
    if units < FEWEST or not shuffle.high < WIDE:  # also where it is no number
        return UNSURE
    return PRESENCE if drop.low > NEAR else IGNORED


def flagged(told: Mapping[str, Any]) -> dict[str, list[str]]:
    """{task: inputs whose content it does not use}."""
    tasks = {
        name: [given for given, one in task["inputs"].items() if one and one["verdict"] in FLAGGED]
        for name, task in told.get("tasks", {}).items()
    }
    return {name: inputs for name, inputs in tasks.items() if inputs}


def warnings(told: Mapping[str, Any]) -> list[str]:
    """A sentence or two for each input that is not used, with what to do; none where all is well."""
    lines = []
    for name, inputs in flagged(told).items():
        task = told["tasks"][name]
        if len(inputs) == len(task["inputs"]):
            lines.append(
                f"{name}: no input is used: exchanging any of {', '.join(inputs)} costs no {task['metric']}; nothing was learnt yet"
            )
            continue
        lines += [_warning(name, task["metric"], given, task["inputs"][given]) for given in inputs]
    return lines


def _warning(name: str, metric: str, given: str, one: Mapping[str, Any]) -> str:
    shuffled, dropped = with_interval(one["shuffle"]), with_interval(one["drop"])
    cure = "training.drop_inputs=0.3"
    if one["verdict"] == PRESENCE:
        return (
            f"{name} needs {given} to be there and ignores what it says: the loss of {metric} is {dropped} without it, {shuffled} with "
            f"another row's; hide inputs in training (--set {cure}), or remove it"
        )
    return (
        f"{name} ignores {given}: the loss of {metric} is {shuffled} with another row's in its place, {dropped} without it; {metric} is "
        f"{with_interval(one['alone'])} from it alone, which a constant answer reaches; hide inputs in "
        f"training (--set {cure}), give it a first stage of its own, or remove it"
    )
