"""Alignment of covers with recordings, and the chroma it rests on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sounds import chords_sound, write_wav
from vmusprod.dataset.align import LIKELY, Alignment, align
from vmusprod.dataset.audio.chroma import sound_chroma, unit_rows
from vmusprod.dataset.audio.decode import survey

TRIADS = np.array([[0, 4, 7], [9, 0, 4], [5, 9, 0], [7, 11, 2], [2, 5, 9], [4, 7, 11]])


def piece(seed: int, frames: int = 240) -> NDArray[np.float64]:
    """Chords of two seconds (four frames) under a tune: (frames, 12)."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((frames, 12))
    for start in range(0, frames, 4):
        triad = TRIADS[rng.integers(len(TRIADS))]
        rows[start : start + 4, triad] += 1.0
        for frame in range(start, min(start + 4, frames)):
            rows[frame, rng.choice(triad)] += 1.0
            rows[frame, rng.choice([0, 2, 4, 5, 7, 9, 11])] += 0.7
    return rows


def played(
    rows: NDArray[np.float64], rate: float, before: int, up: int, seed: int
) -> NDArray[np.float32]:
    """The piece `rate` times as long, `before` frames later, `up` semitones higher, with noise."""
    rng = np.random.default_rng(seed)
    index = np.minimum((np.arange(round(len(rows) * rate)) / rate).astype(int), len(rows) - 1)
    whole = np.concatenate([piece(seed + 99, before), rows[index], piece(seed + 98, 12)])
    return unit_rows(np.roll(whole, up, axis=1) + rng.uniform(0, 0.4, (len(whole), 12)))


@pytest.mark.parametrize(
    ("rate", "before", "up"), [(1.0, 0, 0), (1.05, 30, 0), (0.93, 12, 3), (1.0, 8, -4)]
)
def test_a_cover_is_found_in_its_recording(rate: float, before: int, up: int) -> None:
    rows = piece(1)
    found = align(unit_rows(rows), played(rows, rate, before, up, 5), 2.0)
    assert found.confidence > LIKELY
    assert found.offset == pytest.approx(before / 2, abs=1.0)
    assert found.drift == pytest.approx(rate - 1, abs=0.01)
    assert found.transposition == up
    assert found.wander < 1.0
    assert found.similarity > 0.5


def test_another_piece_has_no_confidence() -> None:
    # Random chords of one key are more alike than two songs are: two minutes of them hardly tell.
    for seed in range(3):
        cover = unit_rows(piece(seed))
        other = align(cover, played(piece(seed + 50), 1.0, 10, 0, seed), 2.0)
        same = align(cover, played(piece(seed), 1.0, 10, 0, seed), 2.0)
        assert other.confidence < 0.2
        assert same.confidence > 0.6


def test_a_cover_may_begin_before_its_recording() -> None:
    rows = piece(2)
    cover = unit_rows(np.concatenate([piece(77, 20), rows]))
    found = align(cover, played(rows, 1.0, 0, 0, 3), 2.0)
    assert found.offset == pytest.approx(-10.0, abs=1.0)
    assert found.confidence > LIKELY


def test_long_and_empty_chroma_are_taken() -> None:
    silent = align(np.zeros((50, 12), np.float32), unit_rows(piece(1)), 2.0)
    assert isinstance(silent, Alignment)
    assert silent.confidence < LIKELY
    with pytest.raises(ValueError, match="too short"):
        align(np.zeros((3, 12), np.float32), unit_rows(piece(1)), 2.0)
    long = unit_rows(piece(3, 1600))
    found = align(long, long, 2.0)  # averaged to 800 frames
    assert found.offset == pytest.approx(0, abs=1.0)
    assert found.confidence > LIKELY


def test_chroma_names_the_notes_that_sound(tmp_path: Path) -> None:
    chords = [[60, 64, 67], [57, 60, 64], [65, 69, 72], [62, 67, 71]]
    path = write_wav(tmp_path / "a.wav", chords_sound(chords, 2.0), 22050)
    chroma = sound_chroma(survey(path))
    assert len(chroma) in (16, 17)  # a resampler may add a sample
    assert chroma.shape[1] == 12
    np.testing.assert_allclose(np.linalg.norm(chroma[:16], axis=1), 1.0, atol=1e-5)
    for number, chord in enumerate(chords):
        middle = chroma[4 * number + 1]
        assert set(np.argsort(middle)[-3:].tolist()) == {pitch % 12 for pitch in chord}


def test_chroma_do_not_depend_on_the_windows(tmp_path: Path) -> None:
    """A minute and a half is cut in two."""
    chords = [[60 + k % 12, 64 + k % 5] for k in range(45)]
    path = write_wav(tmp_path / "a.wav", chords_sound(chords, 2.0), 22050)
    chroma = sound_chroma(survey(path))
    assert len(chroma) == pytest.approx(180, abs=1)
    strongest = chroma.argsort(axis=1)[:, -2:]
    for number in (28, 29, 30, 31):
        want = {pitch % 12 for pitch in chords[number]}
        assert set(strongest[4 * number + 1].tolist()) == want
