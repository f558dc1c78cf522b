"""Fit beats and bars: `python -m vmusprod.dataset.metre_fit POP909`, then build the crate.

Three models learn from the songs that `split_of` calls train, each as it is and with a drifting
tempo laid over it: which reading of a pulse has the beats of `beat_midi.txt`, where in a beat the
events of each strength fall, and which beats are downbeats. One song in twenty is left out, and
measured.

POP909's downbeat marks were made by an algorithm, and where the beats tracked in the recording
(`beat_audio.txt`) coincide with the score's its downbeats lie elsewhere for a third of the marks:
of such songs both are targets, the marks for the most part.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import vmusprod
from vmusprod._vmus_rs import beat_features, beat_readings, event_features, find_pulses
from vmusprod.dataset.drift import drifted, drifting_clock, waltz
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import read_beats, read_table, song_folders
from vmusprod.music.score import TimedNotes, read_midi

CLASSES, PARTS = 8, 24
STRENGTH_RIDGE = 50.0
DRIFTS = ((0.02, 0.05), (0.04, 0.15), (0.06, 0.25))
MARKS_SHARE = 0.85
DEFAULT = Path(vmusprod.__file__).parents[2] / "vmus_rs" / "src" / "beats" / "weights.bin"
Array = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Lesson:
    """A song to learn from.

    `beats` float64 (B,) s; `downbeat` float64 (B,) 0..1; `mark` bool (B,): `beat_midi.txt`'s;
    `clock`: the seed of its drifting tempo, if it was given one.
    """

    name: str
    notes: TimedNotes
    beats: Array
    downbeat: Array
    mark: NDArray[np.bool_]
    clock: int | None = None

    @property
    def arrays(self) -> tuple[Array, Array, NDArray[np.uint8], NDArray[np.uint8]]:
        """Onsets, offsets, pitches and velocities."""
        return self.notes.onset, self.notes.offset, self.notes.pitch, self.notes.velocity

    def on_clock(self, deviation: float, slowing: float, seed: int) -> Lesson:
        """The song with another, drifting tempo."""
        clock = drifting_clock(float(self.notes.onset[-1]), deviation, slowing, seed)
        notes = drifted(self.notes, clock, seed)
        return Lesson(self.name, notes, clock(self.beats), self.downbeat, self.mark, seed)

    def as_waltz(self) -> Lesson | None:
        """The song in 3/4; None if too little is left."""
        notes, beats, mark = waltz(self.notes, self.beats, self.mark)
        if len(notes) < 100 or len(beats) < 64:
            return None
        return Lesson(self.name, notes, beats, mark.astype(np.float64), mark)


def read_lesson(folder: Path) -> Lesson:
    """Read a song's notes and beats. Raises InputError."""
    beats = read_beats(folder / "beat_midi.txt")
    audio = read_table(folder / "beat_audio.txt", 2)
    near = np.abs(beats[:, :1] - audio[:, 0])
    mark = beats[:, 2] == 1
    target = mark.astype(np.float64)
    recorded = audio[:, 1] == 1
    if (near.min(axis=1) < 0.07).mean() > 0.8 and recorded.any():
        heard = near[:, recorded].min(axis=1) < 0.1
        target = MARKS_SHARE * target + (1 - MARKS_SHARE) * heard
    notes = read_midi(folder / f"{folder.name}.mid")
    return Lesson(folder.name, notes, beats[:, 0], target, mark)


def readings_of(lesson: Lesson) -> tuple[Floats, int] | None:
    """Features of all readings of a song's pulse (R, F), and which is right; None if none is.

    The pulse is found, but a song with a clock is given the one that a tracker would arrive at if
    it took the beat, its half or its double for the beat.
    """
    if lesson.clock is not None:
        pulses_a_beat = (4, 2, 8)[lesson.clock % 3]
        count = pulses_a_beat * np.arange(len(lesson.beats), dtype=np.float64)
        readings, features = beat_readings(*lesson.arrays, lesson.beats, count)
        right = np.flatnonzero((readings == (pulses_a_beat, 0)).all(axis=1))
        return (features, int(right[0])) if len(right) else None
    pulses = find_pulses(lesson.notes.onset)
    if not pulses:
        return None
    times, count, start, end, _ = max(pulses, key=lambda p: p[4] * (p[3] - p[2]))
    onset = lesson.notes.onset
    own = lesson.notes.select((onset >= start - 0.1) & (onset <= end + 0.1))
    readings, features = beat_readings(own.onset, own.offset, own.pitch, own.velocity, times, count)
    truth = lesson.beats[(lesson.beats >= start) & (lesson.beats <= end)]
    if len(truth) < 16:
        return None
    rate = np.ptp(count) / np.ptp(times)
    at = np.interp(truth, times, count)
    best, most = None, 0.6  # of a drifting song whose pulse slips, what holds for most of it
    for k, (pulses_a_beat, phase) in enumerate(readings.tolist()):
        if abs(np.log(rate * np.median(np.diff(truth)) / pulses_a_beat)) > 0.03:
            continue
        aligned = float(np.exp(2j * np.pi * (at - phase) / pulses_a_beat).mean().real)
        if aligned > most:
            best, most = k, aligned
    return None if best is None else (features, best)


def downbeat_rows(lesson: Lesson) -> Floats:
    """What the notes do at each beat: float32 (B, F)."""
    beats = lesson.beats
    onset = lesson.notes.onset
    own = lesson.notes.select((onset >= beats[0] - 0.05) & (onset <= beats[-1]))
    return beat_features(own.onset, own.offset, own.pitch, own.velocity, beats)


def fit_strength(lessons: list[Lesson]) -> tuple[Array, Array, Array]:
    """Fit strength by ridge regression onto beats, and count where each class of it falls.

    Weights float64 (F,), edges (CLASSES - 1,), counts (CLASSES, PARTS).
    """
    gram: Array | float = 0.0
    moment: Array | float = 0.0
    songs = []
    for lesson in lessons:
        beats = lesson.beats
        time, rows = event_features(*lesson.arrays, float(np.median(np.diff(beats))))
        inside = (time >= beats[0]) & (time < beats[-1])
        rows = rows[inside].astype(np.float64)
        phase = np.interp(time[inside], beats, np.arange(len(beats)))
        place = np.floor(phase * PARTS + 0.5).astype(np.int64) % PARTS
        gram = gram + rows.T @ rows
        moment = moment + rows.T @ (place == 0)
        songs.append((rows.astype(np.float32), place))
    size = rows.shape[1]
    weights = np.linalg.solve(gram + STRENGTH_RIDGE * np.eye(size), moment).astype(np.float64)
    strength = np.concatenate([rows @ weights for rows, _ in songs])
    edges = np.quantile(strength, np.arange(1, CLASSES) / CLASSES).astype(np.float64)
    places = np.zeros((CLASSES, PARTS))
    at = np.searchsorted(edges, strength)
    np.add.at(places, (at, np.concatenate([place for _, place in songs])), 1.0)
    return weights, edges, places


def with_variants(lessons: list[Lesson]) -> Iterator[Lesson]:
    """Each song as it is, at a drifting tempo, and in 3/4."""
    for k, lesson in enumerate(lessons):
        yield lesson
        yield lesson.on_clock(*DRIFTS[k // 3 % len(DRIFTS)], seed=k)
        if (in_three := lesson.as_waltz()) is not None:
            yield in_three


def main() -> None:
    """Fit, and write the table."""
    from vmusprod.dataset import metre_nets

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the POP909 folder")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lessons = [read_lesson(folder) for folder in song_folders(args.root)]
    is_out = [split_of(f"pop909/{lesson.name}") == "val" for lesson in lessons]
    train = [lesson for lesson, out in zip(lessons, is_out, strict=True) if not out]
    left_out = [lesson for lesson, out in zip(lessons, is_out, strict=True) if out]

    def tables(songs: Iterator[Lesson]) -> list[tuple[Floats, int]]:
        return [table for song in songs if (table := readings_of(song)) is not None]

    level = metre_nets.fit_readings(tables(with_variants(train)), tables(iter(left_out)), args.seed)
    strength = fit_strength(train)
    waltzes = [song for lesson in train[::3] if (song := lesson.as_waltz()) is not None]
    metre = metre_nets.fit_downbeats(
        [(downbeat_rows(song), song.downbeat) for song in [*train, *waltzes]],
        [(downbeat_rows(song), song.mark.astype(np.float64)) for song in left_out],
        args.seed,
    )
    numbers = np.concatenate([level, *(part.ravel() for part in strength), metre])
    args.output.write_bytes(numbers.astype("<f4").tobytes())
    print(f"{args.output}: {numbers.size} numbers")


if __name__ == "__main__":
    main()
