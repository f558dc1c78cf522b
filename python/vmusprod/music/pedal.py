"""The sustain pedal as a pianist keeps it under changing chords."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

DOWN, UP = 96, 0
_LATE = 12
"""Ticks after the chord's onset at which the pedal goes down again ("legato pedal")."""


def pedal_lifts(chords: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Beats at which the pedal is lifted: each new chord and each bar line; chords: one a beat."""
    new = np.ones(len(chords), bool)
    new[1:] = chords[1:] != chords[:-1]
    new[:: tk.BEATS_PER_BAR] = True
    return np.flatnonzero(new)


def pedalled(notes: tk.Notes, chords: NDArray[np.uint8]) -> tk.Notes:
    """Grid notes as long as they sound under the pedal: to its next lift, or the key's next stroke.

    notes: sorted by onset.
    """
    if not len(notes):
        return notes
    lifts = np.append(pedal_lifts(chords), len(chords)) * tk.STEPS_PER_BEAT
    end = notes[:, 0] + notes[:, 1]
    held = lifts[np.minimum(np.searchsorted(lifts, end), len(lifts) - 1)]
    out = notes.copy()
    out[:, 1] = np.maximum(held, end) - notes[:, 0]
    line = np.lexsort((notes[:, 0], notes[:, 2]))
    same = np.flatnonzero(notes[line[1:], 2] == notes[line[:-1], 2])
    gap = notes[line[same + 1], 0] - notes[line[same], 0]
    out[line[same], 1] = np.minimum(out[line[same], 1], np.maximum(gap, notes[line[same], 1]))
    return out


def pedal_events(chords: NDArray[np.uint8], tick: Callable[[int], int]) -> list[tuple[int, int]]:
    """(tick, CC64 value): lifted at each new chord and each bar line, down again just after.

    chords: one id a beat; tick: maps a 16th to a tick. The pedal is down when the piece ends and is
    lifted on its last tick.
    """
    end = tick(len(chords) * tk.STEPS_PER_BEAT)
    events: list[tuple[int, int]] = []
    for beat in pedal_lifts(chords):
        at = tick(int(beat) * tk.STEPS_PER_BEAT)
        if at + _LATE >= end or (events and at <= events[-1][0]):
            continue
        if events:
            events.append((at, UP))
        events.append((at + _LATE, DOWN))
    if events:
        events.append((end, UP))
    return events
