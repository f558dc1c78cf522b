"""VMCP's figures: against sampling and scipy, at chance, and whether the interval covers."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import hypergeom

from vmusprod.errors import VmusError
from vmusprod.vmcp.metric import Retrieval, retrieval

FIGURES = ("p5", "p10", "p20", "ar")


def _world(count: int, seed: int) -> NDArray[np.float64]:
    """Scores of pairs that know of each other, some videos being liked by all music."""
    rng = np.random.default_rng(seed)
    video = rng.normal(size=(count, 5))
    music = video + 1.3 * rng.normal(size=(count, 5))
    return np.asarray(music @ video.T + 0.7 * rng.normal(size=(1, count)))


def _by_scipy(scores: NDArray[np.float64], candidates: int) -> NDArray[np.float64]:
    better = (scores > np.diag(scores)[:, None]).sum(axis=1)
    others = len(scores) - 1
    within = [hypergeom.cdf(k - 1, others, better, candidates - 1).mean() for k in (5, 10, 20)]
    return np.array([*within, 1 + better.mean() * (candidates - 1) / others])


def _values(found: Retrieval) -> NDArray[np.float64]:
    row = found.to_dict()
    return np.array([row[name] for name in FIGURES], np.float64)


def test_figures_are_the_expectation_over_draws() -> None:
    scores = _world(90, 1)
    found = _values(retrieval(scores, 40))
    assert np.allclose(found, _by_scipy(scores, 40), atol=1e-9)
    rng = np.random.default_rng(0)
    ranks = []
    for _ in range(200):
        for own in range(90):
            others = rng.choice(np.delete(np.arange(90), own), 39, replace=False)
            ranks.append(1 + np.count_nonzero(scores[own, others] > scores[own, own]))
    sampled = [np.mean(np.array(ranks) <= k) for k in (5, 10, 20)]
    assert np.allclose(found, [*sampled, np.mean(ranks)], rtol=0.03)


def test_all_pairs_as_candidates_is_plain_ranking() -> None:
    scores = _world(30, 2)
    rank = 1 + (scores > np.diag(scores)[:, None]).sum(axis=1)
    wanted = [np.mean(rank <= k) for k in (5, 10, 20)] + [rank.mean()]
    assert np.allclose(_values(retrieval(scores, 30)), wanted)


def test_a_judge_without_opinion_is_at_chance() -> None:
    found = retrieval(np.zeros((75, 75)), 70).to_dict()
    assert found["p10"] == pytest.approx(10 / 70)
    assert found["ar"] == pytest.approx(35.5)
    assert found["ar_interval"] == pytest.approx([35.5, 35.5])


def test_random_scores_hold_chance_in_their_interval() -> None:
    inside = 0
    for seed in range(20):
        row = retrieval(np.random.default_rng(seed).normal(size=(60, 60)), 50, seed).to_dict()
        low, high = row["p10_interval"]  # type: ignore[misc]
        inside += bool(low <= 10 / 50 <= high)
    assert inside >= 16


def test_a_perfect_judge_is_always_right() -> None:
    assert _values(retrieval(np.eye(75), 70)).tolist() == pytest.approx([1, 1, 1, 1])


def test_the_interval_covers() -> None:
    truth = np.mean([_by_scipy(_world(40, seed), 30) for seed in range(1000, 1400)], axis=0)
    covered = np.zeros(4)
    worlds = 60
    for seed in range(worlds):
        row = retrieval(_world(40, seed), 30, seed).to_dict()
        for place, name in enumerate(FIGURES):
            low, high = row[f"{name}_interval"]  # type: ignore[misc]
            covered[place] += low <= truth[place] <= high
    # 95 % nominal; by chance 60 worlds fall below 85 % once in 500 times.
    assert np.all(covered / worlds >= 0.85), covered / worlds


def test_several_pieces_a_video_share_it_as_a_candidate() -> None:
    scores = _world(40, 3)
    twice = np.repeat(scores, 2, axis=0)
    own = np.repeat(np.arange(40), 2)
    found = retrieval(twice, 30, own=own)
    assert found.n == 80
    assert np.allclose(_values(found), _values(retrieval(scores, 30)))
    # Twice the same piece is no more evidence: the interval stays as wide.
    assert found.average_rank.low == pytest.approx(retrieval(scores, 30).average_rank.low, abs=0.3)


def test_seeds_reproduce() -> None:
    scores = _world(40, 4)
    first, again, other = (retrieval(scores, 30, seed).to_dict() for seed in (7, 7, 8))
    assert first == again
    assert first["ar_interval"] != other["ar_interval"]
    assert first["ar"] == other["ar"]


def test_keys_are_those_that_scripts_rely_on() -> None:
    assert list(retrieval(_world(40, 5), 30).to_dict())[:6] == ["n", "m", "p5", "p10", "p20", "ar"]


@pytest.mark.parametrize(
    ("scores", "candidates", "told"),
    [
        (np.zeros((69, 69)), 70, "69 videos, but 70 candidates.*--candidates 69"),
        (np.zeros((9, 9)), 1, "at least 2"),
        (np.full((9, 9), np.nan), 5, "not finite"),
    ],
)
def test_what_cannot_be_ranked(scores: NDArray[np.float64], candidates: int, told: str) -> None:
    with pytest.raises(VmusError, match=told):
        retrieval(scores, candidates)
