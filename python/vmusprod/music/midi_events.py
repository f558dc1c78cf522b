"""The channel events of a MIDI file on the sample clock, for a synthesizer.

Every event of every track counts here, as does the end of the tracks: the file's length is where
its longest track ends, which may be well after the last note. Ticks become samples in whole
numbers, so nothing drifts however long the piece.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vmusprod.errors import InputError

__all__ = ["MidiEvent", "read_events"]

MAX_SECONDS = 12 * 3600
_MAX_BYTES = 32 << 20
_DEFAULT_TEMPO = 500_000  # microseconds a quarter, until the file says otherwise

# (sample, status byte with the channel, first data byte, second data byte or 0)
MidiEvent = tuple[int, int, int, int]


@dataclass
class _Track:
    events: list[tuple[int, tuple[int, int, int]]]  # tick, (status, data, data)
    tempos: list[tuple[int, int]]  # tick, microseconds a quarter
    end: int  # tick


class _DamagedError(Exception):
    """Something that no MIDI file has."""


def read_events(path: str | os.PathLike[str], rate: int) -> tuple[list[MidiEvent], int]:
    """Return the events of a MIDI file in order, and the file's length in samples at `rate`.

    Events at one tick keep the order of the file. System and pressure messages are left out.
    Raises InputError: unreadable, not a MIDI file (type 0 or 1, metrical time), damaged, over
    32 MB or 12 hours, of no length.
    """
    path = Path(path)
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise InputError(path, f"larger than {_MAX_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, error) from error
    try:
        division, tracks = _parse(data)
    except _DamagedError as error:
        raise InputError(path, str(error)) from error
    except IndexError as error:
        raise InputError(path, "cut off in the middle of an event") from error
    clock = _Clock(division, [tempo for track in tracks for tempo in track.tempos], rate)
    length = clock.samples(max(track.end for track in tracks))
    if length > MAX_SECONDS * rate:
        raise InputError(path, f"longer than {MAX_SECONDS // 3600} hours")
    if length == 0:
        raise InputError(path, "lasts no time")
    merged = sorted((event for track in tracks for event in track.events), key=lambda e: e[0])
    clock.rewind()
    return [(clock.samples(tick), *message) for tick, message in merged], length


class _Clock:
    """Ticks to samples, asked in rising order."""

    def __init__(self, division: int, tempos: list[tuple[int, int]], rate: int) -> None:
        self._tempos = sorted(tempos, key=lambda tempo: tempo[0])
        self._rate = rate
        self._scale = division * 1_000_000
        self.rewind()

    def rewind(self) -> None:
        self._next = 0
        self._tick = 0
        self._passed = 0  # ticks times microseconds a quarter, up to self._tick
        self._tempo = _DEFAULT_TEMPO

    def samples(self, tick: int) -> int:
        while self._next < len(self._tempos) and self._tempos[self._next][0] <= tick:
            change, tempo = self._tempos[self._next]
            self._passed += (change - self._tick) * self._tempo
            self._tick, self._tempo = change, tempo
            self._next += 1
        passed = self._passed + (tick - self._tick) * self._tempo
        return (2 * passed * self._rate + self._scale) // (2 * self._scale)


def _parse(data: bytes) -> tuple[int, list[_Track]]:
    """Return ticks a quarter and the tracks."""
    if not data:
        raise _DamagedError("empty file")
    if data[:4] != b"MThd":
        raise _DamagedError("not a MIDI file")
    kind, division = int.from_bytes(data[8:10], "big"), int.from_bytes(data[12:14], "big")
    if len(data) < 14:
        raise _DamagedError("MIDI header cut short")
    if kind > 1:
        raise _DamagedError(f"MIDI files of type {kind} are not supported")
    if division & 0x8000 or division == 0:
        raise _DamagedError("no ticks a quarter note (SMPTE time is not supported)")
    tracks = []
    place = 8 + int.from_bytes(data[4:8], "big")
    while place + 8 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "big")
        if place + 8 + size > len(data):
            raise _DamagedError("cut off: a track is shorter than it says")
        if data[place : place + 4] == b"MTrk":  # other chunks may stand between
            tracks.append(_parse_track(data[place + 8 : place + 8 + size]))
        place += 8 + size
    if not tracks:
        raise _DamagedError("no track in it")
    return division, tracks


def _parse_track(data: bytes) -> _Track:
    track = _Track([], [], 0)
    place = tick = status = 0
    while place < len(data):
        delta, place = _number(data, place)
        tick += delta
        track.end = tick
        if data[place] & 0x80:
            status = data[place]
            place += 1
        elif status < 0x80 or status >= 0xF0:
            raise _DamagedError("an event without a status byte")
        if status == 0xFF:
            kind = data[place]
            size, place = _number(data, place + 1)
            if kind == 0x51 and size == 3:
                tempo = int.from_bytes(data[place : place + 3], "big")
                track.tempos.append((tick, tempo))
            place += size
            if place > len(data):
                raise _DamagedError("cut off in the middle of an event")
            if kind == 0x2F:
                break
        elif status >= 0xF0:
            size, place = _number(data, place)
            place += size
        elif status >> 4 in (0xC, 0xD):
            if status >> 4 == 0xC:
                track.events.append((tick, (status, data[place] & 0x7F, 0)))
            place += 1
        else:
            if status >> 4 != 0xA:
                message = (status, data[place] & 0x7F, data[place + 1] & 0x7F)
                track.events.append((tick, message))
            place += 2
    return track


def _number(data: bytes, place: int) -> tuple[int, int]:
    """Return the variable-length number at `place`, and the place behind it."""
    value = 0
    for _ in range(4):
        byte = data[place]
        place += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place
    raise _DamagedError("a number of more than four bytes")
