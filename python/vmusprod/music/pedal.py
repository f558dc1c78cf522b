"""The sustain pedal as a pianist keeps it under changing chords."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

DOWN, UP = 96, 0
_LATE = 12
"""Ticks after the chord's onset at which the pedal goes down again ("legato pedal")."""


def pedal_events(chords: NDArray[np.uint8], tick: Callable[[int], int]) -> list[tuple[int, int]]:
    """(tick, CC64 value): lifted at each new chord and each bar line, down again just after.

    chords: one id a beat; tick: maps a 16th to a tick. The pedal is down when the piece ends and is
    lifted on its last tick.
    """
    new = np.ones(len(chords), bool)
    new[1:] = chords[1:] != chords[:-1]
    new[:: tk.BEATS_PER_BAR] = True
    end = tick(len(chords) * tk.STEPS_PER_BEAT)
    events: list[tuple[int, int]] = []
    for beat in np.flatnonzero(new):
        at = tick(int(beat) * tk.STEPS_PER_BEAT)
        if at + _LATE >= end or (events and at <= events[-1][0]):
            continue
        if events:
            events.append((at, UP))
        events.append((at + _LATE, DOWN))
    if events:
        events.append((end, UP))
    return events
