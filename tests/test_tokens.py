"""Scores to tokens and back, and the numbers that give each token its place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from music_strategies import assert_grid, at_levels, chord_ids, grid_notes, rough_notes
from vmusprod.music import tokens as tk

BARS = 5
Row = tuple[int, int, int, int]


def twin_normalise(rows: list[Row]) -> list[Row]:
    """The laws one by one, with dictionaries."""
    merged: dict[tuple[int, int], tuple[int, int]] = {}
    for onset, duration, pitch, velocity in rows:
        longest, loudest = merged.get((onset, pitch), (0, 0))
        merged[onset, pitch] = max(duration, longest), max(velocity, loudest)
    out = []
    for (onset, pitch), (duration, velocity) in sorted(merged.items()):
        again = min((o for o, p in merged if p == pitch and o > onset), default=10**9)
        out.append((onset, max(1, min(duration, again - onset, tk.MAX_DURATION)), pitch, velocity))
    return out


@given(rough_notes(BARS))
def test_normalise_equals_its_laws(rough: tk.Notes) -> None:
    notes = tk.normalise(rough)
    assert_grid(notes)
    assert [tuple(r) for r in notes.tolist()] == twin_normalise([tuple(r) for r in rough.tolist()])


@given(rough_notes(BARS), st.randoms(use_true_random=False))
def test_normalise_minds_neither_order_nor_repetition(
    rough: tk.Notes, random: np.random.Generator
) -> None:
    notes = tk.normalise(rough)
    rows = rough.tolist()
    random.shuffle(rows)
    again = np.array(rows, np.int32).reshape(-1, 4)
    assert np.array_equal(tk.normalise(again), notes)
    assert np.array_equal(tk.normalise(notes), notes)


@given(grid_notes(BARS), chord_ids(BARS))
def test_round_trip(notes: tk.Notes, chords: NDArray[np.uint8]) -> None:
    both = tk.encode(BARS, chords=chords, notes=notes)
    assert both.dtype == np.int16
    for tokens in (both, tk.encode(BARS, notes=notes)):
        decoded = tk.decode_notes(tokens)
        assert decoded.dtype == np.int32
        assert np.array_equal(decoded, at_levels(notes))
    for tokens in (both, tk.encode(BARS, chords=chords)):
        assert np.array_equal(tk.decode_chords(tokens, BARS), chords)
    again = tk.encode(BARS, chords=chords, notes=tk.decode_notes(both))
    assert np.array_equal(again, both)


@given(grid_notes(BARS), chord_ids(BARS), st.booleans(), st.booleans())
def test_stream_is_well_formed(
    notes: tk.Notes, chords: NDArray[np.uint8], with_notes: bool, with_chords: bool
) -> None:
    tokens = tk.encode(
        BARS, chords=chords if with_chords else None, notes=notes if with_notes else None
    )
    assert (tokens >= 0).all()
    assert (tokens < tk.SIZES).all()
    assert np.flatnonzero(tokens[:, tk.BARBEAT] == 1).size == BARS
    keys = tk.stream_keys(tokens)
    assert (np.diff(keys) > 0).all()
    bar, step = tk.places(tokens)
    assert [tk.token_key(t, b, s) for t, b, s in zip(tokens, bar, step, strict=True)] == list(keys)
    assert (keys // tk.KEY_BAR == bar).all()
    if with_chords:  # each bar can be read on its own
        opens = np.flatnonzero(tokens[:, tk.BARBEAT] == 1)
        assert (tokens[opens + 1, tk.TYPE] == tk.CHORD).all()


@given(grid_notes(BARS), chord_ids(BARS))
def test_equal_places_lie_a_whole_number_of_bars_apart(
    notes: tk.Notes, chords: NDArray[np.uint8]
) -> None:
    later = notes + np.array([BARS * 16, 0, 0, 0], np.int32)
    twice = tk.encode(
        2 * BARS, chords=np.r_[chords, chords], notes=np.concatenate([at_levels(notes), later])
    )
    first, second = np.split(twice, 2)
    assert np.array_equal(first, second)
    keys = tk.stream_keys(twice)
    assert (keys[len(first) :] - keys[: len(first)] == BARS * tk.KEY_BAR).all()


def test_the_end_token_comes_last() -> None:
    tokens = tk.encode(2, notes=np.array([[31, 1, 127, 100]], np.int32))
    keys = tk.stream_keys(np.concatenate([tokens, np.zeros((1, 7), np.int16)]))
    assert keys[-2] < keys[-1] < 2 * tk.KEY_BAR


def test_what_lies_outside_the_bars_is_left_out() -> None:
    notes = np.array([[0, 64, 60, 80], [16, 1, 60, 80]], np.int32)
    chords = np.zeros(8, np.uint8)
    assert np.array_equal(tk.decode_notes(tk.encode(1, notes=notes)), at_levels(notes[:1]))
    assert np.array_equal(tk.decode_chords(tk.encode(1, chords=chords), 1), chords[:4])
    assert tk.encode(0).shape == (0, 7)


def test_unsorted_notes_are_refused() -> None:
    with pytest.raises(ValueError, match="sorted"):
        tk.encode(2, notes=np.array([[16, 1, 60, 80], [0, 1, 60, 80]], np.int32))


def test_velocity_levels() -> None:
    velocity = np.arange(1, 128)
    level = tk.velocity_level(velocity)
    assert level.min() == 0
    assert level.max() == tk.VELOCITY_LEVELS - 1
    assert (np.diff(level) >= 0).all()
    centre = tk.level_velocity(np.arange(tk.VELOCITY_LEVELS))
    assert np.array_equal(tk.velocity_level(centre), np.arange(tk.VELOCITY_LEVELS))
    inside = (velocity >= 18) & (velocity < 114)
    assert np.abs(tk.level_velocity(level) - velocity)[inside].max() <= 6


def test_chord_attributes() -> None:
    ids = np.arange(121, dtype=np.uint8)
    root, quality = tk.chord_attributes(ids)
    assert np.array_equal(tk.chord_ids(root, quality), ids)
    assert (root >= 1).all()
    assert root.max() < tk.SIZES[tk.ROOT]
    assert quality.max() < tk.SIZES[tk.QUALITY]
    tones = {"C7": (0, 4, 7, 10), "Am": (9, 0, 4), "Fsus2": (5, 7, 0)}
    for name, chord in (("C7", 2), ("Am", 91), ("Fsus2", 58)):
        chroma = tk.CHROMA[root[chord], quality[chord]]
        assert set(np.flatnonzero(chroma)) == set(tones[name])
    assert not tk.CHROMA[13].any()
