"""Figures of written music to lay beside real songs': its key, its repetitions, its copies.

All on grid notes (N, 4) of whole pieces, melody and accompaniment together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import metrics as mt
from vmusprod.music import tokens as tk

LAGS = (1, 2, 4, 8, 16)


def piece_metrics(notes: tk.Notes, tempo: float) -> mt.Metrics:
    """SC, PE, PCE, EBR and IOI of grid notes at a tempo in bpm."""
    start = notes[:, 0] / tk.STEPS_PER_BEAT
    end = (notes[:, 0] + notes[:, 1]) / tk.STEPS_PER_BEAT
    return mt.Metrics(
        sc=mt.scale_consistency(notes[:, 2]),
        pe=mt.pitch_entropy(notes[:, 2]),
        pce=mt.pitch_class_entropy(notes[:, 2]),
        ebr=mt.empty_beat_rate(start, end),
        ioi=mt.inter_onset_interval(start * 60 / tempo),
    )


def longest_silence(notes: tk.Notes, tempo: float) -> float:
    """Longest stretch inside the piece in which nothing sounds, seconds."""
    order = np.argsort(notes[:, 0])
    ends = np.maximum.accumulate((notes[:, 0] + notes[:, 1])[order])
    gaps = np.maximum(notes[order[1:], 0] - ends[:-1], 0)
    return float(gaps.max(initial=0)) * 60 / tempo / tk.STEPS_PER_BEAT


def bar_contents(notes: tk.Notes) -> list[frozenset[tuple[int, int]]]:
    """(16th in the bar, pitch) of each bar's onsets."""
    bars = int(notes[:, 0].max()) // tk.STEPS_PER_BAR + 1
    out: list[set[tuple[int, int]]] = [set() for _ in range(bars)]
    for onset, _, pitch, _ in notes.tolist():
        out[onset // tk.STEPS_PER_BAR].add((onset % tk.STEPS_PER_BAR, pitch))
    return [frozenset(b) for b in out]


def longest_loop(bars: Sequence[frozenset[tuple[int, int]]]) -> int:
    """Most times in a row that one bar, not empty, is heard."""
    best = run = 0
    for before, here in zip([frozenset(), *bars], bars, strict=False):
        run = run + 1 if here == before and here else int(bool(here))
        best = max(best, run)
    return best


def self_similarity(bars: Sequence[frozenset[tuple[int, int]]]) -> NDArray[np.float64]:
    """(bars, bars): share of onsets that two bars have in common, 0..1."""
    out = np.zeros((len(bars), len(bars)))
    for i, a in enumerate(bars):
        for j, b in enumerate(bars[: i + 1]):
            out[i, j] = out[j, i] = len(a & b) / max(len(a), len(b), 1)
    return out


def lag_profile(similarity: NDArray[np.float64]) -> dict[int, float]:
    """Mean self-similarity at LAGS bars: where a song of 4- and 8-bar phrases has its peaks."""
    return {
        k: float(np.diagonal(similarity, k).mean()) if len(similarity) > k else 0.0 for k in LAGS
    }


def copied_share(
    bars: Sequence[frozenset[tuple[int, int]]],
    known: Counter[frozenset[tuple[int, int]]],
    least: int = 6,
) -> float:
    """Share of the bars with at least `least` onsets that stand whole in `known`."""
    full = [b for b in bars if len(b) >= least]
    return sum(b in known for b in full) / max(len(full), 1)
