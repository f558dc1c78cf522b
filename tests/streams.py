"""What every written stream must be, whatever the dice said."""

from __future__ import annotations

import numpy as np

from vmusprod.models.grammar import (
    BASS_CEILING,
    MAX_CLOSING_NOTES,
    MIN_CLOSING_NOTES,
    TONIC,
    Frame,
)
from vmusprod.music import tokens as tk


def tonic_tones(mode: int) -> set[int]:
    return {0, 4, 7} if mode == 0 else {9, 0, 4}


def longest_silence(notes: tk.Notes, first: int, steps: int) -> int:
    """16ths from `first` to `steps` that pass at most without a sounding note."""
    sounding = np.zeros(steps, bool)
    for onset, duration, *_ in notes.tolist():
        sounding[onset : onset + duration] = True
    longest = run = 0
    for heard in sounding[first:]:
        run = 0 if heard else run + 1
        longest = max(longest, run)
    return longest


def assert_well_formed(tokens: tk.Tokens, frame: Frame, content: int) -> None:
    """Check the order of a stream that writes tokens of type `content`."""
    assert tokens.dtype == np.int16
    assert (tokens >= 0).all()
    assert (tokens < tk.SIZES).all()
    kind, barbeat = tokens[:, tk.TYPE], tokens[:, tk.BARBEAT]
    assert set(kind.tolist()) <= {tk.RHYTHM, content}
    assert ((barbeat > 0) == (kind == tk.RHYTHM)).all()
    assert barbeat[0] == 1
    assert (barbeat == 1).sum() == frame.bars
    assert (np.diff(tk.stream_keys(tokens)) > 0).all()
    moves = np.flatnonzero(barbeat > 1)
    assert (kind[moves + 1] == content).all()  # a place is named because something happens there
    used = {tk.NOTE: (tk.PITCH, tk.DURATION, tk.VELOCITY), tk.CHORD: (tk.ROOT, tk.QUALITY)}
    for name, columns in used.items():
        assert ((tokens[:, columns] > 0).all(1) == (kind == name)).all()


def assert_chords(tokens: tk.Tokens, frame: Frame) -> None:
    """Check a finished chord stream."""
    assert_well_formed(tokens, frame, tk.CHORD)
    bar, step = tk.places(tokens)
    chord = tokens[:, tk.TYPE] == tk.CHORD
    assert (step[chord] % tk.STEPS_PER_BEAT == 0).all()
    opens = tokens[:, tk.BARBEAT] == 1
    assert chord[np.flatnonzero(opens) + 1].all()
    ids = tk.decode_chords(tokens, frame.bars)
    root, quality = TONIC[frame.mode]
    beat = frame.closing // tk.STEPS_PER_BEAT
    assert (ids[beat:] == root * 10 + quality).all()
    assert (bar * 16 + step)[chord][-1] == beat * tk.STEPS_PER_BEAT
    if frame.bars >= 3:  # a dominant or subdominant before the tonic
        assert not {int(c) for c in ids[-8:-4]} & {0, 91, tk.NO_CHORD}


def assert_melody(tokens: tk.Tokens, frame: Frame) -> None:
    """Check a finished melody."""
    assert_well_formed(tokens, frame, tk.NOTE)
    notes = tk.decode_notes(tokens)
    assert np.array_equal(tk.encode(frame.bars, notes=notes), tokens)
    assert (np.diff(notes[:, 0]) > 0).all()  # one voice
    _assert_close(notes, frame)
    assert (notes[:, 0] == frame.closing).sum() == 1


def assert_accompaniment(tokens: tk.Tokens, frame: Frame, melody: tk.Notes) -> None:
    """Check a finished accompaniment under its melody."""
    assert_well_formed(tokens, frame, tk.NOTE)
    notes = tk.decode_notes(tokens)
    assert np.array_equal(tk.encode(frame.bars, notes=notes), tokens)
    _assert_close(notes, frame)
    last = notes[notes[:, 0] == frame.closing]
    assert MIN_CLOSING_NOTES <= len(last) <= MAX_CLOSING_NOTES
    assert last[0, 2] < BASS_CEILING
    assert last[0, 2] % 12 == TONIC[frame.mode][0]
    both = np.concatenate([notes, melody])
    assert longest_silence(both, frame.first_step, frame.steps) <= frame.silence


def _assert_close(notes: tk.Notes, frame: Frame) -> None:
    onset, end = notes[:, 0], notes[:, 0] + notes[:, 1]
    assert onset.min() >= frame.first_step
    assert onset.max() == frame.closing
    assert end.max() == frame.steps
    last = onset == frame.closing
    assert (end[last] == frame.steps).all()
    assert {int(p) % 12 for p in notes[last, 2]} <= tonic_tones(frame.mode)
