"""A search: what a trial is worth, what it may look at, what stops it, and how it goes on after a kill."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import sqlite3
import subprocess
import time

import pytest
from tests.forked import TRIPTYCH
from tests.reports import BLANK

from triptych.base.errors import InputError, TriptychError
from triptych.base.files import held_alone
from triptych.data.loader import InputColumn
from triptych.objective.scores import Score
from triptych.run import study as studies
from triptych.run import tune as tuning
from triptych.run.callbacks import Best
from triptych.run.fit import fit
from triptych.run.folder import open_folder
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.run.search import asked_space, changed
from triptych.run.study import FILE
from triptych.run.tune import tune

pytest.importorskip("optuna", reason="the extra `tune` is not installed")

QUIET = Voice(quiet=True)
CHOSEN = ["training.select=label.accuracy"]
TEXT_ALONE = [
    "inputs={text: {prepare: {vocabulary: 300}, encoder: {kind: gru, width: 8, depth: 1}}}",
    "tasks={label: {kind: classify, target: label}}",
    "fusion={kind: single, width: 8}",
    "data.max_rejected=1.0",
]
"""A small model for searches of many trials; four rows have no text."""


def searched(recipe_file, folder, options, trials, sets=(), pruner="none"):
    recipe = read(str(recipe_file), [*CHOSEN, *sets])
    return tune(recipe, asked_space(recipe, options), trials, folder, pruner, QUIET)


@pytest.fixture(scope="module")
def found(tiny_recipe, tmp_path_factory):
    """Four trials over rate, batch size and fusion, and how often the table was opened for them."""
    folder, opened, prepared = tmp_path_factory.mktemp("tune") / "study", [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triptych.run.fit.open_table", lambda *words: opened.append(1) or open_table(*words))
        plain = InputColumn.fit
        patch.setattr(InputColumn, "fit", lambda self, indices: prepared.append(self.column) or plain(self, indices))
        options = ["stages.0.lr=log:1e-3:3e-2", "training.batch_size=8,12", "fusion.kind=joint,gated"]
        told = searched(tiny_recipe, folder, options, 4)
    return told, folder, len(opened), prepared


def test_a_study_tells_its_trials_and_trains_the_winner(found):
    told, folder, _, _ = found
    assert [one["state"] for one in told["trials"]] == ["done"] * 4
    assert told["best"]["score"] == max(one["score"] for one in told["trials"])
    assert json.loads((folder / "study.json").read_text()) == told
    run = open_folder(folder / "best")
    assert told["run"] == str(run.path)
    assert {"name", "untouched", "trained"} <= set(run.read("scores.json")[0])
    assert not list((folder / "trials").glob("*/model")), "weights of trials are not kept"


def test_the_table_is_opened_and_prepared_once_for_all_trials_and_the_winner(found):
    _, _, opened, prepared = found
    assert opened == 1
    assert sorted(prepared) == ["audio", "image", "text"]


def test_a_trial_is_worth_what_training_its_recipe_gives(found, tiny_recipe, tmp_path):
    told, folder, _, _ = found
    assert open_folder(folder / "best").read("run.json")["best"]["value"] == told["best"]["score"]
    assert open_folder(folder / "best").recipe() == read(str(folder / "best.yaml"))
    other = next(one for one in told["trials"] if one["number"] != told["best"]["number"])
    run = fit(changed(read(str(tiny_recipe), CHOSEN), other["words"]), tmp_path / "run", quiet=True)
    assert run.read("run.json")["best"]["value"] == other["score"]
    ours = [{k: v for k, v in row.items() if k != "seconds"} for row in run.read_log()]
    log = (folder / "trials" / f"{other['number']:04d}" / "log.jsonl").read_text().splitlines()
    assert ours == [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in log]


def test_the_same_command_finds_all_done_and_trains_nothing(found, tiny_recipe, monkeypatch):
    told, folder, _, _ = found
    for name in ("fit", "fit_only"):
        monkeypatch.setattr(tuning, name, lambda *_, **__: pytest.fail("nothing is left to do"))
    options = ["stages.0.lr=log:1e-3:3e-2", "training.batch_size=8,12", "fusion.kind=joint,gated"]
    assert searched(tiny_recipe, folder, options, 4)["trials"] == told["trials"]


@pytest.mark.parametrize(("sets", "options"), [(["stages.0.epochs=3"], ["stages.0.lr=log:1e-3:3e-2"]), ([], ["stages.0.lr=log:1e-3:1e-2"])])
def test_another_recipe_or_space_is_not_mixed_into_a_study(found, tiny_recipe, sets, options):
    _, folder, _, _ = found
    with pytest.raises(InputError, match="of another recipe or other values") as caught:
        searched(tiny_recipe, folder, options, 4, sets)
    assert ("stages.0.epochs: 2 -> 3" if sets else "stages.0.lr.log.1: 0.03 -> 0.01") in str(caught.value)


def test_no_trial_looks_at_a_test_row(tiny_recipe, tmp_path, monkeypatch):
    recipe = read(str(tiny_recipe), CHOSEN)
    table = open_table(recipe, QUIET)
    touched = set()
    plain = InputColumn.items
    monkeypatch.setattr(InputColumn, "items", lambda self, indices: touched.update(indices) or plain(self, indices))
    monkeypatch.setattr(tuning, "_winner", lambda *_: None)
    tune(recipe, asked_space(recipe, ["stages.0.lr=log:1e-3:3e-2"]), 2, tmp_path / "study", "none", QUIET)
    assert touched == {*table.at("train"), *table.at("validation")}


def test_other_answers_on_the_test_rows_change_no_trial(tiny_table, tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_winner", lambda *_: None)
    shutil.copytree(tiny_table.parent, tmp_path / "data")
    with (tmp_path / "data/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if row["side"] == "test":
            row["label"] = "low" if row["label"] == "high" else "high"
    with (tmp_path / "data/table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    told = [
        searched(recipe, tmp_path / name, ["stages.0.lr=log:1e-3:3e-2"], 2)["trials"]
        for name, recipe in (("a", tiny_recipe), ("b", tmp_path / "data" / tiny_recipe.name))
    ]
    assert [(one["score"], one["loss"], one["words"]) for one in told[0]] == [(one["score"], one["loss"], one["words"]) for one in told[1]]


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_hopeless_rate_is_stopped_early(tiny_recipe, tmp_path, monkeypatch, pruner):
    monkeypatch.setattr(tuning, "_winner", lambda *_: None)
    options = ["stages.0.lr=1e-2,1e-30", "training.seed=range:0:10000"]
    told = searched(tiny_recipe, tmp_path / "study", options, 12, [*TEXT_ALONE, "stages.0.epochs=8", "training.select=loss"], pruner)
    pruned = [one for one in told["trials"] if one["state"] == "pruned"]
    assert pruned and all(one["epochs"] < 8 for one in pruned)
    assert 1e-30 in {one["words"]["stages.0.lr"] for one in pruned}
    assert told["best"]["words"]["stages.0.lr"] == 1e-2
    assert (told["direction"], told["best"]["score"]) == ("lower", min(one["score"] for one in told["trials"] if one["state"] == "done"))
    if len([one for one in told["trials"] if one["state"] == "done"]) >= studies.ENOUGH_FOR_IMPORTANCE:
        assert sum(told["importance"].values()) == pytest.approx(1)


def test_what_goes_wrong_in_a_trial_costs_that_trial(tiny_recipe, tmp_path, monkeypatch):
    plain, seen = tuning.fit_only, []

    def sometimes(recipe, *words):
        seen.append(recipe.fusion.width)
        if len(seen) == 2:
            raise MemoryError("too large")
        return plain(recipe, *words)

    monkeypatch.setattr(tuning, "fit_only", sometimes)
    options = ["fusion.width=8,9", "training.seed=range:0:100"]
    told = searched(tiny_recipe, tmp_path / "study", options, 6, ["fusion={kind: attention, width: 8, heads: 2}"])
    assert len(told["trials"]) == 6
    for one in told["trials"]:
        assert (one["state"] == "failed") == (one["words"]["fusion.width"] == 9 or "MemoryError" in one["reason"])
    reasons = {one["reason"] for one in told["trials"] if one["state"] == "failed"}
    assert "MemoryError: too large" in reasons and any("does not divide" in reason for reason in reasons)
    assert told["best"]["words"]["fusion.width"] == 8


def test_a_mistake_that_fails_every_trial_stops_the_search(tiny_recipe, tmp_path, monkeypatch):
    def never(*_):
        raise TriptychError("no epoch gave a loss that is a number")

    monkeypatch.setattr(tuning, "fit_only", never)
    with pytest.raises(TriptychError, match="the first 5 trials all failed") as caught:
        searched(tiny_recipe, tmp_path / "study", ["stages.0.lr=log:1e-3:3e-2"], 50)
    assert caught.value.exit_code == 1


def test_without_validation_rows_nothing_may_choose(tiny_recipe, tmp_path):
    sets = ["data.split.column=null", "data.split.validation=0", "data.split.test=0.3"]
    with pytest.raises(InputError, match="no validation rows"):
        searched(tiny_recipe, tmp_path / "study", ["stages.0.lr=log:1e-3:3e-2"], 3, sets)


def test_equal_words_are_not_trained_twice(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "_winner", lambda *_: None)
    told = searched(tiny_recipe, tmp_path / "study", ["training.batch_size=8,12"], 6, TEXT_ALONE)
    words = [json.dumps(one["words"]) for one in told["trials"]]
    again = [one for place, one in enumerate(told["trials"]) if words[place] in words[:place]]
    assert again and all(one["reason"].startswith("the same as trial") and one["seconds"] == 0 for one in again)


def test_a_trial_that_ran_to_its_end_is_done_however_bad(tiny_recipe, tmp_path, monkeypatch):
    """Nothing is spared by stopping it there, and a search told it as pruned."""
    stopped = []

    def planted(recipe, run, voice, shared, watch):
        for epoch in (1, 2):
            try:
                watch(epoch, [Score("label", "accuracy", "", 0.5, "higher")])
            except tuning.Pruned:
                stopped.append(epoch)
        best = Best("label.accuracy")
        best.value, best.loss = 0.5, 1.0
        return best

    monkeypatch.setattr(tuning, "fit_only", planted)
    monkeypatch.setattr(tuning, "_winner", lambda *_: None)
    monkeypatch.setattr(studies.Study, "report", lambda *_: True)
    told = searched(tiny_recipe, tmp_path / "study", ["training.seed=range:0:10000"], 1)
    assert stopped == [1] and told["trials"][0]["state"] == "done"


def test_of_equal_scores_the_lower_loss_wins(tiny_recipe, tmp_path, monkeypatch):
    losses = iter([0.5, 0.2, 0.3])

    def planted(recipe, run, *_):
        best = Best("label.accuracy")
        best.value, best.loss = 1.0, next(losses)
        return best

    monkeypatch.setattr(tuning, "fit_only", planted)
    monkeypatch.setattr(tuning, "_winner", lambda *_: None)
    assert searched(tiny_recipe, tmp_path / "study", ["training.seed=range:0:10000"], 3)["best"]["number"] == 1


def test_a_locked_file_is_said_plainly(found, tiny_recipe, tmp_path, monkeypatch):
    _, folder, _, _ = found
    shutil.copytree(folder, tmp_path / "study")
    monkeypatch.setattr(studies, "WAITS", 0.2)
    holder = sqlite3.connect(tmp_path / "study" / FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    options = ["stages.0.lr=log:1e-3:3e-2", "training.batch_size=8,12", "fusion.kind=joint,gated"]
    try:
        with pytest.raises(InputError, match="locked by another program") as caught:
            searched(tiny_recipe, tmp_path / "study", options, 6)
    finally:
        holder.close()
    assert caught.value.exit_code == 2 and FILE in str(caught.value)
    assert len(searched(tiny_recipe, tmp_path / "study", options, 5)["trials"]) == 5  # the same command goes on


def test_a_file_locked_in_mid_search_is_not_blamed_on_the_trial(tiny_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(studies, "WAITS", 0.2)
    plain, holders = tuning.fit_only, []

    def locking(*words):
        holders.append(sqlite3.connect(tmp_path / "study" / FILE, isolation_level=None))
        holders[-1].execute("BEGIN EXCLUSIVE")
        return plain(*words)

    monkeypatch.setattr(tuning, "fit_only", locking)
    try:
        with pytest.raises(InputError, match="locked by another program"):
            searched(tiny_recipe, tmp_path / "study", ["stages.0.lr=log:1e-3:3e-2"], 2)
    finally:
        for holder in holders:
            holder.close()
    monkeypatch.setattr(tuning, "fit_only", plain)
    told = searched(tiny_recipe, tmp_path / "study", ["stages.0.lr=log:1e-3:3e-2"], 2)
    assert [one["state"] for one in told["trials"]] == ["killed", "done", "done"]
    assert told["trials"][0]["words"] == told["trials"][1]["words"]


def test_two_searches_do_not_work_in_one_folder(tiny_recipe, tmp_path):
    with held_alone(tmp_path / "study" / "study.lock", "search"), pytest.raises(InputError, match="another search is at work"):
        searched(tiny_recipe, tmp_path / "study", ["stages.0.lr=log:1e-3:3e-2"], 1)


@pytest.mark.parametrize("content", ["this is no database, " * 100, None])
def test_a_damaged_file_and_a_strange_folder_are_refused(tiny_recipe, tmp_path, content):
    folder = tmp_path / "study"
    folder.mkdir()
    if content is None:
        (folder / "precious.txt").write_text("keep me")
        with pytest.raises(InputError, match="holds no search"):
            searched(tiny_recipe, folder, ["stages.0.lr=log:1e-3:3e-2"], 1)
        assert [path.name for path in folder.iterdir()] == ["precious.txt"]
        return
    shutil.rmtree(folder)
    searched(tiny_recipe, folder, ["stages.0.lr=log:1e-3:3e-2"], 1)
    (folder / FILE).write_text(content)
    with pytest.raises(InputError, match="damaged or no search"):
        searched(tiny_recipe, folder, ["stages.0.lr=log:1e-3:3e-2"], 2)


def command(recipe, folder, trials, epochs):
    words = ["tune", str(recipe), "--trials", str(trials), "--out", str(folder), "--pruner", "none", "--json"]
    small = [word for change in TEXT_ALONE for word in ("--set", change)]
    return [*words, *small, "--set", CHOSEN[0], "--set", f"stages.0.epochs={epochs}", "--search", "stages.0.lr=log:1e-3:3e-2"]


def started(forked, words, ready):
    process = forked.start(*words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 200
    while not ready() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    return process


@pytest.mark.slow
def test_killed_in_mid_trial_it_goes_on_and_does_that_trial_again(tiny_recipe, tmp_path, forked):
    folder, epochs = tmp_path / "study", 12
    log = folder / "trials" / "0001" / "log.jsonl"
    process = started(forked, command(tiny_recipe, folder, 3, epochs), lambda: log.exists() and len(log.read_text().splitlines()) >= 2)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    first = (folder / "trials" / "0000" / "log.jsonl").read_text()
    done = forked.run_code(BLANK + TRIPTYCH, *command(tiny_recipe, folder, 3, epochs))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [one["state"] for one in told["trials"]] == ["done", "killed", "done", "done"]
    assert told["trials"][2]["words"] == told["trials"][1]["words"]
    assert (folder / "trials" / "0000" / "log.jsonl").read_text() == first
    assert open_folder(told["run"]).recipe() == read(str(folder / "best.yaml"))


@pytest.mark.slow
def test_ctrl_c_tells_what_there_is_and_exits_with_130(tiny_recipe, tmp_path, forked):
    folder = tmp_path / "study"
    log = folder / "trials" / "0001" / "log.jsonl"
    process = started(forked, command(tiny_recipe, folder, 50, 12), log.exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    told = json.loads(out)
    assert told["interrupted"] and told["best"]["number"] == 0
    assert json.loads((folder / "study.json").read_text()) == told
