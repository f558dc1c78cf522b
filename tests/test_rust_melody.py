"""The melody's functions equal their twins, and keep their promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import melody_twin
from twins import Row
from vmusprod import _vmus_rs

MODEL = melody_twin.Model()

# Few pitches and onsets, so that notes meet; now and then far ones.
note_lists = st.lists(
    st.tuples(
        st.integers(-2, 40) | st.integers(-400, 400),
        st.integers(-1, 20) | st.integers(0, 200),
        st.integers(58, 74) | st.integers(0, 127),
        st.integers(60, 80) | st.integers(-5, 200),
    ),
    min_size=1,
    max_size=24,
)


def as_array(notes: list[Row]) -> NDArray[np.int32]:
    return np.array(notes, np.int32).reshape(-1, 4)


def any_odds(count: int) -> st.SearchStrategy[NDArray[np.float32]]:
    return arrays(np.float32, (count,), elements=st.floats(-12, 12, width=32))


@given(note_lists)
def test_features_equal_their_twin(notes: list[Row]) -> None:
    found = _vmus_rs.melody_features(as_array(notes))
    np.testing.assert_array_equal(found, melody_twin.features(notes))
    assert (found < melody_twin.SIZES).all()


@given(note_lists, st.sampled_from([None, True, False]))
@settings(max_examples=60)
def test_odds_equal_their_twin(notes: list[Row], solo: bool | None) -> None:
    notes = list({(o, p): (o, d, p, v) for o, d, p, v in notes}.values())
    found = _vmus_rs.melody_odds(as_array(notes), solo)
    expected = MODEL.odds(notes, {None: 0.0, True: 1.0, False: -1.0}[solo])
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_odds_of_a_song_equal_their_twin() -> None:
    """Long enough for every convolution to reach from end to end."""
    rng = np.random.default_rng(5)
    rows = [
        np.sort(rng.integers(0, 500, 300)),
        *rng.integers([[1], [40], [50]], [[9], [90], [100]], (3, 300)),
    ]
    notes = sorted({(o, p): (o, d, p, v) for o, d, p, v in np.array(rows).T.tolist()}.values())
    found = _vmus_rs.melody_odds(as_array(notes))
    np.testing.assert_allclose(found, MODEL.odds(notes, 0.0), atol=2e-3)
    assert (found > -8).sum() > 30


@given(note_lists.flatmap(lambda notes: st.tuples(st.just(notes), any_odds(len(notes)))))
def test_the_line_is_worth_as_much_as_the_best(
    case: tuple[list[Row], NDArray[np.float32]],
) -> None:
    notes, odds = case
    line = _vmus_rs.melody_line(as_array(notes), odds)
    worth = melody_twin.line_score(notes, odds, line.tolist())
    assert worth == pytest.approx(melody_twin.best_line_score(notes, odds), abs=1e-3)


def test_a_crowded_onset_gives_one_note() -> None:
    notes = as_array([(0, 4, 40 + i, 64) for i in range(40)])
    assert _vmus_rs.melody_line(notes, np.ones(40, np.float32)).sum() == 1


@given(note_lists, st.sampled_from([None, True, False]))
def test_melody_is_the_line_on_its_odds(notes: list[Row], solo: bool | None) -> None:
    array = as_array(notes)
    odds = _vmus_rs.melody_odds(array, solo)
    assert odds.shape == (len(notes),)
    assert np.abs(odds).max() <= 8
    melody = _vmus_rs.melody_notes(array, solo)
    line = _vmus_rs.melody_line(array, odds)
    np.testing.assert_array_equal(melody, line)
    onsets = array[melody, 0]
    assert len(set(onsets.tolist())) == len(onsets)


@given(note_lists, st.integers(0, 2**20))
def test_order_does_not_matter(notes: list[Row], seed: int) -> None:
    notes = list({(o, p): (o, d, p, v) for o, d, p, v in notes}.values())
    order = np.random.default_rng(seed).permutation(len(notes))
    array = as_array(notes)
    expected = _vmus_rs.melody_notes(array)[order]
    np.testing.assert_array_equal(_vmus_rs.melody_notes(array[order]), expected)


def test_extremes_are_answered() -> None:
    i32 = np.iinfo(np.int32)
    values = [i32.min, -1, 0, 1, i32.max]
    array = as_array(
        [(o, d, p, v) for o in values for d in values for p in (0, 127) for v in values]
    )
    assert (_vmus_rs.melody_features(array) < melody_twin.SIZES).all()
    assert np.isfinite(_vmus_rs.melody_odds(array)).all()
    assert _vmus_rs.melody_notes(array).shape == (len(array),)
    empty = np.zeros((0, 4), np.int32)
    assert _vmus_rs.melody_notes(empty).shape == (0,)
    assert _vmus_rs.melody_odds(empty).shape == (0,)
    assert _vmus_rs.melody_features(empty).shape == (0, len(melody_twin.SIZES))


def test_a_plain_tune_over_chords_is_found() -> None:
    tune = [67, 69, 71, 72, 74, 72, 71, 69] * 4
    notes = [(2 * i, 2, pitch, 90) for i, pitch in enumerate(tune)]
    notes += [(8 * i, 8, pitch, 60) for i in range(8) for pitch in (48, 52, 55)]
    array = as_array(sorted(notes, key=lambda note: (note[0], note[2])))
    melody = array[_vmus_rs.melody_notes(array, solo=True), 2].tolist()
    assert sum(pitch >= 67 for pitch in melody) >= 28
    assert all(pitch >= 67 for pitch in melody)
