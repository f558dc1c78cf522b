"""The chord model equals its twin, and names what is plain."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import chord_twin
from twins import NO_CHORD, Row
from vmusprod import _vmus_rs

MODEL = chord_twin.Model()
note_lists = st.lists(
    st.tuples(
        st.integers(-6, 30),
        st.integers(-1, 20) | st.integers(0, 200),
        st.integers(36, 84) | st.integers(0, 127),
        st.just(64),
    ),
    max_size=30,
)


def as_array(notes: list[Row]) -> NDArray[np.int32]:
    return np.array(notes, np.int32).reshape(-1, 4)


@given(note_lists, st.integers(0, 9))
def test_features_and_scores_equal_their_twins(notes: list[Row], beats: int) -> None:
    expected = chord_twin.features(notes, beats)
    seen = _vmus_rs.chord_features(as_array(notes), beats)
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    scores = _vmus_rs.chord_scores(as_array(notes), beats)
    np.testing.assert_allclose(scores, MODEL.scores(expected), atol=1e-3, rtol=1e-4)


@given(note_lists, st.integers(1, 9))
def test_the_path_is_worth_as_much_as_the_best(notes: list[Row], beats: int) -> None:
    path = _vmus_rs.decode_chords(as_array(notes), beats)
    scores = _vmus_rs.chord_scores(as_array(notes), beats).astype(np.float64)
    worth = MODEL.path_score(scores, path.tolist())
    assert worth == pytest.approx(MODEL.best_path_score(scores), abs=1e-2)


@given(note_lists, st.integers(1, 11))
def test_transposed_notes_have_transposed_scores(notes: list[Row], up: int) -> None:
    """Within a register and clear of its ends, as the registers do not move along."""
    inside = [(o, d, 53 + p % 3, v) for o, d, p, v in notes]
    moved = [(o, d, p + up, v) for o, d, p, v in inside]
    scores = _vmus_rs.chord_scores(as_array(inside), 6)
    expected = np.append(np.roll(scores[:, :NO_CHORD], 10 * up, axis=1), scores[:, NO_CHORD:], 1)
    np.testing.assert_allclose(_vmus_rs.chord_scores(as_array(moved), 6), expected, atol=1e-3)


def block(beats: range, pitches: list[int]) -> list[Row]:
    return [(4 * b, 4, pitch, 64) for b in beats for pitch in pitches]


@pytest.mark.parametrize("up", range(12))
def test_plain_chords_are_named_on_every_root(up: int) -> None:
    chords = {0: [48, 60, 64, 67], 1: [48, 60, 63, 67], 2: [48, 64, 67, 70], 4: [48, 63, 67, 70]}
    for quality, pitches in chords.items():
        notes = as_array(block(range(8), [pitch + up for pitch in pitches]))
        ids = _vmus_rs.decode_chords(notes, 8)[
            1:7
        ]  # what begins and ends a song may be heard apart
        assert ids.tolist() == [10 * up + quality] * 6


def test_chords_change_on_any_beat() -> None:
    c, g, a = [48, 60, 64, 67], [43, 59, 62, 67], [45, 60, 64, 69]
    notes = as_array([*block(range(4), c), *block(range(4, 7), g), *block(range(7, 12), a)])
    ids = _vmus_rs.decode_chords(notes, 12).tolist()
    assert ids[:4] == [0] * 4
    assert ids[4:7] == [70] * 3
    assert ids[8:] == [91] * 4


def test_silence_and_extremes() -> None:
    empty = np.zeros((0, 4), np.int32)
    assert _vmus_rs.decode_chords(empty, 4).tolist() == [NO_CHORD] * 4
    assert _vmus_rs.decode_chords(empty, 0).shape == (0,)
    i32 = np.iinfo(np.int32)
    values = [i32.min, -1, 0, 1, i32.max]
    notes = as_array(
        [(o, d, p, v) for o in values for d in values for p in (0, 127) for v in values]
    )
    assert _vmus_rs.decode_chords(notes, 50).max() <= NO_CHORD
