"""A video as rows a second: what the chord stage sees, and what the heads begin with."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from vmusprod.video.features import MOTION_STEP, VideoFeatures

__all__ = ["log_motion", "product", "unit_rows", "video_rows"]

_Number = TypeVar("_Number", np.float32, np.float64)


def log_motion(features: VideoFeatures, count: int) -> NDArray[np.float64]:
    """Log of 1 + the mean motion of each of `count` seconds, the last step held: (count,)."""
    a_second = round(1 / MOTION_STEP)
    steps = np.pad(features.motion.astype(np.float64), (0, a_second * count), mode="edge")
    means = steps[: a_second * count].reshape(count, a_second).mean(axis=1)
    return np.asarray(np.log1p(means))


def unit_rows(rows: NDArray[_Number]) -> NDArray[_Number]:
    """Rows (S, D) of length 1, in their type; those of no length stay so."""
    unit: NDArray[_Number] = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return unit


def product(rows: NDArray[_Number], weight: NDArray[_Number]) -> NDArray[_Number]:
    """Rows (..., D) by a matrix (D, K), with the same bits on any number of threads.

    BLAS shares sums out over as many threads as there are.
    """
    result: NDArray[_Number] = np.einsum("...i,io->...o", rows, weight)
    return result


def video_rows(
    features: VideoFeatures, start: float, end: float, without: tuple[str, ...] = ()
) -> dict[str, NDArray[np.float32]]:
    """The rows a second, (S, size), of each source at hand from `start` to `end` seconds.

    Sources named in `without` are left out. Motion is the mean of the second's steps, beside it
    whether a cut falls into the second.
    """
    steps = np.pad(features.motion, (0, -len(features.motion) % 5), mode="edge")
    motion = np.stack([steps.reshape(-1, 5).mean(1)] * 2, 1).astype(np.float32)
    cut = np.bincount(features.cuts.astype(np.int64), minlength=len(motion))[: len(motion)]
    motion[:, 1] = cut > 0
    sources = {
        "motion": motion,
        "color": features.color,
        "affect": features.affect,
        "semantic": features.semantic,
    }
    here = {name: rows for name, rows in sources.items() if rows is not None}
    # MIDI's tempo is in whole microseconds, so that the last bar may end a hair after the video.
    first = min(int(start), min(map(len, here.values())) - 1)
    last = min(max(int(np.ceil(end)), first + 1), min(map(len, here.values())))
    return {
        name: np.asarray(rows[first:last], np.float32).reshape(last - first, -1)
        for name, rows in here.items()
        if name not in without
    }
