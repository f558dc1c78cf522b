"""The pulse that onsets follow: its frequency as it drifts, its phase, and how well it is followed.

1. Rayleigh statistics of the onsets' phases over time and frequency, in overlapping windows;
2. the ridge through them by dynamic programming: slow drift is cheap, a jump to another tempo is
   dear and splits the piece;
3. within a stretch, the residual phase in ever shorter windows, smoothed and subtracted.

Where one constant tempo does as well as the drifting one, it is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pulse", "concentration", "group_events", "pulse_of_beats", "track_pulse"]

Array = NDArray[np.float64]

MIN_RATE, MAX_RATE = 2.0, 12.5  # pulses a second
_LOG_STEP = 0.004
_HOP = 2.0  # seconds between windows
_SIGMA = 3.0  # of the windows
_DRIFT_COST = 0.35  # a squared step of 0.4 % between neighbouring windows
_MAX_DRIFT = 4
_JUMP_COST = 60.0
_STRONG = 40.0  # a window says no more than this
_CHORD = 0.03  # seconds within which onsets are one event
_REFINE = ((3.0, 60.0), (1.5, 20.0), (1.0, 10.0))  # window (s), stiffness of the smoothed phase
_GRID = 0.25  # seconds between the points of a pulse curve
_MIN_STRETCH = 12.0  # seconds
_PREFER_CONSTANT = 0.04
_LONGEST_CONSTANT = 1800.0  # seconds; nobody holds a tempo for longer, and the search is quadratic
# Between stretches of one tempo whose finest notes differ: 8ths after 16ths, triplets after either.
_RATIOS = np.array([1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4])
_SAME = 0.03
_SILENCE = 4.0  # seconds; after a longer gap another tempo may begin


@dataclass(frozen=True)
class Pulse:
    """A stretch of a piece and its pulse.

    `times`, `count`: the curve from seconds to pulses, both increasing, of a stretch [`start`,
    `end`] s. `fit`: mean cosine of the events' phases against the phase that their neighbours (not
    they themselves) predict: about 0 for noise, up to 1.
    """

    times: Array
    count: Array
    start: float
    end: float
    fit: float

    @property
    def is_constant(self) -> bool:
        """Whether one rate holds throughout."""
        return len(self.times) == 2

    def position(self, seconds: Array) -> Array:
        """Pulses at times, continued linearly outside the curve."""
        return _continued(seconds, self.times, self.count)

    def seconds(self, position: Array) -> Array:
        """Times of pulses: the inverse of `position`."""
        return _continued(position, self.count, self.times)


def _continued(x: Array, knots: Array, values: Array) -> Array:
    """Linear interpolation, and extrapolation by the outermost pieces."""
    first = (values[1] - values[0]) / (knots[1] - knots[0])
    last = (values[-1] - values[-2]) / (knots[-1] - knots[-2])
    before = np.minimum(x - knots[0], 0.0) * first
    after = np.maximum(x - knots[-1], 0.0) * last
    result: Array = np.interp(x, knots, values) + before + after
    return result


def concentration(position: Array, weight: Array | None = None) -> float:
    """|mean exp(2 pi i position)|: 1 when all lie at one phase, near 0 for noise or nothing."""
    if len(position) == 0:
        return 0.0
    return float(np.abs(np.average(np.exp(2j * np.pi * position), weights=weight)))


def group_events(onset: Array) -> tuple[NDArray[np.intp], Array]:
    """Join onsets closer than 30 ms to the one before: the event of each (N,), and mean times."""
    group = np.cumsum(np.append(True, np.diff(onset) > _CHORD)) - 1
    return group, np.bincount(group, weights=onset) / np.bincount(group)


def track_pulse(onset: Array) -> list[Pulse]:
    """Find the stretches of one tempo, constant or drifting, in order; none under 16 events.

    `onset`: float64 (N,) seconds, sorted.
    """
    if len(onset) < 16:
        return []
    group, time = group_events(onset)
    weight = np.sqrt(np.bincount(group))  # a chord counts for more than a note, but not for as many
    if len(time) < 16 or time[-1] - time[0] < _MIN_STRETCH / 2:
        return []
    centre, rate, cuts = _ridge(time, weight)
    rate, cuts = _join(time, centre, rate, cuts)
    edges = [-np.inf, *cuts, np.inf]
    stretches = []
    for low, high in pairwise(edges):
        inside = (time >= low) & (time < high)
        if inside.sum() < 16 or np.ptp(time[inside]) < _MIN_STRETCH / 2:
            continue
        own = (centre >= low) & (centre < high)
        stretches.append(_stretch(time[inside], weight[inside], centre[own], rate[own]))
    return stretches


def _windows(
    time: Array, weight: Array, centre: Array, sigma: float
) -> Iterator[tuple[slice, slice, Array]]:
    """Gaussian windows over the events, in blocks: (centres, events, weights (events, centres)).

    A block holds only the events within reach, so that time and memory grow with the piece's length
    and no faster.
    """
    block = 16
    for low in range(0, len(centre), block):
        part = slice(low, min(low + block, len(centre)))
        reach = centre[part][[0, -1]] + np.array([-4.0, 4.0]) * sigma
        near = slice(*np.searchsorted(time, reach))
        gap = (time[near, None] - centre[part]) / sigma
        yield part, near, np.exp(-0.5 * gap**2) * weight[near, None]


def _statistics(time: Array, weight: Array, centre: Array, rate: Array) -> Array:
    """Rayleigh statistic n R^2 of each window at each rate, mean 1 for noise: (rates, windows)."""
    result = np.zeros((len(rate), len(centre)))
    for part, near, window in _windows(time, weight, centre, _SIGMA):
        # Single precision: angles stay below 4000 rad, and the sines are most of the tracker's
        # time.
        angle = np.outer(2 * np.pi * rate, time[near] - centre[part.start]).astype(np.float32)
        single = window.astype(np.float32)
        power = (np.cos(angle) @ single) ** 2 + (np.sin(angle) @ single) ** 2
        result[:, part] = power / np.maximum((window**2).sum(axis=0), 1e-3)
    return np.minimum(result, _STRONG)


def _ridge(time: Array, weight: Array) -> tuple[Array, Array, list[float]]:
    """Window centres, the pulse's rate at each, and the times at which it jumps."""
    rate = np.exp(np.arange(np.log(MIN_RATE), np.log(MAX_RATE), _LOG_STEP))
    centre = np.arange(time[0], time[-1] + _HOP, _HOP)
    score = _statistics(time, weight, centre, rate)
    moves = np.arange(-_MAX_DRIFT, _MAX_DRIFT + 1)
    cost = _DRIFT_COST * moves**2
    here = np.arange(len(rate))
    best = score[:, 0]
    back = np.zeros((len(centre), len(rate)), np.int64)
    for k in range(1, len(centre)):
        padded = np.pad(best, _MAX_DRIFT, constant_values=-np.inf)
        options = np.lib.stride_tricks.sliding_window_view(padded, len(moves)) - cost
        choice = np.argmax(options, axis=1)
        stay = options[here, choice]
        leap = int(np.argmax(best))
        leaps = best[leap] - _JUMP_COST > stay
        back[k] = np.where(leaps, leap, here + moves[choice])
        best = np.where(leaps, best[leap] - _JUMP_COST, stay) + score[:, k]
    path = [int(np.argmax(best))]
    for k in range(len(centre) - 1, 0, -1):
        path.append(int(back[k, path[-1]]))
    index = np.array(path[::-1])
    jumps = np.flatnonzero(np.abs(np.diff(index)) > _MAX_DRIFT)
    return centre, rate[index], [float(centre[k] + _HOP / 2) for k in jumps]


def _join(time: Array, centre: Array, rate: Array, cuts: list[float]) -> tuple[Array, list[float]]:
    """Bring stretches in a simple ratio to the rate of the longer; the rates and remaining cuts."""
    rate = rate.copy()
    cuts = list(cuts)
    while True:
        edges = np.array([-np.inf, *cuts, np.inf])
        parts = [np.flatnonzero((centre >= a) & (centre < b)) for a, b in pairwise(edges)]
        middle = [float(np.median(rate[part])) for part in parts]
        for k, cut in enumerate(cuts):
            after = int(np.searchsorted(time, cut))
            if time[min(after, len(time) - 1)] - time[max(after - 1, 0)] > _SILENCE:
                continue
            ratio = middle[k] / middle[k + 1]
            factor = float(_RATIOS[np.argmin(np.abs(np.log(_RATIOS / ratio)))])
            if abs(np.log(factor / ratio)) < _SAME:
                if len(parts[k]) >= len(parts[k + 1]):
                    rate[parts[k + 1]] *= factor
                else:
                    rate[parts[k]] /= factor
                del cuts[k]
                break
        else:
            return rate, cuts


def _stretch(time: Array, weight: Array, centre: Array, rate: Array) -> Pulse:
    """The pulse of events that keep one, slowly drifting tempo."""
    start, end = float(time[0]), float(time[-1])
    grid = np.arange(start - 1.0, end + 1.0 + _GRID, _GRID)
    local = np.interp(grid, centre, rate)
    count = np.concatenate([[0.0], np.cumsum((local[1:] + local[:-1]) / 2 * _GRID)])
    for sigma, stiffness in _REFINE:
        count = count - _residual(time, weight, grid, count, sigma, stiffness)
    drifting = _curve(time, grid, count)
    if end - start > _LONGEST_CONSTANT:
        return drifting
    constant = _constant(time, weight, float(count[-1] - count[0]) / float(grid[-1] - grid[0]))
    return constant if constant.fit >= drifting.fit - _PREFER_CONSTANT else drifting


def pulse_of_beats(onset: Array, beats: Array, division: int = 4) -> Pulse:
    """Divide known beats into pulses, corrected by less than half a pulse to the onsets around."""
    group, time = group_events(onset)
    weight = np.sqrt(np.bincount(group))
    grid = np.arange(min(time[0], beats[0]), max(time[-1], beats[-1]) + _GRID, _GRID)
    count = _continued(grid, beats, division * np.arange(len(beats), dtype=np.float64))
    for sigma, stiffness in _REFINE[1:]:
        count = count - _residual(time, weight, grid, count, sigma, stiffness, 0.3)
    return _curve(time, grid, count)


def _curve(time: Array, grid: Array, count: Array) -> Pulse:
    count = np.maximum.accumulate(count + 1e-6 * np.arange(len(count)))
    fit = predictability(time, np.interp(time, grid, count))
    return Pulse(grid, count, float(time[0]), float(time[-1]), fit)


def _residual(
    time: Array,
    weight: Array,
    grid: Array,
    count: Array,
    sigma: float,
    stiffness: float,
    most: float | None = None,
) -> Array:
    """How far the events are ahead of the count, in pulses, as a smooth curve over the grid.

    With `most` the count's own whole pulses hold and the curve stays within +-`most`; without, it
    is unwrapped along the piece.
    """
    phase = np.exp(2j * np.pi * np.interp(time, grid, count))
    knot = np.arange(grid[0], grid[-1] + 0.5, 0.5)
    total = np.zeros(len(knot), complex)
    square = np.zeros(len(knot))
    for part, near, window in _windows(time, weight, knot, sigma):
        total[part] = phase[near] @ window
        square[part] = (window**2).sum(axis=0)
    trust = np.minimum(np.abs(total) ** 2 / np.maximum(square, 1e-3), 20.0)
    ahead = np.angle(total) / (2 * np.pi)
    ahead = np.unwrap(ahead, period=1.0) if most is None else np.clip(ahead, -most, most)
    return np.interp(grid, knot, _smooth(ahead, trust + 1e-3, stiffness))


def _smooth(value: Array, weight: Array, stiffness: float) -> Array:
    """Whittaker's smoother: least squares plus `stiffness` times squared second differences.

    The normal equations have two bands beside the diagonal and are solved as L D L', in time linear
    in the length (scipy, which has banded solvers, is no dependency). `weight` > 0.
    """
    n = len(value)
    if n < 3:
        return value
    diagonal = weight + stiffness * np.convolve(np.ones(n - 2), [1.0, 4.0, 1.0])
    first = stiffness * np.convolve(np.ones(n - 2), [-2.0, -2.0])
    d, e, f, z = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]  # two rows of nothing before
    for a, b, y in zip(
        diagonal.tolist(), [*first.tolist(), 0.0], (weight * value).tolist(), strict=True
    ):
        pivot = a - d[-1] * e[-1] ** 2 - d[-2] * f[-2] ** 2
        z.append(y - e[-1] * z[-1] - f[-2] * z[-2])
        e.append((b - d[-1] * e[-1] * f[-1]) / pivot)
        f.append(stiffness / pivot)
        d.append(pivot)
    x = [0.0, 0.0]  # from the end
    for k in range(n + 1, 1, -1):
        far = f[k] * x[-2] if k < n else 0.0
        near = e[k] * x[-1] if k < n + 1 else 0.0
        x.append(z[k] / d[k] - near - far)
    return np.array(x[:1:-1])


def predictability(time: Array, position: Array, sigma: float = 1.5) -> float:
    """Mean cosine between each event's phase and that of the events around it, itself left out."""
    phase = np.exp(2j * np.pi * position)
    total = 0.0
    for part, near, window in _windows(time, np.ones(len(time)), time, sigma):
        window[np.abs(time[near, None] - time[part]) <= 0.05] = 0.0
        expected = phase[near] @ window
        expected /= np.maximum(np.abs(expected), 1e-9)
        total += float((np.conj(expected) * phase[part]).real.sum())
    return total / len(time)


def _constant(time: Array, weight: Array, rate: float) -> Pulse:
    """The best constant rate near `rate`, its phase taken from all events."""
    start, end = float(time[0]), float(time[-1])
    span = max(end - start, 1.0)
    width = 0.03 * rate
    points = int(np.clip(4 * width * span, 21, 4001))
    for _ in range(4):
        trial = rate + np.linspace(-width, width, points)
        angle = 2 * np.pi * trial[:, None] * (time - start)
        power = (np.cos(angle) @ weight) ** 2 + (np.sin(angle) @ weight) ** 2
        rate = float(trial[int(np.argmax(power))])
        width, points = 4 * width / points, 21
    turn = rate * (time - start)
    shift = float(np.angle(np.average(np.exp(2j * np.pi * turn), weights=weight))) / (2 * np.pi)
    times = np.array([start - 1.0, end + 1.0])
    # Against its own constant phase: no window to fool itself with.
    fit = float(np.cos(2 * np.pi * (turn - shift)).mean())
    return Pulse(times, rate * (times - start) - shift, start, end, fit)
