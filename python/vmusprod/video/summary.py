"""A video in a few numbers by source, whatever its length: what a whole song is guessed from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.video.features import VideoFeatures, seconds
from vmusprod.video.rows import log_motion, unit_rows

__all__ = ["SUMMARY_SIZES", "summarise"]

Array = NDArray[np.float64]

SUMMARY_SIZES = {"motion": 22, "affect": 23, "semantic": 768}
"""How many numbers sum up each source."""
_QUANTILES = (5, 20, 35, 50, 65, 80, 95)
_PARTS = 4
"""A slope is what the first and the last of so many parts have over the whole."""


def summarise(features: VideoFeatures, without: tuple[str, ...] = ()) -> dict[str, Array]:
    """Sum up the sources at hand: by source float64 (`SUMMARY_SIZES`,).

    motion: mean, spread, quantiles, roughness and slope of its logarithm, rate and slope of the
    cuts, quantiles of the shots' lengths; affect: means, spreads, quantiles and slopes, mean of
    valence times arousal; semantic: the mean direction. Sources in `without` count as missing.
    """
    found: dict[str, Array] = {}
    count = seconds(features.duration)
    if "motion" not in without:
        found["motion"] = _motion(features, count)
    if features.affect is not None and "affect" not in without:
        valence, arousal = np.clip(features.affect[:count].astype(np.float64), -1, 1).T
        plain = [valence.mean(), arousal.mean(), valence.std(), arousal.std()]
        found["affect"] = np.concatenate([
            plain, _quantiles(valence), _quantiles(arousal), [(valence * arousal).mean()],
            _slope(valence), _slope(arousal),
        ])  # fmt: skip
    if features.semantic is not None and "semantic" not in without:
        rows = unit_rows(features.semantic[:count].astype(np.float64))
        found["semantic"] = rows.mean(axis=0)
    return found


def _motion(features: VideoFeatures, count: int) -> Array:
    motion = log_motion(features, count)
    place = np.minimum(features.cuts.astype(np.int64), count - 1)
    cut = np.zeros(count)
    cut[place] = 1
    shots = np.diff(np.concatenate([[0], features.cuts.astype(np.float64), [features.duration]]))
    rough = np.abs(np.diff(motion)).mean() if count > 1 else 0.0
    numbers = np.concatenate([
        [motion.mean(), motion.std(), rough], _quantiles(motion), _slope(motion),
        [np.sqrt(cut.mean())], _slope(cut), _quantiles(np.log1p(np.maximum(shots, 0))),
    ])  # fmt: skip
    return np.asarray(numbers, np.float64)


def _quantiles(values: Array) -> Array:
    return np.asarray(np.percentile(values, _QUANTILES))


def _slope(values: Array) -> Array:
    part = max(len(values) // _PARTS, 1)
    ends = np.array([values[:part].mean(), values[-part:].mean()])
    return np.asarray(ends - values.mean())
