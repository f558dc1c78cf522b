"""SymMV: piano covers of music videos, put on their own grid.

The published files run on a nominal 120 bpm; tempo, beats and bars are found from the notes
(`music.beats`), and of a song with stretches of different tempi the main one is taken. `SymMV.csv`
holds the key of each song.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from vmusprod.dataset.songs import Song, trim_bars
from vmusprod.errors import InputError
from vmusprod.music.beats import fit_stretches, main_stretch
from vmusprod.music.grid import grid_notes
from vmusprod.music.key import Key, parse_key
from vmusprod.music.score import read_midi

__all__ = ["iter_symmv", "load_symmv", "read_labels"]

MIN_FIT = 0.6


def read_labels(path: Path) -> dict[str, Key]:
    """Song number to key, from `SymMV.csv` (tab-separated).

    Raises InputError when it cannot be read or lacks the columns.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        return {row["index"]: parse_key(row["tonality"]) for row in rows}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, str(getattr(error, "strerror", None) or error)) from error
    except (KeyError, ValueError, AttributeError) as error:
        raise InputError(path, f"not SymMV's table of songs ({error})") from error


def iter_symmv(
    root: Path, skipped: list[tuple[Path, str]], min_fit: float = MIN_FIT
) -> Iterator[Song]:
    """Read the songs whose onsets follow a grid, in order; others go to `skipped` with the reason.

    Raises InputError when `root` is not the data set.
    """
    root = Path(root)
    keys = read_labels(root / "SymMV.csv")
    for path in sorted((root / "midi").glob("*.mid")):
        try:
            song = _song(path, keys, min_fit)
        except InputError as error:
            skipped.append((path, error.cause))
            continue
        if isinstance(song, str):
            skipped.append((path, song))
        else:
            yield song


def load_symmv(root: Path, min_fit: float = MIN_FIT) -> tuple[list[Song], list[tuple[Path, str]]]:
    """All songs of `iter_symmv`, and what was skipped."""
    skipped: list[tuple[Path, str]] = []
    return list(iter_symmv(root, skipped, min_fit)), skipped


def _song(path: Path, keys: dict[str, Key], min_fit: float) -> Song | str:
    key = keys.get(path.stem)
    if key is None:
        return "no key in SymMV.csv"
    stretches = fit_stretches(read_midi(path))
    if not stretches:
        return "too few notes for a grid"
    stretch = main_stretch(stretches)
    grid = stretch.grid
    if grid.concentration < min_fit:
        return f"no steady pulse (concentration {grid.concentration:.2f})"
    if grid.beats_a_bar != 4:
        return "not in 4/4"
    notes, _ = trim_bars(grid_notes(stretch.notes, grid))
    return Song(path.stem, "symmv", notes, None, key, None, grid.tempo, grid.concentration)
