"""Slow twins of the chord model: how beats sound, what chords score, what a path is worth."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twins import NO_CHORD, Row

WEIGHTS = Path(__file__).resolve().parents[1] / "vmus_rs" / "src" / "chords" / "weights.bin"
PLANES, HIDDEN, KINDS = 11, 16, 11
Floats = NDArray[np.float64]


def chroma(notes: list[Row], beat: int, low: int, high: int) -> Floats:
    """Root of the beats that each pitch class sounds, of pitches low..high - 1."""
    result = np.zeros(12)
    for onset, duration, pitch, _ in notes:
        sounding = range(onset, onset + min(max(duration, 0), 64))
        if low <= pitch < high:
            result[pitch % 12] += sum(time // 4 == beat for time in sounding) / 4
    return np.sqrt(result)


def bass(notes: list[Row], beat: int) -> Floats:
    result = np.zeros(12)
    for time in range(4 * beat, 4 * beat + 4):
        sounding = [p for o, d, p, _ in notes if o <= time < o + min(max(d, 0), 64)]
        if sounding:
            result[min(sounding) % 12] += 0.25
    return np.sqrt(result)


def features(notes: list[Row], beats: int) -> Floats:
    def all_of(beat: int) -> Floats:
        return chroma(notes, beat, 0, 128) if 0 <= beat < beats else np.zeros(12)

    def bass_of(beat: int) -> Floats:
        return bass(notes, beat) if 0 <= beat < beats else np.zeros(12)

    mean = np.mean([all_of(b) for b in range(beats)], axis=0) if beats else np.zeros(12)
    rows = [
        [
            *(chroma(notes, b, low, high) for low, high in [(0, 52), (52, 67), (67, 128)]),
            bass_of(b),
            all_of(b - 1),
            bass_of(b - 1),
            all_of(b + 1),
            bass_of(b + 1),
            all_of(b - 2),
            all_of(b + 2),
            mean,
        ]
        for b in range(beats)
    ]
    return np.array(rows).reshape(beats, PLANES, 12)


class Model:
    """The crate's table of numbers, read here once more."""

    def __init__(self) -> None:
        numbers = np.frombuffer(WEIGHTS.read_bytes(), "<f4").astype(np.float64)
        inputs = 12 * PLANES + 4
        sizes = [inputs * HIDDEN, HIDDEN, HIDDEN * KINDS, KINDS, 8, KINDS * KINDS * 12]
        assert len(numbers) == sum(sizes)
        parts = np.split(numbers, np.cumsum(sizes)[:-1])
        self.inputs = parts[0].reshape(inputs, HIDDEN)
        self.bias = parts[1]
        self.out = parts[2].reshape(HIDDEN, KINDS)
        self.out_bias = parts[3]
        self.moves = parts[4].reshape(4, 2)
        self.changes = parts[5].reshape(KINDS, KINDS, 12)

    def scores(self, seen: Floats) -> Floats:
        """Of 121 chords in each beat, from features (B, 11, 12)."""
        result = np.zeros((len(seen), NO_CHORD + 1))
        for b, planes in enumerate(seen):
            for root in range(12):
                turned = [plane[(np.arange(12) + root) % 12] for plane in planes]
                x = np.concatenate([*turned, np.arange(4) == b % 4])
                out = np.maximum(x @ self.inputs + self.bias, 0) @ self.out + self.out_bias
                result[b, 10 * root : 10 * root + 10] = out[:10]
                result[b, NO_CHORD] += out[10] / 12
        return result

    def move(self, beat: int, a: int, b: int) -> float:
        """What it is worth to go from chord a to chord b at this beat."""
        if a == b:
            return float(self.moves[beat % 4, 0])
        kinds = [10 if chord == NO_CHORD else chord % 10 for chord in (a, b)]
        step = 0 if NO_CHORD in (a, b) else (b // 10 - a // 10) % 12
        return float(self.moves[beat % 4, 1] + self.changes[kinds[0], kinds[1], step])

    def path_score(self, scores: Floats, path: list[int]) -> float:
        total = float(sum(scores[b, chord] for b, chord in enumerate(path)))
        return total + sum(self.move(b, path[b - 1], path[b]) for b in range(1, len(path)))

    def best_path_score(self, scores: Floats, candidates: int = 12) -> float:
        """Over all paths through the likeliest chords of each beat."""
        best = {-1: 0.0}
        for b, row in enumerate(scores):
            likeliest = [int(chord) for chord in np.argsort(-row, kind="stable")[:candidates]]
            best = {
                chord: row[chord]
                + max(s + (self.move(b, a, chord) if b else 0.0) for a, s in best.items())
                for chord in likeliest
            }
        return max(best.values())
