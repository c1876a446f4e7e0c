"""The verbs that rooms bring along, typed as a user types them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys

import pytest
from tokenizers import Tokenizer

from triptych.cli.main import run as main
from triptych.run.recipe import read

pytestmark = pytest.mark.usefixtures("no_reports")


def call(capsys, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["triptych", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    return left.value.code, out, err


@pytest.fixture
def here(tmp_path, monkeypatch):
    with (tmp_path / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([[f"<p>Caf\u00e9 number {n}</p>", "ab"[n % 2]] for n in range(40)] + [["", "a"], ["...", "b"]])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_vocabulary_is_learnt_and_a_recipe_takes_it(here, capsys, monkeypatch):
    words = ("data", "tokenizer", "t.csv", "--column", "text", "--vocabulary", 300, "--strip-markup", "--out", "vocabulary/t.json")
    code, out, err = call(capsys, monkeypatch, *words)
    assert code == 0 and "41 texts -> " in out and "1 rows are empty" in out
    assert "in a recipe: {prepare: {tokenizer: vocabulary/t.json, strip_markup: true}}" in out
    theirs = Tokenizer.from_file("vocabulary/t.json")
    (here / "r.yaml").write_text("""
data: {source: t.csv, split: {test: 0.2, validation: 0.2}}
inputs: {text: {prepare: {tokenizer: vocabulary/t.json, strip_markup: true}, encoder: {kind: gru, width: 8, depth: 1}}}
tasks: {label: {kind: classify, target: label}}
stages: [{train: [all], epochs: 1}]
training: {threads: 1}
""")
    monkeypatch.chdir(here / "vocabulary")
    assert read(str(here / "r.yaml")).inputs["text"].prepare.tokenizer == str(here / "vocabulary/t.json")
    code, out, err = call(capsys, monkeypatch, "train", here / "r.yaml", "--out", here / "run")
    assert code == 0, err
    (here / "vocabulary/t.json").rename(here / "gone.json")
    code, out, err = call(capsys, monkeypatch, "predict", here / "run", "--text", "<b>Caf\u00e9</b> number 3", "--json")
    assert code == 0 and json.loads(out)[0]["tasks"]["label"]["said"] in "ab"
    kept = Tokenizer.from_file(str(here / "run/inputs/text/tokenizer.json"))
    assert kept.encode("CAF\u00c9 number 3").ids == theirs.encode("CAF\u00c9 number 3").ids
    code, out, err = call(capsys, monkeypatch, "check", here / "r.yaml")
    assert code == 2 and "there is no tokenizer 'vocabulary/t.json'" in err and "inputs.text" in err
    (here / "vocabulary/t.json").write_text("{}")
    code, out, err = call(capsys, monkeypatch, "check", here / "r.yaml")
    assert code == 2 and "this is no tokenizer.json" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("tokenizer", "t.csv", "--column", "txt"), "no row has a column 'txt'"),
        (("tokenizer", "nix.csv", "--column", "text"), "nix.csv"),
        (("tokenizer", "t.csv", "--column", "text", "--kind", "bp"), "did you mean 'bpe'"),
        (("tokenizer", "t.csv", "--column", "text", "--vocabulary", "many"), "vocabulary"),
        (("tokenizer", "t.csv", "--column", "text", "--vocabulary", "20"), "bpe vocabulary holds 259"),
        (("speak", "t.csv", "--column", "text"), "not a finished table"),
        (("speak", "nix.lance", "--column", "text"), "there is no table"),
        (("speak", "nix.lance"), "--column"),
        (("speak", "nix.lance", "--column", "text", "--voices", "xq"), "there is no voice 'xq'"),
    ],
)
def test_wrong_words_are_answered(here, capsys, monkeypatch, words, says):
    code, out, err = call(capsys, monkeypatch, "data", *words)
    assert code == 2 and says in err and "Traceback" not in err
    assert not (here / "tokenizer.json").exists()


def test_a_table_speaks(here, capsys, monkeypatch):
    pytest.importorskip("espeakng_loader")
    assert call(capsys, monkeypatch, "data", "build", "t.csv", "t.lance")[0] == 0
    code, out, err = call(capsys, monkeypatch, "data", "speak", "t.lance", "--column", "text", "--voices", "fr", "--speed", "300")
    assert code == 0 and "42 rows: 40 made, 1 empty, 1 left out" in out and "left out row-42" in out
    code, out, err = call(capsys, monkeypatch, "data", "show", "t.lance", "--json")
    told = {column["name"]: column["what"] for column in json.loads(out)["columns"]}
    assert told["voice"] == "40 .flac" and told["voice.language"] == "fr (40)" and told["voice.speed"] == "300 (40)"
    assert (here / "t.lance.html").read_text().count("<audio") > 0
    code, out, err = call(capsys, monkeypatch, "data", "speak", "t.lance", "--column", "text")
    assert code == 2 and "--replace" in err
    code, out, err = call(capsys, monkeypatch, "data", "speak", "t.lance", "--column", "text", "--as", "v", "--files", "said", "--json")
    assert code == 0 and json.loads(out)["made"] == 40 and len(list((here / "said").iterdir())) == 40


def test_help_names_every_word_and_loads_nothing_heavy():
    script = "import sys; sys.argv = ['triptych', 'data', 'speak', '--help']; from triptych.cli.main import run\n"
    script += "try: run()\nexcept SystemExit: pass\nprint(sorted({'torch', 'numpy', 'lance', 'tokenizers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]") and "--pitch" in done.stdout and "--no-seed" not in done.stdout
