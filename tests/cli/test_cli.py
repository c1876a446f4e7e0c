"""The verbs, as a user types them: output, JSON, exit codes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest

pytestmark = pytest.mark.usefixtures("no_charts")

VERBS = {
    "models",
    "cache",
    "chat",
    "data",
    "feedback",
    "search",
    "serve",
    "continue",
    "evaluate",
    "export",
    "tune",
    "bakeoff",
    "train",
    "predict",
    "embed",
    "report",
    "compare",
    "init",
    "check",
    "recipes",
    "schema",
    "subtitles",
}


def test_help_lists_every_verb(cli):
    code, out, _ = cli("--help")
    assert code == 0
    assert all(verb in out for verb in VERBS)


def test_verbs_are_these_and_no_others():
    """A new verb is a decision: it goes into this list, the README and the docs."""
    from typer.main import get_command

    from triptych.cli.main import app

    assert set(get_command(app).commands) == VERBS


@pytest.mark.parametrize(
    "words", [["--help"], ["schema"], ["recipes"], ["train", "digits", "--set", "fusion=gatd"], ["check", "nothing.yaml"]]
)
def test_light_verbs_and_recipe_errors_do_not_import_torch(words):
    seen = "print('torch' in sys.modules, 'numpy' in sys.modules)"
    code = f"import sys; sys.argv = ['triptych', *{words!r}]\nfrom triptych.cli.main import run\ntry: run()\nfinally: {seen}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False", done.stderr


def test_train_ends_with_one_json_line(cli, tiny_recipe, tmp_path):
    code, out, _ = cli("train", tiny_recipe, "--out", tmp_path / "run", "--json", "--set", "stages.0.epochs=1")
    assert code == 0
    told = json.loads(out.strip().splitlines()[-1])
    assert told["run"] == str(tmp_path / "run")
    assert {"name", "untouched", "trained", "direction"} <= set(told["scores"][0])
    assert Path(told["report"]).exists()


def test_train_prints_the_table_and_what_to_try_next(cli, tiny_recipe, tmp_path):
    code, out, err = cli("train", tiny_recipe, "--out", tmp_path / "run", "--set", "training.select=label.macro_f1")
    assert code == 0
    assert "label.macro_f1" in out  # what chose the epoch is told of the test rows too
    assert "from image + audio + text" in out
    assert "text -> audio" in out
    assert f"triptych predict {tmp_path / 'run'} some.png" in out
    assert "epoch   2" in err


def test_predict_files_rows_and_json(cli, tiny_run, tiny_table):
    folder, run = tiny_table.parent, tiny_run.folder.path
    code, out, _ = cli("predict", run, folder / "pictures/1.png", folder / "sounds/1.wav")
    assert code == 0
    assert out.count("label: ") == 2
    code, out, _ = cli("predict", run, "--image", folder / "pictures/1.png", "--text=a bright sharp whistle", "--json")
    (answer,) = json.loads(out)
    assert set(answer["row"]) == {"image", "text"}
    assert answer["tasks"]["label"]["said"] in ("low", "high")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["some.xyz"], "no input of this run takes a .xyz file"),
        (["--picture", "a.png"], "unknown option '--picture'"),
        (["--image"], "the option --image needs a value"),
        (["missing.png"], "missing.png"),
        ([], "nothing to predict"),
    ],
)
def test_wrong_predictions_exit_with_2(cli, tiny_run, words, message):
    code, _, err = cli("predict", tiny_run.folder.path, *words)
    assert code == 2
    assert message in err


def test_a_bad_file_among_good_ones_costs_its_answer_only(cli, tiny_run, tiny_table, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"")
    files = [tiny_table.parent / "pictures/1.png", bad, tiny_table.parent / "sounds/1.wav"]
    code, out, err = cli("predict", tiny_run.folder.path, *files)
    assert (code, out.count("label: ")) == (2, 2)
    assert "bad.wav" in err and "empty" in err
    code, out, _ = cli("predict", tiny_run.folder.path, *files, "--json")
    assert code == 2
    assert ["error" in answer for answer in json.loads(out)] == [False, True, False]


def test_many_files_are_answered_in_their_order(tiny_run, tiny_table):
    rows = [{"image": tiny_table.parent / f"pictures/{i}.png"} for i in range(7)]
    each = list(tiny_run.predict_each(rows, batch_size=3))
    for ours, alone in zip(each, rows, strict=True):
        assert ours.row == {"image": str(alone["image"])}
        told = tiny_run.predict(**alone)["label"]["probabilities"]
        assert ours["label"]["probabilities"] == pytest.approx(told, abs=1e-5)


def test_an_input_that_no_training_row_has_is_found_by_check(cli, tmp_path):
    (tmp_path / "t.csv").write_text("text,remark,label\n" + "".join(f"some words {i},,{'ab'[i % 2]}\n" for i in range(20)))
    (tmp_path / "r.yaml").write_text(
        "data: {source: t.csv}\ninputs: {text: {}, remark: {modality: text}}\n"
        "tasks: {label: {kind: classify, target: label}}\nstages: [{train: [all], epochs: 1}]\n"
    )
    code, _, err = cli("check", tmp_path / "r.yaml")
    assert code == 2
    assert "no training row has the input 'remark'" in err


def test_embed_a_folder_with_a_bad_file(cli, tiny_run, tiny_table, tmp_path):
    shutil.copytree(tiny_table.parent / "pictures", tmp_path / "new")
    (tmp_path / "new/broken.png").write_bytes(b"")
    code, out, _ = cli("embed", tiny_run.folder.path, tmp_path / "new", "--out", tmp_path / "v.parquet", "--json")
    assert code == 0
    told = json.loads(out)
    assert (told["rows"], told["kept"], told["rejected"]) == (41, 40, 1)
    table = pyarrow.parquet.read_table(tmp_path / "v.parquet")
    assert table.num_rows == 40
    assert len(table["match.image"][0]) == 8
    assert table["match.text"][0].as_py() is None
    assert "broken" in (tmp_path / "v.parquet.rejects.csv").read_text()


def test_embed_equals_predict_on_a_table(cli, tiny_run, tiny_table, tmp_path):
    code, _, _ = cli("embed", tiny_run.folder.path, tiny_table, "--out", tmp_path / "v.parquet")
    assert code == 0
    table = pyarrow.parquet.read_table(tmp_path / "v.parquet").to_pylist()
    text = {row["id"]: row["match.text"] for row in table}["row-2"]
    assert tiny_run.embed_rows([{"text": "a bright sharp whistle, number 1"}])["match.text"][0] == pytest.approx(text, abs=1e-5)


def test_compare_shows_what_differs(cli, tiny_run, tiny_recipe, tmp_path):
    cli("train", tiny_recipe, "--out", tmp_path / "other", "--set", "fusion={kind: gated, width: 8}", "--json")
    code, out, _ = cli("compare", tiny_run.folder.path, tmp_path / "other")
    assert code == 0
    assert "fusion.kind" in out
    assert "training.seed" not in out
    code, out, _ = cli("compare", tiny_run.folder.path, tmp_path / "other", "--json")
    told = json.loads(out)
    assert {"name": "fusion.kind", "values": ["joint", "gated"]} in told["recipe"]
    assert all(len(row["values"]) == 2 for row in told["scores"])


def test_report_and_check_and_recipes(cli, tiny_run, tiny_recipe):
    code, out, _ = cli("report", tiny_run.folder.path)
    assert code == 0
    assert "report.html" in out
    code, out, _ = cli("check", tiny_recipe, "--json")
    told = json.loads(out)
    assert told["rows"] == told["kept"] + told["rejected"] == 40
    code, out, _ = cli("check", tiny_recipe)
    assert "the recipe is fine" in out
    code, out, _ = cli("recipes")
    assert "digits" in out
    assert "triptych[demo]" in out


def test_init_check_train_predict_on_a_folder_of_ones_own(cli, tiny_table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for index in range(24):
        target = tmp_path / "songs" / ("low", "high")[index % 2]
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(tiny_table.parent / f"sounds/{index}.wav", target)
    assert cli("init", "songs")[0] == 0
    text = Path("songs.yaml").read_text()
    assert text.count("#") >= 4
    assert cli("init", "songs")[0] == 2  # never over a file that is there
    assert cli("check", "songs.yaml")[0] == 0
    assert cli("train", "songs.yaml", "--out", "run", "--set", "stages.0.epochs=2")[0] == 0
    code, out, _ = cli("predict", "run", "songs/low/2.wav", "--json")
    assert json.loads(out)[0]["tasks"]["label"]["said"] in ("low", "high")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "digts"], "did you mean 'digits'"),
        (["train", "digits", "--set", "fusion=gatd"], "did you mean 'gated'"),
        (["train", "digits", "--set", "inputs.image.encoder=cnnn"], "did you mean 'cnn'"),
        (["train", "digits", "--set", "stages.0.lr=-1"], "stages.0.lr"),
        (["train", "digits", "--set", "stages.0.lr"], "--set a.b.0.c=value"),
        (["train", "digits", "--frob"], "No such option"),
        (["frob"], "No such command"),
        (["report", "nowhere"], "there is no run"),
        (["compare", "nowhere"], "two runs or more"),
        (["tune", "digits", "--set", "training.select=digit.acuracy"], "did you mean 'digit.accuracy'"),
        (["tune", "digits", "--search", "stages.0.lr=log:1"], "stages.0.lr"),
        (["tune", "digits", "--search", "stages.0.rate=1,2"], "did you mean"),
        (["tune", "digits", "--search", "data.split.seed=1,2"], "could not be compared"),
        (["bakeoff", "digits", "--fusions", "joint,gatd"], "did you mean 'gated'"),
        (["bakeoff", "digits", "--fusions", "joint"], "nothing to compare"),
        (["init", "nowhere"], "there is no file or folder"),
        (["embed", "nowhere", "x", "--out", "y"], "there is no run"),
    ],
)
def test_wrong_words_exit_with_2_and_a_way_out(cli, words, message):
    code, out, err = cli(*words)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err


def test_ctrl_c_exits_with_130_and_leaves_an_honest_folder(tiny_recipe, tmp_path):
    command = [
        sys.executable,
        "-m",
        "triptych",
        "train",
        str(tiny_recipe),
        "--out",
        str(tmp_path / "run"),
        "--set",
        "stages.0.epochs=10000",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ})
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"


def test_names_with_brackets_are_printed_as_they_are(cli, tmp_path):
    lines = "".join(f"some words {i},{'[/x]' if i % 2 else '[red]y'}\n" for i in range(20))
    (tmp_path / "t.csv").write_text("text,[label]\n" + lines)
    (tmp_path / "r.yaml").write_text(
        "data: {source: t.csv}\ninputs: {text: {}}\n"
        "tasks: {label: {kind: classify, target: '[label]'}}\nstages: [{train: [all], epochs: 1}]\n"
    )
    code, out, _ = cli("check", tmp_path / "r.yaml")
    assert code == 0
    assert "[/x]" in out and "[red]y" in out


def test_the_cache_is_listed_and_freed(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    code, out, _ = cli("cache")
    assert code == 0 and f"0 bytes in {tmp_path}" in out
    folder = tmp_path / "features" / "abcdef0123456789"
    folder.mkdir(parents=True)
    (folder / "about.json").write_text(json.dumps({"input": "text", "of": "owner/base", "given": "vectors"}))
    (folder / "part.safetensors").write_bytes(bytes(2_000_000))
    code, out, _ = cli("cache")
    assert code == 0 and "abcdef012345" in out and "text: owner/base: vectors" in out and "2.0 MB" in out and "just now" in out
    code, out, _ = cli("cache", "--json")
    assert json.loads(out)["things"][0]["bytes"] > 2_000_000
    assert cli("cache", "free")[0] == 2
    code, out, _ = cli("cache", "free", "--older", "1")
    assert code == 0 and "nothing is that old" in out
    code, out, _ = cli("cache", "free", "abcd", "--dry-run")
    assert code == 0 and "would free 2.0 MB" in out and folder.exists()
    from triptych.data.kept import Kept

    kept = Kept(folder)
    code, out, err = cli("cache", "free", "--all")
    assert code == 1 and "in use at the moment, and left: features abcdef012345" in err
    del kept
    code, out, _ = cli("cache", "free", "features", "--json")
    assert code == 0 and len(json.loads(out)["freed"]) == 1 and not folder.exists()


def test_models_are_browsed_without_a_network(cli, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    code, out, _ = cli("models", "--modality", "audio,text", "--task", "embed")
    assert code == 0 and "inputs: {audio: {encoder: laion/clap-htsat-unfused}, text: {encoder: laion/clap-htsat-unfused}}" in out
    assert "HF_HUB_OFFLINE is set" in out and "estimate" in out
    code, out, _ = cli("models", "--search", "swin", "--json")
    (one,) = json.loads(out)["models"]
    assert (code, one["known"], one["use"]) == (0, False, "")
    code, out, _ = cli("models", "--search", "no such model at all")
    assert code == 0 and "no model is so" in out
    for words, says in ((("--modality", "audi"), "did you mean 'audio'"), (("--task", "x"), "embed"), (("--size", "x"), "500M")):
        code, _, err = cli("models", *words)
        assert code == 2 and says in err
