"""How dense and loud each bar is, in MuVi-Sync's terms, and notes that are as their video asks.

The terms are those in which VMCP describes MIDI (vmcp/midi.py): notes that sound within a second,
under the pedal, and RMS of notes that decay as strings do.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk
from vmusprod.music.form import figure, group_means
from vmusprod.music.pedal import pedalled
from vmusprod.music.score import TimedNotes
from vmusprod.music.thickening import thicken
from vmusprod.music.thinning import count_notes, thin
from vmusprod.vmcp.midi import DENSITY_BY_NOTES, LOUDNESS_BY_VELOCITY, second_levels

if TYPE_CHECKING:
    from vmusprod.compose import Plan

__all__ = ["as_dense", "as_loud", "bar_levels", "louder", "velocity_gains"]

Array = NDArray[np.float64]

_SOFTEST, _LOUDEST = 22, 118
"""Velocities between which a piece is moved: keys still speak, and none is hammered."""
_MOST = 0.7
"""By which the log of a bar's velocities is moved."""
_NEAR = 0.1
"""Of the log of a bar's notes: a difference that is left alone."""
_SAME = 0.4
"""The same, where a figure that is heard again would no longer be one."""
_ROUNDS = 2
"""How often a level is measured and mended: notes ring on under the pedal and into the next bar."""
_FULLEST = 2.5
"""Times as many notes as the accompaniment of a bar may come to have, of four at least."""


def bar_levels(notes: tk.Notes, chords: NDArray[np.uint8], plan: Plan) -> Array:
    """Log of density and loudness of each bar, (bars, 2), as `vmcp.midi.second_levels` has them.

    notes: of the whole piece, sorted; chords: one id a beat.
    """
    edges = np.append(0.0, plan.bar_ends(0, plan.bars))
    step = 60 / plan.tempo / tk.STEPS_PER_BEAT
    held = pedalled(notes, chords)
    first, last = held[:, 0] - plan.pickup, held[:, 0] + held[:, 1] - plan.pickup
    onset, offset = np.maximum(first, 0) * step, np.minimum(last * step, edges[-1])
    heard = offset > onset
    pitch, velocity = held[heard, 2].astype(np.uint8), held[heard, 3].astype(np.uint8)
    count = max(int(np.ceil(edges[-1])), 1)
    levels = second_levels(TimedNotes(onset[heard], offset[heard], pitch, velocity), count)
    total = np.concatenate([np.zeros((1, 2)), np.cumsum(levels, axis=0)])
    seconds = np.arange(count + 1)
    at = np.stack([np.interp(edges, seconds, total[:, i]) for i in range(2)], axis=1)
    return np.asarray(np.diff(at, axis=0) / np.maximum(np.diff(edges), 1e-6)[:, None])


def as_dense(
    rest: tk.Notes, melody: tk.Notes, chords: NDArray[np.uint8], plan: Plan, wanted: Array,
    groups: NDArray[np.int64],
) -> tk.Notes:  # fmt: skip
    """The accompaniment, thinned or thickened to the densities that are wanted (logs, (bars,)).

    groups: (bars,), bars of which as large a share is taken or added, so that a figure stays one.
    The last bar, which closes the piece, is left alone.
    """
    groups = np.append(groups[:-1], groups.max() + 1)
    sung = group_means(count_notes(melody, plan.bars), groups)
    most = _FULLEST * np.maximum(count_notes(rest, plan.bars), 4)
    for _ in range(_ROUNDS):
        both = tk.normalise(np.concatenate([melody, rest]))
        apart = group_means(wanted - bar_levels(both, chords, plan)[:, 0], groups)
        ratio = np.exp(np.clip(apart, -2, 2) / DENSITY_BY_NOTES)
        count = count_notes(rest, plan.bars)
        own = np.maximum(group_means(count, groups), 1)
        share = np.maximum((own + sung) * ratio - sung, 0.1) / own
        share = _alike(np.where(np.abs(np.log(share)) < _NEAR, 1.0, share), rest)
        share[-1] = 1.0
        goal = np.rint(count * share)
        rest = thin(rest, np.where(share < 1, goal, np.inf))
        more = np.where(share > 1, np.minimum(goal, most), 0.0)
        rest = thicken(rest, melody, chords, more)
    return rest


def _alike(share: Array, notes: tk.Notes) -> Array:
    """Shares by bar; a figure that is heard again has that of the bar before if it is near."""
    alike = np.log(share)
    last: dict[bytes, float] = {}
    edges = np.searchsorted(notes[:, 0], np.arange(len(share) + 1) * tk.STEPS_PER_BAR)
    for bar, (first, end) in enumerate(itertools.pairwise(edges)):
        heard = figure(notes[first:end], bar)
        before = last.get(heard, alike[bar])
        if abs(before - alike[bar]) < _SAME:
            alike[bar] = before
        last[heard] = alike[bar]
    return np.asarray(np.exp(alike))


def as_loud(
    parts: tuple[tk.Notes, ...], fixed: tk.Notes, chords: NDArray[np.uint8], plan: Plan,
    wanted: Array,
) -> list[tk.Notes]:  # fmt: skip
    """The parts with velocities that make the piece as loud as is wanted (logs, (bars,)).

    fixed: other notes of the piece, which are heard but not changed.
    """
    moved = list(parts)
    for _ in range(_ROUNDS):
        heard = bar_levels(tk.normalise(np.concatenate([*moved, fixed])), chords, plan)[:, 1]
        gains = velocity_gains(heard, wanted)
        moved = [louder(part, gains) for part in moved]
    return moved


def velocity_gains(loudness: Array, wanted: Array) -> Array:
    """By how much the log of each bar's velocities must be moved, (bars,).

    loudness, wanted: logs, (bars,). Neighbours share half of it, so that no bar line is a step.
    """
    gain = (wanted - loudness) / LOUDNESS_BY_VELOCITY
    near = np.pad(gain, 1, mode="edge")
    return np.clip(gain / 2 + (near[:-2] + near[2:]) / 4, -_MOST, _MOST)


def louder(notes: tk.Notes, gains: Array) -> tk.Notes:
    """Grid notes with the log of their velocities moved by their bar's gain, (bars,)."""
    moved = notes.copy()
    bar = np.minimum(notes[:, 0] // tk.STEPS_PER_BAR, len(gains) - 1)
    velocity = np.rint(notes[:, 3] * np.exp(gains[bar]))
    # What was softer or louder to begin with may stay so.
    low, high = np.minimum(notes[:, 3], _SOFTEST), np.maximum(notes[:, 3], _LOUDEST)
    moved[:, 3] = np.clip(velocity, low, high)
    return moved
