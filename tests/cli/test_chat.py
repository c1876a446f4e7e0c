"""Talking to a run, and asking it by options: one small training of three tasks serves these tests."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.reports import reports

import triptych
from triptych.base.errors import BadValue, InputError
from triptych.use.chatting import Conversation

RECIPE = """
name: talks
data: {source: rows.jsonl, split: {column: side}}
inputs:
  image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4, 8], width: 8}}
  voice: {modality: audio, prepare: {rate: 8000, bins: 16}, encoder: {kind: cnn, widths: [4], width: 8}}
fusion: {kind: prefix, projector: linear, width: 8, dropout: 0}
decoder: {kind: small, layers: 2, width: 32, heads: 4, dropout: 0, tokenizer: word, context: 96, vocabulary: 80}
tasks:
  pair: {kind: generate, messages: messages, longest: 8}
  see: {kind: generate, target: shade, template: "{image} {voice} {question}", longest: 5}
  pick: {kind: generate, target: shade, template: "{image} what is it", choices: [dark, bright]}
stages:
  - {train: [all], epochs: 14, lr: 1.0e-2}
training: {batch_size: 8, threads: 1}
report: {rows: 1}
"""
SHADES = {"low": "dark", "high": "bright"}


def shade(number: int, which: int = 0) -> str:
    return str(np.random.default_rng([number, which]).choice(["low", "high"]))


def write_picture(path: Path, label: str, seed: int) -> None:
    noise = np.random.default_rng(seed).integers(0, 80, (16, 16, 3))
    Image.fromarray((noise + (150 if label == "high" else 10)).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory, write_sound):
    """48 rows: two pictures with a conversation about both, or one picture and a question, some of them spoken."""
    folder = tmp_path_factory.mktemp("talks")
    lines = []
    for n in range(48):
        side = ("test", "validation", *["train"] * 6)[n // 3 % 8]
        for k in (0, 1):
            write_picture(folder / f"{n}-{k}.png", shade(n, k), 2 * n + k)
        first, second = (SHADES[shade(n, k)] for k in (0, 1))
        if n % 3:
            turns = [("user", "<image> and then <image> what are they"), ("assistant", f"{first} then {second}")]
            turns += [("user", "and the first"), ("assistant", first)] if n % 3 == 1 else []
            said = [{"role": role, "content": content} for role, content in turns]
            lines.append({"image": [f"{n}-0.png", f"{n}-1.png"], "messages": said, "side": side})
            continue
        row = {"image": f"{n}-0.png", "question": "is it dark", "shade": f"it is {first}", "side": side}
        if n % 6 == 0:
            write_sound(folder / f"{n}.wav")
            row |= {"voice": f"{n}.wav", "question": None}
        lines.append(row)
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "recipe.yaml").write_text(RECIPE)
    with reports(pages=False):
        return triptych.train(folder / "recipe.yaml", out=folder / "run", quiet=True)


@pytest.fixture
def files(run) -> Path:
    return run.folder.path.parent


ASK = "<image> and then <image> what are they"


def trained(run, name: str) -> float:
    task, score = name.split(".")
    rows = run.folder.read("scores.json")
    return next(row["trained"] for row in rows if row["task"] == task and row["metric"] == score and not row.get("of"))


def test_several_pictures_stand_at_their_places_from_lines_to_answers(run, files):
    """Answers name the pictures in their order, on rows that were not trained; exchanged pictures exchange the words."""
    dark, bright = (next(n for n in range(0, 48, 3) if shade(n) == word) for word in ("low", "high"))
    said = [{"role": "user", "content": ASK}]
    one, other = (files / f"{n}-0.png" for n in (dark, bright))
    assert run.predict(image=[one, other], messages=said)["pair"]["said"] == "dark then bright"
    assert run.predict(image=[other, one], messages=said)["pair"]["said"] == "bright then dark"


def test_a_conversation_goes_on_and_remembers_its_pictures(cli, run, files):
    dark, bright = (next(n for n in range(0, 48, 3) if shade(n) == word) for word in ("low", "high"))
    lines = f"/image {files}/{bright}-0.png {files}/{dark}-0.png\n{ASK}\n/show and the first\nand the first\n/reset\n/show hello\n"
    code, out, err = cli("chat", run.folder.path, lines=lines)
    assert (code, out.splitlines()) == (0, ["bright then dark", "bright"])
    told, anew = [line for line in err.splitlines() if line]
    assert told.count("<image>") == 2 and told.index("bright then dark") < told.index("and the first")
    assert "<image>" not in anew


def test_questions_of_a_template_stand_alone_and_files_stay(cli, run, files):
    dark, bright = (next(n for n in range(0, 48, 3) if shade(n) == word) for word in ("low", "high"))
    lines = f"/image {files}/{bright}-0.png\nis it dark\nis it dark\n/image {files}/{dark}-0.png\nis it dark\n/image\n/show is it dark\n"
    code, out, err = cli("chat", run.folder.path, "--task", "see", lines=lines)
    assert (code, out.splitlines()) == (0, ["it is bright", "it is bright", "it is dark"])
    assert "is it dark" in err and "<image>" not in err
    lines = f"/image {files}/{bright}-0.png\n\nis it dark\n"
    code, out, err = cli("chat", run.folder.path, "--task", "pick", lines=lines)
    assert (code, out.splitlines()) == (2, ["bright"])
    assert "has no place for words" in err


def test_what_cannot_be_followed_is_said_and_the_rest_goes_on(cli, run, files, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    wrong = ["/imgae a.png", "/image none.png", f"/image {tmp_path}/bad.png", ASK, "/task sea", "/constructor x"]
    lines = "\n".join([*wrong, "/task see", f"/voice {files}/0.wav", "", "/question is it dark", "is it dark"])
    code, out, err = cli("chat", run.folder.path, lines=lines)
    assert (code, len(out.splitlines())) == (2, 1)
    for said in (
        "did you mean '/image'",
        "none.png",
        "bad.png",
        "names 2 x image, and the row has 0",
        "did you mean 'see'",
        "'/constructor'",
    ):
        assert said in err
    assert err.count("error: ") == len(wrong)


def test_a_person_is_prompted_and_helped_and_needs_no_exit_code(cli, run, files):
    lines = f"/image {files}/0-0.png\n/help\n/system be brief\n/task see\n//is it dark\n/nothing\n/quit\nis it dark\n"
    code, out, err = cli("chat", run.folder.path, lines=lines, person=True)
    assert code == 0
    answers = out.replace("> ", "").splitlines()
    assert len(answers) == 1 and answers[0].startswith("it is")
    assert "other tasks: see, pick" in err and "/image FILE" in err and "unknown command '/nothing'" in err


def test_answers_as_json_lines(cli, run, files):
    code, out, _ = cli("chat", run.folder.path, "--task", "see", "--json", lines=f"/image {files}/0-0.png\nis it dark\n")
    told = json.loads(out)
    assert code == 0
    assert told["asked"] == {"image": f"{files}/0-0.png", "question": "is it dark"}
    assert told["said"] == run.predict(image=files / "0-0.png", question="is it dark")["see"]["said"]


def test_an_answer_is_stopped_and_the_program_is_not(cli, run, files, monkeypatch):
    """Ctrl-C while it is written: what was heard stays in the conversation."""
    stream, asked = triptych.use.opened.Run.stream, []

    def stopped(self, name, row, task=None) -> Iterator[str]:
        asked.append(row["messages"])
        for text in stream(self, name, row, task):
            yield text
            if len(asked) == 1 and " " in text:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(triptych.use.opened.Run, "stream", stopped)
    lines = f"/image {files}/1-0.png {files}/1-1.png\n{ASK}\nand the first\n"
    code, out, err = cli("chat", run.folder.path, lines=lines, person=True)
    assert code == 0 and "(stopped)" in err
    first = asked[1][1]["content"]
    assert first in ("dark", "bright") and out.replace("> ", "").splitlines()[0] == first
    code, _, err = cli("chat", run.folder.path, lines="hello there\n")
    assert code == 0


def test_a_run_that_writes_nothing_is_nobody_to_talk_to(cli, run, tiny_run):
    code, _, err = cli("chat", tiny_run.folder.path, lines="hello\n")
    assert code == 2 and "nobody to talk to" in err and "label (classify)" in err
    with pytest.raises(InputError, match="did you mean 'see'"):
        Conversation(run, "se")


def test_a_file_keeps_its_spaces_and_words_their_quotes(cli, run, files, tmp_path):
    (tmp_path / "a b.png").write_bytes((files / "0-0.png").read_bytes())
    lines = f"/image {tmp_path}/a b.png\n/image '{tmp_path}/a b.png' {files}/1-0.png\n/question is 'it'  dark\n/show\n"
    code, _, err = cli("chat", run.folder.path, "--task", "see", lines=lines)
    assert code == 0
    assert f"image: {tmp_path}/a b.png, {files}/1-0.png" in err and "question: is 'it'  dark" in err


def test_predict_takes_words_and_several_files_and_conversations(cli, run, files, tmp_path):
    code, out, _ = cli("predict", run.folder.path, "--image", files / "0-0.png", "--question", "is it dark", "--json")
    (told,) = json.loads(out)
    assert code == 0 and told["tasks"]["see"]["said"].startswith("it is")
    assert sum(told["tasks"]["pick"]["probabilities"].values()) == pytest.approx(1)
    assert told["tasks"]["pair"]["why_not"] == "there is no conversation: messages is empty"
    said = [{"role": "user", "content": ASK}]
    two = ["--image", files / "1-0.png", "--image", files / "1-1.png"]
    code, out, _ = cli("predict", run.folder.path, *two, "--messages", json.dumps(said), "--json")
    wanted = json.loads(out)[0]["tasks"]["pair"]
    assert code == 0 and "then" in wanted["said"]
    parts = [{"type": "image_url", "image_url": {"url": f"1-{k}.png"}} for k in (0, 1)]
    words = [{"type": "text", "text": text} for text in (" and then ", " what are they")]
    mixed = [{"role": "user", "content": [parts[0], words[0], parts[1], words[1]]}]
    for held in (mixed, {"messages": mixed}, {"image": ["1-0.png", "1-1.png"], "conversations": [{"from": "human", "value": ASK}]}):
        (files / "asked.json").write_text(json.dumps(held))
        code, out, err = cli("predict", run.folder.path, "--messages", files / "asked.json", "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)[0]["tasks"]["pair"] == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--messages", "none.json"], "the file does not exist"),
        (["--messages", "[{"], "this is no conversation"),
        (["--question", "a", "--question", "b"], "--question is given twice"),
        (["--questoin", "a"], "unknown option '--questoin'"),
        (["--messages", '[{"role": "user", "content": [{"type": "video", "video": "a.mp4"}]}]'], "holds video"),
        (["--messages", '[{"role": "user", "content": [{"type": "image", "image": "https://x.org/a.png"}]}]'], "address"),
    ],
)
def test_wrong_questions_exit_with_2(cli, run, words, message):
    code, _, err = cli("predict", run.folder.path, *words)
    assert code == 2
    assert message in err


def mixed(files: Path) -> list[dict]:
    """16 rows: words alone, a picture, a recording, both, several pictures, long questions beside short ones."""
    rows = []
    for n in range(16):
        row = {"question": "is it dark " * (1 + 5 * (n % 3 == 0))} if n % 4 != 1 else {}
        if n % 2:
            row["image"] = [files / f"{n}-0.png", files / f"{n}-1.png"][: 1 + (n % 3 == 2)]
        if n % 4 == 1 or n % 5 == 0:
            row["voice"] = files / f"{n // 6 * 6}.wav"
        rows.append(row)
    return rows


@pytest.mark.parametrize("beams", [1, 3])
def test_a_batch_of_mixed_rows_is_each_alone(run, files, beams, monkeypatch):
    rows, task = mixed(files), run.recipe.tasks["see"]
    monkeypatch.setitem(run.recipe.tasks, "see", task.model_copy(update={"beams": beams, "longest": 4}))
    together = run.predict_rows(rows)
    alone = [run.predict(**row) for row in rows]
    assert [one["see"] for one in together] == [one["see"] for one in alone]
    for one, other in zip(together, alone, strict=True):
        assert one["pick"]["probabilities"] == pytest.approx(other["pick"]["probabilities"], abs=1e-4)
    assert len({one["see"]["said"] for one in together}) > 1


def test_one_token_at_a_time_is_computed_after_the_question(run, files):
    """What was read is kept (KV cache): after the first step each step is one place a row."""
    seen = []
    block = run.model.decoder.base.base_model.layers[0]
    handle = block.register_forward_pre_hook(lambda _, args, words: seen.append(args[0].shape[:2]), with_kwargs=True)
    try:
        run.predict_rows(mixed(files)[:4])
    finally:
        handle.remove()
    steps = [shape for shape in seen if shape[1] == 1]
    assert len(steps) >= 2 and all(shape[0] == 4 for shape in steps)


def test_a_row_too_long_for_the_decoder_costs_no_other_row(run, files, cli):
    many = [files / f"{n}-0.png" for n in range(48)]
    rows = [{"image": files / "0-0.png"}, {"image": many}, {"image": files / "1-0.png"}]
    told = list(run.predict_each(rows))
    assert not any(isinstance(one, BadValue) for one in told)
    assert [bool(one["see"]["said"]) for one in told] == [True, False, True]
    assert "inputs are" in told[1]["see"]["why_not"] and "the decoder has room for" in told[1]["see"]["why_not"]
    assert told[0]["see"] == run.predict(**rows[0])["see"]


def test_training_names_the_row_that_is_too_long(run, files, tmp_path):
    lines = [json.loads(line) for line in (files / "rows.jsonl").read_text().splitlines()]
    lines[0]["image"] = [f"{n}-0.png" for n in range(40)]
    lines[0]["side"] = "train"
    (files / "long.jsonl").write_text("\n".join(json.dumps({**line, "id": f"r{n}"}) for n, line in enumerate(lines)))
    changes = [f"data.source={files}/long.jsonl", "stages.0.epochs=1"]
    with pytest.raises(InputError, match=r"inputs are .* tokens and its words .*room for 96\n  where: row .*r0") as found:
        triptych.train(files / "recipe.yaml", out=tmp_path / "run", quiet=True, set=changes)
    assert "resampler" in str(found.value)


def test_another_source_with_typed_columns_is_evaluated(cli, run, files, tmp_path):
    lines = [json.loads(line) for line in (files / "rows.jsonl").read_text().splitlines()][:12]
    (files / "other.json").write_text(json.dumps(lines, indent=1))
    code, out, err = cli("evaluate", run.folder.path, "--data", files / "other.json", "--out", tmp_path / "judged", "--json")
    assert code == 0, err
    assert "see" in out and "pair" in out


def test_odd_values_are_answered_in_bounded_work_or_refused(run, files, tmp_path):
    """Of a long recording the part counts that the recipe names; one of three hours is refused; pictures of one row of dots."""
    soundfile = pytest.importorskip("soundfile")
    for name, seconds in (("long", 6_000), ("endless", 10_800)):
        soundfile.write(tmp_path / f"{name}.flac", np.zeros(seconds * 1000, np.int16), 1000)
    Image.new("RGB", (4000, 1)).save(tmp_path / "wide.png")
    Image.new("RGB", (1, 4000)).save(tmp_path / "high.png")
    rows = [{"voice": tmp_path / "long.flac"}, *({"image": tmp_path / f"{name}.png"} for name in ("wide", "high"))]
    *answers, refused = run.predict_each([*rows, {"voice": tmp_path / "endless.flac"}])
    long, *pictures = [one["see"].get("why_not") for one in answers]
    assert "inputs are 501 tokens and its words 0, and the decoder has room for 96" in long  # ten seconds of it, by the recipe
    assert pictures == [None, None]
    assert isinstance(refused, BadValue) and "10,800 s long" in str(refused) and "cut it into shorter files" in str(refused)


def test_a_question_in_sound_or_words_alone_is_asked_as_it_is(run, files):
    assert run.question("see", {"voice": files / "0.wav"}) == "<voice>"
    assert run.question("see", {"question": "is it dark"}).split() == ["is", "it", "dark"]
    assert run.predict(question="is it dark")["see"].keys() == {"said"}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"messages": "ASK", "image": 1}, "names 2 x image, and the row has 1"),
        ({"messages": "ASK"}, "names 2 x image, and the row has 0"),
        ({"messages": "hello", "image": 1}, "names 0 x image, and the row has 1"),
        ({"image": 1}, "there is no conversation: messages is empty"),
        ({"voice": 1}, "there is no conversation: messages is empty"),
    ],
)
def test_media_without_a_place_and_places_without_media_say_so(run, files, row, why):
    held = {name: files / ("0.wav" if name == "voice" else "0-0.png") for name in row if name != "messages"}
    said = [{"role": "user", "content": ASK if row.get("messages") == "ASK" else "hello"}] if "messages" in row else None
    assert why in run.predict(**held, messages=said)["pair"]["why_not"]


def test_rows_that_cannot_be_learnt_are_counted_with_their_reasons(cli, run, files):
    """An empty answer, an answer beyond the context, a picture that no message names, a message that names none there."""
    lines = [json.loads(line) for line in (files / "rows.jsonl").read_text().splitlines()]
    empty, named = {"role": "assistant", "content": " "}, {"role": "user", "content": "<image> what"}
    lines += [
        {"messages": [named, empty]},
        {"messages": [named, {"role": "assistant", "content": "dark " * 200}]},
        {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "dark"}]},
        {"messages": [named, named, {"role": "assistant", "content": "dark"}]},
        {"question": "is it dark", "shade": "dark " * 200},
    ]
    (files / "bad.jsonl").write_text(
        "\n".join(json.dumps({"side": "train", "image": "0-0.png", **line, "id": f"r{n}"}) for n, line in enumerate(lines))
    )
    code, out, err = cli("check", files / "recipe.yaml", "--set", f"data.source={files}/bad.jsonl", "--json")
    assert code == 0, err
    for number, why in enumerate(
        ("says nothing", "places, the decoder has 96", "names 0 x image", "names 2 x image", "places, the decoder has 96")
    ):
        assert why in out and f"r{48 + number}" in out
