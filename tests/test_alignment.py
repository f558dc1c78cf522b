"""Bar lines and scene cuts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.alignment import aligned_steps, downbeat_distance
from vmusprod.compose import Settings, plan
from vmusprod.video.features import VideoFeatures, motion_steps


def slow_distance(whole: int, duration: float, cuts: list[float]) -> float:
    step = duration / whole
    lines = [duration - bar * 16 * step for bar in range(whole // 16 + 2)]
    return float(np.mean([min(abs(cut - line) for line in lines) for cut in cuts]))


def video(duration: float, cuts: list[float], motion: float = 10.0) -> VideoFeatures:
    steps = np.full(motion_steps(duration), motion, np.float32)
    return VideoFeatures(duration, steps, np.array(cuts, np.float32))


@given(st.integers(1, 400), st.floats(1, 200), st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_distance_as_its_slow_twin(whole: int, duration: float, places: list[float]) -> None:
    cuts = [place * duration for place in places]
    found = downbeat_distance(whole, duration, np.array(cuts))
    assert found == pytest.approx(slow_distance(whole, duration, cuts), abs=1e-6)


@given(
    st.floats(2, 600), st.floats(60, 180), st.lists(st.floats(0.01, 0.99), min_size=1, max_size=9)
)
def test_within_the_tolerance(duration: float, tempo: float, places: list[float]) -> None:
    steps = duration * tempo / 15
    found = aligned_steps(steps, duration, np.array(places) * duration, 0.04)
    if found is None:
        assert steps * 0.08 < 2
    else:
        assert found >= 1
        assert abs(found / steps - 1) <= 0.04 + 1e-9


def test_a_cut_that_can_be_met_is_met() -> None:
    # 100 bpm is wanted; at 102.4 bpm (256 16ths in 37.5 s) a bar line lies on the cut.
    duration, whole = 37.5, 256
    cut = duration - 9 * 16 * duration / whole
    found = aligned_steps(duration * 100 / 15, duration, np.array([cut]), 0.04)
    assert found is not None
    assert downbeat_distance(found, duration, np.array([cut])) < 0.1
    assert aligned_steps(250, duration, np.zeros(0), 0.04) is None
    assert np.isnan(downbeat_distance(250, duration, np.zeros(0)))


def test_many_cuts_are_no_burden() -> None:
    cuts = np.sort(np.random.default_rng(0).uniform(0, 43_200, 80_000))
    assert aligned_steps(43_200 * 8.0, 43_200.0, cuts, 0.04) is not None


def test_plans_follow_cuts_only_where_they_may() -> None:
    clip = video(60.0, [13.7, 31.2])
    plain, bent = plan(clip, Settings(align=False)), plan(clip, Settings())
    before, after = (
        downbeat_distance(p.bars * 16 - p.pickup, 60.0, clip.cuts) for p in (plain, bent)
    )
    assert after < before
    assert abs(bent.tempo / plain.tempo - 1) < 0.09
    assert bent.total_ticks * bent.mspq / 220e6 == pytest.approx(60.0, abs=bent.mspq / 220e6)
    assert bent.tick(bent.bars * 16) == bent.total_ticks
    assert plan(clip, Settings(tempo=97.0)).tempo == 97.0
    still = plan(clip, Settings(without=("motion",)))
    assert still.tempo == pytest.approx(110.0, rel=0.04)
    assert still.pickup == 0
