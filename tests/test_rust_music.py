"""The Rust functions on notes equal their twins."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

import twins
from vmusprod import _vmus_rs

I32 = np.iinfo(np.int32)
EXTREMES = st.sampled_from([I32.min, I32.min + 1, -1, 0, 1, I32.max - 1, I32.max])
times = st.floats(-2, 20) | st.sampled_from([0.0, 0.125, 0.375, -0.125, 1e8, -1e8])
timed_notes = st.lists(
    st.tuples(times, times, st.integers(60, 64) | st.integers(0, 127), st.integers(0, 127)),
    max_size=12,
)


def rows(
    onset: st.SearchStrategy[int], duration: st.SearchStrategy[int], low: int, high: int
) -> st.SearchStrategy[list[twins.Row]]:
    note = st.tuples(onset, duration, st.integers(low, high), st.integers(1, 127))
    return st.lists(note, max_size=24)


def as_array(notes: list[twins.Row]) -> NDArray[np.int32]:
    return np.array(notes, np.int32).reshape(-1, 4)


def triples(root: int, intervals: list[int], onset: int, duration: int) -> list[twins.Row]:
    return [(onset, duration, root + i, 64) for i in intervals]


def run_quantize(
    notes: list[tuple[float, float, int, int]], step: float, phase: float, longest: int
) -> NDArray[np.int32]:
    onset, offset, pitch, velocity = zip(*notes, strict=True) if notes else ([], [], [], [])
    return _vmus_rs.quantize(
        np.array(onset, np.float64),
        np.array(offset, np.float64),
        np.array(pitch, np.uint8),
        np.array(velocity, np.uint8),
        step,
        phase,
        longest,
    )


@given(timed_notes, st.sampled_from([0.125, 0.1, 1.0]), st.floats(-1, 1), st.integers(1, 64))
def test_quantize_equals_its_twin(
    notes: list[tuple[float, float, int, int]], step: float, phase: float, longest: int
) -> None:
    grid = run_quantize(notes, step, phase, longest)
    np.testing.assert_array_equal(grid, as_array(twins.quantize(notes, step, phase, longest)))


@given(timed_notes)
def test_quantize_gives_notes_that_keep_the_contract(
    notes: list[tuple[float, float, int, int]],
) -> None:
    grid = run_quantize(notes, 0.125, 0.0, 64)
    onset, duration, pitch, velocity = grid.T
    assert grid.dtype == np.int32
    assert grid.flags.c_contiguous
    assert (onset >= 0).all()
    assert ((duration >= 1) & (duration <= 64)).all()
    assert ((velocity >= 1) & (velocity <= 127)).all()
    assert sorted(set(zip(onset, pitch, strict=True))) == list(zip(onset, pitch, strict=True))
    for p in set(pitch.tolist()):
        same = pitch == p
        assert (onset[same][1:] >= (onset + duration)[same][:-1]).all()


@given(timed_notes)
def test_quantize_leaves_what_is_on_the_grid(
    notes: list[tuple[float, float, int, int]],
) -> None:
    once = run_quantize(notes, 0.125, 0.0, 64)
    again = [(o * 0.125, (o + d) * 0.125, p, v) for o, d, p, v in once.tolist()]
    np.testing.assert_array_equal(run_quantize(again, 0.125, 0.0, 64), once)


def test_quantize_defaults_to_four_bars() -> None:
    zero, end = np.zeros(1), np.array([1e6])
    pitch = np.array([60], np.uint8)
    assert _vmus_rs.quantize(zero, end, pitch, pitch, 1, 0).tolist() == [[0, 64, 60, 60]]


grid_notes = rows(st.integers(0, 40), st.integers(1, 20), 50, 75)
wild_notes = rows(st.integers(-9, 9) | EXTREMES, st.integers(-9, 9) | EXTREMES, 0, 127)


@given(grid_notes | wild_notes)
def test_skyline_equals_its_twin(notes: list[twins.Row]) -> None:
    assert _vmus_rs.skyline(as_array(notes)).tolist() == twins.skyline(notes)


@given(wild_notes, EXTREMES, EXTREMES)
def test_skyline_takes_any_pitch(notes: list[twins.Row], pitch: int, other: int) -> None:
    notes = [(o, d, pitch if i % 2 else other, v) for i, (o, d, _, v) in enumerate(notes)]
    assert _vmus_rs.skyline(as_array(notes)).tolist() == twins.skyline(notes)


chord_notes = st.lists(
    st.builds(
        triples,
        st.integers(36, 72),
        st.sampled_from([[0, 4, 7], [0, 3, 7], [0, 3, 6, 10], [0, 4, 8], [0, 2, 7], [0, 5, 7]]),
        st.integers(0, 30),
        st.integers(1, 12),
    ),
    max_size=8,
).map(lambda chords: [note for chord in chords for note in chord])


@given(grid_notes | chord_notes, st.integers(0, 12), st.sampled_from([4, 4, 1, 3, 7, 220]))
@example([(0, 40, 60, 64), *[(i, 1, 90, 64) for i in range(1, 20)]], 10, 4)
def test_recognize_chords_equals_its_twin(notes: list[twins.Row], beats: int, beat: int) -> None:
    ids = _vmus_rs.recognize_chords(as_array(notes), beats, beat)
    assert ids.dtype == np.uint8
    assert ids.tolist() == twins.recognize_chords(notes, beats, beat)


@given(wild_notes, st.integers(0, 5), st.sampled_from([4, 65536]))
def test_recognize_chords_takes_any_time(notes: list[twins.Row], beats: int, beat: int) -> None:
    ids = _vmus_rs.recognize_chords(as_array(notes), beats, beat)
    assert ids.tolist() == twins.recognize_chords(notes, beats, beat)


@given(chord_notes, st.integers(0, 12), st.randoms())
def test_recognize_chords_knows_no_order(notes: list[twins.Row], beats: int, random: Any) -> None:
    ids = _vmus_rs.recognize_chords(as_array(notes), beats)
    random.shuffle(notes)
    np.testing.assert_array_equal(_vmus_rs.recognize_chords(as_array(notes), beats), ids)


@pytest.mark.parametrize("root", range(12))
def test_recognize_chords_moves_with_the_root(root: int) -> None:
    notes = triples(48 + root, [0, 16, 19], 0, 8)
    assert _vmus_rs.recognize_chords(as_array(notes), 2).tolist() == [root * 10] * 2


@given(
    st.lists(st.integers(-3, 9) | EXTREMES, max_size=9),
    st.lists(st.integers(-2, 8) | EXTREMES, max_size=20).map(sorted),
)
def test_bar_ranges_equals_its_twin(query: list[int], source: list[int]) -> None:
    ranges = _vmus_rs.bar_ranges(np.array(query, np.int32), np.array(source, np.int32))
    expected = np.array(twins.bar_ranges(query, source), np.int32).reshape(-1, 2)
    np.testing.assert_array_equal(ranges, expected)
