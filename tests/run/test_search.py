"""What a search may change: the words, the values, and what is refused."""

from __future__ import annotations

import pytest

from triptych.base.errors import InputError
from triptych.run.recipe import read
from triptych.run.search import asked_space, bare, changed, fusions, suited
from triptych.run.settings import Spread

RECIPE = {
    "name": "words",
    "data": {"source": "table.csv"},
    "inputs": {
        "image": {"encoder": {"kind": "cnn", "widths": [8], "width": 24}},
        "text": {"encoder": {"kind": "transformer", "depth": 4}},
    },
    "tasks": {"label": {"kind": "classify", "target": "label"}},
    "fusion": {"kind": "attention", "width": 16, "heads": 2},
    "stages": [{"epochs": 2, "lr": 1e-3}, {"epochs": 3, "lr": 1e-4}],
}


@pytest.fixture(scope="module")
def recipe():
    return read(RECIPE)


def test_a_change_equals_the_same_set_word(recipe):
    ours = changed(recipe, {"stages.0.lr": 0.01, "training.batch_size": 7})
    assert ours == read(RECIPE, ["stages.0.lr=0.01", "training.batch_size=7"])


def test_every_item_of_a_list_by_a_star(recipe):
    assert [stage.weight_decay for stage in changed(recipe, {"stages.*.weight_decay": 0.3}).stages] == [0.3, 0.3]
    assert {settings.encoder.dropout for settings in changed(recipe, {"inputs.*.encoder.dropout": 0.25}).inputs.values()} == {0.25}


def test_another_kind_keeps_what_it_also_has_and_takes_its_own_defaults(recipe):
    joint = changed(recipe, {"fusion.kind": "joint"}).fusion
    assert (joint.kind, joint.width) == ("joint", 16)
    vit = changed(recipe, {"inputs.image.encoder.kind": "vit"}).inputs["image"].encoder
    assert (vit.kind, vit.width, vit.patch) == ("vit", 24, 8)


def test_the_kind_is_changed_before_the_fields_of_the_new_kind(recipe):
    made = changed(recipe, {"inputs.image.encoder.depth": 3, "inputs.image.encoder.kind": "vit"})
    assert made.inputs["image"].encoder.depth == 3


def test_values_that_do_not_go_together_cost_that_trial(recipe):
    with pytest.raises(InputError):
        changed(recipe, {"fusion.width": 15})


def test_every_fusion_that_takes_the_inputs(recipe):
    assert list(fusions(recipe)) == ["concat", "gated", "attention", "cross_attention", "joint"]
    alone = read({**RECIPE, "inputs": {"text": {}}, "fusion": "single"})
    assert "single" in fusions(alone)
    odd = read({**RECIPE, "fusion": {"kind": "joint", "width": 9}})
    assert fusions(odd)["attention"].fusion.heads == 3


def test_the_space_of_a_recipe_without_one_holds_what_matters(recipe):
    space = suited(recipe)
    assert space["stages.0.lr"] == Spread(log=(1e-4, 1e-2))
    assert space["stages.1.lr"].log == pytest.approx((1e-5, 1e-3))
    assert space["training.batch_size"] == [32, 64, 128]
    assert set(space["fusion.kind"]) == set(fusions(recipe))
    assert space["inputs.text.encoder.depth"] == Spread(range=(2, 6))
    assert {"stages.*.weight_decay", "inputs.image.encoder.dropout", "inputs.text.encoder.width", "tasks.label.dropout"} <= set(space)
    asked_space(recipe)  # every value of it is legal alone


def test_options_on_the_command_line_in_all_forms(recipe):
    options = ["stages.0.lr=log:1e-4:1e-2", "fusion.dropout=range:0:0.5", "training.batch_size=16,32", "tasks.label.hidden=[[], [8]]"]
    space = asked_space(recipe, [*options, "stages.*.warmup={range: [0, 0.3]}", "fusion.kind=joint, gated"])
    assert space["stages.0.lr"] == Spread(log=(1e-4, 1e-2))
    assert space["fusion.dropout"] == Spread(range=(0, 0.5))
    assert space["training.batch_size"] == [16, 32]
    assert space["tasks.label.hidden"] == [[], [8]]
    assert space["fusion.kind"] == ["joint", "gated"]
    assert len(space) == 6  # what the user says is all that is searched


def test_an_option_goes_over_the_recipe():
    recipe = read({**RECIPE, "search": {"stages.0.lr": {"log": [1e-5, 1e-1]}, "training.batch_size": [8, 16]}})
    space = asked_space(recipe, ["stages.0.lr=log:1e-3:1e-2"])
    assert space == {"stages.0.lr": Spread(log=(1e-3, 1e-2)), "training.batch_size": [8, 16]}
    assert "search" not in bare(recipe)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("stages.0.lr", "cannot read the search"),
        ("stages.0.lr=log:1", "two ends"),
        ("fusion.kind=joint,gatd", "unknown kind 'gatd'"),
        ("stages.0.lr=log:1:0.1", "the lower one"),
        ("stages.0.lr=log:0:0.1", "begins above zero"),
        ("stages.0.lr={log: [1e-4, 1e-2], range: [1, 2]}", "a range to search is"),
        ("stages.7.lr=log:1e-4:1e-2", "no item '7'"),
        ("stages.0.rate=1,2", "rate"),
        ("inputs.*.encoder.dept=1,2", "dept"),
        ("inputs.sound.*=1,2", "stands for nothing"),
        ("stages.0.lr=-1,-2", "lr"),
        ("data.split.seed=1,2", "could not be compared"),
        ("training.select=label.accuracy,loss", "could not be compared"),
    ],
)
def test_what_is_refused_says_why(recipe, option, message):
    with pytest.raises(InputError) as caught:
        asked_space(recipe, [option])
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("search", [{"stages.0.lr": {"log": [1e-4]}}, {"stages.0.lr": {}}, {"stages.0.lr": "fast"}, {"stages.0.lr": []}])
def test_a_wrong_search_in_a_recipe(search):
    with pytest.raises(InputError) as caught:
        read({**RECIPE, "search": search})
    assert "search" in str(caught.value)
