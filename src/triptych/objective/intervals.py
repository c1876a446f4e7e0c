"""How far a score can be believed: bootstrap intervals, paired differences, McNemar's test.

Every score here is a function of sums over rows of a few numbers a row (hits, errors, counts of a class), so a thousand
resamples are one product: weights (draws x rows) times statistics (rows x K).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor

DRAWS = 1000
LEVEL = 0.95
EXACT = 1000
"""So many rows are counted out; of more, scipy's statistics are worth the second that it takes to import them."""
AT_ONCE = 2**24  # weights of resamples that are held together


@dataclass(frozen=True)
class Statistics:
    """What a score is made of: `rows` (N x K) summed over rows and given to `score` (sums ... x K -> ...)."""

    rows: Tensor
    score: Callable[[Tensor], Tensor]

    @property
    def value(self) -> float:
        """The score over all rows."""
        return float(self.score(self.rows.sum(0)))


@dataclass(frozen=True)
class Interval:
    """A score, or a difference of two, with the percentiles between which 95 % of the resamples lie."""

    value: float
    low: float
    high: float


def interval(statistics: Statistics, group_N: Tensor | None = None, seed: int = 0) -> Interval:
    """Percentile bootstrap (Efron and Tibshirani 1993, ch. 13). Rows of one group are drawn together: they are not independent."""
    drawn = torch.cat([statistics.score(sums) for sums in _resampled(statistics.rows, group_N, seed)])
    found = _percentiles(statistics.value, drawn)
    return _wilson(found, len(_units(statistics.rows, group_N))) if found.low == found.high and found.value in (0, 1) else found


def _wilson(found: Interval, units: int) -> Interval:
    """Where every resample is all right, or all wrong, the bootstrap sees no doubt; Wilson's interval (1927) does.

    Written out: scipy's statistics take a second to import, and this is nearly all that is used of them.
    """
    z2 = NormalDist().inv_cdf((1 + LEVEL) / 2) ** 2
    middle, reach = (found.value + z2 / (2 * units)) / (1 + z2 / units), z2 / (2 * units) / (1 + z2 / units)  # of shares 0 and 1
    return Interval(found.value, max(0.0, middle - reach), min(1.0, middle + reach))


def difference(before: Statistics, after: Statistics, group_N: Tensor | None = None, seed: int = 0) -> Interval:
    """After less before over the same rows: each resample judges both, so what is hard for both does not count as noise."""
    columns = before.rows.shape[1]
    both = torch.cat([before.rows, after.rows], dim=1)
    drawn = [after.score(sums[:, columns:]) - before.score(sums[:, :columns]) for sums in _resampled(both, group_N, seed)]
    return _percentiles(after.value - before.value, torch.cat(drawn))


def _resampled(rows_NK: Tensor, group_N: Tensor | None, seed: int) -> Iterator[Tensor]:
    """The sums of each resample (draws x K), some draws at a time."""
    rows_NK = _units(rows_NK, group_N)
    units = len(rows_NK)
    draw, each = np.random.default_rng(seed), max(1, AT_ONCE // units)
    for start in range(0, DRAWS, each):
        weights = draw.multinomial(units, np.full(units, 1 / units), size=min(each, DRAWS - start))
        yield torch.from_numpy(weights.astype(np.float64)) @ rows_NK


def _units(rows_NK: Tensor, group_N: Tensor | None) -> Tensor:
    """What is drawn: rows that count for something, or the sums of those of a group; of one group alone, its rows."""
    there_N = (rows_NK != 0).any(1)
    rows_NK = rows_NK[there_N].double()
    if group_N is None or not len(rows_NK):
        return rows_NK
    numbers_G, index_N = group_N[there_N].unique(return_inverse=True)
    if len(numbers_G) == 1:
        return rows_NK
    return rows_NK.new_zeros(len(numbers_G), rows_NK.shape[1]).index_add_(0, index_N, rows_NK)


def _percentiles(value: float, drawn: Tensor) -> Interval:
    drawn = drawn[drawn.isfinite()]  # a resample without the class a score is of has none
    if not len(drawn):
        return Interval(value, float("nan"), float("nan"))
    tail = (1 - LEVEL) / 2
    return Interval(value, *drawn.quantile(torch.tensor([tail, 1 - tail], dtype=drawn.dtype)).tolist())


def mcnemar(right_before_N: Tensor, right_after_N: Tensor) -> float:
    """Exact p-value (McNemar 1947): how likely so lopsided a change is if right turns wrong as often as wrong turns right."""
    gained, lost = int((~right_before_N & right_after_N).sum()), int((right_before_N & ~right_after_N).sum())
    moved = gained + lost
    if moved <= EXACT:
        return min(1.0, 2 * sum(math.comb(moved, i) for i in range(min(gained, lost) + 1)) / 2**moved)
    from scipy.stats import binomtest

    return float(binomtest(gained, moved, 0.5).pvalue)


def mean_of(value_N: Tensor) -> Statistics:
    """A plain mean of a number a row: accuracy of hits, recall, mean absolute error."""
    rows_N2 = torch.stack([value_N.double(), torch.ones(len(value_N), dtype=torch.float64)], 1)
    return Statistics(rows_N2, lambda sums: sums[..., 0] / sums[..., 1])


def macro_f1_of(right_NC: Tensor, given_NC: Tensor) -> Statistics:
    """Mean of the classes' F1, over classes that appear in the truth or the answers."""
    classes = right_NC.shape[1]
    rows = torch.cat([(right_NC & given_NC), right_NC, given_NC], 1).double()

    def score(sums: Tensor) -> Tensor:
        both, there, given = sums[..., :classes], sums[..., classes : 2 * classes], sums[..., 2 * classes :]
        f1 = torch.where(there + given > 0, 2 * both / (there + given), torch.nan)
        return f1.nanmean(-1)

    return Statistics(rows, score)


def r2_of(guess_N: Tensor, truth_N: Tensor) -> Statistics:
    """1 - sum of squared errors / sum of squares about the mean."""
    truth, error = truth_N.double(), (guess_N - truth_N).double()
    truth = truth - truth.mean()  # the sums below lose digits where the mean is far from zero
    rows = torch.stack([error.square(), truth, truth.square(), torch.ones_like(truth)], 1)

    def score(sums: Tensor) -> Tensor:
        spread = sums[..., 2] - sums[..., 1].square() / sums[..., 3]
        return torch.where(spread > 0, 1 - sums[..., 0] / spread, torch.nan)

    return Statistics(rows, score)


def mean_of_all(several: Sequence[Statistics]) -> Statistics:
    """The mean of some scores over the same rows: of several shuffles, say."""
    widths = [one.rows.shape[1] for one in several]

    def score(sums: Tensor) -> Tensor:
        parts = zip(several, sums.split(widths, dim=-1), strict=True)
        return torch.stack([one.score(part) for one, part in parts]).mean(0)

    return Statistics(torch.cat([one.rows for one in several], 1), score)
