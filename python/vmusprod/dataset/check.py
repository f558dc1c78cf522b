"""What the musicians were asked to find in SymMV (paper, section 3.1), found by machine.

Fragments and near-empty files, duplicates, static videos, and entries whose files disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.fingerprint import Fingerprint, fingerprint, near_duplicates
from vmusprod.dataset.layout import Entry, find_entries, kind_of, read_facts_of, read_notes
from vmusprod.errors import InputError, VmusError
from vmusprod.music.score import TimedNotes, read_midi

__all__ = ["Limits", "Problem", "check_set", "still_share"]

_VIDEO_SUFFIXES = (".npz", ".mp4", ".mkv", ".webm", ".mov", ".avi", ".m4v", ".flv")
_SYMMV_TICKS = 440.0  # a second: 220 a beat at the nominal 120 bpm


@dataclass(frozen=True)
class Limits:
    """From where on something is a problem.

    Attributes
    ----------
    notes : int
        Fewer are near-empty.
    seconds : float
        Shorter is a fragment.
    silence : float
        Seconds without an onset within the piece: parts of it are missing.
    motion : float
        Mean absolute RGB difference of a fifth of a second below which a picture stands still.
    still : float
        Share of a video that may stand still.
    apart : float
        Seconds by which the lengths of one entry's files may differ.
    """

    notes: int = 100
    seconds: float = 30.0
    silence: float = 20.0
    motion: float = 0.3
    still: float = 0.95
    apart: float = 8.0


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with an entry.

    `kind`: `unreadable`, `near-empty`, `fragment`, `gap`, `duplicate`, `static`, `missing`,
    `disagrees`.
    """

    entry: str
    kind: str
    detail: str

    def to_row(self) -> tuple[str, str, str]:
        """Entry, kind, detail."""
        row: tuple[str, str, str] = astuple(self)
        return row


def check_set(
    folder: Path,
    videos: Path | None = None,
    limits: Limits | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> list[Problem]:
    """Find the problems of a set: an annotated folder, SymMV's shape, or any folder of MIDI.

    `videos`: a folder with the videos, or their feature files, called as the songs are.

    Raises InputError when there is no such folder or no song in it.
    """
    limits = Limits() if limits is None else limits
    tell = progress if progress is not None else _ignore
    entries = find_entries(folder)
    found: list[Problem] = []
    prints: list[Fingerprint] = []
    for number, entry in enumerate(entries):
        tell(entry.name, number / len(entries))
        try:
            notes = read_notes(entry)
        except InputError as error:
            found.append(Problem(entry.name, "unreadable", error.cause))
            prints.append(np.zeros(0, np.uint64))
            continue
        found += [Problem(entry.name, *what) for what in _fragments(notes, limits)]
        prints.append(fingerprint(notes))
    for a, b, value in near_duplicates(prints):
        detail = f"of {entries[a].name} (similarity {value:.2f})"
        found.append(Problem(entries[b].name, "duplicate", detail))
    found += _partners(folder, entries, limits)
    if videos is not None:
        found += _videos(videos, entries, limits, tell)
    order = {entry.name: k for k, entry in enumerate(entries)}
    return sorted(found, key=lambda problem: order.get(problem.entry, len(order)))


def _ignore(what: str, done: float) -> None:
    del what, done


def _fragments(notes: TimedNotes, limits: Limits) -> Iterator[tuple[str, str]]:
    length = float(notes.offset.max() - notes.onset[0])
    if len(notes) < limits.notes:
        yield "near-empty", f"{len(notes)} notes"
    if length < limits.seconds:
        yield "fragment", f"{length:.1f} s of music"
    gaps = np.diff(notes.onset)
    if len(gaps) and float(gaps.max()) > limits.silence:
        at = float(notes.onset[int(gaps.argmax())])
        yield "gap", f"nothing begins for {gaps.max():.1f} s from {at:.1f} s on"


def _partners(folder: Path, entries: list[Entry], limits: Limits) -> Iterator[Problem]:
    kind = kind_of(folder)
    if kind == "annotated":
        for entry in entries:
            for what, detail in _annotation(entry, limits):
                yield Problem(entry.name, what, detail)
    elif kind == "symmv":
        yield from _symmv(folder, entries, limits)


def _annotation(entry: Entry, limits: Limits) -> Iterator[tuple[str, str]]:
    """Whether annotation.json, the two MIDI files and the chords tell of one song."""
    try:
        facts = read_facts_of(entry)
    except InputError as error:
        yield "unreadable", str(error)
        return
    duration = facts.get("duration")
    if not isinstance(duration, int | float):
        yield "disagrees", "annotation.json has no duration"
        return
    base = entry.files[0].parent
    missing = [
        name for name in ("melody.mid", "accompaniment.mid", "chord.lab", "chord.txt", "beats.txt")
        if not (base / name).is_file()
    ]  # fmt: skip
    for name in missing:
        yield "missing", name
    ends: dict[str, float] = {}
    counts: dict[str, int] = {}
    for path in entry.files:
        try:
            notes = read_midi(path)
        except InputError:
            continue
        ends[path.name] = float(notes.offset.max())
        counts[path.stem] = len(notes)
    for part, count in counts.items():
        said = facts.get(f"{part}_notes")
        if said != count:
            yield "disagrees", f"{part}.mid has {count} notes, annotation.json says {said}"
    if ends and abs(max(ends.values()) - duration) > limits.apart:
        yield "disagrees", f"notes end at {max(ends.values()):.1f} s, duration is {duration:.1f} s"
    last = _last_number(base / "chord.lab")
    if last is not None and abs(last - duration) > limits.apart:
        yield "disagrees", f"chord.lab ends at {last:.1f} s, duration is {duration:.1f} s"


def _symmv(folder: Path, entries: list[Entry], limits: Limits) -> Iterator[Problem]:
    """Whether each song has chords and a row, and the chords end where it does."""
    chords = {path.stem: path for path in sorted((folder / "chord").glob("*.txt"))}
    songs = {Path(entry.name).stem: entry for entry in entries}
    for stem, entry in songs.items():
        if stem not in chords:
            yield Problem(entry.name, "missing", f"chord/{stem}.txt")
            continue
        last = _last_number(chords[stem])
        try:
            end = float(read_midi(entry.files[0]).offset.max())
        except InputError:
            continue
        if last is None:
            yield Problem(entry.name, "disagrees", f"chord/{stem}.txt has no chords")
        elif last / _SYMMV_TICKS > end + limits.apart:
            yield Problem(
                entry.name, "disagrees",
                f"chords end at {last / _SYMMV_TICKS:.1f} s, notes at {end:.1f} s",
            )  # fmt: skip
    for stem in sorted(chords.keys() - songs.keys()):
        yield Problem(stem, "missing", f"midi/{stem}.mid")
    yield from _rows(folder, songs)


def _rows(folder: Path, songs: dict[str, Entry]) -> Iterator[Problem]:
    from vmusprod.dataset.table import read_table

    for path in sorted(folder.glob("*.csv")):
        try:
            columns, rows = read_table(path)
        except InputError as error:
            yield Problem(path.name, "unreadable", error.cause)
            continue
        named = {Path(row.get(columns[0], "")).stem for row in rows}
        for stem in sorted(named - songs.keys() - {""}):
            yield Problem(stem, "missing", f"no MIDI file for its row in {path.name}")
        for stem in sorted(songs.keys() - named):
            yield Problem(songs[stem].name, "missing", f"no row in {path.name}")


def _last_number(path: Path) -> float | None:
    """The second number of the last line, where an interval ends."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        return float([line for line in lines if line.strip()][-1].split()[1])
    except (OSError, IndexError, ValueError):
        return None


def _videos(
    folder: Path, entries: list[Entry], limits: Limits, tell: Callable[[str, float], None]
) -> Iterator[Problem]:
    from vmusprod.video.cache import load_features

    if not folder.is_dir():
        raise InputError(folder, "no such folder")
    there: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _VIDEO_SUFFIXES and path.is_file():
            there.setdefault(path.stem, path)
    for number, entry in enumerate(entries):
        tell(entry.name, number / len(entries))
        stem = Path(entry.name).name if len(entry.files) > 1 else Path(entry.name).stem
        video = there.get(stem)
        if video is None:
            yield Problem(entry.name, "missing", f"no video called {stem}")
            continue
        try:
            motion = load_features(video).motion
        except VmusError as error:
            yield Problem(entry.name, "unreadable", str(error))
            continue
        share = still_share(motion, limits.motion)
        if share > limits.still:
            yield Problem(entry.name, "static", f"{video.name}: {100 * share:.0f} % stands still")


def still_share(motion: NDArray[np.float32], least: float) -> float:
    """Share of a video's steps whose motion is below `least`; 1 for a video without any."""
    return float((motion < least).mean()) if len(motion) else 1.0
