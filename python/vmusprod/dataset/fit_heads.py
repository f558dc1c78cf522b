"""Fits the heads of steering.py on MuVi-Sync, and says how good they are on its val split.

python -m vmusprod.dataset.fit_heads MuVi-Sync -o heads.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.muvi import Muvi
from vmusprod.files import atomic_output
from vmusprod.music import tokens as tk
from vmusprod.music.key import key_scores
from vmusprod.song_heads import NUMBERS, SongHeads
from vmusprod.steering import PIXELS, Heads, Seen, see
from vmusprod.vmcp.midi import FAINT

__all__ = ["FitSong", "fit", "read_songs", "report"]

Array = NDArray[np.float64]

_STEP = 4  # every fourth second: neighbours are smoothed and say the same
_RIDGE_NEAR, _RIDGE_SONG = 1.0, 3.0
_RIDGE_PIXELS = 0.01
_BLOCKS = {"motion": 0.25, "affect": 0.25, "semantic": 1.0}
"""Weight of each source in the ridge of whole songs."""
_RIDGE_SONGS = 5.0
_COMPONENTS = 8
"""Directions of chord shares; these and the ridges cross-validated within train."""
_TABLE = 65


@dataclass(frozen=True)
class FitSong:
    """seen: of every fourth second; heard: (S, 2), density and loudness as ranks, -1..1.

    terms: (S, 2), the same in MuVi-Sync's terms; shares: (120,), of chords in the common key;
    change: how often the chord is another one than a second ago.
    """

    seen: Seen
    heard: Array
    terms: Array
    key: tuple[int, int]
    shares: Array
    change: float


def read_songs(root: Path, split: str) -> list[FitSong]:
    """Read one split; its density and loudness are ranked within train. Raises InputError."""
    ranks = [np.sort(np.concatenate(part)) for part in zip(*_heard(root, "train"), strict=True)]
    muvi = Muvi(root, split)
    songs = []
    for song in muvi.songs():
        whole = see(song.video)
        semantic = whole.semantic
        assert semantic is not None
        music = np.stack([song.music.density, song.music.loudness], axis=1)
        kernel = np.ones(_STEP) / _STEP
        smooth = np.stack([np.convolve(music[:, i], kernel, "same") for i in range(2)], axis=1)
        heard = np.stack(
            [2 * np.searchsorted(ranks[i], smooth[:, i]) / len(ranks[i]) - 1 for i in range(2)],
            axis=1,
        )
        terms = np.stack([np.log1p(smooth[:, 0]), np.log(smooth[:, 1] + FAINT)], axis=1)
        seen = Seen(whole.pixels[::_STEP], whole.place[::_STEP], semantic[::_STEP], whole.summary)
        chords = song.music.chords
        change = float((chords[1:] != chords[:-1]).mean()) if len(chords) > 1 else 0.0
        songs.append(
            FitSong(seen, heard[::_STEP], terms[::_STEP], song.music.key, _shares(chords), change)
        )
    return songs


def _shares(chords: NDArray[np.uint8]) -> Array:
    """Shares of the chords, (120,), in the common key that they suggest themselves."""
    ids = chords[chords < tk.NO_CHORD].astype(np.int64)
    if not len(ids):
        return np.full(tk.NO_CHORD, 1 / tk.NO_CHORD)
    chroma = tk.CHROMA[tk.chord_attributes(ids.astype(np.uint8))].sum(axis=0)
    mode, tonic = divmod(int(key_scores(np.arange(12), chroma).argmax()), 12)
    root = (ids // 10 - tonic - 3 * mode) % 12
    return np.bincount(root * 10 + ids % 10, minlength=tk.NO_CHORD) / len(ids)


def _heard(root: Path, split: str) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for song in Muvi(root, split).songs():
        yield song.music.density, song.music.loudness


def _ridge(x: Array, y: Array, strength: float) -> Array:
    """Weights (columns, outputs) of centred data; strength in units of the mean square of x."""
    scale = float((x**2).sum() / x.size) * len(x)
    return np.asarray(np.linalg.solve(x.T @ x + strength * scale * np.eye(x.shape[1]), x.T @ y))


def _near(song: FitSong) -> Array:
    pixels = song.seen.pixels - song.seen.mean
    return np.concatenate([pixels, song.seen.place - song.seen.place.mean(axis=0)], axis=1)


def _semantic(song: FitSong) -> Array:
    assert song.seen.semantic is not None
    return song.seen.semantic


def fit(songs: list[FitSong]) -> Heads:
    """Fit all heads on some songs."""
    near = np.concatenate([_near(s) for s in songs])
    heard = np.concatenate([s.heard - s.heard.mean(axis=0) for s in songs])
    local = np.concatenate([_semantic(s) - _semantic(s).mean(axis=0) for s in songs])
    spread = near.std(axis=0)
    pixels = _ridge(near / spread, heard, _RIDGE_PIXELS) / spread[:, None]
    # Motion and place first, CLIP on what they leave: the few do not drown in the many.
    clip = _ridge(local, heard - near @ pixels, _RIDGE_NEAR)
    means = np.stack([s.seen.mean for s in songs])
    song_heads = fit_songs(songs)
    semantic = np.stack([_semantic(s).mean(axis=0) for s in songs])
    clip_mean = semantic.mean(axis=0)
    centred = semantic - clip_mean
    minor = np.array([s.key[1] for s in songs], float)
    tonic = np.eye(12)[[s.key[0] for s in songs]]
    slope = 1 / (minor.mean() * (1 - minor.mean()))  # of the log odds, where they matter
    steps = np.linspace(0, 1, _TABLE)
    heads = Heads(
        pixel_mean=means.mean(axis=0), pixel_spread=means.std(axis=0) + 1e-6,
        pixels=pixels, clip_pixels=pixels, clip=clip, clip_mean=clip_mean,
        clip_mode=slope * _ridge(centred, minor - minor.mean(), _RIDGE_SONG),
        mode_bias=np.array(np.log(minor.mean() / (1 - minor.mean()))),
        clip_tonic=_ridge(centred, tonic - tonic.mean(axis=0), 30.0), tonic=tonic.mean(axis=0),
        pixel_table=np.zeros((_TABLE, 2)), clip_table=np.zeros((_TABLE, 2)),
        heard_table=np.quantile(np.concatenate([s.terms for s in songs]), steps, axis=0),
        song=song_heads,
    )  # fmt: skip
    with_clip = np.concatenate([heads.ranks(s.seen, everyday=False) for s in songs])
    blind = np.concatenate([heads.ranks(_blind(s.seen), everyday=False) for s in songs])
    values = {f.name: getattr(heads, f.name) for f in fields(heads)}
    values["clip_table"] = np.quantile(with_clip, steps, axis=0)
    values["pixel_table"] = np.quantile(blind, steps, axis=0)
    return Heads(**values)


def _blind(seen: Seen) -> Seen:
    summary = {name: x for name, x in seen.summary.items() if name != "semantic"}
    return Seen(seen.pixels, seen.place, None, summary)


def _numbers(song: FitSong) -> Array:
    """What song_heads.NUMBERS says of a song."""
    spread = song.heard.std(axis=0)
    return np.array([*song.heard.mean(axis=0), *spread, np.sqrt(song.change)])


def fit_songs(songs: list[FitSong]) -> SongHeads:
    """Fit the heads of whole songs."""
    centre, scale, blocks = {}, {}, []
    for name, weight in _BLOCKS.items():
        rows = np.stack([s.seen.summary[name] for s in songs])
        centre[name] = rows.mean(axis=0)
        spread = rows.std(axis=0)
        if name == "semantic":  # its directions keep their ratio
            spread[:] = np.sqrt((spread**2).mean())
        scale[name] = np.maximum(spread, 1e-6)
        blocks.append((rows - centre[name]) / scale[name] * np.sqrt(weight / rows.shape[1]))
    x = np.concatenate(blocks, axis=1)
    numbers = np.stack([_numbers(s) for s in songs])
    roots = np.sqrt(np.stack([s.shares for s in songs]))
    y = np.concatenate([numbers, roots], axis=1)
    away = y - y.mean(axis=0)
    solved = x.T @ np.linalg.solve(x @ x.T + _RIDGE_SONGS * np.eye(len(x)), away)
    chords = solved[:, len(NUMBERS) :]
    components = np.linalg.svd(x @ chords, full_matrices=False)[2][:_COMPONENTS]
    solved = np.concatenate([solved[:, : len(NUMBERS)], chords @ components.T], axis=1)
    maps, begin = {}, 0
    for name, weight in _BLOCKS.items():
        size = len(centre[name])
        maps[name] = solved[begin : begin + size] * np.sqrt(weight / size)
        begin += size
    average = np.concatenate([numbers.mean(axis=0), np.zeros(len(components))])
    return SongHeads(centre, scale, maps, average, components, roots.mean(axis=0))


def report(heads: Heads, songs: list[FitSong]) -> dict[str, float]:
    """How good the heads are on songs that they were not fitted on."""
    out: dict[str, float] = {}
    for name, show in (("clip", lambda s: s), ("pixels", _blind)):
        said = [heads.places(show(s.seen)) for s in songs]
        pairs = {
            "second": (np.concatenate(said), np.concatenate([s.heard for s in songs])),
            "song": (
                np.stack([x.mean(axis=0) for x in said]),
                np.stack([s.heard.mean(axis=0) for s in songs]),
            ),
            "within": (
                np.concatenate([x - x.mean(axis=0) for x in said]),
                np.concatenate([s.heard - s.heard.mean(axis=0) for s in songs]),
            ),
        }
        for level, (a, b) in pairs.items():
            for i, what in enumerate(("density", "loudness")):
                r = np.corrcoef(a[:, i], b[:, i])[0, 1]
                out[f"{name} {what} r by {level}"] = float(r)
        minor = np.array([heads.minor(show(s.seen)) for s in songs])
        truth = np.array([s.key[1] for s in songs])
        above = minor[truth == 1][:, None] - minor[truth == 0]
        out[f"{name} mode accuracy"] = float(np.mean((minor > 0.5) == truth))
        out[f"{name} mode AUC"] = float(np.mean(above > 0) + 0.5 * np.mean(above == 0))
        tonic = np.array([s.key[0] for s in songs])
        guess = np.array([heads.tonics(show(s.seen)).argmax() for s in songs])
        out[f"{name} tonic accuracy"] = float(np.mean(guess == tonic))
    guesses = [heads.song.guess(s.seen.summary) for s in songs]
    numbers = np.stack([g.numbers for g in guesses])
    truths = np.stack([_numbers(s) for s in songs])
    for i, what in enumerate(NUMBERS):
        out[f"whole songs, {what} r"] = _correlation(numbers[:, i], truths[:, i])
    guessed, held = (np.stack([x.shares for x in group]) for group in (guesses, songs))
    out["whole songs, chord shares r"] = _correlation(np.sqrt(guessed), np.sqrt(held))
    out["always major"] = float(np.mean([s.key[1] == 0 for s in songs]))
    commonest = int(heads.tonic.argmax())
    out["always the commonest tonic"] = float(np.mean([s.key[0] == commonest for s in songs]))
    return out


def _correlation(a: Array, b: Array) -> float:
    """Correlation over songs, columns taken together; 0 where one does not vary."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return float((a * b).sum() / max(np.sqrt((a**2).sum() * (b**2).sum()), 1e-12))


def main() -> None:
    """Fit on train, report on val, write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("muvi", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    options = parser.parse_args()
    heads = fit(read_songs(options.muvi, "train"))
    for name, value in report(heads, read_songs(options.muvi, "val")).items():
        print(f"{name}: {value:.3f}")
    for i, name in enumerate(PIXELS):
        print(f"weight of {name} within a video: {np.round(heads.pixels[i], 3)}")
    with atomic_output(options.out) as part, part.open("wb") as file:
        arrays = {name: np.asarray(x, np.float16) for name, x in heads.arrays().items()}
        np.savez_compressed(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
