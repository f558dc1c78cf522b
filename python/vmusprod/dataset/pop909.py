"""POP909: 909 piano arrangements of Chinese pop, with melody, beats, chords and keys.

`beat_midi.txt`: time, half-bar mark, downbeat mark; `chord_midi.txt` and `key_audio.txt`: start,
end, name. The tick grid of the files is shifted by up to half a sixteenth, so the beats file is the
grid.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import find_downbeats
from vmusprod.dataset.songs import Song, trim_bars
from vmusprod.errors import InputError
from vmusprod.music.grid import Grid, concentration, grid_from_beats, grid_notes
from vmusprod.music.key import Key, parse_key
from vmusprod.music.score import TimedNotes, read_midi_tracks

__all__ = ["chord_id", "iter_pop909", "load_pop909"]

NO_CHORD = 120
MIN_FIT = 0.6
_ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# POP909's qualities as the ten of SymMV: `M m 7 M7 m7 o o7 + sus2 sus4`. Sixths lose the sixth, a
# half-diminished seventh
# keeps its triad, a minor major seventh its triad.
_QUALITIES = {
    "maj": 0, "maj6": 0, "min": 1, "min6": 1, "minmaj7": 1, "7": 2, "maj7": 3, "min7": 4,
    "dim": 5, "hdim7": 5, "dim7": 6, "aug": 7, "sus2": 8, "sus4": 9, "sus4(b7)": 9,
}  # fmt: skip


def chord_id(name: str) -> int:
    """Chord id, root * 10 + quality, of a label such as `Bb:min7/b3`; 120 for `N`.

    Raises ValueError on a name that is none.
    """
    if name in ("N", "X"):
        return NO_CHORD
    root, _, kind = name.partition("/")[0].partition(":")
    quality = _QUALITIES.get(kind or "maj")
    if quality is None or not root or root[0] not in _ROOTS or root[1:].strip("#b"):
        raise ValueError(f"unknown chord {name!r}")
    tonic = _ROOTS[root[0]] + root.count("#") - root.count("b")
    return tonic % 12 * 10 + quality


def song_folders(root: Path) -> list[Path]:
    """The folders 001, 002, ... in order. Raises InputError when there is none."""
    folders = sorted(path for path in Path(root).glob("[0-9][0-9][0-9]") if path.is_dir())
    if not folders:
        raise InputError(root, "no POP909 songs (folders 001, 002, ...)")
    return folders


def iter_pop909(
    root: Path, skipped: list[tuple[Path, str]], min_fit: float = MIN_FIT
) -> Iterator[Song]:
    """POP909's songs in order; those that cannot be used go to `skipped` with the reason.

    Raises InputError when `root` holds no song.
    """
    for folder in song_folders(root):
        try:
            song = _song(folder, min_fit)
        except InputError as error:
            skipped.append((folder, error.cause))
            continue
        if isinstance(song, str):
            skipped.append((folder, song))
        else:
            yield song


def load_pop909(root: Path, min_fit: float = MIN_FIT) -> tuple[list[Song], list[tuple[Path, str]]]:
    """All songs of `iter_pop909`, and what was skipped."""
    skipped: list[tuple[Path, str]] = []
    return list(iter_pop909(root, skipped, min_fit)), skipped


def read_spans(path: Path) -> list[tuple[float, float, str]]:
    """Lines of start, end, name. Raises InputError."""
    spans = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.strip():
                start, end, name = line.split()
                spans.append((float(start), float(end), name))
    except (OSError, ValueError) as error:
        raise InputError(path, error) from error
    return spans


def read_table(path: Path, columns: int) -> NDArray[np.float64]:
    """A text file of numbers, `columns` a line: float64 (rows, columns). Raises InputError."""
    try:
        rows = [[float(word) for word in line.split()] for line in path.read_text().splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(path, error) from error
    rows = [row for row in rows if row]
    if not rows or any(len(row) != columns for row in rows):
        raise InputError(path, f"not {columns} numbers a line")
    return np.array(rows)


def read_beats(path: Path) -> NDArray[np.float64]:
    """`beat_midi.txt`: float64 (B, 3), time, half-bar mark, downbeat mark. Raises InputError."""
    return read_table(path, 3)


def _song(folder: Path, min_fit: float) -> Song | str:
    tracks = read_midi_tracks(folder / f"{folder.name}.mid")
    if "MELODY" not in tracks:
        return "no MELODY track"
    beats = read_beats(folder / "beat_midi.txt")
    merged = TimedNotes.merge(list(tracks.values()))
    downbeats = own_downbeats(merged, beats)
    if downbeats is None:
        return "not in 4/4"
    grid = grid_from_beats(
        beats[:, 0], downbeats, float(merged.onset[0]), float(merged.offset.max())
    )
    fit = concentration(grid.position(merged.onset))
    if fit < min_fit:
        return f"off its beats (concentration {fit:.2f})"
    all_notes = grid_notes(merged, grid)
    notes, empty = trim_bars(all_notes)
    melody = _is_in(all_notes, grid_notes(tracks["MELODY"], grid))
    try:
        key = _longest_key(read_spans(folder / "key_audio.txt"))
        chords = _beat_chords(read_spans(folder / "chord_midi.txt"), grid)
    except ValueError as error:
        return str(error)
    if key is None:
        return "no key"
    count = -(-int((notes[:, 0] + notes[:, 1]).max()) // 4)
    chords = np.append(chords[4 * empty :], np.full(count, NO_CHORD, np.uint8))[:count]
    return Song(folder.name, "pop909", notes, melody, key, chords, grid.tempo, fit)


def own_downbeats(notes: TimedNotes, beats: NDArray[np.float64]) -> NDArray[np.bool_] | None:
    """Find the beats that begin bars by the notes (`music.beats`): bool (B,); None if not in 4/4.

    Against the downbeats tracked in the recordings (`beat_audio.txt`; songs left out of the fit,
    whose beats coincide with the score's) these have F 0.81, the file's own marks 0.70.
    """
    inside = (notes.onset >= beats[0, 0] - 0.05) & (notes.onset <= beats[-1, 0])
    notes = notes.select(inside)
    if len(beats) < 8 or len(notes) < 16:
        return None
    times = np.ascontiguousarray(beats[:, 0])
    starts, size = find_downbeats(notes.onset, notes.offset, notes.pitch, notes.velocity, times)
    if size != 4:
        return None
    result = np.zeros(len(beats), bool)
    result[starts] = True
    return result


def _is_in(notes: NDArray[np.int32], part: NDArray[np.int32]) -> NDArray[np.bool_]:
    code, part_code = (n[:, 0].astype(np.int64) * 128 + n[:, 2] for n in (notes, part))
    return np.isin(code, part_code)


def _longest_key(spans: list[tuple[float, float, str]]) -> Key | None:
    """The key that holds for most of the song."""
    total: dict[Key, float] = {}
    for start, end, name in spans:
        key = parse_key(name)
        total[key] = total.get(key, 0.0) + end - start
    return max(total, key=lambda key: total[key]) if total else None


def _beat_chords(spans: list[tuple[float, float, str]], grid: Grid) -> NDArray[np.uint8]:
    """The chord that sounds in the middle of each beat of the grid."""
    middle = grid.times[grid.kept[::4]] + 2 * grid.step
    chords = np.full(len(middle), NO_CHORD, np.uint8)
    for start, end, name in spans:
        chords[(middle >= start) & (middle < end)] = chord_id(name)
    return chords
