"""The yardstick: an interpolated n-gram over the very tokens that a stage is trained on.

Interpolated Kneser-Ney with one discount an order (Chen & Goodman 1999). A compound token is one
symbol; below the unigrams lies the product of the attributes' own frequencies, so that a
combination that was never seen still has its probability.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from vmusprod.dataset.pack import PackedSong
from vmusprod.models.config import SYSTEMS
from vmusprod.music import tokens as tk
from vmusprod.training.data import stage_streams

Symbol = tuple[int, ...]
FOLDS = 5


class KneserNey:
    """An interpolated n-gram model of symbol sequences."""

    def __init__(self, sequences: Iterable[list[Symbol]], order: int = 5) -> None:
        self.order = order
        start = (0,) * len(tk.SIZES)
        counts: list[dict[tuple[Symbol, ...], Counter[Symbol]]] = [
            defaultdict(Counter) for _ in range(order)
        ]
        for sequence in sequences:
            padded = [start] * (order - 1) + sequence
            for i in range(order - 1, len(padded)):
                counts[order - 1][tuple(padded[i - order + 1 : i])][padded[i]] += 1
        # lower orders count the contexts that a symbol continues, not how often it occurs
        for n in range(order - 1, 0, -1):
            for context, following in counts[n].items():
                lower = counts[n - 1][context[1:]]
                for symbol in following:
                    lower[symbol] += 1
        self.counts = counts
        self.totals = [{c: sum(f.values()) for c, f in level.items()} for level in counts]
        self.discounts = [_discount(level) for level in counts]
        self.base = _Attributes(self.counts[0][()])

    def probability(self, context: tuple[Symbol, ...], symbol: Symbol) -> float:
        """P(symbol | the last order - 1 symbols)."""
        p = self.base.probability(symbol)
        for n in range(self.order):
            here = context[len(context) - n :]
            following = self.counts[n].get(here)
            if not following:
                break
            total, discount = self.totals[n][here], self.discounts[n]
            seen = max(following.get(symbol, 0) - discount, 0.0)
            p = (seen + discount * len(following) * p) / total
        return p

    def nats(self, sequences: Iterable[list[Symbol]]) -> tuple[float, int]:
        """Total surprise in nats and number of tokens."""
        start = (0,) * len(tk.SIZES)
        total, count = 0.0, 0
        for sequence in sequences:
            padded = [start] * (self.order - 1) + sequence
            for i in range(self.order - 1, len(padded)):
                p = self.probability(tuple(padded[i - self.order + 1 : i]), padded[i])
                total -= math.log(p)
                count += 1
        return total, count


def _discount(level: dict[tuple[Symbol, ...], Counter[Symbol]]) -> float:
    """n1 / (n1 + 2 n2)."""
    once = sum(1 for f in level.values() for c in f.values() if c == 1)
    twice = sum(1 for f in level.values() for c in f.values() if c == 2)
    return once / (once + 2 * twice) if once else 0.5


class _Attributes:
    """Independent attributes, add-one smoothed."""

    def __init__(self, symbols: Counter[Symbol]) -> None:
        self.tables = [np.ones(size) for size in tk.SIZES]
        for symbol, count in symbols.items():
            for table, value in zip(self.tables, symbol, strict=True):
                table[value] += count
        self.tables = [t / t.sum() for t in self.tables]

    def probability(self, symbol: Symbol) -> float:
        return math.prod(float(t[v]) for t, v in zip(self.tables, symbol, strict=True))


def stage_sequences(
    songs: Sequence[PackedSong], stage: str, system: str = SYSTEMS[0]
) -> list[list[Symbol]]:
    """Return the stage's streams as symbols, each with its end token."""
    end = (0,) * len(tk.SIZES)
    return [[*map(tuple, stage_streams(stage, song, system)[0].tolist()), end] for song in songs]


def ngram_loss(
    train: Sequence[PackedSong],
    held_out: Sequence[PackedSong],
    stage: str,
    system: str = SYSTEMS[0],
    order: int = 5,
) -> float:
    """Nats a token of the n-gram over `held_out`, trained on `train`.

    Without songs to train on, the held-out ones are cut into five and each part is scored by the
    n-gram of the other four.
    """
    if train:
        folds = [(train, held_out)]
    else:
        parts = [held_out[i::FOLDS] for i in range(FOLDS)]
        folds = [([s for p in parts if p is not part for s in p], part) for part in parts]
    total, count = 0.0, 0
    for known, unknown in folds:
        model = KneserNey(stage_sequences(known, stage, system), order)
        nats, tokens = model.nats(stage_sequences(unknown, stage, system))
        total, count = total + nats, count + tokens
    return total / max(count, 1)
