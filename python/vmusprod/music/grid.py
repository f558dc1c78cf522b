"""A piece's metrical grid: the times of its 16ths and its bars, and the notes put onto it.

The design's grid is 4/4 bars of 16 sixteenths. Where a piece has a bar of another length, the grid
keeps whole bars of four beats and splices the rest out, so that a downbeat is every sixteenth step
in the grid notes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import quantize
from vmusprod.music.score import TimedNotes

__all__ = [
    "MAX_DURATION",
    "Grid",
    "concentration",
    "grid_from_beats",
    "grid_notes",
    "join_grids",
    "median_step",
    "quantize",
    "regular_grid",
]

MAX_DURATION = 64
BAR = 16


@dataclass(frozen=True)
class Grid:
    """Where a piece's sixteenths and bars lie in time.

    Attributes
    ----------
    times : float64 (K,)
        Seconds of successive sixteenths, strictly increasing; the first is no later than the
        first onset.
    kept : intp (M,)
        Indices into `times` of the sixteenths that make up whole bars; M is a multiple of the
        bar (16 in 4/4), and every 16th entry is a downbeat.
    concentration : float
        How closely the onsets follow the grid: 1 on it, near 0 for noise. The lesser of
        |mean exp(2 pi i position)| and of how well the onsets around predict each one's phase.
    beats_a_bar : int
        4, or 3 for 3/4 and 6/8.

    """

    times: NDArray[np.float64]
    kept: NDArray[np.intp]
    concentration: float = 1.0
    beats_a_bar: int = 4

    @property
    def step(self) -> float:
        """Seconds a sixteenth, the median over the piece."""
        return median_step(self.times)

    @property
    def phase(self) -> float:
        """Seconds of the first downbeat of the grid."""
        return float(self.times[self.kept[0]])

    @property
    def tempo(self) -> float:
        """Quarter notes a minute."""
        return 15.0 / self.step

    @property
    def beats(self) -> NDArray[np.float64]:
        """Seconds of the quarter notes of the bars: float64 (M / 4,)."""
        return self.times[self.kept[::4]]

    @property
    def downbeats(self) -> NDArray[np.float64]:
        """Seconds at which the bars begin: float64 (bars,)."""
        return self.times[self.kept[:: 4 * self.beats_a_bar]]

    def position(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sixteenths since `times[0]` (fractional); at the median tempo outside the grid."""
        index = np.arange(len(self.times), dtype=np.float64)
        inside = np.interp(seconds, self.times, index)
        before = np.minimum(seconds - self.times[0], 0.0)
        after = np.maximum(seconds - self.times[-1], 0.0)
        result: NDArray[np.float64] = inside + (before + after) / self.step
        return result


def median_step(times: NDArray[np.float64]) -> float:
    """Seconds a sixteenth, the median over beats of four: those of a beat may be swung."""
    span = min(4, len(times) - 1)
    beats = np.sort(times[span:] - times[:-span])  # np.median takes several times as long
    return float(beats[(len(beats) - 1) // 2] + beats[len(beats) // 2]) / (2 * span)


def concentration(position: NDArray[np.float64]) -> float:
    """|mean exp(2 pi i position)|: 1 when all lie at one phase, near 0 for noise or nothing."""
    return float(np.abs(np.exp(2j * np.pi * position).mean())) if len(position) else 0.0


def regular_grid(step: float, phase: float, end: float, concentration: float = 1.0) -> Grid:
    """Whole 4/4 bars at one tempo from the downbeat `phase` to `end` or just past it (seconds)."""
    bars = max(1, int(np.ceil((end - phase) / (BAR * step) - 1e-9)))
    index = np.arange(BAR * bars)
    return Grid(phase + step * index.astype(np.float64), index, concentration)


def grid_from_beats(
    beats: NDArray[np.float64], is_downbeat: NDArray[np.bool_], first: float, last: float
) -> Grid:
    """Make the grid of known beats: four sixteenths a quarter note, bars from downbeats.

    Beats are continued at the local tempo down to `first` and up to `last` (seconds). Bars of eight
    or more beats are taken as several; of a bar of five to seven beats the first four are kept, and
    bars of fewer than four are left out.

    Parameters
    ----------
    beats : float64 (B,)
        Seconds, increasing; at least two.
    is_downbeat : bool (B,)
        At least one true.

    Raises
    ------
    ValueError
        Too few beats, no downbeat, or times that do not increase.

    """
    beats = np.asarray(beats, dtype=np.float64)
    downs = np.flatnonzero(is_downbeat)
    if len(beats) < 2 or len(beats) != len(is_downbeat) or not (np.diff(beats) > 0).all():
        raise ValueError("beats must be two or more increasing times, each with a downbeat mark")
    if len(downs) == 0:
        raise ValueError("no downbeat")
    head = float(np.median(np.diff(beats[:9])))
    tail = float(np.median(np.diff(beats[-9:])))
    # Enough beats before that the first bar starts a whole number of bars before the first
    # downbeat.
    missing = int(np.ceil(max(0.0, beats[0] - first) / head - 1e-9))
    before = missing + (-(missing + downs[0])) % 4
    after = int(np.ceil(max(0.0, last - beats[-1]) / tail)) + 4
    beats = np.concatenate(
        [
            beats[0] - head * np.arange(before, 0, -1),
            beats,
            beats[-1] + tail * np.arange(1, after + 1),
        ]
    )
    times = np.interp(np.arange(4 * len(beats) - 3) / 4, np.arange(len(beats)), beats)
    starts = np.concatenate([np.arange(0, before + downs[0], 4), before + downs, [len(beats) - 1]])
    kept = []
    for start, stop in pairwise(starts.tolist()):
        whole = (stop - start) // 4 * 4
        kept.append(np.arange(4 * start, 4 * (start + whole)))
    return Grid(times, np.concatenate(kept).astype(np.intp))


def join_grids(grids: Sequence[Grid]) -> Grid:
    """Join grids that follow each other in time; bars that reach into the next are left out.

    `concentration` is the mean by length, `beats_a_bar` the longest's; parts in another metre keep
    no bars. `grids`: at least one.
    """
    if len(grids) == 1:
        return grids[0]
    size = [len(grid.kept) for grid in grids]
    metre = grids[int(np.argmax(size))].beats_a_bar
    bar = 4 * metre
    times: list[NDArray[np.float64]] = []
    kept: list[NDArray[np.intp]] = []
    count = 0
    for k, grid in enumerate(grids):
        limit = grids[k + 1].times[0] - grid.step / 2 if k + 1 < len(grids) else np.inf
        inside = int(np.searchsorted(grid.times, limit))
        times.append(grid.times[:inside])
        if grid.beats_a_bar == metre:
            bars = grid.kept.reshape(-1, bar)
            kept.append(bars[bars[:, -1] < inside].ravel() + count)
        count += inside
    fit = float(np.average([grid.concentration for grid in grids], weights=size))
    return Grid(np.concatenate(times), np.concatenate(kept), fit, metre)


def _merge(table: NDArray[np.int64], max_duration: int) -> NDArray[np.int32]:
    """Sort, keep one note a place (the longest, at the loudest velocity), cut overlaps."""
    if len(table) == 0:
        return np.zeros((0, 4), np.int32)
    table = table[np.lexsort((-table[:, 1], table[:, 2], table[:, 0]))]
    new = np.append(True, (np.diff(table[:, 0]) != 0) | (np.diff(table[:, 2]) != 0))
    loudest = np.maximum.reduceat(table[:, 3], np.flatnonzero(new))
    table = table[new]
    table[:, 3] = loudest
    order = np.lexsort((table[:, 0], table[:, 2]))
    onset, pitch = table[order, 0], table[order, 2]
    gap = np.where(np.diff(pitch) == 0, np.diff(onset), max_duration)
    table[order[:-1], 1] = np.minimum(table[order[:-1], 1], gap)
    return np.ascontiguousarray(table, dtype=np.int32)


def grid_notes(notes: TimedNotes, grid: Grid) -> NDArray[np.int32]:
    """Put the notes on the grid's kept bars: int32 (N, 4), onset 0 is the first downbeat.

    Notes that start outside the kept bars are left out; those that sound into a gap are shortened
    by it.
    """
    placed = quantize(
        grid.position(notes.onset) - grid.kept[0],
        grid.position(notes.offset) - grid.kept[0],
        notes.pitch,
        notes.velocity,
        1.0,
        0.0,
    )
    index = grid.kept - grid.kept[0]
    if len(placed) == 0 or index[-1] == len(index) - 1:
        return placed
    # Splice: `passed[i]` kept sixteenths lie before sixteenth i.
    start = placed[:, 0].astype(np.int64)
    stop = start + placed[:, 1]
    is_kept = np.zeros(max(int(stop.max()), int(index[-1])) + 2, bool)
    is_kept[index] = True
    is_kept[index[-1] + 1 :] = True  # what rings on behind the last bar
    passed = np.concatenate([[0], np.cumsum(is_kept)])
    table = placed.astype(np.int64)
    table[:, 0] = passed[start]
    table[:, 1] = np.maximum(passed[stop] - passed[start], 1)
    return _merge(table[is_kept[start]], MAX_DURATION)
