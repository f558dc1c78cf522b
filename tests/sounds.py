"""Small recordings for the tests."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_wav(path: Path, samples: NDArray[np.floating], rate: int = 44100) -> Path:
    """Write samples (n,) or (n, channels), full scale 1, as 16 bit."""
    table = np.asarray(samples).reshape(len(samples), -1)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(table.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.rint(np.clip(table, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def chords_sound(
    chords: Sequence[Sequence[int]], seconds: float, rate: int = 22050
) -> NDArray[np.float64]:
    """Chords (MIDI pitches) one after another, each `seconds` long, plucked, with partials."""
    time = np.arange(round(seconds * rate)) / rate
    parts = []
    for pitches in chords:
        part = np.zeros(len(time))
        for pitch in pitches:
            hertz = 440 * 2 ** ((pitch - 69) / 12)
            for partial in (1, 2, 3):
                part += np.sin(2 * np.pi * hertz * partial * time) / partial
        parts.append(part * np.exp(-time / seconds) * 0.1)
    return np.concatenate(parts)
