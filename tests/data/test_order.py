"""The order of an epoch: a permutation from seed and epoch, buckets of like lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.data.order import Order, alike, padded_share, shuffles


def skewed(rows: int, seed: int = 0) -> np.ndarray:
    return np.exp(np.random.default_rng(seed).normal(0, 1, rows)).astype(np.float32)


def test_the_order_is_the_same_on_every_machine():
    """Written down once: whoever changes it changes what every seed means, and breaks runs that are taken up again."""
    assert shuffles(8, 0, 2, 5, 0).tolist() == [[7, 4, 3, 5, 6, 2, 0, 1], [0, 3, 4, 2, 7, 6, 5, 1]]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(1, 200), first=st.integers(0, 1000), key=st.integers(0, 2**32 - 1))
def test_any_permutation_of_the_row_is_known_without_those_before(count, first, key):
    several = shuffles(count, first, 3, key)
    assert [sorted(row) for row in several.tolist()] == [list(range(count))] * 3
    assert np.array_equal(several[2], shuffles(count, first + 2, 1, key)[0])


def test_all_orders_are_about_equally_frequent():
    counts = np.zeros((5, 5))
    for order in shuffles(5, 0, 20_000, 3):
        counts[np.arange(5), order] += 1
    assert np.abs(counts / 20_000 - 0.2).max() < 0.015


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 300),
    size=st.integers(1, 40),
    window=st.integers(0, 60),
    seed=st.integers(0, 2**32 - 1),
    epoch=st.integers(0, 100),
)
def test_every_row_once_an_epoch_with_and_without_buckets(rows, size, window, seed, epoch):
    chosen = np.arange(rows) * 3 + 1
    order = Order(chosen, size, seed, lengths_R=skewed(rows), window=window)
    batches = order.batches(epoch)
    assert len(batches) == len(order) == -(-rows // size)
    assert sorted(np.concatenate(batches).tolist()) == chosen.tolist()
    assert all(len(batch) == size for batch in batches[:-1])
    again = Order(chosen, size, seed, lengths_R=skewed(rows), window=window).batches(epoch)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), window=st.integers(2, 50), size=st.sampled_from([4, 16, 32]))
def test_buckets_never_pad_more_on_skewed_lengths(seed, window, size):
    lengths = skewed(40 * size, seed % 1000)
    plain, sorted_ = Order(np.arange(len(lengths)), size, seed), Order(np.arange(len(lengths)), size, seed, None, lengths, window)
    assert padded_share(sorted_.batches(0), lengths) < padded_share(plain.batches(0), lengths)


def test_wide_windows_leave_little_padding_and_batches_still_differ_between_epochs():
    lengths = skewed(3200)
    order = Order(np.arange(3200), 32, 1, None, lengths, 50)
    assert padded_share(Order(np.arange(3200), 32, 1).batches(0), lengths) > 0.75
    assert padded_share(order.batches(0), lengths) < 0.15
    first, second = ({frozenset(batch.tolist()) for batch in order.batches(epoch)} for epoch in (0, 1))
    assert not first & second
    means = [lengths[batch].mean() for batch in order.batches(0)]
    assert np.abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.3  # batches come in no order of length


def test_rows_of_several_inputs_are_alike_where_each_is_by_its_own_mean():
    lengths = {"voice": np.array([1.0, 3.0, 0.0, 2.0]), "caption": np.array([100.0, 100.0, 100.0, 0.0])}
    assert alike(lengths, np.arange(4)).tolist() == pytest.approx([1.5, 2.5, 1.0, 1.0])


def test_the_padded_share_counts_rows_that_have_the_input():
    assert padded_share([np.array([0, 1]), np.array([2])], np.array([1.0, 3.0, 0.0])) == pytest.approx(1 - 4 / 6)
    assert padded_share([np.array([0])], np.array([0.0])) == 0.0
