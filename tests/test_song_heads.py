"""Heads of whole songs: by source, and chords that they make likelier."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_steering import video
from vmusprod.song_heads import NUMBERS, SongGuess, SongHeads
from vmusprod.steering import default_heads, steer
from vmusprod.video.summary import SUMMARY_SIZES, summarise


@pytest.mark.parametrize("duration", [0.04, 0.7, 3.0, 60.0])
def test_a_summary_of_any_length(duration: float) -> None:
    clip = video(duration, cuts=2, semantic=1)
    found = summarise(clip)
    assert {name: len(x) for name, x in found.items()} == SUMMARY_SIZES
    assert all(np.isfinite(x).all() for x in found.values())
    assert set(summarise(clip, ("motion", "semantic"))) == {"affect"}
    assert set(summarise(replace(clip, affect=None, semantic=None))) == {"motion"}


def test_a_missing_source_drops_its_own_part() -> None:
    heads = default_heads().song
    whole = summarise(video(semantic=4, affect=(0.5, 0.3), motion=30.0))
    parts = [heads.guess({name: x}).numbers - heads.average[: len(NUMBERS)]
             for name, x in whole.items()]  # fmt: skip
    together = heads.guess(whole).numbers - heads.average[: len(NUMBERS)]
    assert np.allclose(sum(parts), together)
    assert all(np.abs(p).max() > 1e-3 for p in parts)
    nothing = heads.guess({})
    assert np.allclose(nothing.numbers, nothing.usual)
    assert np.allclose(nothing.liveliness, 1)
    assert np.abs(nothing.leaning()).max() < 1e-6
    assert nothing.hold() == 0


def test_leaning_is_towards_what_is_guessed() -> None:
    usual = np.full(120, 1 / 120)
    shares = usual.copy()
    shares[70:80] *= 2  # chords of G
    shares[0] *= 3  # C major among the chords of C
    shares /= shares.sum()
    numbers = np.array([0.0, 0.0, 0.4, 0.4, 0.6])
    guess = SongGuess(numbers, np.array([0.0, 0.0, 0.4, 0.4, 0.5]), shares, usual)
    leaning = guess.leaning()
    assert leaning.shape == (12, 11)
    assert leaning[7, 0] == leaning[:, 0].max() > 0
    assert leaning[1, 0] < 0
    assert np.allclose(leaning[7, 1:], 0, atol=1e-5)
    assert leaning[0, 1] > 0 > leaning[0, 2]
    assert guess.hold() < 0  # more changes than usual
    calm = replace(guess, numbers=np.array([0.0, 0.0, 0.2, 0.8, 0.5]))
    assert calm.liveliness.tolist() == [0.5, 2.0]


@given(st.integers(0, 10**6), st.floats(0.1, 1e3))
def test_no_summary_goes_too_far(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    summary = {name: scale * rng.normal(size=size) for name, size in SUMMARY_SIZES.items()}
    guess = default_heads().song.guess(summary)
    assert np.abs(guess.leaning()).max() <= 3
    assert abs(guess.hold()) <= 3
    assert guess.shares.sum() == pytest.approx(1)
    assert (guess.liveliness >= 0.3).all()
    assert (guess.liveliness <= 3).all()


def test_the_video_leans() -> None:
    one, other = (steer(video(semantic=seed)) for seed in (1, 2))
    assert np.abs(one.leaning - other.leaning).max() > 0.1
    assert one.leaning.dtype == np.float32


def test_damaged_heads() -> None:
    held = default_heads().song.arrays()
    again = SongHeads.of(held)
    assert np.array_equal(again.maps["semantic"], held["song_semantic_map"])
    for name in held:
        if name != "song_roots":
            with pytest.raises((ValueError, IndexError)):
                SongHeads.of(held | {name: held[name][:-1]})
        with pytest.raises(KeyError):
            SongHeads.of({k: v for k, v in held.items() if k != name})
