"""The modality gap against its definition in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.objective.gap import gap


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 50), st.integers(2, 12), st.floats(0, 5))
def test_it_is_what_numpy_says(seed, rows, width, shift):
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(rows, width)), draw.normal(size=(rows, width)) + shift
    found = gap(torch.tensor(a), torch.tensor(b))
    centre = unit(a).mean(0) - unit(b).mean(0)
    assert found.distance == pytest.approx(np.linalg.norm(centre))
    assert found.share == pytest.approx(centre @ centre / ((unit(a) - unit(b)) ** 2).sum(1).mean())
    assert 0 <= found.share <= 1 + 1e-9 and found.distance <= 2 and found.rows == rows


def test_two_points_apart_and_one_cloud():
    east, west = torch.tensor([[1.0, 0.0]] * 5), torch.tensor([[-3.0, 0.0]] * 5)
    assert gap(east, west) == (2.0, 1.0, 5)
    assert gap(east, east) == (0.0, 0.0, 5)
    torch.manual_seed(0)
    cloud = gap(torch.randn(4000, 8), torch.randn(4000, 8))
    assert cloud.distance < 0.05 and cloud.share == pytest.approx(1 / 4000, rel=2)


def test_nobody_has_both():
    found = gap(torch.zeros(0, 4), torch.zeros(0, 4))
    assert math.isnan(found.distance) and math.isnan(found.share) and found.rows == 0
