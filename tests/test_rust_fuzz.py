"""Every function of the core that takes notes, on any notes at all: an answer or a ValueError."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from vmusprod import _vmus_rs as rs

Notes = NDArray[np.int32]

EDGES = [-(2**31), -(2**31) + 1, -1, 0, 1, 63, 64, 127, 128, 2**31 - 1]
whole = st.one_of(st.integers(0, 200), st.sampled_from(EDGES), st.integers(-(2**31), 2**31 - 1))
wild = arrays(np.int32, st.tuples(st.integers(0, 25), st.just(4)), elements=whole)
# Pitches and velocities that are in range let the wild times through.
tame_pitch = st.lists(
    st.tuples(whole, whole, st.integers(0, 127), st.integers(1, 127)), max_size=25
).map(lambda rows: np.array(rows, np.int32).reshape(-1, 4))
notes = st.one_of(wild, tame_pitch)
beats = st.one_of(st.integers(0, 40), st.sampled_from([-1, 2**20 + 1, 2**63 - 1]))

GRID: dict[str, Callable[[Notes, int], object]] = {
    "skyline": lambda n, b: rs.skyline(n),
    "recognize_chords": lambda n, b: rs.recognize_chords(n, b, max(b, 1)),
    "decode_chords": lambda n, b: rs.decode_chords(n, b),
    "chord_scores": lambda n, b: rs.chord_scores(n, b),
    "chord_features": lambda n, b: rs.chord_features(n, b),
    "melody_notes": lambda n, b: rs.melody_notes(n, bool(b % 2)),
    "melody_odds": lambda n, b: rs.melody_odds(n, bool(b % 2)),
    "melody_features": lambda n, b: rs.melody_features(n),
    "encode_tokens": lambda n, b: rs.encode_tokens(b, None, n),
}


@pytest.mark.parametrize("name", GRID)
@settings(max_examples=60)
@given(notes=notes, count=beats)
def test_any_grid_notes(name: str, notes: Notes, count: int) -> None:
    before = notes.copy()
    with suppress(ValueError):
        found: Any = GRID[name](notes, count)
        assert np.isfinite(np.asarray(found, np.float64)).all()
    np.testing.assert_array_equal(notes, before)


times = st.one_of(
    st.floats(0, 60), st.floats(), st.sampled_from([0.0, -0.0, 1e-300, 1e18, 1e300, float("inf")])
)


@settings(max_examples=80)
@given(st.data(), st.integers(0, 40), st.booleans())
def test_any_notes_in_time(data: st.DataObject, size: int, in_order: bool) -> None:
    onset, offset = (data.draw(arrays(np.float64, size, elements=times)) for _ in range(2))
    if in_order:
        onset = np.sort(np.abs(np.nan_to_num(onset, posinf=50.0)))
    pitch, velocity = (data.draw(arrays(np.uint8, size)) for _ in range(2))
    if in_order:
        pitch, velocity = pitch & 127, velocity & 127
    calls: list[Callable[[], object]] = [
        lambda: rs.quantize(onset, offset, pitch, velocity, 0.1, 0.0),
        lambda: rs.find_beats(onset, offset, pitch, velocity),
        lambda: rs.find_pulses(onset),
        lambda: rs.find_downbeats(onset, offset, pitch, velocity, 0.5 * np.arange(20)),
        lambda: rs.find_downbeats(onset, offset, pitch, velocity, onset),
    ]
    for call in calls:
        with suppress(ValueError):
            call()
