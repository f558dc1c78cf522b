"""What the statistics count, song by song: read from what `vmus annotate` writes, or from SymMV."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.annotation.metadata import Metadata, load_metadata
from vmusprod.dataset.symmv import read_labels
from vmusprod.dataset.table import read_table
from vmusprod.errors import InputError
from vmusprod.music.beats import fit_stretches, main_stretch
from vmusprod.music.chord_names import chord_id
from vmusprod.music.key import Key, parse_key
from vmusprod.music.score import TimedNotes, read_midi
from vmusprod.music.user_input import BeatNotes, read_beat_notes

__all__ = ["SongFacts", "iter_songs"]

_TICKS_A_BEAT = 220
_MAX_BYTES = 4 << 20
_MIN_FIT = 0.6

Skipped = list[InputError]
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class SongFacts:
    """One song.

    Attributes
    ----------
    id : str
    genre : str or None
    key : (int, int)
        Tonic, and mode 0 major / 1 minor.
    tempo : float or None
        Quarter notes a minute; None where no steady pulse was found.
    seconds : float
        To the end of the last note.
    pitch, beats : uint8 (N,), float64 (N,)
        The notes, and how many beats each lasts.
    chords, chord_beats : uint8 (C,), float64 (C,)
        Chord ids (root * 10 + quality, 120: none) in order, neighbours different, and their beats.
    """

    id: str
    genre: str | None
    key: Key
    tempo: float | None
    seconds: float
    pitch: NDArray[np.uint8]
    beats: NDArray[np.float64]
    chords: NDArray[np.uint8]
    chord_beats: NDArray[np.float64]


def iter_songs(
    root: Path, metadata: Path | None, failed: Skipped, progress: Progress
) -> Iterator[SongFacts]:
    """Read the songs of an annotated folder, or of SymMV as published, in order of their names.

    `metadata` is a table with a column `genre`. A song that cannot be read goes to `failed`.
    Raises InputError: no such folder, neither of the two in it, an unusable table.
    """
    if not root.is_dir():
        raise InputError(root, "no such folder")
    about = load_metadata(metadata)
    if metadata is not None and _genre_column(about.columns) is None:
        raise InputError(metadata, "no column 'genre'")
    if (root / "SymMV.csv").is_file():
        yield from _iter_symmv(root, about, failed, progress)
        return
    files = _annotations(root)
    if not files:
        raise InputError(root, "neither annotated songs (annotation.json) nor SymMV.csv in it")
    for number, path in enumerate(files):
        name = path.parent.relative_to(root).as_posix()
        progress(name, number / len(files))
        try:
            yield _annotated_song(path, name, about)
        except InputError as error:
            failed.append(error)


def _annotations(root: Path) -> list[Path]:
    found = []
    for folder, inner, names in os.walk(root):
        inner.sort()
        if "annotation.json" in names:
            found.append(Path(folder) / "annotation.json")
    return sorted(found)


def _annotated_song(path: Path, name: str, about: Metadata) -> SongFacts:
    facts = _read_facts(path)
    try:
        key = parse_key(facts["key"])
        tempo = float(facts["tempo"])
        seconds = float(facts["duration"])
        if not (0 < tempo < 1e4 and 0 < seconds < 1e6):
            raise ValueError("tempo or duration out of range")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(path, f"not an annotation ({error})") from error
    parts = [
        read_beat_notes(path.parent / part)
        for part in ("melody.mid", "accompaniment.mid")
        if _holds_notes(facts, part)
    ]
    pitch, beats = _joined(parts)
    chords, chord_beats = read_chord_spans(path.parent / "chord.txt")
    own = facts.get("metadata")
    row = about.of(name) or (own if isinstance(own, dict) else {})
    return SongFacts(name, _genre(row), key, tempo, seconds, pitch, beats, chords, chord_beats)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(path, "too large for an annotation")
        facts = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"not an annotation ({error})") from error
    if not isinstance(facts, dict):
        raise InputError(path, "not an annotation")
    return facts


def _holds_notes(facts: dict[str, Any], part: str) -> bool:
    """A part may be empty, which `read_midi` would call a broken file."""
    return bool(facts.get(part.replace(".mid", "_notes"), 1))


def _iter_symmv(
    root: Path, about: Metadata, failed: Skipped, progress: Progress
) -> Iterator[SongFacts]:
    keys = read_labels(root / "SymMV.csv")
    genres = _own_genres(root / "SymMV.csv")
    files = sorted((root / "midi").glob("*.mid"))
    if not files:
        raise InputError(root, "no songs in its folder midi")
    for number, path in enumerate(files):
        progress(path.stem, number / len(files))
        try:
            if path.stem not in keys:
                raise InputError(path, "not in SymMV.csv")
            timed = read_midi(path)
            notes = read_beat_notes(path)
            chords, chord_beats = read_chord_spans(root / "chord" / f"{path.stem}.txt")
        except InputError as error:
            failed.append(error)
            continue
        pitch, beats = _joined([notes])
        yield SongFacts(
            path.stem, _genre(about.of(path.name)) or genres.get(path.stem), keys[path.stem],
            _tempo(timed), float(timed.offset.max()), pitch, beats, chords, chord_beats,
        )  # fmt: skip


def _own_genres(table: Path) -> dict[str, str]:
    columns, rows = read_table(table)
    name = _genre_column(columns)
    if name is None:
        return {}
    return {row.get("index", ""): genre for row in rows if (genre := row.get(name, "").strip())}


def _tempo(notes: TimedNotes) -> float | None:
    """The tempo of a song whose file has none; None where its onsets follow no grid."""
    stretches = fit_stretches(notes)
    grid = main_stretch(stretches).grid if stretches else None
    return grid.tempo if grid is not None and grid.concentration >= _MIN_FIT else None


def _joined(parts: list[BeatNotes]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    if not parts:
        return np.zeros(0, np.uint8), np.zeros(0)
    return (
        np.concatenate([part.pitch for part in parts]),
        np.concatenate([part.end - part.start for part in parts]).astype(np.float64),
    )


def read_chord_spans(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Read SymMV's chord text (start tick, end tick, name): chord ids (C,) and their beats (C,).

    Neighbours of one name are joined. Raises InputError.
    """
    ids: list[int] = []
    beats: list[float] = []
    end = 0
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InputError(path, "too large for a chord file")
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.strip():
                continue
            start, stop, name = line.split()
            chord, length = chord_id(name), (int(stop) - int(start)) / _TICKS_A_BEAT
            if length <= 0:
                raise ValueError("a chord that ends before it begins")
            if ids and ids[-1] == chord and int(start) == end:
                beats[-1] += length
            else:
                ids.append(chord)
                beats.append(length)
            end = int(stop)
    except OSError as error:
        raise InputError(path, error) from error
    except ValueError as error:
        raise InputError(path, f"not start tick, end tick, chord ({error})") from error
    return np.array(ids, np.uint8), np.array(beats, np.float64)


def _genre_column(columns: list[str]) -> str | None:
    return next((name for name in columns if name.lower() == "genre"), None)


def _genre(row: dict[str, Any]) -> str | None:
    name = _genre_column(list(row))
    return str(row[name]).strip() or None if name is not None and row[name] else None
