"""No dead fields: every field of a recipe is changed, and something a user can see must change with it.

Fields are found by walking the settings classes, so a new field without a value to try fails here until it has one,
and a field that nothing reads fails because the run stays the same.
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import tempfile
import types
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
import pytest
import transformers
import yaml
from PIL import Image
from pydantic import BaseModel
from tests.run.bases import noise, write_bases, write_csv
from tests.run.seen import Seen, changed

from triptych.base.settings import override
from triptych.contract.pretrained import Lora
from triptych.contract.tasks import Classify, Contrast, Ctc, Generate, Ground, MultiLabel, Prefer, Regress
from triptych.data.settings import (
    AddedSettings,
    BalanceSettings,
    ColumnSettings,
    DataSettings,
    EachSettings,
    IdJoin,
    SourceSettings,
    SplitSettings,
    TimeJoin,
    WindowSettings,
)
from triptych.modalities import rooms
from triptych.modalities.text import decoders
from triptych.model import settings as fusion_words
from triptych.run import approach
from triptych.run.fit import fit
from triptych.run.recipe import Recipe, Report, Stage, Training, read
from triptych.run.settings import Forgetting, Spread, Track

BASE = """
name: fields
data: {source: table.csv, split: {column: side, validation: 0.25}}
inputs:
  image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4], width: 8}}
  audio: {prepare: {rate: 8000, bins: 16}, encoder: {kind: cnn, widths: [4], width: 8}}
  text: {prepare: {vocabulary: 300}, encoder: {kind: gru, width: 8, depth: 1}}
tasks:
  match: {kind: contrast, between: [image, text], width: 8}
  label: {kind: classify, target: label}
  tags: {kind: multilabel, target: tags}
  number: {kind: regress, target: number}
fusion: {kind: concat, width: 8}
stages: [{train: [all], epochs: 2, lr: 1.0e-2}]
training: {batch_size: 10, threads: 1}
report: {rows: 2}
"""
ONLY_THERE = {  # decoding films takes longer than all else: only their own fields are tried on them
    "video": ["inputs.video={prepare: {rate: 4, frames: 3, size: 16}, encoder: {kind: gru, widths: [4], width: 8, depth: 1}}"],
}
HASHED = ["data.split.column=null"]
SMALL = {  # smaller than the defaults, so that the walk takes a minute
    "vit": ["width=12", "depth=2", "heads=2", "patch=8"],
    "transformer": ["width=12", "depth=2", "heads=2"],
    "mobilenet": ["multiplier=0.1", "width=8"],
    "video transformer": ["widths=[4]", "width=12", "depth=2", "heads=2"],
    "video gru": ["widths=[4]", "width=8"],
    "text pretrained": ["name=./bert", "pool=mean"],
    "image pretrained": ["name=./vit", "pool=mean"],
    "audio pretrained": ["name=./ast", "pool=mean"],
}
HEARD = ["inputs.audio.prepare={}"]
# What a room's own preparation needs to be told goes, where a pretrained encoder brings its own.
INSTEAD = {"text pretrained": ["inputs.text.prepare={}"], "image pretrained": ["inputs.image.prepare={}"], "audio pretrained": HEARD}

MIXED = ["data.source=[{name: a, source: table.csv}, {name: b, source: table2.csv}]"]
TEXT_ALONE = [
    "fusion={kind: single}",
    "inputs={text: {prepare: {vocabulary: 300}, encoder: {kind: gru, width: 8, depth: 1}}}",
    "tasks={label: {kind: classify, target: label}}",
]

MIXABLE = [
    "fusion={kind: single}",
    "inputs={image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4], width: 8}}}",
    "tasks={label: {kind: classify, target: label}}",
]
# Windows of a column that is no input: what they do to the rows is seen in counts and findings.
WINDOWS = ["data.windows={column: sound2, seconds: 0.1}"]
EACH = ["data.each={column: parts}"]
BY_ID = ["data.max_rejected=0.9", "data.join=[{source: notes.csv, on: {id: row}}]"]
BY_TIME = ["data.max_rejected=0.9", *WINDOWS, "data.join=[{source: said.csv, by: time, on: {speaker: who}, text: [said]}]"]

# Pieces of sounds; or, beside the inputs, a column that is a target.
PIECES = ["inputs.audio.column=piece", "data.columns={piece: {column: audio, start: begins, end: ends}}"]
TARGET = ["inputs.audio.column=null"]

BERT = ["inputs.text.prepare={}", "inputs.text.encoder={kind: pretrained, name: ./bert, pool: mean}"]
ADDED = [*BERT, "inputs.text.encoder.lora={rank: 2}", "stages.0.train=[text.lora, fusion, label, tags, number, match]"]

# A second sound, so that it must be said which is heard; the answer changes case, and its letters come in few frames.
HEARS = [
    "inputs={audio: {prepare: {rate: 8000, bins: 16, hop_ms: 4}, encoder: {kind: cnn, widths: [4], width: 8}}, "
    "again: {modality: audio, column: sound2, prepare: {rate: 8000, bins: 16, hop_ms: 4}, encoder: {kind: cnn, widths: [4], width: 8}}}",
    "tasks={heard: {kind: ctc, target: shouted, input: audio}}",
]
# Answers in writing, of a model that learns a little: an untouched one says the same whatever it is asked.
DECODER = "decoder={kind: small, layers: 2, width: 16, heads: 2, context: 64, tokenizer: word, vocabulary: 60}"
WRITES = [
    DECODER,
    "fusion={kind: prefix, width: 8, shorten: {image: 8}}",
    "inputs={image: {prepare: {size: 16}, encoder: {kind: cnn, widths: [4], width: 8}}}",
    "tasks={say: {kind: generate, target: label, template: '{image} what is it {speaker}', longest: 3}}",
]
WROTE = [*WRITES, "tasks.say.temperature=3"]  # what is drawn is moved by small things
LLAMA = [*WRITES, "decoder={kind: pretrained, name: ./llama}"]
SPEAKS = [*WRITES, "decoder={kind: pretrained, name: ./speaks, language: en}", "tasks.say.template='{image}'"]
PREFERS = [
    *WRITES,
    "decoder={kind: pretrained, name: ./llama, lora: {rank: 2}}",
    "tasks={better: {kind: prefer, chosen: label, rejected: speaker, template: '{image} what is it {text}'}}",
    "stages.0.train=[decoder.lora]",
]

# A box where the text says, in a picture that is not square.
OTHER = "inputs.other={modality: image, column: picture2, prepare: {size: 16}, encoder: {kind: cnn, widths: [4], width: 8}}"
FOUND = [OTHER, "tasks={find: {kind: ground, target: box, input: image, phrase: text, width: 8, depth: 1}}"]

# Where a class stands in the recipe, and what must be set for it to stand there.
PLACES: dict[type[BaseModel], tuple[str, list[str]]] = {
    Recipe: ("", []),
    DataSettings: ("data", []),
    WindowSettings: ("data.windows", WINDOWS),
    EachSettings: ("data.each", EACH),
    IdJoin: ("data.join.0", BY_ID),
    TimeJoin: ("data.join.0", BY_TIME),
    SplitSettings: ("data.split", []),
    ColumnSettings: ("data.columns.piece", PIECES),
    BalanceSettings: ("data.balance", ["data.balance={by: label}"]),
    SourceSettings: ("data.source.0", MIXED),
    AddedSettings: ("data.added", ["data.added={source: table2.csv}"]),
    Stage: ("stages.0", []),
    Training: ("training", []),
    Report: ("report", []),
    Track: ("track", ["track=tensorboard"]),
    Lora: ("inputs.text.encoder.lora", ADDED),
    Contrast: ("tasks.match", []),
    Classify: ("tasks.label", []),
    MultiLabel: ("tasks.tags", []),
    Regress: ("tasks.number", []),
    Ground: ("tasks.find", FOUND),
    Ctc: ("tasks.heard", HEARS),
    Generate: ("tasks.say", WRITES),
    Prefer: ("tasks.better", PREFERS),
    decoders.Small: ("decoder", WRITES),
    decoders.Base: ("decoder", LLAMA),
    fusion_words.Prefix: ("fusion", WRITES),
}
for words in (fusion_words.Concat, fusion_words.Gated, fusion_words.Joint):
    PLACES[words] = ("fusion", [f"fusion.kind={words.model_fields['kind'].default}"])
for words in (fusion_words.Attention, fusion_words.CrossAttention):
    PLACES[words] = ("fusion", [f"fusion.kind={words.model_fields['kind'].default}", "fusion.heads=2"])
PLACES[fusion_words.Single] = (
    "fusion",
    [
        "fusion.kind=single",
        "inputs={audio: {prepare: {bins: 16}, encoder: {kind: cnn, widths: [4], width: 8}}}",
        "tasks={label: {kind: classify, target: label}}",
    ],
)

# Values to try where no other can be guessed: {Class.field: (new value, what must be set besides)}.
TRY: dict[str, tuple[str, list[str]]] = {
    "Recipe.name": ("other", []),
    "Recipe.start": ("started", []),
    "Recipe.about": ("what it is for", []),
    "Track.to": ("[mlflow]", []),
    "Track.project": ("other", []),
    "Track.folder": (tempfile.mkdtemp(), []),
    "DataSettings.source": ("table2.csv", []),
    "DataSettings.limit": ("20", []),
    "DataSettings.empty": ("[low]", ["tasks.label.target=speaker"]),
    "DataSettings.balance": ("{by: label, temperature: 0.5, epoch: 30}", []),
    "BalanceSettings.by": ("modality", []),
    "BalanceSettings.temperature": ("1", ["data.balance={by: speaker}"]),
    "BalanceSettings.epoch": ("12", []),
    "ColumnSettings.column": ("sound2", []),
    "ColumnSettings.template": ("'{speaker} {label}'", [*TARGET, "inputs.text.column=piece", "data.columns={piece: {}}"]),
    "ColumnSettings.type": ("integer", [*TARGET, "tasks.label.target=piece", "data.columns={piece: {column: mixed}}"]),
    "ColumnSettings.separator": ("'e'", [*TARGET, "tasks.tags.target=piece", "data.columns={piece: {column: tags, type: list}}"]),
    "ColumnSettings.start": ("begins2", []),
    "ColumnSettings.end": ("ends2", []),
    "AddedSettings.source": ("table.csv", []),
    "AddedSettings.weight": ("3", []),
    "DataSettings.added": ("{source: table2.csv}", []),
    "SourceSettings.name": ("other", []),
    "SourceSettings.source": ("table2.csv", []),
    "SourceSettings.weight": ("3", []),
    "SourceSettings.columns": ("{number: mixed}", []),
    "DataSettings.max_rejected": ("0", []),
    "WindowSettings.column": ("sound3", []),
    "WindowSettings.overlap": ("0.05", []),
    "WindowSettings.last": ("drop", ["data.max_rejected=0.9"]),
    "WindowSettings.name": ("speaker", HASHED),
    "EachSettings.column": ("parts2", []),
    "EachSettings.into": ("{label: 0}", []),
    "EachSettings.once": ("speaker", []),
    "EachSettings.name": ("speaker", HASHED),
    "IdJoin.source": ("notes2.csv", []),
    "IdJoin.prefix": ("their_", []),
    "IdJoin.on": ("{id: other}", []),
    "TimeJoin.source": ("said2.csv", []),
    "TimeJoin.prefix": ("their_", []),
    "TimeJoin.on": ("{speaker: other}", []),
    "TimeJoin.at": ("second", []),
    "TimeJoin.start": ("start2", []),
    "TimeJoin.end": ("null", []),
    "TimeJoin.match": ("0.9", []),
    "TimeJoin.text": ("[said, more]", []),
    "TimeJoin.separator": ("'|'", ["tasks.tags={kind: multilabel, target: said, separator: '|'}"]),
    "SplitSettings.column": ("null", []),
    "SplitSettings.group": ("speaker", HASHED),
    "SplitSettings.test_where": ("{speaker: [s1]}", HASHED),
    "SplitSettings.validation": ("0.4", HASHED),
    "SplitSettings.test": ("0.4", HASHED),
    "SplitSettings.seed": ("7", HASHED),
    "Stage.train": ("[label, fusion]", []),
    "Stage.lr": ("1.0e-3", []),
    # Steps too small to move a weight, and no running averages: no epoch is better than the first.
    "Stage.patience": ("1", ["stages.0.epochs=4", "stages.0.lr=1.0e-30", *TEXT_ALONE]),
    "Training.select": ("number.mae", []),
    "Training.buckets": ("2", ["training.buckets=0", *TEXT_ALONE]),
    "Training.clip": ("1.0e-3", []),
    "Training.device": ("cpu", []),
    "Training.chunk": ("4", []),
    "Training.check_batch": ("true", []),
    "Training.seed": ("5", []),
    "audio.Prepare.features": ("mfcc", ["inputs.audio.prepare.bins=24"]),
    "audio.Prepare.coefficients": ("8", ["inputs.audio.prepare.features=mfcc", "inputs.audio.prepare.bins=24"]),
    "audio.Prepare.seconds": ("0.1", []),
    "audio.Prepare.trim_silence": ("true", []),
    "audio.Transformer.patch_bins": ("4", []),
    "image.Prepare.channels": ("1", []),
    "text.Prepare.vocabulary": ("280", []),
    "text.Prepare.unicode": ("nfkc", []),  # by default it is nfc
    "text.Prepare.lowercase": ("false", []),
    "text.Prepare.max_tokens": ("4", []),
    "video.Prepare.channels": ("1", []),
    "video.Prepare.rate": ("1.0", []),
    "Training.threads": ("2", []),
    "Contrast.between": ("[image, audio]", []),
    "Contrast.positives": ("label", []),
    "Classify.class_weights": ("{low: 3}", []),
    "MultiLabel.class_weights": ("balanced", []),
    "Ctc.input": ("again", []),
    "Ctc.target": ("speaker", []),
    "Ctc.beam": ("30", []),
    "Classify.target": ("speaker", []),
    "Classify.prompt": ("a {label} one", []),
    "MultiLabel.target": ("label", []),
    "MultiLabel.separator": ("'e'", []),
    "MultiLabel.threshold": ("0.3", []),
    "Regress.target": ("other_number", []),
    "text.Pretrained.name": ("./bert2", []),
    "image.Pretrained.name": ("./vit2", []),
    "audio.Pretrained.name": ("./ast2", []),
    "audio.Prepare.windows": ("3", ["inputs.audio.prepare={seconds: 0.1}", "inputs.audio.encoder={kind: pretrained, name: ./ast}"]),
    "audio.Prepare.fill": ("true", ["inputs.audio.prepare={}", "inputs.audio.encoder={kind: pretrained, name: ./whisper}"]),
}
TRY |= {
    "Generate.target": ("text", []),
    "Generate.template": ("'{image} what'", []),
    "Generate.system": ("be brief", []),
    "Generate.messages": ("talk", ["tasks.say={kind: generate, messages: talk2, longest: 3}"]),
    "Generate.choices": ("[low, high]", []),
    "Generate.longest": ("1", ["tasks.say.target=text"]),
    "Generate.beams": ("4", ["tasks.say.target=text", "tasks.say.longest=8"]),
    "Generate.temperature": ("5", []),
    "Generate.top_p": ("0.1", WROTE),
    "Generate.stop": ("[low, high, what]", ["tasks.say.temperature=5", "tasks.say.longest=8"]),
    "Generate.scores": ("[bleu]", []),
    "Generate.written": ("1", []),
    "Prefer.chosen": ("text", ["tasks.better.template='{image} what is it'"]),
    "Prefer.rejected": ("text", ["tasks.better.template='{image} what is it'"]),
    "Prefer.template": ("'{image} what'", []),
    "Prefer.system": ("be brief", []),
    "Prefer.beta": ("1.0", []),
    "Prefix.projector": ("linear", []),
    "Prefix.shorten": ("{image: 16}", []),
    "Prefix.dropout": ("0.5", ["tasks.label={kind: classify, target: label}"]),
    "Prefix.queries": ("3", ["fusion.projector=resampler"]),
    "Prefix.layers": ("1", ["fusion.projector=resampler"]),
    "Small.tokenizer": ("bpe", ["decoder.vocabulary=300"]),
    "Small.vocabulary": ("16", ["tasks.say.target=text"]),
    "Small.context": ("16", ["tasks.say.template='{image} what is it or what may it be if it is not what it was {speaker} {text}'"]),
    "Small.look_every": ("2", ["fusion={kind: concat, width: 8}"]),
    "Base.look_every": ("2", ["fusion={kind: concat, width: 8}"]),
    "Base.name": ("./llama2", []),
    "Base.file": ("model.gguf", []),
    "Base.language": ("de", SPEAKS),
    "Base.speech": ("translate", SPEAKS),
    "Base.context": ("24", ["tasks.say.template='{image} what is it or what may it be if it is not what it was {speaker} {text}'"]),
}
TRY["Stage.patch_dropout"] = ("0", ["inputs.image.encoder={kind: vit, patch: 4, width: 8, depth: 1, heads: 2, patch_dropout: 0.5}"])
TRY["Stage.decay"] = ("0.1", BERT)
TRY["Lora.dropout"] = ("0.5", [])
TRY["Lora.alpha"] = ("40", [])
TRY["Lora.targets"] = ("[query]", [])
TRY["Training.variants"] = ("1", ["inputs.image.augment=[{crop: {chance: 1}}]", "stages.0.epochs=3"])
TRY["Ground.target"] = ("box2", [])
TRY["Ground.input"] = ("other", [])
TRY["Ground.phrase"] = ("null", [])
TRY["Training.mixup"] = ("1", [*MIXABLE])
for kind in ("Classify", "MultiLabel", "Regress", "Ctc", "Ground"):
    TRY[f"{kind}.hidden"] = ("[4]", [])
for room, column in (("image", "picture2"), ("audio", "sound2"), ("text", "text2"), ("video", "film2")):
    TRY[f"{room}.Input.column"] = (column, [])


def leaves() -> list[Any]:
    """(class, field, place, what to set first) of every field that holds a value, not other settings."""
    found = []
    for kind, (place, sets) in PLACES.items():
        found += [
            (kind, field, place, sets, kind.__name__) for field in kind.model_fields if not settings_in(kind.model_fields[field].annotation)
        ]
    for room in rooms().values():
        base, there = f"inputs.{room.name}", ONLY_THERE.get(room.name, [])
        prepare = room.Input.model_fields["prepare"].annotation
        found += [(room.Input, "column", base, there, f"{room.name}.Input")]
        found += [(prepare, field, f"{base}.prepare", there, f"{room.name}.Prepare") for field in prepare.model_fields]
        for words in get_args(room.Input.model_fields["encoder"].annotation):
            tag = words.model_fields["kind"].default
            sets = [*there, *INSTEAD.get(f"{room.name} {tag}", []), f"{base}.encoder={{kind: {tag}}}"] + [
                f"{base}.encoder.{w}"
                for w in SMALL.get(f"{room.name} {tag}", SMALL.get(tag, ["width=8"]))
                if w.split("=")[0] in words.model_fields
            ]
            found += [
                (words, field, f"{base}.encoder", sets, f"{room.name}.{words.__name__}") for field in words.model_fields if field != "lora"
            ]
    return [pytest.param(*leaf, id=f"{leaf[4]}.{leaf[1]}") for leaf in found]


def settings_in(annotation: Any) -> bool:
    """Whether a field holds other settings, which are walked themselves."""
    if isinstance(annotation, type):
        return issubclass(annotation, BaseModel)
    return any(settings_in(part) for part in get_args(annotation) if not isinstance(part, str))


def another(kind: type[BaseModel], field: str, current: Any) -> Any:
    """Some other legal value of a field."""
    annotation = kind.model_fields[field].annotation
    options = literals(annotation)
    if options:
        return next((option for option in options if option != current), None)
    if isinstance(current, bool):
        return not current
    if isinstance(current, int):
        return current * 2
    if isinstance(current, float):
        return current / 2 if current else 0.5
    if isinstance(current, list | tuple) and current and isinstance(current[0], int):
        return [value + 2 for value in current]
    raise AssertionError(f"{kind.__name__}.{field} needs an entry in TRY: how should {current!r} be changed?")


def literals(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    if get_origin(annotation) in (Union, types.UnionType, Annotated):
        return tuple(value for part in get_args(annotation) for value in literals(part))
    return ()


def all_settings(kind: type[BaseModel]) -> set[type[BaseModel]]:
    """The class and all settings classes that its fields may hold."""
    found = {kind}
    for field in kind.model_fields.values():
        for inner in classes_in(field.annotation):
            found |= all_settings(inner) if inner not in found else set()
    return found


def classes_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not get_args(annotation):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [kind for part in get_args(annotation) if not isinstance(part, str) for kind in classes_in(part)]


def test_no_settings_are_left_out_of_the_walk():
    walked = {leaf.values[0] for leaf in leaves()}
    elsewhere = {
        Spread: "what a search may change: test_search.py, test_tune.py",
        Forgetting: "test_own_space.py",
        **dict.fromkeys((approach.Head, approach.Last, approach.Gradual, approach.Full, approach.Lora), "test_approach.py"),
        **{step.values[1]: "below, without training" for step in step_fields()},
    }
    assert all_settings(Recipe) - walked == set(elsewhere)


@pytest.fixture(scope="module", autouse=True)
def _quickly():
    """Fewer resamples move an interval as well as a thousand do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("triptych.objective.intervals.DRAWS", 40)
        yield


@pytest.fixture(scope="module")
def bench(tiny_table, tmp_path_factory, write_film, write_gguf):
    """What is seen of a recipe; equal recipes are looked at once."""
    folder = tmp_path_factory.mktemp("fields")
    shutil.copytree(tiny_table.parent, folder, dirs_exist_ok=True)
    with (folder / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        film = f"films/{number % 6}.mp4"
        if number < 6:
            write_film(folder / film, frames=8, rate=8, size=(24, 16), levels=lambda k, n=number: noise(n, k))
        row["text"] = (
            row["text"] and f"<i>CAF\xc3\xa9</i>\x07 r\u00e9  \ufb01n {row['text']} www.a.org"
        )  # something for each word of cleaning
        row["video"], row["film2"] = film if number % 4 else "", "films/1.mp4" if number % 4 else ""
        row["other_number"] = str(-(float(row["number"]) ** 2))
        row |= {
            "begins": "0.02",
            "begins2": "0.05",
            "ends": "0.12",
            "ends2": "0.09",
            "piece": row["text"][:9],
            "mixed": "12121?"[number % 6],
        }
        row["shouted"] = f"{row['label'].upper()}, {row['speaker']}!"
        says = [{"role": "user", "content": f"<image> {row['speaker']}" if row["image"] else "well"}]
        row["talk"], row["talk2"] = (json.dumps([*says, {"role": "assistant", "content": row[c]}]) for c in ("label", "speaker"))
        row["box"], row["box2"] = f"[0.1, 0.{number % 5 + 1}, 0.3, 0.25]", f"[0.{number % 5 + 1}, 0.2, 0.3, 0.25]"
        row["parts"], row["parts2"] = f'[["a{number % 3}", "x"], ["b"]]', f'[["a{number % 7}"]]'
        row["second"], row["sound3"] = str(float(row["number"]) / 500), "sounds/2.wav"
        row["picture2"], row["sound2"], row["text2"] = row["image"] and "pictures/1.png", row["audio"] and "sounds/1.wav", row["text"][:6]
    for wide in range(1, 40, 4):  # not square, so that it matters how a picture is made square
        Image.linear_gradient("L").resize((24, 12)).rotate(wide).save(folder / f"pictures/{wide}.png")
    write_csv(folder / "table.csv", rows)
    write_csv(folder / "table2.csv", rows[:30])
    notes = [{"row": f"row-{n}", "other": f"row-{n + 3}", "note": f"n{n}"} for n in (*range(1, 35), 1, 2, 99)]
    write_csv(folder / "notes.csv", notes)
    write_csv(folder / "notes2.csv", notes[:20])
    for number, suffix in enumerate(["", "2"]):
        write_bases(folder, suffix, number)
    write_gguf(transformers.AutoModelForCausalLM.from_pretrained(folder / "llama2"), list("abcdefghij"), folder / "llama/model.gguf")
    times = [
        {"who": f"s{n % 5}", "other": f"s{n % 7}", "start": n / 100, "start2": n / 50, "end": n / 100 + 0.08, "said": word, "more": word}
        for n, word in enumerate(["one", "two", "three"] * 6)
    ]
    write_csv(folder / "said.csv", times)
    write_csv(folder / "said2.csv", times[:12])
    seen: dict[str, Seen] = {}
    tree = yaml.safe_load(BASE)

    def run(sets: list[str]) -> Seen:
        told = override(tree, sets)
        key = json.dumps(told, sort_keys=True)
        if key not in seen:
            path = folder / f"recipe-{len(seen)}.yaml"
            path.write_text(yaml.safe_dump(told))
            seen[key] = Seen(read(str(path)), folder / f"run-{len(seen)}")
        return seen[key]

    (folder / "start.yaml").write_text(yaml.safe_dump(tree))
    fit(read(str(folder / "start.yaml")), folder / "started", quiet=True)
    run.tree = tree
    return run


def test_the_same_recipe_gives_the_same_run(bench):
    """Without this, every field would seem alive."""
    assert changed(bench([]), bench(["data.max_rejected=0.21"])) is None


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "field", "place", "sets", "name"), leaves())
def test_a_field_changes_what_a_user_sees(kind, field, place, sets, name, bench):
    if field in ("kind", "modality", "by"):
        pytest.skip("the tag that chose this class; choosing another is tested by the other classes")
    path = f"{place}.{field}" if place else field
    if (name, field) in {("DataSettings", "max_rejected"), ("TimeJoin", "unused")}:
        pytest.skip("decides whether a run happens at all: see tests/data")
    if (name, field) in {("Training", "remember"), ("Contrast", "space")}:
        pytest.skip("computing less must change nothing, and a space must be there: see test_memory.py, test_own_space.py")
    if kind is decoders.Base and field in ("file", "language", "speech"):
        pytest.skip("a file in another form, and words for Whisper alone: see test_decoders.py")
    if field == "revision":
        pytest.skip("a folder has none: see tests/base/test_hub.py")
    if field == "trust_remote_code":
        pytest.skip("without code in the base's folder there is nothing to trust: see test_own_code.py")
    if (name, field) in {("Training", "devices"), ("Training", "strategy")}:
        pytest.skip("more processes than one: see test_shared.py")
    trial = TRY.get(f"{name}.{field}")
    if trial is None:
        settings = read_back(bench.tree, sets, place)
        value = another(kind, field, settings.get(field, kind.model_fields[field].get_default(call_default_factory=True)))
        trial = (yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n..."), [])
    value, besides = trial
    assert changed(bench([*sets, *besides]), bench([*sets, *besides, f"{path}={value}"])), f"{path}={value} changed nothing"


def read_back(tree: dict[str, Any], sets: list[str], place: str) -> dict[str, Any]:
    node: Any = override(tree, sets)
    for step in filter(None, place.split(".")):
        node = node[int(step)] if isinstance(node, list) else node.get(step, {})
    return node if isinstance(node, dict) else {}


# Steps of augment: what they do is seen in the variants of a value, without training.
STRENGTHS = {
    **{"semitones": 5, "factor": 2, "snr": 0, "db": -20, "area": 0.3, "degrees": 40, "shape": 1},
    **{"brightness": 0.9, "contrast": 0.9, "saturation": 1, "time": 0.5, "bands": 0.5, "masks": 1, "share": 0.9, "chance": 0.3},
    **{"prompt": "aa bb aa bb aa bb aa bb {text} aa", "temperature": 0.1, "candidates": 1},
}


def step_fields() -> list[Any]:
    found = []
    for room in rooms().values():
        for words in get_args(get_args(get_args(room.Input.model_fields["augment"].annotation)[0])[0]):
            found += [pytest.param(room, words, field, id=f"{room.name}.{words.__name__}.{field}") for field in words.model_fields]
    return found


@pytest.fixture(scope="module")
def step_values(tmp_path_factory, text_model):
    """A value of each room, and files that steps read."""
    folder = tmp_path_factory.mktemp("steps")
    for seed, name in enumerate(["model", "other model"]):
        text_model(folder / name, ["aa", "bb", "cc", "dd", "ee"], seed)
    (folder / "file").write_text("tone, note\nwhistle, pipe\n")
    sound = np.sin(np.arange(4000) / 5) * np.linspace(0.1, 0.5, 4000)
    picture = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    film = np.random.default_rng(1).integers(0, 256, (4, 16, 24, 3)).astype(np.uint8)
    sources = {"audio": (sound, 8000), "image": picture, "text": "a big dark tone and a quick whistle", "video": (film, 4)}
    values = {name: rooms()[name].read(source) for name, source in sources.items()}

    def shown(room: Any, step: str) -> list[str]:
        """The variants of six rows, each by its digest."""
        settings = room.Input(modality=room.name, augment=[json.loads(step)])
        augmenter, preparation = room.augmenter(settings, frozenset()), room.preparation(settings)
        preparation.fit([values[room.name]])
        draws = [[np.random.default_rng([seed, what]) for seed in range(6)] for what in (0, 1)]
        items = augmenter.items(preparation.prepare(augmenter.values([values[room.name]] * 6, draws[0])), draws[1])
        return [hashlib.sha256(repr({name: tensor.tolist() for name, tensor in item.items()}).encode()).hexdigest() for item in items]

    @cache
    def shown_twice(room: Any, step: str) -> list[str]:
        """What a step is compared with, once for all its fields: the same each time."""
        first = shown(room, step)
        assert first == shown(room, step)
        return first

    return folder, shown, shown_twice


@pytest.mark.parametrize(("room", "words", "field"), step_fields())
def test_a_field_of_a_step_changes_the_variants(room, words, field, step_values):
    if field == "kind":
        pytest.skip("the tag that chose this class")
    folder, shown, shown_twice = step_values
    tag = words.model_fields["kind"].default
    base = {"kind": tag, "chance": 1, **({"model": str(folder / "model"), "candidates": 2} if tag == "paraphrase" else {})}
    current = words(**base)
    tried = {**STRENGTHS, "file": str(folder / "file"), "model": str(folder / "other model")}
    value = tried[field] if field in tried else another(words, field, getattr(current, field))

    assert shown(room, json.dumps({**base, field: value})) != shown_twice(room, json.dumps(base)), f"{field}={value} changed nothing"
