"""Video-music CLIP precision (paper, section 5.2): retrieval figures with bootstrap intervals.

For each piece of music its own video is ranked by score among M candidate videos, the other M - 1
drawn without replacement from the other pairs' videos. P@K is the share of pieces whose video is
among the first K, AR the mean rank, counted from 1: chance is K / M and (M + 1) / 2.

Nothing is left to the luck of the draw: a video that b of the n - 1 others beat has a rank of
hypergeometric distribution, whose mean and chance of being within K are known. Videos of equal
score stand in random order, averaged out likewise.

The intervals are percentiles of a bootstrap over pairs, each drawn with its music and its video,
since the pieces share their candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import VmusError

__all__ = ["PRECISIONS", "Figure", "Retrieval", "retrieval"]

PRECISIONS = (5, 10, 20)
_RESAMPLES = 1000
_BLOCK = 1 << 24  # cells of one product

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Retrieval:
    """Figures of `n` pieces ranked among `m` candidates; `precision` by K."""

    n: int
    m: int
    precision: dict[int, Figure]
    average_rank: Figure

    def to_dict(self) -> dict[str, object]:
        """Return `n, m, p5, p10, p20, ar`, and `p5_interval` to `ar_interval`, [low, high]."""
        figures = {f"p{k}": figure for k, figure in self.precision.items()}
        figures["ar"] = self.average_rank
        row: dict[str, object] = {"n": self.n, "m": self.m}
        row |= {name: figure.value for name, figure in figures.items()}
        return row | {f"{name}_interval": [f.low, f.high] for name, f in figures.items()}


def retrieval(
    scores: Scores | Sequence[Scores],
    candidates: int = 70,
    seed: int = 0,
    own: NDArray[np.integer] | None = None,
) -> Retrieval:
    """Rank each piece's own video by `scores`, (n, v): pieces of music by row, videos by column.

    `own`, (n,): the column of each piece's video; not given, the diagonal is meant. Several
    matrices are pools of their own (folds), whose figures are taken together. `seed` is of the
    bootstrap. Raises VmusError: fewer videos in a pool than candidates, fewer than two candidates,
    a score that is not finite.
    """
    pools = [scores] if isinstance(scores, np.ndarray) else list(scores)
    for pool in pools:
        _check(pool, candidates)
    rng = np.random.default_rng(seed)
    parts = [
        _figures(pool, np.arange(len(pool)) if own is None else own, candidates, rng)
        for pool in pools
    ]
    weights = np.array([len(pool) for pool in pools], np.float64)
    size = min(len(part[1]) for part in parts)
    value = np.average([part[0] for part in parts], axis=0, weights=weights)
    spread = np.average([part[1][:size] for part in parts], axis=0, weights=weights)
    low, high = np.percentile(spread, [2.5, 97.5], axis=0)
    figures = [Figure(*map(float, row)) for row in zip(value, low, high, strict=True)]
    precision = dict(zip(PRECISIONS, figures, strict=False))
    return Retrieval(sum(map(len, pools)), candidates, precision, figures[-1])


def _check(scores: Scores, candidates: int) -> None:
    if scores.ndim != 2 or len(scores) == 0:
        raise ValueError(f"scores must be a matrix, not {scores.shape}")
    videos = scores.shape[1]
    if candidates < 2:
        raise VmusError(f"{candidates} candidates: at least 2 are needed to rank anything")
    if videos < candidates:
        raise VmusError(
            f"{videos} videos, but {candidates} candidates: give more pairs, or fewer candidates "
            f"(--candidates {max(videos, 2)})"
        )
    if not np.isfinite(scores).all():
        raise VmusError("a score is not finite")


def _figures(
    scores: Scores, own: NDArray[np.integer], candidates: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(4,) P@5, P@10, P@20 and AR; (resamples, 4) the same of resampled pairs."""
    pieces, count = scores.shape
    row = np.arange(pieces)
    true = scores[row, own][:, None]
    # How far each other video beats the own one: 1, by chance 1/2, 0.
    beats = ((scores > true).astype(np.float32) + (scores >= true).astype(np.float32)) / 2
    beats[row, own] = 0
    ties = (scores == true).sum(axis=1, keepdims=True) - 1
    table = _expectations(count, candidates)
    value = _looked_up(table, beats.sum(axis=1, keepdims=True), ties).mean(axis=(0, 1))
    resamples = min(_RESAMPLES, max(200, 4 * _BLOCK // (pieces * count)))
    spread = []
    step = max(1, _BLOCK // max(pieces, count))
    for first in range(0, resamples, step):
        size = min(step, resamples - first)
        weight = rng.multinomial(count, np.full(count, 1 / count), size).T.astype(np.float32)
        mine = weight[own]
        beaten = beats @ weight * (count - 1) / np.maximum(count - mine, 1)
        found = _looked_up(table, beaten, ties)
        total = np.maximum(mine.sum(axis=0), 1)[:, None]
        spread.append(np.einsum("irk,ir->rk", found, mine) / total)
    return value, np.concatenate(spread)


def _expectations(count: int, candidates: int) -> NDArray[np.float64]:
    """(count, 4): chance of rank within 5, 10, 20 and mean rank, by how many others are better."""
    better = np.arange(count)
    drawn = np.arange(max(PRECISIONS))
    factorial = np.array([lgamma(n + 1) for n in range(count + 1)])

    def choose(n: NDArray[np.int64], k: NDArray[np.int64]) -> NDArray[np.float64]:
        inside = (k >= 0) & (k <= n)
        n, k = np.where(inside, n, 0), np.where(inside, k, 0)
        return np.where(inside, factorial[n] - factorial[k] - factorial[n - k], -np.inf)

    worse = count - 1 - better[:, None]
    ways = choose(better[:, None], drawn[None]) + choose(worse, candidates - 1 - drawn[None])
    every = choose(np.array(count - 1), np.array(candidates - 1))
    within = np.cumsum(np.exp(ways - every), axis=1)
    columns = [np.minimum(within[:, k - 1], 1.0) for k in PRECISIONS]
    columns.append(1 + better * (candidates - 1) / (count - 1))
    return np.stack(columns, axis=1)


def _looked_up(
    table: NDArray[np.float64], beaten: NDArray[np.floating], ties: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Expectations (..., 4) where `beaten` others, ties counted half, are better.

    A mean over the places that the own video may take among its ties; straight lines between whole
    numbers.
    """
    total = np.concatenate([np.zeros((1, 4)), np.cumsum(table, axis=0)])
    low = np.clip(beaten - ties / 2, 0, len(table) - 1)
    high = np.clip(low + ties, 0, len(table) - 1) + 1
    summed = _between(total, high) - _between(total, low)
    return np.asarray(summed / (high - low)[..., None], np.float64)


def _between(table: NDArray[np.float64], place: NDArray[np.floating]) -> NDArray[np.float64]:
    whole = np.minimum(place.astype(np.int64), len(table) - 2)
    share = (place - whole)[..., None]
    return np.asarray(table[whole] * (1 - share) + table[whole + 1] * share, np.float64)
