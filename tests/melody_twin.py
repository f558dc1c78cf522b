"""Slow twins of the melody's features, network and line: note by note, by definition."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twins import Row

WEIGHTS = Path(__file__).resolve().parents[1] / "vmus_rs" / "src" / "melody" / "weights.bin"
FAR, LONG, MOST, READY = 25, 64, 8.0, 0.4
SIZES = [88, 20, 16, 25, 26, 26, 26, 26, 20, 64, 34, 50, 34, 50, 34, 50, 34, 50, 25, 169, 169]
SIZES += [17, 64, 16, 16, 16, 16, 17, 32, 16, 16, 25, 25, 16]
NOTE, PLACE, JUDGE, GATES, VALUE, WORD, HOPS, CONTEXT = 32, 32, 32, 4, 8, 12, 3, 29
DILATIONS = [(1, 2, 4, 8, 16), (1, 2, 8), (1, 4)]
Floats = NDArray[np.float64]


def clip(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def few(pitches: Iterable[int]) -> int:
    return min(len(set(pitches)), 4)


class Song:
    """Notes in order, durations within 1..64 and velocities within 1..127."""

    def __init__(self, notes: list[Row]) -> None:
        self.order = sorted(range(len(notes)), key=lambda i: (notes[i][0], notes[i][2]))
        rows = [notes[i] for i in self.order]
        self.notes = [(o, int(clip(d, 1, LONG)), p, int(clip(v, 1, 127))) for o, d, p, v in rows]
        self.onsets = sorted({o for o, *_ in self.notes})

    def struck(self, onset: int | None) -> set[int]:
        return {p for o, _, p, _ in self.notes if o == onset}

    def neighbour(self, onset: int, k: int) -> int | None:
        """The k-th onset after this one."""
        i = self.onsets.index(onset) + k
        return self.onsets[i] if 0 <= i < len(self.onsets) else None

    def near(self, onset: int, radius: int) -> list[Row]:
        return [note for note in self.notes if abs(note[0] - onset) <= radius]


def nearest(pitches: set[int], pitch: int, sign: int) -> int:
    """Semitones to the nearest of the pitches above (or below), or at, this one."""
    away = [sign * (p - pitch) for p in pitches if sign * (p - pitch) >= 0]
    return min([*away, FAR])


def time_class(time: int) -> int:
    return sum(time > limit for limit in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 63))


def rank(values: list[int], value: int) -> int:
    below, equal = sum(x < value for x in values), values.count(value)
    return (2 * below + equal) * 8 // len(values)


def features(notes: list[Row]) -> NDArray[np.int64]:
    song = Song(notes)
    result = np.zeros((len(notes), len(SIZES)), np.int64)
    for i, note in zip(song.order, song.notes, strict=True):
        result[i] = _features(song, note)
    return result


def _features(song: Song, note: Row) -> list[int]:
    onset, duration, pitch, velocity = note
    together = song.struck(onset)
    sounding = {p for o, d, p, _ in song.notes if o < onset < o + d}
    over, under = {p for p in together if p > pitch}, {p for p in together if p < pitch}
    row = [
        int(clip(pitch - 21, 0, 87)),
        duration - 1 if duration <= 16 else 16 + min((duration - 17) // 12, 3),
        onset % 16,
        5 * few(over) + few(under),
        nearest(over, pitch, 1),
        nearest(under, pitch, -1),
        nearest(sounding, pitch, 1),
        nearest({p for p in sounding if p < pitch}, pitch, -1),
        4 * few(p for p in sounding if p > pitch)
        + 2 * (pitch - 12 in together)
        + (pitch + 12 in together),
    ]
    steps = [song.neighbour(onset, k) for k in (-1, 1)]
    times = [8 if other is None else min(abs(other - onset), 8) for other in steps]
    row.append(8 * (times[0] - 1) + times[1] - 1)
    for k in (-2, -1, 1, 2):
        there = song.struck(song.neighbour(onset, k))
        rise, fall = nearest(there, pitch, 1), nearest(there, pitch, -1)
        way = rise if rise <= fall else -fall
        row += (
            [16 + int(clip(way, -16, 16)), 24 + int(clip(max(there) - pitch, -24, 24))]
            if there
            else [33, 49]
        )
    row.append(5 * few(song.struck(steps[0])) + few(song.struck(steps[1])))
    times = {}
    for near in (0, 5):
        for sign in (-1, 1):
            others = [sign * (o - onset) for o, _, p, _ in song.notes if abs(p - pitch) <= near]
            times[near, sign] = min([t for t in others if t > 0] + [LONG])
        row.append(13 * time_class(times[near, -1]) + time_class(times[near, 1]))
    row.append(8 + int(clip(times[5, 1] - duration, -8, 8)))
    again = [pitch in song.struck(onset + lag) for lag in (-32, -16, -2, 2, 16, 32)]
    row.append(sum(bit << place for place, bit in enumerate(reversed(again))))
    for radius in (8, 32, 128):
        pitches = [p for _, _, p, _ in song.near(onset, radius)]
        row.append(min(16 * sum(p > pitch for p in pitches) // len(pitches), 15))
    row.append(rank([p for _, _, p, _ in song.notes], pitch))
    row.append(min(len({o for o, *_ in song.near(onset, 8)}) - 1, 16))
    row.append(min(len(song.near(onset, 32)) // 8, 31))
    first, last = song.onsets[0], song.onsets[-1]
    row.append(min(16 * (onset - first) // max(last - first, 1), 15))
    row.append(min(max(v for o, _, _, v in song.notes if o == onset) - velocity, 15))
    for radius in (8, 64):
        loud = [v for _, _, _, v in song.near(onset, radius)]
        mean = sum(loud) / len(loud)
        variance = sum(v * v for v in loud) / len(loud) - mean * mean
        steps_off = (velocity - mean) * (4 / (math.sqrt(max(variance, 0)) + 3))
        row.append(
            12 + int(clip(math.copysign(math.floor(abs(steps_off) + 0.5), steps_off), -12, 12))
        )
    row.append(rank([v for _, _, _, v in song.notes], velocity))
    return row


class Model:
    """The crate's numbers, read here once more."""

    def __init__(self, data: bytes | None = None) -> None:
        data = WEIGHTS.read_bytes() if data is None else data
        rows = sum(SIZES)
        self.sieve = np.frombuffer(data[: 2 * rows], "<i2").astype(np.int64)
        upper = np.frombuffer(data[2 * rows :], "<u2").astype(np.uint32)
        self.numbers = (upper << 16).view(np.float32).astype(np.float64)
        self.table = self._take(rows, NOTE)
        self.bias, self.solo = self._take(NOTE), self._take(NOTE)
        self.rounds = [self._round(i, dilations) for i, dilations in enumerate(DILATIONS)]
        assert not len(self.numbers)

    def _take(self, *shape: int) -> Floats:
        size = math.prod(shape)
        own, self.numbers = self.numbers[:size], self.numbers[size:]
        assert len(own) == size
        return own.reshape(shape)

    def _round(self, number: int, dilations: tuple[int, ...]) -> dict[str, Floats]:
        heard = GATES * VALUE + GATES + (PLACE if number else 0)
        layers: dict[str, Floats] = {}

        def take(name: str, inputs: int, outputs: int, *, has_bias: bool = True) -> None:
            layers[name] = self._take(inputs, outputs)
            layers[name + " bias"] = self._take(outputs) if has_bias else np.zeros(outputs)

        take("value", NOTE, GATES * VALUE)
        take("gate", NOTE, GATES)
        take("enter", heard, PLACE)
        take("song", GATES * VALUE, PLACE, has_bias=False)
        for distance in dilations:
            take(f"dilated {distance}", 3 * PLACE, PLACE)
        take("mean", PLACE, PLACE)
        take("add", PLACE, JUDGE, has_bias=False)
        take("scale", PLACE, JUDGE)
        take("own", NOTE, JUDGE)
        take("scaled", NOTE, JUDGE, has_bias=False)
        for hop in range(HOPS):
            take(f"word {hop}", NOTE, WORD)
        for hop in range(HOPS):
            take(f"hear {hop}", 4 * WORD, NOTE)
        if number:
            take("line", CONTEXT, JUDGE, has_bias=False)
        take("out", JUDGE, 3)
        if number < len(DILATIONS) - 1:
            take("back", JUDGE, NOTE)
        return layers

    def odds(self, notes: list[Row], solo: float) -> Floats:
        """Log odds of melody, in the order of the notes."""
        rows = features(notes) + np.cumsum([0, *SIZES[:-1]])
        kept = [i for i in Song(notes).order if self.sieve[rows[i]].sum() >= 0]
        result = np.full(len(notes), -MOST)
        if not kept:
            return result
        song = Song(notes)
        own = [note for i, note in zip(song.order, song.notes, strict=True) if i in kept]
        onsets = np.array([onset for onset, *_ in own])
        cell = np.cumsum(np.minimum(np.diff(onsets // 8, prepend=onsets[0] // 8), 4))
        h = np.maximum(self.table[rows[kept]].sum(axis=1) + self.bias + solo * self.solo, 0)
        x, line = np.zeros((cell[-1] + 1, 0)), np.zeros((len(h), 0))
        for number in range(len(DILATIONS)):
            odds, h, x = self._run(number, h, cell, own, x, line)
            odds = np.clip(odds, -MOST, MOST)
            line = context(odds, own, cell)
        result[kept] = odds
        return result

    def _run(
        self,
        number: int,
        h: Floats,
        cell: NDArray[np.int64],
        own: list[Row],
        before: Floats,
        line: Floats,
    ) -> tuple[Floats, Floats, Floats]:
        layers = self.rounds[number]

        def layer(name: str, x: Floats) -> Floats:
            return x @ layers[name] + layers[name + " bias"]

        near = [neighbours(own, i) for i in range(len(own))]
        for hop in range(HOPS):
            words = np.vstack([np.maximum(layer(f"word {hop}", h), 0), np.zeros(WORD)])
            rows = [words[[len(h) if j is None else j for j in ways]].ravel() for ways in near]
            h = h + np.maximum(layer(f"hear {hop}", np.array(rows)), 0)
            near = [[None if j is None else near[j][k] for k, j in enumerate(w)] for w in near]
        gates = 1 / (1 + np.exp(-layer("gate", h)))
        values = layer("value", h).reshape(-1, GATES, VALUE) * gates[:, :, None]
        cells = range(cell[-1] + 1)
        gate_sums = np.array([gates[cell == c].sum(axis=0) for c in cells])
        sums = np.array([values[cell == c].sum(axis=0) for c in cells])
        heard = (sums / (gate_sums[:, :, None] + 0.3)).reshape(len(sums), -1)
        over_all = (sums.sum(axis=0) / (gate_sums.sum(axis=0)[:, None] + 1)).ravel()
        x = layer("enter", np.concatenate([heard, gate_sums, before], axis=1))
        x = x + layer("song", over_all)
        for i, distance in enumerate(DILATIONS[number]):
            if i == len(DILATIONS[number]) // 2:
                x = x + layer("mean", x.mean(axis=0))
            wide = np.pad(x, ((distance, distance), (0, 0)))
            taps = np.concatenate([wide[: len(x)], x, wide[2 * distance :]], axis=1)
            x = x + np.maximum(layer(f"dilated {distance}", taps), 0)
        z = layer("own", h) + layer("add", x)[cell] + layer("scaled", h) * layer("scale", x)[cell]
        if number:
            z = z + layer("line", line)
        z = np.maximum(z, 0)
        out = layer("out", z)
        odds = out[:, 1] - np.logaddexp(out[:, 0], out[:, 2])
        return odds, np.maximum(h + layer("back", z), 0) if "back" in layers else h, x


def neighbours(notes: list[Row], i: int) -> list[int | None]:
    """Of a candidate, before and after it: its neighbours in the voice, and in order."""
    onset, _, pitch, _ = notes[i]
    voice: list[int | None] = []
    for sign in (-1, 1):
        others = [i + sign * k for k in range(1, 25) if 0 <= i + sign * k < len(notes)]
        others = [j for j in others if notes[j][0] != onset]
        apart = [abs(notes[j][0] - onset) + abs(notes[j][2] - pitch) for j in others]
        ways = sorted((cost, abs(j - i), j) for cost, j in zip(apart, others, strict=True))
        voice.append(ways[0][2] if ways else None)
    return [*voice, i - 1 if i else None, i + 1 if i + 1 < len(notes) else None]


def context(odds: Floats, notes: list[Row], cell: NDArray[np.int64]) -> Floats:
    """How each candidate stands in its surroundings, by what a round made of them."""
    share = 1 / (1 + np.exp(-odds))
    times = sorted({o for o, *_ in notes})
    together = {t: [i for i, note in enumerate(notes) if note[0] == t] for t in times}
    # of equals the last
    best = {t: max((odds[i], i) for i in own)[1] for t, own in together.items()}
    places = {(o, p): i for i, (o, _, p, _) in reversed(list(enumerate(notes)))}
    rows = []
    for i, (t, _, pitch, velocity) in enumerate(notes):
        others = [odds[j] for j in together[t] if j != i]
        line, ways = [odds[i], max([-MOST, *others])], []
        for k in (-2, -1, 1, 2):
            place = times.index(t) + k
            has = 0 <= place < len(times)
            near = best[times[place]] if has else 0
            line.append(odds[near] if has else -MOST)
            leap = clip((notes[near][2] if has else 0) - pitch, -24, 24)
            ways.append(leap / 8 / (1 + math.exp(-line[-1])))
        voice = [-MOST if j is None else odds[j] for j in neighbours(notes, i)[:2]]
        again = [places.get((t + lag, pitch)) for lag in (-128, -64, -32, -16, 16, 32, 64, 128)]
        voice += [0 if j is None else odds[j] for j in again]
        row = [x / 4 for x in line] + ways + [x / 4 for x in voice]
        for radius in (2, 8):
            near_by = [j for j in range(len(notes)) if abs(cell[j] - cell[i]) <= radius]
            mass = sum(share[j] for j in near_by)
            higher = sum(share[j] * (notes[j][2] - pitch) for j in near_by)
            louder = sum(share[j] * (notes[j][3] - velocity) for j in near_by)
            row += [higher / (mass + 0.5) / 8, mass / (2 * radius + 1) / 4]
            row.append(louder / (mass + 0.5) / 8)
        for column in (3, 2, 1):
            off = [abs(other[column] - notes[i][column]) for other in notes]
            weight = [max(2 - x, 0) for x in off]
            own = sum(w * s for w, s in zip(weight, share, strict=True)) + 0.5
            rest = sum(w * (1 - s) for w, s in zip(weight, share, strict=True)) + 0.5
            row.append(math.log(own / rest) / 2)
        rows.append(row)
    return np.array(rows)


def line_score(notes: list[Row], odds: NDArray[np.float32], chosen: list[bool]) -> float:
    """What a line is worth; minus infinity if it is none."""
    song = Song(notes)
    line = [i for i, j in enumerate(song.order) if chosen[j]]
    total = 0.0
    for k, i in enumerate(line):
        total += float(odds[song.order[i]]) + READY
        if k:
            total -= transition(song, odds, line[k - 1], i)
    return total


def transition(song: Song, odds: NDArray[np.float32], a: int, b: int) -> float:
    """The cost of going on from one note of the ordered song to another."""
    (o, d, p, _), (onset, _, pitch, _) = song.notes[a], song.notes[b]
    if onset <= o:
        return math.inf
    candidates = [j for j in range(a, b) if odds[song.order[j]] + READY > -3]
    if len(candidates) > 10:
        return 0.0  # too far back to be looked at
    cut = max(d - (onset - o), 0) / d
    return cut + (max(abs(p - pitch) - 7, 0) / 12 if onset - o <= 16 else 0.0)


def best_line_score(notes: list[Row], odds: NDArray[np.float32]) -> float:
    """The best score of any line, over all pairs of successive notes."""
    song = Song(notes)
    scores: list[float] = []
    for i, j in enumerate(song.order):
        own = float(odds[j]) + READY
        if own <= -3:
            scores.append(-math.inf)
            continue
        ways = [scores[k] - transition(song, odds, k, i) for k in range(i)]
        scores.append(own + max([0.0, *ways]))
    return max([0.0, *scores])
