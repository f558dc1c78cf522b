"""Beats for chords that come in seconds: one tempo and phase that their changes fit.

The measure of a period P is how far the changes agree in phase, |mean exp(2 pi i t / P)|, added up
over beat, half bar and bar, since chords change on strong beats. Where no period fits well the grid
is a guess, and beats that nobody heard would teach a rhythm of changes that nobody played: there
each half bar gets the chord that sounds longest in it, which keeps the order of the chords and
about how long they last.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.muvi import ChordSpan
from vmusprod.music.tokens import BEATS_PER_BAR, NO_CHORD

__all__ = ["WEAK_FIT", "ChordGrid", "beat_chords", "chord_changes", "fit_chord_grid"]

WEAK_FIT = 0.35
"""A concentration below this is hardly above what shuffled durations reach (median 0.24)."""
_TEMPO_RANGE = (72.0, 144.0)
_TEMPO_STEP = 0.06
_MIN_CHANGES = 4
_LEVELS = ((1, 1.0), (2, 0.5), (4, 0.5))
"""Beats a period and its weight."""


@dataclass(frozen=True)
class ChordGrid:
    """tempo: beats a minute; start: of a downbeat, seconds, in [0, one bar); fit: concentration."""

    tempo: float
    start: float
    fit: float

    @property
    def beat(self) -> float:
        """Seconds a beat."""
        return 60.0 / self.tempo

    @property
    def bar(self) -> float:
        """Seconds a bar."""
        return BEATS_PER_BAR * self.beat


def chord_changes(spans: Sequence[ChordSpan]) -> NDArray[np.float64]:
    """Seconds at which the chord becomes another one, (K,)."""
    times = [b.start for a, b in itertools.pairwise(spans) if a.chord != b.chord]
    return np.array(times, np.float64)


def fit_chord_grid(changes: NDArray[np.float64]) -> ChordGrid | None:
    """Fit tempo and downbeat to the times of chord changes, (K,); None for fewer than four."""
    if len(changes) < _MIN_CHANGES:
        return None
    tempi = np.arange(_TEMPO_RANGE[0], _TEMPO_RANGE[1], _TEMPO_STEP)
    score = np.zeros(len(tempi))
    for beats, weight in _LEVELS:
        score += weight * np.abs(_phase(changes, tempi / beats))
    tempo = float(tempi[np.argmax(score)])
    beat = _phase(changes, np.array([tempo]))[0]
    bar = _phase(changes, np.array([tempo / BEATS_PER_BAR]))[0]
    seconds = 60.0 / tempo
    # The beat's phase is the finer clock; the bar's says which of four beats is the first.
    offset = float(np.angle(beat)) / (2 * np.pi) * seconds
    place = float(np.angle(bar)) / (2 * np.pi) * BEATS_PER_BAR * seconds
    number = round((place - offset) / seconds)
    start = (offset + number * seconds) % (BEATS_PER_BAR * seconds)
    return ChordGrid(tempo, start, float(np.abs(beat)))


def _phase(times: NDArray[np.float64], tempi: NDArray[np.float64]) -> NDArray[np.complex128]:
    """(N,): mean direction of the times on a circle of one beat, for each tempo (bpm)."""
    angle = 2 * np.pi / 60.0 * tempi[:, None] * times
    return np.asarray(np.exp(1j * angle).mean(axis=1))


def beat_chords(
    spans: Sequence[ChordSpan], grid: ChordGrid, first: float, beats: int
) -> NDArray[np.uint8]:
    """The chord of each of `beats` beats (a multiple of two) from `first` (s): uint8 (beats,).

    It is the one that sounds longest in the beat, or, on a grid of weak fit, in the half bar.
    """
    held = 2 if grid.fit < WEAK_FIT else 1
    cells, length = beats // held, grid.beat * held
    share = np.zeros((cells, NO_CHORD + 1))
    for span in spans:
        begin, end = (span.start - first) / length, (span.end - first) / length
        for cell in range(max(0, int(begin)), min(cells, int(np.ceil(end)))):
            share[cell, span.chord] += max(min(end, cell + 1) - max(begin, cell), 0.0)
    chords = share.argmax(axis=1).astype(np.uint8)
    chords[share.max(axis=1) == 0] = NO_CHORD
    return np.repeat(chords, held)
