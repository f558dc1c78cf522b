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
from vmusprod.steering import PIXELS, Heads, Seen, see

__all__ = ["FitSong", "fit", "read_songs", "report"]

Array = NDArray[np.float64]

_STEP = 4  # every fourth second: neighbours are smoothed and say the same
_RIDGE_NEAR, _RIDGE_SONG = 1.0, 3.0
_RIDGE_PIXELS = 0.01
_TABLE = 65


@dataclass(frozen=True)
class FitSong:
    """seen: of every fourth second; heard: (S, 2), density and loudness as ranks, -1..1."""

    seen: Seen
    heard: Array
    key: tuple[int, int]


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
        seen = Seen(whole.pixels[::_STEP], whole.place[::_STEP], semantic[::_STEP])
        songs.append(FitSong(seen, heard[::_STEP], song.music.key))
    return songs


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
    semantic = np.stack([_semantic(s).mean(axis=0) for s in songs])
    clip_mean = semantic.mean(axis=0)
    centred = semantic - clip_mean
    target = np.stack([s.heard.mean(axis=0) for s in songs])
    minor = np.array([s.key[1] for s in songs], float)
    tonic = np.eye(12)[[s.key[0] for s in songs]]
    slope = 1 / (minor.mean() * (1 - minor.mean()))  # of the log odds, where they matter
    heads = Heads(
        pixel_mean=means.mean(axis=0), pixel_spread=means.std(axis=0) + 1e-6,
        pixels=pixels, clip_pixels=pixels, clip=clip, clip_mean=clip_mean,
        clip_song=_ridge(centred, target - target.mean(axis=0), _RIDGE_SONG),
        song_bias=target.mean(axis=0),
        clip_mode=slope * _ridge(centred, minor - minor.mean(), _RIDGE_SONG),
        mode_bias=np.array(np.log(minor.mean() / (1 - minor.mean()))),
        clip_tonic=_ridge(centred, tonic - tonic.mean(axis=0), 30.0), tonic=tonic.mean(axis=0),
        pixel_table=np.zeros((_TABLE, 2)), clip_table=np.zeros((_TABLE, 2)),
    )  # fmt: skip
    steps = np.linspace(0, 1, _TABLE)
    with_clip = np.concatenate([heads.ranks(s.seen, everyday=False) for s in songs])
    blind = np.concatenate([heads.ranks(_blind(s.seen), everyday=False) for s in songs])
    values = {f.name: getattr(heads, f.name) for f in fields(heads)}
    values["clip_table"] = np.quantile(with_clip, steps, axis=0)
    values["pixel_table"] = np.quantile(blind, steps, axis=0)
    return Heads(**values)


def _blind(seen: Seen) -> Seen:
    return Seen(seen.pixels, seen.place, None)


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
    out["always major"] = float(np.mean([s.key[1] == 0 for s in songs]))
    commonest = int(heads.tonic.argmax())
    out["always the commonest tonic"] = float(np.mean([s.key[0] == commonest for s in songs]))
    return out


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
        arrays = {f.name: getattr(heads, f.name).astype(np.float32) for f in fields(heads)}
        np.savez(file, allow_pickle=False, **arrays)


if __name__ == "__main__":
    main()
