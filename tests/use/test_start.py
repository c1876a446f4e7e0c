from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from triptych.base.errors import InputError
from triptych.data.sources.tabled import read_source
from triptych.modalities import rooms
from triptych.modalities.text.recognise import HINTS
from triptych.run.recipe import Recipe, read
from triptych.use.start import propose


@pytest.fixture(scope="module")
def media(tiny_table) -> Path:
    return tiny_table.parent


def proposed(source: Path, name: str = "mine.yaml") -> tuple[Recipe, str]:
    """The recipe as it is written, read by the program itself; every column it names is there."""
    out = source.parent / name
    text = propose(source, out)
    out.write_text(text, encoding="utf-8")
    recipe = read(str(out))
    table = read_source(Path(recipe.data.source), rooms())
    for column in recipe.columns().values():
        table.require(column, "an input")
    return recipe, text


def written(folder: Path, rows: list[dict], delimiter: str = ",", name: str = "t.csv") -> Path:
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def classes(folder: Path, source: Path, kind: str) -> Path:
    for number, path in enumerate(sorted(source.glob(f"*.{kind}"))[:12]):
        target = folder / "data" / ("calm", "loud")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    return folder / "data"


PROSE = ("a red bird on a roof", "two dogs in the snow", "the sea, early in the morning", "an old man with a hat; smiling")


def prose(index: int) -> str:
    return f"{PROSE[index % 4]} {index}"


@pytest.mark.parametrize(("sub", "kind", "modality"), [("sounds", "wav", "audio"), ("pictures", "png", "image")])
def test_a_folder_of_class_folders(tmp_path, media, sub, kind, modality):
    recipe, text = proposed(classes(tmp_path, media / sub, kind))
    assert {name: words.modality for name, words in recipe.inputs.items()} == {modality: modality}
    assert recipe.tasks["label"].kind == "classify" and recipe.tasks["label"].target == "label" and len(recipe.tasks) == 1
    assert "# 2 classes: calm, loud" in text and text.startswith("# triptych train mine.yaml\n# Written by")
    assert recipe.fusion.kind == "single" and recipe.data.split.column is None


def test_a_readme_among_sounds_is_no_input(tmp_path, media):
    folder = classes(tmp_path, media / "sounds", "wav")
    for copy in range(3):
        for path in sorted(folder.rglob("*.wav")):
            os.link(path, path.with_name(f"{copy}-{path.name}")) if "-" not in path.name else None
    (folder / "README.md").write_text("about these sounds")
    assert list(proposed(folder)[0].inputs) == ["audio"]


def test_split_folders_become_the_split(tmp_path, media):
    for number, path in enumerate(sorted((media / "pictures").glob("*.png"))[:12]):
        target = tmp_path / "data" / ("train", "test")[number % 3 == 0] / ("x", "y")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    assert proposed(tmp_path / "data")[0].data.split.column == "split"


def test_pictures_and_captions_alone_are_matched(tmp_path, media):
    rows = [{"picture": f"{media}/pictures/{i}.png", "caption": prose(i)} for i in range(12)]
    recipe, text = proposed(written(tmp_path, rows))
    assert {name: words.modality for name, words in recipe.inputs.items()} == {"picture": "image", "caption": "text"}
    assert [(name, task.kind) for name, task in recipe.tasks.items()] == [("match", "contrast")]
    assert recipe.tasks["match"].between == ["picture", "caption"] and recipe.tasks["match"].positives is None
    assert "brings the inputs of a row together" in text and recipe.training.drop_inputs > 0


def test_pictures_of_several_kinds_are_pictures(tmp_path, media):
    kinds = ["png", "jpg", "jpeg", "webp"]
    rows = [{"file": f"{i}.{kinds[i % 4]}", "label": "ab"[i % 2]} for i in range(12)]
    assert proposed(written(tmp_path, rows))[0].inputs["file"].modality == "image"


def test_everything_at_once(tiny_table, tmp_path):
    recipe, _ = proposed(tiny_table, "everything.yaml")
    assert {name: words.modality for name, words in recipe.inputs.items()} == {"image": "image", "audio": "audio", "text": "text"}
    assert recipe.data.split.column == "side" and recipe.tasks["label"].kind == "classify" and recipe.tasks["match"].positives == "label"


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (lambda i: f"{i * 1.5}", "regress"),
        (lambda i: str(i * 7), "regress"),
        (lambda i: str(i % 4), "classify"),
        (lambda i: ("sad|slow", "happy", "happy|fast", "")[i % 4], "multilabel"),
        (lambda i: ("good", "bad")[i % 2], "classify"),
    ],
)
def test_what_stands_in_the_target_says_how_it_is_asked(tmp_path, cell, kind):
    recipe, _ = proposed(written(tmp_path, [{"text": prose(i), "score": cell(i)} for i in range(30)]))
    assert recipe.tasks["score"].kind == kind


def test_a_column_called_label_is_learnt_before_others(tmp_path):
    rows = [{"product_id": 1000 + i, "price": i * 1.5, "review": prose(i), "sentiment": "ab"[i % 2]} for i in range(30)]
    assert list(proposed(written(tmp_path, rows))[0].tasks) == ["sentiment"]
    assert list(proposed(written(tmp_path, [{k: row[k] for k in ("product_id", "price", "review")} for row in rows]))[0].tasks) == ["price"]


@pytest.mark.parametrize("name", ["speaker", "Speaker_ID", "songId", "customers"])
def test_a_group_stays_together(tmp_path, name):
    rows = [{"text": prose(i), "label": "ab"[i % 2], name: f"s{i % 6}"} for i in range(30)]
    recipe, text = proposed(written(tmp_path, rows))
    assert recipe.data.split.group == name and f"rows of one {name} stay on one side" in text


def test_prose_about_a_customer_is_no_group(tmp_path):
    rows = [{"customer_review": prose(i % 29), "label": "ab"[i % 2]} for i in range(30)]
    recipe, _ = proposed(written(tmp_path, rows))
    assert recipe.data.split.group is None and list(recipe.inputs) == ["customer_review"]


def test_two_speakers_are_too_few_to_be_kept_apart(tmp_path):
    rows = [{"text": prose(i), "label": "ab"[i % 2], "speaker": f"s{i % 2}"} for i in range(30)]
    assert proposed(written(tmp_path, rows))[0].data.split.group is None


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_other_delimiters(tmp_path, mark):
    rows = [{"text": prose(i), "label": "ab"[i % 2]} for i in range(12)]
    recipe, _ = proposed(written(tmp_path, rows, mark))
    assert list(recipe.inputs) == ["text"] and list(recipe.tasks) == ["label"]


NAMES = [
    *(("My Text", "Final Label"), ("текст", "метка"), ("文", "字"), ("text\nlong", "a: b # c"), ("all", "fusion"), ("match", "label")),
    *(("null", "true"), ("text", "match"), ("a b", "a_b"), ("123", "4"), ("text 😀", 'la"bel'), ("te'xt", "\\n"), ("1e3", "2E4")),
    *(("text\x85x", "l\x7fx"), ("yes", "no"), ("{x}", "[y]")),
]


@pytest.mark.parametrize(("first", "second"), NAMES)
def test_columns_of_any_name(tmp_path, first, second):
    rows = [{first: prose(i), second: "ab"[i % 2], "other text": prose(i + 100)} for i in range(12)]
    recipe, _ = proposed(written(tmp_path, rows))
    assert recipe.columns()[next(iter(recipe.inputs))] == first
    assert [task.target for task in recipe.tasks.values() if task.kind == "classify"] == [second]
    assert len(recipe.inputs) == 2 and len(recipe.tasks) == 2


LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
NAME = st.text(LETTERS, min_size=1, max_size=6).map(str.strip).filter(bool)
COLUMN = NAME.filter(lambda name: not any(hint in name.lower() for hint in HINTS))  # such a one is an input, whatever it holds


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(names=st.lists(COLUMN, min_size=2, max_size=3, unique_by=str.lower))
def test_whatever_the_columns_are_called_the_recipe_can_be_read(tmp_path, names):
    rows = [{name: ("ab"[i % 2] if name == names[-1] else prose(i)) for name in names} for i in range(8)]
    recipe, _ = proposed(written(tmp_path, rows))
    assert set(recipe.columns().values()) == set(names[:-1])


@pytest.mark.parametrize("folder", ["a b", "smile 😀", "co:lon", "ha#sh", 'quo"te', "new\nline", "%41"])
def test_files_in_a_folder_of_any_name(tmp_path, folder):
    (tmp_path / folder).mkdir()
    recipe, _ = proposed(written(tmp_path / folder, [{"text": prose(i), "label": "ab"[i % 2]} for i in range(12)]), "out put.yaml")
    assert Path(recipe.data.source).exists() and recipe.name == "out-put"


def test_the_recipe_may_stand_elsewhere(tmp_path):
    source = written(tmp_path, [{"text": prose(i), "label": "ab"[i % 2]} for i in range(12)])
    out = tmp_path / "recipes" / "deep" / "mine.yaml"
    out.parent.mkdir(parents=True)
    out.write_text(propose(source, out))
    assert Path(read(str(out)).data.source) == source.resolve()


def test_a_folder_with_one_table_means_the_table(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    written(folder, [{"text": prose(i), "label": "ab"[i % 2]} for i in range(12)])
    assert Path(proposed(folder)[0].data.source).name == "t.csv"
    written(folder, [{"a": "b"}, {"a": "c"}], name="u.tsv")
    with pytest.raises(InputError) as caught:
        propose(folder, tmp_path / "x.yaml")
    assert "several tables" in str(caught.value) and "t.csv, u.tsv" in str(caught.value)


@pytest.mark.parametrize(
    "rows",
    [
        [{"text": prose(i)} for i in range(12)],
        [{"number": i} for i in range(12)],
        [{"text": prose(i), "label": "same"} for i in range(12)],
        [{"a": "", "b": ""}, {"a": "1,1", "b": ""}],
    ],
)
def test_nothing_to_learn(tmp_path, rows):
    with pytest.raises(InputError) as caught:
        propose(written(tmp_path, rows), tmp_path / "x.yaml")
    assert "t.csv" in str(caught.value) and "known:" in str(caught.value) and "try:" in str(caught.value)


def test_a_target_alone_is_no_task(tmp_path):
    with pytest.raises(InputError) as caught:
        propose(written(tmp_path, [{"label": "ab"[i % 2], "kind": "xy"[i % 2]} for i in range(12)]), tmp_path / "x.yaml")
    assert "no column looks like something a model could take in" in str(caught.value)


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match="it is empty"):
        propose(tmp_path, tmp_path / "x.yaml")


@pytest.mark.parametrize("picture", ["picture", "file"])
def test_a_picture_with_several_captions_stays_on_one_side(tmp_path, media, picture):
    """Else the test would ask for captions of pictures that were learnt from."""
    names = [path.name for path in sorted((media / "pictures").glob("*.png"))[:12]]
    lines = [f"{media / 'pictures' / name},words for {name} in another order {n}" for name in names for n in range(5)]
    (tmp_path / "t.csv").write_text("\n".join([f"{picture},caption", *lines]) + "\n")
    recipe, text = proposed(tmp_path / "t.csv")
    assert recipe.data.split.group == picture and "as several rows share it" in text
