"""Hypothesis strategies and small makers for music on the grid."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from vmusprod.music import tokens as tk


def rough_notes(bars: int, most: int = 40) -> st.SearchStrategy[tk.Notes]:
    """Any rows (N, 4): unsorted, repeated, overlapping, longer than a grid note may be."""
    row = st.tuples(
        st.integers(0, bars * 16 - 1),
        st.integers(1, 80),
        st.one_of(st.integers(0, 127), st.integers(60, 63)),
        st.integers(1, 127),
    )
    return st.lists(row, max_size=most).map(lambda rows: np.array(rows, np.int32).reshape(-1, 4))


def grid_notes(bars: int, most: int = 40) -> st.SearchStrategy[tk.Notes]:
    """Notes as the contract has them, any velocity."""
    return rough_notes(bars, most).map(tk.normalise)


def chord_ids(bars: int) -> st.SearchStrategy[NDArray[np.uint8]]:
    """One id a beat; few different ones, so that chords last."""
    ids = st.one_of(st.integers(0, 120), st.sampled_from([0, 120]))
    size = bars * tk.BEATS_PER_BAR
    return st.lists(ids, min_size=size, max_size=size).map(lambda x: np.array(x, np.uint8))


def at_levels(notes: tk.Notes) -> tk.Notes:
    """The notes with the velocities that tokens can say."""
    out = notes.copy()
    out[:, 3] = tk.level_velocity(tk.velocity_level(notes[:, 3]))
    return out


def assert_grid(notes: tk.Notes, longest: int = tk.MAX_DURATION) -> None:
    """Check every law of the contract."""
    assert notes.dtype == np.int32
    assert notes.ndim == 2
    assert notes.shape[1] == 4
    assert notes.flags.c_contiguous
    rows = notes.tolist()
    assert [(r[0], r[2]) for r in rows] == sorted({(r[0], r[2]) for r in rows})
    sounding: dict[int, int] = {}
    for onset, duration, pitch, velocity in rows:
        assert 1 <= duration <= longest
        assert 0 <= pitch <= 127
        assert 1 <= velocity <= 127
        assert sounding.get(pitch, 0) <= onset
        sounding[pitch] = onset + duration
