"""A song as the models learn it: grid notes with what is known about them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Song", "trim_bars"]

BAR = 16


@dataclass(frozen=True)
class Song:
    """One song on its own grid.

    Attributes
    ----------
    id, source : str
        The data set's number, and `symmv` or `pop909`.
    notes : int32 (N, 4)
        Grid notes (onset, duration, pitch, velocity), the first bar with a note being bar 0.
    melody : bool (N,) or None
        Which notes are the melody, where the data set says so (POP909).
    key : (int, int)
        Tonic and mode as the data set labels it.
    chords : uint8 (beats,) or None
        Chord ids, one a quarter note (POP909).
    tempo : float
        Quarter notes a minute.
    fit : float
        How closely the onsets follow the grid, 0..1 (`Grid.concentration`).
    """

    id: str
    source: str
    notes: NDArray[np.int32]
    melody: NDArray[np.bool_] | None
    key: tuple[int, int]
    chords: NDArray[np.uint8] | None
    tempo: float
    fit: float


def trim_bars(notes: NDArray[np.int32]) -> tuple[NDArray[np.int32], int]:
    """The notes without the empty bars before the first, and how many those were."""
    if len(notes) == 0:
        return notes, 0
    bars = int(notes[0, 0]) // BAR
    trimmed = notes.copy()
    trimmed[:, 0] -= bars * BAR
    return trimmed, bars
