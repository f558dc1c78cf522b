"""Thickening an accompaniment: tones of the chord under the melody, and nothing is taken away."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.music import tokens as tk
from vmusprod.music.thickening import thicken
from vmusprod.music.thinning import count_notes

NOTES = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 20), st.integers(30, 75), st.integers(1, 127)),
    max_size=40,
)
TUNE = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 8), st.integers(60, 90), st.just(80)), max_size=20
)


@given(NOTES, TUNE, st.lists(st.integers(0, 120), min_size=16, max_size=16),
       st.lists(st.floats(0, 40), min_size=4, max_size=4))  # fmt: skip
def test_what_is_added(
    rows: list[tuple[int, ...]], tune: list[tuple[int, ...]], ids: list[int], wanted: list[float]
) -> None:
    notes, melody = (tk.normalise(np.array(x, np.int32).reshape(-1, 4)) for x in (rows, tune))
    chords = np.array(ids, np.uint8)
    thick = thicken(notes, melody, chords, np.array(wanted))
    assert np.array_equal(thick, thicken(notes, melody, chords, np.array(wanted)))
    assert np.array_equal(thick, tk.normalise(thick))
    mine, all_ = {tuple(n) for n in notes.tolist()}, {tuple(n) for n in thick.tolist()}
    assert mine <= all_  # nothing is taken away, cut short or struck again
    before, after = count_notes(notes, 4), count_notes(thick, 4)
    assert (after <= np.maximum(before, np.floor(wanted))).all()
    assert ((before > 0) | (after == 0)).all()
    for onset, duration, pitch, velocity in all_ - mine:
        chord = ids[onset // 4]
        assert chord < tk.NO_CHORD
        assert tk.CHROMA[chord // 10 + 1, chord % 10 + 1, pitch % 12]
        assert 48 <= pitch <= 81
        assert 1 <= velocity <= 127
        assert (onset + duration - 1) // 16 == onset // 16
        assert set(ids[onset // 4 : (onset + duration - 1) // 4 + 1]) == {chord}
        beside = [n for n in all_ if n[0] <= onset < n[0] + n[1] and n[2] != pitch]
        assert all(abs(n[2] - pitch) >= 3 for n in beside)
        assert sum(n[0] == onset for n in beside) < 5
        sung = [n[2] for n in melody.tolist() if n[0] <= onset < n[0] + n[1]]
        assert all(pitch <= p - 3 for p in sung)


def test_figures_are_thickened_alike_until_it_is_enough() -> None:
    bass = [[16 * b + s, 8, p, 60] for b in range(4) for s, p in ((0, 41), (8, 48))]
    notes = np.array(bass, np.int32)
    tune = np.array([[16 * b, 16, 81, 80] for b in range(4)], np.int32)
    chords = np.full(16, 50, np.uint8)  # F major
    thick = thicken(notes, tune, chords, np.array([2.0, 9.0, 9.0, 100.0]))
    assert count_notes(thick, 4).tolist()[:3] == [2, 9, 9]
    assert count_notes(thick, 4)[3] > 14
    second, third = (thick[thick[:, 0] // 16 == b] - [16 * b, 0, 0, 0] for b in (1, 2))
    assert np.array_equal(second, third)
    assert {4, 12} <= set(second[:, 0].tolist())  # broken before it is struck fuller
    assert thicken(notes, tune, np.full(16, tk.NO_CHORD, np.uint8), np.full(4, 9.0)) is notes
