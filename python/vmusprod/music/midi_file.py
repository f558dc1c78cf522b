"""A MIDI file with its own clock: notes in ticks and seconds, tracks, tempi, time signatures.

`music.score` reads notes in seconds and forgets the rest; annotation needs to know which track a
note is from and where the file says that beats and bars are.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.music.score import MAX_NOTES, MAX_SECONDS, TempoMap, TimedNotes, read_checked

__all__ = ["MidiFile", "read_midi_file"]


@dataclass(frozen=True)
class MidiFile:
    """What a MIDI file says, drums left out; N notes, sorted by (onset, pitch).

    Attributes
    ----------
    notes : TimedNotes
        In seconds.
    start, stop : int64 (N,)
        The same notes in ticks.
    track : intp (N,)
        Which of `names` each note is from.
    names : tuple of str
        Of the tracks with notes; what is no UTF-8 in them is replaced.
    ticks_per_quarter : int
    clock : TempoMap
        From ticks to seconds.
    signatures : tuple of (int, int, int)
        Tick, numerator, denominator of the time signatures, by tick.
    """

    notes: TimedNotes
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    track: NDArray[np.intp]
    names: tuple[str, ...]
    ticks_per_quarter: int
    clock: TempoMap
    signatures: tuple[tuple[int, int, int], ...]


def read_midi_file(path: str | PathLike[str]) -> MidiFile:
    """Read a MIDI file.

    Raises InputError: unreadable, not MIDI, damaged, no notes, over 500,000 notes or six hours.
    """
    data = read_checked(Path(path))
    from symusic import Score

    try:
        score: Any = Score.from_midi(data)  # its stub types no member of the factory's product
        ticks_per_quarter = int(score.ticks_per_quarter)
        tempos = score.tempos.numpy()
        signatures = [(s.time, s.numerator, s.denominator) for s in score.time_signatures]
        tracks = [
            (str(track.name), track.notes.numpy())
            for track in score.tracks
            if not track.is_drum and len(track.notes)
        ]
    except Exception as error:  # symusic raises RuntimeError, ValueError, UnicodeDecodeError, ...
        told = " ".join(str(error).split())[:120] or type(error).__name__
        if "chunk length" in told:
            told = "cut short"
        raise InputError(path, f"not a readable MIDI file ({told})") from error
    if sum(len(notes["time"]) for _, notes in tracks) > MAX_NOTES:
        raise InputError(path, f"over {MAX_NOTES:,} notes")
    start, length, pitch, velocity = (
        np.concatenate([notes[name] for _, notes in tracks] or [np.zeros(0, np.int32)])
        for name in ("time", "duration", "pitch", "velocity")
    )
    track = np.repeat(np.arange(len(tracks)), [len(notes["time"]) for _, notes in tracks])
    sounds = (start >= 0) & (length > 0) & (pitch >= 0) & (velocity > 0) & (velocity <= 127)
    # One key to sort by: ticks are below 2**31, pitches below 2**7.
    key = (start.astype(np.int64) << 7) | pitch
    order = np.argsort(key, kind="stable")
    if not sounds.all():
        order = order[sounds[order]]
    if not len(order):
        raise InputError(path, "no notes (drums aside)")
    start = key[order] >> 7
    stop = start + length[order]
    clock = TempoMap(path, ticks_per_quarter, tempos["time"], tempos["mspq"])
    notes = TimedNotes(
        clock.seconds(start),
        clock.seconds(stop),
        pitch[order].astype(np.uint8),
        velocity[order].astype(np.uint8),
    )
    if float(notes.offset.max()) > MAX_SECONDS:
        raise InputError(path, f"longer than {MAX_SECONDS / 3600:.0f} hours")
    return MidiFile(
        notes, start, stop, track[order], tuple(name for name, _ in tracks), ticks_per_quarter,
        clock, tuple(sorted(signatures)),
    )  # fmt: skip
