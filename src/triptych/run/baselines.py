"""What can be had without training: chance, the usual answer, and simple models on what the untouched encoders give.

A trained model that is not better than these has learnt nothing worth its cost.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from itertools import permutations
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from triptych.base.files import remembered_json
from triptych.contract.part import Encoder
from triptych.contract.tasks import IN_WRITING, cut_of
from triptych.contract.values import Batch
from triptych.model.assemble import Model
from triptych.objective.retrieval import chance_scores
from triptych.objective.transcripts import spelling_of
from triptych.run.bench import Bench
from triptych.run.measure import Measured, score_values

MOST_ROWS = 5000  # training rows that the simple models learn from; more changes their scores little and costs minutes
USUAL = {"regress": "mean", "ground": "mean box"}
"""How the usual answer of tasks whose answers are numbers is called."""
NEIGHBOURS = 5


@dataclass(frozen=True)
class Features:
    """What the encoders give for some rows: their pooled vectors side by side, zero where a row lacks an input."""

    rows_ND: Tensor
    truth: dict[str, Tensor]
    has_truth: dict[str, Tensor]


Told = dict[str, dict[str, float]]
"""{name of the baseline: {metric: value}}"""


def baselines(bench: Bench, untouched: Measured) -> dict[str, Told]:
    """Every task's baselines, on the rows on which `untouched` was measured. The model is used as it is.

    `majority` (or `mean`, `mean box`) is the training rows' most frequent answer. `nearest rows` and `logistic regression` (`ridge
    regression` of numbers and boxes) see the encoders' pooled vectors, each column standardised: scikit-learn's own, as they come.
    `usual text` is that of most training rows; of texts nothing simpler is tried.
    `chance` is the expectation of a random order, or of a class drawn at random. `zero-shot by prompts` is what the untouched
    space says of the sentences about each class (`prompts.py`).
    """
    heads = {name: task for name, task in bench.recipe.tasks.items() if task.kind not in ("contrast", "ctc", *IN_WRITING)}
    found: dict[str, Told] = {}
    for name, task in bench.recipe.tasks.items():
        if task.kind == "contrast":
            found[name] = {"chance": _chance(name, task, untouched)}
        elif task.kind == "ctc":
            found[name] = _usual_text(name, task, bench, untouched)
        elif name in bench.asked:
            found[name] = _usual_words(name, bench, untouched)
    if heads:
        train = features(bench.model, bench.loader("train", rows=_some(bench.table.at("train"))), bench.device)
        judged = features(bench.model, bench.loader(bench.judged_side()), bench.device)
        for name, task in heads.items():
            found[name] = _of_head(name, task, train, judged, bench.targets[name].facts) | _without_learning(name, task, untouched)
    return found


def _usual_text(name: str, task: Any, bench: Bench, untouched: Measured) -> Told:
    rows_N, target = untouched.has_truth[name], bench.targets[name]
    train = torch.tensor(bench.table.at("train"), dtype=torch.long)
    texts_NL = target.values[train][target.has[train]]
    if not bool(rows_N.any()) or not len(texts_NL):
        return {}
    different_UL, count_U = texts_NL.unique(dim=0, return_counts=True)
    truth_NL = untouched.truth[name][rows_N]
    said_NL = different_UL[count_U.argmax()].expand(len(truth_NL), -1)
    return {"usual text": score_values(task, said_NL, truth_NL, spelling_of(task, target.facts))}


def _without_learning(name: str, task: Any, untouched: Measured) -> Told:
    """Of classes: one drawn at random, and the prompts of an untouched space."""
    rows_N = untouched.has_truth[name]
    if task.kind != "classify" or not bool(rows_N.any()):
        return {}
    found = {"chance": {"accuracy": 1 / untouched.answers[name].shape[1]}}
    if name in untouched.prompted:
        found["zero-shot by prompts"] = score_values(task, untouched.prompted[name][rows_N], untouched.truth[name][rows_N], 1.0)
    return found


def _usual_words(name: str, bench: Bench, untouched: Measured) -> Told:
    """What the training rows' most frequent answer is worth, of a task that is answered in writing."""
    pen, one = bench.pen(), bench.asked[name]
    if pen is None or name not in untouched.written:
        return {}
    train = [row for row in bench.table.at("train") if bool(bench.targets[name].has[row])]
    answers = (answer for start in range(0, len(train), MOST_ROWS) for answer in pen.expected(one.pack(train[start : start + MOST_ROWS])))
    return {"usual answer": pen.usual(name, answers, untouched.written[name])}


def _some(rows: list[int]) -> list[int]:
    return sorted(random.Random(0).sample(rows, MOST_ROWS)) if len(rows) > MOST_ROWS else rows


@torch.no_grad()
def features(model: Model, batches: Iterable[Batch], device: str) -> Features:
    """The pooled vectors of all encoders over some batches, in eval mode."""
    was_training = model.training
    model.eval()
    rows: list[Tensor] = []
    truth: dict[str, list[Tensor]] = {name: [] for name in dict(model.heads.items())}
    has: dict[str, list[Tensor]] = {name: [] for name in truth}
    widths = {column: cast(Encoder, encoder).width for column, encoder in model.encoders.items()}
    for batch in batches:
        encoded = model.encode(batch.to(torch.device(device)))
        pooled = [encoded[c].pooled_BD.float().cpu() if c in encoded else torch.zeros((len(batch), width)) for c, width in widths.items()]
        rows.append(torch.cat(pooled, 1))
        for name in truth:
            truth[name].append(batch.targets[name].cpu())
            has[name].append(batch.has_target[name].cpu())
    model.train(was_training)
    return Features(torch.cat(rows), {n: torch.cat(t) for n, t in truth.items()}, {n: torch.cat(h) for n, h in has.items()})


def _chance(name: str, task: Any, measured: Measured) -> dict[str, float]:
    """The mean over directions, as the overall score is."""
    group_N, told = measured.truth[name], []
    for a, b in permutations(task.between, 2):
        here, there = measured.present[a], measured.present[b]
        if bool(here.any()) and bool(there.any()):
            told.append(chance_scores(group_N[here], group_N[there]))
    return {metric: float(np.nanmean([one[metric] for one in told])) for metric in told[0]} if told else {}


def _of_head(name: str, task: Any, train: Features, judged: Features, facts: Mapping[str, Any]) -> Told:
    there, asked = train.has_truth[name], judged.has_truth[name]
    if not bool(there.any()) or not bool(asked.any()):
        return {}
    truth_N, answer_N = train.truth[name][there].numpy(), judged.truth[name][asked]
    unit = cut_of(task, facts) if task.kind == "multilabel" else float(facts.get("std", 1.0))
    known, new = _standardised(train.rows_ND[there].numpy(), judged.rows_ND[asked].numpy())
    answers = {USUAL.get(task.kind, "majority"): _usual(task, truth_N, len(new), facts)}
    if known.shape[1] and np.isfinite(known).all() and np.isfinite(new).all():
        answers |= _learnt(task, known, truth_N, new, facts)
    told = {baseline: torch.from_numpy(made) for baseline, made in answers.items()}
    if task.kind == "ground":  # of no simple answer is known how sure it is
        told = {baseline: torch.cat([box_N4, torch.ones(len(box_N4), 1)], 1) for baseline, box_N4 in told.items()}
    return {baseline: score_values(task, made, answer_N, unit) for baseline, made in told.items()}


def _learnt(task: Any, known: np.ndarray, truth: np.ndarray, new: np.ndarray, facts: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The simple models' answers, kept by all that decides them: where a frozen base gives the same again, none is fitted anew."""

    def made() -> dict[str, Any]:
        found = {
            "nearest rows": _neighbours(task, known, truth, new, facts),
            _linear_name(task): _linear(task, known, truth, new, facts),
        }
        return {name: answers.tolist() for name, answers in found.items()}

    told = hashlib.sha256(Path(__file__).read_bytes())
    told.update(json.dumps([task.kind, len(facts.get("labels", ())), version("scikit-learn")]).encode())
    for array in (known, truth, new):
        told.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    kept = remembered_json(f"baselines/{told.hexdigest()[:32]}.json", made)
    return {name: np.asarray(answers, np.float64) for name, answers in kept.items()}


def _standardised(known_ND: np.ndarray, new_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean, std = known_ND.mean(0), known_ND.std(0)
    keep = std > 1e-8 * (1 + abs(mean))  # an input that no row has, a unit that never fires
    return (known_ND[:, keep] - mean[keep]) / std[keep], (new_ND[:, keep] - mean[keep]) / std[keep]


def _usual(task: Any, truth: np.ndarray, rows: int, facts: Mapping[str, Any]) -> np.ndarray:
    """What the training rows say on average: the shares of the classes or labels, or the mean."""
    shares = np.bincount(truth, minlength=len(facts["labels"])) / len(truth) if task.kind == "classify" else truth.mean(0)
    return np.repeat(np.asarray(shares, dtype=np.float64)[None], rows, 0)


def _neighbours(task: Any, known: np.ndarray, truth: np.ndarray, new: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

    count = min(NEIGHBOURS, len(known))
    if task.kind == "classify":
        model = KNeighborsClassifier(count).fit(known, truth)
        return _spread(model.predict_proba(new), model.classes_, facts)
    # A label's mean over the neighbours is the share of them that have it.
    return np.asarray(KNeighborsRegressor(count).fit(known, truth).predict(new), dtype=np.float64)


def _linear_name(task: Any) -> str:
    return "ridge regression" if task.kind in USUAL else "logistic regression"


def _linear(task: Any, known: np.ndarray, truth: np.ndarray, new: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression, Ridge

    if task.kind in USUAL:
        return np.asarray(Ridge().fit(known, truth).predict(new), dtype=np.float64)
    if task.kind == "classify":
        if len(np.unique(truth)) < 2:
            return _usual(task, truth, len(new), facts)
        model = LogisticRegression(max_iter=1000).fit(known, truth)
        return _spread(model.predict_proba(new), model.classes_, facts)
    columns = [_label(LogisticRegression(max_iter=1000), known, column, new) for column in truth.T]
    return np.stack(columns, 1)


def _label(model: Any, known: np.ndarray, has_N: np.ndarray, new: np.ndarray) -> np.ndarray:
    if len(np.unique(has_N)) < 2:
        return np.full(len(new), float(has_N[0]))
    return np.asarray(model.fit(known, has_N > 0.5).predict_proba(new)[:, 1])


def _spread(probabilities: np.ndarray, classes: np.ndarray, facts: Mapping[str, Any]) -> np.ndarray:
    """Over all labels: some may be in no training row that was looked at."""
    spread = np.zeros((len(probabilities), len(facts["labels"])))
    spread[:, classes] = probabilities
    return spread
