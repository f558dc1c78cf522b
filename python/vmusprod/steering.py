"""What a video asks of the music beyond its chords: key, and how dense and loud each bar is.

Small linear heads, fitted on MuVi-Sync (dataset/fit_heads.py), run in numpy. A level is a place
among the training seconds, 1 (sparse, soft) to 8 (dense, loud): the classes that melody and
accompaniment were trained on are such places too (dataset/pack.py).

A level has two parts. How a second differs from the rest of its video is learned from what is seen:
motion, cuts and affect, where in the video it lies, and CLIP's features where they are at hand. How
dense and loud the whole is, CLIP's features tell (r = 0.58 and 0.36 over unseen songs). Pixels
alone do not: over music videos, motion and note density even go against each other (r = -0.16).
There the listener's habit stands in, said so here: much motion, many cuts and high arousal are
dense and loud. The mode is CLIP's guess, shifted by the picture's valence; pixels alone: by valence
only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.song_heads import SongHeads
from vmusprod.video.features import VideoFeatures, seconds
from vmusprod.video.rows import log_motion, product, unit_rows
from vmusprod.video.summary import summarise

__all__ = ["LEVELS", "Heads", "Seen", "Steering", "default_heads", "see", "steer"]

Array = NDArray[np.float64]

LEVELS = 8
PIXELS = ("motion", "cuts", "valence", "arousal")
_SMOOTH = 5  # seconds over which a moving average is taken
_HATS = 6  # hat functions of the place in the video
_FULL_LENGTH = 90.0  # seconds; in a shorter video its beginning and end shape the music less
_HABIT = np.array([0.5, 0.25, 0.0, 0.35])
"""Weights of a video's mean motion, cuts, valence and arousal (standardised) in its activity."""
_EVERYDAY = np.array([2.1, 0.15, 0.0, -0.2]), np.array([0.6, 0.25, 0.5, 0.4])
"""Means and spreads by which a video is called active: of everyday video, set by hand. Music videos
have a cut every other second; beside them anything else would be a still life."""
_HABIT_PIXELS = np.array([0.25, 0.25])
_HABIT_CLIP = np.array([0.05, 0.10])
"""Of the activity in density and loudness, without and with CLIP."""
_SADNESS = 2.2, 0.6
"""Of valence in the log odds of minor, without and with CLIP."""
_GOLDEN = 0x9E3779B97F4A7C15  # of 2**64
_SPREAD = 0xD1B54A32D192ED03  # any odd number, to tell videos apart
_MINOR = -0.6
"""Log odds of minor, pixels alone, for a picture of middling valence."""


@dataclass(frozen=True)
class Seen:
    """What the heads look at, S seconds.

    pixels: (S, 4) by `PIXELS`, smoothed, motion on a log scale, missing sources NaN; place: (S, 6)
    hat functions; semantic: (S, 768), smoothed, or None; summary: of the whole, by source.
    """

    pixels: Array
    place: Array
    semantic: Array | None
    summary: dict[str, Array]

    @property
    def mean(self) -> Array:
        """(4,): the means of `pixels`."""
        return np.asarray(self.pixels.mean(axis=0))


def see(features: VideoFeatures, without: tuple[str, ...] = ()) -> Seen:
    """What the heads look at in a video; sources named in `without` count as missing."""
    count = seconds(features.duration)
    pixels = np.full((count, len(PIXELS)), np.nan)
    if "motion" not in without:
        pixels[:, 0] = log_motion(features, count)
        cut = np.bincount(features.cuts.astype(np.int64), minlength=count)[:count]
        pixels[:, 1] = np.minimum(cut, 1)
    if features.affect is not None and "affect" not in without:
        pixels[:, 2:] = np.clip(features.affect[:count], -1, 1)
    semantic = None
    if features.semantic is not None and "semantic" not in without:
        semantic = _smooth(unit_rows(features.semantic[:count].astype(np.float64)))
    at = np.linspace(0, _HATS - 1, count)[:, None]
    hats = np.maximum(1 - np.abs(at - np.arange(_HATS)), 0)
    place = hats * min(count / _FULL_LENGTH, 1.0)
    return Seen(_smooth(pixels), place, semantic, summarise(features, without))


def _smooth(rows: Array) -> Array:
    """Moving average over five rows, shorter at the ends."""
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    at = np.arange(len(rows))
    low, high = np.maximum(at - _SMOOTH // 2, 0), np.minimum(at + _SMOOTH // 2 + 1, len(rows))
    return np.asarray((total[high] - total[low]) / (high - low)[:, None])


@dataclass(frozen=True)
class Heads:
    """The weights; each maps what its name says to density and loudness as ranks, -1..1.

    pixel_mean, pixel_spread: (4,) over songs' means. pixels: (10, 2), of pixels and place, each
    less its mean over the video; clip_pixels: (10, 2) and clip: (768, 2) the same beside CLIP.
    clip_mean: (768,). clip_mode: (768,) and mode_bias: log odds of minor. clip_tonic: (768, 12),
    tonic: (12,) shares. pixel_table, clip_table: (T, 2), quantiles of what the heads say over the
    training songs; heard_table: (T, 2), of the density and loudness heard in their seconds, in
    MuVi-Sync's terms (log(1 + notes), log of RMS). song: of whole songs.
    """

    pixel_mean: Array
    pixel_spread: Array
    pixels: Array
    clip_pixels: Array
    clip: Array
    clip_mean: Array
    clip_mode: Array
    mode_bias: Array
    clip_tonic: Array
    tonic: Array
    pixel_table: Array
    clip_table: Array
    heard_table: Array
    song: SongHeads

    def arrays(self) -> dict[str, Array]:
        """Everything by name, as `load` reads it."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "song"}
        return own | self.song.arrays()

    @classmethod
    def load(cls, path: Path) -> Heads:
        """Read what dataset/fit_heads.py wrote. Raises InputError."""
        names = [f.name for f in fields(cls) if f.name != "song"]
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                held = {name: data[name].astype(np.float64) for name in data.files}
            return cls(**{name: held[name] for name in names}, song=SongHeads.of(held))
        except Exception as error:  # what numpy raises on a damaged archive is without end
            raise InputError(path, f"not vmus's steering heads ({error})") from error

    def activity(self, seen: Seen, everyday: bool = True) -> float:
        """How active a video is, about -2.5..2.5, beside everyday or the training videos."""
        mean, spread = _EVERYDAY if everyday else (self.pixel_mean, self.pixel_spread)
        z = (seen.mean - mean) / spread
        here = np.isfinite(z)
        if not here.any():
            return 0.0
        weights = _HABIT * here
        return float(np.clip(weights @ np.where(here, z, 0.0) / max(weights.sum(), 0.3), -2.5, 2.5))

    def ranks(self, seen: Seen, everyday: bool = True) -> Array:
        """Density and loudness as the heads say, before they are ranked: (S, 2)."""
        near = np.concatenate([np.nan_to_num(seen.pixels - seen.mean), seen.place], axis=1)
        near[:, len(PIXELS) :] -= seen.place.mean(axis=0)
        active = self.activity(seen, everyday)
        if seen.semantic is None:
            return np.asarray(product(near, self.pixels) + _HABIT_PIXELS * active)
        local = product(near, self.clip_pixels)
        local += product(seen.semantic - seen.semantic.mean(axis=0), self.clip)
        song = self.song.guess(seen.summary)
        return np.asarray(local * song.liveliness + song.level + _HABIT_CLIP * active)

    def places(self, seen: Seen) -> Array:
        """Density and loudness as places among the training seconds: (S, 2), 0..1."""
        table = self.pixel_table if seen.semantic is None else self.clip_table
        ranks = self.ranks(seen)
        steps = np.linspace(0, 1, len(table))
        return np.stack([np.interp(ranks[:, i], table[:, i], steps) for i in range(2)], axis=1)

    def minor(self, seen: Seen) -> float:
        """The probability that the music is in minor."""
        valence = float(np.nan_to_num(seen.mean[PIXELS.index("valence")]))
        if seen.semantic is None:
            odds = _MINOR - _SADNESS[0] * valence
        else:
            mean = seen.semantic.mean(axis=0) - self.clip_mean
            odds = float(mean @ self.clip_mode + self.mode_bias) - _SADNESS[1] * valence
        return float(1 / (1 + np.exp(-odds)))

    def tonics(self, seen: Seen) -> Array:
        """Probabilities of the twelve tonics, (12,)."""
        if seen.semantic is None:
            return np.full(12, 1 / 12)
        mean = seen.semantic.mean(axis=0) - self.clip_mean
        chance = np.maximum(self.tonic + product(mean, self.clip_tonic), 0.01)
        return np.asarray(chance / chance.sum())


@dataclass(frozen=True)
class Steering:
    """places: (S, 2), density and loudness of each second, 0..1; minor, tonics: probabilities.

    leaning: (12, 11) and hold: as `models.task.Task`'s. heard: see `Heads.heard_table`.
    """

    places: Array
    minor: float
    tonics: Array
    leaning: NDArray[np.float32]
    hold: float
    heard: Array

    def bars(self, start: float, ends: Array) -> Array:
        """Density and loudness, 0..1, of bars that end at `ends` (s): (bars, 2).

        start: of the first bar, seconds on the video's clock.
        """
        out = np.zeros((len(ends), 2))
        for bar, end in enumerate(ends):
            first = min(max(int(start), 0), len(self.places) - 1)
            last = min(max(int(np.ceil(end)), first + 1), len(self.places))
            out[bar] = self.places[first:last].mean(axis=0)
            start = float(end)
        return out

    def key(self, seed: int, video: int) -> tuple[int, int]:
        """A tonic and a mode by the dice; `video` is any number of the video's own.

        Seeds in a row share out the modes as their probability says (the golden ratio's multiples
        are spread evenly), so that ten pieces for a sad film are not seven in major by bad luck.
        """
        tonic = int(np.random.default_rng([seed, video]).choice(12, p=self.tonics))
        turn = (seed * _GOLDEN + video * _SPREAD) % (1 << 64) / (1 << 64)
        return tonic, int(turn < self.minor)


@cache
def default_heads() -> Heads:
    """The heads in the package. Raises InputError when they are missing or damaged."""
    return Heads.load(Path(str(resources.files("vmusprod"))) / "weights" / "video" / "heads.npz")


def steer(
    features: VideoFeatures, without: tuple[str, ...] = (), heads: Heads | None = None
) -> Steering:
    """What a video asks for; sources named in `without` are not looked at. Raises InputError."""
    heads = heads or default_heads()
    seen = see(features, without)
    song = heads.song.guess(seen.summary)
    return Steering(
        heads.places(seen), heads.minor(seen), heads.tonics(seen), song.leaning(), song.hold(),
        heads.heard_table,
    )  # fmt: skip
