"""Downbeats: a linear score over what the notes do around each sixteenth, and the bars it makes.

Bars begin where the harmony and the bass change and where many notes, low ones above all, start.
The score weighs seven such features over a bar to either side; its weights are a ridge regression
onto POP909's downbeats (`python -m vmusprod.dataset.metre_fit`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.metre_weights import WEIGHTS

__all__ = ["CONTEXT", "FEATURES", "bar_starts", "context", "downbeat_score", "metre_features"]

Array = NDArray[np.float64]

FEATURES = ("onsets", "bass", "harmony", "bass_change", "harmony_near", "bass_near", "phrase")
CONTEXT = 16  # sixteenths to either side
_BASS_SHARE = 0.3  # of the notes, by pitch, count as bass

# What a bar of another length costs, in deviations of the score: half bars are common in pop, odd
# ones are mistakes.
_EVEN_COST, _ODD_COST = 6.0, 8.0


def metre_features(position: Array, end: Array, pitch: NDArray[np.uint8], length: int) -> Array:
    """Describe each sixteenth by seven features: float64 (length, 7).

    Each has mean 0 and deviation 1 over the piece.

    `position` and `end` (N,) are onsets and offsets in sixteenths; those outside 0..length-1 are
    clipped.
    """
    at = np.clip(np.floor(position + 0.5).astype(np.int64), 0, length - 1)
    duration = np.clip(end - position, 0.25, 32.0)
    low = pitch <= np.quantile(pitch, _BASS_SHARE)
    harmony = _sounding(at, duration, pitch, length)
    bass = _sounding(at[low], duration[low], pitch[low], length)
    table = np.column_stack(
        [
            np.sqrt(np.bincount(at, minlength=length)),
            np.sqrt(np.bincount(at[low], weights=duration[low], minlength=length)),
            _change(harmony, 8),
            _change(bass, 8),
            _change(harmony, 4),
            _change(bass, 4),
            _change(harmony, 32),
        ]
    )
    table -= table.mean(axis=0)
    result: Array = table / (table.std(axis=0) + 1e-9)
    return result


def _sounding(
    at: NDArray[np.int64], duration: Array, pitch: NDArray[np.uint8], length: int
) -> Array:
    """Sum the notes that sound in the sixteenths before k, by pitch class: (length + 1, 12)."""
    edges = np.zeros((length + 1, 12))
    stop = np.minimum(at + np.maximum(np.round(duration), 1).astype(np.int64), length)
    np.add.at(edges, (at, pitch % 12), 1.0)
    np.add.at(edges, (stop, pitch % 12), -1.0)
    chroma = np.cumsum(edges, axis=0)[:-1]
    return np.concatenate([np.zeros((1, 12)), np.cumsum(chroma, axis=0)])


def _change(total: Array, span: int) -> Array:
    """1 - cosine between the chroma of `span` sixteenths behind and ahead: float64 (length,)."""
    n = len(total) - 1
    index = np.arange(n)
    behind = total[index] - total[np.maximum(index - span, 0)]
    ahead = total[np.minimum(index + span, n)] - total[index]
    norm = np.linalg.norm(behind, axis=1) * np.linalg.norm(ahead, axis=1)
    cosine = (behind * ahead).sum(axis=1) / np.maximum(norm, 1e-9)
    result: Array = np.where(norm > 0, 1 - cosine, 0.5)
    return result


def context(features: Array) -> Array:
    """Each row with its CONTEXT neighbours to either side, feature by feature: (length, D)."""
    padded = np.pad(features, ((CONTEXT, CONTEXT), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * CONTEXT + 1, axis=0)
    return windows.reshape(len(features), -1)


def downbeat_score(features: Array, weights: Array | None = None) -> Array:
    """How much like a downbeat each sixteenth is, with mean 0 and deviation 1: float64 (length,).

    `features` as of `metre_features`; `weights` float64 (7, 2 * CONTEXT + 1), the fitted ones if
    not given.
    """
    table = np.asarray(WEIGHTS) if weights is None else weights
    score = np.zeros(len(features))
    for column, kernel in zip(features.T, table, strict=True):
        # 'full' and cut: the kernel may be longer than the piece.
        score += np.convolve(column, kernel[::-1])[CONTEXT : CONTEXT + len(column)]
    score -= score.mean()
    result: Array = score / (score.std() + 1e-9)
    return result


def fold(score: Array, period: int) -> Array:
    """Mean of the score at each place of a period: float64 (period,)."""
    padded = np.pad(score, (0, -len(score) % period))
    result: Array = padded.reshape(-1, period).mean(axis=0)
    return result


def bar_starts(score: Array, size: int = 4) -> NDArray[np.intp]:
    """Find the downbeats: the best-scored path of bars, nearly all of `size` beats.

    `score`: float64 (B,), one a beat. Returns increasing beat indices; the first lies within the
    first two bars.
    """
    beats = len(score)
    if beats == 0:
        return np.zeros(1, np.intp)
    lengths = range(2, 2 * size)
    costs = [(n, 0.0 if n == size else _ODD_COST if n % 2 else _EVEN_COST) for n in lengths]
    gain = score / (score.std() + 1e-9)
    # Half of what a downbeat earns on average is taken off each, or short bars would pay.
    gain = (gain - 0.5 * fold(gain, size).max()).tolist()
    best = [value if k < 2 * size else -np.inf for k, value in enumerate(gain)]
    back = [-1] * beats
    for k in range(2, beats):
        for length, cost in costs:
            if length > k:
                break
            value = best[k - length] + gain[k] - cost
            if value > best[k]:
                best[k], back[k] = value, k - length
    low = max(0, beats - 2 * size)
    path = [low + int(np.argmax(best[low:]))]
    while back[path[-1]] >= 0:
        path.append(back[path[-1]])
    return np.array(path[::-1], dtype=np.intp)
