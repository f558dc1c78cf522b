"""Which songs are the same music: fingerprints that no transposition and no tempo changes.

Of each two neighbouring onsets the interval of the highest notes is kept, and that of the lowest;
five in a row are a shingle. A song's fingerprint is its shingles' smallest hashes, by which the
Jaccard similarity of two songs' shingles is estimated (Broder 1997).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.score import TimedNotes

__all__ = ["SAME", "Fingerprint", "fingerprint", "groups_of", "near_duplicates", "similarity"]

Fingerprint = NDArray[np.uint64]

SAME = 0.25  # similarity of near-duplicates: no two of SymMV's songs reach 0.2, even quantised
_SIZE = 256  # hashes that are kept
_SHINGLE = 5  # intervals
_CHORD = 0.03  # seconds within which onsets are one event
_COMMON = 60  # hashes of more songs than this say nothing
_FACTOR = np.uint64(0x9E3779B97F4A7C15)


def fingerprint(notes: TimedNotes) -> Fingerprint:
    """Return up to 256 hashes, increasing; none for a song of fewer than six onsets."""
    group = np.cumsum(np.append(0, np.diff(notes.onset) > _CHORD))
    pitch = notes.pitch.astype(np.int64)
    top = np.full(group[-1] + 1, -1)
    low = np.full(group[-1] + 1, 128)
    np.maximum.at(top, group, pitch)
    np.minimum.at(low, group, pitch)
    hashes = [_shingles(line, salt) for salt, line in enumerate((top, low))]
    return np.unique(np.concatenate(hashes))[:_SIZE]


def _shingles(line: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
    interval = np.diff(line)
    if len(interval) < _SHINGLE:
        return np.zeros(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(interval, _SHINGLE)
    # A note that is repeated, or an octave to and fro, is anybody's.
    told = (windows != 0).sum(axis=1) >= 3
    told &= np.abs(windows).max(axis=1) > np.abs(windows).min(axis=1)
    result = np.full(int(told.sum()), salt + 1, np.uint64)
    for column in windows[told].T:
        result = (result ^ (column + 128).astype(np.uint64)) * _FACTOR
        result ^= result >> np.uint64(29)
    return result


def similarity(a: Fingerprint, b: Fingerprint) -> float:
    """Estimate the Jaccard similarity of two songs' shingles, 0 to 1."""
    if not len(a) or not len(b):
        return 0.0
    union = np.union1d(a, b)[: max(len(a), len(b))]
    return float(np.isin(union, a).sum() + np.isin(union, b).sum() - len(union)) / len(union)


def near_duplicates(
    prints: Sequence[Fingerprint], least: float = SAME
) -> list[tuple[int, int, float]]:
    """Find pairs of songs (indices, the lower first) at least so similar, and how similar.

    Songs whose fingerprints are equal are compared by the first of them alone. Time grows with the
    number of songs that share shingles, not with all pairs.
    """
    first: dict[bytes, int] = {}
    found: list[tuple[int, int, float]] = []
    holders: dict[int, list[int]] = defaultdict(list)
    for k, own in enumerate(prints):
        if not len(own):
            continue
        same = first.setdefault(own.tobytes(), k)
        if same != k:
            found.append((same, k, 1.0))
            continue
        for value in own.tolist():
            holders[value].append(k)
    shared: dict[tuple[int, int], int] = defaultdict(int)
    for songs in holders.values():
        if 2 <= len(songs) <= _COMMON:
            for pair in combinations(songs, 2):
                shared[pair] += 1
    for (a, b), count in shared.items():
        # Of two fingerprints at this similarity about that share of hashes is common.
        if count >= 0.5 * least * min(len(prints[a]), len(prints[b])):
            value = similarity(prints[a], prints[b])
            if value >= least:
                found.append((a, b, value))
    return sorted(found)


def groups_of(count: int, pairs: Sequence[tuple[int, int]]) -> NDArray[np.intp]:
    """Number the connected parts: intp (count,), each item's part, by its first item."""
    parent = list(range(count))

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return np.array([root(item) for item in range(count)], dtype=np.intp)
