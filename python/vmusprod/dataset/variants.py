"""Arrangements made of POP909's by leaving out and changing parts, to fit the melody's network to.

A network that sees the same 750 songs again and again learns the songs; what it is to learn is how
melody, second voice and accompaniment stand to each other, whatever their register and loudness.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.covers import MELODY, SECOND, clean

__all__ = ["make_variant"]

BAR = 16
_LOWEST, _HIGHEST = 21, 108
Notes = NDArray[np.int32]
Roles = NDArray[np.int64]


def make_variant(notes: Notes, roles: Roles, rng: np.random.Generator) -> tuple[Notes, Roles]:
    """One variant of an arrangement.

    Now and then the melody or the second voice rests for some bars, or is an octave higher or lower
    or louder or softer than it was; single notes are missing, most of them accompaniment; loudness,
    lengths and the place in the bar change, and now and then a beat is two, or two are one.

    Parameters
    ----------
    notes : int32 (N, 4)
        Grid notes, at least one.
    roles : int64 (N,)
        ACCOMPANIMENT, MELODY or SECOND of each.
    rng : numpy Generator

    Returns
    -------
    int32 (M, 4), int64 (M,)
        The variant's notes and their roles, with at least one of the melody if the song has one.
    """
    rows = np.column_stack([notes, roles]).astype(np.int64)
    kept = _rests(rows, rng)
    for role in (MELODY, SECOND):
        if rng.random() < 0.15:
            rows[rows[:, 4] == role, 2] += 12 * int(rng.choice([-1, 1]))
    if rng.random() < 0.7:
        share = rng.uniform(0, 0.12)
        kept &= rng.random(len(rows)) >= np.where(rows[:, 4] == MELODY, 0.2 * share, share)
    kept &= (rows[:, 2] >= _LOWEST) & (rows[:, 2] <= _HIGHEST)
    if not (kept & (rows[:, 4] == MELODY)).any():
        return notes, roles
    rows = rows[kept]
    velocity = rows[:, 3] * rng.uniform(0.8, 1.2) + rng.normal(0, rng.uniform(0, 4), len(rows))
    for role in (MELODY, SECOND):
        if rng.random() < 0.3:
            velocity += (rows[:, 4] == role) * rng.normal(0, 6)
    rows[:, 3] = np.clip(np.round(velocity), 1, 127)
    if rng.random() < 0.5:
        rows[:, 1] = np.round(rows[:, 1] * rng.uniform(0.7, 1.4))
    # Found beats are mostly right, if at twice or half the tempo, found bars less often.
    if rng.random() < 0.15:
        rows[:, :2] = np.round(rows[:, :2] * rng.choice([0.5, 2.0]))
    rows[:, 0] += rng.integers(0, BAR) if rng.random() < 0.1 else 4 * rng.integers(0, 4)
    rows = clean(rows)
    return np.ascontiguousarray(rows[:, :4], np.int32), rows[:, 4]


def _rests(rows: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.bool_]:
    """False for the notes of a part that rests, up to three times for two to eight bars."""
    bars = rows[:, 0] // BAR
    kept = np.ones(len(rows), bool)
    for role in (MELODY, SECOND):
        if rng.random() < 0.35:
            for _ in range(int(rng.integers(1, 4))):
                start = rng.integers(0, int(bars.max()) + 1)
                end = start + rng.integers(2, 9)
                kept &= (rows[:, 4] != role) | (bars < start) | (bars >= end)
    return kept
