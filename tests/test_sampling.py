"""The dice, and streams that models with random weights write with them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams import assert_accompaniment, assert_chords, assert_melody
from tiny_models import tiny_stage
from vmusprod.errors import VmusError
from vmusprod.models import sampling
from vmusprod.models.config import STAGES
from vmusprod.models.grammar import Frame
from vmusprod.models.heads import AttributeHead
from vmusprod.models.sampling import Source, Writer
from vmusprod.models.stage import Stage
from vmusprod.models.task import Dice, Sheet, Task
from vmusprod.music import tokens as tk

Logits = NDArray[np.float64]

logits = st.lists(st.floats(-20, 20), min_size=1, max_size=12).map(lambda x: np.array(x))
MODELS = {(stage, seed): tiny_stage(stage, seed) for stage in STAGES for seed in range(2)}


def draws(dice: Dice, x: Logits, allowed: NDArray[np.bool_], count: int) -> NDArray[np.int64]:
    rng = np.random.default_rng(0)
    return np.array([dice.draw(x, allowed, rng) for _ in range(count)])


def nucleus(x: Logits, allowed: NDArray[np.bool_], temperature: float, top_p: float) -> set[int]:
    """Take the likeliest first until they reach top_p."""
    p = np.where(allowed, np.exp((x - x[allowed].max()) / temperature), 0)
    p /= p.sum()
    kept: set[int] = set()
    total = 0.0
    for i in sorted(np.flatnonzero(allowed), key=lambda i: (-p[i], i)):
        if total >= top_p:
            break
        kept.add(int(i))
        total += p[i]
    return kept


class TestDice:
    @settings(max_examples=60)
    @given(logits, st.floats(0.1, 3), st.floats(0.05, 0.999), st.data())
    def test_support(
        self, x: Logits, temperature: float, top_p: float, data: st.DataObject
    ) -> None:
        allowed = np.array(data.draw(st.lists(st.booleans(), min_size=len(x), max_size=len(x))))
        allowed[data.draw(st.integers(0, len(x) - 1))] = True
        # a draw at the very edge of the nucleus may fall either way by rounding
        inner = nucleus(x, allowed, temperature, top_p - 1e-9)
        outer = nucleus(x, allowed, temperature, top_p + 1e-9)
        seen = set(draws(Dice(temperature, top_p), x, allowed, 200).tolist())
        assert seen <= outer
        assert max(inner, key=lambda i: x[i]) in outer
        if len(outer) == 1:
            assert seen == outer

    def test_frequencies(self) -> None:
        x = np.log([0.5, 0.25, 0.15, 0.1])
        everything = np.ones(4, bool)
        counts = np.bincount(draws(Dice(), x, everything, 8000), minlength=4) / 8000
        np.testing.assert_allclose(counts, [0.5, 0.25, 0.15, 0.1], atol=0.02)
        counts = np.bincount(draws(Dice(1.0, 0.7), x, everything, 8000), minlength=4) / 8000
        np.testing.assert_allclose(counts, [2 / 3, 1 / 3, 0, 0], atol=0.02)
        squared = np.array([0.5, 0.25, 0.15, 0.1]) ** 2
        counts = np.bincount(draws(Dice(0.5), x, everything, 8000), minlength=4) / 8000
        np.testing.assert_allclose(counts, squared / squared.sum(), atol=0.02)

    @given(logits, st.integers(0, 11))
    def test_zero_temperature_is_the_likeliest(self, x: Logits, forbidden: int) -> None:
        allowed = np.arange(len(x)) != forbidden
        if allowed.any():
            best = draws(Dice(0.0), x, allowed, 3)
            assert set(best) == {int(np.flatnonzero(allowed)[np.argmax(x[allowed])])}

    @pytest.mark.parametrize("temperature", [1e-300, 1e-9, 1e300])
    @pytest.mark.parametrize("top_p", [0.0, 1e-12, 1.0])
    def test_extremes(self, temperature: float, top_p: float) -> None:
        x = np.array([-1e30, 1e30, 3.0, -745.0])
        allowed = np.array([True, False, True, True])
        seen = set(draws(Dice(temperature, top_p), x, allowed, 50).tolist())
        assert seen == {2} if temperature < 1 else seen <= {0, 2, 3}

    def test_the_last_rung_is_never_one_that_cannot_be(self) -> None:
        class Almost(np.random.Generator):
            def random(self) -> float:  # type: ignore[override]
                return float(np.nextafter(1.0, 0.0))

        x = np.array([0.1, 0.2, 5.0, 7.0])
        allowed = np.array([True, True, False, False])
        assert Dice().draw(x, allowed, Almost(np.random.PCG64())) in (0, 1)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, bad: float) -> None:
        rng = np.random.default_rng(0)
        with pytest.raises(VmusError, match="not finite"):
            Dice().draw(np.array([0.0, bad]), np.array([True, True]), rng)
        assert Dice().draw(np.array([0.0, bad]), np.array([True, False]), rng) == 0

    def test_nothing_allowed(self) -> None:
        with pytest.raises(ValueError, match="nothing is allowed"):
            Dice().draw(np.zeros(3), np.zeros(3, bool), np.random.default_rng(0))


def sheet(frame: Frame) -> Sheet:
    free = np.zeros(frame.bars, np.int64)
    return Sheet(frame.bars, 15, 1 + frame.mode, 1, free, free)


def all_dice(temperature: float = 1.0, top_p: float = 0.98) -> dict[str, Dice]:
    return dict.fromkeys(tk.ATTRIBUTES, Dice(temperature, top_p))


@torch.inference_mode()
def write(
    model: Stage, frame: Frame, seed: int, dice: dict[str, Dice],
    chords: NDArray[np.uint8] | None = None, melody: tk.Notes | None = None,
) -> tk.Tokens:  # fmt: skip
    source = None
    if chords is not None:
        given_tokens = tk.encode(frame.bars, chords=chords, notes=melody)
        source = Source(model, given_tokens, chords, sheet(frame))
    task = Task(frame, sheet(frame), dice, (seed,), melody=melody)
    return Writer(model, task, source).write()


frames = st.builds(
    Frame, st.integers(1, 4), st.integers(0, 1), st.integers(0, 15), st.integers(4, 26)
)


@settings(max_examples=8)
@given(frames, st.integers(0, 1), st.integers(0, 10**6), st.sampled_from([0.0, 0.8, 1.0, 3.0]))
def test_random_weights_write_whole_pieces(
    frame: Frame, weights: int, seed: int, temperature: float
) -> None:
    dice = all_dice(temperature)
    chord_tokens = write(MODELS["chord", weights], frame, seed, dice)
    assert_chords(chord_tokens, frame)
    chords = tk.decode_chords(chord_tokens, frame.bars)
    melody_tokens = write(MODELS["melody", weights], frame, seed, dice, chords)
    assert_melody(melody_tokens, frame)
    melody = tk.normalise(tk.decode_notes(melody_tokens))
    rest = write(MODELS["accompaniment", weights], frame, seed, dice, chords, melody)
    assert_accompaniment(rest, frame, melody)


@pytest.mark.parametrize("stage", STAGES)
def test_the_seed_decides(stage: str) -> None:
    frame = Frame(3, 0)
    chords = None if stage == "chord" else np.zeros(12, np.uint8)
    model = MODELS[stage, 0]
    first, again, other = (write(model, frame, s, all_dice(), chords) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    surest, too = (write(model, frame, s, all_dice(0.0), chords) for s in (1, 2))
    assert np.array_equal(surest, too)


def test_a_bar_cannot_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that always writes the next note it can, at every place it can."""
    model = tiny_stage("accompaniment", 0)
    with torch.no_grad():
        model.heads.kind.bias[tk.NOTE] += 1e4
        for a in (tk.BARBEAT, tk.PITCH):
            head = model.heads.attributes[tk.ATTRIBUTES[a]]
            assert isinstance(head, AttributeHead)
            head.logits.bias.sub_(1e3 * torch.arange(tk.SIZES[a]))
            if a == tk.BARBEAT:
                head.logits.bias[1] = -1e8
    frame = Frame(3, 0, silence=99)
    most = 50
    assert most < sampling.MAX_BAR_TOKENS < 16 * 89
    monkeypatch.setattr(sampling, "MAX_BAR_TOKENS", most)
    tokens = write(model, frame, 0, all_dice(), np.zeros(12, np.uint8))
    bar, _ = tk.places(tokens)
    held = np.bincount(bar)
    assert (held[:2] >= most).all()
    assert held.max() <= most + 2
    assert_accompaniment(tokens, frame, np.zeros((0, 4), np.int32))


def test_progress_reaches_the_end() -> None:
    told: list[float] = []
    frame = Frame(4, 1)
    writer = Writer(MODELS["chord", 0], Task(frame, sheet(frame), all_dice()), None)
    with torch.inference_mode():
        writer.write(told.append)
    assert told == sorted(told)
    assert told[0] == 0
    assert 0.7 <= told[-1] <= 1


def test_weights_that_give_nothing_finite() -> None:
    model = tiny_stage("chord")
    with torch.no_grad():
        model.heads.kind.weight.fill_(3e38)
    with pytest.raises(VmusError, match="unusable"):
        write(model, Frame(2, 0), 0, all_dice())
