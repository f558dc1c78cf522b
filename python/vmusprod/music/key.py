"""The key of a piece: estimation, names, parsing.

A key is (tonic 0..11 with C = 0, mode 0 major / 1 minor). Names are those of SymMV's labels: `C
major`, `a minor`, `E- major` (flats as `-`, minor tonics in lower case). The paper (section 3.2)
names Krumhansl-Schmuckler; the published labels follow the Aarden-Essen profile.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Key", "estimate_key", "key_name", "key_scores", "parse_key"]

Key = tuple[int, int]

# fmt: off
# Aarden (2003), from the Essen folksong collection, tonic first; as in music21's AardenEssen.
_MAJOR = (17.7661, 0.145624, 14.9265, 0.160186, 19.8049, 11.3587,
          0.291248, 22.062, 0.145624, 8.15494, 0.232998, 4.95122)
_MINOR = (18.2648, 0.737619, 14.0499, 16.8599, 0.702494, 14.4362,
          0.702494, 18.6161, 4.56621, 1.93186, 7.37619, 1.75623)
# fmt: on

_MAJOR_NAMES = ("C", "C#", "D", "E-", "E", "F", "F#", "G", "A-", "A", "B-", "B")
_MINOR_NAMES = ("c", "c#", "d", "e-", "e", "f", "f#", "g", "g#", "a", "b-", "b")
_LETTERS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_MODES = {"": None, "major": 0, "maj": 0, "M": 0, "dur": 0, "minor": 1, "min": 1, "m": 1, "moll": 1}
_FORM = re.compile(r"\s*([A-Ga-g])\s*([#♯b♭-]?|sharp|flat)[\s:_-]*([A-Za-z]*)\s*")


def _profiles() -> NDArray[np.float64]:
    """(24, 12): rows are the standardised profiles of C..B major, then c..b minor."""
    rows = [np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)]
    table = np.array(rows)
    table -= table.mean(axis=1, keepdims=True)
    result: NDArray[np.float64] = table / np.linalg.norm(table, axis=1, keepdims=True)
    return result


_PROFILES = _profiles()


def key_scores(pitch: ArrayLike, duration: ArrayLike) -> NDArray[np.float64]:
    """Correlate the duration-weighted pitch classes with each key's profile: float64 (2, 12).

    Rows are the modes, columns the tonics.

    `pitch` (N,) and `duration` (N,), any unit of time. All zero for no notes or a flat histogram.
    """
    classes = np.asarray(pitch, dtype=np.int64).ravel() % 12
    weights = np.asarray(duration, dtype=np.float64).ravel()
    if classes.shape != weights.shape:
        raise ValueError(f"pitch has {classes.size} values, duration {weights.size}")
    if not (np.isfinite(weights).all() and (weights >= 0).all()):
        raise ValueError("durations must be finite and not negative")
    histogram = np.bincount(classes, weights=weights, minlength=12)
    histogram = histogram - histogram.mean()  # of no notes the counts are integers
    norm = float(np.linalg.norm(histogram))
    if norm < 1e-12:
        return np.zeros((2, 12))
    result: NDArray[np.float64] = (_PROFILES @ (histogram / norm)).reshape(2, 12)
    return result


def estimate_key(pitch: ArrayLike, duration: ArrayLike) -> Key:
    """(tonic, mode) of the best correlated Aarden-Essen profile; C major for no notes.

    `pitch` (N,) and `duration` (N,), any unit of time. Raises ValueError on unequal lengths or bad
    durations.
    """
    mode, tonic = divmod(int(np.argmax(key_scores(pitch, duration))), 12)
    return tonic, mode


def key_name(tonic: int, mode: int) -> str:
    """`C major`, `a minor`, `E- major`: SymMV's spelling.

    Raises ValueError outside 0..11 and 0..1.
    """
    if not (0 <= tonic <= 11 and mode in (0, 1)):
        raise ValueError(f"no key ({tonic}, {mode})")
    return f"{_MINOR_NAMES[tonic]} minor" if mode else f"{_MAJOR_NAMES[tonic]} major"


def parse_key(text: str) -> Key:
    """Read a key: `C major`, `a minor`, `E- major`, `Gb:maj`, `Am`, `F# minor`, `Eb`, `eb`.

    A lone tonic in lower case is minor. Returns (tonic, mode).

    Raises ValueError with the forms that are understood.
    """
    match = _FORM.fullmatch(text)
    word = match[3] if match else ""
    mode = _MODES.get(word, _MODES.get(word.lower(), -1)) if match else -1
    if match is None or mode == -1:
        raise ValueError(f"unknown key {text!r}: give it as 'C major', 'a minor', 'F#m' or 'Eb'")
    shift = {"": 0, "#": 1, "♯": 1, "sharp": 1}.get(match[2], -1)
    if mode is None:
        mode = 1 if match[1].islower() else 0
    return (_LETTERS[match[1].lower()] + shift) % 12, mode
