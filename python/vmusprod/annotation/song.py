"""One song's annotation: from its notes to the files that tell of it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import SongAnnotation, annotate_song, recognize_chords
from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.sources import Source
from vmusprod.annotation.timing import UnusableSongError, find_meter
from vmusprod.music.key import estimate_key, key_name
from vmusprod.music.meter import Meter
from vmusprod.music.midi_file import MidiFile

__all__ = ["FILES", "AnnotatedSong", "annotate"]

FILES = ("melody.mid", "accompaniment.mid", "chord.lab", "chord.txt", "beats.txt")

_MELODY_NAME = re.compile(
    r"\b(melod(y|ie|ia)|vocals?|voice|vox|sing(er|ing)?|gesang|chant)\b|主旋律|メロディ|旋律|人声",
    re.I,
)
_SHORTEST = 0.02  # seconds: what ends before is noise, or a clock that is broken


@dataclass(frozen=True)
class AnnotatedSong:
    """An annotation: `files` by name, and what `annotation.json` and the table say of the song."""

    files: dict[str, bytes]
    facts: dict[str, Any]
    meter: Meter
    parts: SongAnnotation


def annotate(source: Source, options: AnnotateOptions) -> AnnotatedSong:
    """Annotate a song. Raises UnusableSongError where the options ask for what it lacks."""
    notes = source.notes
    end = float(notes.offset.max())
    if end < _SHORTEST:
        raise UnusableSongError(f"shorter than {1000 * _SHORTEST:.0f} ms")
    meter, beats_from = find_meter(source, options)
    melody, melody_from = _melody(source.file, options)
    key = estimate_key(notes.pitch, notes.offset - notes.onset)
    chords = _published(source.file, meter) if options.chords == "published" else options.chords
    parts = annotate_song(
        notes.onset, notes.offset, notes.pitch, notes.velocity,
        meter.lines, meter.beats, meter.places, melody=melody, chords=chords, key=key,
    )  # fmt: skip
    own = parts.is_melody.sum()
    begin = parts.first_beat
    stop = begin + int(np.searchsorted(meter.lines[meter.beats[begin:-1]], end))
    used = parts.chords[begin:stop]
    facts = {
        "key": key_name(*key),
        "tempo": round(meter.tempo, 3),
        "time_signature": meter.time_signature,
        "duration": round(end, 3),
        "first_onset": round(float(notes.onset[0]), 3),
        "notes": len(notes),
        "melody_notes": int(own),
        "accompaniment_notes": len(parts.notes) - int(own),
        "beats": len(used),
        "bars": int((meter.places[begin:stop] == 1).sum()),
        "chords": int(np.count_nonzero(np.diff(used))) + 1,
        "lowest_pitch": int(notes.pitch.min()),
        "highest_pitch": int(notes.pitch.max()),
        "tracks": 1 if source.file is None else len(source.file.names),
        "melody_from": melody_from,
        "beats_from": beats_from,
        "beat_fit": round(parts.concentration, 4),
        "windows": parts.windows,
        "windows_that_fit": parts.good_windows,
        "mean_moved_ms": round(1000 * parts.mean_moved, 2),
        "most_moved_ms": round(1000 * parts.most_moved, 2),
    }
    contents = (parts.melody_midi, parts.accompaniment_midi, parts.chord_lab, parts.chord_txt,
                parts.beats_txt)  # fmt: skip
    return AnnotatedSong(dict(zip(FILES, contents, strict=True)), facts, meter, parts)


def to_json(facts: dict[str, Any]) -> bytes:
    """The bytes of annotation.json, one fact a line (`indent` would take the slow encoder)."""
    text = json.dumps(facts, separators=(",\n ", ": "), ensure_ascii=False)
    return (text + "\n").encode("utf-8", "replace")


def _melody(file: MidiFile | None, options: AnnotateOptions) -> tuple[str | NDArray[np.bool_], str]:
    """What tells the melody, and where it is from: `track`, `learned`, `skyline`."""
    if options.melody == "skyline":
        return "skyline", "skyline"
    if options.melody in ("auto", "tracks") and file is not None:
        named = [bool(_MELODY_NAME.search(name)) for name in file.names]
        if any(named):
            return np.array(named)[file.track], "track"
    if options.melody == "tracks":
        raise UnusableSongError("no track with a name such as melody or vocals")
    return "learned", "learned"


def _published(file: MidiFile | None, meter: Meter) -> NDArray[np.uint8]:
    """SymMV's algorithm on the file's own ticks: uint8 (beats,)."""
    if file is None:
        raise UnusableSongError("--chords published is for MIDI files: a recording has no ticks")
    rows = np.stack(
        [file.start, file.stop - file.start, file.notes.pitch, file.notes.velocity], axis=1
    ).astype(np.int32)
    return recognize_chords(rows, len(meter.places), file.ticks_per_quarter)
