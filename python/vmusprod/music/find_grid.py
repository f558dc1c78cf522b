"""The grid of a piece: the file's own where its notes fall on it, else one found from the notes.

What is told with it: which way was taken, how well the onsets fit, how far notes are moved by it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import find_downbeats
from vmusprod.music.beats import fit_grid
from vmusprod.music.grid import Grid, concentration, regular_grid
from vmusprod.music.midi_beats import MAX_QUARTERS, MidiBeats, Signature
from vmusprod.music.score import TimedNotes

__all__ = ["FoundGrid", "find_grid"]

Array = NDArray[np.float64]
Way = Literal["file", "tracked", "nominal"]

# A share of the onsets that lie so near (in quarter notes) to the file's 16ths or triplets, all
# shifted alike, is trusted: of onsets anywhere 0.3 do.
TRUSTED, NEAR = 0.8, 1 / 40
_PLACES = np.array([0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0])
_FEWEST = 4  # onsets; fewer say nothing against the file
_STEP = 0.125  # seconds a sixteenth where nothing is known: 120 bpm
# What files state that know no better: their bars are found from the notes.
_UNMEANT = ((4, 4), (2, 4), (1, 4))
_NEEDED = 16  # notes to find bars by


@dataclass(frozen=True)
class FoundGrid:
    """A piece's grid.

    Attributes
    ----------
    grid : Grid
        Its sixteenths and bars. Bars of no whole number of quarter notes (7/8) are kept as one
        run of sixteenths there; `downbeats` has them right.
    way : "file", "tracked" or "nominal"
        The file's own beats; beats found from the notes; 120 bpm from the first note, for a piece
        too short for either.
    beats : float64 (B,)
        Seconds; dotted quarters in 6/8, 9/8 and 12/8.
    place : int64 (B,)
        Place of each beat in its bar, from 1: a downbeat.
    time_signature : (int, int)
        The commonest bar's.
    concentration : float
        |mean exp(2 pi i position)| of the onsets in sixteenths: 1 on the grid, near 0 for noise.
    shift : float
        Seconds by which the file's own grid was moved to where the notes lie; 0 otherwise.
    mean_move, max_move : float
        Seconds from the onsets to the nearest sixteenth.
    """

    grid: Grid
    way: Way
    beats: Array
    place: NDArray[np.int64]
    time_signature: Signature
    concentration: float
    shift: float
    mean_move: float
    max_move: float

    @property
    def downbeats(self) -> Array:
        """Seconds at which bars begin."""
        result: Array = self.beats[self.place == 1]
        return result


def find_grid(notes: TimedNotes, midi: MidiBeats | None = None) -> FoundGrid | None:
    """Find the grid of a piece; None for no notes.

    `midi`: the beats that the file states, which are taken if four fifths of the onsets fall on
    them; without, or where they do not, beats are tracked. Time and memory grow with the piece's
    length and its number of notes, and no faster. Raises ValueError for notes that are not sorted
    or span over two days.
    """
    if len(notes) == 0:
        return None
    if midi is not None:
        quarters = midi.quarters(notes.onset)
        shift = _shift(quarters)
        last = float(midi.quarters(notes.offset.max(keepdims=True))[0])
        is_long = max(last, 0.0) - min(float(quarters[0]), 0.0) > MAX_QUARTERS
        if not is_long and (len(notes) < _FEWEST or _share_on(quarters - shift) >= TRUSTED):
            return _from_file(notes, midi, shift)
    grid = fit_grid(notes)
    if grid is None:
        start, end = float(notes.onset[0]), float(notes.offset.max())
        grid = regular_grid(_STEP, start, max(end, start + _STEP))
        return _found(notes, grid, "nominal", 0.0)
    return _found(notes, grid, "tracked", 0.0)


def _shift(quarters: Array) -> float:
    """By how many quarter notes, up to an eighth, the onsets lie off the sixteenths."""
    turn = np.exp(2j * np.pi * 4 * quarters).mean()
    return float(np.angle(turn)) / (8 * np.pi) if abs(turn) > 0.5 else 0.0


def _share_on(quarters: Array) -> float:
    part = quarters - np.floor(quarters)
    near: Array = np.abs(part[:, None] - _PLACES).min(axis=1)
    return float((near < NEAR).mean())


def _found(notes: TimedNotes, grid: Grid, way: Way, shift: float) -> FoundGrid:
    beats = grid.beats
    place = np.arange(len(beats)) % grid.beats_a_bar + 1
    return _told(notes, grid, way, beats, place, (grid.beats_a_bar, 4), shift)


def _told(
    notes: TimedNotes,
    grid: Grid,
    way: Way,
    beats: Array,
    place: NDArray[np.int64],
    signature: Signature,
    shift: float,
) -> FoundGrid:
    position = grid.position(notes.onset)
    nearest = np.clip(np.round(position), 0, len(grid.times) - 1).astype(np.intp)
    move = np.abs(grid.times[nearest] - notes.onset)
    fit = min(concentration(position), 1.0)
    mean, most = float(move.mean()), float(move.max())
    return FoundGrid(grid, way, beats, place, signature, fit, shift, mean, most)


def _from_file(notes: TimedNotes, midi: MidiBeats, shift: float) -> FoundGrid:
    """The file's own sixteenths and bars, moved by `shift` quarter notes."""
    signature = Counter(midi.signatures).most_common(1)[0][0]
    first = min(0, int(np.floor(midi.quarters(notes.onset[:1])[0] - shift)))
    last = int(np.ceil(float(midi.quarters(notes.offset.max(keepdims=True))[0] - shift))) + 1
    bars, signatures = _whole(midi, first, last)
    if not midi.is_stated or all(one in _UNMEANT for one in midi.signatures):
        signature = (4, 4)
        quarters = np.arange(first, last + 1, dtype=np.float64)
        starts, size = _bars_by_notes(notes, _seconds(midi, quarters + shift))
        signature = (size, 4)
        bars = _regular(first + np.asarray(starts), size, float(first), float(last))
        signatures = [signature] * (len(bars) - 1)
    index = np.arange(round(4 * bars[0]), round(4 * bars[-1]) + 1)
    times = _seconds(midi, index / 4 + shift)
    grid = _grid(times, bars, signature, notes)
    beats, place = _beats(bars, signatures)
    seconds = _seconds(midi, beats + shift)
    moved = float(np.median(np.diff(midi.times))) * shift
    return _told(notes, grid, "file", seconds, place, signature, moved)


def _seconds(midi: MidiBeats, quarters: Array) -> Array:
    """Times of quarter notes, at the outer tempi outside the file."""
    last = len(midi.times) - 1
    inside = np.interp(quarters, np.arange(last + 1), midi.times)
    before = np.minimum(quarters, 0.0) * (midi.times[1] - midi.times[0])
    after = np.maximum(quarters - last, 0.0) * (midi.times[-1] - midi.times[-2])
    result: Array = inside + before + after
    return result


def _whole(midi: MidiBeats, first: int, last: int) -> tuple[Array, list[Signature]]:
    """The file's bars from one at or before quarter `first` to one behind `last`, with the end."""

    def size(signature: Signature) -> float:
        return 4 * signature[0] / signature[1]

    bars, signatures = midi.bars, list(midi.signatures)
    before = int(np.ceil((bars[0] - first) / size(signatures[0])))
    head = bars[0] - size(signatures[0]) * np.arange(before, 0, -1)
    kept = bars < last
    kept[0] = True
    bars, signatures = bars[kept], signatures[: int(kept.sum())]
    after = max(1, int(np.ceil((last - bars[-1]) / size(signatures[-1]))))
    tail = bars[-1] + size(signatures[-1]) * np.arange(1, after + 1)
    signatures = [signatures[0]] * before + signatures + [signatures[-1]] * (after - 1)
    return np.concatenate([head, bars, tail]), signatures


def _bars_by_notes(notes: TimedNotes, beats: Array) -> tuple[NDArray[np.int64], int]:
    """Beats that begin bars, found from the notes; every fourth where there are few."""
    if len(notes) < _NEEDED or len(beats) < 8:
        return np.arange(0, len(beats), 4), 4
    return find_downbeats(
        notes.onset, notes.offset, notes.pitch, notes.velocity, np.ascontiguousarray(beats)
    )


def _regular(starts: NDArray[np.int64], size: int, first: float, last: float) -> Array:
    """The bars with regular ones before the first and behind the last."""
    head = np.arange(starts[0] - size * np.ceil((starts[0] - first) / size), starts[0], size)
    after = max(1, int(np.ceil((last - starts[-1]) / size)))
    tail = starts[-1] + size * np.arange(1, after + 1)
    return np.concatenate([head, starts, tail]).astype(np.float64)


def _grid(times: Array, bars: Array, signature: Signature, notes: TimedNotes) -> Grid:
    """Whole bars of the commonest length, others spliced; see `FoundGrid.grid`."""
    quarters = 4 * signature[0] / signature[1]
    size = int(quarters) if quarters == int(quarters) else 0
    edges = np.round(4 * (bars - bars[0])).astype(np.int64)
    if size:
        spans = [
            np.arange(a, a + (b - a) // (4 * size) * 4 * size) for a, b in pairwise(edges.tolist())
        ]
        kept = np.concatenate(spans)
    if not size or len(kept) == 0:
        size = 4
        count = -(-int(edges[-1]) // 16) * 16
        more = count + 1 - len(times)
        if more > 0:
            step = times[-1] - times[-2]
            times = np.concatenate([times, times[-1] + step * np.arange(1, more + 1)])
        kept = np.arange(count)
    grid = Grid(times, kept.astype(np.intp), 1.0, size)
    fit = min(concentration(grid.position(notes.onset)), 1.0)
    return Grid(times, grid.kept, fit, size)


def _beats(bars: Array, signatures: list[Signature]) -> tuple[Array, NDArray[np.int64]]:
    """Beats of the bars in quarter notes, and their places from 1."""
    beats, place = [], []
    for (start, stop), (numerator, denominator) in zip(
        pairwise(bars.tolist()), signatures, strict=True
    ):
        is_compound = denominator >= 8 and numerator > 3 and numerator % 3 == 0
        step = (12 if is_compound else 4) / denominator
        own = np.arange(start, stop - 1e-6, step)
        beats.append(own)
        place.append(np.arange(1, len(own) + 1))
    return np.concatenate(beats), np.concatenate(place).astype(np.int64)
