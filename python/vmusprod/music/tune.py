"""Whether a melody is one: a model may get stuck, forget to come in, or sing too low or high."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

__all__ = ["oddity"]

WINDOW = 16
"""Bars that are looked at together."""
MAX_REPEATED, MAX_COMMONEST, MAX_EMPTY, MIN_PITCHES = 0.62, 0.58, 0.2, 5
"""Of 3009 windows of SymMV's melodies, 98 in 100 have fewer notes that repeat the one before, fewer
of the commonest pitch, fewer bars without melody (0.12), and as many different pitches."""
MIN_SOUNDING = 0.25
"""Share of any four bars in which a melody sounds, in 98 of 100 windows."""
MEDIANS = 64, 81
"""Pitches; tunes whose median lies lower than nine in ten of these windows hardly stand out, those
higher than nine in ten cannot be sung."""
_FEW = 4  # bars
_ENOUGH = 16  # notes that should have so many pitches


def oddity(melody: tk.Notes, bars: int) -> float:
    """How far a melody of `bars` bars is outside of what real ones do in its worst 16 bars.

    0 for a melody like any other. `melody`: grid notes (N, 4) from bar 0, one voice.
    """
    starts = range(0, max(bars - WINDOW, 0) + 1, WINDOW // 2)
    return max(_oddity(melody, first, min(WINDOW, bars)) for first in starts)


def _oddity(melody: tk.Notes, first: int, bars: int) -> float:
    start, stop = first * tk.STEPS_PER_BAR, (first + bars) * tk.STEPS_PER_BAR
    here = melody[(melody[:, 0] < stop) & (melody[:, 0] + melody[:, 1] > start)]
    spans = np.stack([here[:, 0], here[:, 0] + here[:, 1] - 1], 1) // tk.STEPS_PER_BAR - first
    heard = np.zeros(bars, bool)
    for begin, end in np.clip(spans, 0, bars - 1).tolist():
        heard[begin : end + 1] = True
    odd = max(float(1 - heard.mean()) - MAX_EMPTY, 0.0)
    odd += max(
        MIN_SOUNDING - _least_sounding(here[:, :2] - np.array([start, 0], np.int32), bars), 0.0
    )
    pitches = here[:, 2]
    if len(pitches) >= _ENOUGH // 2:
        odd += max(float((np.diff(pitches) == 0).mean()) - MAX_REPEATED, 0.0)
        median = float(np.median(pitches))
        odd += 0.05 * max(MEDIANS[0] - median, median - MEDIANS[1], 0.0)
        odd += max(float(np.bincount(pitches).max() / len(pitches)) - MAX_COMMONEST, 0.0)
    if len(pitches) >= _ENOUGH:
        odd += 0.1 * max(MIN_PITCHES - len(np.unique(pitches)), 0)
    return odd


def _least_sounding(spans: NDArray[np.int32], bars: int) -> float:
    """Share of the sixteenths that sound in the emptiest four bars; spans: (N, 2) onset, length."""
    change = np.zeros(bars * tk.STEPS_PER_BAR + 1, np.int64)
    onset, end = np.clip([spans[:, 0], spans[:, 0] + spans[:, 1]], 0, len(change) - 1)
    np.add.at(change, onset, 1)
    np.add.at(change, end, -1)
    by_bar = (np.cumsum(change)[:-1] > 0).reshape(bars, -1).mean(axis=1)
    few = min(bars, _FEW)
    return float(np.convolve(by_bar, np.full(few, 1 / few), "valid").min())
