"""Fit the melody's network to POP909: `python -m vmusprod.dataset.fit_melody POP909`.

Then build the crate again. Needs the extra `fit`. A linear score sorts out the notes that surely
are no melody; the network of `dataset.melody_net` judges the rest. Both learn from POP909's songs
and from solo covers made of them (`dataset.covers`), a fifth of which are played with flat
loudness, so that nothing rests on it, and all of which are transposed by up to six semitones; half
of them are said to be what they are, song or solo. Most of the time a song is a new variant of
itself (`dataset.variants`). One song in twenty is left out, and measured.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import vmusprod
from vmusprod import _vmus_rs
from vmusprod.dataset import melody_net
from vmusprod.dataset.covers import MELODY, SECOND, make_cover
from vmusprod.dataset.melody_context import MOST, neighbours
from vmusprod.dataset.melody_net import Batch, Network, Piece
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import own_downbeats, read_beats, song_folders
from vmusprod.dataset.variants import make_variant
from vmusprod.errors import InputError
from vmusprod.music.grid import grid_from_beats, grid_notes
from vmusprod.music.score import TimedNotes, read_midi_tracks

EPOCHS, BATCH, RATE, DECAY, WARM, DROPPED = 140, 2, 4e-3, 0.05, 0.1, 0.05
FLAT, SAID, PARTS, SHORTEST = 0.2, 0.5, 0.5, 200
COVERS, VARIED = 3, 0.75
AVERAGED = 0.1
SURE, SIFT_STEPS, SIFT_SCALE = 0.002, 100, 256
AUXILIARY, KIND = (0.1, 0.3, 0.3, 1.0), 0.1
DEFAULT = Path(vmusprod.__file__).parents[2] / "vmus_rs" / "src" / "melody" / "weights.bin"
Floats = NDArray[np.float32]
Whole = NDArray[np.int16]


@dataclass
class Song:
    """Grid notes (N, 4), sorted, and the role of each."""

    notes: NDArray[np.int32]
    roles: NDArray[np.int64]


def read_song(folder: Path) -> Song | None:
    """A POP909 song with the roles of its tracks; None if it lacks a melody or is not in 4/4.

    Raises InputError.
    """
    tracks = read_midi_tracks(folder / f"{folder.name}.mid")
    merged = TimedNotes.merge(list(tracks.values()))
    beats = read_beats(folder / "beat_midi.txt")
    downbeats = own_downbeats(merged, beats)
    if "MELODY" not in tracks or downbeats is None:
        return None
    end = float(merged.offset.max())
    grid = grid_from_beats(beats[:, 0], downbeats, float(merged.onset[0]), end)
    notes = grid_notes(merged, grid)
    place = notes[:, 0].astype(np.int64) * 128 + notes[:, 2]
    roles = np.zeros(len(notes), np.int64)
    for name, role in (("BRIDGE", SECOND), ("MELODY", MELODY)):
        own = grid_notes(tracks[name], grid) if name in tracks else notes[:0]
        roles[np.isin(place, own[:, 0].astype(np.int64) * 128 + own[:, 2])] = role
    return Song(notes, roles) if (roles == MELODY).any() else None


def read_songs(root: Path, every: int = 1) -> tuple[list[Song], list[Song]]:
    """Songs to learn from and those left out, every `every`-th of the folder.

    Raises InputError if `root` holds none.
    """
    train: list[Song] = []
    held_out: list[Song] = []
    for folder in song_folders(root)[::every]:
        try:
            song = read_song(folder)
        except InputError:
            continue
        if song is not None:
            is_out = split_of(f"pop909/{folder.name}") == "val"
            (held_out if is_out else train).append(song)
    return train, held_out


def covers(songs: list[Song], seed: int) -> list[Song]:
    """One cover of each song."""
    dice = [np.random.default_rng([seed, i]) for i in range(len(songs))]
    return [Song(*make_cover(s.notes, s.roles, d)) for s, d in zip(songs, dice, strict=True)]


def fit_sieve(songs: list[Song]) -> Whole:
    """A whole number for each row of the table: notes with a sum below 0 are no melody.

    But for 0.2% of it. Logistic regression, all notes at once, a third of the songs without
    loudness.
    """
    rows = [melody_net.place(_vmus_rs.melody_features(song.notes)) for song in songs]
    tail = len(melody_net.NO_LOUDNESS)
    for own in rows[::3]:
        own[:, -tail:] = melody_net.FIRST_ROWS[-tail:] + melody_net.NO_LOUDNESS
    x = melody_net.multi_hot(np.concatenate(rows))
    y = np.concatenate([song.roles == MELODY for song in songs]).astype(np.float32)
    turned = x.T.tocsr()
    weights = torch.zeros(x.shape[1])
    bias = torch.full((1,), -1.0)
    optimizer = torch.optim.Adam([{"params": [weights], "lr": 0.1}, {"params": [bias], "lr": 0.02}])
    for _ in range(SIFT_STEPS):
        wrong = 1 / (1 + np.exp(-(x @ weights.numpy() + bias.numpy()))) - y
        weights.grad = torch.from_numpy(turned @ (wrong / len(y)))
        bias.grad = torch.tensor([wrong.mean()])
        optimizer.step()
    scores = x @ weights.numpy()
    result = np.round(weights.numpy() * SIFT_SCALE)
    # every note has one of the first feature's rows
    result[: melody_net.SIZES[0]] -= np.floor(np.quantile(scores[y == 1], SURE) * SIFT_SCALE)
    return np.clip(result, -(2**15), 2**15 - 1).astype(np.int16)


def piece_of(song: Song, sieve: Whole, solo: float) -> Piece | None:
    """The notes that the sieve lets through; None if there is none."""
    rows = melody_net.place(_vmus_rs.melody_features(song.notes))
    kept = sieve[rows].sum(axis=1, dtype=np.int64) >= 0
    if not kept.any():
        return None
    notes, roles = song.notes[kept], song.roles[kept]
    group = np.cumsum(np.diff(notes[:, 0], prepend=notes[0, 0]) > 0)
    wanted = int((song.roles == MELODY).sum())
    cell = melody_net.cells(notes[:, 0])
    pitch = notes[:, 2].astype(np.int64)
    near = neighbours(notes[:, 0].astype(np.int64), pitch)
    own = np.ascontiguousarray(notes)
    return Piece(rows[kept], cell, group, pitch, roles, solo, solo > 0, wanted, own, near)


def shifted(song: Song, by: int) -> Song:
    """A song so many sixteenths later."""
    return Song(song.notes + np.array([by, 0, 0, 0], np.int32), song.roles)


def pieces_of(songs: list[Song], sieve: Whole, solo: float) -> list[Piece]:
    """Those of all songs."""
    pieces = [piece_of(song, sieve, solo) for song in songs]
    return [piece for piece in pieces if piece is not None]


def varied(song: Song, sieve: Whole, rng: np.random.Generator) -> Piece | None:
    """A new variant of a song."""
    return piece_of(Song(*make_variant(song.notes, song.roles, rng)), sieve, -1)


@dataclass
class Learnt:
    """What is learnt from: songs and covers as they are, and what new variants are made with."""

    songs: list[Song]
    sieve: Whole
    pieces: list[Piece]
    covers: list[Piece]

    @staticmethod
    def of(songs: list[Song], solos: list[Song], sieve: Whole) -> Learnt:
        """Songs, and covers of them."""
        pieces = [piece_of(song, sieve, -1) for song in songs]
        kept = [(song, piece) for song, piece in zip(songs, pieces, strict=True) if piece]
        return Learnt(
            [song for song, _ in kept],
            sieve,
            [piece for _, piece in kept],
            pieces_of(solos, sieve, 1),
        )

    def epoch(self, rng: np.random.Generator) -> list[Piece]:
        """All songs, most of them as new variants, and a third of the covers."""
        pieces = [
            varied(song, self.sieve, rng) or own if rng.random() < VARIED else own
            for song, own in zip(self.songs, self.pieces, strict=True)
        ]
        pieces += [self.covers[i] for i in rng.permutation(len(self.covers))[::COVERS]]
        return [altered(pieces[i], rng) for i in rng.permutation(len(pieces))]


def altered(piece: Piece, rng: np.random.Generator) -> Piece:
    """A piece in another key; often a part of it, or one that is not said to be what it is."""
    piece = piece.transposed(int(rng.integers(-6, 7)))
    if rng.random() < FLAT:
        piece = piece.without_loudness()
    if rng.random() >= SAID:
        piece = replace(piece, solo=0.0)
    count = len(piece.roles)
    if rng.random() < PARTS and count > SHORTEST:
        length = int(count * rng.uniform(0.5, 1))
        start = int(rng.integers(0, count - length + 1))
        piece = piece.part(start, start + length)
    return piece


def fit(
    network: Network,
    learnt: Learnt,
    checks: dict[str, list[Piece]],
    epochs: int,
    rate: float,
    seed: int,
) -> None:
    """Fit the network; prints how it does on the pieces left out.

    What it ends with, and what is measured, is a mean of its weights that fades over a tenth of the
    fit (`AVERAGED`).
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=DECAY, fused=True)
    each = -(-(len(learnt.pieces) + -(-len(learnt.covers) // COVERS)) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=epochs * each, pct_start=WARM
    )
    network.drop(DROPPED)
    decay = 1 - 1 / max(AVERAGED * epochs * each, 1)
    averaging = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
    mean = AveragedModel(network, multi_avg_fn=averaging)
    for epoch in range(epochs):
        total = 0.0
        network.train()
        pieces = learnt.epoch(rng)
        for start in range(0, len(pieces), BATCH):
            batch = Batch.of(pieces[start : start + BATCH])
            outs, kind = network(batch)
            losses = [nn.functional.cross_entropy(out, batch.roles) for out in outs]
            loss = nn.functional.binary_cross_entropy_with_logits(kind, batch.is_solo) * KIND
            loss = sum((w * x for w, x in zip(AUXILIARY, losses, strict=True)), loss)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            mean.update_parameters(network)
            total += float(losses[-1].detach())
        print(f"epoch {epoch + 1}: {total / each:.4f} nats a note", end=", ")
        names = checks if epoch + 1 == epochs else list(checks)[:1]
        results = {name: f"{f1(mean.module, checks[name]):.4f}" for name in names}
        print("left out:", ", ".join(f"{k} {v}" for k, v in results.items()), flush=True)
    network.load_state_dict(mean.module.state_dict())


@torch.no_grad()
def f1(network: nn.Module, pieces: list[Piece]) -> float:
    """Of the melody's notes, over all pieces: the line drawn on the odds against the truth."""
    network.eval()
    hits = found = wanted = 0
    for piece in pieces:
        odds = melody_net.odds(network(Batch.of([piece]))[0][-1]).clamp(-MOST, MOST)
        line = _vmus_rs.melody_line(piece.notes, odds.numpy())
        hits += int((line & (piece.roles == MELODY)).sum())
        found += int(line.sum())
        wanted += piece.wanted
    return 2 * hits / max(found + wanted, 1)


def numbers(network: Network) -> list[torch.Tensor]:
    """All that is written of a network, in its own order: a row an input, then biases."""
    parts: list[torch.Tensor | None] = [network.table, network.bias, network.solo]
    for part in network.rounds:
        for layer in part.modules():
            if isinstance(layer, nn.Linear):
                parts += [layer.weight.T, layer.bias]
    return [part.detach() for part in parts if part is not None]


def table(sieve: Whole, network: Network) -> bytes:
    """The crate's form, little-endian: sieve in int16, network in the float32s' upper halves."""
    flat = torch.cat([part.reshape(-1) for part in numbers(network)]).to(torch.bfloat16)
    return sieve.astype("<i2").tobytes() + flat.view(torch.int16).numpy().astype("<i2").tobytes()


def read_table(data: bytes, network: Network) -> Whole:
    """Puts what `table` wrote into a network; the sieve."""
    rows = 2 * sum(melody_net.SIZES)
    halves = np.frombuffer(data[rows:], "<u2").astype(np.uint32) << 16
    flat = torch.from_numpy(halves.view(np.float32))
    own = numbers(network)
    sizes = [part.numel() for part in own]
    for part, new in zip(own, torch.split(flat, sizes), strict=True):
        part.copy_(new.view(part.shape))
    return np.frombuffer(data[:rows], "<i2").astype(np.int16)


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the POP909 folder")
    parser.add_argument("--every", type=int, default=1, help="use every n-th song only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--rate", type=float, default=RATE, help="the greatest learning rate")
    parser.add_argument("--start", type=Path, help="go on from what another fit wrote")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT)
    args = parser.parse_args()
    train, held_out = read_songs(args.root, args.every)
    solos = covers(train, args.seed)
    torch.manual_seed(args.seed)
    network = Network()
    if args.start is None:
        sieve = fit_sieve([*train[::3], *solos[1::3]])
    else:
        sieve = read_table(args.start.read_bytes(), network)
    songs, left_solos = (
        pieces_of(held_out, sieve, 0),
        pieces_of(covers(held_out, args.seed + 1), sieve, 0),
    )
    checks = {
        "songs": songs,
        "flat": [piece.without_loudness() for piece in songs],
        "covers": left_solos,
        "flat covers": [piece.without_loudness() for piece in left_solos],
        "other bars": pieces_of([shifted(song, 4) for song in held_out], sieve, 0),
        "songs said to be": pieces_of(held_out, sieve, -1),
        "covers said to be": pieces_of(covers(held_out, args.seed + 1), sieve, 1),
    }
    fit(network, Learnt.of(train, solos, sieve), checks, args.epochs, args.rate, args.seed)
    args.output.write_bytes(table(sieve, network))
    print(f"{args.output}: {len(train)} songs learnt from, {len(held_out)} left out")


if __name__ == "__main__":
    main()
