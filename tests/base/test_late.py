"""What is read late: nothing that is not needed is read, and all that was there is there still."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = "print([name for name in ('transformers', 'scipy', 'sklearn', 'pandas') if name in sys.modules])"
LATE = "import sys, triptych.base.training, triptych.objective.classes; "


def said(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_lightning_and_the_scores_read_little_and_the_rest_comes_when_it_is_asked_for():
    whole = (
        "; import torchmetrics, torchmetrics.functional as F; before = torchmetrics.Metric"
        "; print(torchmetrics.Accuracy.__name__, F.accuracy.__name__, torchmetrics.MetricCollection.__name__)"
        "; print(torchmetrics.metric.Metric is before is torchmetrics.Metric, hasattr(torchmetrics, 'nothing_of_this_name'))"
    )
    assert said(LATE + HEAVY + whole).splitlines() == ["[]", "Accuracy accuracy MetricCollection", "True False"]


def test_a_package_that_is_not_there_is_left_to_whoever_imports_it():
    code = "import sys; from triptych.base.late import late; late('no_such_package', {}); print('no_such_package' in sys.modules)"
    assert said(code) == "False"
