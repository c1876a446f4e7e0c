"""A training that was stopped ends with the weights it would have had, wherever it was stopped."""

from __future__ import annotations

import json
import random
import shutil
import signal

import pytest
from tests.reports import BLANK

import triptych
from triptych.base.errors import InputError, TriptychError
from triptych.run import fit as story
from triptych.run import resume
from triptych.run.folder import RunFolder
from triptych.run.lit import Lit
from triptych.run.recipe import read

TWO_STAGES = [
    "stages=[{train: [all], epochs: 2, lr: 1.0e-2}, {train: [image.last(1), text, fusion, label], epochs: 2, lr: {image: 1.0e-3, "
    "text: 3.0e-3, fusion: 1.0e-3, label: 1.0e-2}, patch_dropout: 0.25}]",
    "training.drop_inputs=0.3",
    "inputs.image.encoder={kind: vit, patch: 4, width: 8, depth: 1, heads: 2, dropout: 0.1, patch_dropout: 0.5}",
    "training.save_seconds=0",
    "fusion={kind: gated, width: 8}",
]


class Stop(Exception):
    """Stands for whatever ends a process."""


@pytest.fixture(autouse=True, scope="module")
def _every_step():
    """Write the state after every step, however long that takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resume, "SHARE", 0)
        yield


def weights(run) -> dict[str, str]:
    """Checksums of all weights of the best epoch, and the scores."""
    files = run.folder.read("run.json")["files"]
    return {name: value for name, value in files.items() if name.startswith("model/") or name == "scores.json"}


def last(run) -> dict[str, list[float]]:
    """The very last weights."""
    from triptych.run.state import read_state

    return {name: tensor.flatten().tolist() for name, tensor in read_state(run.folder.state)["model"].items()}


@pytest.fixture(scope="module")
def whole(tiny_recipe, tmp_path_factory):
    """The run that nothing stopped."""
    return triptych.train(tiny_recipe, set=TWO_STAGES, out=tmp_path_factory.mktemp("whole") / "run", quiet=True)


def stopped(recipe, out, monkeypatch, step: int, changes=()) -> None:
    """Train until the given step begins."""
    count, before = 0, Lit.training_step

    def counted(self, batch, index):
        nonlocal count
        count += 1
        if count == step:
            raise Stop
        return before(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Lit, "training_step", counted)
        triptych.train(recipe, set=[*TWO_STAGES, *changes], out=out, quiet=True)


@pytest.mark.parametrize("step", [1, 3, 4, 8])  # the others are among those at which it is killed, below
def test_stopped_before_any_step_it_comes_to_the_same_weights(tiny_recipe, tmp_path, monkeypatch, whole, step):
    stopped(tiny_recipe, tmp_path / "run", monkeypatch, step)
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "failed"
    again = triptych.resume(tmp_path / "run", quiet=True)
    assert weights(again) == weights(whole)
    assert last(again) == last(whole)
    plain = [{k: v for k, v in row.items() if k != "seconds"} for row in again.folder.read_log()]
    assert plain == [{k: v for k, v in row.items() if k != "seconds"} for row in whole.folder.read_log()]
    assert again.folder.read("run.json")["stages"] == whole.folder.read("run.json")["stages"]


def test_stopped_twice_and_rarely_saved(tiny_recipe, tmp_path, monkeypatch, whole):
    stopped(tiny_recipe, tmp_path / "run", monkeypatch, 7, ["training.save_seconds=3600"])  # only the first stage's end is there
    count, before = 0, Lit.training_step

    def counted(self, batch, index):
        nonlocal count
        count += 1
        if count == 2:
            raise Stop
        return before(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(Lit, "training_step", counted)
        triptych.resume(tmp_path / "run", quiet=True)
    assert last(triptych.resume(tmp_path / "run", quiet=True)) == last(whole)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["measured_on", "write_down", "baselines"])
def test_stopped_while_measuring(tiny_recipe, tmp_path, monkeypatch, whole, where):
    with monkeypatch.context() as patch, pytest.raises(Stop):

        def stop(*args, **kwargs):
            raise Stop

        patch.setattr(story, where, stop)
        triptych.train(tiny_recipe, set=TWO_STAGES, out=tmp_path / "run", quiet=True)
    assert weights(triptych.resume(tmp_path / "run", quiet=True)) == weights(whole)


@pytest.mark.slow
def test_an_early_stop_is_remembered(tiny_recipe, tmp_path, monkeypatch):
    early = ["stages=[{epochs: 9, lr: 1.0e-9, patience: 1}, {epochs: 1, lr: 1.0e-3}]", "training.select=loss"]
    base = triptych.train(tiny_recipe, set=[*TWO_STAGES, *early], out=tmp_path / "whole", quiet=True)
    stages = base.folder.read("run.json")["stages"]
    assert stages[0]["early"]
    steps = 2 * stages[0]["epochs"] + 1
    stopped(tiny_recipe, tmp_path / "run", monkeypatch, steps, early)
    again = triptych.resume(tmp_path / "run", quiet=True)
    assert last(again) == last(base) and again.folder.read("run.json")["stages"] == stages


KILLED = (
    BLANK
    + """
import os, signal, sys
import triptych
from triptych.run import resume
from triptych.run.folder import RunFolder
from triptych.run.lit import Lit

resume.SHARE = 0
recipe, out, step, *changes = sys.argv[1:]
count, before = 0, Lit.training_step
def counted(self, batch, index):
    global count
    count += 1
    if count == int(step):
        os.kill(os.getpid(), signal.SIGKILL)
    return before(self, batch, index)
Lit.training_step = counted
if os.path.exists(out):
    triptych.resume(out, quiet=True)
else:
    triptych.train(recipe, set=changes, out=out, quiet=True)
"""
)


@pytest.mark.slow
def test_killed_at_random_steps_it_comes_to_the_same_weights(tiny_recipe, tmp_path, whole, forked):
    draw = random.Random(0)
    for trial in range(4):
        out, ends = tmp_path / f"run-{trial}", 1
        while True:  # killed again and again, until it gets through
            done = forked.run_code(KILLED, tiny_recipe, out, draw.randint(1, 9), *TWO_STAGES)
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr
            ends += 1
            assert ends < 40
        run = triptych.open_run(out)
        assert weights(run) == weights(whole) and last(run) == last(whole), f"trial {trial}, {ends} starts"


@pytest.mark.slow
def test_a_longer_run_is_what_one_training_of_that_length_is(tiny_recipe, tmp_path):
    steady = ["stages=[{epochs: 2, lr: 1.0e-2, schedule: constant, warmup: 0}]", "training.drop_inputs=0.3"]
    short = triptych.train(tiny_recipe, set=steady, out=tmp_path / "short", quiet=True)
    before = {path: path.read_bytes() for path in short.folder.path.rglob("*") if path.is_file()}
    longer = triptych.continue_run(tmp_path / "short", epochs=3, out=tmp_path / "longer", quiet=True)
    whole = triptych.train(tiny_recipe, set=[*steady, "stages.0.epochs=5"], out=tmp_path / "whole", quiet=True)
    assert last(longer) == last(whole) and weights(longer) == weights(whole)
    assert [row["epoch"] for row in longer.folder.read_log()] == [1, 2, 3, 4, 5]
    assert longer.recipe.stages[0].epochs == 5 and longer.folder.read("run.json")["continues"]["more"] == 3
    assert {path: path.read_bytes() for path in short.folder.path.rglob("*") if path.is_file()} == before


def test_what_cannot_go_on_as_it_was_is_refused(tiny_recipe, tmp_path, monkeypatch):
    folder = tmp_path / "data"
    shutil.copytree(tiny_recipe.parent, folder)
    recipe = folder / tiny_recipe.name
    stopped(recipe, tmp_path / "run", monkeypatch, 3)
    with pytest.raises(InputError, match=r"training.drop_inputs: 0.3 -> 0.1\n.*stages.0.lr: 0.01 -> 0.02|stages.0.lr") as refused:
        changed = read(str(recipe), [*TWO_STAGES, "training.drop_inputs=0.1", "stages.0.lr=0.02"])
        story.resume(tmp_path / "run", changed, quiet=True)
    assert "training.drop_inputs: 0.3 -> 0.1" in str(refused.value) and "stages.0.lr: 0.01 -> 0.02" in str(refused.value)
    kept = (tmp_path / "run/state.safetensors").read_bytes()
    (tmp_path / "run/state.safetensors").write_bytes(kept[:-9] + bytes([kept[-9] ^ 1]) + kept[-8:])
    with pytest.raises(InputError, match="damaged"):
        triptych.resume(tmp_path / "run", quiet=True)
    (tmp_path / "run/state.safetensors").write_bytes(kept)
    about = json.loads((tmp_path / "run/run.json").read_text())
    (tmp_path / "run/run.json").write_text(json.dumps({**about, "format": 99}))
    with pytest.raises(InputError, match="newer triptych"):
        triptych.resume(tmp_path / "run", quiet=True)
    (tmp_path / "run/run.json").write_text(json.dumps(about))
    (folder / "pictures/3.png").write_bytes((folder / "pictures/5.png").read_bytes())
    with pytest.raises(InputError, match="the rows have changed"):
        triptych.resume(tmp_path / "run", quiet=True)
    assert (tmp_path / "run/state.safetensors").read_bytes() == kept  # nothing that was paid for is lost by a refusal


def test_what_is_no_stopped_run_is_refused(tiny_run, tmp_path):
    with pytest.raises(InputError, match="nothing left to resume") as done:
        triptych.resume(tiny_run.folder.path)
    assert "triptych continue" in str(done.value) and "triptych report" not in str(done.value)
    shutil.copytree(tiny_run.folder.path, tmp_path / "unreported", ignore=shutil.ignore_patterns("report.html"))
    with pytest.raises(InputError, match="triptych report"):  # killed while its report was written
        triptych.resume(tmp_path / "unreported")
    with pytest.raises(InputError, match="not a run folder"):
        triptych.resume(tmp_path)


def test_two_processes_never_train_one_run(tiny_recipe, tmp_path, monkeypatch):
    stopped(tiny_recipe, tmp_path / "run", monkeypatch, 3)
    with (tmp_path / "run/.lock").open("w") as lock:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another process"):
            triptych.resume(tmp_path / "run", quiet=True)


def test_a_full_disk_stops_it_and_it_goes_on(tiny_recipe, tmp_path, monkeypatch, whole, capfd):
    from triptych.run import callbacks

    count, before, about = 0, callbacks.write_course, RunFolder.about

    def full(*args):
        nonlocal count
        count += 1
        if count >= 4:
            raise OSError(28, "No space left on device")
        return before(*args)

    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr(callbacks, "write_course", full)
        patch.setattr(RunFolder, "about", lambda run, words: full() if "problem" in words else about(run, words))
        triptych.train(tiny_recipe, set=TWO_STAGES, out=tmp_path / "run")
    assert f"go on with: triptych train --resume {tmp_path / 'run'}" in capfd.readouterr().err
    assert last(triptych.resume(tmp_path / "run", quiet=True)) == last(whole)


def test_by_command(tiny_recipe, tmp_path, forked):
    done = forked.run("train", "--resume", tmp_path / "gone")
    assert done.returncode == 2 and "not a run folder" in done.stderr
    assert forked.run("train").returncode == 2
    done = forked.run("train", tiny_recipe, "--out", tmp_path / "x", "--resume", tmp_path / "y")
    assert done.returncode == 2 and "--out" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("word", "step"), [("uncertainty", 4), ("gradient", 6)])
def test_weights_of_tasks_ledger_and_monitors_go_on_too(tiny_recipe, tmp_path, monkeypatch, word, step):
    from triptych.run import weighting

    monkeypatch.setattr(weighting, "EVERY", 2)
    changes = [f"training.weighting={word}", "tasks.match.weight=1000", "training.chunk=5"]
    base = triptych.train(tiny_recipe, set=[*TWO_STAGES, *changes], out=tmp_path / "whole", quiet=True)
    stopped(tiny_recipe, tmp_path / "run", monkeypatch, step, changes)
    again = triptych.resume(tmp_path / "run", quiet=True)
    assert weights(again) == weights(base) and last(again) == last(base)
    assert again.folder.read_log("ledger.jsonl") == base.folder.read_log("ledger.jsonl")
    assert again.folder.read("run.json")["monitors"] == base.folder.read("run.json")["monitors"]
    assert [row["weight match"] for row in again.folder.read_log()] == [row["weight match"] for row in base.folder.read_log()]


def test_wrong_input_that_shows_after_training_costs_nothing_that_was_trained(tiny_recipe, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("triptych.run.fit.reliance", lambda bench: (_ for _ in ()).throw(InputError("found late", fix="mend it")))
        with pytest.raises(TriptychError, match="found late") as caught:
            triptych.train(tiny_recipe, out=tmp_path / "run", quiet=True)
    assert caught.value.exit_code == 1
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    run = triptych.resume(tmp_path / "run", quiet=True)
    assert run.scores and len((tmp_path / "run" / "log.jsonl").read_text().splitlines()) == 2
