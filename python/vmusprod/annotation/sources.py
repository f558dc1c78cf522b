"""From a file to the notes in it: MIDI is read, recordings are transcribed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.annotation.options import AnnotateOptions
from vmusprod.dataset.audio import is_audio, read_audio
from vmusprod.music.midi_file import MidiFile, read_midi_file
from vmusprod.music.score import TimedNotes

__all__ = ["MIDI_SUFFIXES", "Source", "is_song", "read_source"]

MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".smf")


@dataclass(frozen=True)
class Source:
    """A song as it was found.

    Attributes
    ----------
    notes : TimedNotes
        In seconds.
    file : MidiFile or None
        The MIDI file; None for a recording.
    beats : float64 (B, 2) or None
        Seconds and place in the bar of the beats that were heard in a recording.
    """

    notes: TimedNotes
    file: MidiFile | None = None
    beats: NDArray[np.float64] | None = None


def is_song(name: str) -> bool:
    """Whether a file's name is one of a MIDI file or a recording."""
    return name.lower().endswith(MIDI_SUFFIXES) or is_audio(name)


def read_source(path: Path, options: AnnotateOptions) -> Source:
    """Read or transcribe a song.

    Raises InputError for what cannot be used, MissingDependencyError when a recording needs what
    is not installed.
    """
    if is_audio(path):
        notes, beats = read_audio(
            path, options.transcriber, "notes" if options.beats == "track" else "auto"
        )
        return Source(notes, beats=beats)
    file = read_midi_file(path)
    return Source(file.notes, file)
