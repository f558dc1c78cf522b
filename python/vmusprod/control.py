"""The video's say in one piece: its key, the levels of each bar, how loud the whole is."""

from __future__ import annotations

import zlib
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vmusprod.models.config import SOURCES
from vmusprod.music import tokens as tk
from vmusprod.steering import Steering, steer
from vmusprod.video.features import VideoFeatures

__all__ = ["Control"]

_DYNAMICS = 28.0
"""Velocities between the softest and the loudest piece; within a piece the models see to it."""


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
        rng = np.random.default_rng([settings.seed, zlib.crc32(features.motion.tobytes())])
        self.key = self._steering.key(rng)

    def levels(
        self, start: float, ends: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Density and loudness levels, 1..8, of bars from `start` that end at `ends` (s)."""
        levels = self._steering.levels(start, ends)
        if self._blind:
            levels[:] = 0
        for column, own in enumerate((self._settings.density, self._settings.loudness)):
            if own is not None:
                levels[:, column] = own
        return levels[:, 0], levels[:, 1]

    def dynamics(self, notes: tk.Notes) -> tk.Notes:
        """Notes as loud as the whole piece is to be: the models learnt from songs evened out."""
        own = self._settings.loudness
        if self._blind and own is None:
            return notes
        place = float(self._steering.places[:, 1].mean()) if own is None else (own - 0.5) / 8
        moved = notes.copy()
        moved[:, 3] = np.clip(moved[:, 3] + round((place - 0.5) * _DYNAMICS), 1, 127)
        return moved
