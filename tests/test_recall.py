"""Recall: the form that trains (all at once) and the form that writes (token by token) agree."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from music_strategies import chord_ids, grid_notes
from vmusprod.models.sampling import Past
from vmusprod.music import recall as rc
from vmusprod.music import tokens as tk

BARS = 7


def repeated(notes: tk.Notes, chords: NDArray[np.uint8], unit: int) -> tuple[tk.Tokens, tk.Tokens]:
    """Streams of BARS bars in which the first `unit` bars come again and again."""
    notes = notes[notes[:, 0] < unit * 16]
    parts = [notes + np.array([b * 16, 0, 0, 0], np.int32) for b in range(0, BARS, unit)]
    written = tk.normalise(np.concatenate(parts))
    return (
        tk.encode(BARS, notes=written),
        tk.encode(BARS, chords=np.resize(chords[: unit * 4], BARS * 4)),
    )


@settings(max_examples=40)
@given(grid_notes(BARS, 30), chord_ids(BARS), st.integers(1, BARS), st.booleans())
def test_step_by_step_equals_all_at_once(
    notes: tk.Notes, chords: NDArray[np.uint8], unit: int, with_source: bool
) -> None:
    tokens, source = repeated(notes, chords, unit)
    given_source = source if with_source else None
    whole = rc.recall(tokens, given_source)
    free = rc.free_lags(tokens, BARS, given_source)
    past = Past(BARS, given_source)
    bar, step = tk.places(tokens)
    for i, token in enumerate(tokens.astype(np.int64)):
        past.add(token, int(bar[i]), int(step[i]))
        assert past.free == free[bar[i]]
        assert np.array_equal(past.hints, whole.hint[i])
        assert [rc.run_level(int(r)) for r in past.runs] == list(whole.run[i])


@settings(max_examples=30)
@given(grid_notes(BARS, 30), chord_ids(BARS), st.integers(1, BARS))
def test_hints_by_the_definition(notes: tk.Notes, chords: NDArray[np.uint8], unit: int) -> None:
    tokens, _ = repeated(notes, chords, unit)
    keys = tk.stream_keys(tokens).tolist()
    bar, _ = tk.places(tokens)
    actual = rc.recall(tokens)
    for slot, lag in enumerate(rc.LAGS):
        run = 0
        for i, key in enumerate(keys):
            before = actual.hint[i - 1, slot] if i else -1
            right = before >= 0 and (tokens[before, rc.COMPARED] == tokens[i, rc.COMPARED]).all()
            run = run + 1 if right else 0
            assert actual.run[i, slot] == rc.run_level(run)
            place = bisect_right(keys, key - lag * tk.KEY_BAR)
            assert actual.hint[i, slot] == (place if bar[i] >= lag else -1)
            assert actual.hint[i, slot] <= i


def test_a_piece_that_repeats_two_bars_is_recalled() -> None:
    rng = np.random.default_rng(0)
    notes = np.stack(
        [np.arange(0, 32, 2), np.full(16, 2), rng.integers(50, 80, 16), np.full(16, 80)], 1
    ).astype(np.int32)
    chords = np.array([0, 0, 70, 70, 91, 91, 50, 50], np.uint8)
    tokens, _ = repeated(notes, chords, 2)
    lags = rc.free_lags(tokens, BARS, None)
    assert (lags[3:] == 2).all()
    slot = rc.LAGS.index(2)
    run = rc.recall(tokens).run[:, slot]
    assert run[-1] == rc.RUN_LEVELS - 1  # right for more than 32 tokens
    assert run[:17].max() == 0  # nothing to recall in the first bars


def test_bars_that_are_not_alike_have_no_free_lag() -> None:
    rows = [[16 * b + 2 * b, 4, 40 + 5 * b, 80] for b in range(BARS)]
    tokens = tk.encode(BARS, notes=np.array(rows, np.int32))
    assert not rc.free_lags(tokens, BARS, None).any()


def test_the_source_tells_bars_apart() -> None:
    """Bars under the same chords are preferred, though all bars hold the same notes."""
    rows = [[16 * b + s, 4, 60 + s, 80] for b in range(6) for s in (0, 4, 8)]
    chords = np.repeat([0, 30, 57, 0, 30, 57], 4).astype(np.uint8)
    tokens = tk.encode(6, notes=np.array(rows, np.int32))
    assert list(rc.free_lags(tokens, 6, tk.encode(6, chords=chords))[4:]) == [3, 3]
    assert rc.free_lags(tokens, 6, None)[5] == 1


def test_likeness_is_a_share() -> None:
    marks = np.zeros((3, rc.BINS), np.float32)
    marks[0, :4] = 1
    marks[1, 2:4] = 1
    alike = rc.likeness(marks)
    assert alike[0, 0] == alike[1, 1] == 1
    assert alike[0, 1] == alike[1, 0] == 0.5
    assert not alike[2].any()


def test_run_levels() -> None:
    runs = {0: 0, 1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 8: 4, 9: 5, 16: 5, 17: 6, 32: 6, 33: 7, 999: 7}
    assert {run: rc.run_level(run) for run in runs} == runs


def test_nothing_to_recall() -> None:
    empty = rc.recall(tk.encode(0))
    assert empty.hint.shape == empty.run.shape == (0, rc.SLOTS)
