from __future__ import annotations

import numpy as np
import pytest

from vmusprod.music import tokens as tk
from vmusprod.music.tune import oddity

SCALE = np.array([60, 62, 64, 65, 67, 69, 71, 72])


def line(pitches: list[int], step: int = 4) -> tk.Notes:
    onsets = np.arange(len(pitches)) * step
    rows = np.stack([onsets, np.full(len(pitches), step), pitches, np.full(len(pitches), 80)], 1)
    return rows.astype(np.int32)


def walk(bars: int, seed: int = 0) -> list[int]:
    return np.random.default_rng(seed).choice(SCALE, bars * 4).tolist()


@pytest.mark.parametrize("bars", [1, 3, 16, 40, 61])
def test_a_walk_is_nothing_odd(bars: int) -> None:
    assert oddity(line(walk(bars)), bars) == 0


def test_stuck_notes_are_odd_wherever_they_are() -> None:
    good = walk(48)
    stuck = good[:64] + [67] * 64 + good[128:]
    assert oddity(line(stuck), 48) > 0.5
    assert oddity(line([67, 69] * 32), 16) == pytest.approx(0.3)  # two pitches, none repeated


def test_a_late_entry_is_odd() -> None:
    tune = line(walk(16))
    assert oddity(tune[tune[:, 0] >= 3 * 16], 16) == 0
    assert oddity(tune[tune[:, 0] >= 11 * 16], 16) == pytest.approx(11 / 16 + 0.05)
    assert oddity(tune[:0], 16) == pytest.approx(1.05)


def test_a_long_note_fills_its_bars() -> None:
    held = np.array([[0, 64, 60, 80], [64, 64, 62, 80], [128, 64, 60, 80], [192, 64, 64, 80]])
    assert oddity(held.astype(np.int32), 16) == 0


def test_a_low_tune_is_odd_and_a_shrill_one() -> None:
    high = [pitch + 24 for pitch in walk(16)]
    assert oddity(line(high), 16) == pytest.approx(0.05 * (np.median(high) - 81))
    low = [pitch - 10 for pitch in walk(16)]
    assert oddity(line(low), 16) == pytest.approx(0.05 * (64 - np.median(low)))


def test_a_tune_that_fades_away_is_odd() -> None:
    tune = line(walk(16))
    bar = tune[:, 0] // 16
    once = (bar < 6) | (bar > 9) | (tune[:, 0] % 16 == 0)
    assert oddity(tune[once], 16) == 0  # a quarter of each bar
    short = tune[once]
    short[(short[:, 0] // 16 >= 6) & (short[:, 0] // 16 <= 9), 1] = 1
    assert oddity(short, 16) == pytest.approx(0.25 - 1 / 16)
