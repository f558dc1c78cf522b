"""The songs below folders, one after the other, each with a name of its own.

Nothing but the folder that is being listed is held in memory. Links are followed; a folder that
several paths lead to is walked once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmusprod.errors import InputError

__all__ = ["Found", "walk_songs"]

# Files and folders of an output: no song may be called so.
_RESERVED = frozenset(
    ("songs.csv", "songs.parquet", "failed.csv", "melody.mid", "accompaniment.mid", "chord.lab",
     "chord.txt", "beats.txt", "annotation.json", "annotation.jams")
)  # fmt: skip
_OWN_PARTS = ("melody.mid", "accompaniment.mid")


@dataclass(frozen=True)
class Found:
    """A song: the file, its path as tables have it, and the name of its folder in the output."""

    source: Path
    path: str
    name: Path


def walk_songs(
    inputs: Sequence[Path], out: Path, is_song: Callable[[str], bool]
) -> Iterator[Found]:
    """Yield the songs in files and folders, in order.

    Of one folder, names are paths below it; of several inputs, those of a folder lie under the
    folder's own name, with a number where two are called alike. In a folder `a.mid` is `a`; where
    that would be two songs', or no name for a folder, each is named with its suffix. Skipped are
    hidden files, the folder `out`, and parts of annotations.

    Raises InputError for an input that does not exist.
    """
    for path in inputs:
        if not path.exists():
            raise InputError(path, "no such file or folder")
    skipped = os.path.realpath(out)
    seen: set[tuple[int, int]] = set()
    taken: Counter[str] = Counter()
    for path in inputs:
        label = _unlike(_stem(path.name) if path.is_file() else path.resolve().name, taken)
        if path.is_file():
            yield Found(path, path.name, Path(label))
            continue
        prefix = Path(label) if len(inputs) > 1 else Path()
        yield from _walk(path, prefix, skipped, is_song, seen)


def _walk(
    folder: Path,
    prefix: Path,
    skipped: str,
    is_song: Callable[[str], bool],
    seen: set[tuple[int, int]],
) -> Iterator[Found]:
    # A stack, not recursion: folders may be nested deeper than Python's calls may.
    stack: list[tuple[Path, Path]] = [(folder, prefix)]
    while stack:
        place, below = stack.pop()
        try:
            about = place.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            folders, names = _listed(place, skipped)
        except OSError as error:
            if place == folder:
                raise InputError(place, error) from error
            continue  # a folder that may not be read hides its songs only
        songs = [name for name in names if is_song(name)]
        if "annotation.json" in names:
            songs = [name for name in songs if name not in _OWN_PARTS]
        for name, own in zip(songs, _names(songs), strict=True):
            yield Found(place / name, os.fspath(below / name), below / own)
        stack += [(place / name, below / name) for name in reversed(folders)]


def _listed(place: Path, skipped: str) -> tuple[list[str], list[str]]:
    """Folders and files of a folder, sorted, hidden ones left out."""
    folders, names = [], []
    with os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                if entry.is_dir():
                    if os.path.realpath(entry.path) != skipped:
                        folders.append(entry.name)
                elif entry.is_file():
                    names.append(entry.name)
            except OSError:
                continue  # a link to itself is neither
    return sorted(folders), sorted(names)


def _stem(name: str) -> str:
    stem = Path(name).stem
    return name if not stem.strip(". ") or stem.casefold() in _RESERVED else stem


def _names(songs: Sequence[str]) -> list[str]:
    stems = [_stem(name) for name in songs]
    count = Counter(stem.casefold() for stem in stems)
    taken: Counter[str] = Counter()
    return [
        _unlike(stem if count[stem.casefold()] == 1 else name, taken)
        for stem, name in zip(stems, songs, strict=True)
    ]


def _unlike(name: str, taken: Counter[str]) -> str:
    """The name, with a number if it was given before; two that differ in case only are alike."""
    new, number = name, 1
    while taken[new.casefold()]:
        number += 1
        new = f"{name}-{number}"
    taken[new.casefold()] += 1
    return new
