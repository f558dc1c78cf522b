"""MIDI as MuVi-Sync would describe it: chords, note density and loudness of each second.

Density counts the notes that sound within a second, as MuVi-Sync's does, but a piano has fewer of
them than a band. Loudness is the RMS of notes that decay as a piano's strings do, not a rendered
sound: it takes a millisecond, and no render levels pieces against one another. Both are brought to
MuVi-Sync's scale by straight lines between logarithms (`_DENSITY`, `_LOUDNESS`), which give the
piano covers of SymMV the mean and spread over seconds that the recordings of MuVi-Sync have.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import decode_chords
from vmusprod.annotation.timing import own_meter
from vmusprod.errors import VmusError
from vmusprod.music.beats import fit_grid
from vmusprod.music.grid import Grid, grid_notes, regular_grid
from vmusprod.music.midi_file import MidiFile, read_midi_file
from vmusprod.music.score import TimedNotes, read_midi
from vmusprod.music.tokens import NO_CHORD, STEPS_PER_BEAT
from vmusprod.vmcp.music import MusicSeconds

__all__ = [
    "DENSITY_BY_NOTES", "FAINT", "LOUDNESS_BY_VELOCITY", "midi_seconds", "notes_seconds",
    "second_levels",
]  # fmt: skip

# a, b of log(1 + y) = a + b log(1 + x), and of log(y + faint) = a + b log(x + faint).
_DENSITY = (-1.079, 1.355)
_LOUDNESS = (1.332, 1.315)
FAINT = 3e-3
"""About -50 dB: quieter is silence."""
DENSITY_BY_NOTES = _DENSITY[1]
"""How much more the log of the density changes than that of the notes."""
LOUDNESS_BY_VELOCITY = 2 * _LOUDNESS[1]
"""How much more the log of the loudness changes than that of the velocities."""
_DEFAULT_STEP = 0.125  # seconds of a 16th where no pulse is found: 120 bpm
_CELLS = 8  # of a second, on which sound decays
_MIDDLE_DECAY = 0.9  # seconds in which middle C falls to 1/e; halves in two octaves
_FULL = 0.25  # amplitude of the loudest note


def midi_seconds(path: str | os.PathLike[str]) -> MusicSeconds:
    """Describe a MIDI file. Raises InputError as `read_midi` does."""
    return notes_seconds(read_midi(path, pedal=True), _own_grid(read_midi_file(path)))


def _own_grid(file: MidiFile) -> Grid | None:
    """The file's own sixteenths where its notes fall on them and all its beats have four."""
    meter = own_meter(file)
    if meter is None or np.any(np.diff(meter.beats) != STEPS_PER_BEAT):
        return None
    return Grid(meter.lines, np.arange(meter.beats[-1], dtype=np.intp))


def notes_seconds(notes: TimedNotes, grid: Grid | None = None) -> MusicSeconds:
    """Describe notes, to the full second (at least one) that the last of them sounds in.

    `grid`: where the beats are; found from the notes if not given. Raises VmusError for no notes.
    """
    if len(notes) == 0:
        raise VmusError("no notes to listen to")
    count = max(1, int(notes.offset.max()))
    density, loudness = second_levels(notes, count).T
    return MusicSeconds(
        _chords(notes, count, grid),
        np.maximum(np.expm1(density), 0).astype(np.float32),
        np.clip(np.exp(loudness) - FAINT, 0, 1).astype(np.float32),
        midi=True,
    )


def second_levels(notes: TimedNotes, count: int) -> NDArray[np.float64]:
    """Log of density (+ 1) and of loudness (+ `FAINT`) of each of `count` seconds: (count, 2)."""
    density = _line(np.log1p(_sounding(notes, count)), _DENSITY)
    loudness = _line(np.log(_rms(notes, count) + FAINT), _LOUDNESS)
    return np.stack([density, loudness], axis=1)


def _line(values: NDArray[np.float64], line: tuple[float, float]) -> NDArray[np.float64]:
    return line[0] + line[1] * values


def _sounding(notes: TimedNotes, count: int) -> NDArray[np.float64]:
    """How many notes sound within each of `count` seconds."""
    first = np.minimum(notes.onset.astype(np.int64), count)
    after = np.minimum(np.ceil(notes.offset).astype(np.int64), count)
    change = np.bincount(first, minlength=count + 1) - np.bincount(after, minlength=count + 1)
    return np.cumsum(change[:count]).astype(np.float64)


def _rms(notes: TimedNotes, count: int) -> NDArray[np.float64]:
    """RMS within each of `count` seconds, the notes' energies added.

    A note of velocity v begins at (v / 127)**2, as in FluidSynth, and decays by its pitch until it
    is released.
    """
    energy = np.zeros((count + 1) * _CELLS)
    pitch, velocity = notes.pitch.astype(np.float64), notes.velocity.astype(np.float64)
    start = (_FULL * (velocity / 127) ** 2) ** 2
    rate = 2 / (_MIDDLE_DECAY * 0.5 ** ((pitch - 60) / 24))
    first = np.floor(notes.onset * _CELLS).astype(np.int64)
    length = notes.offset - notes.onset
    cell = 0
    alive = np.arange(len(notes))
    while len(alive):
        begin = cell / _CELLS
        end = np.minimum(begin + 1 / _CELLS, length[alive])
        part = np.exp(-rate[alive] * begin) - np.exp(-rate[alive] * end)
        place = np.minimum(first[alive] + cell, len(energy) - 1)
        np.add.at(energy, place, start[alive] / rate[alive] * part)
        cell += 1
        # After four seconds nothing that matters is left.
        keep = (length[alive] > cell / _CELLS) & (cell < 4 * _CELLS)
        alive = alive[keep]
    return np.asarray(np.sqrt(energy[: count * _CELLS].reshape(count, _CELLS).sum(axis=1)))


def _chords(notes: TimedNotes, count: int, grid: Grid | None) -> NDArray[np.uint8]:
    """uint8 (count,): the chord that sounds longest within each second."""
    grid = grid or fit_grid(notes) or regular_grid(_DEFAULT_STEP, 0.0, float(notes.offset.max()))
    placed = grid_notes(notes, grid)
    beats = grid.times[grid.kept[::4]]
    if len(placed) == 0 or len(beats) == 0:
        return np.full(count, NO_CHORD, np.uint8)
    chords = decode_chords(placed, len(beats))
    share = np.zeros((count, NO_CHORD + 1))
    ends = np.append(beats[1:], notes.offset.max())
    # A beat spreads over few seconds; each round hands every beat's next second its share.
    at = np.maximum(beats, 0.0)
    while np.any(at < ends):
        second = np.floor(at).astype(np.int64)
        until = np.minimum(second + 1, ends)
        inside = (second < count) & (until > at)
        np.add.at(share, (second[inside], chords[inside]), (until - at)[inside])
        at = np.where(until > at, until, ends)
    found: NDArray[np.uint8] = share.argmax(axis=1).astype(np.uint8)
    found[share.max(axis=1) == 0] = NO_CHORD
    return found
