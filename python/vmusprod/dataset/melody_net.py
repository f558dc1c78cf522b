"""The melody's network in torch, as it is fitted; the crate's `melody` module runs the same one.

Each note is a handful of small whole numbers (`_vmus_rs.melody_features`), each of which picks a
row of one table; the sum of the rows is what the note looks like. Notes that are surely no melody
by a linear score of the same kind go no further. Three rounds follow: gates sum up the notes of
each half bar, convolutions carry the sums through the song, and every note is judged beside what
its half bar then knows, what its neighbours say and, from the second round on, what the round
before made of the song (`melody_context`).
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

from vmusprod.dataset import melody_context
from vmusprod.dataset.melody_context import CONTEXT

SIZES = (
    88, 20, 16, 25, 26, 26, 26, 26, 20, 64, 34, 50, 34, 50, 34, 50, 34, 50, 25, 169, 169, 17, 64,
    16, 16, 16, 16, 17, 32, 16, 16, 25, 25, 16,
)  # fmt: skip
FIRST_ROWS = np.cumsum((0, *SIZES[:-1])).astype(np.int32)
NO_LOUDNESS = (0, 12, 12, 8)
NOTE, PLACE, JUDGE, GATES, VALUE, WORD = 32, 32, 32, 4, 8, 12
HOPS = 3
DILATIONS = ((1, 2, 4, 8, 16), (1, 2, 8), (1, 4))
CELL, LONGEST_GAP = 8, 4
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass
class Piece:
    """The notes of one piece that may be melody.

    rows: int32 (N, 34), places in the table; cell: int64 (N,), half bars from the first on; group:
    int64 (N,), onsets counted; pitch: int64 (N,); roles: int64 (N,); solo: 1 a solo, -1 an
    arrangement, 0 not said; is_solo: what it is; wanted: how many melody notes the whole piece has;
    near: int64 (N, 12), places of its neighbours (`melody_context.neighbours`), or -1.
    """

    rows: NDArray[np.int32]
    cell: Ints
    group: Ints
    pitch: Ints
    roles: Ints
    solo: float
    is_solo: bool
    wanted: int
    notes: NDArray[np.int32]
    near: Ints

    def without_loudness(self) -> Piece:
        """As if all notes were equally loud."""
        rows = self.rows.copy()
        rows[:, -len(NO_LOUDNESS) :] = FIRST_ROWS[-len(NO_LOUDNESS) :] + NO_LOUDNESS
        notes = self.notes.copy()
        notes[:, 3] = 80
        return replace(self, rows=rows, notes=notes)

    def part(self, start: int, end: int) -> Piece:
        """Some of the notes."""
        own = slice(start, end)
        near = self.near[own] - start
        return replace(
            self,
            rows=self.rows[own],
            cell=self.cell[own] - self.cell[start],
            group=self.group[own] - self.group[start],
            pitch=self.pitch[own],
            roles=self.roles[own],
            notes=self.notes[own],
            near=np.where((self.near[own] < 0) | (near < 0) | (near >= end - start), -1, near),
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
    """Pieces side by side: (B, T) half bars, those beyond a piece's end masked out.

    near: int64 (N, 4), the notes before and after each in its voice and in order, and the same two
    and four times as far away; again: (N, 8). Of N notes in all, they are N and N + 1 where there
    is none.
    """

    rows: Any
    cell: torch.Tensor
    group: torch.Tensor
    song: torch.Tensor
    pitch: torch.Tensor
    velocity: torch.Tensor
    duration: torch.Tensor
    near: list[torch.Tensor]
    again: torch.Tensor
    roles: torch.Tensor
    solo: torch.Tensor
    is_solo: torch.Tensor
    mask: torch.Tensor

    @staticmethod
    def of(pieces: list[Piece]) -> Batch:
        """All notes one after another."""
        lengths = [int(piece.cell[-1]) + 1 for piece in pieces]
        longest = max(lengths)
        groups = np.cumsum([0, *(int(piece.group[-1]) + 3 for piece in pieces[:-1])])
        counts = [len(piece.roles) for piece in pieces]
        starts = np.cumsum([0, *counts[:-1]])
        mask = (np.arange(longest) < np.array(lengths)[:, None]).astype(np.float32)
        join = np.concatenate
        moved = zip((piece.near for piece in pieces), starts, strict=True)
        near = join([np.where(near < 0, -1, near + start) for near, start in moved])
        total = sum(counts)
        hops = [np.where(near[:, :4] < 0, total, near[:, :4])]
        for _ in range(HOPS - 1):
            ends = np.append(hops[-1], np.full((1, 4), total), 0)
            hops.append(np.take_along_axis(ends, hops[-1], 0))
        notes = join([piece.notes for piece in pieces]).astype(np.int64)
        return Batch(
            multi_hot(join([piece.rows for piece in pieces])),
            torch.from_numpy(join([p.cell + i * longest for i, p in enumerate(pieces)])),
            torch.from_numpy(join([p.group + 2 + g for p, g in zip(pieces, groups, strict=True)])),
            torch.from_numpy(np.repeat(np.arange(len(pieces)), counts)),
            torch.from_numpy(join([piece.pitch for piece in pieces])),
            torch.from_numpy(notes[:, 3].clip(1, 127)),
            torch.from_numpy(notes[:, 1].clip(1, 64)),
            [torch.from_numpy(hop) for hop in hops],
            torch.from_numpy(np.where(near[:, 4:] < 0, total + 1, near[:, 4:])),
            torch.from_numpy(join([piece.roles for piece in pieces])),
            torch.from_numpy(join([np.full(len(p.roles), p.solo, np.float32) for p in pieces])),
            torch.tensor([float(piece.is_solo) for piece in pieces]),
            torch.from_numpy(mask)[:, None],
        )


class Round(nn.Module):
    """One look at the whole song."""

    def __init__(self, dilations: tuple[int, ...], is_first: bool, is_last: bool) -> None:
        super().__init__()
        self.value = nn.Linear(NOTE, GATES * VALUE)
        self.gate = nn.Linear(NOTE, GATES)
        self.enter = nn.Linear(GATES * VALUE + GATES + (0 if is_first else PLACE), PLACE)
        self.song = nn.Linear(GATES * VALUE, PLACE, bias=False)
        self.dilations = dilations
        self.dilated = nn.ModuleList(nn.Linear(3 * PLACE, PLACE) for _ in dilations)
        self.mean = nn.Linear(PLACE, PLACE)
        self.add = nn.Linear(PLACE, JUDGE, bias=False)
        self.scale = nn.Linear(PLACE, JUDGE)
        self.own = nn.Linear(NOTE, JUDGE)
        self.scaled = nn.Linear(NOTE, JUDGE, bias=False)
        self.words = nn.ModuleList(nn.Linear(NOTE, WORD) for _ in range(HOPS))
        self.hear = nn.ModuleList(nn.Linear(4 * WORD, NOTE) for _ in range(HOPS))
        self.line = None if is_first else nn.Linear(CONTEXT, JUDGE, bias=False)
        self.out = nn.Linear(JUDGE, 3)
        self.back = None if is_last else nn.Linear(JUDGE, NOTE)
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
        mask = batch.mask.transpose(1, 2)
        x = x * mask
        for i, (distance, layer) in enumerate(zip(self.dilations, self.dilated, strict=True)):
            if i == len(self.dilated) // 2:
                x = x + self.mean(x.sum(1) / mask.sum(1))[:, None] * mask
            wide = functional.pad(x, (0, 0, distance, distance))
            taps = torch.cat([wide[:, :length], x, wide[:, 2 * distance :]], 2)
            x = x + torch.relu(layer(taps)) * mask
        known: torch.Tensor = x.reshape(songs * length, -1)
        return known

    def forward(
        self, h: torch.Tensor, before: torch.Tensor | None, line: torch.Tensor | None, batch: Batch
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of the three roles; the notes for the next round; what the half bars know."""
        for near, word, hear in zip(batch.near, self.words, self.hear, strict=True):
            words = torch.relu(word(h))
            words = torch.cat([words, words.new_zeros(1, WORD)])
            heard = words.index_select(0, near.flatten()).view(len(h), -1)
            h = h + torch.relu(hear(heard))
        x = self.drop(self.places(h, before, batch))
        add, scale = (layer(x).index_select(0, batch.cell) for layer in (self.add, self.scale))
        z = self.own(h) + add + self.scaled(h) * scale
        if self.line is not None and line is not None:
            z = z + self.line(line)
        z = torch.relu(z)
        return self.out(z), torch.relu(h + self.back(z)) if self.back is not None else h, x


class Network(nn.Module):
    """What the notes are, after the table alone and after each round, and what the piece is."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(sum(SIZES), NOTE) * 0.15)
        self.bias = nn.Parameter(torch.zeros(NOTE))
        self.solo = nn.Parameter(torch.zeros(NOTE))
        # These two help to learn, and are left out afterwards.
        self.guess = nn.Linear(NOTE, 3)
        self.tell = nn.Linear(PLACE, 1)
        self.dropped = 0.0
        self.rounds = nn.ModuleList(
            [Round(d, i == 0, i == len(DILATIONS) - 1) for i, d in enumerate(DILATIONS)]
        )

    def drop(self, share: float) -> None:
        """How much is dropped in training: of each note's features, of what half bars know."""
        self.dropped = share
        for part in self.modules():
            if isinstance(part, nn.Dropout):
                part.p = share

    def forward(self, batch: Batch) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Logits of the roles, once and once a round (N, 3); log odds of a solo (B,)."""
        if self.training and self.dropped:
            batch.rows.data = np.asarray(
                functional.dropout(torch.from_numpy(batch.rows.data), self.dropped)
            )
        seen: torch.Tensor = _Bag.apply(self.table, batch.rows)
        h = torch.relu(seen + self.bias + batch.solo[:, None] * self.solo)
        results = [self.guess(h)]
        x = line = None
        known = []
        for part in self.rounds:
            out, h, x = part(h, x, line, batch)
            known.append(x)
            line = melody_context.context(odds(out), batch)
            results.append(out)
        return results, self._kind(known[0], batch)

    def _kind(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        songs, _, length = batch.mask.shape
        means = (x.view(songs, length, -1) * batch.mask.transpose(1, 2)).sum(1) / batch.mask.sum(2)
        kind: torch.Tensor = self.tell(means)[:, 0]
        return kind


def odds(logits: torch.Tensor) -> torch.Tensor:
    """Log odds of melody: (N,)."""
    return logits[:, 1] - torch.logsumexp(logits[:, [0, 2]], 1)
