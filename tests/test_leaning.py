"""Leaning: the chords that a video asks for are likelier, in both engines alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streams import assert_chords
from test_engine import ENGINES, MODELS, make_task
from vmusprod.models.grammar import Frame
from vmusprod.models.sampling import write_task
from vmusprod.models.task import Task
from vmusprod.music import tokens as tk

BARS = 6


def task(seed: int, scale: float, hold: float) -> Task:
    leaning = scale * np.random.default_rng(seed).normal(size=(12, 11)).astype(np.float32)
    return replace(make_task("chord", Frame(BARS, 0), seed), leaning=leaning, hold=hold)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 2.0]), st.sampled_from([-3.0, 0.0, 1.5]))
def test_engines_agree(seed: int, scale: float, hold: float) -> None:
    one = task(seed, scale, hold)
    with torch.inference_mode():
        wanted = write_task(MODELS["chord"], one)
    found = ENGINES["chord"].write([one])[0]
    # A draw may fall otherwise where the numbers differ in their last bits: not in so few.
    assert np.array_equal(found, wanted)
    assert_chords(found, one.frame)


def test_however_it_is_shared_out() -> None:
    tasks = [task(seed, 1.0, 0.5) for seed in range(5)]
    alone = [ENGINES["chord"].write([t])[0].tobytes() for t in tasks]
    for threads, together in ((1, 5), (3, 2)):
        made = ENGINES["chord"].write(tasks, None, threads, together)
        assert [t.tobytes() for t in made] == alone


def test_none_changes_nothing() -> None:
    plain = make_task("chord", Frame(BARS, 0), 3)
    flat = replace(plain, leaning=np.zeros((12, 11), np.float32))
    wanted = ENGINES["chord"].write([plain])[0]
    assert np.array_equal(ENGINES["chord"].write([flat])[0], wanted)


def chords_of(one: Task) -> np.ndarray:
    return tk.decode_chords(ENGINES["chord"].write([one])[0], BARS)


def test_what_is_asked_for_is_heard() -> None:
    leaning = np.zeros((12, 11), np.float32)
    leaning[8, 0] = leaning[8, 4] = 1e4  # Ab major seventh
    one = replace(make_task("chord", Frame(BARS, 0), 1), leaning=leaning)
    # The cadence and the last chord are the grammar's.
    assert set(chords_of(one)[: 4 * (BARS - 2)].tolist()) == {83}
    # Another root's quality is its own.
    leaning[8, 0] = -1e4
    assert 8 not in chords_of(replace(one, leaning=leaning)) // 10


def test_holding_and_changing() -> None:
    changes = {}
    for hold in (1e4, 0.0, -1e4):
        tasks = [replace(make_task("chord", Frame(BARS, 0), seed), hold=hold) for seed in range(5)]
        roots = [chords_of(t)[: 4 * (BARS - 2)].astype(int) // 10 for t in tasks]
        changes[hold] = sum(int((np.diff(r) != 0).sum()) for r in roots)
    assert changes[1e4] == 0 < changes[0.0] < changes[-1e4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaning": np.zeros((12, 10), np.float32)}, "leaning"),
        ({"leaning": np.zeros((3, 11), np.float32)}, "leaning"),
        ({"leaning": np.full((12, 11), np.nan, np.float32)}, "leaning"),
        ({"hold": np.inf}, "hold"),
    ],
    ids=str,
)
def test_impossible_leanings(change: dict[str, object], message: str) -> None:
    one = replace(make_task("chord", Frame(2, 0), 0), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        ENGINES["chord"].write([one])
