"""Decoding against every path that there is, on cases small enough to list them all."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from triptych.contract.spelling import frames_needed
from triptych.layers.ctc import aligned, beam, greedy, padded, searched


def collapsed(path: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(c for c, _ in itertools.groupby(path) if c)


def every_text(logs_TC: np.ndarray) -> dict[tuple[int, ...], float]:
    """The chance of each text: the sum over all paths that say it."""
    chances: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(logs_TC.shape[1]), repeat=len(logs_TC)):
        chances[collapsed(path)] += math.exp(sum(logs_TC[t, c] for t, c in enumerate(path)))
    return chances


def drawn(seed: int, frames: int, classes: int, sharp: float) -> torch.Tensor:
    return sharp * torch.randn(frames, classes, generator=torch.Generator().manual_seed(seed))


cases = given(st.integers(0, 10_000), st.integers(1, 5), st.integers(2, 4), st.sampled_from([0.3, 1.0, 4.0]))


@cases
def test_a_wide_beam_finds_the_likeliest_of_all_texts(seed, frames, classes, sharp):
    logs_TC = drawn(seed, frames, classes, sharp).double().log_softmax(1).numpy()
    chances = every_text(logs_TC)
    found = tuple(beam(logs_TC, 1000, least=-math.inf))
    assert chances[found] == pytest.approx(max(chances.values()))


@cases
def test_greedy_collapses_the_best_class_of_each_frame_and_sees_no_padding(seed, frames, classes, sharp):
    logits = drawn(seed, frames + 2, classes, sharp)
    wanted = list(collapsed(tuple(logits[:frames].argmax(1).tolist())))
    made = greedy(torch.stack([logits, logits]), torch.tensor([frames, frames + 2]))
    assert [c for c in made[0].tolist() if c > 0] == wanted


@cases
def test_an_alignment_is_the_likeliest_path_that_says_the_text(seed, frames, classes, sharp):
    logs_TC = drawn(seed, frames, classes, sharp).double().log_softmax(1).numpy()
    text = list(max(every_text(logs_TC), key=len))
    spans = aligned(logs_TC, text)
    paths = [path for path in itertools.product(range(classes), repeat=frames) if collapsed(path) == tuple(text)]
    best = max(paths, key=lambda path: sum(logs_TC[t, c] for t, c in enumerate(path)))
    runs = [(c, [t for t, _ in group]) for c, group in itertools.groupby(enumerate(best), key=lambda one: one[1])]
    assert spans == [(times[0], times[-1] + 1) for c, times in ((c, list(times)) for c, times in runs) if c]


def test_a_beam_hears_what_the_best_frames_alone_do_not():
    """Two paths that say `1` are together likelier than the one of blanks, which is the best path."""
    logs = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()[None]
    frames = torch.tensor([2])
    assert greedy(logs, frames).tolist() == [[]]
    assert searched(logs, frames, 5).tolist() == [[1]]


@pytest.mark.parametrize("text", [[1], [1, 1], [1, 2, 1], [2, 2, 2]])
def test_a_text_needs_a_frame_a_symbol_and_a_blank_between_equal_ones(text):
    needed = frames_needed(text)
    logs = np.log(np.full((needed, 3), 1 / 3))
    assert len(aligned(logs, text)) == len(text)
    with pytest.raises(ValueError, match="too few"):
        aligned(logs[: needed - 1], text) if needed > 1 else aligned(logs, [1, 1])


def test_rows_are_padded_side_by_side():
    assert padded([[1, 2], [], [3]]).tolist() == [[1, 2], [-1, -1], [3, -1]]
    assert padded([[]]).shape == (1, 0)
    assert aligned(np.zeros((2, 2)), []) == []
