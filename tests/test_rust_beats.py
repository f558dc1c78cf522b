"""The Rust core's beats against their twins, on notes of all kinds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import beat_twin as twin
import pulse_twin
from vmusprod import _vmus_rs as rust
from vmusprod.music.score import TimedNotes

Array = NDArray[np.float64]


@st.composite
def timed_notes(draw: st.DrawFn, least: int = 2, most: int = 24) -> TimedNotes:
    """Sorted notes within 20 s, with chords, on a grid or off it."""
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, 160), st.integers(1, 60), st.integers(20, 110), st.integers(1, 127)
            ),
            min_size=least,
            max_size=most,
        )
    )
    table = np.array(sorted(rows), dtype=np.float64)
    jitter = draw(st.floats(0, 0.012))
    # No gap is near 30 ms, and no time near a span's end, where rounding would decide.
    onset = 0.1317 * table[:, 0] + jitter * (table[:, 2] % 2)
    order = np.argsort(onset, kind="stable")
    onset, table = onset[order], table[order]
    offset = onset + 0.0533 * table[:, 1]
    return TimedNotes(onset, offset, table[:, 2].astype(np.uint8), table[:, 3].astype(np.uint8))


def arrays(notes: TimedNotes) -> tuple[Array, Array, NDArray[np.uint8], NDArray[np.uint8]]:
    return notes.onset, notes.offset, notes.pitch, notes.velocity


def close(found: NDArray[np.float32], expected: Array) -> None:
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=4e-3)


@settings(max_examples=15)
@given(timed_notes(), st.floats(0.3, 1.4))
def test_event_features(notes: TimedNotes, beat: float) -> None:
    time, features = rust.event_features(*arrays(notes), beat)
    np.testing.assert_allclose(time, twin.event_times(notes))
    close(features, twin.event_features(notes, beat))


@settings(max_examples=8)
@given(timed_notes(), st.floats(2.0, 12.0), st.floats(-3, 3))
def test_readings(notes: TimedNotes, rate: float, start: float) -> None:
    times, count = np.array([0.0, 10.0]), np.array([start, start + 10 * rate])
    readings, features = rust.beat_readings(*arrays(notes), times, count)
    expected = [(p, phase) for p in twin.PULSES if 40 <= 60 * rate / p <= 180 for phase in range(p)]
    assert [tuple(row) for row in readings.tolist()] == expected
    position = start + rate * twin.event_times(notes)
    if (np.abs(position % 1 - 0.5) < 1e-6).any():
        return
    table = twin.event_table(notes)
    for row, (p, phase) in zip(features, expected, strict=True):
        close(row, twin.reading_features(position, table, rate, p, phase))


@settings(max_examples=12)
@given(timed_notes(), st.floats(0.31, 1.1), st.integers(4, 24), st.floats(-1, 2))
def test_beat_features(notes: TimedNotes, beat: float, number: int, start: float) -> None:
    beats = start + beat * (np.arange(number) + 0.1 * np.sin(np.arange(number)))
    expected = twin.beat_features(notes, beats)
    close(rust.beat_features(*arrays(notes), beats), expected)


@settings(max_examples=12)
@given(timed_notes(), st.floats(0.31, 1.1), st.integers(4, 60))
def test_downbeats(notes: TimedNotes, beat: float, number: int) -> None:
    beats = beat * np.arange(number)
    rows = rust.beat_features(*arrays(notes), beats)
    odds = rust.downbeat_odds(*arrays(notes), beats)
    np.testing.assert_allclose(odds, twin.Weights().odds(rows.astype(float)), rtol=1e-3, atol=2e-3)
    starts, size = rust.find_downbeats(*arrays(notes), beats)
    path, value = twin.bar_starts(odds.astype(float), size)
    cost = {size: 0.0} | {n: 8.0 if n % 2 == 0 else 11.0 for n in range(2, 2 * size) if n != size}
    own = odds[starts].sum() - sum(cost[n] for n in np.diff(starts).tolist())
    assert own == pytest.approx(value, abs=1e-3)
    assert len(starts) == len(path) or own == pytest.approx(value, abs=1e-3)


@pytest.mark.parametrize("size", [3, 4])
def test_bars_follow_a_half_bar_and_pass_over_noise(size: int) -> None:
    rng = np.random.default_rng(0)
    downs = np.concatenate(
        [np.arange(0, 20 * size, size), np.arange(20 * size + 2, 40 * size, size)]
    )
    odds = rng.normal(scale=0.5, size=40 * size) - 4
    odds[downs] += 9
    odds[downs[5]] -= 8  # one weak downbeat
    assert twin.bars(odds) == (downs.tolist(), size)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: np.array([1.0, 0.5])}, "onset"),
        ({0: np.array([0.0, np.nan])}, "onset"),
        ({0: np.array([0.0, 1e6])}, "onset"),
        ({1: np.zeros(3)}, "offset"),
        ({2: np.array([60, 200], np.uint8)}, "pitch"),
        ({3: np.zeros(1, np.uint8)}, "velocity"),
    ],
)
def test_bad_notes_are_named(change: dict[int, NDArray[np.generic]], message: str) -> None:
    good: list[NDArray[np.generic]] = [
        np.array([0.0, 1.0]), np.array([0.5, 1.5]),
        np.array([60, 62], np.uint8), np.array([80, 80], np.uint8),
    ]  # fmt: skip
    bad = [change.get(k, value) for k, value in enumerate(good)]
    for call in (
        lambda: rust.find_beats(*bad),  # type: ignore[arg-type]
        lambda: rust.event_features(*bad, 0.5),  # type: ignore[arg-type]
        lambda: rust.beat_features(*bad, np.arange(4.0)),  # type: ignore[arg-type]
        lambda: rust.beat_readings(*bad, np.arange(2.0), np.arange(2.0)),  # type: ignore[arg-type]
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_bad_beats_are_named() -> None:
    notes = (np.zeros(1), np.ones(1), np.zeros(1, np.uint8), np.ones(1, np.uint8))
    for beats in (np.zeros(1), np.zeros(3), np.array([0.0, np.inf])):
        with pytest.raises(ValueError, match="beats"):
            rust.find_downbeats(*notes, beats)
    with pytest.raises(ValueError, match="beat"):
        rust.event_features(*notes, 0.0)
    with pytest.raises(ValueError, match="count"):
        rust.beat_readings(*notes, np.arange(2.0), np.zeros(2))
    with pytest.raises(TypeError, match="onset"):
        rust.find_pulses(np.zeros(3, np.float32))  # type: ignore[arg-type]


def played(seed: int, seconds: float, drift: float) -> TimedNotes:
    """Chords and a line on a pulse that wanders, and stray notes."""
    rng = np.random.default_rng(seed)
    step = 0.21 * np.exp(np.cumsum(rng.normal(scale=drift, size=int(seconds / 0.21))))
    pulse = 1.0 + np.cumsum(step)
    own = pulse[rng.random(len(pulse)) < 0.7] + rng.normal(scale=0.006, size=1)
    onset = np.concatenate([own, pulse[::4], pulse[::4], rng.uniform(1, seconds, 9)])
    pitch = np.concatenate(
        [rng.integers(60, 80, len(own)), 36 + np.arange(len(pulse[::4])) % 5,
         rng.integers(48, 60, len(pulse[::4])), rng.integers(40, 90, 9)]
    )  # fmt: skip
    order = np.lexsort((pitch, onset))
    onset, pitch = onset[order], pitch[order].astype(np.uint8)
    velocity = rng.integers(40, 100, len(onset)).astype(np.uint8)
    return TimedNotes(onset, onset + rng.uniform(0.1, 0.6, len(onset)), pitch, velocity)


@pytest.mark.parametrize(("seed", "drift"), [(0, 0.0), (1, 0.01), (2, 0.02)])
def test_pulse(seed: int, drift: float) -> None:
    notes = played(seed, 40.0, drift)
    ((times, count, start, end, fit),) = rust.find_pulses(notes.onset)
    time = twin.event_times(notes)
    weight = np.sqrt([float(len(event)) for event in twin.group(notes.onset)])
    assert (start, end) == (time[0], time[-1])
    grid, expected, drifting_fit = pulse_twin.drifting(time, weight)
    if len(times) == 2:
        rate = float(np.diff(count)[0] / np.diff(times)[0])
        assert fit == pytest.approx(pulse_twin.steady_fit(time, weight, rate), abs=1e-3)
        nudged = [pulse_twin.steady_fit(time, weight, rate * (1 + k * 1e-3)) for k in (-1, 1)]
        assert fit > max(nudged)
        assert fit >= drifting_fit - 0.04 - 1e-3
        return
    np.testing.assert_allclose(times, grid)
    np.testing.assert_allclose(count, expected, atol=0.02)
    assert fit == pytest.approx(drifting_fit, abs=2e-3)


@pytest.mark.parametrize(("seed", "drift"), [(3, 0.02), (4, 0.03)])
def test_tracked_stretch(seed: int, drift: float) -> None:
    """Pulse, reading and tracker in a row: the grid's sixteenths are the twin's."""
    notes = played(seed, 30.0, drift)
    ((times, count, *_),) = rust.find_pulses(notes.onset)
    assert len(times) > 2
    weights, time = twin.Weights(), twin.event_times(notes)
    weight = np.sqrt([float(len(event)) for event in twin.group(notes.onset)])
    table = twin.event_table(notes)

    def choose(times: Array, count: Array) -> tuple[int, int, float]:
        rate = float((count[-1] - count[0]) / (times[-1] - times[0]))
        position = np.interp(time, times, count)
        options = []
        for p in twin.PULSES:
            if not 40 <= 60 * rate / p <= 180:
                continue
            for phase in range(p):
                features = twin.reading_features(position, table, rate, p, phase)
                cost = 12 * max(0.85 - float(features[-2]), 0.0)
                options.append((weights.reading(features) - cost, p, phase))
        _, p, phase = max(options)
        return p, phase, p / rate

    beat = choose(times, count)[2]
    strength = np.searchsorted(weights.edges, twin.event_features(notes, beat) @ weights.strength)
    beats = pulse_twin.track(time, strength, beat, weights.places)
    grid, pulses, fit = pulse_twin.of_beats(time, weight, beats)
    p, phase, _ = choose(grid, pulses)
    assert found_grid(notes, grid, 4 * (pulses - phase) / p) <= fit + 1e-3


@pytest.mark.parametrize("late", [0.0, 0.15])
def test_steady_stretch(late: float) -> None:
    """One constant rate, its offbeats on time or late."""
    rng = np.random.default_rng(6)
    place = np.sort(rng.choice(400, 300, replace=False))
    onset = 1.0 + 0.15 * (place + late * (place % 2)) + rng.normal(scale=0.003, size=300)
    pitch = np.where(place % 4 == 0, 40 + place // 16 % 5, 70 + place % 7).astype(np.uint8)
    notes = TimedNotes(onset, onset + 0.2, pitch, np.full(300, 80, np.uint8))
    ((times, count, *_),) = rust.find_pulses(notes.onset)
    assert len(times) == 2
    (((_, _, found, *_),)) = rust.find_beats(*arrays(notes))
    # How many pulses a beat has the length of what was found tells; which are beats, its place.
    beat = float(np.median(found[4:] - found[:-4]))
    p = round(beat * float(np.diff(count)[0] / np.diff(times)[0]))
    at = np.interp(found[::4], times, count)
    found_grid(notes, times, 4 * (count - round(float(np.median(at % p)))) / p)


def found_grid(notes: TimedNotes, grid: Array, sixteenths: Array) -> float:
    """Hold the grid that is found against the twin's; its concentration."""
    time = twin.event_times(notes)
    weight = np.sqrt([float(len(event)) for event in twin.group(notes.onset)])
    count, swing = pulse_twin.close(time, weight, grid, sixteenths)
    ((first, stop, found, kept, concentration, size),) = rust.find_beats(*arrays(notes))
    assert (first, stop) == (0, len(notes))
    at = pulse_twin.straight(np.interp(found, grid, count), swing)
    inside = (found > grid[0]) & (found < grid[-1])
    assert np.abs(at - np.round(at))[inside].max() < 0.02
    np.testing.assert_allclose(np.diff(at[inside]), 1.0, atol=0.02)
    assert len(kept) % (4 * size) == 0
    return concentration
