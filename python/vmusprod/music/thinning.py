"""Fewer notes in a bar: those that carry least, weak places and inner voices first.

Which notes go is a matter of their place in the bar and the chord, so that a figure that is thinned
in one bar is thinned alike in the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

__all__ = ["count_notes", "thin"]

_LEAST = 2
"""Notes that a bar keeps whatever is wanted."""
_STRENGTH = np.array([4, 0, 1, 0, 2, 0, 1, 0, 3, 0, 1, 0, 2, 0, 1, 0], np.float64)
"""Of the sixteen places in a bar of four beats."""
_BASS, _TOP, _LONG = 3.0, 1.0, 0.08


def count_notes(notes: tk.Notes, bars: int) -> NDArray[np.int64]:
    """Onsets in each of `bars` bars, (bars,)."""
    return np.bincount(notes[:, 0] // tk.STEPS_PER_BAR, minlength=bars)[:bars].astype(np.int64)


def thin(notes: tk.Notes, most: NDArray[np.floating]) -> tk.Notes:
    """Grid notes (N, 4), sorted, with at most `most` (bars,) of them in each bar, but two at least.

    The lowest note of an onset, strong places and long notes are kept first, then the highest.
    """
    if not len(notes):
        return notes
    onset, duration = notes[:, 0], notes[:, 1]
    value = _STRENGTH[onset % tk.STEPS_PER_BAR] + _LONG * np.minimum(duration, 16)
    first = np.r_[True, onset[1:] != onset[:-1]]
    last = np.r_[first[1:], True]
    value += _BASS * first + _TOP * (last & ~first)
    bar = onset // tk.STEPS_PER_BAR
    room = np.maximum(np.floor(most), _LEAST)
    # In each bar the notes of most value first; of equals the earlier.
    order = np.lexsort((np.arange(len(notes)), -value, bar))
    count = np.bincount(bar, minlength=len(most))
    begins = np.concatenate([[0], np.cumsum(count)[:-1]])
    rank = np.empty(len(notes), np.int64)
    rank[order] = np.arange(len(notes)) - begins[bar[order]]
    kept = rank < room[np.minimum(bar, len(most) - 1)]
    return np.ascontiguousarray(notes[kept])
