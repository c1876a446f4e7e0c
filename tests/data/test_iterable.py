"""Rows that a Python program makes: what values may be, and the recipe's words for columns over them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from triptych.base.errors import InputError
from triptych.contract.cells import Blob
from triptych.data.rows import Reject
from triptych.data.settings import DataSettings
from triptych.data.sources.iterable import from_rows
from triptych.data.sources.words import opened
from triptych.modalities import rooms


def rows():
    for n in range(4):
        yield {"pic": Image.new("RGB", (4, 4), (n, 0, 0)), "mood": "ab"[n % 2], "n": str(n), "meta": {"k": np.int64(n), "who": f"p{n}"}}


@pytest.mark.parametrize("given", [list(rows()), rows, tuple(rows())], ids=["list", "function", "tuple"])
def test_columns_are_renamed_typed_and_written_from_templates(given):
    columns = {"image": "pic", "size": {"column": "meta.k", "type": "number"}, "said": "It is {mood}, says {meta.who}"}
    found = list(opened(DataSettings(source="x", columns=columns), rooms(), {}, from_rows(given)).rows())
    assert [row.cells["said"] for row in found] == [f"It is {'ab'[n % 2]}, says p{n}" for n in range(4)]
    assert [float(row.cells["size"]) for row in found] == [0, 1, 2, 3]
    assert Image.open(io.BytesIO(found[3].cells["image"])).getpixel((0, 0)) == (3, 0, 0)


def test_what_can_be_gone_through_once_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"from_rows\(make\), not from_rows\(make\(\)\)"):
        from_rows(rows())


@pytest.mark.parametrize("shape", [(800,), (800, 2), (2, 800)])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16])
def test_samples_in_memory_are_a_file_without_loss(shape, kind):
    """As Hugging Face's data sets give them."""
    samples = (np.random.default_rng(0).uniform(-0.9, 0.9, shape) * (30_000 if kind is np.int16 else 1)).astype(kind)
    (row,) = from_rows([{"voice": {"path": "a", "array": samples, "sampling_rate": 8000}}]).rows()
    room = rooms()["audio"]
    heard, wanted = room.read(row.cells["voice"]), room.read((samples, 8000))
    assert isinstance(row.cells["voice"], Blob) and row.cells["voice"].name == "voice.wav" and heard.rate == 8000
    np.testing.assert_allclose(heard.samples_N, wanted.samples_N, atol=1e-6)


def test_what_no_cell_can_hold_costs_its_row():
    odd = [{"a": {"array": ["x"], "sampling_rate": 8000}}, {"a": np.zeros((2, 2))}, {"a": {"b": np.zeros((2, 2))}}, {"a": object()}, 5]
    found = list(from_rows([*odd, {"a": {"b": np.arange(3)}}]).rows())
    reasons = [row.reason for row in found if isinstance(row, Reject)]
    assert len(reasons) == 5 and "cannot be written as WAV" in reasons[0] and "a.b: an array of 2 dimensions" in reasons[2]
    assert found[-1].cells == {"a.b": [0, 1, 2]}
