"""Chroma of a recording: how strongly each pitch class sounds, twice a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.audio.decode import Sound, windows

__all__ = ["CHROMA_RATE", "sound_chroma", "unit_rows"]

CHROMA_RATE = 2.0  # frames a second
_RATE = 11025
_SIZE = 4096  # samples a spectrum: 0.37 s, bins 2.7 Hz apart
_SPECTRA = 5  # a frame
_LOWEST, _HIGHEST = 110.0, 2100.0  # below, semitones lie closer than bins; above are partials
_WIDTH = 0.25  # semitones within which a bin counts for a pitch class
_FRAME = round(_RATE / CHROMA_RATE)


def sound_chroma(sound: Sound) -> NDArray[np.float32]:
    """Chroma of 0.5 s each: float32 (frames, 12) from C on, rows of length 1, or 0 in silence.

    Magnitudes are compressed (log) before they are added up, so that a chord's soft notes count.
    """
    table = _pitch_classes()
    rows = []
    for window in windows(sound, _RATE, 60 * _FRAME, _SIZE):
        frames = -(-(window.last - window.first) // _FRAME)
        place = window.first - window.start + np.arange(frames * _SPECTRA) * _FRAME // _SPECTRA
        padded = np.pad(window.samples, (_SIZE // 2, _SIZE + _FRAME))
        cut = padded[place[:, None] + np.arange(_SIZE)] * np.hanning(_SIZE).astype(np.float32)
        spectra = np.abs(np.fft.rfft(cut, axis=1)) / _SIZE
        strength = np.log1p(1e4 * spectra @ table)
        rows.append(strength.reshape(frames, _SPECTRA, 12).mean(axis=1))
    return unit_rows(np.concatenate(rows))


def unit_rows(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """The rows (frames, 12) less what all classes share, at length 1; flat ones become 0."""
    lifted = rows - rows.min(axis=1, keepdims=True)
    length = np.linalg.norm(lifted, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-6, lifted / np.maximum(length, 1e-6), 0), np.float32)


def _pitch_classes() -> NDArray[np.float64]:
    """The share of each bin of the spectrum in each pitch class: float64 (bins, 12)."""
    hertz = np.fft.rfftfreq(_SIZE, 1 / _RATE)
    inside = (hertz >= _LOWEST) & (hertz <= _HIGHEST)
    semitone = 12 * np.log2(np.maximum(hertz, 1.0) / 440.0) + 69
    nearest = np.rint(semitone)
    weight = np.exp(-0.5 * ((semitone - nearest) / _WIDTH) ** 2)
    # There are more bins to a semitone the higher it lies.
    weight = np.where(inside, weight / np.maximum(hertz, 1.0), 0.0)
    table = np.zeros((len(hertz), 12))
    table[np.arange(len(hertz)), nearest.astype(np.int64) % 12] = weight * _LOWEST
    return table
