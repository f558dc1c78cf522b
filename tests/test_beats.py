"""Tempo, beats and bars: songs made on a known grid, steady and drifting, and POP909's."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vmusprod.dataset.drift import drifted, drifting_clock
from vmusprod.dataset.grid_report import (
    at_random,
    fits,
    left_out_fit,
    own_fit,
    song_figures,
)
from vmusprod.dataset.pop909 import song_folders
from vmusprod.music.beats import fit_grid, fit_stretches, main_stretch
from vmusprod.music.grid import (
    Grid,
    concentration,
    grid_from_beats,
    grid_notes,
    join_grids,
    regular_grid,
)
from vmusprod.music.score import TimedNotes

Array = NDArray[np.float64]

# A bar each of C, A minor, F, G.
BASS = (36, 45, 41, 43)
CHORD = ((60, 64, 67), (57, 60, 64), (57, 60, 65), (55, 59, 62))


def song(bars: int = 40, beats: int = 4, seed: int = 0) -> NDArray[np.int64]:
    """A plain pop song, int (N, 4) in sixteenths: bass, chords on the beats, a melody."""
    rng = np.random.default_rng(seed)
    rows = []
    for bar in range(bars):
        start, size = 4 * beats * bar, 4 * beats
        rows.append((start, size, BASS[bar % 4], 80))
        rows.append((start + 8, size - 8, BASS[bar % 4] + 12, 60))
        for at in range(0, size, 4):
            rows += [(start + at, 3, pitch, 50 + 20 * (at == 0)) for pitch in CHORD[bar % 4]]
        for at in sorted(rng.choice(size, size=6, replace=False).tolist()):
            rows.append((start + at, 2, 72 + int(rng.choice((0, 2, 4, 7, 9))), 90))
    table = np.array(rows)
    return table[np.lexsort((table[:, 2], table[:, 0]))]


def played(table: NDArray[np.int64], clock: Callable[[Array], Array], jitter: float) -> TimedNotes:
    rng = np.random.default_rng(1)
    onset = clock(table[:, 0].astype(float)) + rng.normal(scale=jitter, size=len(table))
    offset = np.maximum(clock(table[:, :2].sum(axis=1).astype(float)) - 0.01, onset + 0.02)
    notes = TimedNotes(onset, offset, table[:, 2].astype(np.uint8), table[:, 3].astype(np.uint8))
    return notes.select(np.lexsort((notes.pitch, notes.onset)))


def count(stop: int, step: int = 1) -> Array:
    return np.arange(0, stop, step, dtype=np.float64)


def share_near(found: Array, truth: Array, within: float = 0.05) -> float:
    """How many of the true times have a found one near."""
    return float((np.abs(truth[:, None] - found).min(axis=1) < within).mean())


def test_steady_songs_come_back() -> None:
    """The sixteenths of every one; the beats, which networks choose, of nearly all."""
    rng = np.random.default_rng(0)
    right = 0
    for seed in range(20):
        tempo, start = rng.uniform(64, 125), rng.uniform(-3, 30)
        step = 15 / tempo
        grid = fit_grid(played(song(seed=seed), lambda k, a=start, b=step: a + b * k, 0.004))
        assert grid is not None
        assert grid.concentration > 0.95
        assert grid.phase <= start + 0.05
        # A beat may be read at half or twice the tempo; the sixteenths' grid is the same then.
        ratio = grid.step / step
        assert min(abs(ratio - r) for r in (0.5, 1.0, 2.0)) < 1e-3
        downs = start + 16 * step * count(40, 2)
        right += share_near(grid.downbeats if ratio < 1.5 else grid.beats, downs) == 1.0
    assert right >= 16


def test_bars_and_notes_of_a_steady_song_are_exact() -> None:
    table = song(seed=3)
    notes = played(table, lambda k: 2.0 + 0.16 * k, 0.01)
    grid = fit_grid(notes)
    assert grid is not None
    placed = grid_notes(notes, grid)
    np.testing.assert_allclose(grid.tempo, 93.75, rtol=1e-4)
    assert {tuple(row) for row in placed[:, [0, 2]].tolist()} == {
        tuple(row) for row in table[:, [0, 2]].tolist()
    }


def test_a_swung_song_keeps_its_tempo_and_its_lines_are_swung() -> None:
    table = song(seed=5)
    late = np.array([0.0, 0.2, 0.0, 0.2])

    def clock(k: Array) -> Array:
        swung: Array = 2.0 + 0.16 * (k + late[k.astype(int) % 4])
        return swung

    notes = played(table, clock, 0.003)
    grid = fit_grid(notes)
    assert grid is not None
    np.testing.assert_allclose(grid.tempo, 93.75, rtol=1e-3)
    position = grid.position(notes.onset)
    assert np.abs(position - np.round(position)).max() < 0.1
    steps = np.diff(grid.times[:17])
    assert steps.max() > 1.2 * steps.min()


def test_fit_is_told_from_chance() -> None:
    notes = played(song(seed=1), lambda k: 1.0 + 0.15 * k, 0.004)
    assert own_fit(notes)
    assert left_out_fit(notes, 0)
    moved = at_random(notes, 0)
    assert len(moved) == len(notes)
    assert (np.diff(moved.onset) >= 0).all()
    assert not own_fit(moved)
    onset = np.arange(100.0)
    assert fits(onset, np.zeros(100))
    assert fits(onset, np.where(onset < 90, 0.0, np.arange(100) / 10))
    assert not fits(onset, np.where(onset < 80, 0.0, np.arange(100) / 10))


@pytest.mark.parametrize("seed", range(3))
def test_a_drifting_song_is_followed(seed: int) -> None:
    table = song(bars=60, seed=seed)
    clock = drifting_clock(160.0, 0.04, 0.1, seed)
    steady = played(table, lambda k: 1.0 + 0.16 * k, 0.0)
    grid = fit_grid(drifted(steady, clock, seed))
    assert grid is not None
    assert grid.concentration > 0.8
    assert share_near(grid.beats, clock(1.0 + 0.64 * count(240)), 0.07) > 0.97
    assert share_near(grid.downbeats, clock(1.0 + 2.56 * count(60)), 0.07) > 0.9


def test_three_four_is_told_from_four_four() -> None:
    grid = fit_grid(played(song(beats=3), lambda k: 0.15 * k, 0.005))
    assert grid is not None
    assert grid.beats_a_bar == 3
    assert len(grid.kept) % 12 == 0


def test_noise_has_no_grid() -> None:
    rng = np.random.default_rng(0)
    onset = np.sort(rng.uniform(0, 200, 1200))
    pitch = rng.integers(30, 90, 1200).astype(np.uint8)
    notes = TimedNotes(onset, onset + 0.2, pitch, np.full(1200, 80, np.uint8))
    grid = fit_grid(notes)
    assert grid is None or grid.concentration < 0.5


def test_a_tutorials_second_slower_half_is_a_stretch_of_its_own() -> None:
    table = song(bars=30)
    first = played(table, lambda k: 5.0 + 0.15 * k, 0.004)
    second = played(table, lambda k: 95.0 + 0.25 * k, 0.004)
    stretches = fit_stretches(TimedNotes.merge([first, second]))
    assert len(stretches) == 2
    assert [len(part.notes) for part in stretches] == [len(first), len(second)]
    assert main_stretch(stretches) is stretches[0]
    assert stretches[0].notes.offset.max() < stretches[1].grid.times[0]
    whole = fit_grid(TimedNotes.merge([first, second]))
    assert whole is not None
    assert (np.diff(whole.times) > 0).all()
    assert share_near(whole.downbeats, 95.0 + 4.0 * count(30, 2)) == 1.0


@settings(max_examples=15)
@given(st.lists(st.tuples(st.floats(0, 60), st.integers(0, 127)), max_size=120), st.booleans())
def test_any_notes_have_a_grid_or_none(rows: list[tuple[float, int]], chords: bool) -> None:
    onset = np.sort(np.array([row[0] for row in rows]))
    onset = np.round(onset) if chords else onset
    pitch = np.array([row[1] for row in rows], np.uint8)
    notes = TimedNotes(onset, onset + 0.1, pitch, np.full(len(rows), 64, np.uint8))
    grid = fit_grid(notes)
    if grid is None:
        return
    assert (np.diff(grid.times) > 0).all()
    assert len(grid.kept) % (4 * grid.beats_a_bar) == 0
    assert 0 <= grid.concentration <= 1
    assert grid.times[0] <= onset[0] + grid.step
    placed = grid_notes(notes, grid)
    assert placed.dtype == np.int32
    assert (placed[:, 0] >= 0).all()


def test_concentration_by_hand() -> None:
    assert concentration(np.array([0.0, 1.0, 5.0])) == pytest.approx(1.0)
    assert concentration(np.array([0.0, 0.5])) == pytest.approx(0.0)
    assert concentration(np.array([0.25, 0.5])) == pytest.approx(np.sqrt(0.5))
    assert concentration(np.zeros(0)) == 0.0


def plain(onset: list[float], offset: list[float]) -> TimedNotes:
    count = len(onset)
    pitch = np.arange(60, 60 + count, dtype=np.uint8)
    return TimedNotes(np.array(onset), np.array(offset), pitch, np.full(count, 80, np.uint8))


def test_grid_of_known_beats_reaches_over_all_notes() -> None:
    beats = 10.0 + 0.5 * count(12)
    grid = grid_from_beats(beats, np.arange(12) % 4 == 1, 7.3, 18.0)
    np.testing.assert_allclose(np.diff(grid.times), 0.125)
    np.testing.assert_allclose(grid.downbeats % 2.0, 0.5)
    assert grid.phase <= 7.3
    assert grid.times[-1] >= 18.0
    assert grid.tempo == pytest.approx(120.0)


def test_bars_of_other_lengths_are_spliced_out() -> None:
    # Bars of 4, 2, 6, 4 beats: the second is left out, of the third the first four beats are kept.
    beats = 0.5 * count(16)
    down = np.zeros(16, bool)
    down[[0, 4, 6, 12]] = True
    grid = grid_from_beats(beats, down, 0.0, 8.0)
    np.testing.assert_allclose(grid.downbeats[:3], [0.0, 3.0, 6.0])
    notes = plain([0.0, 1.5, 2.0, 3.0, 4.5, 5.5, 6.0], [0.5, 3.25, 2.5, 3.5, 6.25, 5.8, 6.5])
    placed = grid_notes(notes, grid)
    assert placed[:, [0, 1, 2]].tolist() == [
        [0, 4, 60],
        [12, 6, 61],  # sounds over the gap: 4 sixteenths of bar 1 and 2 of the next kept bar
        [16, 4, 63],
        [28, 6, 64],
        [32, 4, 66],
    ]


@pytest.mark.parametrize(
    ("beats", "downs", "message"),
    [
        ([0.0], [True], "two or more"),
        ([0.0, 0.0, 1.0], [True, False, False], "increasing"),
        ([0.0, 1.0], [False, False], "no downbeat"),
        ([0.0, 1.0], [True], "two or more"),
    ],
)
def test_beats_that_make_no_grid(beats: list[float], downs: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid_from_beats(np.array(beats), np.array(downs), 0.0, 1.0)


def test_joined_grids_keep_whole_bars_only() -> None:
    first = regular_grid(0.1, 0.0, 4.9, 0.9)  # bars at 0, 1.6, 3.2; the last reaches to 4.8
    second = regular_grid(0.2, 4.0, 10.0, 0.7)
    joined = join_grids([first, second])
    assert (np.diff(joined.times) > 0).all()
    np.testing.assert_allclose(joined.downbeats, [0.0, 1.6, 4.0, 7.2])
    assert 0.7 < joined.concentration < 0.9
    other = Grid(second.times[:24], np.arange(24), 0.7, 3)
    np.testing.assert_allclose(join_grids([first, other]).downbeats, [0.0, 1.6])


@pytest.mark.shared
@pytest.mark.slow
def test_pop909_without_its_beats(shared: Path) -> None:
    folders = song_folders(shared / "data/POP909")[::40]
    steady = [song_figures(folder, 0, 0.0, 0.0) for folder in folders]
    assert np.mean([row["beats"] for row in steady]) > 0.85
    recorded = [row for row in steady if "recorded_downbeats" in row]
    marks = np.mean([row["marks_to_recorded"] for row in recorded])
    assert np.mean([row["recorded_downbeats"] for row in recorded]) > marks
    drifting = [song_figures(folder, k, 0.04, 0.15) for k, folder in enumerate(folders)]
    assert np.mean([row["beats"] for row in drifting]) > 0.8
