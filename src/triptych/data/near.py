"""Which values of a column are the same, or nearly, in flat memory and without comparing all with all.

Equal content hashes are the same value. For near-duplicates each different value's sketch gives 64 bits, the sides of 64
fixed random planes on which it lies (Charikar 2002): two sketches of correlation c differ in about 64 acos(c) / pi of them.
Pairs that differ in at most 7 bits are found by four bands of 16 bits: one band then differs in at most one bit, and the 17
keys that do are looked up in the sorted band. Candidates are then judged by the correlation of their sketches themselves.

Found: nearly all pairs of correlation 0.99 and more, about 9 in 10 at 0.98 (see `tests/data/test_near.py`). Missed: pairs that
differ in more bits; and in a band where more than `CROWD` values share one key, those that stand further apart than that in the
order of the whole fingerprint. What a sketch itself does not survive (a crop, another wording) is said in the room's `examine.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from triptych.contract.examined import SKETCH

BITS, BANDS, WIDE = 64, 4, 16
MOST_BITS = 7
CROWD = 64
PAIRS = 1 << 11  # judged at once: 2 x 2 MB as float32
_ONES = np.array([bin(number).count("1") for number in range(1 << WIDE)], np.uint8)


def fingerprints(sketches_NS: np.ndarray, places: np.ndarray | None = None) -> np.ndarray:
    """64 bits for each sketch, or those at `places`, uint64: alike ones differ in few of them."""
    chosen = np.arange(len(sketches_NS)) if places is None else places
    planes_SB = np.random.Generator(np.random.PCG64(1)).standard_normal((SKETCH, BITS), np.float32)
    planes_SB -= planes_SB.mean(0)  # an even rise of all bytes changes nothing
    made = [np.zeros(0, np.uint64)]
    for start in range(0, len(chosen), PAIRS):
        signs = sketches_NS[chosen[start : start + PAIRS]].astype(np.float32) @ planes_SB > 0
        made.append(np.packbits(signs, axis=1, bitorder="little").view("<u8")[:, 0].astype(np.uint64))
    return np.concatenate(made)


def distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """In how many bits each pair of fingerprints differs."""
    differ = np.atleast_1d(np.bitwise_xor(first, second)).astype("<u8")
    return _ONES[differ[:, None].view("<u2")].sum(-1)


def correlation(first_PS: np.ndarray, second_PS: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each pair of sketches, float32 (P,)."""
    a, b = (x.astype(np.float32) - x.mean(1, dtype=np.float32, keepdims=True) for x in (first_PS, second_PS))
    size = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return (a * b).sum(1) / np.maximum(size, 1e-6)


def clusters(content_N: np.ndarray, sketched: np.ndarray, sketches_NS: np.ndarray, alike: float) -> np.ndarray:
    """A number for each value, equal where values are the same or near-duplicates, directly or through others.

    Args:
        content_N: hash of each value's content.
        sketched: places of the values that have a sketch.
        sketches_NS: their sketches.
        alike: correlation from which two values count as one.
    """
    different, number_N = np.unique(content_N, return_inverse=True)
    first, places = np.unique(number_N[sketched], return_index=True)  # one sketch a different value
    groups = Groups(len(places))
    for a_P, b_P in near_pairs(sketches_NS, alike, places, groups.apart):
        groups.join(a_P, b_P)
    roots = np.arange(len(different))
    roots[first] = first[groups.root_N]
    return roots[number_N]


class Groups:
    """Things that are joined two by two; `root_N` is the least member of each one's group."""

    def __init__(self, count: int) -> None:
        """Each by itself."""
        self.root_N = np.arange(count)

    def apart(self, a_P: np.ndarray, b_P: np.ndarray) -> np.ndarray:
        """Which pairs are of two groups."""
        return np.asarray(self.root_N[a_P] != self.root_N[b_P])

    def join(self, a_P: np.ndarray, b_P: np.ndarray) -> None:
        """Make one group of the two of each pair. Pairs that are joined already cost next to nothing."""
        for a, b in np.unique(np.sort(self.root_N[np.stack([a_P, b_P], 1)], 1), axis=0).tolist():
            a, b = self._root(a), self._root(b)
            self.root_N[max(a, b)] = min(a, b)
        while True:
            flat_N = self.root_N[self.root_N]
            if np.array_equal(flat_N, self.root_N):
                return
            self.root_N = flat_N

    def _root(self, place: int) -> int:
        while self.root_N[place] != place:
            place = int(self.root_N[place])
        return place


def near_pairs(
    sketches_NS: np.ndarray,
    alike: float,
    places: np.ndarray | None = None,
    wanted: Callable[[np.ndarray, np.ndarray], np.ndarray] = lambda a_P, b_P: np.ones(len(a_P), bool),
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Near-duplicates among the sketches, or those at `places`, some thousands of pairs at a time; a pair may come more than once.

    Pairs of numbers counted along `places`. `wanted` says which of them are worth judging.
    """
    chosen = np.arange(len(sketches_NS)) if places is None else places
    prints_N = fingerprints(sketches_NS, chosen)
    for first, second in _candidates(prints_N):
        close = distance(prints_N[first], prints_N[second]) <= MOST_BITS
        first, second = first[close], second[close]
        for start in range(0, len(first), PAIRS):
            a, b = first[start : start + PAIRS], second[start : start + PAIRS]
            open_ = wanted(a, b)
            a, b = a[open_], b[open_]
            same = correlation(sketches_NS[chosen[a]], sketches_NS[chosen[b]]) >= alike
            yield a[same], b[same]


def _candidates(prints_N: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of places whose keys in one band differ in at most one bit."""
    places = np.arange(len(prints_N))
    for band in range(BANDS):
        keys_N = ((prints_N >> np.uint64(band * WIDE)) & np.uint64(0xFFFF)).astype(np.int64)
        order = np.lexsort((prints_N, keys_N))
        keys = keys_N[order]
        for flip in (0, *(1 << bit for bit in range(WIDE))):
            start = np.searchsorted(keys, keys ^ flip, "left") if flip else places + 1
            end = np.searchsorted(keys, keys ^ flip, "right")
            count = np.minimum(end - start, CROWD)
            if flip:
                count[keys > keys ^ flip] = 0  # the pair comes from its other side
            for part in _parts(count):
                many = count[part]
                steps = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
                yield order[np.repeat(places[part], many)], order[np.repeat(start[part], many) + steps]


def _parts(count: np.ndarray) -> Iterator[slice]:
    """Stretches of places that have some hundred thousand pairs together: memory stays flat."""
    ends = np.cumsum(count)
    before = 0
    while before < len(count) and ends[-1]:
        reached = ends[before - 1] if before else 0
        after = max(before + 1, int(np.searchsorted(ends, reached + 4 * PAIRS, "right")))
        yield slice(before, after)
        before = after
