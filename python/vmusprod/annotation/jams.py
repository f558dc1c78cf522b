"""An annotation as a JAMS file (Humphrey et al., ISMIR 2014): one JSON for tools that read it.

The file is written by hand, for the package `jams` brings pandas with it; the tests hold it
against that package's schema.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from vmusprod.annotation.song import AnnotatedSong
from vmusprod.music.key import parse_key

__all__ = ["jams_bytes"]

_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_JAMS_VERSION = "0.3.4"
# Tools that a song's row names them by.
_OWN = {"title": "title", "artist": "artist", "release": "album"}


def jams_bytes(song: AnnotatedSong, facts: dict[str, Any]) -> bytes:
    """Chords, beats, key, tempo and melody of a song.

    `facts`: what its annotation.json says. Of its metadata, `title`, `artist` and `album` become
    those of the file; all of it stands in the sandbox.
    """
    end = float(facts["duration"])
    about = facts.get("metadata", {})
    version = f"vmus {facts.get('vmus', '')}".strip()
    tonic, mode = parse_key(facts["key"])
    key = f"{_NAMES[tonic]}:{'minor' if mode else 'major'}"
    whole = {"time": 0.0, "duration": end}
    annotations = [
        _annotation("chord", _chords(song), end, version, f"vmus, {facts.get('chords_from')}"),
        _annotation("beat", _beats(song), end, version, f"vmus, {facts.get('beats_from')}"),
        _annotation("key_mode", [{**whole, "value": key, "confidence": None}], end, version,
                    "Aarden-Essen profile"),
        _annotation("tempo", [{**whole, "value": facts["tempo"], "confidence": 1.0}], end, version,
                    f"vmus, {facts.get('beats_from')}"),
        _annotation("note_midi", _melody(song), end, version, f"vmus, {facts.get('melody_from')}"),
    ]  # fmt: skip
    identifiers = {"vmus": str(facts.get("path", ""))}
    metadata = {name: str(about.get(source, "")) for name, source in _OWN.items()}
    document = {
        "annotations": annotations,
        "file_metadata": {
            **metadata,
            "duration": end,
            "identifiers": identifiers,
            "jams_version": _JAMS_VERSION,
        },
        "sandbox": {"metadata": about, "settings": facts.get("settings", {})},
    }
    return (json.dumps(document, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _annotation(
    namespace: str, data: list[dict[str, Any]], end: float, version: str, tools: str
) -> dict[str, Any]:
    about = {
        "annotator": {},
        "annotation_rules": "",
        "annotation_tools": tools,
        "corpus": "",
        "curator": {"name": "", "email": ""},
        "data_source": "program",
        "validation": "",
        "version": version,
    }
    return {
        "annotation_metadata": about,
        "namespace": namespace,
        "data": data,
        "sandbox": {},
        "time": 0.0,
        "duration": end,
    }


def _chords(song: AnnotatedSong) -> list[dict[str, Any]]:
    rows = []
    for line in song.files["chord.lab"].decode().splitlines():
        start, stop, value = line.split("\t")
        time = float(start)
        duration = round(float(stop) - time, 4)
        rows.append({"time": time, "duration": duration, "value": value, "confidence": None})
    return rows


def _beats(song: AnnotatedSong) -> list[dict[str, Any]]:
    rows = []
    for line in song.files["beats.txt"].decode().splitlines():
        time, place = line.split("\t")
        rows.append(
            {"time": float(time), "duration": 0.0, "value": float(place), "confidence": None}
        )
    return rows


def _melody(song: AnnotatedSong) -> list[dict[str, Any]]:
    notes = song.parts.notes[song.parts.is_melody].astype(np.int64)
    lines = song.meter.lines
    start = np.maximum(lines[notes[:, 0]], 0.0)
    length = np.maximum(lines[notes[:, 0] + notes[:, 1]] - start, 0.0)
    return [
        {"time": round(time, 4), "duration": round(duration, 4), "value": float(pitch),
         "confidence": None}
        for time, duration, pitch in zip(
            start.tolist(), length.tolist(), notes[:, 2].tolist(), strict=True
        )
    ]  # fmt: skip
