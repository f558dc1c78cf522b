"""Slow, obvious twins of the Rust functions: what each of them must equal.

They are written from the definitions, not from the Rust code: loops where that sweeps or sorts,
Python's unbounded integers and float64 where that minds overflow and float32.
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = tuple[int, int, int, int]
"""Onset, duration, pitch, velocity."""

NO_CHORD = 120
QUALITIES = ["M", "m", "7", "M7", "m7", "o", "o7", "+", "sus2", "sus4"]
WEIGHTS = {
    "M": [10, -2, -1, -2, 10, -5, -2, 10, -2, -1, -2, 0],
    "m": [10, -2, -1, 10, -2, -5, -2, 10, -1, -2, 0, -2],
    "o": [10, -2, -1, 10, -2, -1, 10, -2, -2, 1, -1, -2],
    "+": [10, -2, -1, -2, 10, -1, -2, -2, 10, -1, -2, 0],
    "sus2": [10, -2, 5, -2, -1, -5, -2, 5, -2, -1, -2, 0],
    "sus4": [10, -2, -1, -2, -5, 5, -2, 5, -2, -1, -2, 0],
}
OVER_BASS = {  # (triad, semitones from the bass up to its root): quality over the bass
    ("o", 4): "7",
    ("o", 3): "o7",
    ("M", 3): "m7",
    ("m", 4): "M7",
    ("m", 3): "/o7",
    ("sus2", 5): "sus4",
    ("sus4", 7): "sus2",
}


def bar_ranges(query: list[int], source: list[int]) -> list[tuple[int, int]]:
    """Count what lies before the three bars, and what lies before their end."""
    return [
        (sum(bar < q - 1 for bar in source), sum(bar <= q + 1 for bar in source)) for q in query
    ]


def quantize(
    notes: list[tuple[float, float, int, int]], step: float, phase: float, max_duration: int
) -> list[Row]:
    """Put (onset, offset, pitch, velocity) on the grid, one note after the other."""
    longest: dict[tuple[int, int], tuple[int, int]] = {}
    for onset, offset, pitch, velocity in notes:
        line = math.floor((onset - phase) / step + 0.5)
        if line < 0:
            continue
        duration = math.floor((offset - phase) / step + 0.5) - line
        duration = min(max(duration, 1), max_duration)
        old_duration, old_velocity = longest.get((line, pitch), (0, 1))
        longest[line, pitch] = max(duration, old_duration), max(velocity, old_velocity)
    rows = []
    for (line, pitch), (duration, velocity) in sorted(longest.items()):
        later = [o - line for o, p in longest if p == pitch and o > line]
        rows.append((line, min([duration, *later]), pitch, velocity))
    return rows


def skyline(notes: list[Row]) -> list[bool]:
    """Compare every candidate with every other."""
    candidates: dict[int, int] = {}  # onset -> its first highest note
    for i, (onset, _, pitch, _) in enumerate(notes):
        if onset not in candidates or pitch > notes[candidates[onset]][2]:
            candidates[onset] = i

    def is_covered(onset: int, pitch: int) -> bool:
        others = [notes[i] for i in candidates.values()]
        return any(o < onset < o + d and p > pitch for o, d, p, _ in others)

    return [
        candidates[onset] == i and not is_covered(onset, pitch)
        for i, (onset, _, pitch, _) in enumerate(notes)
    ]


def recognize_chords(notes: list[Row], beats: int, beat: int) -> list[int]:
    """Vote between the chords of single beats and of two beats, as chorder does."""
    single = [_chord(notes, i * beat, (i + 1) * beat) for i in range(beats)]
    double = [_chord(notes, i * beat, (i + 2) * beat) for i in range(0, beats, 2)]
    ids: list[int] = []
    for i, (both, both_score) in enumerate(double):
        pair = single[2 * i : 2 * i + 2]
        if len(pair) == 2:
            keep = all(score >= both_score / 2 for _, score in pair)
        else:
            keep = pair[0][1] > both_score / 2
        ids += [chord for chord, _ in pair] if keep else [both] * len(pair)
    return ids


def _heard(notes: list[Row], start: int, end: int) -> list[tuple[int, int]]:
    """(pitch, time within the window) of the notes of the last ten onsets and of the window."""
    onsets = sorted({onset for onset, *_ in notes})
    before = [onset for onset in onsets if onset < start]
    since = before[-10] if len(before) >= 10 else -math.inf
    spans = [
        (pitch, min(onset + duration, end) - max(onset, start))
        for onset, duration, pitch, _ in notes
        if since <= onset < end
    ]
    return [(pitch, span) for pitch, span in spans if span > 0]


def _chord(notes: list[Row], start: int, end: int) -> tuple[int, float]:
    """Chord id and score of one window."""
    spans = _heard(notes, start, end)
    classes = [sum(span for pitch, span in spans if pitch % 12 == c) for c in range(12)]
    best, root, quality = 0, 0, ""
    for r in range(12):
        if classes[r] == 0:
            continue
        for q, weights in WEIGHTS.items():
            score = sum(weights[i] * classes[(r + i) % 12] for i in range(12))
            if score > best:
                best, root, quality = score, r, q
    if best < 10 * (end - start):
        return NO_CHORD, -1
    by_pitch = {p: sum(span for pitch, span in spans if pitch == p) for p, _ in spans}
    low = [p for p in sorted(by_pitch) if by_pitch[p] >= (end - start) / 8]
    if not low:
        return NO_CHORD, best
    bass = low[0] % 12
    if (quality, (root - bass) % 12) in OVER_BASS:
        root, quality = bass, OVER_BASS[quality, (root - bass) % 12]
    minor, major = classes[(root + 10) % 12], classes[(root + 11) % 12]
    if quality == "M" and minor != major:
        quality = "M7" if major > minor else "7"
    if quality == "m" and minor > 0:
        quality = "m7"
    if quality == "/o7":
        quality = "o"
    return root * 10 + QUALITIES.index(quality), best


def rgb_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Take the mean in float64."""
    return float(np.abs(a.astype(np.float64) - b.astype(np.float64)).mean())


def color_histogram(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Follow HistoGAN's definition channel by channel, all in float64."""
    rgb = frame.reshape(-1, 3) / 255.0
    intensity = np.sqrt((rgb**2).sum(axis=1) + 1e-6)
    log = np.log(rgb + 1e-6)
    bins = np.linspace(-3, 3, 32)

    def kernel(ratio: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + ((ratio[:, None] - bins) / 0.02) ** 2)

    channels = [
        np.einsum(
            "n,nu,nv->uv", intensity, kernel(log[:, c] - log[:, u]), kernel(log[:, c] - log[:, v])
        )
        for c, u, v in [(0, 1, 2), (1, 0, 2), (2, 0, 1)]
    ]
    histogram: NDArray[np.float64] = np.stack(channels)
    histogram /= histogram.sum()
    return histogram


def encode_tokens(
    bars: int, chords: NDArray[np.uint8] | None, notes: list[Row]
) -> list[tuple[int, ...]]:
    """Compound tokens, place by place: what begins here, then in stream order."""
    out: list[tuple[int, ...]] = []
    for place in range(bars * 16):
        bar_opens, step = place % 16 == 0, place % 16
        chord = None
        if chords is not None and place % 4 == 0 and place // 4 < len(chords):
            beat = place // 4
            if bar_opens or chords[beat] != chords[beat - 1]:
                chord = int(chords[beat])
        spelled = (13, 11)
        if chord is not None and chord < NO_CHORD:
            spelled = (chord // 10 + 1, chord % 10 + 1)
        begins = [n for n in notes if n[0] == place]
        if bar_opens:
            out.append((1, 1, 0, 0, 0, 0, 0))
            if chord is not None:
                out.append((3, 0, 0, 0, 0, *spelled))
        if begins or (chord is not None and not bar_opens):
            out.append((1, step + 2, 0, 0, 0, 0, 0))
        if chord is not None and not bar_opens:
            out.append((3, 0, 0, 0, 0, *spelled))
        for _, duration, pitch, velocity in begins:
            level = min(max((velocity - 18) // 12, 0), 7)
            out.append((2, 0, pitch + 1, min(max(duration, 1), 64), level + 1, 0, 0))
    return out
