"""What users bring along: their own chords as text, their own melody as MIDI.

Chords come in one of three forms, told apart by what stands in the file:

- seconds: `start end name` a line, as in mir_eval's `.lab` files (`0.0 2.5 A:min7/b3`);
- ticks: the same with whole numbers, 220 a beat, as SymMV publishes them (`0 880 Am7`);
- a chart: chord symbols with bar lines, `C | G/B | Am7 F | %`. The chords of a bar share it in
  equal parts, `.` or `/` holds a chord, `%` repeats a bar, a line's end is a bar line too.

Lines that begin with `# ` or `//` are comments. Names are read by `chord_names`.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import quantize, skyline
from vmusprod.errors import InputError
from vmusprod.music import tokens as tk
from vmusprod.music.chord_names import chord_id
from vmusprod.music.key import Key, estimate_key
from vmusprod.music.score import read_midi

__all__ = [
    "TEMPO_LIMITS",
    "BeatGrid",
    "BeatNotes",
    "Melody",
    "SpanChords",
    "UserChords",
    "read_beat_notes",
    "read_chords",
    "read_melody",
    "user_key",
]

Chords = NDArray[np.uint8]

TEMPO_LIMITS = (20.0, 300.0)
TICKS_PER_BEAT = 220
_MAX_BYTES = 1 << 20
_MAX_BEATS = 12 * 3600 * 5  # twelve hours at 300 bpm
_DEFAULT_MSPQ = 500_000


@dataclass(frozen=True)
class BeatGrid:
    """The beats of a piece: how many, the first of the first whole bar, their times in seconds.

    Beat k begins at `start` + k * `seconds`; `start` is 0 or less.
    """

    beats: int
    first: int
    seconds: float
    start: float


@dataclass(frozen=True)
class UserChords:
    """A progression on the beats: `ids`, uint8 (K,), K >= 1, one a quarter note."""

    ids: Chords

    def place(self, grid: BeatGrid) -> Chords:
        """Return one chord id a beat of the grid, uint8.

        The progression begins with the first whole bar and is repeated, in whole bars, to the
        end; the beats before take its first chord.
        """
        whole = -(-len(self.ids) // tk.BEATS_PER_BAR) * tk.BEATS_PER_BAR
        cycle = np.append(self.ids, np.full(whole - len(self.ids), self.ids[-1], np.uint8))
        placed = np.full(grid.beats, self.ids[0], np.uint8)
        placed[grid.first :] = np.resize(cycle, max(grid.beats - grid.first, 0))
        return placed


@dataclass(frozen=True)
class SpanChords:
    """Chords on the clock: `start`, `end`, float64 (K,) s, in order; `ids`, uint8 (K,); K >= 1."""

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    ids: Chords

    def place(self, grid: BeatGrid) -> Chords:
        """Return one chord id a beat of the grid, uint8: what sounds in the middle of the beat.

        Beats before second 0 take the chord there. In gaps there is no chord, but a last chord
        that ends less than a bar before the piece does is held.
        """
        middle = grid.start + (np.arange(grid.beats) + 0.5) * grid.seconds
        time = np.maximum(middle, 0.0)
        at = np.searchsorted(self.start, time, side="right") - 1
        inside = (at >= 0) & (time < self.end[np.maximum(at, 0)])
        placed = np.where(inside, self.ids[np.maximum(at, 0)], tk.NO_CHORD).astype(np.uint8)
        after = int(np.count_nonzero(time >= self.end[-1]))
        if 0 < after < tk.BEATS_PER_BAR:
            placed[grid.beats - after :] = self.ids[-1]
        return placed


def read_chords(path: str | os.PathLike[str]) -> UserChords | SpanChords:
    """Read a chord file in any of the three forms (see the module).

    Raises InputError: unreadable, not text, no chords, an unknown name (with its line), times
    that are not numbers, run backwards or overlap, more than a chord a beat.
    """
    path = Path(path)
    lines = _lines(path)
    if not lines:
        raise InputError(path, "no chords in it")
    numbers = [_span(text) is not None for _, text in lines]
    spans_meant = numbers[0] or path.suffix.lower() == ".lab"
    return _read_spans(path, lines) if spans_meant else _read_chart(path, lines)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the numbered lines that are neither empty nor comments. Raises InputError."""
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise InputError(path, "larger than 1 MB: not a chord file")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(path, error) from error
    except UnicodeDecodeError as error:
        raise InputError(path, "not a text file of chords") from error
    if "\0" in text:
        raise InputError(path, "not a text file of chords")
    numbered = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1)]
    return [
        (number, line)
        for number, line in numbered
        if line and line != "#" and not line.startswith(("# ", "//"))
    ]


def _span(line: str) -> tuple[str, str, str] | None:
    """Split `start end name` when the first two are numbers."""
    parts = line.split()
    if len(parts) != 3:
        return None
    try:
        float(parts[0])
        float(parts[1])
    except ValueError:
        return None
    return parts[0], parts[1], parts[2]


def _read_spans(path: Path, lines: list[tuple[int, str]]) -> UserChords | SpanChords:
    starts, ends, ids = [], [], []
    whole = True
    last = 0.0
    for number, line in lines:
        span = _span(line)
        if span is None:
            raise InputError(path, f"line {number}: not 'start end chord': {line[:40]!r}")
        start, end = float(span[0]), float(span[1])
        # math.isfinite first: nan compares as false with everything.
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
            raise InputError(path, f"line {number}: bad times {span[0]} {span[1]}")
        if start < last - 1e-6:
            raise InputError(path, f"line {number}: begins before the chord above it ends")
        last = end
        whole = whole and span[0].isdecimal() and span[1].isdecimal()
        starts.append(start)
        ends.append(end)
        ids.append(_named(path, number, span[2]))
    ticks = whole and path.suffix.lower() != ".lab"
    if last > (_MAX_BEATS * TICKS_PER_BEAT if ticks else _MAX_BEATS):
        raise InputError(path, "longer than twelve hours")
    spans = SpanChords(np.array(starts), np.array(ends), np.array(ids, np.uint8))
    if not ticks:
        return spans
    beats = max(1, round(last / TICKS_PER_BEAT))
    # On the beat grid a tick is a time like any other.
    return UserChords(spans.place(BeatGrid(beats, 0, TICKS_PER_BEAT, 0.0)))


def _read_chart(path: Path, lines: list[tuple[int, str]]) -> UserChords:
    ids: list[int] = []
    bar: list[int] = []
    for number, line in lines:
        for cell in line.split("|"):
            names = cell.split()
            if not names:
                continue
            if names != ["%"]:
                bar = _bar(path, number, names, ids)
            elif not bar:
                raise InputError(path, f"line {number}: % repeats a bar, but there is none yet")
            ids += bar
    if not ids:
        raise InputError(path, "no chords in it")
    if len(ids) > _MAX_BEATS:
        raise InputError(path, "longer than twelve hours")
    return UserChords(np.array(ids, np.uint8))


def _bar(path: Path, number: int, names: list[str], before: list[int]) -> list[int]:
    """Return the four chords of a bar whose parts are named."""
    if len(names) > tk.BEATS_PER_BAR:
        raise InputError(
            path, f"line {number}: {len(names)} chords in a bar of four beats (is a | missing?)"
        )
    parts: list[int] = []
    for name in names:
        if name not in (".", "/"):
            parts.append(_named(path, number, name))
        elif parts or before:
            parts.append((parts or before)[-1])
        else:
            raise InputError(path, f"line {number}: {name!r} holds a chord, but there is none yet")
    return [parts[beat * len(parts) // tk.BEATS_PER_BAR] for beat in range(tk.BEATS_PER_BAR)]


def _named(path: Path, number: int, name: str) -> int:
    try:
        return chord_id(name)
    except ValueError as error:
        raise InputError(path, f"line {number}: {error}") from error


@dataclass(frozen=True)
class BeatNotes:
    """The notes of a MIDI file on its own beats, whatever the tempo does.

    `start`, `end`: float64 (N,), quarter notes from tick 0; `pitch`, `velocity`: uint8 (N,);
    sorted by (start, pitch), N >= 1. `tempo`: the one that holds longest, quarter notes a minute.
    `named`: whether they are those of the part that was asked for.
    """

    start: NDArray[np.float64]
    end: NDArray[np.float64]
    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]
    tempo: float
    named: bool = False


@dataclass(frozen=True)
class Melody:
    """The user's own melody: grid notes int32 (N, 4) from its first bar, N >= 1, and its tempo.

    `pickup`: 16ths of bar 0 that lie before tick 0, known of vmus's own files only.
    """

    notes: tk.Notes
    tempo: float
    pickup: int | None = None

    def place(self, bars: int, pickup: int) -> tk.Notes:
        """Return the notes from bar 0 of a piece of `bars` bars, `pickup` 16ths of it unheard.

        Bar 1 of the melody becomes the first whole bar; one that vmus wrote for such a piece
        returns to where it was. Notes beyond the end are left out.
        """
        moved = self.notes.copy()
        if pickup:
            moved[:, 0] += pickup if self.pickup == pickup else tk.STEPS_PER_BAR
        moved = moved[moved[:, 0] < bars * tk.STEPS_PER_BAR]
        moved[:, 1] = np.minimum(moved[:, 1], bars * tk.STEPS_PER_BAR - moved[:, 0])
        return np.ascontiguousarray(moved)


def read_melody(path: str | os.PathLike[str]) -> Melody:
    """Read a melody from a MIDI file.

    It is the track of that name, else all notes where no two begin together, else their skyline.
    Onsets and lengths are rounded to 16ths of the file's own beats; of notes that then begin
    together the highest is kept. Raises InputError: not a readable MIDI file, no notes.
    """
    path = Path(path)
    found = read_beat_notes(path, part="melody")
    notes = quantize(found.start, found.end, found.pitch, found.velocity, 0.25, 0.0)
    top = notes[np.append(np.diff(notes[:, 0]) > 0, True)]  # rows are in order of pitch, too
    # The skyline would drop a low note under a high one that is played a little too long.
    line = top if found.named or len(top) == len(notes) else notes[skyline(notes)]
    if not len(line) or int(line[:, 0].max()) > _MAX_BEATS * tk.STEPS_PER_BEAT:
        raise InputError(path, "no melody of less than twelve hours in it")
    return Melody(np.ascontiguousarray(line), found.tempo, _own_pickup(path))


def read_beat_notes(path: str | os.PathLike[str], part: str | None = None) -> BeatNotes:
    """Read a MIDI file's notes (drums left out) in beats.

    With `part`, only the tracks of that name (in any case), if there are some. Raises InputError
    as `read_midi` does.
    """
    read_midi(path)  # the checks; it knows seconds only
    from symusic import Score

    score: Any = Score.from_midi(Path(path).read_bytes())
    tracks = [track for track in score.tracks if not track.is_drum and len(track.notes)]
    named = [track for track in tracks if str(track.name).strip().lower() == part]
    fields = [track.notes.numpy() for track in named or tracks]
    time, duration, pitch, velocity = (
        np.concatenate([np.asarray(notes[name]) for notes in fields])
        for name in ("time", "duration", "pitch", "velocity")
    )
    # Lengths of 0 and velocities of 0 sound no more here than in read_midi.
    kept = np.flatnonzero((duration > 0) & (velocity > 0) & (velocity < 128) & (pitch < 128))
    kept = kept[np.lexsort((pitch[kept], time[kept]))]
    start = time[kept] / score.ticks_per_quarter
    end = start + duration[kept] / score.ticks_per_quarter
    tempos = score.tempos.numpy()
    tempo = _main_tempo(tempos["time"], tempos["mspq"], int((time + duration).max()))
    pitch, velocity = pitch[kept].astype(np.uint8), velocity[kept].astype(np.uint8)
    return BeatNotes(start, end, pitch, velocity, tempo, bool(named))


def _main_tempo(ticks: NDArray[np.integer], mspq: NDArray[np.integer], last: int) -> float:
    """Return the tempo (quarter notes a minute) that holds for the most ticks up to `last`."""
    order = np.argsort(ticks, kind="stable")
    edges = np.concatenate([[0], np.minimum(ticks[order].astype(np.int64), last), [last]])
    held: dict[int, int] = {}
    rates = [_DEFAULT_MSPQ, *mspq[order].tolist()]
    for rate, length in zip(rates, np.diff(edges).tolist(), strict=True):
        held[rate] = held.get(rate, 0) + length
    return 60e6 / max(held, key=lambda rate: held[rate])


def _own_pickup(path: Path) -> int | None:
    """Return the pickup that the text event of a file by vmus names."""
    data = path.read_bytes()
    at = data.find(b'{"vmus":', 0, 4096)
    if at < 0:
        return None
    try:
        about, _ = json.JSONDecoder().raw_decode(data[at : at + 4096].decode("latin-1"))
        pickup = int(about["pickup"])
    except (ValueError, KeyError, TypeError):
        return None
    return pickup if 0 <= pickup < tk.STEPS_PER_BAR else None


def user_key(chords: Chords | None, melody: tk.Notes | None) -> Key | None:
    """Return the key (tonic, mode) of the user's own chords and melody together; None of nothing.

    `chords`: uint8 ids, one a beat; `melody`: grid notes (N, 4). Each chord tone counts for its
    beats, each note for its length. Chords that are all silent tell no key.
    """
    weights = np.zeros(12)
    if chords is not None:
        root, quality = tk.chord_attributes(chords)
        weights += tk.CHROMA[root, quality].sum(axis=0)
    if melody is not None and len(melody):
        weights += np.bincount(melody[:, 2] % 12, melody[:, 1] / tk.STEPS_PER_BEAT, minlength=12)
    return estimate_key(np.arange(12), weights) if weights.any() else None
