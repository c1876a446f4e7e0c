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


def test_the_compiler_is_read_when_somebody_compiles_and_is_whole_then():
    """Lightning and a step of an optimiser do not read it; a module of it that is imported first is read once, and with the rest."""
    code = """
import sys, triptych.base.training, torch, lightning.fabric.wrappers as wrappers
layer, one = torch.nn.Linear(2, 2), torch.ones(1, 2)
optimiser = torch.optim.AdamW(layer.parameters())
layer(one).sum().backward(), optimiser.step(), optimiser.zero_grad(), optimiser.state_dict()
read = [name for name in sys.modules if name.startswith(("torch._dynamo.", "sympy", "matplotlib"))]
print(read, isinstance(layer, wrappers.OptimizedModule))
import torch._dynamo.config as config
print(config is sys.modules["torch._dynamo.config"] is torch._dynamo.config, config.__spec__.name == config.__name__)
made = torch.compile(layer, backend="eager")
print(isinstance(made, wrappers.OptimizedModule), torch.equal(made(one), layer(one)))
"""
    assert said(code).splitlines() == ["[] False", "True True", "True True"]
