"""Near-duplicates: what is found, what is not, and that crowds cost little."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from triptych.contract.examined import SKETCH
from triptych.data.near import Groups, clusters, correlation, fingerprints, near_pairs


def sketches(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, SKETCH), dtype=np.uint8)


def alike(sketches_NS: np.ndarray, correlated: float, seed: int = 1) -> np.ndarray:
    """Each one mixed with noise so that it has about that correlation with what it was."""
    noise = np.random.default_rng(seed).normal(0, sketches_NS.std(), sketches_NS.shape) * np.sqrt(1 / correlated**2 - 1)
    return np.clip(0.6 * (sketches_NS + noise) + 50, 0, 255).astype(np.uint8)


def found(sketches_NS: np.ndarray, least: float = 0.9) -> set[tuple[int, int]]:
    return {
        (min(a, b), max(a, b))
        for some_a, some_b in near_pairs(sketches_NS, least)
        for a, b in zip(some_a.tolist(), some_b.tolist(), strict=True)
    }


def test_near_copies_are_found_and_strangers_are_not():
    originals = sketches(2000)
    for correlated, least in ((0.995, 0.98), (0.98, 0.8)):
        pairs = found(np.concatenate([originals, alike(originals, correlated)]))
        right = {(n, n + 2000) for n in range(2000)}
        assert len(pairs & right) >= least * 2000 and not pairs - right


def test_a_fingerprint_does_not_see_light_and_contrast():
    some = sketches(100) // 2
    assert (fingerprints(some) == fingerprints(some + 40)).mean() > 0.9
    np.testing.assert_allclose(correlation(some, some + 40), 1, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60))
def test_equal_contents_are_one_cluster_and_nothing_else_is(seed, count):
    content = np.random.default_rng(seed).integers(0, 20, count).astype(np.uint64)
    made = clusters(content, np.array([], np.intp), np.zeros((0, SKETCH), np.uint8), 0.9)
    assert all((made[a] == made[b]) == (content[a] == content[b]) for a in range(count) for b in range(count))


def test_a_crowd_of_the_same_costs_little_and_is_one_cluster():
    crowd = np.repeat(sketches(1), 20_000, axis=0)
    content = np.arange(20_000, dtype=np.uint64)  # saved in as many ways
    assert len(set(clusters(content, np.arange(20_000), crowd, 0.9).tolist())) == 1


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 40),
    pieces=st.lists(st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=20), max_size=5),
)
def test_groups_are_the_connected_components(count, pieces):
    groups, edges = Groups(count), []
    for piece in pieces:
        pairs = np.array([(a % count, b % count) for a, b in piece], np.intp).reshape(-1, 2)
        edges += pairs.tolist()
        groups.join(pairs[:, 0], pairs[:, 1])
        assert not groups.apart(pairs[:, 0], pairs[:, 1]).any()
    graph = coo_matrix((np.ones(len(edges)), (([a for a, _ in edges], [b for _, b in edges]))), (count, count))
    _, label_N = connected_components(graph, directed=False)
    expected = [int(np.flatnonzero(label_N == label)[0]) for label in label_N]
    assert groups.root_N.tolist() == expected
