"""From the common key to the piece's, and from a stretch of bars to the piece."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk


def from_common_key(key: tuple[int, int]) -> int:
    """Semitones from C major or A minor to the key, -6..5."""
    return (key[0] - (9 if key[1] else 0) + 6) % 12 - 6


def transpose_chords(chords: NDArray[np.uint8], shift: int) -> NDArray[np.uint8]:
    """Chord ids moved by some semitones; no chord stays none."""
    ids = chords.astype(np.int64)
    moved = (ids // 10 + shift) % 12 * 10 + ids % 10
    return np.where(ids >= tk.NO_CHORD, tk.NO_CHORD, moved).astype(np.uint8)


def moved_notes(notes: tk.Notes, bars: int, semitones: int, length: int) -> tk.Notes:
    """Notes moved in time and pitch; those that leave the `length` bars or 0..127 fall away."""
    moved = notes + np.array([bars * tk.STEPS_PER_BAR, 0, semitones, 0], np.int32)
    inside = (moved[:, 0] >= 0) & (moved[:, 0] < length * tk.STEPS_PER_BAR)
    return tk.normalise(moved[inside & (moved[:, 2] >= 0) & (moved[:, 2] <= 127)])
