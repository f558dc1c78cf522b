"""Tempo, beats and bars of notes in time.

No published SymMV file has beats: its clock is seconds, and most pianists drift. Three steps find
them: the pulse that the onsets follow (`pulse`), how many pulses make a beat (here), and which
beats begin a bar (`metre`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.grid import Grid, join_grids
from vmusprod.music.metre import bar_starts, downbeat_score, fold, metre_features
from vmusprod.music.metre_weights import LEVEL_WEIGHTS
from vmusprod.music.pulse import Pulse, concentration, pulse_of_beats, track_pulse
from vmusprod.music.score import TimedNotes
from vmusprod.music.tracking import track_beats

__all__ = [
    "Reading",
    "Stretch",
    "fit_grid",
    "fit_stretches",
    "main_stretch",
    "reading_of",
    "readings",
]

Array = NDArray[np.float64]

LEVEL_FEATURES = (
    "tempo", "tempo_squared", "ternary", "beat", "half_bar", "bar",
    "on_sixteenths", "on_eighths", "on_beats", "density", "density_squared",
)  # fmt: skip

_PULSES_A_BEAT = (1, 2, 3, 4, 6, 8, 12)
_MIN_TEMPO, _MAX_TEMPO = 40.0, 180.0
_USUAL_TEMPO = 80.0


@dataclass(frozen=True)
class Reading:
    """A pulse read as `pulses` a beat: sixteenth k lies at pulse (k + `shift`) * `pulses` / 4.

    `position`: float64 (N,) of the onsets in sixteenths; `score`: downbeat score of each sixteenth;
    `beat`: which of the first four sixteenths is a beat.
    """

    pulses: int
    shift: float
    tempo: float
    position: Array
    score: Array
    beat: int

    @property
    def beats_a_bar(self) -> int:
        """Three where downbeats come every three beats (3/4, 6/8), else four."""
        return 3 if fold(self.score, 12).max() > fold(self.score, 16).max() else 4

    def features(self) -> Array:
        """What tells the right reading from others, as LEVEL_FEATURES: float64 (11,)."""
        lean = float(np.log2(self.tempo / _USUAL_TEMPO))
        beats = self.score[self.beat :: 4]
        events = 1 + int((np.diff(self.position) > 0.2).sum())
        density = float(np.log(events / max(np.ptp(self.position), 1.0)))
        return np.array(
            [
                lean,
                lean**2,
                float(self.pulses % 3 == 0),
                fold(self.score, 4).max(),
                fold(self.score, 8).max(),
                beats[bar_starts(beats, 4)].mean(),
                concentration(self.position),
                concentration(self.position / 2),
                concentration(self.position / 4),
                density,
                density**2,
            ]
        )


@dataclass(frozen=True)
class Stretch:
    """A part of a piece with a tempo of its own, and the notes that start in it."""

    notes: TimedNotes
    grid: Grid


def fit_grid(notes: TimedNotes) -> Grid | None:
    """Fit one grid to a whole piece, its stretches joined; None for under 16 notes or 6 seconds.

    `Grid.concentration` says how well the onsets follow it: noise reaches 0.3, and below 0.6 the
    grid means little.
    """
    stretches = fit_stretches(notes)
    return join_grids([stretch.grid for stretch in stretches]) if stretches else None


def fit_stretches(notes: TimedNotes) -> list[Stretch]:
    """The stretches of a piece in order: most have one, tutorials a second and slower one."""
    result = []
    for pulse in track_pulse(notes.onset):
        inside = (notes.onset >= pulse.start - 0.1) & (notes.onset <= pulse.end + 0.1)
        own = notes.select(inside)
        options = readings(own, pulse)
        if not options:
            continue
        reading = choose(options)
        if not pulse.is_constant:
            # The pulse may have slipped where the tempo moved; the beat of its usual length has
            # not.
            pulse = pulse_of_beats(own.onset, track_beats(own, 60 / reading.tempo))
            reading = reading_of(own, pulse, 4)
        result.append(Stretch(own, _grid(pulse, reading)))
    return result


def main_stretch(stretches: Sequence[Stretch]) -> Stretch:
    """Return the one with most notes on its grid.

    Of two with about as many it is the first: a tutorial plays a piece twice.
    """
    weight = [len(stretch.notes) * stretch.grid.concentration for stretch in stretches]
    return next(s for s, value in zip(stretches, weight, strict=True) if value >= 0.6 * max(weight))


def readings(notes: TimedNotes, pulse: Pulse, weights: Array | None = None) -> list[Reading]:
    """All readings of the pulse at 40 to 180 beats a minute.

    `weights`: of the downbeat score, if not the fitted.
    """
    rate = float(np.ptp(pulse.count) / np.ptp(pulse.times))
    return [
        reading_of(notes, pulse, pulses, weights)
        for pulses in _PULSES_A_BEAT
        if _MIN_TEMPO <= 60 * rate / pulses <= _MAX_TEMPO
    ]


def reading_of(
    notes: TimedNotes, pulse: Pulse, pulses: int, weights: Array | None = None
) -> Reading:
    """Of the readings with so many pulses a beat, the one whose beats score best."""
    start, stop = pulse.position(notes.onset), pulse.position(notes.offset)
    tempo = 60 / pulses * float(np.ptp(pulse.count) / np.ptp(pulse.times))
    # Where pulses are finer than sixteenths, or thirds of a beat, the sixteenths may lie on any of
    # several.
    shifts = 3 if pulses % 3 == 0 else max(1, pulses // 4)
    options = []
    for k in range(shifts):
        position = 4 * (start + k) / pulses
        first = float(np.floor(position[0])) - 4
        position -= first
        length = int(np.ceil(position[-1])) + 6
        end = 4 * (stop + k) / pulses - first
        features = metre_features(position, end, notes.pitch, length)
        score = downbeat_score(features, weights)
        beat = int(np.argmax(fold(score, 4)))
        options.append(Reading(pulses, first - 4 * k / pulses, tempo, position, score, beat))
    return max(options, key=lambda option: float(fold(option.score, 4).max()))


def choose(options: Sequence[Reading]) -> Reading:
    """The likeliest reading, by weights fitted to POP909's tempi (`vmusprod.dataset.metre_fit`)."""
    return max(options, key=lambda option: float(option.features() @ np.asarray(LEVEL_WEIGHTS)))


def _grid(pulse: Pulse, reading: Reading) -> Grid:
    """Whole bars around all notes of a stretch."""
    size = reading.beats_a_bar
    starts = bar_starts(reading.score[reading.beat :: 4], size)
    last = int(np.ceil(reading.position.max())) + 1
    # Regular bars before the first downbeat (the notes begin at sixteenth 4) and behind the last.
    head = np.arange(starts[0] % size - size, starts[0], size)
    tail = np.arange(starts[-1] + size, last // 4 + 2 * size, size)
    bars = 4 * np.concatenate([head, starts, tail]) + reading.beat
    first = int(np.searchsorted(bars, reading.position.min() + 0.5, side="right")) - 1
    bars = bars[max(first, 0) : int(np.searchsorted(bars, last)) + 1]
    index = np.arange(bars[0], bars[-1] + 1)
    times = pulse.seconds((index + reading.shift) * reading.pulses / 4)
    bar = 4 * size
    kept = [np.arange(a, a + (b - a) // bar * bar) for a, b in pairwise(bars.tolist())]
    fit = min(pulse.fit, concentration(reading.position))
    return Grid(times, (np.concatenate(kept) - bars[0]).astype(np.intp), fit, size)
