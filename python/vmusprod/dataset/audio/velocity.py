"""How hard a key was struck, from the level of its partials at the onset.

Neither transcriber tells loudness. A note's attack is the rise of the power at its first five
partials from 60 ms before the onset to 60 ms after it; over a window of sound the rises, evened out
over the keyboard, are mapped to velocities. It is an estimate: on a rendered song of POP909 its
rank correlation with the velocities written there is 0.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Levels", "velocities"]

_FRAME_SECONDS = 0.093
_PARTIALS = (1, 2, 3, 4, 5)
_ASIDE = 0.06  # seconds from the onset to what is before and after it
_MEAN, _SPREAD = 64.0, 14.0
# Velocity steps a decibel: pianos, and soundfonts, span about 40 dB over the 127.
_STEPS_A_DECIBEL = 2.2
_LOUDEST, _SOFTEST = 120, 20


class Levels:
    """The spectra of a window of sound at chosen times."""

    def __init__(self, samples: NDArray[np.float32], rate: int) -> None:
        size = 1 << round(np.log2(_FRAME_SECONDS * rate))
        self._rate = rate
        self._size = size
        self._lead = size
        self._samples = np.pad(samples, (size, size))
        self._window = np.hanning(size).astype(np.float32)

    def at(self, seconds: NDArray[np.float64]) -> NDArray[np.float32]:
        """Power spectra centred on these times: float32 (N, bins)."""
        middle = np.rint(seconds * self._rate).astype(np.int64) + self._lead - self._size // 2
        start = np.clip(middle, 0, len(self._samples) - self._size)
        rows = []
        for group in np.array_split(start, max(1, len(start) // 256)):
            frames = self._samples[group[:, None] + np.arange(self._size)] * self._window
            rows.append(np.square(np.abs(np.fft.rfft(frames, axis=1))).astype(np.float32))
        return np.concatenate(rows)

    def bins(self, pitch: NDArray[np.uint8]) -> NDArray[np.intp]:
        """The spectrum's bins nearest to the first partials: intp (N, 5)."""
        hertz = 440.0 * 2.0 ** ((pitch.astype(np.float64)[:, None] - 69) / 12)
        index = np.rint(hertz * np.array(_PARTIALS) * self._size / self._rate).astype(np.intp)
        return np.asarray(np.clip(index, 1, self._size // 2 - 1), np.intp)


def velocities(
    levels: Levels, onset: NDArray[np.float64], pitch: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Velocities 20..120 of notes at `onset` (N,), seconds into the window: uint8 (N,)."""
    if not len(onset):
        return np.zeros(0, np.uint8)
    bins = levels.bins(pitch)
    row = np.arange(len(onset))[:, None]
    before, after = (
        spectra[row, bins] + spectra[row, bins - 1] + spectra[row, bins + 1]
        for spectra in (levels.at(onset - _ASIDE), levels.at(onset + _ASIDE))
    )
    # What already sounded may sound on: a rise of 2 % of the power at least.
    rise = np.maximum(after - before, 0.02 * after).sum(axis=1)
    decibels = 10 * np.log10(rise.astype(np.float64) + 1e-9)
    # High notes have less energy at the same stroke: what a straight line over the keyboard
    # explains is the instrument's, not the player's.
    keys = pitch.astype(np.float64)
    if np.ptp(keys) > 12 and len(keys) > 16:
        slope, offset = np.polyfit(keys, decibels, 1)
        decibels = decibels - (slope * keys + offset)
    else:
        decibels = decibels - decibels.mean()
    spread = max(float(decibels.std()) * _STEPS_A_DECIBEL, 1e-9)
    steps = decibels * _STEPS_A_DECIBEL * min(1.0, _SPREAD / spread)
    return np.asarray(np.clip(np.rint(_MEAN + steps), _SOFTEST, _LOUDEST), np.uint8)
