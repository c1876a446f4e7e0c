"""Scores of epochs and the last ones are taken alike, and scores that cannot be had are told before training."""

from __future__ import annotations

import pytest
import torch

import triptych
from triptych.base.errors import InputError
from triptych.model.assemble import Model
from triptych.run.building import build
from triptych.run.fit import fit
from triptych.run.measure import measure
from triptych.run.opening import open_table
from triptych.run.progress import Voice
from triptych.run.recipe import read

QUIET = Voice(quiet=True)


@pytest.mark.parametrize("fusion", ["concat", "cross_attention", "joint"])
def test_in_bf16_all_but_the_encoders_is_measured_in_float32(tiny_recipe, monkeypatch, fusion):
    """Scores that choose an epoch are those of the model that is kept, but for what its encoders round."""
    recipe = read(str(tiny_recipe), [f"fusion={{kind: {fusion}, width: 8}}"])
    bench = build(recipe, open_table(recipe, QUIET), QUIET)
    whole = measure(bench.model, bench.loader("test"), recipe.tasks, "cpu", every_mixture=True)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = measure(bench.model, bench.loader("test"), recipe.tasks, "cpu", every_mixture=True)
    assert any(not torch.equal(rounded.answers[name], whole.answers[name]) for name in whole.answers)  # bf16 was on
    for vectors in rounded.embeddings["match"].values():
        assert vectors.dtype == torch.float32 and not torch.equal(vectors, vectors.bfloat16().float())

    encode = Model.encode

    def in_full(self, batch):
        with torch.autocast("cpu", enabled=False):
            return encode(self, batch)

    monkeypatch.setattr(Model, "encode", in_full)
    with torch.autocast("cpu", torch.bfloat16):
        again = measure(bench.model, bench.loader("test"), recipe.tasks, "cpu", every_mixture=True)
    assert again.scores == whole.scores
    for name in whole.answers:
        assert torch.equal(again.answers[name], whole.answers[name])


def test_the_log_of_the_kept_epoch_says_what_the_kept_model_scores(tiny_recipe, tmp_path):
    run = triptych.train(tiny_recipe, out=tmp_path / "run", set=["training.precision=bf16", "stages.0.epochs=3"], quiet=True)
    best = run.folder.read("run.json")["best"]["epoch"]
    row = next(row for row in run.folder.read_log() if row["epoch"] == best)
    bench = build(run.recipe, open_table(run.recipe, QUIET), QUIET)
    measured = measure(run.model, bench.loader("validation"), run.recipe.tasks, "cpu", every_mixture=False)
    for score in measured.scores:
        assert row[f"validation {score.name}"] == pytest.approx(score.value, abs=0.02), score.name


def test_every_score_of_every_epoch_is_in_log_and_report(tiny_run):
    names = [score["name"] for score in tiny_run.scores if score["of"] == "" or "->" in score["of"]]
    for row in tiny_run.folder.read_log():
        assert {f"validation {name}" for name in names} <= set(row)
    page = (tiny_run.folder.path / "report.html").read_text()
    assert "every score of every epoch" in page and "label.macro_f1 from" in page and "match.map@10 from" in page


@pytest.mark.parametrize(
    ("sets", "part"),
    [
        (["training.select=label.top5"], "label has 2 classes"),
        (["training.select=top5"], "label has 2 classes"),
        (["training.select=label.roc_auc", "data.split.column=one"], "all validation rows say the same of label"),
        (
            ["training.select=n.r2", "data.split.column=one", "tasks.n={kind: regress, target: flat}"],
            "all validation rows say the same of n",
        ),
    ],
)
def test_a_score_that_validation_cannot_give_chooses_no_epoch(tiny_recipe, tiny_table, tmp_path, sets, part):
    lines = tiny_table.read_text().splitlines()
    extra = [
        ("validation" if line.split(",")[4] == "high" and n % 3 == 1 else "train", n * (n % 3 != 1)) for n, line in enumerate(lines[1:])
    ]
    new = [lines[0] + ",one,flat", *(f"{line},{side},{flat}" for line, (side, flat) in zip(lines[1:], extra, strict=True))]
    table = tiny_table.parent / f"select-{abs(hash(part))}.csv"
    table.write_text("\n".join(new))
    with pytest.raises(InputError) as caught:
        fit(read(str(tiny_recipe), [f"data.source={table}", *sets]), tmp_path / "run", quiet=True)
    assert part in str(caught.value) and "known: " in str(caught.value) and "cannot tell epochs apart" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_class_that_validation_lacks_is_told_and_scores_stay_numbers(tiny_recipe, tiny_table, tmp_path, capsys):
    lines = tiny_table.read_text().splitlines()
    new = [lines[0] + ",third,part,price"]
    for n, line in enumerate(lines[1:]):
        third = "rare" if n % 8 == 0 else ("low", "high")[n % 2]
        new.append(f"{line},{third},{'validation' if n % 8 in (3, 4) else 'train'},{'nan' if n == 5 else n}")
    table = tiny_table.parent / "third.csv"
    table.write_text("\n".join(new))
    tasks = "tasks={label: {kind: classify, target: third}, price: {kind: regress, target: price}}"
    sets = [f"data.source={table}", "data.split.column=part", tasks, "training.select=macro_f1"]
    run = triptych.train(tiny_recipe, out=tmp_path / "run", set=sets)
    said = capsys.readouterr().err
    assert "warning: third: no validation row of rare" in said  # the one who trains reads it, and not the report alone
    assert "warning: task price: 1 cell holds no number below 1e+30 (row-6: nan); its row is not used for it" in said
    assert run.folder.read("run.json")["best"]["score"] == "label.macro_f1"
    assert any("no validation row of rare" in one["text"] for one in run.folder.read("run.json")["findings"])
    for row in run.folder.read_log():
        assert all(value == value for name, value in row.items() if name.startswith("validation"))
