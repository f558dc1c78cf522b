"""Tempo, beats and bars of notes in time.

No published SymMV file has beats: its clock is seconds. Here the sixteenth is the period at which the onsets' phases gather (a
periodogram), and the bar is where a linear score of what the notes do puts its downbeats (`metre`).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.grid import Grid, regular_grid
from vmusprod.music.metre import CONTEXT, FEATURES, context, metre_features
from vmusprod.music.metre_weights import WEIGHTS
from vmusprod.music.score import TimedNotes

__all__ = ["concentration", "fit_grid", "periodogram"]

MIN_PULSE, MAX_PULSE = 2.0, 12.5  # Hz
MIN_TEMPO, MAX_TEMPO = 48.0, 160.0
_PRIOR_TEMPO, _PRIOR_WEIGHT = 88.0, 0.15
_BIN_RATE = 200.0


def concentration(position: NDArray[np.float64]) -> float:
    """|mean exp(2 pi i position)| of positions in pulses: 1 when all lie on the pulse, about 0 for noise."""
    return float(np.abs(np.exp(2j * np.pi * position).mean())) if len(position) else 0.0


def periodogram(onset: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies (2-12.5 Hz) and the concentration of the onsets at each, both float64 (F,)."""
    counts = np.bincount(((onset - onset.min()) * _BIN_RATE).astype(np.int64))
    weights = np.sqrt(counts)  # a chord counts more than a note, but not by as many
    size = 1 << int(np.ceil(np.log2(4 * len(weights))))
    spectrum = np.abs(np.fft.rfft(weights, size)) / weights.sum()
    frequency = np.arange(len(spectrum)) * _BIN_RATE / size
    inside = (frequency >= MIN_PULSE) & (frequency <= MAX_PULSE)
    return frequency[inside], spectrum[inside]


def _refine(onset: NDArray[np.float64], frequency: float) -> tuple[float, float]:
    """The best frequency near a peak and the phase (pulses) of time 0 there."""
    span = max(float(onset.max() - onset.min()), 1.0)
    width = 0.5 / span
    for _ in range(4):
        trial = frequency + np.linspace(-width, width, 21)
        value = np.abs(np.exp(2j * np.pi * trial[:, None] * onset).sum(axis=1))
        frequency = float(trial[int(np.argmax(value))])
        width /= 8
    angle = float(np.angle(np.exp(2j * np.pi * frequency * onset).mean())) / (2 * np.pi)
    return frequency, angle


def _steps(frequency: float) -> Iterator[float]:
    """Lengths of a sixteenth that a pulse allows: the pulse as 32nd, 16th, 8th or quarter, at a playable tempo."""
    for sixteenths in (0.5, 1.0, 2.0, 4.0):
        step = 1 / (frequency * sixteenths)
        if MIN_TEMPO <= 15 / step <= MAX_TEMPO:
            yield step


def _bar_phase(notes: TimedNotes, step: float, phase: float) -> tuple[float, int]:
    """Score of a sixteenth grid and which of its first sixteen sixteenths is the downbeat."""
    position = (notes.onset - phase) / step
    end = (notes.offset - phase) / step
    length = int(np.ceil(position.max())) + 1
    features = metre_features(position, end, notes.pitch, notes.velocity, length)
    score = context(features) @ np.asarray(WEIGHTS).reshape(len(FEATURES) * (2 * CONTEXT + 1))
    score = np.pad(score, (0, -length % 16))
    fold = score.reshape(-1, 16).mean(axis=0)
    down = int(np.argmax(fold))
    return float(fold[down] - fold.mean()), down


def fit_grid(notes: TimedNotes) -> Grid | None:
    """The grid of one constant tempo that fits the notes best; None for fewer than 16 notes or 4 seconds.

    `Grid.concentration` says how well: under 0.6 the piece has no constant tempo, and the grid means little.
    """
    onset = notes.onset
    if len(onset) < 16 or onset[-1] - onset[0] < 4.0:
        return None
    frequencies, strength = periodogram(onset)
    frequency, angle = _refine(onset, float(frequencies[int(np.argmax(strength))]))
    best: tuple[float, float, float] | None = None
    for step in _steps(frequency):
        start = angle / frequency  # a time on the pulse
        start -= np.ceil((start - onset[0]) / step + 0.5) * step
        score, down = _bar_phase(notes, step, start)
        score -= _PRIOR_WEIGHT * float(np.log2(15 / step / _PRIOR_TEMPO)) ** 2
        if best is None or score > best[0]:
            best = score, step, start + down * step
    if best is None:
        return None
    _, step, downbeat = best
    downbeat -= np.ceil((downbeat - onset[0]) / (16 * step) - 0.5 / 16) * 16 * step
    fit = concentration((onset - downbeat) / step)
    return regular_grid(step, downbeat, float(notes.offset.max()), fit)
