"""A box where a phrase says: from cells to answers in the user's unit, however values are made square."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from triptych.base.errors import InputError
from triptych.contract.boxes import put_back, seen_from
from triptych.contract.tasks import Ground
from triptych.contract.values import Fused, Output
from triptych.data.boxes import read_box
from triptych.layers.pointing import place_code
from triptych.modalities.image import MODALITY
from triptych.modalities.image.prepare import ImagePreparation
from triptych.modalities.image.pretrained import BasePreparation, cropped, resized
from triptych.modalities.image.settings import Prepare
from triptych.model.heads import build_head
from triptych.objective.losses import terms
from triptych.run.fit import fit
from triptych.run.recipe import read
from triptych.use.evaluate import evaluate
from triptych.use.opened import open_run
from triptych.use.report import write_report

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 80, 230)}
SHAPES = ("circle", "square")
Box = tuple[int, int, int, int]


def scene(rng: random.Random, width: int, height: int) -> tuple[Image.Image, dict[str, Box]]:
    """A picture with one shape of each colour, and where each lies: left, top, width and height in pixels."""
    image = Image.new("RGB", (width, height), (245, 245, 235))
    draw, found = ImageDraw.Draw(image), dict[str, Box]()
    cells = rng.sample([(x, y) for x in range(2) for y in range(2)], len(COLOURS))
    for (colour, ink), (x, y) in zip(COLOURS.items(), cells, strict=True):
        across, down = rng.randint(width // 5, width // 2 - 2), rng.randint(height // 5, height // 2 - 2)
        left, top = x * width // 2 + rng.randint(0, width // 2 - across), y * height // 2 + rng.randint(0, height // 2 - down)
        shape = rng.choice(SHAPES)
        drawn = draw.ellipse if shape == "circle" else draw.rectangle
        drawn((left, top, left + across - 1, top + down - 1), fill=ink)
        found[f"the {colour} {shape}"] = left, top, across, down
    return image, found


def write_scenes(folder: Path, rows: int, sizes: tuple[tuple[int, int], ...] = ((64, 64),), own: bool = False, seed: int = 0) -> Path:
    """`table.csv` with id, image, phrase, box and side, and its pictures: a row a picture, two pictures of ten for the test."""
    rng, lines = random.Random(seed), ["id,image,phrase,box,side"]
    for row in range(rows):
        width, height = sizes[row % len(sizes)]
        image, found = scene(rng, width, height)
        image.save(folder / f"{row}.png")
        phrase, (left, top, across, down) = rng.choice(sorted(found.items()))
        box = [left, top, across, down] if own else [left / width, top / height, across / width, down / height]
        side = "test" if row % 10 < 2 else "train"
        lines.append(f'{row},{row}.png,{phrase},"{json.dumps(box)}",{side}')
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "table.csv"


TASK = Ground(target="box", input="image", phrase="phrase", width=16, depth=1)


def recipe(folder, **changes):
    tree = {
        "name": "boxes",
        "data": {"source": str(folder / "table.csv"), "split": {"column": "side", "validation": 0.1}},
        "inputs": {
            "image": {"prepare": {"size": 32}, "encoder": {"kind": "vit", "patch": 4, "width": 48, "depth": 2, "heads": 2}},
            "phrase": {"modality": "text", "prepare": {"vocabulary": 300}, "encoder": {"kind": "gru", "width": 32, "depth": 1}},
        },
        "fusion": {"kind": "concat", "width": 64},
        "tasks": {"find": {"kind": "ground", "target": "box", "input": "image", "phrase": "phrase", "width": 64} | changes.pop("task", {})},
        "stages": [{"train": ["all"], "epochs": 1, "lr": 2e-3}],
        "training": {"batch_size": 32, "threads": 1, "seed": 1},
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(tree | changes))
    return str(folder / "recipe.yaml")


@settings(max_examples=25, deadline=None)
@given(st.integers(12, 90), st.integers(12, 90), st.sampled_from(["pad", "crop", "stretch", "resized", "shortest"]))
def test_a_box_lies_where_its_thing_is_seen(width, height, fit_as):
    """A dark rectangle is drawn, the picture made square, and the dark part of the square found again."""
    left, top, right, bottom = width // 3, height // 3, width // 3 + max(4, width // 4), height // 3 + max(4, height // 4)
    image = Image.new("L", (width, height), 255)
    ImageDraw.Draw(image).rectangle((left, top, right - 1, bottom - 1), fill=0)
    if fit_as in ("resized", "shortest"):  # as the processors of pretrained models do
        steps = (
            {"shortest": 48, "size": None, "crop": [40, 40]} if fit_as == "shortest" else {"shortest": 0, "size": [40, 40], "crop": None}
        )
        steps |= {"resample": 2}
        preparation = BasePreparation.__new__(BasePreparation)
        preparation._steps, preparation._asked = steps, None
        levels = np.asarray(cropped(resized(image, steps), steps["crop"])) / 255
    else:
        preparation = ImagePreparation(Prepare(size=40, channels=1, fit=fit_as, normalize="none"))
        levels = preparation.collate(preparation.prepare([image])).tensors["pixels"][0, 0].numpy()
    frame = torch.tensor(MODALITY.shown_part(preparation, MODALITY.extent(image)))
    box = torch.tensor([left, top, right, bottom], dtype=torch.float64)
    assert put_back(seen_from(box, frame), frame).numpy() == pytest.approx(box.numpy())
    dark = levels < 0.5
    if fit_as in ("crop", "shortest"):  # what is not seen is black there, or gone
        dark &= levels.shape == (40, 40)
    rows, columns = np.nonzero(dark)
    if not len(rows):
        return
    found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    expected = (seen_from(box, frame).clamp(0, 1) * 40).numpy()
    assert np.abs(found - expected).max() <= 2, (found, expected)


def test_the_loss_is_detrs():
    torch.manual_seed(0)
    middle, size = torch.rand(6, 2), torch.rand(6, 2) / 2 + 0.1
    true_middle, true_size = torch.rand(6, 2), torch.rand(6, 2) / 2 + 0.1
    guess, truth = (torch.cat([m - s / 2, m + s / 2], 1) for m, s in ((middle, size), (true_middle, true_size)))
    has = torch.tensor([True] * 5 + [False])
    sure = torch.randn(6)
    found = terms(Output({"box_B4": guess, "sure_B": sure}), truth, has, TASK, {})[""].loss_P
    l1 = torch.cat([middle - true_middle, size - true_size], 1).abs().sum(1)
    both = (torch.minimum(guess, truth)[:, 2:] - torch.maximum(guess, truth)[:, :2]).clamp(min=0).prod(1)
    either = size.prod(1) + true_size.prod(1) - both
    around = (torch.maximum(guess, truth)[:, 2:] - torch.minimum(guess, truth)[:, :2]).prod(1)
    giou = both / either - (around - either) / around
    told = torch.nn.functional.binary_cross_entropy_with_logits(sure, both / either, reduction="none")
    assert torch.allclose(found, (5 * l1 + 2 * (1 - giou) + told)[has], atol=1e-5)


def test_a_head_without_its_input_still_answers_and_places_stay_apart():
    head = build_head(TASK, 8, {"sequence": 6, "places": 9}).eval()
    part, tokens = torch.randn(3, 8), torch.randn(3, 9, 6)
    mask = torch.ones(3, 9, dtype=torch.bool)
    mask[2] = False
    words = (torch.randn(3, 2, 5), torch.ones(3, 2, dtype=torch.bool))
    told = head(Fused(part[:, None], mask[:, :1], part, {"phrase": part}, sequences={"image": (tokens, mask), "phrase": words}))
    assert told["box_B4"].shape == (3, 4) and bool((told["box_B4"][:, 2:] > told["box_B4"][:, :2]).all())
    other = head(Fused(part[:, None], mask[:, :1], part, {"phrase": part}, sequences={"phrase": words}))
    assert torch.allclose(told["box_B4"][2], other["box_B4"][2], atol=1e-6), "a masked value is an absent one"
    assert not torch.allclose(told["box_B4"][0], other["box_B4"][0])
    for places in (9, 10, 7):
        assert len(place_code(places, 8).unique(dim=0)) == places


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("[0.1, 0.2, 0.3, 0.4]", [0.1, 0.2, 0.3, 0.4]),
        ("0.1 0.2;0.3,0.4", [0.1, 0.2, 0.3, 0.4]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ("1 2 3", "3 numbers in place of four"),
        ("[1, 2, 3, 4, 5]", "5 numbers in place of four"),
        ("a b c d", "not four numbers"),
        ("nan 0 1 1", "a number without bounds"),
        ("", "0 numbers in place of four"),
        ({"bbox": 1}, "not four numbers"),
    ],
)
def test_cells_are_boxes_or_say_why_not(cell, found):
    assert read_box(cell) == found


def test_boxes_in_the_users_unit_end_to_end(tmp_path, monkeypatch):
    """Odd pictures, padded; wrong boxes cost their rows the task and nothing else; answers come in pixels, and over the picture."""
    monkeypatch.setattr("triptych.objective.intervals.DRAWS", 40)
    write_scenes(tmp_path, 60, ((64, 40), (30, 50)), own=True)
    lines = (tmp_path / "table.csv").read_text().splitlines()
    for row, bad in {5: "1 2 3", 6: "5 5 0 9", 7: "50 30 40 20", 8: "word"}.items():
        lines[row + 1] = re.sub(r'"\[.*\]"', bad, lines[row + 1])
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    made = fit(read(recipe(tmp_path, task={"unit": "own", "depth": 1})), tmp_path / "run", quiet=True)
    text = write_report(made).read_text()
    assert 'aria-label="picture, 64 x 40 pixels, with boxes: said, truth"' in text
    run = open_run(tmp_path / "run")
    told = run.predict(image=str(tmp_path / "0.png"), phrase="the red circle")["find"]
    left, top, across, down = told["box"]
    assert left >= -64 and 0 < across <= 64 and 0 < down <= 64 and 0 < told["confidence"] < 1
    assert json.loads(told["said"]) == pytest.approx(told["box"], abs=0.06)
    assert run.predict(phrase="the red circle")["find"]["box"] is None
    rows = made.read_rows("predictions.parquet")
    place = rows["id"].index("0")
    shown = json.loads(rows["find.truth"][place])
    frame = torch.tensor([0.0, -12.0, 64.0, 64.0])
    corners = torch.tensor([shown[0], shown[1], shown[0] + shown[2], shown[1] + shown[3]]).float()
    assert rows["find.box"][place] == pytest.approx(seen_from(corners, frame).tolist(), abs=1e-5)
    again = evaluate(str(tmp_path / "run"))
    assert again.told["stored"]["same"] and set(again.reliance["tasks"]["find"]["inputs"]) == {"image", "phrase"}
    found = " ".join(one["text"] for one in again.told["findings"])
    assert "3 cells are no boxes" in found and "it lies outside of 30 x 50" in found
    assert "mean box" in made.read("verdicts.json")["find"]["baselines"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"task": {"input": "phrase", "phrase": "image"}}, "have no width and height"),
        ({"task": {"phrase": "image"}}, "are both 'image'"),
        ({"task": {"phrase": "other"}}, "unknown input"),
        ({"task": {"l1": 0, "giou": 0}}, "no box would be learnt"),
        ({"training": {"mixup": 0.2}}, "have no mean"),
    ],
)
def test_what_cannot_be_is_refused_before_training(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        read(recipe(tmp_path, **change))


def test_variants_that_move_things_are_refused(tmp_path):
    path = recipe(tmp_path)
    with pytest.raises(InputError, match="augment flip moves"):
        read(path, ["inputs.image.augment=[colour, flip]"])
    assert read(path, ["inputs.image.augment=[colour, erase]"]).inputs["image"].augment


def test_pixels_taken_for_shares_are_told(tmp_path):
    write_scenes(tmp_path, 20, own=True)
    with pytest.raises(InputError, match="no training row has a box") as error:
        fit(read(recipe(tmp_path)), tmp_path / "run", quiet=True)
    assert "unit=own" in (error.value.fix or "")


@pytest.mark.slow
def test_phrases_are_learnt(tmp_path):
    """One of three shapes, by its colour: far better than the mean box, and only with both inputs."""
    write_scenes(tmp_path, 1000)
    made = fit(read(recipe(tmp_path, stages=[{"train": ["all"], "epochs": 16, "lr": 2e-3}])), tmp_path / "run", quiet=True)
    scores = {score["name"]: score["trained"] for score in made.read("scores.json")}
    told = made.read("verdicts.json")["find"]
    assert scores["find.iou"] > 0.35 and "mean box" in told["beaten"] and told["verdict"] == "better"
    assert max(scores["find.iou from image"], scores["find.iou from phrase"]) < 0.2
    inputs = made.read("reliance.json")["tasks"]["find"]["inputs"]
    assert {inputs[name]["verdict"] for name in inputs} == {"used"}
