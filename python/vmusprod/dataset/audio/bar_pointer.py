"""Beats and downbeats from activations: the bar pointer model, decoded in little memory.

The hidden Markov model is that of Krebs, Boeck and Widmer (ISMIR 2015) with the observations of
Boeck, Krebs and Widmer (ISMIR 2016), as in madmom's `DBNDownBeatTrackingProcessor`, which it must
equal (see the tests). That one keeps a pointer for every state at every frame, 1.4 GB for a song of
four minutes. The tempo changes at beats alone, so that a pointer for each tempo at each beat's
first frame says as much: 5 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["decode_beats"]

_RATE = 100
_MIN_TEMPO, _MAX_TEMPO = 55.0, 215.0
_TEMPI = 60
_TEMPO_CHANGE = 100.0  # the greater, the steadier
_BEAT_SHARE = 16  # the first sixteenth of a beat is where its activation is expected
_THRESHOLD = 0.05
_METRES = (3, 4)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class _States:
    """One beat's states, tempo after tempo: `first` and `last` index the states of each tempo."""

    intervals: NDArray[np.int64]
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    is_beat: NDArray[np.bool_]


@dataclass(frozen=True)
class _Path:
    """The likeliest states of all frames: beat in the bar, whether within its first share."""

    beat: NDArray[np.int64]
    near: NDArray[np.bool_]
    score: float


def decode_beats(
    activations: NDArray[np.float32], progress: Callable[[float], None] | None = None
) -> Array:
    """Beats of 3/4 or 4/4 at 55 to 215 a minute: float64 (B, 2), seconds and place in the bar.

    `activations`: (frames, 2), probabilities of a beat that is no downbeat and of a downbeat, 100 a
    second. No rows where nothing reaches 0.05. `progress` is told the fraction done.
    """
    above = np.flatnonzero((activations >= _THRESHOLD).any(axis=1))
    if not len(above):
        return np.zeros((0, 2))
    first = int(above[0])
    inside = activations[first : int(above[-1]) + 1]
    densities = _densities(inside)
    paths = []
    for number, beats in enumerate(_METRES):
        paths.append(_decode(densities, beats))
        if progress is not None:
            progress((number + 1) / len(_METRES))
    path = max(paths, key=lambda found: found.score)
    return _peaks(inside, path, first)


def _densities(activations: NDArray[np.float32]) -> Array:
    """Log densities of no beat, beat, downbeat: float64 (frames, 3)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        none = (1.0 - activations.sum(axis=1)) / (_BEAT_SHARE - 1)
        table = np.column_stack([none, activations]).astype(np.float64)
        return np.log(np.maximum(table, 1e-30))


def _states() -> _States:
    low, high = 60 * _RATE / _MAX_TEMPO, 60 * _RATE / _MIN_TEMPO
    intervals = np.arange(round(low), round(high) + 1, dtype=np.float64)
    count = _TEMPI
    if len(intervals) > _TEMPI:
        # Logarithmic, until rounding leaves enough of them.
        intervals = intervals[:0]
        while len(intervals) < _TEMPI:
            spaced = np.logspace(np.log2(low), np.log2(high), count, base=2)
            intervals = np.unique(np.round(spaced))
            count += 1
    sizes = intervals.astype(np.int64)
    last = np.cumsum(sizes) - 1
    first = last - sizes + 1
    place = np.concatenate([np.arange(size) / size for size in sizes])
    return _States(sizes, first, last, place < 1 / _BEAT_SHARE)


def _tempo_changes(intervals: NDArray[np.int64]) -> Array:
    """Log probability of going from one tempo (row) to another (column)."""
    ratio = intervals[None, :] / intervals[:, None].astype(np.float64)
    chance = np.exp(-_TEMPO_CHANGE * np.abs(ratio - 1.0))
    chance[chance <= np.spacing(1)] = 0
    chance /= chance.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(chance))


def _decode(densities: Array, beats: int) -> _Path:
    states = _states()
    frames, size = len(densities), int(states.last[-1]) + 1
    changes = _tempo_changes(states.intervals)
    # Row b holds the states of beat b of the bar.
    column = np.where(states.is_beat, 1, 0)
    pointer = np.tile(column, (beats, 1))
    pointer[0][states.is_beat] = 2
    score = np.full((beats, size), -np.log(beats * size))
    came_from = np.empty((frames, beats, len(states.intervals)), np.uint8)
    for frame in range(frames):
        # Every state moves on by one; the last of a beat go to the first of the next, with a
        # change of tempo.
        arriving = np.roll(score[:, states.last], 1, axis=0)[:, :, None] + changes
        best = arriving.argmax(axis=1)
        came_from[frame] = best
        score[:, 1:] = score[:, :-1].copy()
        score[:, states.first] = np.take_along_axis(arriving, best[:, None, :], axis=1)[:, 0]
        score += densities[frame][pointer]
    return _trace(states, came_from, score)


def _trace(states: _States, came_from: NDArray[np.uint8], score: Array) -> _Path:
    frames, beats, _ = came_from.shape
    beat, state = divmod(int(score.argmax()), score.shape[1])
    total = float(score.max())
    beat_at = np.empty(frames, np.int64)
    near = np.empty(frames, bool)
    frame = frames - 1
    while frame >= 0:
        tempo = int(np.searchsorted(states.last, state))
        # How many frames ago this beat began, or the sound.
        back = min(state - int(states.first[tempo]), frame)
        beat_at[frame - back : frame + 1] = beat
        near[frame - back : frame + 1] = states.is_beat[state - back : state + 1]
        frame -= back
        if state - back == states.first[tempo]:
            tempo = int(came_from[frame, beat, tempo])
            beat = (beat - 1) % beats
            state = int(states.last[tempo])
        frame -= 1
    return _Path(beat_at, near, total)


def _peaks(activations: NDArray[np.float32], path: _Path, first: int) -> Array:
    """Each beat at the greatest activation of its first share."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], path.near, [False]]).astype(np.int8)))
    rows = []
    for start, stop in edges.reshape(-1, 2).tolist():
        peak = start + int(np.argmax(activations[start:stop])) // 2
        rows.append(((first + peak) / _RATE, float(path.beat[peak] + 1)))
    return np.array(rows, np.float64).reshape(-1, 2)
