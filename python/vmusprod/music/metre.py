"""Which sixteenth is a downbeat: a linear score over what the notes do around it.

Bars begin where the bass moves, the harmony changes, many and long notes start. Seven such features, over a bar to either side, weighted by
a linear discriminant fitted to POP909's known downbeats (`python -m vmusprod.dataset.metre_fit`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONTEXT", "FEATURES", "context", "metre_features"]

FEATURES = ("onsets", "bass", "length", "loudness", "top", "harmony", "bass_change")
CONTEXT = 12  # sixteenths to either side
_BASS_SHARE = 0.3  # of the notes, by pitch, count as bass


def metre_features(
    position: NDArray[np.float64],
    end: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    length: int,
) -> NDArray[np.float64]:
    """One row of features a sixteenth, each with mean 0 and deviation 1 over the piece: float64 (length, 7).

    `position` and `end` (N,) are onsets and offsets in sixteenths; those outside 0..length-1 are clipped.
    """
    at = np.clip(np.floor(position + 0.5).astype(np.int64), 0, length - 1)
    duration = np.clip(end - position, 0.25, 32.0)
    table = np.zeros((length, len(FEATURES)))
    table[:, 0] = np.sqrt(np.bincount(at, minlength=length))
    low = pitch <= np.quantile(pitch, _BASS_SHARE)
    table[:, 1] = np.sqrt(np.bincount(at[low], weights=duration[low], minlength=length))
    table[:, 2] = np.log1p(np.bincount(at, weights=duration, minlength=length))
    np.maximum.at(table[:, 3], at, velocity.astype(np.float64))
    high = pitch >= np.quantile(pitch, 1 - _BASS_SHARE)
    table[:, 4] = np.log1p(np.bincount(at[high], weights=duration[high], minlength=length))
    chroma = _chroma(at, duration, pitch, length)
    table[:, 5] = _change(chroma, 8)
    table[:, 6] = _change(_chroma(at[low], duration[low], pitch[low], length), 8)
    table -= table.mean(axis=0)
    result: NDArray[np.float64] = table / (table.std(axis=0) + 1e-9)
    return result


def _chroma(
    at: NDArray[np.int64], duration: NDArray[np.float64], pitch: NDArray[np.uint8], length: int
) -> NDArray[np.float64]:
    """Sounding pitch classes a sixteenth: float64 (length, 12)."""
    edges = np.zeros((length + 1, 12))
    stop = np.minimum(at + np.maximum(np.round(duration), 1).astype(np.int64), length)
    np.add.at(edges, (at, pitch % 12), 1.0)
    np.add.at(edges, (stop, pitch % 12), -1.0)
    return np.cumsum(edges, axis=0)[:-1]


def _change(chroma: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """1 - cosine between the chroma of the `span` sixteenths behind and those ahead: float64 (length,)."""
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(chroma, axis=0)])
    n = len(chroma)
    index = np.arange(n)
    behind = total[index] - total[np.maximum(index - span, 0)]
    ahead = total[np.minimum(index + span, n)] - total[index]
    norm = np.linalg.norm(behind, axis=1) * np.linalg.norm(ahead, axis=1)
    result: NDArray[np.float64] = 1 - (behind * ahead).sum(axis=1) / np.maximum(norm, 1e-9)
    return np.where(norm > 0, result, 0.5)


def context(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row with its CONTEXT neighbours to either side: float64 (length, 7 * (2 * CONTEXT + 1))."""
    padded = np.pad(features, ((CONTEXT, CONTEXT), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
    return windows.reshape(len(features), -1)
