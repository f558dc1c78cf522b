"""Figures that describe a piece of music, with the definitions behind the paper's Table 5.

Conventions, found by reproducing the paper's "Real" rows (design.md, "Metrics"):

- All notes of all tracks count alike, the drums' excepted; nothing is weighted by duration.
- SC, PE and PCE are MusPy's `scale_consistency`, `pitch_entropy` and `pitch_class_entropy`;
  entropies are in bits.
- EBR is MusPy's `empty_beat_rate`: of the quarter notes from tick 0 to the one in which the last
  note ends, the share in which no note sounds. A note that ends exactly on a beat counts there.
- IOI is the mean difference of all sorted onsets in seconds. Notes struck together are 0 s apart
  and count, so a full texture lowers it.

Each function checks its input first and raises ValueError: an empty piece has no figures.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Metrics",
    "empty_beat_rate",
    "inter_onset_interval",
    "pitch_class_entropy",
    "pitch_entropy",
    "scale_consistency",
]

# Major scale degrees; the natural minor scales are its rotations.
_SCALE = (0, 2, 4, 5, 7, 9, 11)


@dataclass(frozen=True)
class Metrics:
    """The figures of one piece, or their means over several; units on top of the module."""

    sc: float
    pe: float
    pce: float
    ebr: float
    ioi: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures by name, in the order of the fields."""
        return asdict(self)


def scale_consistency(pitch: NDArray[np.integer]) -> float:
    """Return the largest share of notes, 0..1, that lie in one major or natural minor scale.

    `pitch`: (N,), 0..127. Raises ValueError: no notes, not MIDI pitches.
    """
    classes = _histogram(pitch, 12)
    return max(float(np.roll(classes, -root)[list(_SCALE)].sum()) for root in range(12))


def pitch_entropy(pitch: NDArray[np.integer]) -> float:
    """Return the entropy, bits, of the pitch histogram; `pitch` and errors as above."""
    return _entropy(_histogram(pitch, 128))


def pitch_class_entropy(pitch: NDArray[np.integer]) -> float:
    """Return the entropy, bits, of the histogram of the 12 pitch classes; `pitch` as above."""
    return _entropy(_histogram(pitch, 12))


def empty_beat_rate(start: NDArray[np.floating], end: NDArray[np.floating]) -> float:
    """Return the share of beats, 0..1, in which no note sounds.

    `start`, `end`: (N,), in beats (quarter notes) from the beginning of the piece, end >= start.
    Raises ValueError: no notes, a time that is negative or not finite, an end before its start.
    """
    start, end = np.asarray(start, np.float64), np.asarray(end, np.float64)
    if not len(start) or start.shape != end.shape or start.ndim != 1:
        raise ValueError("starts and ends of one note or more are needed")
    if not (np.isfinite(end).all() and (start >= 0).all() and (end >= start).all()):
        raise ValueError("times must be finite and not negative, ends not before starts")
    first, last = np.floor(start).astype(np.int64), np.floor(end).astype(np.int64)
    beats = int(last.max()) + 1
    change = np.bincount(first, minlength=beats + 1) - np.bincount(last + 1, minlength=beats + 1)
    return float(np.mean(np.cumsum(change)[:beats] == 0))


def inter_onset_interval(onset: NDArray[np.floating]) -> float:
    """Return the mean difference of the sorted onsets, seconds; 0 for a single note.

    `onset`: (N,), seconds, in any order. Raises ValueError: no notes, a time that is not finite.
    """
    onset = np.asarray(onset, np.float64)
    if not len(onset) or onset.ndim != 1 or not np.isfinite(onset).all():
        raise ValueError("one finite onset or more is needed")
    # The mean of the differences telescopes.
    return float((onset.max() - onset.min()) / max(len(onset) - 1, 1))


def _histogram(pitch: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
    """Return the shares (classes,) of the pitches modulo `classes`."""
    pitch = np.asarray(pitch)
    if not pitch.size or pitch.ndim != 1 or not np.issubdtype(pitch.dtype, np.integer):
        raise ValueError("one whole-numbered pitch or more is needed")
    if int(pitch.min()) < 0 or int(pitch.max()) > 127:
        raise ValueError("pitches must lie within 0..127")
    count = np.bincount(pitch.astype(np.int64) % classes, minlength=classes)
    shares: NDArray[np.float64] = count / count.sum()
    return shares


def _entropy(shares: NDArray[np.float64]) -> float:
    known = shares[shares > 0]
    return max(0.0, -float((known * np.log2(known)).sum()))
