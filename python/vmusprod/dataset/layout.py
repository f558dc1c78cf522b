"""Where the songs of a set are, whichever of the known shapes its folder has.

`annotated`: what `vmus annotate` wrote; `symmv`: a table, midi/ and chord/; `midi`: anything else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmusprod.annotation.sources import MIDI_SUFFIXES
from vmusprod.annotation.tables import printable
from vmusprod.annotation.walk import walk_songs
from vmusprod.errors import InputError
from vmusprod.music.score import TimedNotes, read_midi

__all__ = ["Entry", "find_entries", "kind_of", "read_facts_of", "read_notes"]


@dataclass(frozen=True)
class Entry:
    """A song of a set: its name, and the files whose notes together are its notes."""

    name: str
    files: tuple[Path, ...]


def kind_of(folder: Path) -> str:
    """`annotated`, `symmv` or `midi`. Raises InputError when there is no such folder."""
    if not folder.is_dir():
        raise InputError(folder, "no such folder")
    if (folder / "songs.csv").is_file() and (folder / "failed.csv").is_file():
        return "annotated"
    if (folder / "midi").is_dir() and (folder / "chord").is_dir():
        return "symmv"
    return "midi"


def find_entries(folder: Path) -> list[Entry]:
    """List the songs of a set, in order. Raises InputError when there are none."""
    kind = kind_of(folder)
    if kind == "annotated":
        entries = list(_annotated(folder))
    else:
        place = folder / "midi" if kind == "symmv" else folder
        songs = walk_songs([place], place / "no-output", _is_midi)
        entries = [Entry(printable(song.path), (song.source,)) for song in songs]
    if not entries:
        raise InputError(folder, "no MIDI files in it")
    return entries


def _is_midi(name: str) -> bool:
    return name.lower().endswith(MIDI_SUFFIXES)


def _annotated(folder: Path) -> Iterator[Entry]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if "annotation.json" in names:
            own = Path(place)
            name = printable(own.relative_to(folder).as_posix())
            yield Entry(name, (own / "melody.mid", own / "accompaniment.mid"))


def read_facts_of(entry: Entry) -> dict[str, Any]:
    """What annotation.json says of a song. Raises InputError."""
    path = entry.files[0].with_name("annotation.json")
    try:
        facts = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(path, error) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, "not JSON") from error
    if not isinstance(facts, dict):
        raise InputError(path, "not an annotation")
    return facts


def read_notes(entry: Entry) -> TimedNotes:
    """All notes of a song. Raises InputError; of several files, one may be without notes."""
    parts: list[TimedNotes] = []
    problem: InputError | None = None
    for path in entry.files:
        try:
            parts.append(read_midi(path))
        except InputError as error:
            if len(entry.files) == 1 or not error.cause.startswith("no notes"):
                raise
            problem = error
    if not parts and problem is not None:
        raise problem
    return TimedNotes.merge(parts)
