"""Gradient caching: the answers and gradients of the plain step, in less memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from triptych.objective.losses import task_loss, terms
from triptych.run import chunked
from triptych.run.building import build
from triptych.run.chunked import answers
from triptych.run.fit import fit
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read

QUIET = Voice(quiet=True)
TASKS = [
    "tasks.tags={kind: multilabel, target: tags}",
    "tasks.number={kind: regress, target: number, dropout: 0.0}",
    "tasks.pairs={kind: contrast, between: [text, image], form: sigmoid, width: 8}",
]
PLAIN = [f"{place}.dropout=0" for place in ("fusion", "inputs.image.encoder", "inputs.audio.encoder", "inputs.text.encoder")]
PLAIN += ["training.drop_inputs=0.3"]


@pytest.fixture(scope="module")
def bench(tiny_recipe):
    recipe = read(str(tiny_recipe), TASKS)
    made = build(recipe, open_table(recipe, QUIET), QUIET)
    made.model.drop_inputs = 0.3
    return made


def step(bench, chunk, rows=24):
    """Losses and gradients of one step; rows lack inputs, and some of what is there is hidden."""
    loader = bench.loader("train")
    batch = loader.batch(loader.rows[:rows])
    bench.model.train()
    bench.model.zero_grad()
    torch.manual_seed(3)
    outputs = answers(bench.model, batch, chunk)
    tasks = bench.recipe.tasks
    losses = [task_loss(outputs[n], terms(outputs[n], batch.targets[n], batch.has_target[n], t, batch.present)) for n, t in tasks.items()]
    torch.stack(losses).sum().backward()
    return torch.stack(losses).detach(), {n: p.grad.clone() for n, p in bench.model.named_parameters() if p.grad is not None}


def without_dropout(model):
    for module in model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.0


@pytest.mark.parametrize("chunk", [1, 5, 12, 23])
def test_it_is_the_plain_step(bench, chunk):
    without_dropout(bench.model)
    losses, plain = step(bench, None)
    found, cached = step(bench, chunk)
    torch.testing.assert_close(found, losses, rtol=1e-5, atol=1e-5)
    for name, gradient in plain.items():  # a part that the plain step gives zeros may get none, and the other way round
        torch.testing.assert_close(cached.get(name, torch.zeros_like(gradient)), gradient, rtol=1e-4, atol=1e-5, msg=name)
    assert all(float(cached[name].abs().max()) == 0 for name in set(cached) - set(plain))


def test_with_dropout_each_chunk_goes_back_with_its_own_draw(bench, monkeypatch):
    """Against chunks whose graphs are all kept: those drop what they drop once."""
    for module in bench.model.modules():
        if isinstance(module, torch.nn.modules.dropout._DropoutNd):
            module.p = 0.5
    losses, cached = step(bench, 7)
    monkeypatch.setattr(chunked, "checkpoint", lambda run, *words, **settings: run(*words))
    kept_losses, kept = step(bench, 7)
    torch.testing.assert_close(losses, kept_losses, rtol=0, atol=0)
    for name, gradient in kept.items():
        torch.testing.assert_close(cached[name], gradient, rtol=1e-6, atol=1e-7)
    without_dropout(bench.model)
    assert not torch.equal(step(bench, 7)[0], losses)  # there was something to drop


def test_a_part_of_a_batch_is_the_batch_of_those_rows(bench):
    loader = bench.loader("train")
    whole, part = loader.batch(loader.rows[:12]).part(3, 8), loader.batch(loader.rows[3:8])
    assert whole.ids == part.ids
    assert set(whole.inputs) == set(part.inputs)
    for name, there in part.present.items():
        assert torch.equal(whole.present[name], there)
    bench.model.eval()
    ours, theirs = (bench.model(batch).fused.pooled_BD for batch in (whole, part))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_training_goes_the_same_way(tiny_recipe, tmp_path):
    plain, cached = (
        fit(read(str(tiny_recipe), sets), tmp_path / name, quiet=True)
        for name, sets in (("plain", PLAIN), ("chunk", ["training.chunk=5", *PLAIN]))
    )
    for one, other in zip(plain.read_log(), cached.read_log(), strict=True):
        assert one["train loss"] == pytest.approx(other["train loss"], abs=1e-3)
        assert one["lr label"] == other["lr label"]
    choice = next(c for c in cached.read("run.json")["choices"] if c["name"] == "rows at once")
    assert choice["value"] == "5"


CHILD = """
import sys, torch
from triptych.run.chunked import answers
from triptych.contract.values import Batch, Encoded, Output, Packed
from triptych.objective.contrastive import contrastive_softmax
from torch.nn import functional as F

class Deep(torch.nn.Module):
    drop_inputs = 0.0
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(256, 256), torch.nn.GELU()) for _ in range(32)])
    def shown(self, batch): return batch.present
    def forward(self, batch, shown=None):
        x = F.normalize(self.layers(batch.inputs["x"].tensors["x"]), dim=1)
        class P: outputs = {"t": Output({"embedding.x_BD": x})}
        return P

def memory(word):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(word)) / 1024

rows, model = 4096, Deep()
batch = Batch({"x": Packed({"x": torch.randn(rows, 256)})}, {"x": torch.ones(rows, dtype=torch.bool)})
def step(batch, chunk):
    a = answers(model, batch, chunk)["t"]["embedding.x_BD"]
    contrastive_softmax(a, a.roll(1, 1), torch.tensor(10.0), torch.arange(len(a))).mean().backward()
step(batch.part(0, 8), None)
for chunk in map(int, sys.argv[1:]):
    model.zero_grad()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before = memory("VmRSS")
    step(batch, chunk)
    print(memory("VmHWM") - before)
"""


@pytest.mark.slow
def test_memory_falls_with_the_rows_at_once():
    honest = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc gives back at once what a tensor no longer needs
    command = [sys.executable, "-c", CHILD, "256", "2048", "4096"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=honest)
    small, half, whole = map(float, done.stdout.split())
    assert half < 0.85 * whole
    assert small < 0.5 * whole
