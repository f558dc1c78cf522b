"""Fit the chord model to POP909: `python -m vmusprod.dataset.fit_chords POP909`.

Then build the crate again. A small network scores each chord in each beat; how often chords change
where in the bar, and to what, is counted. Both learn from POP909's songs and as many solo covers
made of them (`dataset.covers`). The weight of the transitions is chosen on a tenth of those. One
song in twenty is left out, and measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import vmusprod
from vmusprod import _vmus_rs
from vmusprod.dataset.covers import make_cover
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import iter_pop909
from vmusprod.dataset.songs import Song

ROOTS, QUALITIES, NO_CHORD = 12, 10, 120
KINDS = QUALITIES + 1
PLANES, BEATS_PER_BAR = 11, 4
HIDDEN = 16
EPOCHS, BATCH, RATE, DECAY = 6, 512, 6e-3, 1e-3
RARE = 0.3
WEIGHTS = (0.25, 0.35, 0.5, 0.7)
DEFAULT = Path(vmusprod.__file__).parents[2] / "vmus_rs" / "src" / "chords" / "weights.bin"
Floats = NDArray[np.float32]


@dataclass
class Beats:
    """A song's beats, from a downbeat: chromas float32 (B, 11, 12), chord ids int64 (B,)."""

    chroma: Floats
    chords: NDArray[np.int64]


class Network(nn.Module):
    """Scores of ten qualities over every root, all roots seen alike, and of no chord."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(12 * PLANES + BEATS_PER_BAR, HIDDEN)
        self.out = nn.Linear(HIDDEN, KINDS)

    def forward(self, chroma: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        """(B, 11, 12) chromas and (B, 4) places in the bar, one-hot -> (B, 121) logits."""
        turned = torch.stack([chroma.roll(-root, 2) for root in range(ROOTS)], 1).flatten(2)
        place = place[:, None].expand(-1, ROOTS, -1)
        out = self.out(torch.relu(self.hidden(torch.cat([turned, place], 2))))
        return torch.cat([out[..., :QUALITIES].flatten(1), out[..., QUALITIES].mean(1)[:, None]], 1)


def read(root: Path, every: int) -> tuple[list[Song], list[Song]]:
    """Songs to learn from and songs left out. Raises InputError if `root` holds none."""
    songs = [song for song in iter_pop909(root, []) if song.chords is not None][::every]
    is_out = [split_of(f"pop909/{song.id}") == "val" for song in songs]
    train = [song for song, out in zip(songs, is_out, strict=True) if not out]
    return train, [song for song, out in zip(songs, is_out, strict=True) if out]


def beats_of(song: Song, notes: NDArray[np.int32]) -> Beats:
    """The song's chords with what `notes` sound like in their beats."""
    assert song.chords is not None
    chroma = _vmus_rs.chord_features(np.ascontiguousarray(notes), len(song.chords))
    return Beats(chroma, song.chords.astype(np.int64))


def with_covers(songs: list[Song], seed: int) -> Iterator[Beats]:
    """Each song as it is, and as a cover."""
    for i, song in enumerate(songs):
        yield beats_of(song, song.notes)
        if song.melody is not None and song.melody.any():
            rng = np.random.default_rng([seed, i])
            notes, _ = make_cover(song.notes, song.melody.astype(np.int64), rng)
            yield beats_of(song, notes)


def place_of(songs: list[Beats]) -> Floats:
    """Place in the bar of every beat, one-hot: float32 (B, 4)."""
    places = [np.arange(len(song.chords)) % BEATS_PER_BAR for song in songs]
    return np.eye(BEATS_PER_BAR, dtype=np.float32)[np.concatenate(places)]


def fit_network(songs: list[Beats], seed: int) -> Network:
    """Cross-entropy of the chord in each beat."""
    torch.manual_seed(seed)
    chroma = torch.from_numpy(np.concatenate([song.chroma for song in songs]))
    target = torch.from_numpy(np.concatenate([song.chords for song in songs]))
    place = torch.from_numpy(place_of(songs))
    network = Network()
    batches = max(1, len(target) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * batches)
    for epoch in range(EPOCHS):
        total = 0.0
        for batch in torch.randperm(len(target))[: batches * BATCH].chunk(batches):
            loss = nn.functional.cross_entropy(network(chroma[batch], place[batch]), target[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"epoch {epoch + 1}: {total / batches:.4f} nats a beat", flush=True)
    return network


def count_moves(songs: list[Beats]) -> tuple[Floats, Floats]:
    """Log probabilities of staying and changing, and of the changes.

    By place in the bar, float32 (4, 2); by kinds and the root's step, float32 (11, 11, 12).
    """
    moves = np.ones((BEATS_PER_BAR, 2))
    changes = np.full((KINDS, KINDS, 12), RARE)
    for song in songs:
        before, after = song.chords[:-1], song.chords[1:]
        is_change = before != after
        place = np.arange(1, len(song.chords)) % BEATS_PER_BAR
        np.add.at(moves, (place, is_change.astype(np.intp)), 1)
        a, b = before[is_change], after[is_change]
        kinds = [np.where(x == NO_CHORD, QUALITIES, x % QUALITIES) for x in (a, b)]
        step = np.where((a == NO_CHORD) | (b == NO_CHORD), 0, (b // 10 - a // 10) % 12)
        np.add.at(changes, (*kinds, step), 1)
    moves /= moves.sum(axis=1, keepdims=True)
    changes /= changes.sum(axis=(1, 2), keepdims=True)
    return np.log(moves).astype(np.float32), np.log(changes).astype(np.float32)


def state_changes(changes: Floats) -> Floats:
    """The changes of all pairs of chords: float32 (121, 121), to itself impossible."""
    ids = np.arange(NO_CHORD + 1)
    kind = np.where(ids == NO_CHORD, QUALITIES, ids % QUALITIES)
    step = (ids[None] // 10 - ids[:, None] // 10) % 12
    step[NO_CHORD], step[:, NO_CHORD] = 0, 0
    result: Floats = changes[kind[:, None], kind[None], step]
    np.fill_diagonal(result, -np.inf)
    return result


def viterbi(scores: Floats, moves: Floats, changes: Floats) -> NDArray[np.int64]:
    """The best path through all 121 chords: scores (B, 121), moves (4, 2), changes (121, 121)."""
    total = scores[0]
    back = np.zeros(scores.shape, np.int64)
    states = np.arange(scores.shape[1])
    for b in range(1, len(scores)):
        stay, change = moves[b % BEATS_PER_BAR]
        ways = total[:, None] + change + changes
        ways[states, states] = total + stay
        back[b] = ways.argmax(axis=0)
        total = ways.max(axis=0) + scores[b]
    path = np.empty(len(scores), np.int64)
    at = int(total.argmax())
    for b in range(len(scores) - 1, -1, -1):
        path[b] = at
        at = int(back[b, at])
    return path


def agreement(found: NDArray[np.int64], truth: NDArray[np.int64]) -> dict[str, float]:
    """Shares of beats named right, by mir_eval's rules.

    `majmin` of those whose truth is a major or minor triad or seventh or none, and `sevenths` of
    those among M m 7 M7 m7 or none.
    """
    kind = np.where(truth == NO_CHORD, 0, truth % QUALITIES)
    mode = {0: 0, 1: 1, 2: 0, 3: 0, 4: 1}
    triad = np.array([mode.get(int(q), -2 - int(q)) for q in range(QUALITIES)])
    triads = [
        np.where(x == NO_CHORD, NO_CHORD, x // 10 * 10 + triad[x % 10]) for x in (found, truth)
    ]
    known = kind <= 4
    return {
        "root": float(np.mean(found // 10 == truth // 10)),
        "majmin": float(np.mean(triads[0][known] == triads[1][known])),
        "sevenths": float(np.mean(found[known] == truth[known])),
    }


@torch.no_grad()
def score(network: Network, song: Beats) -> Floats:
    """Log probabilities of the chords in each beat: float32 (B, 121)."""
    place = torch.from_numpy(place_of([song]))
    logits: Floats = network(torch.from_numpy(song.chroma), place).log_softmax(1).numpy()
    return logits


def measure(
    network: Network, moves: Floats, changes: Floats, songs: list[Beats]
) -> dict[str, float]:
    """Agreement of the decoded chords, over the beats of all songs. `changes`: (11, 11, 12)."""
    spread = state_changes(changes)
    paths = [viterbi(score(network, song), moves, spread) for song in songs]
    return agreement(np.concatenate(paths), np.concatenate([song.chords for song in songs]))


def choose_weight(network: Network, moves: Floats, changes: Floats, songs: list[Beats]) -> float:
    """The weight of the transitions that is best by majmin and sevenths together."""
    best = (0.0, 0.0)
    for weight in WEIGHTS:
        result = measure(network, weight * moves, weight * changes, songs)
        best = max(best, (result["majmin"] + result["sevenths"], weight))
    return best[1]


def table(network: Network, moves: Floats, changes: Floats) -> bytes:
    """The crate's form, in little-endian float32: both layers, then moves, then changes.

    A layer is a row of weights an input, and a row of biases.
    """
    layers = [
        part for layer in (network.hidden, network.out) for part in (layer.weight.T, layer.bias)
    ]
    parts = [*(part.detach().numpy() for part in layers), moves, changes]
    return b"".join(np.ascontiguousarray(part, "<f4").tobytes() for part in parts)


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the POP909 folder")
    parser.add_argument("--every", type=int, default=1, help="use every n-th song only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT)
    args = parser.parse_args()
    train, held_out = read(args.root, args.every)
    pieces = list(with_covers(train, args.seed))
    network = fit_network(pieces, args.seed)
    moves, changes = count_moves(pieces[::2])
    weight = choose_weight(network, moves, changes, pieces[::20])
    unseen = [beats_of(song, song.notes) for song in held_out]
    result = measure(network, weight * moves, weight * changes, unseen)
    print(f"weight {weight}; left out:", ", ".join(f"{k} {v:.4f}" for k, v in result.items()))
    args.output.write_bytes(table(network, weight * moves, weight * changes))
    print(f"{args.output}: {len(train)} songs learnt from, {len(held_out)} left out")


if __name__ == "__main__":
    main()
