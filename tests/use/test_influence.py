"""Which inputs an answer owes to."""

from __future__ import annotations

import pytest

from triptych.use.influence import compared, influence, weighed, without_each


def test_each_input_is_left_out_and_the_answer_is_that_of_the_rest(tiny_run, tiny_table):
    row = {"image": tiny_table.parent / "pictures/1.png", "audio": tiny_table.parent / "sounds/1.wav", "text": "a deep dark tone"}
    found = influence(tiny_run, row)
    assert weighed(tiny_run) == ["label"] and set(found) == {"label"} and set(found["label"]["inputs"]) == set(row)
    whole = tiny_run.predict(**row)["label"]
    for name, one in found["label"]["inputs"].items():
        rest = tiny_run.predict(**{key: value for key, value in row.items() if key != name})["label"]
        assert one["said"] == rest["said"]
        assert one["before"] == pytest.approx(whole["confidence"], abs=1e-5)
        assert one["after"] == pytest.approx(rest["probabilities"][whole["said"]], abs=1e-5)
        assert one["change"] == pytest.approx(one["before"] - one["after"])


def test_one_input_alone_cannot_be_left_out(tiny_run):
    assert influence(tiny_run, {"text": "a deep dark tone"}) == {}
    assert without_each(["a", "b"], {"a": 1, "b": None, "words": "x"}) == {}
    assert without_each(["a", "b"], {"a": 1, "b": 2, "words": "x"}) == {"a": {"b": 2, "words": "x"}, "b": {"a": 1, "words": "x"}}


def test_labels_numbers_and_boxes_have_a_measure_and_free_texts_none():
    whole = {
        "tags": {"said": "a, b", "confidence": 0.8, "probabilities": {"a": 0.9, "b": 0.8, "c": 0.1}},
        "none": {"said": "none", "confidence": 0.6, "probabilities": {"a": 0.4, "b": 0.2}},
        "price": {"said": "10.0", "value": 10.0},
        "place": {"said": "[0, 0, 2, 2]", "confidence": 0.9, "box": [0.0, 0.0, 2.0, 2.0]},
        "text": {"said": "a cat"},
    }
    less = {
        "tags": {"said": "a", "confidence": 0.6, "probabilities": {"a": 0.7, "b": 0.2, "c": 0.1}},
        "none": {"said": "a", "confidence": 0.6, "probabilities": {"a": 0.41, "b": 0.2}},
        "price": {"said": "10.1", "value": 10.1},
        "place": {"said": "[1, 0, 2, 2]", "confidence": 0.2, "box": [1.0, 0.0, 2.0, 2.0]},
        "text": {"said": "a dog"},
    }
    found = compared(whole, {"voice": less}, {"place": "xywh"})
    assert set(found) == {"tags", "none", "price", "place"}
    changes = {name: one["inputs"]["voice"] for name, one in found.items()}
    assert changes["tags"]["change"] == pytest.approx(0.4) and changes["tags"]["counts"]
    assert changes["none"]["change"] == pytest.approx(-0.01) and changes["none"]["counts"]  # another answer, however near
    assert changes["price"]["change"] == pytest.approx(-0.1) and not changes["price"]["counts"]
    assert changes["place"]["after"] == pytest.approx(1 / 3) and changes["place"]["counts"]
    gone = compared({"place": whole["place"]}, {"image": {"place": {"said": "no box", "confidence": None, "box": None}}}, {})
    assert gone["place"]["inputs"]["image"] == {"said": "no box", "before": 1.0, "after": None, "change": None, "counts": True}
