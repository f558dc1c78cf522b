"""Compound tokens: the event representation of paper section 4.2 (Fig. 4a).

A token is a stack of attributes, one row of an `int16` array of shape (T, 7); columns are named by
the constants below. An attribute that a token does not have is 0.

    rhythm  BARBEAT = 1 opens a bar, 2 + p moves to the p-th 16th of the bar (0 <= p < 16)
    note    PITCH = 1 + MIDI pitch, DURATION = 16ths (1..64), VELOCITY = 1 + level (0..7)
    chord   ROOT = 1 + root (13: no chord), QUALITY = 1 + quality (11: no chord)
    end     all zero; also serves as the start token

Stream order inside a bar: the bar token, the chord of the bar's first beat (always restated, so
that a bar can be read on its own), then for each 16th where something happens its rhythm token, the
chord if it changes there, and the notes from low to high. `stream_keys` gives each token a number
that grows strictly along the stream; everything that looks tokens up by musical place builds on it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod import _vmus_rs

TYPE, BARBEAT, PITCH, DURATION, VELOCITY, ROOT, QUALITY = range(7)
ATTRIBUTES = ("type", "barbeat", "pitch", "duration", "velocity", "root", "quality")
END, RHYTHM, NOTE, CHORD = range(4)
SIZES = (4, 18, 129, 65, 9, 14, 12)
"""Number of values of each attribute, 0 (absent) included."""

STEPS_PER_BAR = 16
STEPS_PER_BEAT = 4
BEATS_PER_BAR = 4
MAX_DURATION = 64
NO_CHORD = 120
QUALITIES = ("M", "m", "7", "M7", "m7", "o", "o7", "+", "sus2", "sus4")
_INTERVALS = (
    (0, 4, 7), (0, 3, 7), (0, 4, 7, 10), (0, 4, 7, 11), (0, 3, 7, 10),
    (0, 3, 6), (0, 3, 6, 9), (0, 4, 8), (0, 2, 7), (0, 5, 7),
)  # fmt: skip

VELOCITY_LEVELS = 8
_VELOCITY_LOW, _VELOCITY_STEP = 18, 12

KEY_BAR = 1 << 12
"""Stream keys of consecutive bars lie this far apart."""
_KEY_STEP = 200

Tokens = NDArray[np.int16]
Notes = NDArray[np.int32]


def _chroma_table() -> NDArray[np.float32]:
    table = np.zeros((14, 12, 12), np.float32)
    for root in range(12):
        for quality, intervals in enumerate(_INTERVALS):
            table[root + 1, quality + 1, [(root + i) % 12 for i in intervals]] = 1
    return table


CHROMA = _chroma_table()
"""(14, 12, 12): the binary chroma of a chord, indexed by its ROOT and QUALITY attributes."""


def velocity_level(velocity: NDArray[np.integer]) -> NDArray[np.int32]:
    """MIDI velocities to levels 0..7 (12 apart, centred on 24, 36, ... 108)."""
    level = (velocity.astype(np.int32) - _VELOCITY_LOW) // _VELOCITY_STEP
    return np.clip(level, 0, VELOCITY_LEVELS - 1)


def level_velocity(level: NDArray[np.integer]) -> NDArray[np.int32]:
    """Levels 0..7 to the MIDI velocity at their centre."""
    return level.astype(np.int32) * _VELOCITY_STEP + _VELOCITY_LOW + _VELOCITY_STEP // 2


def chord_attributes(chords: NDArray[np.uint8]) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Chord ids (0..119, 120 = none) to the ROOT and QUALITY attributes."""
    ids = chords.astype(np.int16)
    none = ids >= NO_CHORD
    return np.where(none, 13, ids // 10 + 1), np.where(none, 11, ids % 10 + 1)


def chord_ids(root: NDArray[np.integer], quality: NDArray[np.integer]) -> NDArray[np.uint8]:
    """ROOT and QUALITY attributes to chord ids."""
    none = (root < 1) | (root > 12) | (quality < 1) | (quality > 10)
    ids = (root.astype(np.int32) - 1) * 10 + quality.astype(np.int32) - 1
    return np.where(none, NO_CHORD, ids).astype(np.uint8)


def encode(
    bars: int, *, chords: NDArray[np.uint8] | None = None, notes: Notes | None = None
) -> Tokens:
    """Tokens of `bars` bars, without the end token, (T, 7).

    chords: one id a beat, shape (4 * bars,); notes: sorted grid notes (N, 4); what lies outside the
    bars is left out. Either may be None: chords alone make the chord stage's stream, notes alone a
    decoder's, both together the accompaniment encoder's source. Raises ValueError when the notes
    are not sorted.
    """
    return _vmus_rs.encode_tokens(bars, chords, notes)


def _key(
    bar: NDArray[np.integer], step: NDArray[np.integer], within: NDArray[np.integer]
) -> NDArray[np.int64]:
    return bar.astype(np.int64) * KEY_BAR + 2 + step.astype(np.int64) * _KEY_STEP + within


def places(tokens: Tokens) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Bar and 16th of each token: (T,), (T,). A token before the first bar stands at bar 0."""
    barbeat = tokens[:, BARBEAT]
    bar = np.maximum(np.cumsum(barbeat == 1) - 1, 0).astype(np.int32)
    moves = barbeat > 0
    last = np.maximum.accumulate(np.where(moves, np.arange(len(tokens)), 0))
    step = np.maximum(barbeat[last] - 2, 0) if len(tokens) else np.zeros(0, np.int16)
    return bar, step.astype(np.int32)


def stream_keys(tokens: Tokens) -> NDArray[np.int64]:
    """Give each token of a well-formed stream a number, strictly growing, int64 (T,)."""
    bar, step = places(tokens)
    kind = tokens[:, TYPE]
    within = np.zeros(len(tokens), np.int64)
    within[kind == NOTE] = 1 + tokens[kind == NOTE, PITCH]
    within[kind == CHORD] = np.where(step[kind == CHORD] == 0, -1, 1)
    keys = _key(bar, step, within)
    keys[tokens[:, BARBEAT] == 1] = bar[tokens[:, BARBEAT] == 1].astype(np.int64) * KEY_BAR
    keys[kind == END] = (bar[kind == END].astype(np.int64) + 1) * KEY_BAR - 1
    return keys


def token_key(token: NDArray[np.integer], bar: int, step: int) -> int:
    """`stream_keys` of one token that stands at (bar, step)."""
    if token[BARBEAT] == 1:
        return bar * KEY_BAR
    kind = token[TYPE]
    within = 0
    if kind == NOTE:
        within = 1 + int(token[PITCH])
    elif kind == CHORD:
        within = -1 if step == 0 else 1
    return bar * KEY_BAR + 2 + step * _KEY_STEP + within


def decode_notes(tokens: Tokens) -> Notes:
    """Grid notes (N, 4) of a stream; the inverse of `encode(notes=...)`."""
    bar, step = places(tokens)
    kept = tokens[:, TYPE] == NOTE
    note = tokens[kept]
    onset = bar[kept] * STEPS_PER_BAR + step[kept]
    velocity = level_velocity(note[:, VELOCITY] - 1)
    return np.stack([onset, note[:, DURATION], note[:, PITCH] - 1, velocity], 1).astype(np.int32)


def decode_chords(tokens: Tokens, bars: int) -> NDArray[np.uint8]:
    """One chord id a beat, shape (4 * bars,); the inverse of `encode(chords=...)`."""
    bar, step = places(tokens)
    kept = tokens[:, TYPE] == CHORD
    beat = bar[kept] * BEATS_PER_BAR + step[kept] // STEPS_PER_BEAT
    chords = np.full(bars * BEATS_PER_BAR, NO_CHORD, np.uint8)
    ids = chord_ids(tokens[kept, ROOT], tokens[kept, QUALITY])
    for start, stop, chord in zip(beat, [*beat[1:], len(chords)], ids, strict=True):
        chords[start:stop] = chord
    return chords


def normalise(notes: Notes) -> Notes:
    """Make notes such as a grid can hold: sorted, one a place and pitch, no pitch overlapping.

    Of equal (onset, pitch) the longest stays, with the loudest velocity; a note that still sounds
    when its pitch is struck again ends there. Durations are clipped to 1..64.
    """
    if not len(notes):
        return np.zeros((0, 4), np.int32)
    order = np.lexsort((-notes[:, 1], notes[:, 2], notes[:, 0]))
    sorted_ = notes[order].astype(np.int32)
    first = np.ones(len(sorted_), bool)
    first[1:] = (sorted_[1:, [0, 2]] != sorted_[:-1, [0, 2]]).any(1)
    loudest = np.maximum.reduceat(sorted_[:, 3], np.flatnonzero(first))
    out = sorted_[first]
    out[:, 3] = loudest
    by_pitch = np.lexsort((out[:, 0], out[:, 2]))
    line = out[by_pitch]
    gap = np.where(line[1:, 2] == line[:-1, 2], line[1:, 0] - line[:-1, 0], MAX_DURATION)
    line[:-1, 1] = np.minimum(line[:-1, 1], gap)
    line[:, 1] = np.clip(line[:, 1], 1, MAX_DURATION)
    out[by_pitch] = line
    return np.ascontiguousarray(out)
