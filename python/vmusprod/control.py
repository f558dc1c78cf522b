"""The video's say in one piece: its key, how dense and loud each bar is, how loud the whole is.

Density is notes a second: at 130 bpm a bar needs fewer of them than at 90. The levels that the
models know count notes a bar, and the models follow them in part only; so what is wanted is kept as
a number of notes, against which what they wrote is measured. What is still off is mended afterwards
(levels.py).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vmusprod.models.config import SOURCES
from vmusprod.models.task import NO_LEANING
from vmusprod.music import tokens as tk
from vmusprod.music.form import group_means
from vmusprod.steering import LEVELS, Steering, steer
from vmusprod.video.features import VideoFeatures

__all__ = ["Control"]

_RATE = (2.5, 3.8, 4.8, 5.6, 6.4, 7.1, 8.0, 9.4, 12.0)
"""Notes a second at the usual tempo, eighths of SymMV's and POP909's bars; extremes brought in."""
_NOTES = (11.0, 13.8, 16.0, 18.5, 21.0, 23.8, 27.8)
"""Notes a bar between one level and the next, over the same bars."""
_USUAL_TEMPO, _FASTER = 78.0, 0.4
"""Median tempo of these songs, and how the notes a second grow with it: notes a bar go with the
power -0.60 of the tempo in POP909, -0.63 in SymMV."""
_THICK, _THIN = 1.15, 0.85
"""Of the notes wanted: what is still left alone."""
_STEP = 0.18
"""Of the logarithm of the notes in a bar, from one level to the next."""


@dataclass(frozen=True)
class Wish:
    """What is wanted of the bars of a cue: levels 1..8 (0: free), and notes (infinite: free)."""

    density: NDArray[np.int64]
    loudness: NDArray[np.int64]
    notes: NDArray[np.float64]

    @property
    def free(self) -> bool:
        """Whether any number of notes will do."""
        return not np.isfinite(self.notes).all()

    def ratio(self, *parts: tk.Notes) -> float:
        """Notes of a cue over those wanted."""
        found = sum(len(part) for part in parts)
        return found / max(float(self.notes.sum()), 1.0)

    def again(self, ratio: float) -> Wish | None:
        """Levels that should come nearer after they gave `ratio`; None if that is near enough."""
        if self.free or _THIN <= ratio <= _THICK:
            return None
        shift = np.clip(round(-np.log(max(ratio, 0.05)) / _STEP), -4, 4)
        moved = np.clip(self.density + int(shift), 1, LEVELS)
        return None if np.array_equal(moved, self.density) else replace(self, density=moved)


class _Wishes(Protocol):
    """The settings that are looked at, of `compose.Settings`."""

    @property
    def seed(self) -> int: ...
    @property
    def density(self) -> int | None: ...
    @property
    def loudness(self) -> int | None: ...
    @property
    def without(self) -> tuple[str, ...]: ...


class Control:
    """What the heads of steering.py say of a video, with the user's own wishes before them.

    Where nothing is looked at, nothing is asked for either: levels are free (0), keys as common as
    among POP909's songs.
    """

    def __init__(self, features: VideoFeatures, settings: _Wishes) -> None:
        self._settings = settings
        self._blind = set(SOURCES) <= set(settings.without)
        self._steering: Steering = steer(features, settings.without)
        # Other dice for another video, so that a batch with one seed has different keys.
        self.key = self._steering.key(settings.seed, zlib.crc32(features.motion.tobytes()))

    def leaning(self) -> tuple[NDArray[np.float32], float]:
        """Which chords suit the video, and how far they are held: `models.task.Task`'s fields."""
        if self._blind:
            return NO_LEANING, 0.0
        return self._steering.leaning, self._steering.hold

    def wish(
        self, start: float, ends: NDArray[np.float64], tempo: float, groups: NDArray[np.int64]
    ) -> Wish:
        """What is wanted of bars from `start` that end at `ends` (s), at `tempo` bpm.

        groups: (bars,), bars that shall be equally dense (music/form.py: `hypermeasures`).
        """
        places = self._steering.bars(start, ends)
        places[:, 0] = group_means(places[:, 0], groups)
        density, loudness = self._settings.density, self._settings.loudness
        for column, own in enumerate((density, loudness)):
            if own is not None:
                places[:, column] = (own - 0.5) / LEVELS
        rate = np.interp(places[:, 0], np.linspace(0, 1, len(_RATE)), _RATE)
        rate *= (tempo / _USUAL_TEMPO) ** _FASTER
        notes = rate * tk.BEATS_PER_BAR * 60 / tempo
        levels = 1 + np.searchsorted(_NOTES, notes)
        loud = np.clip(1 + np.floor(places[:, 1] * LEVELS), 1, LEVELS).astype(np.int64)
        free = np.zeros(len(ends), np.int64)
        if self._blind and density is None:
            levels, notes = free, np.full(len(ends), np.inf)
        return Wish(levels, free if self._blind and loudness is None else loud, notes)

    def levels(self, ends: NDArray[np.float64]) -> list[NDArray[np.float64] | None]:
        """How dense and how loud bars that end at `ends` (s), the first at 0, are to be.

        (bars,) each, logs in MuVi-Sync's terms (levels.py), or None: free.
        """
        places = self._steering.bars(0.0, ends)
        found: list[NDArray[np.float64] | None] = []
        for column, own in enumerate((self._settings.density, self._settings.loudness)):
            if own is not None:
                places[:, column] = (own - 0.5) / LEVELS
            table = self._steering.heard[:, column]
            level = np.interp(places[:, column], np.linspace(0, 1, len(table)), table)
            found.append(None if self._blind and own is None else level)
        return found
