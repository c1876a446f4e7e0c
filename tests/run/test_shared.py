"""Several processes that train one model come to what one process comes to."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from functools import partial

import pytest
from tests.forked import PLACE, TOGETHER, TRIPTYCH, started_together
from tests.reports import BLANK

import triptych
from triptych.base.errors import InputError, TriptychError
from triptych.base.ranks import Ranks, plainly, ranks
from triptych.run.fit import fit
from triptych.run.launch import launch
from triptych.run.recipe import read

STILL = [
    "inputs.text.encoder.dropout=0",
    "inputs.image.encoder.dropout=0",
    "fusion.dropout=0",
    "stages.0.lr=1.0e-4",
    "stages.0.epochs=3",
    "training.batch_size=13",
]
"""Nothing is drawn by chance, and 26 training rows leave a last batch that does not divide."""


def losses(path) -> list[tuple[float, float]]:
    rows = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [(row["train loss"], row["validation loss"]) for row in rows]


def together(forked, *words):
    """`triptych WORDS`, where what `--devices` starts is forked too."""
    return forked.run_code(TOGETHER + BLANK + TRIPTYCH, *words)


def with_set(changes) -> list[str]:
    return [word for change in changes for word in ("--set", change)]


GRADIENTS = """
import json, sys
from dataclasses import replace
import numpy as np, torch, torch.distributed as dist
from triptych.base.ranks import together
from triptych.data.order import Order
from triptych.objective.losses import task_loss, terms
from triptych.run.building import build
from triptych.run.opening import open_table
from triptych.run.gather import gathered
from triptych.run.progress import Voice
from triptych.run.recipe import read

def gradient(bench, model, batch, ranks):
    model.zero_grad()
    outputs, whole = gathered(model(batch).outputs, batch, ranks)
    tasks = bench.recipe.tasks
    found = {n: terms(outputs[n], whole.targets[n], whole.has_target[n], t, whole.present) for n, t in tasks.items()}
    loss = torch.stack([task_loss(outputs[n], found[n]) for n in tasks]).sum()
    loss.backward()
    return float(loss.detach()), [torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.parameters()]

def difference(recipe, ranks):
    quiet = Voice(quiet=True)
    alone = build(recipe, open_table(recipe, quiet), quiet)
    alone.model.eval()  # no dropout
    rows = alone.table.at("train")
    # Each process has another kind of row: the one lacks what the other has. The last batch leaves a process without a row.
    has = alone.inputs["image"].has
    mixed = zip([r for r in rows if has(r)][:6], [r for r in rows if not has(r)][:6])
    here = np.array([row for pair in mixed for row in pair])
    alone.order = Order(np.array([*here, *(row for row in rows if row not in set(here.tolist()))]), 5)
    shared = replace(alone, ranks=ranks)
    worst = 0.0
    for mine, whole in zip(shared.loader("train", shuffled=True), alone.loader("train", shuffled=True), strict=True):
        want_loss, want = gradient(alone, alone.model, whole, replace(ranks, rank=0, size=1))
        loss, got = gradient(shared, alone.model, mine, ranks)
        for tensor in got:
            dist.all_reduce(tensor)
            tensor /= ranks.size
        large = max(1.0, *(float(a.abs().max()) for a in want))
        worst = max(worst, abs(loss - want_loss), *(float((a - b).abs().max()) / large for a, b in zip(want, got)))
    return worst

with together("cpu") as ranks:
    for changes in json.loads(sys.argv[2]):
        worst = difference(read(sys.argv[1], changes), ranks)
        if ranks.first:
            print(worst)
"""


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_gradient_of_shared_rows_is_that_of_all(tiny_recipe, count, forked):
    changes = [["tasks.match.form=softmax"], ["tasks.match.form=sigmoid", "fusion={kind: gated, width: 8}"]]
    about = {"WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 29500 + os.getpid() % 900 + count}
    environment = {**os.environ, **{name: str(value) for name, value in about.items()}}
    words, pipe = (tiny_recipe, json.dumps(changes)), subprocess.PIPE
    started = [
        forked.start(*words, code=GRADIENTS, env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=pipe)
        for rank in range(count)
    ]
    told = [process.communicate(timeout=200)[0] for process in started]
    assert [process.returncode for process in started] == [0] * count
    assert len(told[0].split()) == len(changes) and max(map(float, told[0].split())) < 1e-5


@pytest.fixture(scope="module")
def one(tiny_recipe, tmp_path_factory):
    """The losses of one process."""
    return losses(triptych.train(tiny_recipe, set=STILL, out=tmp_path_factory.mktemp("shared") / "one", quiet=True).folder.path)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_log_the_losses_of_one(tiny_recipe, tmp_path, one, strategy, forked):
    words = ("train", tiny_recipe, "--out", tmp_path / "two", "--devices", 2, "--strategy", strategy, *with_set(STILL))
    if strategy == "ddp":  # as a user starts it, once
        done = subprocess.run([sys.executable, "-m", "triptych", *map(str, words)], capture_output=True, text=True, timeout=280)
    else:
        done = together(forked, *words)
    assert done.returncode == 0, done.stderr
    assert not re.search(r"\[rank|Warning|\[W\d", done.stderr)  # what torch's own code has to say of it is no user's business
    for alone, two in zip(one, losses(tmp_path / "two"), strict=True):
        assert two == pytest.approx(alone, rel=1e-5)
    run = triptych.open_run(tmp_path / "two")
    assert {"name": "processes", "value": "2"}.items() <= next(
        c for c in run.folder.read("run.json")["choices"] if c["name"] == "processes"
    ).items()
    assert run.predict(text="a deep dark tone")["label"]["said"] in ("low", "high")


CHILD = """
import os, signal, sys
from triptych.run.lit import Lit
count, before = 0, Lit.training_step
def counted(self, batch, index):
    global count
    count += 1
    if count == 4 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    return before(self, batch, index)
Lit.training_step = counted
from triptych.cli.main import run
run()
"""


@pytest.mark.slow
def test_one_that_is_killed_ends_all_and_they_go_on_together(tiny_recipe, tmp_path, monkeypatch, forked):
    words = ["--devices", 2, *with_set(["training.save_seconds=0", "training.drop_inputs=0.3", "stages.0.epochs=3"])]
    whole = together(forked, "train", tiny_recipe, "--out", tmp_path / "whole", *words)
    assert whole.returncode == 0, whole.stderr
    from triptych.run import launch as launcher

    with monkeypatch.context() as patch:
        patch.setenv(PLACE, forked.started())
        patch.setattr(launcher, "_started", partial(started_together, code=CHILD))
        patch.setattr(launcher, "GRACE", 1.0)
        with (tmp_path / "told").open("wb") as told:
            assert launch(["train", tiny_recipe, "--out", tmp_path / "run", *words], 2, told) != 0
    again = together(forked, "train", "--resume", tmp_path / "run")
    assert again.returncode == 0, again.stderr
    files = [json.loads((tmp_path / name / "run.json").read_text())["files"] for name in ("whole", "run")]
    assert all(files[0][name] == files[1][name] for name in files[0] if name.startswith("model/"))


def test_a_slip_is_answered_once(tiny_recipe, tmp_path, forked):
    done = together(forked, "train", tiny_recipe, "--devices", 2, "--set", "data.split.column=gone", "--out", tmp_path / "run")
    assert done.returncode == 2 and done.stderr.count("error:") == 1 and "gone" in done.stderr, done.stderr
    assert not (tmp_path / "run").exists()


def test_several_devices_need_as_many_processes(tiny_recipe, tmp_path):
    with pytest.raises(InputError, match="asks for 2 devices, and 1 process"):
        fit(read(str(tiny_recipe), ["training.devices=2"]), tmp_path / "run", quiet=True)
    with pytest.raises(InputError, match="rows made by a program"):
        triptych.train(tiny_recipe, set=["training.devices=2"], rows=[{"text": "a", "label": "b"}], quiet=True)
    with pytest.raises(InputError, match="does not go with strategy 'fsdp'"):
        read(str(tiny_recipe), ["training.strategy=fsdp", "training.chunk=4"])


def test_who_is_who(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    assert ranks() == Ranks()
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    monkeypatch.setenv("SLURM_PROCID", "5")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    assert ranks() == Ranks(5, 8, 1, 4)
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    assert ranks() == Ranks(3, 4, 1, 2) and not ranks().first


def test_a_process_that_is_gone_is_told_in_plain_words():
    lost, own = RuntimeError("[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:537] Connection reset by peer"), RuntimeError("mine")
    told = plainly(lost, Ranks(1, 2, 1, 2))
    assert isinstance(told, TriptychError) and "is gone" in str(told) and "train --resume" in str(told)
    assert plainly(lost, Ranks()) is lost and plainly(own, Ranks(1, 2, 1, 2)) is own


def test_the_launcher_gives_the_exit_code_back(tmp_path):
    assert launch(["schema", "--nothing"], 2) == 2
    with (tmp_path / "out").open("wb") as told:
        assert launch(["--help"], 2, told) == 0
    assert (tmp_path / "out").read_text().count("Usage") == 1  # the first process alone is shown


@pytest.mark.parametrize(("ends", "code", "says"), [("exit 3", 3, ""), ("kill -9 $$", 1, "process 1 of 0 to 1 was ended by SIGKILL")])
def test_the_first_process_is_not_left_waiting_for_another_that_ended(monkeypatch, capfd, ends, code, says):
    from triptych.run import launch as launcher

    monkeypatch.setattr(launcher, "GRACE", 0.1)
    started = []

    def start(words, rank, *rest):
        started.append(subprocess.Popen(["sleep", "100"] if rank == 0 else ["sh", "-c", ends]))
        return started[-1]

    monkeypatch.setattr(launcher, "_started", start)
    assert launch([], 2) == code
    assert all(process.poll() is not None for process in started) and says in capfd.readouterr().err


def test_ending_the_launcher_alone_ends_all(monkeypatch):
    from triptych.run import launch as launcher

    monkeypatch.setattr(launcher, "GRACE", 0.1)
    started = []

    def start(words, rank, *rest):
        started.append(subprocess.Popen(["sleep", "100"]))
        if rank:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return started[-1]

    monkeypatch.setattr(launcher, "_started", start)
    with pytest.raises(KeyboardInterrupt):
        launch([], 2)
    assert [process.poll() for process in started] == [-signal.SIGINT] * 2
