"""Slow twins of the melody's features, context and line: each number from its definition, note by note."""

import math
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from twins import Row

FAR, LONG, MOST = 24, 64, 8.0
Floats = NDArray[np.float64]


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def logarithm(time: float, most: int) -> float:
    return math.log2(1 + clip(time, 0, most)) / 3


def mean_and_deviation(values: Iterable[float]) -> tuple[float, float]:
    array = np.array(list(values), np.float64)
    return float(array.mean()), float(array.std())


class Song:
    """Notes in order, durations within 1..64 and velocities within 1..127."""

    def __init__(self, notes: list[Row]) -> None:
        self.order = sorted(range(len(notes)), key=lambda i: (notes[i][0], notes[i][2]))
        rows = [notes[i] for i in self.order]
        self.notes = [
            (o, int(clip(d, 1, LONG)), p, int(clip(v, 1, 127))) for o, d, p, v in rows
        ]
        self.onsets = sorted({o for o, *_ in self.notes})

    def struck(self, onset: int | None) -> set[int]:
        return {p for o, _, p, _ in self.notes if o == onset}

    def neighbour(self, onset: int, k: int) -> int | None:
        """The k-th onset after this one."""
        i = self.onsets.index(onset) + k
        return self.onsets[i] if 0 <= i < len(self.onsets) else None

    def restored(self, rows: list[list[float]], width: int) -> Floats:
        result = np.zeros((len(rows), width))
        for i, row in zip(self.order, rows, strict=True):
            result[i] = row
        return result


def nearest(pitches: set[int], pitch: int, sign: int) -> float:
    """Octaves to the nearest of the pitches above (or below), or at, this one."""
    away = [sign * (p - pitch) for p in pitches if sign * (p - pitch) >= 0]
    return min([*away, FAR]) / 12


def features(notes: list[Row]) -> Floats:
    song = Song(notes)
    return song.restored([_features(song, note) for note in song.notes], 71)


def _features(song: Song, note: Row) -> list[float]:
    onset, duration, pitch, _ = note
    together = song.struck(onset)
    sounding = {p for o, d, p, _ in song.notes if o < onset < o + d}
    row = [
        (pitch - 60) / 12,
        min(sum(p > pitch for p in together), 4) / 2,
        min(sum(p < pitch for p in together), 4) / 2,
        nearest(together - {pitch}, pitch, 1),
        nearest(together - {pitch}, pitch, -1),
        nearest(sounding, pitch, 1),
        min(sum(p > pitch for p in sounding), 4) / 2,
        logarithm(duration, LONG),
    ]
    before, after = song.neighbour(onset, -1), song.neighbour(onset, 1)
    row.append(logarithm(16 if before is None else onset - before, 16))
    row.append(logarithm(16 if after is None else after - onset, 16))
    for k in (-2, -1, 1, 2):
        there = song.struck(song.neighbour(onset, k))
        leap = clip(max(there) - pitch, -FAR, FAR) / 12 if there else 0.0
        row += [nearest(there, pitch, 1), nearest(there, pitch, -1), leap, min(len(there), 4) / 2]
    row += [onset % 16 == 0, onset % 16 == 8, onset % 4 == 0, onset % 4 == 2]
    times: dict[tuple[int, int], int] = {}
    for near in (0, 5):
        for sign in (-1, 1):
            others = [sign * (o - onset) for o, _, p, _ in song.notes if abs(p - pitch) <= near]
            times[near, sign] = min([time for time in others if time > 0], default=LONG)
            row.append(logarithm(times[near, sign], LONG))
    row.append(clip(min(times[5, 1], LONG) - duration, -8, 8) / 8)
    row += [pitch - 12 in together, pitch + 12 in together]
    first, last = song.onsets[0], song.onsets[-1]
    row += [
        (onset - first) / max(last - first, 1),
        logarithm(onset - first, 1023),
        logarithm(last - onset, 1023),
    ]
    row += [pitch in song.struck(onset + lag) for lag in (-32, -16, -2, 2, 16, 32)]
    for radius in (8, 32, 128):
        row += _window(song, onset, pitch, radius)
    return row + _loudness(song, note)


def _window(song: Song, onset: int, pitch: int, radius: int) -> list[float]:
    pitches = [p for o, _, p, _ in song.notes if abs(o - onset) <= radius]
    mean, deviation = mean_and_deviation(pitches)
    count = len(pitches)
    return [
        math.log2(count / (2 * radius + 1) * 4 + 0.25) / 2,
        (pitch - mean) / 12,
        deviation / 12,
        sum(p > pitch for p in pitches) / count,
        pitches.count(pitch) / count * 8,
        sum(abs(p - pitch) <= 3 for p in pitches) / count * 2,
        sum((p - pitch) % 12 == 0 for p in pitches) / count * 4,
    ]


def _loudness(song: Song, note: Row) -> list[float]:
    onset, *_, velocity = note

    def within(radius: int) -> list[int]:
        return [v for o, _, _, v in song.notes if abs(o - onset) <= radius]

    near, near_deviation = mean_and_deviation(within(8))
    wide, deviation = mean_and_deviation(within(64))
    together = within(0)
    others = sum(together) - velocity
    alone = velocity - others / (len(together) - 1) if len(together) > 1 else 0.0
    row = [
        (velocity - near) / (near_deviation + 3),
        (velocity - wide) / (deviation + 3),
        alone / (deviation + 3),
        (velocity - max(together)) / (deviation + 3),
    ]
    return [clip(x, -3, 3) for x in row]


def context(notes: list[Row], odds: NDArray[np.float32]) -> Floats:
    song = Song(notes)
    lines = [_line_context(song, [float(odds[i, k]) for i in song.order]) for k in (0, 1)]
    return song.restored([a + b for a, b in zip(*lines, strict=True)], 88)


def _line_context(song: Song, odds: list[float]) -> list[list[float]]:
    odds = [clip(x, -MOST, MOST) for x in odds]
    weights = [1 / (1 + math.exp(-x)) for x in odds]
    # the likeliest note of each onset, of equals the last
    best = {
        onset: max((odds[i], i) for i, note in enumerate(song.notes) if note[0] == onset)[1]
        for onset in song.onsets
    }
    ratios = [
        _ratios(song, weights, 128, 5, lambda note: note[3]),
        _ratios(song, weights, 128, 3, lambda note: note[2]),
        _ratios(song, weights, 65, 1, lambda note: note[1]),
        _ratios(song, weights, 16, 1, lambda note: note[0] % 16),
    ]
    rows = []
    for i, (onset, duration, pitch, velocity) in enumerate(song.notes):
        others = [odds[j] for j, n in enumerate(song.notes) if n[0] == onset and j != best[onset]]
        row = [odds[i], max([*others, -MOST]) if i == best[onset] else odds[best[onset]]]
        for k in (-2, -1, 1, 2):
            there = song.neighbour(onset, k)
            if there is None:
                row += [-MOST, 0.0]
            else:
                j = best[there]
                row += [odds[j], clip(song.notes[j][2] - pitch, -24, 24) * weights[j] / 6]
        pairs = list(zip(song.notes, weights, strict=True))
        # of each pitch, only what was struck last sounds
        last = {n[2]: (n, w) for n, w in pairs if n[0] < onset}
        row.append(min(sum(w for n, w in last.values() if n[0] + n[1] > onset), 3.0))
        row.append(min(sum(w for n, w in pairs if onset < n[0] < onset + duration), 4.0))
        for radius in (16, 64):
            before = sum(w for n, w in pairs if onset - radius <= n[0] < onset)
            after = sum(w for n, w in pairs if onset < n[0] <= onset + radius)
            row += [before / radius * 4, after / radius * 4]
        for radius in (4, 16, 64, 256):
            row += _line_window(song, weights, (onset, duration, pitch, velocity), radius)
        rows.append(row + [ratio[i] for ratio in ratios])
    return rows


def _line_window(song: Song, weights: list[float], note: Row, radius: int) -> list[float]:
    onset, _, pitch, velocity = note
    near = [(n, w) for n, w in zip(song.notes, weights, strict=True) if abs(n[0] - onset) <= radius]
    weight = sum(w for _, w in near) + 1e-3
    mean = (sum(w * n[2] for n, w in near) + 1e-3 * pitch) / weight
    square = (sum(w * n[2] ** 2 for n, w in near) + 1e-3 * pitch**2) / weight
    loud = (sum(w * n[3] for n, w in near) + 1e-3 * velocity) / weight
    away = clip(pitch - mean, -24, 24) / 6
    louder = clip(velocity - loud, -30, 30) / 8
    onsets = len({n[0] for n, _ in near})
    deviation = math.sqrt(max(square - mean**2, 0))
    row = [
        away,
        abs(away),
        min(deviation, 12) / 6,
        weight / (2 * radius + 1) * 4,
        weight / onsets,
    ]
    return row + ([louder, abs(louder)] if radius in (16, 256) else [])


def _ratios(
    song: Song, weights: list[float], bins: int, width: int, bin_of: Callable[[Row], int]
) -> list[float]:
    """Log likelihood ratio of each note being in the line, by its bin of the two histograms."""
    inside, outside = np.zeros(bins), np.zeros(bins)
    for note, w in zip(song.notes, weights, strict=True):
        inside[bin_of(note)] += w
        outside[bin_of(note)] += 1 - w
    box = np.ones(width) / width
    for _ in range(2):
        inside, outside = (np.convolve(x, box)[width // 2 :][:bins] for x in (inside, outside))
    share = 2 * (inside + outside) / (inside.sum() + outside.sum())
    logs = [np.log((x + share) / (x.sum() + 2) + 1e-9) for x in (inside, outside)]
    table = np.clip(logs[0] - logs[1], -4, 4)
    return [float(table[bin_of(note)]) for note in song.notes]


def line_score(notes: list[Row], odds: NDArray[np.float32], chosen: list[bool]) -> float:
    """What a line is worth; minus infinity if it is none."""
    song = Song(notes)
    line = [i for i, j in enumerate(song.order) if chosen[j]]
    total = 0.0
    for k, i in enumerate(line):
        total += float(odds[song.order[i]]) + 0.75
        if k:
            total -= transition(song, odds, line[k - 1], i)
    return total


def transition(song: Song, odds: NDArray[np.float32], a: int, b: int) -> float:
    """The cost of going on from one note of the ordered song to another."""
    (o, d, p, _), (onset, _, pitch, _) = song.notes[a], song.notes[b]
    if onset <= o:
        return math.inf
    candidates = [j for j in range(a, b) if odds[song.order[j]] + 0.75 > -3]
    if len(candidates) > 10:
        return 0.0  # too far back to be looked at
    cut = max(d - (onset - o), 0) / d
    return cut + (max(abs(p - pitch) - 7, 0) / 12 if onset - o <= 16 else 0.0)


def best_line_score(notes: list[Row], odds: NDArray[np.float32]) -> float:
    """The best score of any line, over all pairs of successive notes."""
    song = Song(notes)
    scores: list[float] = []
    for i, j in enumerate(song.order):
        own = float(odds[j]) + 0.75
        if own <= -3:
            scores.append(-math.inf)
            continue
        ways = [scores[k] - transition(song, odds, k, i) for k in range(i)]
        scores.append(own + max([0.0, *ways]))
    return max([0.0, *scores])
