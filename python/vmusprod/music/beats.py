"""Tempo, beats and bars of notes in time.

No published SymMV file has beats: its clock is seconds, and most pianists drift. The Rust core
finds them (`vmus_rs/src/beats`): the pulse that the onsets follow, how many pulses make a beat, and
which beats begin a bar. What it weighs is fitted to POP909 (`vmusprod.dataset.metre_fit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vmusprod._vmus_rs import find_beats
from vmusprod.music.grid import Grid, join_grids
from vmusprod.music.score import TimedNotes

__all__ = ["Stretch", "fit_grid", "fit_stretches", "main_stretch"]


@dataclass(frozen=True)
class Stretch:
    """A part of a piece with a tempo of its own, and the notes that start in it."""

    notes: TimedNotes
    grid: Grid


def fit_grid(notes: TimedNotes) -> Grid | None:
    """Fit one grid to a whole piece, its stretches joined; None for under 16 events or 6 seconds.

    `Grid.concentration` says how well the onsets follow it: noise reaches 0.3, and below 0.6 the
    grid means little.
    """
    stretches = fit_stretches(notes)
    return join_grids([stretch.grid for stretch in stretches]) if stretches else None


def fit_stretches(notes: TimedNotes) -> list[Stretch]:
    """The stretches of a piece in order: most have one, tutorials a second and slower one.

    Raises ValueError for notes that are not sorted by onset or span over two days.
    """
    found = find_beats(notes.onset, notes.offset, notes.pitch, notes.velocity)
    return [
        Stretch(notes.select(slice(first, stop)), Grid(times, kept.astype(np.intp), fit, size))
        for first, stop, times, kept, fit, size in found
    ]


def main_stretch(stretches: Sequence[Stretch]) -> Stretch:
    """Return the one with most notes on its grid.

    Of two with about as many it is the first: a tutorial plays a piece twice.
    """
    weight = [len(stretch.notes) * stretch.grid.concentration for stretch in stretches]
    return next(s for s, value in zip(stretches, weight, strict=True) if value >= 0.6 * max(weight))
