from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.base.settings import spelled_out
from triptych.modalities import rooms
from triptych.run.recipe import described, find, read, schema, shipped

GOOD = """
data: {source: table.csv}
inputs:
  image: {encoder: cnn}
  text: {}
tasks:
  match: {kind: contrast, between: [image, text]}
  label: {kind: classify, target: label}
stages:
  - {train: [all], epochs: 2, lr: 1e-3}
"""


@pytest.fixture
def write(tmp_path):
    def written(text: str | bytes = GOOD, name: str = "mine.yaml") -> str:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return written


def refused(name: str, changes=()) -> str:
    with pytest.raises(InputError) as caught:
        read(name, changes)
    return str(caught.value) + "\n"


def test_a_good_recipe(write):
    recipe = read(write())
    assert recipe.name == "mine" and recipe.fusion.kind == "joint" and recipe.selected() == "match.recall@1"
    assert recipe.stages[0].lr == 1e-3
    assert Path(recipe.data.source) == Path(write()).parent.resolve() / "table.csv"
    assert recipe.columns() == {"image": "image", "text": "text"} and recipe.parts() == ["image", "text", "fusion", "match", "label"]


CHANGED = [
    ("inputs.image.encoder=vitt", ["unknown encoder 'vitt'", "where: mine.yaml: inputs.image.encoder\n", "did you mean 'vit'"]),
    ("inputs.image.encoder={kind: vitt, width: 8}", ["unknown kind 'vitt'", "inputs.image.encoder.kind"]),
    ("inputs.image.encoder.width=wide", ["width", "where: mine.yaml: inputs.image.encoder.width"]),
    ("inputs.image.modality=imag", ["unknown modality 'imag'", "inputs.image.modality", "did you mean 'image'"]),
    ("inputs.photo.encoder=cnn", ["input 'photo' does not say its modality", "inputs.photo", "known: audio, image, text", "modality:"]),
    ("inputs.image.prepare.sise=3", ["unknown field 'sise'", "inputs.image.prepare.sise\n", "did you mean 'size'"]),
    ("inputs=image", ["inputs must be a mapping of fields, not 'image'"]),
    ("inputs={}", ["inputs must have at least 1 entry"]),
    ("inputs.a b=3", ["the name 'a b' is not a plain word", "inputs.a b"]),
    ("fusion=gatted", ["unknown fusion 'gatted'", "where: mine.yaml: fusion\n", "did you mean 'gated'"]),
    ("fusion=single", ["fusion 'single' takes one input and inputs has 2: image, text", "fusion=joint"]),
    ("fusion={kind: attention, width: 10, heads: 4}", ["heads=4 does not divide width=10", "where: mine.yaml: fusion\n"]),
    ("tasks.label.kind=clasify", ["unknown kind 'clasify'", "tasks.label.kind", "did you mean 'classify'"]),
    (
        "tasks.label={target: x}",
        ["tasks.label does not say its kind", "known: classify, contrast, ctc, generate, ground, multilabel, prefer"],
    ),
    ("tasks.label={kind: classify}", ["the field 'target' is missing", "where: mine.yaml: tasks.label.target"]),
    ("tasks.match.between=[image, txt]", ["unknown input of tasks.match.between 'txt'", "did you mean 'text'"]),
    ("tasks.match.between=[image, image]", ["between names an input twice: image, image"]),
    ("tasks.match.between=[image]", ["between must have at least 2 entries"]),
    ("tasks.text={kind: classify, target: x}", ["the name 'text' stands for two things", "rename it: text_task"]),
    ("tasks.all={kind: classify, target: x}", ["the name 'all' stands for two things"]),
    ("tasks.a b={kind: classify, target: x}", ["the name 'a b' is not a plain word"]),
    ("stages.0.lr=-1", ["lr must be greater than 0, not -1", "where: mine.yaml: stages.0.lr\n"]),
    ("stages.0.lr=fast", ["lr must be a valid number", "not 'fast'"]),
    ("stages.0.lr={all: 1}", ["stages.0.lr names 'all', which stages.0.train does not train", "known: fusion, image"]),
    ("stages.0.lr={image: 1e-3}", ["stages.0.lr has no rate for fusion, label, match, text"]),
    ("stages.0.train=[imag]", ["unknown part in stages.0.train 'imag'", "did you mean 'image'"]),
    ("stages.0.train=[imag.last(2)]", ["unknown part in stages.0.train 'imag'", "did you mean 'image'"]),
    ("stages.0.train=[all.last(2)]", ["last(N) and lora are of one part, not of all"]),
    ("stages.0.train=[image.last(0)]", ["unknown part in stages.0.train 'image.last(0)'"]),
    ("stages.0.train=[]", ["train must have at least 1 entry"]),
    ("stages.0.train=all", ["train must be a valid list"]),
    ("stages.0.epoch=3", ["unknown field 'epoch'", "did you mean 'epochs'"]),
    ("stages=[]", ["stages must have at least 1 entry"]),
    ("stages=3", ["stages must be a valid list"]),
    ("training.select=match.recall", ["unknown score in training.select 'match.recall'", "match.recall@1"]),
    (
        "training.select=label.recall@1",
        ["recall@1 is no score of 'label', a classify task; contrast tasks have it", "known: label.accuracy, label"],
    ),
    ("training.select=label.acuracy", ["unknown score in training.select 'label.acuracy'", "did you mean 'label.accuracy'"]),
    ("training.select=nobody.r2", ["unknown score in training.select 'nobody.r2'"]),
    ("training.select=r2", ["no task of this recipe has the score 'r2'; regress tasks do", "known: match.recall@1"]),
    ("training.select=macro_f2", ["unknown score in training.select 'macro_f2'"]),
    ("training.batch_size=0", ["batch_size must be greater than or equal to 1, not 0"]),
    ("training.seed=99999999999", ["seed must be less than"]),
    ("training.device=gpu", ["unknown device 'gpu'", "known: auto, cpu, cuda, mps"]),
    ("training=3", ["training must be a mapping"]),
    ("data.source=", ["source must be a valid string, not empty"]),
    ("data.source=sample:digit", ["unknown sample 'digit'", "data.source", "did you mean 'digits'"]),
    ("data.split={validation: 0.5, test: 0.5}", ["leave nothing to train on"]),
    ("data.split={column: a, test_where: {b: [1]}}", ["split.column and split.test_where both say which rows are the test"]),
    ("data.split.test_where={speaker: anna}", ["speaker must be a valid list", "data.split.test_where.speaker"]),
    ("name=a b", ["the name 'a b' is not a plain word"]),
    ("inputs.image.encoder={kind: vit, patch_dropout: 1}", ["patch_dropout must be less than 1", "inputs.image.encoder.patch_dropout"]),
    ("inputs.image.encoder={kind: cnn, patch_dropout: 0.5}", ["unknown field 'patch_dropout'"]),
    ("stages.0.patch_dropout=0", ["stages.0.patch_dropout", "no input has patch_dropout", "try: "]),
    ("taks={}", ["unknown field 'taks'", "did you mean 'tasks'"]),
]


@pytest.mark.parametrize(("change", "parts"), CHANGED, ids=[change for change, _ in CHANGED])
def test_a_wrong_word_is_answered(write, change, parts):
    text = refused(write(), [change])
    for part in parts:
        assert part in text, text
    assert "mine.yaml" in text


VIT = "inputs.image.encoder={kind: vit, patch_dropout: 0.5}"
AUDIO = "inputs.audio={encoder: {kind: transformer, patch_dropout: 0.5}}"


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ([VIT, "tasks.find={kind: ground, target: box, input: image, phrase: text}"], ["patches of 'image'", "task 'find'"]),
        ([AUDIO, "tasks.heard={kind: ctc, target: said, input: audio}"], ["patches of 'audio'", "task 'heard'"]),
        (
            [VIT, "decoder=small", "fusion=prefix", "tasks.say={kind: generate, target: said, template: '{image} what'}"],
            ["patches of 'image'", "'prefix'"],
        ),
    ],
)
def test_patches_are_left_out_only_where_none_needs_its_place(write, changes, parts):
    text = refused(write(), changes)
    assert all(part in text for part in [*parts, "encoder.patch_dropout", "remove patch_dropout"]), text
    read(write(), [change.replace("patch_dropout: 0.5", "patch_dropout: 0") for change in changes])


def test_a_score_may_be_named_alone_where_one_task_has_it(write):
    assert read(write(), ["training.select=macro_f1"]).selected() == "label.macro_f1"
    assert read(write(), ["training.select=recall@5"]).selected() == "match.recall@5"
    assert read(write(), ["training.select=loss"]).selected() == "loss"
    said = refused(write(), ["training.select=macro_f1", "tasks.many={kind: multilabel, target: tags}"])
    assert "'macro_f1' could be label.macro_f1 or many.macro_f1" in said and "select: label.macro_f1" in said


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (GOOD + "tasks: {}\n", ["the name 'tasks' is used twice", "mine.yaml, line 11"]),
        (GOOD.replace("  label:", "  match:"), ["the name 'match' is used twice", "mine.yaml, line 8", "rename one of the two"]),
        ("data: {source: [", ["this is not YAML", "mine.yaml, line"]),
        ("data:\n\t- x", ["this is not YAML", "mine.yaml, line 2"]),
        ("- a\n- b\n", ["a recipe is a mapping with data, inputs, tasks and stages", "triptych init"]),
        ("", ["a recipe is a mapping"]),
        ("just words", ["a recipe is a mapping"]),
        ("name: x\n", ["the field 'data' is missing", "(3 more after this one)"]),
        (b"\xff\xfe\x00\x01", ["this is not YAML"]),
        (b"\x89PNG\r\n\x1a\n\0", ["this is not YAML"]),
        ("a: 2024-13-45", ["this is not YAML"]),
        ("{[a]: 1}", ["this is not YAML"]),
        ("a: !!python/object/apply:os.system [ls]", ["this is not YAML"]),
        ("[" * 3000, ["this is not YAML"]),
    ],
)
def test_a_file_that_is_no_recipe(write, text, parts):
    said = refused(write(text))
    for part in parts:
        assert part in said, said


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("digit", ["unknown recipe 'digit'", "did you mean 'digits'"]),
        ("nowhere/mine.yaml", ["there is no recipe file 'nowhere/mine.yaml'", "triptych init"]),
        ("mine.yml", ["there is no recipe file 'mine.yml'"]),
        ("", ["recipe"]),
    ],
)
def test_a_recipe_that_is_not_there(name, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = refused(name)
    assert all(part in said for part in parts), said


def test_a_folder_is_not_a_recipe_but_init_makes_one(tmp_path):
    said = refused(str(tmp_path))
    assert "is a folder, not a recipe" in said and f"triptych init {tmp_path}" in said


def test_the_lone_input_needs_no_fusion(write):
    text = GOOD.replace("  text: {}\n", "").replace("  match: {kind: contrast, between: [image, text]}\n", "")
    assert read(write(text)).fusion.kind == "single"


def test_words_of_yaml_that_people_mean(write):
    recipe = read(write(GOOD + "training: {clip: 1e0}\n"), ["data.split.test_where={speaker: [no, 1, true]}", "stages.0.lr=3e-4"])
    assert recipe.data.split.test_where == {"speaker": ["no", 1, True]}
    assert recipe.training.clip == 1.0 and recipe.stages[0].lr == 3e-4


def test_an_input_may_be_called_yes_and_left_empty(write):
    recipe = read(write(GOOD.replace("text: {}", "text:\n  yes: {modality: text, column: text}")))
    assert list(recipe.inputs) == ["image", "text", "yes"]


@pytest.mark.parametrize("name", ["my recipe.yaml", "ümlaut.yaml", "a.b.yaml"])
def test_a_run_of_any_file_name_can_be_read_again(write, name):
    recipe = read(write(name=name))
    again = yaml.safe_dump(spelled_out(recipe), sort_keys=False, allow_unicode=True)
    assert read(write(again, "recipe.yaml")) == recipe


def test_changes_are_made_before_checking(write):
    recipe = read(write(), ["inputs.image.encoder.width=32", "fusion=concat", "fusion.width=32"])
    assert recipe.inputs["image"].encoder.kind == "cnn" and recipe.inputs["image"].encoder.width == 32
    assert (recipe.fusion.kind, recipe.fusion.width) == ("concat", 32)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from([change.split("=")[0] for change, _ in CHANGED]),
    st.text(max_size=8) | st.integers().map(str) | st.sampled_from(["{}", "[]", "[{}]", "{kind: 1}"]),
)
def test_any_value_anywhere_is_read_or_refused(write, path, value):
    try:
        read(write(), [f"{path}={value}"])
    except InputError as problem:
        assert problem.what and "function-" not in str(problem) and "Input should" not in str(problem)


HEAVY = "{'torch', 'numpy', 'lightning', 'PIL', 'soundfile', 'transformers', 'pyarrow'} & set(sys.modules)"


def test_nothing_heavy_is_imported_to_check_a_recipe(write):
    script = f"""
import sys
import triptych
from triptych.base.errors import InputError
from triptych.run.recipe import described, read, schema
read("digits"); read({write()!r}); described(); schema()
for change in ("inputs.image.encoder=vitt", "stages.0.lr=-1", "fusion=none"):
    try:
        read({write()!r}, [change])
    except InputError as problem:
        assert "mine.yaml" in str(problem)
    else:
        raise AssertionError(change)
print({HEAVY})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stdout + done.stderr


def test_shipped_recipes_are_whole_and_described():
    assert "digits" in shipped() and find("digits") == shipped()["digits"]
    for about in described():
        assert about["about"] and about["takes"] and about["needs"]


def resolve(node, root):
    while "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def fits(value, node, root) -> bool:
    """The part of JSON Schema that a recipe's schema uses."""
    node = resolve(node, root)
    if "anyOf" in node:
        return any(fits(value, member, root) for member in node["anyOf"])
    if "const" in node or "enum" in node:
        return value in node.get("enum", [node.get("const")])
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    if "type" in node and not isinstance(value, kinds[node["type"]]):
        return False
    if isinstance(value, str) and not re.search(node.get("pattern", ""), value):
        return False
    if isinstance(value, dict):
        known, rest = node.get("properties", {}), node.get("additionalProperties", True)
        rest = next(iter(node.get("patternProperties", {}).values()), rest)
        inside = [known.get(name, rest) for name in value]
        whole = all(part is True or (part is not False and fits(v, part, root)) for v, part in zip(value.values(), inside, strict=True))
        return whole and set(node.get("required", [])) <= set(value)
    return all(fits(item, node.get("items", {}), root) for item in value) if isinstance(value, list) else True


def test_the_schema_knows_every_word():
    described = schema()
    text = json.dumps(described)
    assert described["$schema"].endswith("2020-12/schema") and described["title"] == "triptych recipe"
    for name in [*rooms(), "vit", "gru", "mobilenet", "cross_attention", "multilabel", "contrast", "test_where"]:
        assert f'"{name}"' in text
    assert "discriminator" not in text


def test_the_schema_accepts_what_the_program_does():
    """An editor must not underline a shipped recipe, with its short words and inputs called like their modality."""
    described = schema()
    for path in shipped().values():
        tree = yaml.safe_load(path.read_text())
        assert fits(tree, described, described)
        for wrong in ({"fusion": "gatted"}, {"inputs": {"image": {"encoder": "vitt"}}}, {"taks": {}}, {"stages": 3}):
            assert not fits({**tree, **wrong}, described, described), wrong
