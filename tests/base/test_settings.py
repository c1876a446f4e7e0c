from __future__ import annotations

import contextlib
from typing import Annotated, Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator, Field, model_validator

from triptych.base.errors import InputError
from triptych.base.settings import Settings, override, parse, read_yaml, spelled_out, word, write_yaml


class Small(Settings):
    kind: Literal["small"] = "small"
    width: int = Field(8, ge=1)
    heads: int = 2

    @model_validator(mode="after")
    def _divides(self):
        if self.width % self.heads:
            raise ValueError(f"heads={self.heads} does not divide width={self.width}")
        return self


class Large(Settings):
    kind: Literal["large"] = "large"
    depth: int


Net = Annotated[Annotated[Small | Large, Field(discriminator="kind")], BeforeValidator(word)]
Rate = Annotated[float, Field(gt=0)]


class Ask(Settings):
    kind: Literal["ask"] = "ask"
    target: str = "x"


class Count(Settings):
    kind: Literal["count"] = "count"


class Tree(Settings):
    net: Net = Small()
    rate: Rate | dict[str, Rate] = 1.0
    mode: Literal["fast", "slow"] = "fast"
    nets: list[Net] = Field([])
    tasks: dict[Annotated[str, Field(pattern="^[a-z]+$")], Annotated[Ask | Count, Field(discriminator="kind")]] = Field({})
    deep: Small = Small()


def refused(**tree) -> str:
    with pytest.raises(InputError) as caught:
        parse(Tree, tree, "r.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("tree", "parts"),
    [
        ({"modee": "fast"}, ["unknown field 'modee'", "where: r.yaml: modee", "known: deep, mode, net", "did you mean 'mode'"]),
        ({"net": {"kind": "small", "widht": 3}}, ["unknown field 'widht'", "where: r.yaml: net.widht\n", "did you mean 'width'"]),
        ({"net": "smal"}, ["unknown net 'smal'", "where: r.yaml: net\n", "known: small, large", "did you mean 'small'"]),
        ({"net": {"kind": "smal", "width": 3}}, ["unknown kind 'smal'", "where: r.yaml: net.kind", "did you mean 'small'"]),
        ({"net": {"width": 3}}, ["net does not say its kind", "known: large, small", "net: {kind: "]),
        ({"net": "large"}, ["the field 'depth' is missing", "add depth: ..."]),
        ({"nets": ["small", {"kind": "small", "width": 0}]}, ["width must be greater than or equal to 1, not 0", "r.yaml: nets.1.width"]),
        ({"nets": [{"kind": "tiny"}]}, ["unknown kind 'tiny'", "where: r.yaml: nets.0"]),
        ({"tasks": {"target": {"kind": "asc"}}}, ["unknown kind 'asc'", "where: r.yaml: tasks.target.kind", "did you mean 'ask'"]),
        ({"tasks": {"target": {}}}, ["tasks.target does not say its kind", "known: ask, count"]),
        ({"tasks": {"a": {"kind": "ask", "tagret": "l"}}}, ["unknown field 'tagret'", "known: kind, target\n", "tasks.a.tagret"]),
        ({"tasks": {"a b": {"kind": "ask"}}}, ["the name 'a b' is not a plain word", "letters"]),
        ({"mode": "quick"}, ["unknown mode 'quick'", "known: fast, slow"]),
        ({"rate": -1}, ["rate must be greater than 0, not -1", "where: r.yaml: rate"]),
        ({"rate": {"a": -1}}, ["a must be greater than 0, not -1", "where: r.yaml: rate.a"]),
        ({"rate": float("nan")}, ["rate must be"]),
        ({"deep": 3}, ["deep must be a mapping of fields, not 3", "known: heads, kind, width"]),
        ({"deep": None}, ["deep must be a mapping of fields, not empty"]),
        ({"deep": {"width": "wide"}}, ["width must be a valid integer", "'wide'", "where: r.yaml: deep.width"]),
        ({"net": {"kind": "small", "width": 9}}, ["heads=2 does not divide width=9", "where: r.yaml: net\n"]),
        ({"nets": "small"}, ["nets must be a valid list"]),
        ({"deep": {1: 2}}, ["unknown field '1'", "known: heads, kind, width"]),
        ({"deep": {"width": "x" * 500}}, ["xxx..."]),
    ],
)
def test_a_wrong_word_is_answered(tree, parts):
    text = refused(**tree) + "\n"
    for part in parts:
        assert part in text, text


def test_other_problems_are_counted_but_not_the_two_sides_of_one():
    assert "more after this one" not in refused(rate=-1)
    assert "(1 more after this one)" in refused(modee=1, rate=-1)
    assert "unknown field" in refused(modee=1, rate=-1)


def test_a_misspelt_word_is_said_before_a_bad_value_wherever_it_stands():
    assert refused(rate=-1, deep={"widht": 1}).startswith("unknown field 'widht'")


def test_settings_do_not_change_and_spell_out_their_defaults():
    tree = parse(Tree, {"net": "small"}, "r")
    with pytest.raises(ValueError, match="frozen"):
        tree.mode = "slow"
    assert spelled_out(tree)["net"] == {"kind": "small", "width": 8, "heads": 2}
    assert parse(Tree, spelled_out(tree), "r") == tree


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["net", "kind", "rate", "nets", "tasks", "a"]), inner),
)


@given(JSON)
def test_whatever_is_given_is_read_or_refused_in_words(tree):
    try:
        parse(Tree, tree, "r.yaml")
    except InputError as problem:
        assert "r.yaml" in problem.where and problem.what


def test_override_reaches_into_lists_and_leaves_the_tree_alone():
    tree = {"stages": [{"lr": 1}], "a": {"b": [{"c": 1}]}}
    assert override(tree, ["stages.0.lr=3e-4", "a.b.0.c=x"]) == {"stages": [{"lr": 3e-4}], "a": {"b": [{"c": "x"}]}}
    assert tree == {"stages": [{"lr": 1}], "a": {"b": [{"c": 1}]}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("1", 1), ("1.5E3", 1500.0), ("true", True), ("no", "no"), ("[a, 1e-3]", ["a", 1e-3]), ("", None), ("a=b", "a=b")],
)
def test_values_are_yaml_as_people_mean_it(text, value):
    assert override({}, [f"x.y={text}"]) == {"x": {"y": value}}


def test_override_opens_a_short_word():
    assert override({"fusion": "gated"}, ["fusion.width=64"]) == {"fusion": {"kind": "gated", "width": 64}}
    assert override({"f": ["gated"]}, ["f.0.width=64"]) == {"f": [{"kind": "gated", "width": 64}]}
    assert override({"image": None}, ["image.encoder=vit"]) == {"image": {"encoder": "vit"}}


@pytest.mark.parametrize(
    ("assignment", "part"),
    [
        ("a", "cannot read the setting 'a'"),
        ("a..b=1", "cannot read the setting"),
        ("=1", "cannot read the setting"),
        ("s.1.lr=2", "s has no item '1'"),
        ("s.-1.lr=2", "s has no item '-1'"),
        ("s.².lr=2", "s has no item '²'"),
        ("s.x=2", "s has no item 'x'"),
        ("s.0.lr.b=2", "s.0.lr holds one value (1), it has no field 'b'"),
        ("a=[1", "is not YAML"),
        ("a={b: 1, b: 2}", "is not YAML"),
        ("a=2024-13-45", "is not YAML"),
    ],
)
def test_a_setting_that_cannot_be_made_is_refused(assignment, part):
    with pytest.raises(InputError) as caught:
        override({"s": [{"lr": 1}]}, [assignment])
    assert part in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_yaml_or_a_yaml_error(text):
    with contextlib.suppress(yaml.YAMLError, InputError):
        assert repr(read_yaml(text)) == repr(read_yaml(text))


@pytest.mark.parametrize("text", ["{[a]: 1}", "? {a: 1}\n: 2", "a: &x [*x]", "a: &x {b: *x}", "a: !!python/object:os.system {}"])
def test_strange_yaml_is_a_yaml_error(text):
    with pytest.raises(yaml.YAMLError):
        read_yaml(text)


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.floats(allow_nan=False) | st.booleans()))
def test_what_was_written_is_read_back(tree):
    assert read_yaml(write_yaml(tree)) == tree


@pytest.mark.parametrize("name", ["1e3", "no", "yes", "null", "2024-01-01", "0x1", "1:30", "~", "=", "<<", "- a", "a: b", "😀"])
def test_a_word_that_looks_like_something_else_stays_a_word(name):
    assert read_yaml(write_yaml({name: [name]})) == {name: [name]}
