"""What VMCP looks at: one row of numbers a second, of a video and of a piece of music.

Numbers that have no fixed distribution (motion, density, loudness) are also given as soft
histograms (`_bumps`), whose mean over a segment is a picture of their distribution in it. Chords
are told relative to the key that the chords themselves suggest, so that a transposed piece has the
same rows. A `View` sums a piece up: its eight segments, and the whole in four blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.key import key_scores
from vmusprod.music.tokens import CHROMA, NO_CHORD, chord_attributes
from vmusprod.video.features import MOTION_STEP, VideoFeatures
from vmusprod.vmcp.music import MusicSeconds

__all__ = [
    "AFFECT_COLUMNS",
    "BLOCKS",
    "MUSIC_SHARES",
    "MUSIC_SIZE",
    "PIXEL_SHARES",
    "PIXEL_SIZE",
    "SEGMENTS",
    "View",
    "music_rows",
    "pixel_rows",
    "segments",
    "view",
]

Rows = NDArray[np.float32]

SEGMENTS = 8
"""Segments a piece, each an eighth of it: the lengths of two sides need not agree."""

_SMOOTH = 5  # seconds
_CUT_WINDOW = 15
_CHORD_WINDOW = 32
_LONGEST = 30.0  # seconds of a shot that make a difference
_FAINT = 3e-3  # about -50 dB: quieter is silence

_MOTION_BUMPS = np.linspace(0.0, 4.5, 7)
_RATE_BUMPS = np.linspace(0.0, 1.0, 5)
_AFFECT_BUMPS = np.linspace(-0.8, 0.8, 5)
_DENSITY_BUMPS = np.linspace(0.0, 3.6, 8)
_LOUDNESS_BUMPS = np.linspace(-5.0, -0.8, 8)

BLOCKS = 4
"""Blocks of a summary: mean, spread between the segments, begin and end against the mean."""

_END = 10  # seconds of the begin and the end


def _shares(*groups: int) -> NDArray[np.bool_]:
    """Which columns are shares of a whole, from the sizes of groups: plain, shares, plain, ..."""
    return np.repeat(np.arange(len(groups)) % 2 == 1, groups)


# Motion, cut rate, time since the cut, valence and arousal, their product.
PIXEL_SHARES = _shares(1, 7, 1, 5, 2, 5, 1, 5, 1)
# Density and its change, loudness and its change, root and quality, change and its rate, mode,
# variety.
MUSIC_SHARES = _shares(1, 8, 2, 8, 1, 13 + 11, 4)
PIXEL_SIZE = len(PIXEL_SHARES)
AFFECT_COLUMNS = 2 * (1 + 5) + 1
"""How many columns of pixel rows, the last ones, are affect."""
MUSIC_SIZE = len(MUSIC_SHARES)


@dataclass(frozen=True)
class View:
    """A piece as an encoder takes it in, D columns a row.

    `segments`: float32 (SEGMENTS, D), the mean of each; `summary`: float32 (BLOCKS, D).
    """

    segments: Rows
    summary: Rows


def view(rows: Rows, shares: NDArray[np.bool_]) -> View:
    """Sum rows (S, D) up; of the columns in `shares` the square roots count (Hellinger)."""
    parts = segments(rows)
    ends = max(1, min(_END, len(rows) // 4))
    levels = np.stack([rows.mean(axis=0), rows[:ends].mean(axis=0), rows[-ends:].mean(axis=0)])
    mean, begin, end = _rooted(levels, shares)
    summary = np.stack([mean, parts.std(axis=0), begin - mean, end - mean])
    return View(_rooted(parts, shares), summary.astype(np.float32))


def _rooted(rows: Rows, shares: NDArray[np.bool_]) -> Rows:
    return np.where(shares, np.sqrt(np.maximum(rows, 0)), rows).astype(np.float32)


def pixel_rows(features: VideoFeatures) -> Rows:
    """Motion, cuts and affect: float32 (S, PIXEL_SIZE), S = full seconds, at least 1.

    Without affect its columns are nan, which stands for what is not known.
    """
    count = max(1, int(features.duration))
    steps = np.arange(len(features.motion)) * MOTION_STEP
    second = np.minimum(steps.astype(np.int64), count - 1)
    shown = np.bincount(second, minlength=count)
    motion = np.bincount(second, weights=features.motion, minlength=count) / np.maximum(shown, 1)
    motion = _smoothed(np.log1p(motion), _SMOOTH)
    cut = np.zeros(count)
    cut[np.minimum(features.cuts.astype(np.int64), count - 1)] = 1
    rate = np.sqrt(_smoothed(cut, _CUT_WINDOW))
    columns = [motion[:, None], _bumps(motion, _MOTION_BUMPS), rate[:, None]]
    columns += [_bumps(rate, _RATE_BUMPS), _since(cut)[:, None]]
    if features.affect is None:
        columns.append(np.full((count, AFFECT_COLUMNS), np.nan))
    else:
        affect = features.affect[:count].astype(np.float64)
        for part in affect.T:
            columns += [part[:, None], _bumps(part, _AFFECT_BUMPS)]
        columns.append(affect.prod(axis=1, keepdims=True))
    return np.concatenate(columns, axis=1).astype(np.float32)


def music_rows(music: MusicSeconds) -> Rows:
    """Density, loudness and chords: float32 (S, MUSIC_SIZE)."""
    density = np.log1p(music.density.astype(np.float64))
    loudness = np.log(music.loudness.astype(np.float64) + _FAINT)
    columns = []
    for part, bumps in ((density, _DENSITY_BUMPS), (loudness, _LOUDNESS_BUMPS)):
        change = np.abs(np.diff(part, prepend=part[:1]))
        columns += [part[:, None], _bumps(part, bumps), change[:, None]]
    return np.concatenate([*columns, _chord_columns(music.chords)], axis=1).astype(np.float32)


def segments(rows: Rows, count: int = SEGMENTS) -> Rows:
    """The mean row of each of `count` equal parts: float32 (count, D).

    A part holds each second by the share of it that lies within; so a piece of fewer seconds than
    parts is no exception.
    """
    total = np.concatenate(
        [np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0, dtype=np.float64)]
    )
    edges = np.linspace(0, len(rows), count + 1)
    whole = np.minimum(edges.astype(np.int64), len(rows) - 1)
    at = total[whole] + (edges - whole)[:, None] * rows[whole]
    return np.asarray(np.diff(at, axis=0) * (count / len(rows)), np.float32)


def _chord_columns(chords: NDArray[np.uint8]) -> NDArray[np.float64]:
    ids = chords.astype(np.int64)
    sounding = ids < NO_CHORD
    tonic, mode = _key(chords[sounding])
    # The root above the tonic of the major key with the same notes: C major and A minor are alike.
    root = np.where(sounding, (ids // 10 - tonic - 3 * mode) % 12, 12)
    quality = np.where(sounding, ids % 10, 10)
    change = np.concatenate([[False], ids[1:] != ids[:-1]])
    relative = np.where(sounding, root * 10 + quality, NO_CHORD)
    columns = [np.eye(13)[root], np.eye(11)[quality], change[:, None].astype(np.float64)]
    columns += [_smoothed(change.astype(np.float64), _CHORD_WINDOW)[:, None] ** 0.5]
    columns += [np.full((len(ids), 1), float(mode)), _variety(relative)[:, None]]
    return np.concatenate(columns, axis=1)


def _key(chords: NDArray[np.uint8]) -> tuple[int, int]:
    """Tonic and mode that the chords' notes suggest."""
    chroma = CHROMA[chord_attributes(chords)].sum(axis=0)
    mode, tonic = divmod(int(key_scores(np.arange(12), chroma).argmax()), 12)
    return tonic, mode


def _variety(relative: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log of how many different chords are heard within 16 seconds before and after."""
    heard = np.zeros((len(relative), NO_CHORD + 1))
    heard[np.arange(len(relative)), relative] = 1
    near = _smoothed(heard, _CHORD_WINDOW) > 1e-9
    return np.asarray(np.log(near.sum(axis=1)), np.float64)


def _since(cut: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log seconds since the last cut."""
    place = np.arange(len(cut))
    last = np.maximum.accumulate(np.where(cut > 0, place, 0))
    return np.asarray(np.log1p(np.minimum(place - last, _LONGEST)), np.float64)


def _bumps(values: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of each value at each centre, rows summing to 1: float64 (S, centres)."""
    place = np.interp(values, centres, np.arange(len(centres)))
    near = 1 - np.abs(place[:, None] - np.arange(len(centres)))
    return np.asarray(np.maximum(near, 0.0), np.float64)


def _smoothed(values: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Mean over `width` rows around each, fewer at the ends."""
    total = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0)])
    place = np.arange(len(values))
    low = np.maximum(place - width // 2, 0)
    high = np.minimum(place + (width - width // 2), len(values))
    span = (high - low).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((total[high] - total[low]) / span, np.float64)
