"""Solo piano covers made of POP909's arrangements, to fit the annotation to both.

POP909's melody lies inside the arrangement; a cover, such as SymMV's, has it on top and leads
through the instrumental passages too. A made cover keeps a song's notes, but none above the melody,
and calls the lead of the instrumental passages melody; half of them are played with longer notes,
as with the pedal.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import skyline

__all__ = ["ACCOMPANIMENT", "MELODY", "SECOND", "clean", "make_cover"]

ACCOMPANIMENT, MELODY, SECOND = 0, 1, 2
BAR = 16
REST = 999
_SHORT_REST = 12
_LOWEST_LEAD = 57
_LOWEST = 28
Notes = NDArray[np.int32]
Roles = NDArray[np.int64]


def make_cover(notes: Notes, roles: Roles, rng: np.random.Generator) -> tuple[Notes, Roles]:
    """One solo cover of an arrangement.

    Parameters
    ----------
    notes : int32 (N, 4)
        Grid notes, at least one.
    roles : int64 (N,)
        ACCOMPANIMENT, MELODY or SECOND (POP909's BRIDGE) of each.
    rng : numpy Generator
        Decides what is left out, doubled, and how loud and long notes are.

    Returns
    -------
    int32 (M, 4), int64 (M,)
        The cover's notes and their roles.
    """
    line = _melody_line(notes, roles)
    rows = _below(np.column_stack([notes, roles]), line, rng)
    _name_lead(rows, line)
    if rng.random() < 0.3:
        rows = _double(rows, rng)
    _shade(rows, rng)
    if rng.random() < 0.5:
        longer = rng.uniform(1.0, 2.5) * rng.uniform(0.7, 1.2, len(rows))
        rows[:, 1] = np.round(rows[:, 1] * longer)
        rows = clean(rows)
    return np.ascontiguousarray(rows[:, :4], np.int32), rows[:, 4].astype(np.int64)


def _melody_line(notes: Notes, roles: Roles) -> NDArray[np.int64]:
    """The melody's pitch in each sixteenth, short rests filled by the lower neighbour; or REST."""
    line = np.full(int((notes[:, 0] + notes[:, 1]).max()) + 1, REST)
    for onset, duration, pitch, _ in notes[roles == MELODY]:
        line[onset : onset + duration] = pitch
    sounding = np.flatnonzero(line < REST)
    for a, b in pairwise(sounding):
        if b - a <= _SHORT_REST:
            line[a + 1 : b] = min(line[a], line[b])
    return line


def _below(
    rows: NDArray[np.int64], line: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Notes above the melody are dropped, or moved down by octaves until they are below it."""
    drops = rng.random() < 0.5
    margin = int(rng.integers(0, 3))
    kept = []
    for row in rows:
        limit = int(line[row[0] : row[0] + min(row[1], 4)].min()) - margin
        if row[4] != MELODY and row[2] >= limit:
            if drops:
                continue
            row[2] -= 12 * ((row[2] - limit) // 12 + 1)
            if row[2] < _LOWEST:
                continue
        kept.append(row)
    return clean(np.array(kept))


def _name_lead(rows: NDArray[np.int64], line: NDArray[np.int64]) -> None:
    """In bars without melody the top line is the melody, or the second voice's. In place."""
    rests = line == REST
    bars = rows[:, 0] // BAR
    is_free = np.array([rests[max(b * BAR - 2, 0) : b * BAR + 14].all() for b in bars])
    free = is_free & rests[np.minimum(rows[:, 0], len(line) - 1)] & (rows[:, 4] != MELODY)
    with_second = np.unique(bars[free & (rows[:, 4] == SECOND)])
    top = skyline(np.ascontiguousarray(rows[:, :4], np.int32)) & (rows[:, 2] >= _LOWEST_LEAD)
    rows[free & top & ((rows[:, 4] == SECOND) | ~np.isin(bars, with_second)), 4] = MELODY


def _double(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Part of the melody in octaves, the lower one accompaniment."""
    lower = rows[rows[:, 4] == MELODY].copy()
    lower[:, 2] -= 12
    lower[:, 4] = ACCOMPANIMENT
    lower = lower[(rng.random(len(lower)) < rng.uniform(0.3, 1.0)) & (lower[:, 2] >= _LOWEST)]
    return clean(np.concatenate([rows, lower]))


def _shade(rows: NDArray[np.int64], rng: np.random.Generator) -> None:
    """Other loudness, in place: a touch more for the melody, or not, and a shaky hand."""
    melody = rng.normal(3, 5) * (rows[:, 4] == MELODY)
    velocity = rows[:, 3] + melody + rng.normal(0, rng.uniform(0, 6), len(rows))
    rows[:, 3] = np.clip(np.round(velocity), 1, 127)


def clean(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of onset, duration, pitch, velocity and role as music: int64 (N, 5).

    Sorted, one note a place (the melody's first), none overlapping the next of its pitch.
    """
    rows = rows[np.lexsort((rows[:, 4] != MELODY, rows[:, 2], rows[:, 0]))]
    rows = rows[np.append(True, (np.diff(rows[:, 0]) != 0) | (np.diff(rows[:, 2]) != 0))]
    order = np.lexsort((rows[:, 0], rows[:, 2]))
    gap = np.where(np.diff(rows[order, 2]) == 0, np.diff(rows[order, 0]), 64)
    rows[order[:-1], 1] = np.minimum(rows[order[:-1], 1], gap)
    rows[:, 1] = np.clip(rows[:, 1], 1, 64)
    return rows
