"""The melody's network in torch, as it is fitted; the crate's `melody` module runs the same one.

Each note is a handful of small whole numbers (`_vmus_rs.melody_features`), each of which picks a
row of one table; the sum of the rows is what the note looks like. Notes that are surely no melody
by a linear score of the same kind go no further. Two rounds follow: gates sum up the notes of each
half bar, convolutions carry the sums through the song, and every note is judged beside what its
half bar then knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn
from torch.nn import functional

SIZES = (
    88, 20, 16, 25, 26, 26, 26, 26, 20, 64, 34, 50, 34, 50, 34, 50, 34, 50, 25, 169, 169, 17, 64,
    16, 16, 16, 16, 17, 32, 16, 16, 25, 25, 16,
)  # fmt: skip
FIRST_ROWS = np.cumsum((0, *SIZES[:-1])).astype(np.int32)
NO_LOUDNESS = (0, 12, 12, 8)
NOTE, PLACE, JUDGE, GATES, VALUE = 32, 32, 24, 4, 8
DILATIONS = ((1, 2, 4, 8, 16), (1, 2, 8))
CELL, LONGEST_GAP = 8, 4
MOST = 8.0
CONTEXT = 6
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass
class Piece:
    """The notes of one piece that may be melody.

    rows: int32 (N, 34), places in the table; cell: int64 (N,), half bars from the first on; group:
    int64 (N,), onsets counted; pitch: int64 (N,); roles: int64 (N,); solo: 1 a solo, -1 an
    arrangement, 0 not said; wanted: how many melody notes the whole piece has.
    """

    rows: NDArray[np.int32]
    cell: Ints
    group: Ints
    pitch: Ints
    roles: Ints
    solo: float
    wanted: int
    notes: NDArray[np.int32]

    def without_loudness(self) -> Piece:
        """As if all notes were equally loud."""
        rows = self.rows.copy()
        rows[:, -len(NO_LOUDNESS) :] = FIRST_ROWS[-len(NO_LOUDNESS) :] + NO_LOUDNESS
        return replace(self, rows=rows)

    def part(self, start: int, end: int) -> Piece:
        """Some of the notes."""
        own = slice(start, end)
        return replace(
            self,
            rows=self.rows[own],
            cell=self.cell[own] - self.cell[start],
            group=self.group[own] - self.group[start],
            pitch=self.pitch[own],
            roles=self.roles[own],
            notes=self.notes[own],
        )

    def transposed(self, semitones: int) -> Piece:
        """Of the features only the pitch itself moves."""
        rows = self.rows.copy()
        rows[:, 0] = np.clip(rows[:, 0] + semitones, 0, SIZES[0] - 1)
        return replace(self, rows=rows)


def place(features: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Places in the table of each note's features: int32 (N, 34)."""
    return features.astype(np.int32) + FIRST_ROWS


def cells(onsets: NDArray[np.int32]) -> Ints:
    """Half bars of sorted onsets, from the first on, rests cut to two bars: int64 (N,)."""
    half_bars = onsets.astype(np.int64) // CELL
    gaps = np.minimum(np.diff(half_bars, prepend=half_bars[:1]), LONGEST_GAP)
    return np.asarray(np.cumsum(gaps))


def multi_hot(rows: NDArray[np.int32]) -> Any:
    """Rows of ones at the given places: sparse (N, table)."""
    count, width = rows.shape
    starts = np.arange(0, count * width + 1, width, dtype=np.int32)
    ones = np.ones(count * width, np.float32)
    return sparse.csr_matrix((ones, rows.ravel(), starts), shape=(count, sum(SIZES)))


class _Bag(torch.autograd.Function):
    """The sum of a table's rows for each note; scipy is many times faster at it than torch."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, rows: Any) -> torch.Tensor:
        ctx.rows = rows
        return torch.from_numpy(rows @ table.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.from_numpy(ctx.rows.T @ np.ascontiguousarray(gradients[0].numpy())), None


@dataclass
class Batch:
    """Pieces side by side: (B, T) half bars, those beyond a piece's end masked out."""

    rows: Any
    cell: torch.Tensor
    group: torch.Tensor
    pitch: torch.Tensor
    roles: torch.Tensor
    solo: torch.Tensor
    mask: torch.Tensor

    @staticmethod
    def of(pieces: list[Piece]) -> Batch:
        """All notes one after another."""
        lengths = [int(piece.cell[-1]) + 1 for piece in pieces]
        longest = max(lengths)
        groups = np.cumsum([0, *(int(piece.group[-1]) + 3 for piece in pieces[:-1])])
        mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.float32)
        join = np.concatenate
        return Batch(
            multi_hot(join([piece.rows for piece in pieces])),
            torch.from_numpy(join([p.cell + i * longest for i, p in enumerate(pieces)])),
            torch.from_numpy(join([p.group + 1 + g for p, g in zip(pieces, groups, strict=True)])),
            torch.from_numpy(join([piece.pitch for piece in pieces])),
            torch.from_numpy(join([piece.roles for piece in pieces])),
            torch.from_numpy(join([np.full(len(p.roles), p.solo, np.float32) for p in pieces])),
            torch.from_numpy(mask)[:, None],
        )


class Round(nn.Module):
    """One look at the whole song."""

    def __init__(self, dilations: tuple[int, ...], is_first: bool) -> None:
        super().__init__()
        self.value = nn.Linear(NOTE, GATES * VALUE)
        self.gate = nn.Linear(NOTE, GATES)
        self.enter = nn.Linear(GATES * VALUE + GATES + (0 if is_first else PLACE), PLACE)
        self.song = nn.Linear(GATES * VALUE, PLACE, bias=False)
        self.dilated = nn.ModuleList(
            nn.Conv1d(PLACE, PLACE, 3, padding=d, dilation=d) for d in dilations
        )
        self.mean = nn.Linear(PLACE, PLACE)
        self.add = nn.Linear(PLACE, JUDGE, bias=False)
        self.scale = nn.Linear(PLACE, JUDGE)
        self.own = nn.Linear(NOTE, JUDGE)
        self.scaled = nn.Linear(NOTE, JUDGE, bias=False)
        self.line = None if is_first else nn.Linear(CONTEXT, JUDGE, bias=False)
        self.out = nn.Linear(JUDGE, 3)
        self.back = nn.Linear(JUDGE, NOTE) if is_first else None
        self.drop = nn.Dropout(0.0)

    def places(self, h: torch.Tensor, before: torch.Tensor | None, batch: Batch) -> torch.Tensor:
        """What each half bar knows: (B * T, PLACE), from the notes (N, NOTE)."""
        songs, _, length = batch.mask.shape
        gate = torch.sigmoid(self.gate(h))
        value = self.value(h).view(-1, GATES, VALUE) * gate[:, :, None]
        parts = torch.cat([value.flatten(1), gate], 1)
        sums = parts.new_zeros(songs * length, parts.shape[1]).index_add(0, batch.cell, parts)
        values, gates = sums[:, :-GATES].view(-1, GATES, VALUE), sums[:, -GATES:]
        heard = torch.cat([(values / (gates[:, :, None] + 0.3)).flatten(1), gates], 1)
        if before is not None:
            heard = torch.cat([heard, before], 1)
        totals = sums.view(songs, length, -1).sum(1)
        over_all = totals[:, :-GATES].view(-1, GATES, VALUE) / (totals[:, -GATES:, None] + 1)
        x = self.enter(heard).view(songs, length, -1) + self.song(over_all.flatten(1))[:, None]
        x = x.transpose(1, 2) * batch.mask
        for i, layer in enumerate(self.dilated):
            if i == len(self.dilated) // 2:
                mean = x.sum(2) / batch.mask.sum(2)
                x = x + self.mean(mean)[:, :, None] * batch.mask
            x = x + torch.relu(layer(x)) * batch.mask
        result: torch.Tensor = x.transpose(1, 2).reshape(songs * length, -1)
        return result

    def forward(
        self, h: torch.Tensor, before: torch.Tensor | None, line: torch.Tensor | None, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the three roles; the notes for the next round; what the half bars know."""
        x = self.drop(self.places(h, before, batch))
        z = self.own(h) + self.add(x)[batch.cell] + self.scaled(h) * self.scale(x)[batch.cell]
        if self.line is not None and line is not None:
            z = z + self.line(line)
        z = torch.relu(z)
        return self.out(z), torch.relu(h + self.back(z)) if self.back is not None else h, x


class Network(nn.Module):
    """Logits of the three roles after the table alone, and after each round."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(sum(SIZES), NOTE) * 0.15)
        self.bias = nn.Parameter(torch.zeros(NOTE))
        self.solo = nn.Parameter(torch.zeros(NOTE))
        self.guess = nn.Linear(NOTE, 3)  # helps to learn, and is left out afterwards
        self.dropped = 0.0
        self.rounds = nn.ModuleList([Round(DILATIONS[0], True), Round(DILATIONS[1], False)])

    def drop(self, share: float) -> None:
        """How much is dropped in training: of each note's features, of what half bars know."""
        self.dropped = share
        for part in self.modules():
            if isinstance(part, nn.Dropout):
                part.p = share

    def forward(self, batch: Batch) -> list[torch.Tensor]:
        """Three times (N, 3)."""
        if self.training and self.dropped:
            batch.rows.data = np.asarray(
                functional.dropout(torch.from_numpy(batch.rows.data), self.dropped)
            )
        seen: torch.Tensor = _Bag.apply(self.table, batch.rows)
        h = torch.relu(seen + self.bias + batch.solo[:, None] * self.solo)
        guess = self.guess(h)
        first, h, x = self.rounds[0](h, None, None, batch)
        last, _, _ = self.rounds[1](h, x, line_context(odds(first), batch), batch)
        return [guess, first, last]


def odds(logits: torch.Tensor) -> torch.Tensor:
    """Log odds of melody: (N,)."""
    return logits[:, 1] - torch.logsumexp(logits[:, [0, 2]], 1)


def line_context(odds: torch.Tensor, batch: Batch) -> torch.Tensor:
    """How each note stands among those that start with it, before it and after it: (N, 6).

    Its odds, those of the best other note of its onset, of the best of the onsets before and after,
    and the way to these two.
    """
    count = int(batch.group[-1]) + 2
    low = odds.new_full((count,), -1e9)
    best = low.scatter_reduce(0, batch.group, odds, "amax")
    wins = odds >= best[batch.group]
    rest = odds.masked_fill(wins, -1e9)
    other = low.scatter_reduce(0, batch.group, rest, "amax")[batch.group]
    other = torch.where(wins, other, best[batch.group]).clamp(-MOST, MOST)
    best = best.clamp(-MOST, MOST)
    pitch = batch.pitch * wins
    tops = pitch.new_zeros(count).scatter_reduce(0, batch.group, pitch, "amax")
    columns = [odds.clamp(-MOST, MOST) / 4, other / 4]
    ways = []
    for step in (-1, 1):
        near = batch.group + step
        columns.append(best[near] / 4)
        leap = (tops[near] - batch.pitch).clamp(-24, 24) / 8
        ways.append(leap * torch.sigmoid(best[near]))
    return torch.stack([*columns, *ways], 1)
