"""The yardstick is a proper distribution, and a better one than guessing."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiny_models import tiny_pack
from vmusprod.music import tokens as tk
from vmusprod.training.ngram import KneserNey, Symbol, ngram_loss, stage_sequences

SIZES = (2, 3, 2)


@pytest.fixture
def _few_symbols(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three attributes of few values, so that all symbols can be summed over."""
    monkeypatch.setattr(tk, "SIZES", SIZES)


def symbols() -> list[Symbol]:
    return list(itertools.product(*map(range, SIZES)))


sequences = st.lists(
    st.lists(st.sampled_from(symbols()[:5]), min_size=1, max_size=12), min_size=0, max_size=4
)


@settings(max_examples=50)
@given(sequences, st.integers(1, 4), st.lists(st.sampled_from(symbols()), min_size=3, max_size=3))
def test_probabilities_add_up_to_one(
    training: list[list[Symbol]], order: int, context: list[Symbol]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tk, "SIZES", SIZES)
        model = KneserNey(training, order)
        contexts = [tuple(context), tuple(symbols()[:3]), ((0, 0, 0),) * 3]
        for seen in contexts:
            p = [model.probability(seen, s) for s in symbols()]
            assert min(p) > 0  # also of symbols that were never seen
            assert sum(p) == pytest.approx(1)


@pytest.mark.usefixtures("_few_symbols")
def test_it_learns_what_follows_what() -> None:
    a, b, c = symbols()[:3]
    model = KneserNey([[a, b, c] * 20], 3)
    assert model.probability((a, b), c) > 0.9
    assert model.probability((b, c), a) > 0.9
    assert model.probability((b, c), b) < 0.1
    loss, count = model.nats([[a, b, c] * 5])
    assert count == 15
    assert loss / count < 0.4


@pytest.mark.usefixtures("_few_symbols")
def test_it_beats_a_uniform_model_and_longer_contexts_help() -> None:
    rng = np.random.default_rng(0)
    follows = rng.dirichlet(np.full(12, 0.2), (12, 12))

    def song() -> list[Symbol]:
        out = [0, 0]
        for _ in range(200):
            out.append(int(rng.choice(12, p=follows[out[-2], out[-1]])))
        return [symbols()[i] for i in out]

    training, held_out = [song() for _ in range(20)], [song() for _ in range(5)]
    losses = []
    for order in (1, 2, 3):
        total, count = KneserNey(training, order).nats(held_out)
        losses.append(total / count)
    assert losses == sorted(losses, reverse=True)
    assert losses[0] < math.log(12)
    assert losses[2] < losses[0] - 0.3
    assert losses[2] > 0


@pytest.mark.usefixtures("_few_symbols")
def test_a_symbol_never_seen_costs_but_is_possible() -> None:
    a, b, *_, other = symbols()
    model = KneserNey([[a, b] * 10], 3)
    total, count = model.nats([[other]])
    assert count == 1
    assert 1 < total < 20


@pytest.mark.parametrize("stage", ["chord", "melody", "accompaniment"])
def test_over_a_pack(stage: str, tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "songs.pack")
    held_out = stage_sequences(pack.songs("val"), stage)
    assert len(held_out) == len(pack.songs("val")) == 2
    for sequence in held_out:
        assert sequence[-1] == (0,) * 7
        assert sequence[0] == (tk.RHYTHM, 1, 0, 0, 0, 0, 0)
        assert all(len(s) == 7 for s in sequence)
    uniform = sum(math.log(n) for n in tk.SIZES)
    loss = ngram_loss(pack.songs("train"), pack.songs("val"), stage)
    assert 0 < loss < uniform
    folded = ngram_loss([], pack.songs("all"), stage)
    assert 0 < folded < uniform
    assert folded != loss
