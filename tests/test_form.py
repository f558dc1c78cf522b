"""Form: phrases that come back, in the plan and in what is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from test_engine import ENGINES, MODELS, make_task
from vmusprod.compose import Composer, Settings
from vmusprod.models.config import STAGES
from vmusprod.models.grammar import Frame
from vmusprod.models.sampling import write_task
from vmusprod.music import tokens as tk
from vmusprod.music.form import (
    PHRASE,
    group_means,
    hypermeasures,
    song_form,
    spelled_form,
    where_chords_agree,
)
from vmusprod.training import judge
from vmusprod.video.features import VideoFeatures


@given(st.integers(1, 200), st.integers(0, 1), st.integers(0, 10**6))
def test_plan(bars: int, first: int, seed: int) -> None:
    lags = song_form(bars, first, np.random.default_rng(seed))
    assert np.array_equal(lags, song_form(bars, first, np.random.default_rng(seed)))
    assert lags.shape == (bars,)
    assert not lags[: first + PHRASE // 2].any()
    assert not lags[bars - 2 :].any()  # the piece closes as it likes
    again = np.flatnonzero(lags)
    assert (again - lags[again] >= first).all()
    for start in range(first, bars, PHRASE):
        here = lags[start : start + PHRASE]
        kinds = set(here[here > 0].tolist())
        assert len(kinds) <= 1
        assert kinds <= {PHRASE // 2} or all(lag % PHRASE == 0 for lag in kinds)
        assert not here[PHRASE - 2 :].any()


def test_spelled() -> None:
    lags = spelled_form("ABAb", 35, 1)
    assert lags.tolist() == [0] * 17 + [16] * 6 + [0] * 10 + [0, 0]
    assert spelled_form("AB", 34, 0)[16:].tolist() == [16] * 6 + [0] * 2 + [16] * 6 + [0] * 4
    assert spelled_form("aab", 24, 0, phrase=1).tolist() == [0] * 16 + [16] * 6 + [0] * 2
    assert spelled_form("A", 12, 0).tolist() == [0] * 8 + [8] * 2 + [0] * 2
    assert not spelled_form("none", 64, 0).any()


def test_hypermeasures() -> None:
    assert hypermeasures(10, 1).tolist() == [0, 0, 0, 0, 0, 1, 1, 1, 1, 2]
    assert hypermeasures(5, 0).tolist() == [0, 0, 0, 0, 1]
    rows = np.array([[1.0, 2.0], [3.0, 2.0], [5.0, 8.0]])
    assert group_means(rows, np.array([0, 0, 1])).tolist() == [[2, 2], [2, 2], [5, 8]]
    assert group_means(np.array([1, 2, 6]), np.array([1, 0, 1])).tolist() == [3.5, 2, 3.5]


def test_phrases_come_back_as_often_as_in_songs() -> None:
    rng = np.random.default_rng(0)
    plans = np.stack([song_form(64, 0, rng) for _ in range(400)])
    share = (plans.reshape(400, 8, PHRASE)[:, 1:, 0] > 0).mean()
    assert 0.4 < share < 0.6
    assert len({plan.tobytes() for plan in plans}) > 200


def test_bars_over_other_chords_are_new() -> None:
    chords = np.array([0, 0, 50, 50, 70, 70, 70, 70, 0, 0, 50, 70, 70, 0, 0, 70], np.uint8)
    form = np.array([0, 0, 2, 2])
    assert where_chords_agree(form, chords).tolist() == [0, 0, 2, 0]


@pytest.mark.parametrize("stage", STAGES)
def test_engines_agree_and_what_is_pulled_comes_back(stage: str) -> None:
    bars = 8
    form = np.array([0, 0, 0, 3, 3, 3, 0, 0])
    same = 0
    for seed in range(3):
        task = replace(make_task(stage, Frame(bars, 0), seed), form=form, pull=2.0)
        with torch.inference_mode():
            wanted = write_task(MODELS[stage], task)
        same += np.array_equal(ENGINES[stage].write([task])[0], wanted)
        pulled = ENGINES[stage].write([replace(task, pull=1e4)])[0]
        if stage == "chord":
            chords = tk.decode_chords(pulled, bars).reshape(bars, 4)
            assert np.array_equal(chords[3:6], chords[:3])
    assert same >= 2


@pytest.mark.parametrize(
    ("form", "pull", "message"),
    [([0, 2], 1.0, "no more than the bars before"), ([0, 1], np.nan, "finite")],
)
def test_impossible_forms(form: list[int], pull: float, message: str) -> None:
    task = replace(make_task("chord", Frame(2, 0), 0), form=np.array(form), pull=pull)
    with pytest.raises(ValueError, match=message):
        ENGINES["chord"].write([task])


def test_pieces_return_to_their_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped weights, with the form and without."""
    motion = np.full(450, 8, np.float32)
    video = VideoFeatures(duration=90.0, motion=motion, cuts=np.zeros(0, np.float32))
    composer = Composer()

    def recurrence() -> float:
        pieces = composer.compose_many([(video, Settings(seed=seed)) for seed in range(6)])
        bars = [judge.bar_contents(piece.melody) for piece in pieces]
        return float(np.mean([judge.lag_profile(judge.self_similarity(b))[8] for b in bars]))

    with_form = recurrence()
    monkeypatch.setattr("vmusprod.compose.song_form", lambda bars, first, rng: np.zeros(bars, int))
    assert with_form > recurrence() + 0.05
