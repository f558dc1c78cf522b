"""Pairs of video and music, as a table or as two folders, and what is read of each file."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vmusprod.errors import InputError

__all__ = ["AUDIO_SUFFIXES", "MIDI_SUFFIXES", "MUSIC_SUFFIXES", "PairFiles", "find_pairs"]

MIDI_SUFFIXES = (".mid", ".midi")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")
MUSIC_SUFFIXES = (*MIDI_SUFFIXES, ".npz", *AUDIO_SUFFIXES)
_VIDEO_SUFFIXES = (".npz", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ogv",
                   ".ts", ".wmv", ".3gp")  # fmt: skip
_MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class PairFiles:
    """A video (or its feature file) and the music for it (MIDI, audio or a feature file)."""

    video: Path
    music: Path


def find_pairs(source: str | os.PathLike[str], music: Path | None = None) -> list[PairFiles]:
    """Pairs of a CSV table with columns `video,music`, or of two folders.

    Paths in a table are taken from the table's folder. Of the folders `source` and `music` files of
    one stem are a pair; of several such the first suffix of a fixed order counts (features before
    videos, MIDI before audio). Raises InputError: unreadable, no such columns, an empty cell, no
    pairs.
    """
    source = Path(source)
    if music is not None:
        return _folders(source, music)
    if source.is_dir():
        raise InputError(source, "is a folder: give the folder of the music too, or a table")
    return _table(source)


def _table(path: Path) -> list[PairFiles]:
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise InputError(path, "larger than 16 MB: not a table of pairs")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not {"video", "music"} <= set(rows.fieldnames or ()):
                raise InputError(path, "not a table with the columns video,music")
            pairs = [_row(path, row, rows.line_num) for row in rows]
    except OSError as error:
        raise InputError(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(path, f"not a table of pairs ({error})") from error
    if not pairs:
        raise InputError(path, "no pairs in it")
    return pairs


def _row(path: Path, row: dict[str, str | None], line: int) -> PairFiles:
    cells = [(row[name] or "").strip() for name in ("video", "music")]
    if not all(cells) or any("\0" in cell for cell in cells):
        raise InputError(path, f"line {line}: a pair lacks its video or its music")
    return PairFiles(*(path.parent / cell for cell in cells))


def _folders(videos: Path, musics: Path) -> list[PairFiles]:
    left, right = _by_stem(videos, _VIDEO_SUFFIXES), _by_stem(musics, MUSIC_SUFFIXES)
    pairs = [PairFiles(left[stem], right[stem]) for stem in sorted(left.keys() & right.keys())]
    if not pairs:
        raise InputError(videos, f"no video in it has the name of music in {musics}")
    return pairs


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(folder, "no such folder" if not folder.exists() else "not a folder")
    found: dict[str, Path] = {}
    for suffix in suffixes:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() == suffix and not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return found
