"""Songs on a clock that drifts: what a player does to a steady one, for fits and tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.score import TimedNotes

__all__ = ["drifted", "drifting_clock", "waltz"]

Array = NDArray[np.float64]
Clock = Callable[[Array], Array]


def drifting_clock(end: float, deviation: float, slowing: float, seed: int) -> Clock:
    """A map of times: log tempo wanders with `deviation`, and drops by `slowing` every 12 s."""
    rng = np.random.default_rng(seed)
    step = 0.05
    time = np.arange(-5.0, end + 20.0, step)
    keep = np.exp(-step / 5.0)
    shocks = rng.normal(size=len(time)) * deviation * np.sqrt(1 - keep**2)
    tempo = np.convolve(shocks, keep ** np.arange(600))[: len(time)]
    for centre in np.arange(12.0, max(end, 12.1), 12.0):
        depth = slowing * rng.uniform(0, 1.5)
        tempo -= depth * np.exp(-0.5 * ((time - centre - rng.normal()) / 0.6) ** 2)
    warped = np.concatenate([[0.0], np.cumsum(np.exp(-tempo[:-1]) * step)])
    return lambda seconds: np.interp(seconds, time, warped)


def drifted(notes: TimedNotes, clock: Clock, seed: int) -> TimedNotes:
    """The notes on another clock, each 12 ms early or late."""
    rng = np.random.default_rng(seed)
    onset = clock(notes.onset) + rng.normal(scale=0.012, size=len(notes))
    offset = np.maximum(clock(notes.offset), onset + 0.03)
    moved = TimedNotes(onset, offset, notes.pitch, notes.velocity)
    return moved.select(np.lexsort((moved.pitch, moved.onset)))


def waltz(
    notes: TimedNotes, beats: Array, downbeat: NDArray[np.bool_]
) -> tuple[TimedNotes, Array, NDArray[np.bool_]]:
    """A song in 4/4 as one in 3/4: the last beat of each whole bar and what starts in it left out.

    `beats` float64 (B,) s, `downbeat` bool (B,). Returns notes, beats and downbeats.
    """
    starts = np.flatnonzero(downbeat)
    whole = starts[:-1][np.diff(starts) == 4]
    kept = np.ones(len(beats), bool)
    kept[whole + 3] = False
    length = np.diff(beats, append=2 * beats[-1] - beats[-2])
    moved = beats[0] + np.concatenate([[0.0], np.cumsum(np.where(kept, length, 0.0))])
    edges = np.append(beats, beats[-1] + length[-1])
    before = notes.onset < edges[0]
    place = np.clip(np.searchsorted(edges, notes.onset + 0.02, side="right") - 1, 0, len(beats) - 1)
    own = notes.select((before | kept[place]) & (notes.onset < edges[-1]))
    clock = [np.where(t < edges[0], t, np.interp(t, edges, moved)) for t in (own.onset, own.offset)]
    shorter = TimedNotes(clock[0], np.maximum(clock[1], clock[0] + 0.03), own.pitch, own.velocity)
    shorter = shorter.select(np.lexsort((shorter.pitch, shorter.onset)))
    return shorter, moved[:-1][kept], downbeat[kept]
