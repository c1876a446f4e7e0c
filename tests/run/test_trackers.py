"""Trackers: each is read back by its own means, none is needed, none can end a training."""

from __future__ import annotations

import json
import sys
import time

import pytest
from tests.reports import blank

from triptych.base.errors import InputError
from triptych.run import trackers
from triptych.run.fit import fit
from triptych.run.recipe import read


def trained(tiny_recipe, out, track, *sets):
    return fit(read(str(tiny_recipe), [f"track={track}", *sets]), out, quiet=True, report=blank)


def final(run):
    return {score["name"]: score["trained"] for score in run.read("scores.json")}


def test_tensorboard_holds_what_the_log_holds(tiny_recipe, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra `track` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = trained(tiny_recipe, tmp_path / "run", "tensorboard")
    held = EventAccumulator(str(run.tracked / "tensorboard"))
    held.Reload()
    log = run.read_log()
    for name in ("train loss", "validation label.accuracy", "lr image"):
        events = held.Scalars(trackers.grouped(name))
        assert [event.step for event in events] == [1, 2]
        assert [event.value for event in events] == pytest.approx([row[name] for row in log], rel=1e-6)
    (last,) = held.Scalars("final/label.accuracy")
    assert last.value == pytest.approx(final(run)["label.accuracy"])
    assert {"recipe/text_summary", "report/text_summary"} <= set(held.Tags()["tensors"])
    run.verify()  # what a tracker writes after the run is sealed does not damage it


def test_a_shared_folder_keeps_runs_apart(tiny_recipe, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra `track` is not installed")
    for name in ("a", "b"):
        trained(tiny_recipe, tmp_path / name, f"{{to: [tensorboard], folder: {tmp_path / 'all'}, project: mine}}", "stages.0.epochs=1")
    assert sorted(path.name for path in (tmp_path / "all/tensorboard/mine").iterdir()) == ["a", "b"]


@pytest.mark.slow
def test_mlflow_is_read_back_by_its_client(tiny_recipe, tmp_path, monkeypatch):
    pytest.importorskip("mlflow", reason="the extra `track` is not installed")
    import warnings

    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    run = trained(tiny_recipe, tmp_path / "run", "{to: [mlflow], project: mine}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=f"sqlite:///{run.tracked / 'mlflow/mlflow.db'}")
        experiment = client.get_experiment_by_name("mine")
        (held,) = client.search_runs([experiment.experiment_id])
        log = run.read_log()
        losses = client.get_metric_history(held.info.run_id, "validation/loss")
        assert [(one.step, one.value) for one in losses] == [(row["epoch"], row["validation loss"]) for row in log]
        assert held.info.status == "FINISHED" and held.info.run_name == "run"
        assert held.data.params["fusion.kind"] == "joint"
        assert held.data.metrics["final/match.recall_at_1"] == pytest.approx(final(run)["match.recall@1"])
        assert [one.path for one in client.list_artifacts(held.info.run_id)] == ["report.html"]


@pytest.mark.slow
def test_wandb_offline_writes_everything_to_a_file(tiny_recipe, tmp_path, monkeypatch):
    """No network is needed: the file is what `wandb sync` would send."""
    pytest.importorskip("wandb", reason="the extra `track` is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_PROJECT", "WANDB_DIR", "WANDB_NAME", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    run = trained(tiny_recipe, tmp_path / "run", "wandb")
    (file,) = (run.tracked / "wandb" / "wandb").glob("offline-run-*/*.wandb")
    deadline, records = time.monotonic() + 60, list(wandb_records(file))
    while not any(record.HasField("exit") for record in records) and time.monotonic() < deadline:
        time.sleep(0.1)  # a process of its own writes the file, and may be behind
        records = list(wandb_records(file))
    held = [
        json.loads(item.value_json)
        for record in records
        for item in record.history.item
        if item.nested_key == ["train/loss"] or item.key == "train/loss"
    ]
    assert held == pytest.approx([row["train loss"] for row in run.read_log()])
    (opened,) = [record.run for record in records if record.HasField("run") and record.run.project]
    assert (opened.project, opened.display_name) == ("tiny", "run")
    config = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in opened.config.update}
    assert config["fusion"]["kind"] == "joint"
    summary = {item.key or item.nested_key[0] for record in records for item in record.summary.update}
    assert "final/label.accuracy" in summary
    assert any(record.artifact.name == "run-report" or record.request.log_artifact.artifact.name == "run-report" for record in records)


def test_wandb_is_asked_for_a_key_as_it_wishes_to_be(monkeypatch, tmp_path, capfd):
    """Its older way prints a warning at each training, and is going to be removed."""
    wandb = pytest.importorskip("wandb", reason="the extra `track` is not installed")
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert trackers._logged_in(wandb) is False
    assert "deprecated" not in capfd.readouterr().err


def wandb_records(file):
    """The records of an offline run: seven bytes of header, then blocks of 32 KB in the log format of LevelDB."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole = file.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:  # no room for a header: the block is filled up
            place += 32768 - place % 32768
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_named_before_anything_is_read(tiny_recipe, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as caught:
        trained(tiny_recipe, tmp_path / "run", name, "data.source=nowhere.csv")
    assert "pip install 'triptych[track]'" in str(caught.value) and name in str(caught.value)
    assert not (tmp_path / "run").exists()


class Breaking:
    """Fails at one point, as a full disk or a lost network would."""

    def __init__(self, at: str) -> None:
        self.at, self.heard = at, []

    def _do(self, what: str) -> None:
        self.heard.append(what)
        if what == self.at:
            raise OSError(28, "No space left on device")

    def start(self, run, recipe, folder, project):
        self._do("start")

    def epoch(self, number, values):
        self._do(f"epoch {number}")

    def finish(self, status, scores, report):
        self._do("finish")


@pytest.mark.parametrize(("at", "heard"), [("start", 1), ("epoch 1", 2), ("epoch 2", 3), ("finish", 4)])
def test_a_tracker_that_fails_is_left_out_and_the_training_goes_on(tiny_recipe, tmp_path, monkeypatch, capsys, at, heard):
    broken, whole = Breaking(at), Breaking("never")
    monkeypatch.setitem(trackers.KINDS, "wandb", lambda: broken)
    monkeypatch.setitem(trackers.KINDS, "mlflow", lambda: whole)
    run = fit(read(str(tiny_recipe), ["track=[wandb, mlflow]"]), tmp_path / "run")
    assert run.read("run.json")["status"] == "done"
    assert len(broken.heard) == heard
    assert whole.heard == ["start", "epoch 1", "epoch 2", "finish"]
    assert capsys.readouterr().err.count("warning: the tracker wandb failed") == 1


def test_an_interrupted_training_is_told_to_them(tiny_recipe, tmp_path, monkeypatch):
    held = Breaking("never")
    held.finish = lambda status, scores, report: held.heard.append((status, dict(scores)))
    monkeypatch.setitem(trackers.KINDS, "wandb", lambda: held)
    held.epoch = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        fit(read(str(tiny_recipe), ["track=wandb"]), tmp_path / "run", quiet=True)
    assert held.heard == ["start", ("interrupted", {})]


@pytest.mark.parametrize("words", [["track=tensorboard"], ["track=[tensorboard]"], ["track={to: tensorboard}"]])
def test_short_and_long_forms_are_the_same(tiny_recipe, words):
    assert read(str(tiny_recipe), words).track.to == ["tensorboard"]
    assert read(str(tiny_recipe), ["track=tensorboard", "track.project=mine"]).track.project == "mine"


@pytest.mark.parametrize("word", ["tensorbord", "{project: mine}", "[]"])
def test_wrong_words_are_answered(tiny_recipe, word):
    with pytest.raises(InputError) as caught:
        read(str(tiny_recipe), [f"track={word}"])
    assert "track" in str(caught.value)
