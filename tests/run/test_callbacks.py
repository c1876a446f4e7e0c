"""Which epoch is kept, and which is worth going on for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from triptych.contract.tasks import Classify, Contrast
from triptych.objective.scores import Score
from triptych.run.callbacks import Best, Keep


def after(epochs: list[tuple[float, float]]) -> Best:
    """`epochs`: accuracy and loss of each."""
    best = Best("label.accuracy")
    for number, (accuracy, loss) in enumerate(epochs, start=1):
        best.beaten_by([Score("loss", "", "", loss, "lower"), Score("label", "accuracy", "", accuracy, "higher")], number)
    return best


@pytest.mark.parametrize(
    ("epochs", "kept", "gained"),
    [
        ([(0.5, 1.0), (0.9, 2.0), (0.8, 0.1)], 2, 2),  # the score decides, whatever the loss
        ([(1.0, 0.9), (1.0, 0.5), (1.0, 0.7)], 2, 2),  # of equal scores, the lower loss
        ([(1.0, 4e-4), (1.0, 2e-4), (1.0, 1e-4)], 3, 1),  # kept, but no reason to go on
        ([(1.0, 0.0100), (1.0, 0.0094), (1.0, 0.0088), (1.0, 0.0082)], 4, 3),  # small steps add up
        ([(0.5, 1.0), (0.5, 1.0), (0.5, 1.0)], 1, 1),
        ([(float("nan"), 1.0), (0.1, 1.0)], 2, 2),
        ([(0.2, 1.0), (0.9, float("nan"))], 1, 1),  # a model that gives NaN is no model
    ],
)
def test_the_epoch_kept_and_the_last_one_worth_going_on_for(epochs, kept, gained):
    best = after(epochs)
    assert (best.epoch, best.gained) == (kept, gained)


def test_the_terminal_hears_every_score_over_all_rows():
    tasks = {"match": Contrast(between=["a", "b"]), "label": Classify(target="label")}
    keep = Keep.__new__(Keep)
    keep.best = Best("label.macro_f1")
    scores = [Score("loss", "", "", 1.25, "lower"), Score("match", "loss", "", 1.0, "lower"), Score("match", "recall@1", "", 0.5, "higher")]
    scores += [Score("match", "recall@5", "", 0.75, "higher"), Score("match", "recall@5", "a -> b", 0.7, "higher")]
    scores += [Score("label", name, "", 0.125, "higher") for name in ("accuracy", "macro_f1", "weighted_f1", "ece")]
    found = {f"validation {score.name}": score.value for score in scores}
    module = SimpleNamespace(recipe=SimpleNamespace(tasks=tasks))
    assert (
        keep._tail(module, found, True) == "   validation label.macro_f1 0.125, match.recall@1 0.500, label.accuracy 0.125  (best so far)"
    )
    assert keep._also(module, scores) == "loss 1.250; match recall@5 0.750; label weighted_f1 0.125, ece 0.125"
