"""The thresholds of labels, chosen on the validation rows once training is over, and kept with the head."""

from __future__ import annotations

from typing import cast

from triptych.contract.tasks import cut_of, rule_of
from triptych.model.heads import MultiLabel
from triptych.objective.thresholds import chosen
from triptych.run.bench import Bench
from triptych.run.callbacks import keep_weights
from triptych.run.folder import RunFolder
from triptych.run.inspect import ruled
from triptych.run.measure import measure
from triptych.run.progress import Voice

FILE = "thresholds.json"


def choose_thresholds(bench: Bench, run: RunFolder, voice: Voice) -> None:
    """Choose them from what the trained model says of the validation rows; they go into the head, and into `thresholds.json`."""
    tasks = ruled(bench.recipe)
    if not tasks:
        return
    measured = measure(bench.model, bench.loader("validation"), tasks, bench.device, every_mixture=False)
    told = {}
    for name, task in tasks.items():
        rows = measured.has_truth[name]
        truth_NC, answer_NC = measured.truth[name][rows].bool().numpy(), measured.answers[name][rows].double().numpy()
        labels = bench.targets[name].facts["labels"]
        found = [chosen(label, truth_NC[:, c], answer_NC[:, c], task.threshold) for c, label in enumerate(labels)]
        cast(MultiLabel, bench.model.heads[name]).decide([one.at for one in found])
        bench.targets[name].facts["thresholds"] = [one.at for one in found]
        told[name] = {"rule": task.threshold, "rows": int(rows.sum()), "labels": [one.as_dict() for one in found]}
        voice.say(f"{name}: thresholds by {rule_of(task)} on {int(rows.sum()):,} validation rows: " + _in_words(labels, bench, name))
        for one in found:
            if one.note:
                voice.say(f"  {one.label}: {one.note}")
    if bench.judged_side() == "validation":
        voice.say("  there are no test rows: the scores that follow are of the rows that these were chosen on, and flatter them")
    keep_weights(run, bench.model)
    run.write(FILE, told)


def _in_words(labels: list[str], bench: Bench, name: str) -> str:
    cuts = cut_of(bench.recipe.tasks[name], bench.targets[name].facts)
    return ", ".join(f"{label} {cut:.3f}" for label, cut in zip(labels, cast(list[float], cuts), strict=True))
