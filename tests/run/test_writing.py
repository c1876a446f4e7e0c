"""Tasks that are answered in writing, from a table to a finished run: one small training serves most of these tests."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest
import tokenizers
import torch
import transformers
from tests.forked import TOGETHER
from tests.reports import BLANK

import triptych
from triptych.base.errors import InputError
from triptych.contract.generator import opened
from triptych.contract.values import Packed
from triptych.run.answers import answered
from triptych.run.building import build
from triptych.run.chunked import answers
from triptych.run.lit import Lit
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read
from triptych.run.resume import seed_random
from triptych.use.asking import questions_of
from triptych.use.report import write_report

RECIPE = """
name: writing
data: {source: table.csv, split: {column: side}}
inputs:
  image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
  audio: {prepare: {rate: 8000, bins: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
fusion: {kind: prefix, projector: linear, width: 8, dropout: 0}
decoder: {kind: small, layers: 2, width: 32, heads: 4, dropout: 0, tokenizer: word, context: 64, vocabulary: 60}
tasks:
  see: {kind: generate, target: caption, template: "{image} is it dark", longest: 6, scores: [exact, f1, wer]}
  echo: {kind: generate, target: word, template: "{image} say {word2}", choices: [one, two, three]}
  chat: {kind: generate, messages: chat, longest: 4, written: 3}
  label: {kind: classify, target: label}
  match: {kind: contrast, between: [image, audio], width: 8}
stages:
  - {train: [all], epochs: 12, lr: 1.0e-2}
training: {batch_size: 8, threads: 1}
report: {rows: 2}
"""
BRIEF = ["stages.0.epochs=2", "training.save_seconds=0"]
QUIET = Voice(quiet=True)
WORDS = ("one", "two", "three")


def conversation(word: str, row: dict[str, str]) -> str:
    turns = [
        ("user", f"<image> {'<audio>' if row.get('audio') else ''} say {word}"),
        ("assistant", word),
        ("user", "again"),
        ("assistant", word),
    ]
    return json.dumps([{"role": role, "content": content} for role, content in turns])


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, tiny_table):
    """40 rows: what a picture shows decides one answer, a word in the table the other, and some rows have a conversation."""
    folder = tmp_path_factory.mktemp("writing")
    shutil.copytree(tiny_table.parent, folder, dirs_exist_ok=True)
    table = folder / "table.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["image"] = f"pictures/{number}.png"
        word = WORDS[number % 3]
        caption = "it is dark" if row["label"] == "low" else "it is bright"
        row |= {
            "caption": caption if number % 7 else "",
            "word": word,
            "word2": word,
            "chat": conversation(word, row) if number % 4 else "",
        }
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "recipe.yaml").write_text(RECIPE)
    return folder / "recipe.yaml"


@pytest.fixture(scope="module")
def run(recipe, tmp_path_factory):
    return triptych.train(recipe, out=tmp_path_factory.mktemp("runs") / "run", quiet=True)


@pytest.fixture(scope="module")
def bench(recipe):
    made = read(str(recipe))
    return build(made, open_table(made, QUIET), QUIET)


def rows_of(recipe: Path) -> list[dict[str, str]]:
    with (recipe.parent / "table.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def score(run, name: str) -> float:
    return next(one["trained"] for one in run.scores if one["name"] == name)


def test_it_learns_to_say_what_it_sees_and_what_it_is_told(run):
    assert score(run, "see.exact") > 0.9
    assert score(run, "see.accuracy") > 0.9
    assert score(run, "see.wer") < 0.1
    assert score(run, "echo.exact") > 0.9
    assert score(run, "see.perplexity") < 2
    told = run.folder.read("verdicts.json")["see"]
    assert told["baselines"]["usual answer"]["exact"] < 0.7
    assert (told["metric"], told["trained"]["value"]) == ("exact", pytest.approx(score(run, "see.exact")))
    assert told["parts"]["from image"]["metric"] == "accuracy"  # of mixtures nothing is written
    kept = answered(run.folder, "see")
    assert not isinstance(kept, str), kept
    assert kept.statistics.value == pytest.approx(told["trained"]["value"])


def test_every_epoch_shows_a_sample_and_the_rows_are_written_down(run, recipe):
    for line in run.folder.read_log():
        said = line["samples"]
        assert set(said) == {"see", "echo", "chat"}
        assert all(len(pair) == 2 for pair in said.values())
    told, captions = run.folder.read_rows("predictions.parquet"), [row["caption"] for row in rows_of(recipe) if row["side"] == "test"]
    assert [truth or "" for truth in told["see.truth"]] == captions
    assert [said or "" for said in told["see.said"]] == captions
    assert sum(said is not None for said in told["chat.said"]) == 3  # tasks.chat.written


def test_an_answer_is_the_same_for_a_user_and_for_the_measuring(run, recipe, bench):
    """`predict` on files and words, `measure` on the table's rows."""
    pen = run.pen
    rows = rows_of(recipe)
    judged = [n for n, row in enumerate(rows) if row["side"] == "test" and row["caption"]]
    given = [{"image": str(recipe.parent / rows[n]["image"]), "word2": rows[n]["word2"], "chat": rows[n]["chat"] or None} for n in judged]
    for n, row in zip(judged, given, strict=True):
        if rows[n]["audio"]:
            row["audio"] = str(recipe.parent / rows[n]["audio"])
    answers_ = run.predict_rows(given)
    batch = bench.loader("test", rows=judged).batch(judged)
    with torch.no_grad():
        passed = run.model(batch)
        for name in ("see", "echo"):
            written = pen.write(run.model, batch.asked[name], passed.fused, run.recipe.tasks[name])
            assert written == [answer[name]["said"] for answer in answers_]
    alone = [run.predict(**{k: v for k, v in row.items() if v is not None}) for row in given]
    assert [one.tasks["see"] for one in alone] == [one.tasks["see"] for one in answers_]
    assert [one.tasks["echo"]["said"] for one in alone] == [one.tasks["echo"]["said"] for one in answers_]
    streamed = list(run.pen.stream(run.model, *question(run, "see", batch, passed, 0), run.recipe.tasks["see"]))
    assert streamed[-1] == answers_[0]["see"]["said"]


def question(run, name, batch, passed, row):
    asked = opened(batch.asked[name].part(row, row + 1))
    length = int(asked.mask_PT.sum())
    cut = Packed({key: tensor[:, :length] for key, tensor in asked.tensors.items()}, asked.mask_PT[:, :length])
    return cut, passed.fused.rows(torch.tensor([row]))


def test_choices_have_the_probabilities_that_the_model_gives_them(run, recipe):
    """By transformers alone: the sum of log-probabilities of each choice after the question, and a softmax over the choices."""
    row = {"image": str(recipe.parent / "pictures/3.png"), "word2": "two"}
    told = run.predict(**row)["echo"]
    assert told["said"] == "two"
    assert sum(told["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    passed, present = run.passed([run._values(row)])
    asked = run.script.collate(questions_of(run, run.recipe.tasks["echo"], [row], present))
    decoder = run.model.decoder
    with torch.no_grad():
        ((vectors, _),) = decoder.rows(asked, passed.fused)
        sums = []
        for choice in run.recipe.tasks["echo"].choices:
            ids = torch.tensor(run.script.answer(choice))
            whole = torch.cat([vectors, decoder.base.get_input_embeddings()(ids)])[None]
            logits = decoder.base(inputs_embeds=whole).logits[0, len(vectors) - 1 : -1]
            sums.append(logits.log_softmax(1).gather(1, ids[:, None]).sum())
    expected = torch.stack(sums).softmax(0).tolist()
    assert list(told["probabilities"].values()) == pytest.approx(expected, abs=1e-4)


def test_the_report_shows_what_was_asked_said_and_expected(run):
    worst = {one["task"]: one["rows"] for one in run.folder.read("shown.json")["worst"] if one}
    assert all(row["values"][0] == f"<p>word2: {row['truth']}</p>" for row in worst["echo"])
    assert "<img" in worst["see"][0]["values"][0]
    write_report(run.folder)
    page = (run.folder.path / "report.html").read_text(encoding="utf-8")
    assert "<p>word2: " in page
    assert worst["see"][0]["truth"] in page


def test_a_row_that_one_task_cannot_be_asked_of_is_answered_by_the_others(run, recipe):
    picture = str(recipe.parent / "pictures/3.png")
    told = run.predict(image=picture)
    assert told["see"]["said"]
    assert told["chat"]["said"] == ""
    assert "conversation" in told["chat"]["why_not"]
    good, bad = [one for one in run.predict_each([{"image": picture, "chat": conversation("two", {})}, {"image": picture, "chat": "{"}])]
    assert good["chat"]["said"] in WORDS
    assert "no conversation" in bad["chat"]["why_not"]
    with pytest.raises(InputError, match="unknown input 'wordz'"):
        run.predict(wordz="two")
    assert run.predict(word2="three")["echo"]["said"]  # words alone


def test_it_is_said_what_an_input_is_worth(run):
    told = run.folder.read("reliance.json")["tasks"]
    assert {"see", "echo"} <= set(told)
    assert told["see"]["inputs"]["image"]["shuffle"]["low"] > 0  # words alone cannot tell
    assert told["see"]["inputs"]["image"]["verdict"] == "used"
    assert "audio" not in told["see"]["inputs"]  # the template does not name it
    assert told["echo"]["inputs"]["image"]["shuffle"]["value"] == pytest.approx(0, abs=0.05)  # words alone can
    assert told["echo"]["inputs"]["image"]["verdict"] != "used"


def test_the_ledger_shows_the_share_of_each_task(run):
    lines = [json.loads(line) for line in (run.folder.path / "ledger.jsonl").read_text().splitlines()]
    for line in lines:
        assert set(line["tasks"]) == {"see", "echo", "chat", "label", "match"}
        assert sum(one["gradient_share"] for one in line["tasks"].values()) == pytest.approx(1)
        assert line["tasks"]["chat"]["rows"] == 18


def test_evaluate_says_what_the_training_measured(run, recipe):
    found = triptych.evaluate(run.folder.path, data=recipe.parent / "table.csv", out=recipe.parent / "again", quiet=True)
    assert found.told["rows"] == 40
    assert found.value("see.exact") > 0.9
    assert found.value("see.accuracy") > 0.9


@pytest.mark.slow
def test_a_training_that_was_stopped_ends_with_the_same_weights(recipe, tmp_path, monkeypatch):
    from triptych.run import resume

    monkeypatch.setattr(resume, "SHARE", 0)
    whole = triptych.train(recipe, set=BRIEF, out=tmp_path / "whole", quiet=True)
    before, count = Lit.training_step, 0

    def counted(self, batch, index):
        nonlocal count
        count += 1
        if count == 5:  # in the middle of the second epoch
            raise KeyError("stop")
        return before(self, batch, index)

    with monkeypatch.context() as patch, pytest.raises(KeyError):
        patch.setattr(Lit, "training_step", counted)
        triptych.train(recipe, set=BRIEF, out=tmp_path / "stopped", quiet=True)
    again = triptych.resume(tmp_path / "stopped", quiet=True)
    files = [{n: v for n, v in one.folder.read("run.json")["files"].items() if n.startswith("model/")} for one in (whole, again)]
    assert files[0] == files[1]
    assert any("decoder" in name for name in files[0])


def test_frozen_weights_that_are_halved_judge_epochs_and_write_samples(recipe, tmp_path):
    """Beside LoRA in bf16: the other weights lie in bf16 until the stage ends, and what comes between its epochs must go with that."""
    words = ["[UNK]", "/", *["it", "is", "dark", "bright", "say", "one", "two", "three", "user", "assistant"]]
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, unk_token="[UNK]", pad_token="[UNK]", eos_token="/").save_pretrained(
        tmp_path / "llama"
    )
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 128}
    config = transformers.LlamaConfig(vocab_size=len(words), eos_token_id=1, bos_token_id=None, pad_token_id=0, **sizes)
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    decoder = f"decoder={{kind: pretrained, name: {tmp_path / 'llama'}, lora: {{rank: 2}}}}"
    sets = [*BRIEF, decoder, "stages.0.train=[fusion, decoder.lora]", "training.precision=bf16"]
    run = triptych.train(recipe, out=tmp_path / "run", set=sets, quiet=True)
    log = run.folder.read_log()
    assert [line["epoch"] for line in log] == [1, 2] and all(line["samples"] for line in log)
    assert score(run, "see.perplexity") > 1


@pytest.mark.parametrize("fusion", ["prefix", "joint"])
def test_rows_at_once_change_no_gradient(recipe, fusion):
    plain = [f"inputs.{name}.encoder.dropout=0" for name in ("image", "audio")]
    made = read(str(recipe), [f"fusion={{kind: {fusion}, width: 8, dropout: 0}}", *plain])
    bench = build(made, open_table(made, QUIET), QUIET)
    batch = next(iter(bench.loader("train", shuffled=True)))
    if fusion != "prefix":
        with torch.no_grad():
            for layer in bench.model.decoder.looks.layers:
                layer.gate_attend.fill_(0.5)
    found = []
    for chunk in (None, 3):
        seed_random(0)
        bench.model.zero_grad()
        outputs = answers(bench.model, batch, chunk)
        sum(outputs[name]["nll_B"].sum() for name in ("see", "echo", "chat")).backward()
        found.append({name: p.grad.clone() for name, p in bench.model.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert any("encoders" in name for name in found[0])
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], atol=1e-4, rtol=1e-4)


def test_frozen_encoders_are_remembered_with_their_sequences(recipe, tmp_path, monkeypatch):
    """Only the projector and the decoder learn: pictures go through the encoder once, and the answers are the same."""
    import transformers

    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        image_size=16, patch_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    transformers.ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vit")
    sets = [
        f"inputs={{image: {{encoder: {{kind: pretrained, name: {tmp_path / 'vit'}, pool: mean}}}}}}",
        'tasks={see: {kind: generate, target: caption, template: "{image} is it dark", longest: 4}}',
        "stages=[{train: [fusion, decoder], epochs: 2, lr: 1.0e-2}]",
    ]
    runs = [
        triptych.train(recipe, set=[*sets, f"training.remember={how}"], out=tmp_path / f"run-{how}", quiet=True)
        for how in ("true", "false")
    ]
    kept = list((tmp_path / "cache" / "features").glob("*/about.json"))
    assert [json.loads(path.read_text())["given"] for path in kept] == ["sequences"]
    first, second = ([one["validation see.loss"] for one in run.folder.read_log()] for run in runs)
    assert first == pytest.approx(second, abs=1e-5)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(recipe, tmp_path, forked):
    code = TOGETHER + BLANK + "import sys, triptych; triptych.train(sys.argv[1], set=sys.argv[3:], out=sys.argv[2], quiet=True)"
    losses = []
    for devices in (1, 2):
        still = [f"inputs.{name}.encoder.dropout=0" for name in ("image", "audio")]  # each process draws its own
        sets = [*BRIEF, *still, f"training.devices={devices}", "training.device=cpu"]
        out = tmp_path / str(devices)
        forked.run_code(code, recipe, out, *sets, env={**os.environ, "OMP_NUM_THREADS": "1"}).check_returncode()
        losses.append([json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()])
    for epoch, (one, two) in enumerate(zip(*losses, strict=True)):
        for name in (
            "train see.loss",
            "train chat.loss",
            "validation echo.loss",
        ):  # sums in another order: what differs grows with the steps
            assert one[name] == pytest.approx(two[name], abs=1e-4 if epoch == 0 else 1e-3)


def test_a_score_that_lacks_its_words_is_told_before_anything_is_trained(recipe, tmp_path, monkeypatch):
    """METEOR needs WordNet, which no package brings along."""
    from triptych.modalities.text import meteor

    def missing():
        raise InputError("meteor needs the synonyms of WordNet, which are not here")

    monkeypatch.setattr(meteor, "_wordnet", missing)
    with pytest.raises(InputError, match="WordNet"):
        triptych.train(recipe, set=["tasks.see.scores=[meteor]"], out=tmp_path / "run", quiet=True)


# wrong recipes and tables


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["tasks.see.template='{image} {colour}'"], "'colour'"),
        (["tasks.see.template='{image} {{ }}x'", "tasks.see.target=nothing"], "'nothing'"),
        (["tasks.see.template='{image} {'"], "do not match"),
        (["tasks.see.messages=chat"], "whole conversations"),
        (["decoder=null"], "no decoder"),
        (["tasks={label: {kind: classify, target: label}}"], "no generate task"),
        (["tasks.decoder={kind: classify, target: label}"], "stands for two things"),
        (["tasks.chat.messages=word"], "nothing can be learnt"),
        (["tasks.see.scores=[blue]"], "no score 'blue'"),
        (["tasks.see.top_p=0.5"], "temperature"),
        (["decoder.width=30"], "no multiple"),
        (["fusion.shorten={picture: 2}"], "picture"),
        (["stages.0.train=[see]"], "see"),
        (["training.mixup=1"], "mixup"),
        (["training.select=see.bleu"], "bleu"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_trained(recipe, tmp_path, sets, said):
    with pytest.raises(InputError, match=said):
        triptych.train(recipe, set=sets, out=tmp_path / "run", quiet=True)
