"""Real weights: MobileNetV2 on real handwriting, and three towers that never met brought into one space."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from triptych.run.fit import fit
from triptych.run.recipe import read

SHARED = Path(__file__).parents[3] / "shared/data"

PICTURES = """
data: {{source: table.csv, split: {{column: side}}}}
inputs: {{image: {{encoder: {mobilenet}}}}}
tasks: {{digit: {{kind: classify, target: digit}}}}
approach: {{kind: gradual, epochs: 12, lr: 2.0e-3, base_epochs: 2, base_lr: 3.0e-4, blocks: 1}}
training: {{batch_size: 16}}
"""
JOINT = """
data: {{source: table.csv, split: {{column: side}}}}
inputs: {{image: {{encoder: {mobilenet}}}, audio: {{encoder: {whisper}}}, text: {{encoder: {minilm}}}}}
tasks: {{match: {{kind: contrast, between: [image, audio, text], positives: digit, width: 64}}}}
approach: {{kind: gradual, epochs: 15, lr: 2.0e-3, base_epochs: 2, blocks: 1}}
training: {{batch_size: 25}}
"""


def table(folder: Path, rows: list[dict[str, str]]) -> None:
    """The rows as table.csv, media by their full paths."""
    with (folder / "table.csv").open("w", newline="") as file:
        out = csv.DictWriter(file, [name for name in rows[0] if name != "split"], extrasaction="ignore")
        out.writeheader()
        out.writerows(rows)


@pytest.fixture(scope="module")
def there() -> Path:
    if not SHARED.exists():
        pytest.skip(f"no handwriting and no voices: {SHARED} is not there")
    return SHARED


@pytest.mark.slow
def test_mobilenet_reads_handwriting(there, real_weights, tmp_path):
    """It was trained on photographs in colour; twelve pictures of each digit are enough for a start."""
    sides = {**dict.fromkeys(range(50, 62), "train"), **dict.fromkeys(range(62, 64), "validation"), **dict.fromkeys(range(6), "test")}
    with (there / "mnist/manifest.csv").open() as file:
        found = [
            {"image": str(there / "mnist" / row["path"]), "digit": row["digit"], "side": sides.get(int(row["index"]))}
            for row in csv.DictReader(file)
        ]
    table(tmp_path, [row for row in found if row["side"]])
    (tmp_path / "recipe.yaml").write_text(PICTURES.format(mobilenet=real_weights("mobilenet")))
    run = fit(read(str(tmp_path / "recipe.yaml")), tmp_path / "run", quiet=True)
    (score,) = [score for score in run.read("scores.json") if score["name"] == "digit.accuracy"]
    assert score["trained"] > 0.6 > 0.3 > score["untouched"], score


@pytest.mark.slow
def test_three_towers_share_a_space(there, real_weights, tmp_path):
    """Projections first, then the last block of each: a voice never heard finds its digit among pictures never seen."""
    rows = []
    with (there / "digits_trimodal.csv").open() as file:
        for row in csv.DictReader(file):
            take, mine = int(row["audio"].rsplit("_", 1)[1].removesuffix(".wav")), row["speaker"] == "jackson"
            learnt = {5: "train", 6: "train", 7: "train", 8: "validation"}
            side = ("test" if take < 3 else None) if mine else learnt.get(take)
            if side:
                rows.append({**row, "image": str(there / row["image"]), "audio": str(there / row["audio"]), "side": side})
    table(tmp_path, rows)
    named = {"mobilenet": real_weights("mobilenet"), "whisper": real_weights("whisper-tiny"), "minilm": real_weights("minilm")}
    (tmp_path / "recipe.yaml").write_text(JOINT.format(**named))
    run = fit(read(str(tmp_path / "recipe.yaml")), tmp_path / "run", quiet=True)
    scores = {score["of"]: score for score in run.read("scores.json") if score["task"] == "match" and score["metric"] == "recall@1"}
    assert len(scores) == 7, "six directions and their mean"
    assert all(score["trained"] > score["untouched"] for score in scores.values()), scores
    assert scores[""]["trained"] > 0.6 > 0.35 > scores[""]["untouched"], scores
