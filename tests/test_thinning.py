"""Thinning an accompaniment: no bar has too many notes, and what carries it stays."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.music import tokens as tk
from vmusprod.music.thinning import count_notes, thin

NOTES = st.lists(
    st.tuples(st.integers(0, 63), st.integers(1, 64), st.integers(21, 108), st.integers(1, 127)),
    max_size=60,
)


def value(notes: list[list[int]], note: list[int]) -> float:
    place = note[0] % 16
    strength = {0: 4, 8: 3, 4: 2, 12: 2}.get(place, 1 if place % 2 == 0 else 0)
    together = [n[2] for n in notes if n[0] == note[0]]
    bonus = 0.0
    if note[2] == min(together):
        bonus = 3.0
    elif note[2] == max(together):
        bonus = 1.0
    return strength + bonus + 0.08 * min(note[1], 16)


@given(NOTES, st.lists(st.integers(-3, 20), min_size=4, max_size=4))
def test_the_least_go_first(given_notes: list[tuple[int, ...]], most: list[int]) -> None:
    notes = tk.normalise(np.array(given_notes, np.int32).reshape(-1, 4))
    kept = thin(notes, np.array(most, float))
    rows, left = notes.tolist(), kept.tolist()
    assert left == [row for row in rows if row in left]
    for bar in range(4):
        here = [row for row in rows if row[0] // 16 == bar]
        stay = [row for row in left if row[0] // 16 == bar]
        assert len(stay) == min(len(here), max(most[bar], 2))
        gone = [row for row in here if row not in stay]
        if gone and stay:
            least = min(value(here, row) for row in stay)
            assert max(value(here, row) for row in gone) <= least + 1e-9
    assert count_notes(notes, 4).sum() == len(notes)


def test_figures_are_thinned_alike() -> None:
    figure = [[s, 1, p, 60] for s, p in zip(range(16), [48, 60, 64, 67] * 4, strict=True)]
    notes = np.array([[s + 16 * b, d, p, v] for b in range(3) for s, d, p, v in figure], np.int32)
    kept = thin(notes, np.full(3, 6.0))
    bars = [kept[kept[:, 0] // 16 == b][:, 0] % 16 for b in range(3)]
    assert len(bars[0]) == 6
    assert all(np.array_equal(bars[0], b) for b in bars)
    assert {0, 4, 8, 12} <= set(bars[0].tolist())
