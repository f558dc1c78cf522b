"""Slow, obvious twins of the Rust core's pulse and beat tracker (`vmus_rs/src/beats`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import beat_twin as twin

Array = NDArray[np.float64]

RATES = 2.0 * 2.0 ** (np.arange(305) / 115)
HOP = 2.0


def statistics(time: Array, weight: Array) -> tuple[Array, Array]:
    """Window centres, and the Rayleigh statistic of each window at each rate: (W, R)."""
    count = int(np.ceil((time[-1] - time[0]) / HOP)) + 1
    centre = time[0] + HOP * np.arange(count)
    block = np.minimum(np.floor((time - time[0]) / HOP + 0.5).astype(int), count - 1)
    # A block's events are told apart to 5 ms.
    fine = np.floor((time - centre[block] + HOP / 2) * 200 + 0.5) / 200 - HOP / 2 + centre[block]
    score = np.zeros((count, len(RATES)))
    for window in range(count):
        gap = np.abs(block - window)
        share = np.where(gap <= 4, np.exp(-0.5 * (gap * HOP / 3.0) ** 2), 0.0) * weight
        angle = 2 * np.pi * np.outer(RATES, fine - centre[window])
        power = np.abs(np.exp(1j * angle) @ share) ** 2
        score[window] = np.minimum(power / max(float((share**2).sum()), 1e-3), 80.0)
    return centre, score


def ridge(score: Array) -> list[int]:
    """The likeliest path of rates, window by window: drift costs by its square, a jump 60."""
    rates = np.arange(score.shape[1])
    step = rates[:, None] - rates
    cost = np.where(np.abs(step) <= 3, np.minimum(0.8 * step.astype(float) ** 2, 60.0), 60.0)
    best, back = score[0], []
    for row in score[1:]:
        options = best - cost
        back.append(np.argmax(options, axis=1))
        best = options.max(axis=1) + row
    path = [int(np.argmax(best))]
    for choice in reversed(back):
        path.append(int(choice[path[-1]]))
    return path[::-1]


def drifting(time: Array, weight: Array) -> tuple[Array, Array, float]:
    """The pulse of events whose tempo does not jump: times, counts and the fit."""
    centre, score = statistics(time, weight)
    rate = RATES[ridge(score)]
    grid = time[0] - 1 + 0.25 * np.arange(int(np.ceil((time[-1] - time[0] + 2) / 0.25)) + 1)
    local = np.interp(grid, centre, rate)
    count = np.concatenate([[0.0], np.cumsum((local[1:] + local[:-1]) / 2 * 0.25)])
    for sigma, stiffness in ((3.0, 60.0), (1.5, 20.0), (1.0, 10.0), (0.75, 4.0)):
        count = corrected(time, weight, grid, count, sigma, stiffness, None)
    count = np.maximum.accumulate(count + 1e-6 * np.arange(len(count)))
    return grid, count, predictability(time, np.interp(time, grid, count))


def smooth(value: Array, weight: Array, stiffness: float) -> Array:
    """Least squares plus `stiffness` times squared second differences, by a dense solve."""
    if len(value) < 3:
        return value
    second = np.diff(np.eye(len(value)), 2, axis=0)
    matrix = np.diag(weight) + stiffness * second.T @ second
    result: Array = np.linalg.solve(matrix, weight * value)
    return result


def corrected(
    time: Array,
    weight: Array,
    grid: Array,
    count: Array,
    sigma: float,
    stiffness: float,
    most: float | None,
) -> Array:
    """The count less how far the events are ahead of it."""
    knot = grid[0] + 0.5 * np.arange(int(np.ceil((grid[-1] - grid[0]) / 0.5)) + 1)
    off = ahead(time, weight, np.interp(time, grid, count), knot, sigma, stiffness, most)
    return count - np.interp(grid, knot, off)


def ahead(
    time: Array,
    weight: Array,
    position: Array,
    knot: Array,
    sigma: float,
    stiffness: float,
    most: float | None,
) -> Array:
    """How far the events around each knot are ahead of whole numbers, smoothed."""
    phase, step = np.exp(2j * np.pi * position), knot[1] - knot[0]
    place, reach = (time - knot[0]) / step, int(4 * sigma / step)
    total, square = np.zeros(len(knot), complex), np.zeros(len(knot))
    for k in range(len(knot)):
        for j in range(max(k - reach, 0), k + reach + 1):
            share = np.maximum(1 - np.abs(place - j), 0.0)  # of each event, at knot j
            window = np.exp(-0.5 * ((j - k) * step / sigma) ** 2)
            total[k] += window * (share * weight * phase).sum()
            square[k] += window**2 * (share * weight**2).sum()
    trust = np.minimum(np.abs(total) ** 2 / np.maximum(square, 1e-3), 20.0) + 1e-3
    off = np.angle(total) / (2 * np.pi)
    off = np.unwrap(off, period=1.0) if most is None else np.clip(off, -most, most)
    return smooth(off, trust, stiffness)


def close(time: Array, weight: Array, grid: Array, count: Array) -> tuple[Array, Array]:
    """Sixteenths at the points of the grid, corrected once more; and the swing of every fourth.

    A grid of two points has one rate, which holds.
    """
    position = np.interp(time, grid, count)
    swing = swing_of(position, weight)
    if len(grid) == 2:
        return count, swing
    off = ahead(time, weight, straight(position, swing), grid, 0.3, 6.0, 0.3)
    count = np.maximum.accumulate(count - off + 1e-6 * np.arange(len(grid)))
    return count, swing_of(np.interp(time, grid, count), weight)


def swing_of(position: Array, weight: Array) -> Array:
    """How late the events at each sixteenth of the beats are, of two passes: (4,)."""
    swing = np.zeros(4)
    for _ in range(2):
        even = straight(position, swing)
        place = np.floor(even + 0.5).astype(int) % 4
        for k in range(4):
            own = place == k
            total = 10.0 + (weight[own] * np.exp(2j * np.pi * even[own])).sum()
            swing[k] = np.clip(swing[k] + np.angle(total) / (2 * np.pi), -0.25, 0.25)
    return np.where(np.abs(swing) < 0.03, 0.0, swing)


def straight(position: Array, swing: Array) -> Array:
    """Positions among sixteenths that are not swung."""
    line = np.arange(np.floor(position.min()) - 2, np.ceil(position.max()) + 3)
    result: Array = np.interp(position, line + swing[line.astype(int) % 4], line)
    return result


def predictability(time: Array, position: Array) -> float:
    """Mean cosine between each phase and that of the events around, which fade with distance."""
    phase = np.exp(2j * np.pi * position)
    total = 0.0
    for i in range(len(time)):
        gap = np.abs(time - time[i])
        around = (phase * np.where(gap > 0.05, np.exp(-gap / (4 / 3)), 0.0)).sum()
        total += float((np.conj(around) * phase[i]).real / max(abs(around), 1e-9))
    return total / len(time)


def steady_fit(time: Array, weight: Array, rate: float) -> float:
    """Mean cosine of the events' phases at a constant rate against their mean phase."""
    turn = np.exp(2j * np.pi * rate * (time - time[0]))
    mean = (turn * weight).sum()
    return float((turn * np.conj(mean) / abs(mean)).real.mean())


def of_beats(time: Array, weight: Array, beats: Array) -> tuple[Array, Array, float]:
    """Four pulses a beat, corrected to the onsets: times, counts and the fit."""
    first, last = min(time[0], beats[0]), max(time[-1], beats[-1])
    grid = first + 0.25 * np.arange(int(np.ceil((last - first) / 0.25)) + 1)
    count = 4 * twin.continued(grid, beats)
    for sigma, stiffness in ((1.5, 20.0), (1.0, 10.0), (0.75, 4.0)):
        count = corrected(time, weight, grid, count, sigma, stiffness, 0.3)
    count = np.maximum.accumulate(count + 1e-6 * np.arange(len(count)))
    return grid, count, predictability(time, np.interp(time, grid, count))


def evidence(places: Array) -> Array:
    """Log of how much likelier than chance each class is at each place."""
    share = places / np.maximum(places.sum(axis=1, keepdims=True), 1.0)
    blur = np.exp(-0.5 * np.arange(-4.0, 5.0) ** 2)
    spread = np.zeros_like(share)
    for shift, weight in zip(range(-4, 5), blur / blur.sum(), strict=True):
        spread += weight * np.roll(share, shift, axis=1)
    result: Array = np.log((0.85 * spread + 0.15 / 24) * 24)
    return result


def track(time: Array, strength: NDArray[np.intp], beat: float, places: Array) -> Array:
    """Beats of the likeliest path, frame by frame and length by length."""
    table, lengths = evidence(places), np.arange(13, 31)
    frame, start = beat / 20, time[0] - 1.5 * beat
    size = int((time[-1] - start) / frame) + 40
    at = np.floor((time - start) / frame + 0.5).astype(int)

    def gain(end: int, length: int) -> float:
        total = -(np.log(length / 20) ** 2)
        for event in np.flatnonzero((at >= end - length) & (at < end)):
            place = (at[event] - end + length) / length * 24
            left, part = int(place), place % 1
            row = table[strength[event]]
            total += row[left % 24] * (1 - part) + row[(left + 1) % 24] * part
        return float(total)

    cost = 150 * np.log(lengths[:, None] / lengths) ** 2
    cost[np.abs(lengths[:, None] - lengths) > 4] = np.inf
    best = np.zeros((size, len(lengths)))
    back = np.zeros((size, len(lengths)), int)
    for end in range(30, size):
        for k, length in enumerate(lengths.tolist()):
            options = best[end - length] - cost[k]
            back[end, k] = int(np.argmax(options))
            best[end, k] = options[back[end, k]] + gain(end, length)
    end, k = np.unravel_index(int(np.argmax(best[-30:])), (30, len(lengths)))
    now, length = size - 30 + int(end), int(k)
    beats = [now]
    while now >= 30:
        now, length = now - int(lengths[length]), int(back[now, length])
        beats.append(now)
    return start + frame * np.array(beats[::-1])
