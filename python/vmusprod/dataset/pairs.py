"""MuVi-Sync as training pairs: chords on a grid of beats, beside what was seen each second."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod import _vmus_rs
from vmusprod.dataset.chord_grid import (
    WEAK_FIT,
    ChordGrid,
    beat_chords,
    chord_changes,
    fit_chord_grid,
)
from vmusprod.dataset.muvi import SPLITS, Muvi, MuviSong
from vmusprod.dataset.pack import to_common_key
from vmusprod.dataset.pack_video import PairedVideo
from vmusprod.errors import InputError
from vmusprod.music import tokens as tk
from vmusprod.video.rows import video_rows

__all__ = ["Palette", "iter_pairs", "read_palette"]

_MIN_BARS = 8
_NEAR = 12
"""Pictures of like affect among which a second's colours are drawn."""
_HOLD = 4.0
"""Seconds for which a picture is kept where no cut comes before: colours change slowly."""


@dataclass(frozen=True)
class Palette:
    """Colour histograms (K, 3072), each summing to 1, and the pictures' affect ranks (K, 2)."""

    colors: NDArray[np.float16]
    affect: NDArray[np.float32]


def read_palette(root: Path) -> Palette:
    """Read OASIS's pictures (`thumbs/`, `thumbs.tsv`): colours with human valence and arousal.

    Affect is ranked over the pictures, -1..1, as MuVi-Sync's is over its seconds. Raises
    InputError.
    """
    import av

    table = root / "thumbs.tsv"
    colors, ratings = [], []
    try:
        with table.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                with av.open(str(root / "thumbs" / row["file"])) as picture:
                    decoded = next(picture.decode(video=0)).to_ndarray(format="rgb24")
                pixels = np.asarray(decoded, np.uint8)
                step = max(1, round((pixels.shape[0] * pixels.shape[1] / 3600) ** 0.5))
                picked = np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])
                colors.append(_vmus_rs.color_histogram(picked).reshape(-1))
                ratings.append((float(row["valence_mean_1to7"]), float(row["arousal_mean_1to7"])))
    except (OSError, UnicodeDecodeError, av.FFmpegError) as error:
        raise InputError(table, error) from error
    except (KeyError, ValueError, TypeError, StopIteration, csv.Error) as error:
        raise InputError(table, f"not OASIS's table of pictures ({error})") from error
    if len(colors) < _NEAR:
        raise InputError(table, f"fewer than {_NEAR} pictures")
    order = np.array(ratings).argsort(axis=0).argsort(axis=0)
    affect = (2 * (order + 0.5) / len(order) - 1).astype(np.float32)
    return Palette(np.stack(colors).astype(np.float16), affect)


def iter_pairs(
    root: Path, palette: Palette | None, skipped: list[tuple[Path, str]], fits: list[float]
) -> Iterator[dict[str, object]]:
    """Entries for `pack.write_pack` of both splits of MuVi-Sync, each with its `video`.

    The concentration of each song's fit is added to `fits`; songs without chords to put on a grid
    are added to `skipped`. Raises InputError for a damaged data set.
    """
    for split in SPLITS:
        muvi = Muvi(root, split)
        for number in range(len(muvi)):
            song = muvi.song(number)
            grid = fit_chord_grid(chord_changes(song.music.spans))
            entry = None if grid is None else _entry(song, grid, split, palette)
            if entry is None or grid is None:
                skipped.append((Path(f"muvi/{song.id}"), "too few chords for a grid"))
                continue
            fits.append(grid.fit)
            yield entry


def weak_share(fits: list[float]) -> float:
    """The share of songs whose grid is little better than a guess."""
    return float(np.mean(np.array(fits) < WEAK_FIT)) if fits else 0.0


def _entry(
    song: MuviSong, grid: ChordGrid, split: str, palette: Palette | None
) -> dict[str, object] | None:
    """One song from its first bar with a chord to its last; None if that is too short."""
    first = grid.start - grid.bar if grid.start > 0 else grid.start
    bars = int(np.ceil((song.video.duration - first) / grid.bar))
    chords = beat_chords(song.music.spans, grid, first, bars * tk.BEATS_PER_BAR)
    sounding = np.flatnonzero(np.any(chords.reshape(bars, -1) < tk.NO_CHORD, axis=1))
    if not len(sounding) or sounding[-1] + 1 - sounding[0] < _MIN_BARS:
        return None
    begin, end = int(sounding[0]), int(sounding[-1]) + 1
    chords = chords[begin * tk.BEATS_PER_BAR : end * tk.BEATS_PER_BAR]
    empty = np.zeros((0, 4), np.int32)
    _, common = to_common_key(empty, chords, song.music.key)
    silent = tk.encode(end - begin, notes=empty)
    seed = int(song.id) if song.id.isdigit() else 0
    return {
        "id": f"muvi/{song.id}",
        "source": "muvi",
        "split": split,
        "bars": end - begin,
        "tempo": grid.tempo,
        "mode": int(song.music.key[1]),
        "chord": tk.encode(end - begin, chords=common),
        "melody": silent,
        "accompaniment": silent,
        "video": _video(song, first + begin * grid.bar, first + end * grid.bar, palette, seed),
    }


def _video(
    song: MuviSong, start: float, end: float, palette: Palette | None, seed: int
) -> PairedVideo:
    rows = video_rows(song.video, max(start, 0.0), min(end, song.video.duration))
    count = len(rows["motion"])
    has = {"semantic", "affect", "motion"}
    color = np.full(count, -1, np.int32)
    colors = np.zeros((0, 3072), np.float16)
    if palette is not None:
        has.add("color")
        rng = np.random.default_rng(seed)
        color, colors = _borrow(rows["affect"], rows["motion"][:, 1], palette, rng), palette.colors
    return PairedVideo(
        rows["semantic"], np.ones(768, np.float32), rows["affect"].astype(np.float16),
        rows["motion"].astype(np.float16), color, colors, frozenset(has),
    )  # fmt: skip


def _borrow(
    affect: NDArray[np.float32],
    cut: NDArray[np.float32],
    palette: Palette,
    rng: np.random.Generator,
) -> NDArray[np.int32]:
    """For each second the number of a picture of like affect, the same one until the next cut."""
    out = np.zeros(len(affect), np.int32)
    since = np.inf
    for second, place in enumerate(affect):
        since += 1
        if second == 0 or cut[second] or since >= _HOLD:
            distance = ((palette.affect - place) ** 2).sum(axis=1)
            out[second] = rng.choice(np.argpartition(distance, _NEAR)[:_NEAR])
            since = 0
        else:
            out[second] = out[second - 1]
    return out
