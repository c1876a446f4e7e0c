"""Segments in time, and which of them belong to a window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Match = Literal["any", "middle"] | float
CLOSE = 1e-9  # what a share of a segment may lose to rounding


class Segments:
    """Segments of many recordings, by recording and start, at 40 bytes each; those of a window are found by bisection."""

    def __init__(self, hashes: Sequence[int], starts: Sequence[float], ends: Sequence[float], places: Sequence[int]) -> None:
        """A segment that starts where it ends is a moment."""
        import numpy as np

        hashes_N, starts_N, places_N = np.array(hashes, np.uint64), np.array(starts, np.float64), np.array(places, np.int64)
        order = np.lexsort((places_N, starts_N, hashes_N))
        self.hashes_N: np.ndarray = hashes_N[order]
        self.starts_N: np.ndarray = starts_N[order]
        self.ends_N: np.ndarray = np.array(ends, np.float64)[order]
        self.places_N: np.ndarray = places_N[order]
        self.reached_N = self.ends_N.copy()  # the latest end so far: where it lies before a window, so do all ends up to there
        for part_S in np.split(self.reached_N, np.flatnonzero(self.hashes_N[1:] != self.hashes_N[:-1]) + 1):
            np.maximum.accumulate(part_S, out=part_S)  # a view: a recording's own

    def of(self, value: int) -> tuple[int, int]:
        """Where a recording's segments begin and end."""
        import numpy as np

        wanted = np.uint64(value)
        return int(np.searchsorted(self.hashes_N, wanted, "left")), int(np.searchsorted(self.hashes_N, wanted, "right"))

    def inside(self, bounds: tuple[int, int], first: float, last: float, match: Match) -> list[int]:
        """The places of a recording's segments that belong to the window from `first` to `last`, by their starts."""
        import numpy as np

        low, high = bounds
        stop = low + int(np.searchsorted(self.starts_N[low:high], last, "right"))
        start = low + int(np.searchsorted(self.reached_N[low:high], first, "left"))
        if start >= stop:
            return []
        fits_N = belongs(self.starts_N[start:stop], self.ends_N[start:stop], first, last, match)
        return [int(place) for place in self.places_N[start:stop][fits_N]]


def belongs(starts_N: np.ndarray, ends_N: np.ndarray, first: float, last: float, match: Match) -> np.ndarray:
    """Which segments belong to the window. A moment belongs to the window that starts at it, not to the one that ends there."""
    import numpy as np

    if first == last:  # the window is a moment itself
        return (starts_N <= first) & ((first < ends_N) | (starts_N == first) & (ends_N == first))
    if match == "middle":
        middles_N = (starts_N + ends_N) / 2
        return (first <= middles_N) & (middles_N < last)
    both_N = np.minimum(ends_N, last) - np.maximum(starts_N, first)
    wide_N = both_N > 0 if match == "any" else both_N >= float(match) * (ends_N - starts_N) - CLOSE
    return np.where(starts_N == ends_N, (first <= starts_N) & (starts_N < last), wide_N & (both_N > 0))
