"""Fit the melody's networks to POP909: `python -m vmusprod.dataset.fit_melody POP909`, then build the crate again.

Three small networks tell melody, second voice and accompaniment apart. The first sees each note among its neighbours; the second and
third see what the first made of that, and what the lines drawn so far look like; they leave alone what is surely neither line. They learn from POP909's songs and as many solo covers made of them (`dataset.covers`); in a sixth of both the
loudness is flat, so that nothing rests on it. One song in twenty is left out, and measured.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import vmusprod
from vmusprod import _vmus_rs
from vmusprod.dataset.covers import MELODY, SECOND, make_cover
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import own_downbeats, read_beats, song_folders
from vmusprod.errors import InputError
from vmusprod.music.grid import grid_from_beats, grid_notes
from vmusprod.music.score import TimedNotes, read_midi_tracks

ROUNDS = 3
WIDE, NARROW = 32, 16
EPOCHS, BATCH, RATE, DECAY = 4, 2048, 6e-3, 1e-3
FLAT = 1 / 6
MOST = 8.0
UNLIKELY = -3.5
DEFAULT = Path(vmusprod.__file__).parents[2] / "vmus_rs" / "src" / "melody" / "weights.bin"
Floats = NDArray[np.float32]
Network = nn.Sequential


@dataclass
class Piece:
    """A song or a cover: grid notes (N, 4), each one's role, and whether it is a solo cover."""

    notes: NDArray[np.int32]
    roles: NDArray[np.int64]
    is_solo: bool


def read_song(folder: Path) -> Piece | None:
    """A POP909 song with the roles of its tracks; None if it lacks a melody or is not in 4/4. Raises InputError."""
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
    return Piece(notes, roles, False) if (roles == MELODY).any() else None


def read_songs(root: Path, every: int = 1) -> tuple[list[Piece], list[Piece]]:
    """Songs to learn from and those left out, every `every`-th of the folder. Raises InputError if `root` holds none."""
    train, held_out = [], []
    for folder in song_folders(root)[::every]:
        try:
            piece = read_song(folder)
        except InputError:
            continue
        if piece is not None:
            is_out = split_of(f"pop909/{folder.name}") == "val"
            (held_out if is_out else train).append(piece)
    return train, held_out


def with_covers(songs: list[Piece], seed: int, flat: float) -> list[Piece]:
    """Each song and a cover of it, a part of both without loudness."""
    pieces = []
    for i, song in enumerate(songs):
        rng = np.random.default_rng([seed, i])
        cover = Piece(*make_cover(song.notes, song.roles, rng), True)
        for piece in (Piece(song.notes.copy(), song.roles, False), cover):
            if rng.random() < flat:
                piece.notes[:, 3] = 80
            pieces.append(piece)
    return pieces


def first_inputs(piece: Piece) -> Floats:
    """What the first network sees: float32 (N, 72)."""
    solo = np.full((len(piece.notes), 1), piece.is_solo)
    return np.concatenate([_vmus_rs.melody_features(piece.notes), solo], axis=1, dtype=np.float32)


@torch.no_grad()
def later_inputs(piece: Piece, odds: Floats, first: Network) -> Floats:
    """What the later ones see: float32 (N, 105), of which the last hidden layer of the first makes 16."""
    hidden = first[:-1](torch.from_numpy(first_inputs(piece))).numpy()
    solo = np.full((len(odds), 1), piece.is_solo)
    context = _vmus_rs.melody_context(piece.notes, odds)
    return np.concatenate([hidden, solo, context], axis=1, dtype=np.float32)


def is_open(odds: Floats) -> NDArray[np.bool_]:
    """Which notes a later network looks at: those that may be in either line. bool (N,)."""
    return np.asarray(odds.max(axis=1) > UNLIKELY)


def odds_of(logits: Floats) -> Floats:
    """Log odds of melody and of second voice, from the logits of the three: float32 (N, 2)."""
    pairs = [(MELODY, SECOND), (SECOND, MELODY)]
    columns = [logits[:, a] - np.logaddexp(logits[:, 0], logits[:, b]) for a, b in pairs]
    return np.clip(np.stack(columns, axis=1), -MOST, MOST)


def fit(x: Floats, roles: NDArray[np.int64], seed: int) -> Network:
    """A network for one round, its inputs' scale folded into its first layer. `x` is overwritten."""
    torch.manual_seed(seed)
    mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-3
    x -= mean
    x /= scale
    data, target = torch.from_numpy(x), torch.from_numpy(roles)
    first = nn.Linear(x.shape[1], WIDE)
    network = Network(
        first, nn.ReLU(), nn.Linear(WIDE, NARROW), nn.ReLU(), nn.Linear(NARROW, 3)
    )
    batches = max(1, len(target) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * batches)
    for _ in range(EPOCHS):
        order = torch.randperm(len(target))
        for batch in order[: batches * BATCH].chunk(batches):
            loss = nn.functional.cross_entropy(network(data[batch]), target[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        first.weight /= torch.from_numpy(scale)
        first.bias -= first.weight @ torch.from_numpy(mean)
    return network


@torch.no_grad()
def guess(networks: list[Network], piece: Piece, odds: Floats | None) -> Floats:
    """A piece's odds after the last network's round, given those before it: float32 (N, 2)."""
    network = networks[-1]
    if odds is None:
        return odds_of(network(torch.from_numpy(first_inputs(piece))).numpy())
    seen, rows = later_inputs(piece, odds, networks[0]), is_open(odds)
    result = odds.copy()
    result[rows] = odds_of(network(torch.from_numpy(seen[rows])).numpy())
    return result


def f1(pieces: list[Piece], odds: list[Floats]) -> float:
    """Of the melody's notes, over all pieces: the line drawn on the odds against the truth."""
    hits = found = wanted = 0
    for piece, o in zip(pieces, odds, strict=True):
        line = _vmus_rs.melody_line(piece.notes, np.ascontiguousarray(o[:, 0]))
        truth = piece.roles == MELODY
        hits += int((line & truth).sum())
        found += int(line.sum())
        wanted += int(truth.sum())
    return 2 * hits / max(found + wanted, 1)


def fit_all(train: list[Piece], checks: dict[str, list[Piece]], seed: int = 0) -> list[Network]:
    """The networks of all rounds; prints how each does on the pieces left out."""
    x = np.concatenate([first_inputs(piece) for piece in train])
    roles = np.concatenate([piece.roles for piece in train])
    networks = [fit(x, roles, seed)]
    del x
    odds = [guess(networks, piece, None) for piece in train]
    unseen = {k: [guess(networks, piece, None) for piece in v] for k, v in checks.items()}
    report(1, checks, unseen)
    for number in range(2, ROUNDS + 1):
        first, rows = networks[0], [is_open(o) for o in odds]
        both = zip(train, odds, rows, strict=True)
        x = np.concatenate([later_inputs(piece, o, first)[r] for piece, o, r in both])
        networks.append(fit(x, roles[np.concatenate(rows)], seed + number))
        del x
        odds = [guess(networks, piece, o) for piece, o in zip(train, odds, strict=True)]
        for name, pieces in checks.items():
            pairs = zip(pieces, unseen[name], strict=True)
            unseen[name] = [guess(networks, piece, o) for piece, o in pairs]
        report(number, checks, unseen)
    return networks


def report(number: int, checks: dict[str, list[Piece]], odds: dict[str, list[Floats]]) -> None:
    """Print the F1 of each set of pieces left out."""
    results = ", ".join(f"{name} {f1(pieces, odds[name]):.4f}" for name, pieces in checks.items())
    print(f"round {number}, F1 of those left out: {results}", flush=True)


def table(networks: list[Network]) -> bytes:
    """The crate's form: layer by layer a row of weights an input, then the biases, little-endian float32."""
    layers = [layer for network in networks for layer in network if isinstance(layer, nn.Linear)]
    parts = [part for layer in layers for part in (layer.weight.T, layer.bias)]
    return b"".join(part.detach().numpy().astype("<f4").tobytes() for part in parts)


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the POP909 folder")
    parser.add_argument("--every", type=int, default=1, help="use every n-th song only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT)
    args = parser.parse_args()
    train, held_out = read_songs(args.root, args.every)
    both = with_covers(held_out, args.seed + 1, 0.0)
    songs, covers = both[::2], both[1::2]
    flat = with_covers(held_out, args.seed + 1, 1.0)
    checks = {"songs": songs, "covers": covers, "songs, flat": flat[::2], "covers, flat": flat[1::2]}
    networks = fit_all(with_covers(train, args.seed, FLAT), checks, args.seed)
    args.output.write_bytes(table(networks))
    print(f"{args.output}: {len(train)} songs learnt from, {len(held_out)} left out")


if __name__ == "__main__":
    main()
