"""What one round of the melody's network tells the next of the song, in torch.

The crate's `melody::context` computes the same. All rest on the round's log odds of each note,
within -8..8, and its probabilities, their sigmoids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

if TYPE_CHECKING:
    from vmusprod.dataset.melody_net import Batch

__all__ = ["AGAIN", "CONTEXT", "MOST", "REACH", "context", "neighbours"]

MOST = 8.0
REACH = 24
AGAIN = (-128, -64, -32, -16, 16, 32, 64, 128)
STEPS = (-2, -1, 1, 2)
WINDOWS = (2, 8)
CONTEXT = 2 + 2 * len(STEPS) + 2 + len(AGAIN) + 3 * len(WINDOWS) + 3
Ints = NDArray[np.int64]


def neighbours(onset: Ints, pitch: Ints) -> Ints:
    """Each candidate's neighbours: int64 (N, 12), -1: none. Candidates are sorted.

    Those before and after it in its voice: of the 24 candidates before it (after it) the one that
    is nearest, semitones and sixteenths added, but none that starts with it; of equals the one that
    comes last (first). Those before and after it in order. Where its pitch starts one, two, four
    and eight bars before or after; of equals the first.
    """
    voice = _nearest(onset, pitch), _turned(_nearest(-onset[::-1], pitch[::-1]))
    order = np.arange(len(onset))
    following = np.append(order[1:], -1)
    return np.column_stack([*voice, order - 1, following, _again(onset, pitch)])


def _turned(found: Ints) -> Ints:
    return np.where(found < 0, -1, len(found) - 1 - found)[::-1]


def _nearest(onset: Ints, pitch: Ints) -> Ints:
    far = np.iinfo(np.int64).max
    best = np.full(len(onset), -1)
    least = np.full(len(onset), far)
    for step in range(1, min(REACH, len(onset) - 1) + 1):
        apart = onset[step:] - onset[:-step]
        cost = np.where(apart > 0, apart + np.abs(pitch[step:] - pitch[:-step]), far)
        nearer = np.flatnonzero(cost < least[step:]) + step
        least[nearer] = cost[nearer - step]
        best[nearer] = nearer - step
    return best


def _again(onset: Ints, pitch: Ints) -> Ints:
    keys = onset * 128 + pitch
    wanted = keys[:, None] + np.array(AGAIN) * 128
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def context(odds: torch.Tensor, batch: Batch) -> torch.Tensor:
    """How each note stands in its surroundings: (N, CONTEXT).

    Its odds and those of the best other note of its onset; the odds of the best of two onsets
    before and after, and the ways to them; the odds of its neighbours in the voice; of its pitch
    one to eight bars away; around it the melody's pitch, amount and loudness; how likely the notes
    of its loudness, pitch and length are, over all the song.
    """
    odds = odds.clamp(-MOST, MOST)
    share = torch.sigmoid(odds)
    columns = _line(odds, batch)
    padded = torch.cat([odds, odds.new_tensor([-MOST, 0.0])])
    columns += [padded.index_select(0, near) / 4 for near in batch.near[0][:, :2].unbind(1)]
    again = padded.index_select(0, batch.again.flatten()).view(len(odds), -1)
    columns += list((again / 4).unbind(1))
    columns += _register(share, batch)
    for value in (batch.velocity, batch.pitch, batch.duration):
        columns.append(_habit(share, value, batch))
    return torch.stack(columns, 1)


def _line(odds: torch.Tensor, batch: Batch) -> list[torch.Tensor]:
    count = int(batch.group[-1]) + 3
    low = odds.new_full((count,), -1e9)
    best = low.scatter_reduce(0, batch.group, odds, "amax")
    wins = odds >= best[batch.group]
    rest = odds.masked_fill(wins, -1e9)
    other = low.scatter_reduce(0, batch.group, rest, "amax").index_select(0, batch.group)
    other = torch.where(wins, other, best.index_select(0, batch.group)).clamp(-MOST, MOST)
    best = best.clamp(-MOST, MOST)
    pitch = batch.pitch * wins
    tops = pitch.new_zeros(count).scatter_reduce(0, batch.group, pitch, "amax")
    columns, ways = [odds / 4, other / 4], []
    for step in STEPS:
        near = batch.group + step
        there = best.index_select(0, near)
        columns.append(there / 4)
        leap = (tops[near] - batch.pitch).clamp(-24, 24) / 8
        ways.append(leap * torch.sigmoid(there))
    return columns + ways


def _register(share: torch.Tensor, batch: Batch) -> list[torch.Tensor]:
    songs, _, length = batch.mask.shape
    parts = torch.stack([share, share * batch.pitch, share * batch.velocity], 1)
    sums = parts.new_zeros(songs * length, 3).index_add(0, batch.cell, parts)
    sums = sums.view(songs, length, 3).transpose(1, 2)
    columns = []
    for radius in WINDOWS:
        width = 2 * radius + 1
        near = functional.avg_pool1d(sums, width, 1, radius) * width
        near = near.transpose(1, 2).reshape(-1, 3)
        mass, pitch, velocity = near.index_select(0, batch.cell).unbind(1)
        columns += [
            (pitch - batch.pitch * mass) / (mass + 0.5) / 8,
            mass / width / 4,
            (velocity - batch.velocity * mass) / (mass + 0.5) / 8,
        ]
    return columns


def _habit(share: torch.Tensor, value: torch.Tensor, batch: Batch) -> torch.Tensor:
    place = batch.song * 130 + value + 1
    empty = share.new_zeros(len(batch.mask) * 130)
    own = empty.index_add(0, place, share)
    rest = empty.index_add(0, place, 1 - share)
    own, rest = (x[:-2] + 2 * x[1:-1] + x[2:] for x in (own, rest))
    return (torch.log((own + 0.5) / (rest + 0.5)) / 2).index_select(0, place - 1)
