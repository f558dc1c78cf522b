"""Slow, obvious twins of the Rust core's beats: what describes events, readings and beats, the
networks, and the choice of bars. `pulse_twin` has the pulse and the tracker."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.score import TimedNotes

Array = NDArray[np.float64]

UNIT = 0.75
COLUMNS = 19
WEIGHTS = Path(__file__).parents[1] / "vmus_rs" / "src" / "beats" / "weights.bin"
LEVEL, EVENT, BEAT, WIDE, HIDDEN = 134, 99, 47, 16, 64
PULSES = (1, 2, 3, 4, 6, 8, 9, 12, 16, 24)


def group(onset: Array) -> list[list[int]]:
    """Notes by event: onsets within 30 ms of the one before are one."""
    events: list[list[int]] = []
    for i, time in enumerate(onset):
        if i and time - onset[i - 1] <= 0.03:
            events[-1].append(i)
        else:
            events.append([i])
    return events


def event_times(notes: TimedNotes) -> Array:
    return np.array([notes.onset[event].mean() for event in group(notes.onset)])


def standardised(table: Array) -> Array:
    centred = table - table.mean(axis=0)
    result: Array = centred / (centred.std(axis=0) + 1e-6)
    return result


def change(behind: Array, ahead: Array) -> float:
    norm = np.linalg.norm(behind) * np.linalg.norm(ahead)
    return 1 - float(behind @ ahead) / float(norm) if norm > 1e-6 else 0.5


def chroma(notes: TimedNotes, chosen: list[int], weight: Array) -> Array:
    return np.bincount(notes.pitch[chosen] % 12, weights=weight[chosen], minlength=12)


def event_table(notes: TimedNotes, unit: float = UNIT) -> Array:
    """`events::table`: float64 (E, 19)."""
    events, time = group(notes.onset), event_times(notes)
    low, high = np.quantile(notes.pitch, 0.3), np.quantile(notes.pitch, 0.7)
    held = np.clip((notes.offset - notes.onset) / unit, 0, 4)
    loud = np.array([float(notes.velocity[event].max()) for event in events])
    padded = np.pad(loud, 8, mode="edge")
    gap = np.log(np.clip(np.diff(time) / unit, 0, 2) + 0.1)
    rows = []
    bass, last_high = 12, -np.inf
    for e, event in enumerate(events):
        pitch = notes.pitch[event]
        lows = [i for i in event if notes.pitch[i] <= low]
        highs = [i for i in event if notes.pitch[i] >= high]
        row = [
            np.sqrt(len(event)),
            float(bool(lows)),
            np.sqrt(len(lows)),
            -float(pitch.min()),
            float(pitch.max()),
            held[event].max(),
            held[lows].max() if lows else 0.0,
            max(held[highs].max(), 0.01) if highs else 0.0,
            loud[e] - padded[e : e + 17].mean(),
            gap[e] if e < len(gap) else 0.1,
            gap[e - 1] if e else 0.1,
        ]
        for limit in (np.inf, low):
            for span in (unit, 2 * unit, 4 * unit):
                near: list[list[int]] = [[], []]
                for other, own in enumerate(events):
                    if other < e and time[other] >= time[e] - span - 0.02:
                        near[0] += [i for i in own if notes.pitch[i] <= limit]
                    if other >= e and time[other] < time[e] + span - 0.02:
                        near[1] += [i for i in own if notes.pitch[i] <= limit]
                weight = np.minimum(held, 2.0)
                row.append(change(*(chroma(notes, side, weight) for side in near)))
        row.append(float(bool(lows) and int(pitch.min()) % 12 != bass))
        bass = int(pitch.min()) % 12 if lows else bass
        row.append(np.log1p(min((time[e] - last_high) / unit, 8.0)) if highs else 0.0)
        last_high = time[e] if highs else last_high
        rows.append(row)
    return standardised(np.array(rows))


def event_features(notes: TimedNotes, beat: float) -> Array:
    """`track::describe`: float64 (E, 99)."""
    table, time = event_table(notes), event_times(notes)
    blocks = [table, np.maximum(table, 0.5)]
    for distance in (-0.25, 0.25, -0.5, 0.5, -1.0, 1.0):
        block = np.zeros((len(time), 10))
        for e, start in enumerate(time):
            aim = start + distance * beat
            late = [i for i in range(len(time)) if time[i] >= aim - 0.06] or [len(time) - 1]
            if abs(time[late[0]] - aim) < 0.06:
                block[e] = [*table[late[0], :9], 1.0]
        blocks.append(block)
    return np.column_stack([*blocks, np.ones(len(time))])


def reading_features(position: Array, table: Array, rate: float, p: int, phase: int) -> Array:
    """`level::describe` of one reading: float64 (134,)."""
    slot = np.floor(np.abs(position) + 0.5) * np.sign(position)  # halves away from zero
    columns = np.column_stack([table, np.ones(len(table))])
    beats = max((slot[-1] - slot[0]) / p, 1.0)
    out: list[float] = []
    counted = 0.0
    for parts, places in ((1, (0,)), (2, (1,)), (4, (1, 3)), (3, (1, 2))):
        total = np.zeros(20)
        if p % parts == 0:
            for k in places:
                total += columns[(slot - phase - p * k // parts) % p == 0].sum(axis=0) / beats
        out += total.tolist()
        counted += float(total[-1])
    out.append(len(slot) / beats - counted)
    for column in (0, 1, 6, 8, 11, 12, 13, 14, 15, 16):
        for size in (2, 3, 4):
            value = np.array(
                [
                    table[(slot - phase - first * p) % (size * p) == 0, column].sum() * size / beats
                    for first in range(size)
                ]
            )
            out.append(float(value.max() - value.mean()))
    tempo = 60 * rate / p
    centres = np.array([50.0, 60, 70, 82, 97, 115, 135, 160])
    out += np.exp(-0.5 * (np.log2(tempo / centres) / 0.25) ** 2).tolist()
    density = np.log(len(slot) / beats)
    out += [density, density**2]
    gaps = np.diff(slot) / p
    edges = np.array([-np.inf, 0.2, 0.3, 0.4, 0.6, 0.85, 1.2, np.inf])
    out += [
        float(((gaps > a) & (gaps <= b)).sum() / max(len(slot) - 1, 1))
        for a, b in pairwise(edges.tolist())
    ]
    out += [float(flag) for flag in (p % 3 == 0, p % 2 == 0, p % 4 == 0, p == 1)]
    exact = max(float(np.abs(np.exp(8j * np.pi * position / p).mean())), 0.05)
    out += [exact, float(np.log(exact))]
    return np.array(out)


def beat_features(notes: TimedNotes, beats: Array) -> Array:
    """`metre::describe`: float64 (B, 47)."""
    slots = 4 * len(beats)
    onset, offset = (4 * continued(t, beats) for t in (notes.onset, notes.offset))
    at = np.clip(np.floor(onset + 0.5), 0, slots - 1).astype(int)
    length = np.clip(offset - onset, 0.25, 32)
    low, high = np.quantile(notes.pitch, 0.3), np.quantile(notes.pitch, 0.7)
    velocity = notes.velocity.astype(float)
    loud = (velocity - velocity.mean()) / (velocity.std() + 1e-6)
    sounding, bass, struck = (np.zeros((slots, 12)) for _ in range(3))
    table = np.zeros((slots, 8))
    outer = np.tile([-64.0, 0.0], (slots, 1))
    for i, (k, pitch) in enumerate(zip(at.tolist(), notes.pitch.tolist(), strict=True)):
        stop = k + max(int(np.floor(length[i] + 0.5)), 1)
        sounding[k:stop, pitch % 12] += 1
        struck[k, pitch % 12] += min(length[i], 4)
        if pitch <= low:
            bass[k:stop, pitch % 12] += 1
    for k in range(slots):
        own = np.flatnonzero(at == k)
        if len(own) == 0:
            continue
        lows = own[notes.pitch[own] <= low]
        highs = own[notes.pitch[own] >= high]
        table[k, :5] = [
            np.sqrt(len(own)),
            np.sqrt(length[lows].sum()),
            np.sqrt(len(lows)),
            loud[own].max(),
            np.log1p(length[own].max()),
        ]
        table[k, 5] = np.sqrt(min(length[highs].max(), 16)) if len(highs) else 0.0
        outer[k] = [-float(min(notes.pitch[own].min(), 64)), float(notes.pitch[own].max())]
    high_slots, any_slots = np.flatnonzero(table[:, 5]), np.unique(at)
    for k in high_slots:
        before = high_slots[high_slots < k]
        since = k - before[-1] if len(before) else k + 16
        table[k, 6] = np.log1p(min(since, 32))
    for k in any_slots:
        behind = any_slots[any_slots > k]
        until = behind[0] - k if len(behind) else slots - 1 - k + 32
        table[k, 7] = np.log1p(min(until, 32))
    rows = []
    for k in range(0, slots, 4):
        row = [*table[k : k + 4].ravel(), *outer[k]]
        for total, spans in (
            (sounding, (2, 4, 8, 16, 32, 64)),
            (bass, (4, 8, 16)),
            (struck, (4, 8, 16)),
        ):
            for span in spans:
                row.append(
                    change(total[max(k - span, 0) : k].sum(axis=0), total[k : k + span].sum(axis=0))
                )
        rows.append(row)
    first = np.arange(len(beats)) == at.min() // 4
    return np.column_stack([standardised(np.array(rows)), first])


def continued(seconds: Array, beats: Array) -> Array:
    """Beats at times, the outermost beats' length holding outside."""
    index = np.arange(len(beats), dtype=float)
    before = np.minimum(seconds - beats[0], 0) / (beats[1] - beats[0])
    after = np.maximum(seconds - beats[-1], 0) / (beats[-1] - beats[-2])
    result: Array = np.interp(seconds, beats, index) + before + after
    return result


class Weights:
    """`model::Model`, read off its file in order."""

    def __init__(self) -> None:
        numbers = np.frombuffer(WEIGHTS.read_bytes(), "<f4").astype(np.float64)

        def take(count: int) -> Array:
            nonlocal numbers
            own, numbers = numbers[:count], numbers[count:]
            return own

        def layer(inputs: int, outputs: int) -> tuple[Array, Array]:
            return take(inputs * outputs).reshape(inputs, outputs), take(outputs)

        self.level = (layer(LEVEL, HIDDEN), layer(HIDDEN, 1))
        self.strength, self.edges = take(EVENT), take(7)
        self.places = take(8 * 24).reshape(8, 24)
        self.first = layer(BEAT, WIDE)
        self.layers = [layer(5 * WIDE, WIDE) for _ in range(4)]
        self.last = layer(WIDE, 1)
        assert len(numbers) == 0

    def reading(self, features: Array) -> float:
        hidden = np.maximum(features @ self.level[0][0] + self.level[0][1], 0)
        return float((hidden @ self.level[1][0] + self.level[1][1])[0])

    def odds(self, rows: Array) -> Array:
        now = np.maximum(rows @ self.first[0] + self.first[1], 0)
        for (weight, bias), apart in zip(self.layers, (1, 2, 4, 8), strict=True):
            padded = np.pad(now, ((2 * apart, 2 * apart), (0, 0)))
            taps = np.column_stack([padded[k * apart : k * apart + len(now)] for k in range(5)])
            now = now + np.maximum(taps @ weight + bias, 0)
        result: Array = (now @ self.last[0] + self.last[1])[:, 0]
        return result


def bars(odds: Array) -> tuple[list[int], int]:
    """`metre::bars`: the likeliest bars of four beats, or of three where those are likelier."""
    four, most = bar_starts(odds, 4)
    three, value = bar_starts(odds, 3)
    return (three, 3) if value > most + 0.15 * len(odds) else (four, 4)


def bar_starts(odds: Array, size: int) -> tuple[list[int], float]:
    """Every path of bars of 2 to 2 * size - 1 beats from the first two bars to the last two."""
    paths: list[tuple[float, list[int]]] = []
    for k, value in enumerate(odds.tolist()):
        options = [(value, [k])] if k < 2 * size else []
        for length in range(2, min(2 * size - 1, k) + 1):
            before, path = paths[k - length]
            cost = 0.0 if length == size else 8.0 if length % 2 == 0 else 11.0
            options.append((before + value - cost, [*path, k]))
        paths.append(max(options, key=lambda option: option[0]))
    value, path = max(paths[-2 * size :], key=lambda option: option[0])
    return path, value
