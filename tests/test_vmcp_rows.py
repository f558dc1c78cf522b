"""What VMCP looks at: rows, their sums, and what must not change them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vmusprod.compose import Settings, plan
from vmusprod.errors import VmusError
from vmusprod.music.grid import regular_grid
from vmusprod.music.score import TimedNotes, read_midi
from vmusprod.music.tokens import CHROMA
from vmusprod.piece import Piece
from vmusprod.video.features import VideoFeatures, motion_steps, seconds
from vmusprod.vmcp.midi import midi_seconds, notes_seconds
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.rows import (
    AFFECT_COLUMNS,
    MUSIC_SHARES,
    MUSIC_SIZE,
    PIXEL_SHARES,
    PIXEL_SIZE,
    SEGMENTS,
    music_rows,
    pixel_rows,
    segments,
    view,
)


def make_music(count: int, seed: int = 0) -> MusicSeconds:
    rng = np.random.default_rng(seed)
    chords = np.repeat(rng.choice([0, 50, 71, 91, 120], -(-count // 3)), 3)[:count]
    return MusicSeconds(
        chords.astype(np.uint8),
        rng.integers(0, 20, count).astype(np.float32),
        rng.uniform(0, 0.4, count).astype(np.float32),
    )


def make_video(duration: float, affect: bool = True, seed: int = 0) -> VideoFeatures:
    rng = np.random.default_rng(seed)
    cuts = np.unique(rng.integers(1, max(2, int(duration)), 5)).astype(np.float32)
    return VideoFeatures(
        duration,
        rng.gamma(2, 4, motion_steps(duration)).astype(np.float32),
        cuts[cuts < duration],
        affect=rng.uniform(-1, 1, (seconds(duration), 2)).astype(np.float32) if affect else None,
    )


@given(st.integers(1, 70), st.integers(1, 12))
def test_segments_are_means_of_equal_parts(count: int, parts: int) -> None:
    rows = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
    # The slow twin: each second cut into as many slices as there are parts.
    fine = np.repeat(rows, parts, axis=0).reshape(parts, count, 3).mean(axis=1)
    assert np.allclose(segments(rows, parts), fine, atol=1e-4)


@given(st.integers(1, 40), st.integers(0, 5))
def test_rows_are_finite_and_shares_are_shares(count: int, seed: int) -> None:
    for rows, shares, size in (
        (music_rows(make_music(count, seed)), MUSIC_SHARES, MUSIC_SIZE),
        (pixel_rows(make_video(count + 0.4, seed=seed)), PIXEL_SHARES, PIXEL_SIZE),
    ):
        assert rows.shape == (count, size)
        assert np.isfinite(rows).all()
        assert rows[:, shares].min() >= 0
        assert rows[:, shares].max() <= 1
        seen = view(rows, shares)
        assert seen.segments.shape == (SEGMENTS, size)
        assert np.isfinite(seen.summary).all()


def test_bumps_sum_to_one() -> None:
    rows = music_rows(make_music(30))
    assert np.allclose(rows[:, 1:9].sum(axis=1), 1, atol=1e-5)
    assert np.allclose(rows[:, 20:33].sum(axis=1), 1)


@pytest.mark.parametrize("shift", range(1, 12))
def test_transposed_chords_have_the_same_rows(shift: int) -> None:
    music = make_music(60)
    ids = music.chords.astype(int)
    moved = np.where(ids < 120, (ids // 10 + shift) % 12 * 10 + ids % 10, 120).astype(np.uint8)
    other = MusicSeconds(moved, music.density, music.loudness)
    assert np.allclose(music_rows(other), music_rows(music))


def test_what_a_video_lacks_is_unknown_not_zero() -> None:
    rows = pixel_rows(make_video(20, affect=False))
    assert np.isnan(rows[:, -AFFECT_COLUMNS:]).all()
    assert np.isfinite(rows[:, :-AFFECT_COLUMNS]).all()
    summary = view(rows, PIXEL_SHARES).summary
    assert np.isnan(summary[:, -AFFECT_COLUMNS:]).all()
    assert np.isfinite(summary[:, :-AFFECT_COLUMNS]).all()


def test_a_faster_cut_is_a_higher_rate() -> None:
    calm = VideoFeatures(60.0, np.ones(300, np.float32), np.array([30], np.float32))
    fast = VideoFeatures(60.0, np.ones(300, np.float32), np.arange(2, 60, 2, dtype=np.float32))
    assert pixel_rows(fast)[:, 8].mean() > 2 * pixel_rows(calm)[:, 8].mean()


def _notes(onset: NDArray[np.float64], velocity: int = 80, shift: int = 0) -> TimedNotes:
    """Triads I - vi - IV - V, two seconds each, a note at each onset."""
    roots = np.array([60, 57, 65, 67])[(onset // 2).astype(int) % 4]
    third = np.where(roots == 57, 3, 4)
    pitch = np.stack([roots, roots + third, roots + 7], 1) + shift
    every = np.repeat(onset, 3)
    return TimedNotes(
        every, every + 0.45, pitch.ravel().astype(np.uint8), np.full(len(every), velocity, np.uint8)
    )


def test_midi_is_heard_as_its_chords() -> None:
    found = notes_seconds(_notes(np.arange(0, 32, 0.5)), regular_grid(0.125, 0.0, 32.0))
    assert found.midi
    wanted = np.array([0, 91, 50, 70])[np.arange(31) // 2 % 4]
    assert np.mean(found.chords == wanted) > 0.85


def test_midi_transposes_almost_without_a_trace() -> None:
    grid = regular_grid(0.125, 0.0, 32.0)
    plain, moved = (notes_seconds(_notes(np.arange(0, 32, 0.5), shift=s), grid) for s in (0, 5))
    assert np.array_equal(plain.density, moved.density)
    # Higher strings decay faster: the second is a shade softer.
    assert np.allclose(plain.loudness, moved.loudness, rtol=0.35)
    assert np.allclose(music_rows(plain)[:, 20:], music_rows(moved)[:, 20:])


def test_louder_and_denser_midi_is_louder_and_denser() -> None:
    soft, loud = (notes_seconds(_notes(np.arange(0, 32, 0.5), velocity=v)) for v in (40, 110))
    assert loud.loudness.mean() > 2 * soft.loudness.mean()
    sparse = notes_seconds(_notes(np.arange(0, 32, 2.0)))
    assert loud.density.mean() > 1.5 * sparse.density.mean()


def test_a_faster_tempo_is_denser() -> None:
    onset = np.arange(0, 32, 0.5)
    slow = notes_seconds(_notes(onset))
    notes = _notes(onset)
    fast = notes_seconds(TimedNotes(notes.onset / 2, notes.offset / 2, notes.pitch, notes.velocity))
    assert len(fast) == len(slow) // 2
    assert fast.density.mean() > 1.5 * slow.density.mean()


@pytest.mark.parametrize("count", [1, 2, 15])
def test_a_few_notes_are_music_too(count: int) -> None:
    onset = np.arange(count) * 0.1
    found = notes_seconds(
        TimedNotes(onset, onset + 0.05, np.full(count, 60, np.uint8), np.full(count, 1, np.uint8))
    )
    assert np.isfinite(music_rows(found)).all()


def test_no_notes_are_no_music() -> None:
    with pytest.raises(VmusError, match="no notes"):
        notes_seconds(TimedNotes.merge([]))


def test_chords_of_a_midi_file_stand_on_its_own_beats(tmp_path: Path) -> None:
    # An offbeat bass, as notes alone would have it, is a beat: half a second later than the file's.
    layout = plan(make_video(24.0), Settings(tempo=60.0))
    chords = np.repeat(np.array([0, 51, 71, 91] * 3, np.uint8), 2)
    rows = [
        [4 * beat + 2 * half, 2, 36 + 24 * (1 - half) + int(pitch), 40 + 40 * half]
        for beat, chord in enumerate(chords)
        for half in (0, 1)
        for pitch in np.flatnonzero(CHROMA[chord // 10 + 1, chord % 10 + 1])
    ]
    notes = np.array(rows, np.int32)
    path = tmp_path / "p.mid"
    path.write_bytes(Piece(layout, (0, 0), chords, notes[:0], notes).midi())
    known = notes_seconds(read_midi(path, pedal=True), regular_grid(0.25, 0.0, 24.0))
    assert midi_seconds(path).chords.tolist() == known.chords.tolist() == chords.tolist()
