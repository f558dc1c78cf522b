"""Recall: what the piece did at this very place 1, 2, 4, 8, ... bars ago.

Pop music repeats itself after whole bars, and linear attention has no sharp memory. So each token
is told, for each of a few lags, which token came next in the lagged bar after the same place
(`hint`), and for how many tokens in a row that hint has been right (`run`). The last slot's lag is
free: at each bar the one whose preceding bars resemble the preceding bars most. (Ours; the paper's
limitations name the lack of repetition.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

LAGS = (1, 2, 4, 8)
SLOTS = len(LAGS) + 1
MAX_LAG = 64
"""The free slot looks back this many bars at most."""
RUN_LEVELS = 8
_MIN_LIKENESS = 0.5
COMPARED = [tk.TYPE, tk.BARBEAT, tk.PITCH, tk.ROOT, tk.QUALITY]
BINS = 4096


@dataclass(frozen=True)
class Recall:
    """hint: int32 (T, SLOTS), index of the hinted token or -1; run: int8 (T, SLOTS), levels."""

    hint: NDArray[np.int32]
    run: NDArray[np.int8]


def recall(tokens: tk.Tokens, source: tk.Tokens | None = None) -> Recall:
    """Hints for every token of a stream (no start or end token in it).

    source: the encoder's stream over the same bars, if the stage has one; bars whose source is
    alike are preferred by the free slot.
    """
    count = len(tokens)
    keys = tk.stream_keys(tokens)
    bar, _ = tk.places(tokens)
    bars = int(bar[-1]) + 1 if count else 0
    free = free_lags(tokens, bars, source)
    hint = np.full((count, SLOTS), -1, np.int32)
    hit = np.zeros((count, SLOTS), bool)
    for slot in range(SLOTS):
        lag = free[bar] if slot == len(LAGS) else np.full(count, LAGS[slot])
        known = (lag > 0) & (bar >= lag)
        found = np.searchsorted(keys, keys - lag * tk.KEY_BAR, side="right")
        hint[known, slot] = found[known]
        before = hint[:-1, slot]
        same = (tokens[np.maximum(before, 0)][:, COMPARED] == tokens[1:, COMPARED]).all(1)
        hit[1:, slot] = same & (before >= 0)
    return Recall(hint, _run_levels(hit))


def free_lags(tokens: tk.Tokens, bars: int, source: tk.Tokens | None) -> NDArray[np.int64]:
    """For each bar the lag of the likest past, int64 (bars,), 0 where nothing is alike.

    Looks at earlier bars only (and at the source of the bar itself), so it can be computed while a
    piece is being written.
    """
    own = likeness(bar_marks(tokens, bars))
    given = likeness(bar_marks(source, bars)) if source is not None else None
    lags = np.zeros(bars, np.int64)
    for b in range(1, bars):
        lags[b] = likest_lag(own, given, b)
    return lags


def likest_lag(own: NDArray[np.float32], given: NDArray[np.float32] | None, bar: int) -> int:
    """Return the free lag of `bar` from bar likenesses (bars, bars).

    Only rows below `bar` of `own` are read.
    """
    lag = np.arange(1, min(bar, MAX_LAG) + 1)
    past = bar - lag
    score = np.zeros(len(lag), np.float32)
    for back, weight in ((1, 1.0), (2, 0.5)):
        there = past >= back
        score[there] += np.float32(weight) * own[bar - back, past[there] - back]
    full = 1.5
    if given is not None:
        score += given[bar, past]
        full = 2.5
    best = int(np.argmax(score))
    return int(lag[best]) if score[best] >= _MIN_LIKENESS * full else 0


def likeness(marks: NDArray[np.float32]) -> NDArray[np.float32]:
    """(bars, bars): share of marks that two bars have in common, 0..1."""
    shared = marks @ marks.T
    size = np.diag(shared)
    return np.asarray(shared / np.maximum(np.maximum(size[:, None], size[None, :]), 1), np.float32)


def bar_marks(tokens: tk.Tokens, bars: int) -> NDArray[np.float32]:
    """(bars, 4096) binary: the notes, chords and places of each bar, hashed."""
    bar, step = tk.places(tokens)
    marks = np.zeros((bars, BINS), np.float32)
    kept = tokens[:, tk.BARBEAT] != 1
    marks[bar[kept], mark(tokens[kept].T, step[kept])] = 1
    return marks


def mark(token: NDArray[np.integer], step: NDArray[np.integer] | int) -> NDArray[np.int64]:
    """Hash a token (7,), or tokens as columns (7, N), with their 16th in the bar; below BINS."""
    chord = token[tk.ROOT].astype(np.int64) * 12 + token[tk.QUALITY]
    content = token[tk.PITCH].astype(np.int64) + 131 * chord
    return np.asarray((content * 16 + step) * 2654435761 % (1 << 32) >> 20)


def run_level(run: int) -> int:
    """0, 1, 2, 3-4, 5-8, 9-16, 17-32, over 32 hits in a row -> 0..7."""
    return 0 if run <= 0 else min(int(run - 1).bit_length() + 1, RUN_LEVELS - 1)


def _run_levels(hit: NDArray[np.bool_]) -> NDArray[np.int8]:
    index = np.arange(len(hit))[:, None]
    last_miss = np.maximum.accumulate(np.where(hit, -1, index), axis=0)
    run = index - last_miss
    table = np.array([run_level(r) for r in range(66)], np.int8)
    return table[np.minimum(run, 65)]
