"""MIDI files in and out: notes in seconds from any file, and files of an exact length.

Reading goes through symusic, whose own conversion to seconds is float32 (4 ms off after ten hours),
so ticks are read and the tempo map is applied here in float64. Writing is a small writer of our
own: symusic can neither write a text event nor place the end of a track, and a file's length is
where its tracks end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError

__all__ = [
    "MidiTrack",
    "TempoMap",
    "TimedNotes",
    "read_checked",
    "read_midi",
    "read_midi_tracks",
    "write_midi",
]

TICKS_PER_QUARTER = 220
MAX_FILE_BYTES = 32 << 20
MAX_NOTES = 500_000  # a piano for two hours plays about 60,000
MAX_SECONDS = 6 * 3600.0
_DEFAULT_MSPQ = 500_000
_SUSTAIN = 64


@dataclass(frozen=True)
class TimedNotes:
    """Notes on a clock, sorted by (onset, pitch).

    `onset`, `offset`: float64 (N,) seconds, offset > onset; `pitch` 0..127 and `velocity` 1..127:
    uint8 (N,).
    """

    onset: NDArray[np.float64]
    offset: NDArray[np.float64]
    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.onset)

    def select(self, index: NDArray[np.bool_] | NDArray[np.intp] | slice) -> TimedNotes:
        """The notes that a mask, an index array or a slice picks."""
        return TimedNotes(
            self.onset[index], self.offset[index], self.pitch[index], self.velocity[index]
        )

    @staticmethod
    def merge(parts: Sequence[TimedNotes]) -> TimedNotes:
        """All notes of all parts, sorted."""
        if not parts:
            empty, none = np.zeros(0), np.zeros(0, np.uint8)
            return TimedNotes(empty, empty.copy(), none, none.copy())
        onset, offset, pitch, velocity = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("onset", "offset", "pitch", "velocity")
        )
        return TimedNotes(onset, offset, pitch, velocity).select(np.lexsort((pitch, onset)))


@dataclass(frozen=True)
class MidiTrack:
    """One track to write.

    `notes`: integers (N, 4), columns onset tick, duration in ticks, pitch, velocity. `pedal`:
    (tick, value 0..127) of the sustain pedal (controller 64).
    """

    name: str
    notes: NDArray[np.integer]
    program: int = 0
    pedal: Sequence[tuple[int, int]] = ()


def read_midi(path: str | PathLike[str], *, pedal: bool = False) -> TimedNotes:
    """All notes of a MIDI file but the drums', tracks merged, in seconds.

    With `pedal` a note sounds on while the sustain pedal is down, until the pedal rises or its key
    is struck again. Raises InputError: unreadable, not MIDI, damaged, no notes, over 500,000 notes
    or six hours.
    """
    return TimedNotes.merge(list(read_midi_tracks(path, pedal=pedal).values()))


def read_midi_tracks(path: str | PathLike[str], *, pedal: bool = False) -> dict[str, TimedNotes]:
    """Read the notes of each track by its name; tracks of one name merge, drums are left out.

    Raises InputError as `read_midi`.
    """
    data = read_checked(Path(path))
    from symusic import Score

    try:
        score: Any = Score.from_midi(data)  # its stub types no member of the factory's product
        ticks_per_quarter = int(score.ticks_per_quarter)
        tempos = score.tempos.numpy()
        tracks = [
            (str(track.name), track.notes.numpy(), track.controls.numpy() if pedal else None)
            for track in score.tracks
            if not track.is_drum and len(track.notes)
        ]
    except Exception as error:  # symusic raises RuntimeError, ValueError, UnicodeDecodeError, ...
        raise InputError(path, f"not a readable MIDI file ({_one_line(error)})") from error
    if not tracks:
        raise InputError(path, "no notes (drums aside)")
    if sum(len(notes["time"]) for _, notes, _ in tracks) > MAX_NOTES:
        raise InputError(path, f"over {MAX_NOTES:,} notes")
    clock = TempoMap(path, ticks_per_quarter, tempos["time"], tempos["mspq"])
    parts: dict[str, list[TimedNotes]] = {}
    for name, notes, controls in tracks:
        timed = _timed(clock, notes, controls)
        if len(timed):
            parts.setdefault(name, []).append(timed)
    merged = {name: TimedNotes.merge(group) for name, group in parts.items()}
    if not merged:
        raise InputError(path, "no notes (drums aside)")
    if max(float(part.offset.max()) for part in merged.values()) > MAX_SECONDS:
        raise InputError(path, f"longer than {MAX_SECONDS / 3600:.0f} hours")
    return merged


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def read_checked(path: Path) -> bytes:
    """The file's bytes, once size and header chunk make sense: symusic says less, or reads on.

    Raises InputError.
    """
    try:
        if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
            raise InputError(path, f"larger than {MAX_FILE_BYTES >> 20} MB")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from error
    if not data:
        raise InputError(path, "empty file")
    if data[:4] != b"MThd":
        raise InputError(path, "not a MIDI file (no MThd)")
    if len(data) < 14:
        raise InputError(path, "MIDI header cut short")
    kind, division = int.from_bytes(data[8:10], "big"), int.from_bytes(data[12:14], "big")
    if kind not in (0, 1):
        raise InputError(path, f"MIDI files of type {kind} are not supported")
    if division & 0x8000:
        raise InputError(path, "SMPTE time division is not supported")
    if division == 0:
        raise InputError(path, "time division of 0 ticks a quarter")
    return data


class TempoMap:
    """Ticks to seconds, by the tempo changes of a file. Raises InputError for a tempo of 0."""

    def __init__(
        self,
        path: str | PathLike[str],
        tpq: int,
        ticks: NDArray[np.integer],
        mspq: NDArray[np.integer],
    ) -> None:
        if len(mspq) and int(np.min(mspq)) <= 0:
            raise InputError(path, "tempo of 0 microseconds a quarter")
        order = np.argsort(ticks, kind="stable")
        tick = np.concatenate([[0], ticks[order].astype(np.int64)])
        rate = np.concatenate([[_DEFAULT_MSPQ], mspq[order].astype(np.int64)]) / (1e6 * tpq)
        last = np.append(np.diff(tick) > 0, True)  # of changes at one tick the last one holds
        self._tick, self._rate = tick[last].astype(np.float64), rate[last]
        self._start = np.concatenate([[0.0], np.cumsum(np.diff(self._tick) * self._rate[:-1])])

    def seconds(self, ticks: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds of ticks, which need not be whole."""
        if len(self._tick) == 1:
            one: NDArray[np.float64] = ticks * self._rate[0]
            return one
        at = np.searchsorted(self._tick, ticks, side="right") - 1
        at = np.clip(at, 0, None)
        result: NDArray[np.float64] = self._start[at] + (ticks - self._tick[at]) * self._rate[at]
        return result


def _timed(
    clock: TempoMap,
    notes: dict[str, NDArray[np.integer]],
    controls: dict[str, NDArray[np.integer]] | None,
) -> TimedNotes:
    start = notes["time"].astype(np.int64)
    stop = start + notes["duration"].astype(np.int64)
    pitch, velocity = notes["pitch"].astype(np.uint8), notes["velocity"].astype(np.uint8)
    keep = (start >= 0) & (stop > start) & (pitch < 128) & (velocity > 0) & (velocity < 128)
    start, stop, pitch, velocity = start[keep], stop[keep], pitch[keep], velocity[keep]
    if controls is not None:
        stop = _sustain(start, stop, pitch, controls)
    order = np.lexsort((pitch, start))
    timed = TimedNotes(clock.seconds(start), clock.seconds(stop), pitch, velocity)
    return timed.select(order)


def _sustain(
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    pitch: NDArray[np.uint8],
    controls: dict[str, NDArray[np.integer]],
) -> NDArray[np.int64]:
    """Move note ends to where the pedal rises, or to the next stroke of the key before that."""
    pedal = controls["number"] == _SUSTAIN
    times = controls["time"][pedal].astype(np.int64)
    down = controls["value"][pedal] >= 64
    order = np.argsort(times, kind="stable")
    times, down = times[order], down[order]
    if not down.any():
        return stop
    last = int(max(stop.max(), times.max()))
    at = np.searchsorted(times, stop, side="right") - 1
    held = (at >= 0) & down[np.clip(at, 0, None)]
    rises = np.append(times[~down], last)
    longer = np.where(held, rises[np.searchsorted(times[~down], stop, side="right")], stop)
    order = np.lexsort((start, pitch))
    following = np.full(len(start), np.iinfo(np.int64).max)
    same = pitch[order][1:] == pitch[order][:-1]
    following[order[:-1][same]] = start[order[1:][same]]
    following = np.where(following > start, following, np.iinfo(np.int64).max)
    result: NDArray[np.int64] = np.maximum(stop, np.minimum(longer, following))
    return result


def write_midi(
    path: str | PathLike[str],
    tracks: Sequence[MidiTrack],
    mspq: int,
    total_ticks: int,
    text: str,
    *,
    key: tuple[int, int] | None = None,
) -> None:
    """Write a type 1 MIDI file, exactly `total_ticks` long: 220 ticks a quarter, 4/4, one tempo.

    `mspq`: microseconds a quarter, 1..16777215. `text` becomes a text event (FF 01) at tick 0 of
    the first track, `key` (tonic, mode) a key signature. Every track ends at `total_ticks`. The
    same arguments give the same bytes; the file appears whole or not at all. Raises ValueError when
    a note or pedal event lies outside the file or is out of range, OutputError when the file cannot
    be written.
    """
    from vmusprod.files import atomic_output

    data = midi_bytes(tracks, mspq, total_ticks, text, key=key)
    with atomic_output(Path(path)) as part:
        part.write_bytes(data)


def midi_bytes(
    tracks: Sequence[MidiTrack],
    mspq: int,
    total_ticks: int,
    text: str,
    *,
    key: tuple[int, int] | None = None,
) -> bytes:
    """The bytes that `write_midi` writes. Raises ValueError as it does."""
    if not 1 <= mspq <= 0xFFFFFF:
        raise ValueError(f"mspq must be 1..16777215, not {mspq}")
    if not 0 <= total_ticks < 1 << 28:
        raise ValueError(f"total_ticks must be 0..2**28-1, not {total_ticks}")
    if not 1 <= len(tracks) <= 16:
        raise ValueError(f"1..16 tracks, not {len(tracks)}")
    head = [
        _meta(0x01, text.encode("utf-8")) if text else b"",
        _meta(0x51, mspq.to_bytes(3, "big")),
        _meta(0x58, bytes([4, 2, 24, 8])),
        _meta(0x59, _key_signature(*key)) if key is not None else b"",
    ]
    chunks = [_chunk(b"MThd", b"".join(n.to_bytes(2, "big") for n in (1, len(tracks), 220)))]
    for number, track in enumerate(tracks):
        events = [(0, 0, event) for event in (head if number == 0 else []) if event]
        # Channel 9 is the drums'.
        channel = number if number < 9 else number + 1
        events += _track_events(track, min(channel, 15), total_ticks)
        chunks.append(_chunk(b"MTrk", _serialise(events, total_ticks)))
    return b"".join(chunks)


def _track_events(track: MidiTrack, channel: int, total_ticks: int) -> list[tuple[int, int, bytes]]:
    """(tick, rank, bytes): at one tick, set-up comes first, then note ends, pedal, note starts."""
    if not 0 <= track.program <= 127:
        raise ValueError(f"program must be 0..127, not {track.program}")
    events = [(0, 0, _meta(0x03, track.name.encode("utf-8")))]
    events.append((0, 0, bytes([0xC0 | channel, track.program])))
    notes = np.asarray(track.notes).reshape(-1, 4)
    if len(notes):
        onset, duration, pitch, velocity = (notes[:, k].astype(np.int64) for k in range(4))
        inside = (onset >= 0) & (duration >= 1) & (onset + duration <= total_ticks)
        in_range = (pitch >= 0) & (pitch <= 127) & (velocity >= 1) & (velocity <= 127)
        if not (inside & in_range).all():
            bad = notes[~(inside & in_range)][0].tolist()
            raise ValueError(f"note {bad} of {track.name!r} is not within 0..{total_ticks} ticks")
    for start, length, key, loudness in notes.tolist():
        events.append((start, 3, bytes([0x90 | channel, key, loudness])))
        events.append((start + length, 1, bytes([0x80 | channel, key, 0])))
    for tick, value in track.pedal:
        if not (0 <= tick <= total_ticks and 0 <= value <= 127):
            raise ValueError(f"pedal event {(tick, value)} of {track.name!r} is out of range")
        events.append((tick, 2, bytes([0xB0 | channel, _SUSTAIN, value])))
    return events


def _serialise(events: list[tuple[int, int, bytes]], total_ticks: int) -> bytes:
    # Set-up events keep their order (the sort is stable and compares ranks only).
    out = bytearray()
    now = 0
    for tick, _, event in sorted(events, key=lambda item: item[:2]):
        out += _varint(tick - now) + event
        now = tick
    return bytes(out + _varint(total_ticks - now) + _meta(0x2F, b""))


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + len(body).to_bytes(4, "big") + body


def _meta(kind: int, body: bytes) -> bytes:
    return bytes([0xFF, kind]) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    """A MIDI variable-length quantity: seven bits a byte, most significant first."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def _key_signature(tonic: int, mode: int) -> bytes:
    """Sharps (+) or flats (-) and the mode byte, in the spelling with fewer accidentals."""
    if not (0 <= tonic <= 11 and mode in (0, 1)):
        raise ValueError(f"key must be (0..11, 0..1), not {(tonic, mode)}")
    # Along the circle of fifths: C 0, G 1, ..., F# 6, Db -5, ..., F -1.
    sharps = ((tonic + (3 if mode else 0)) * 7 + 5) % 12 - 5
    return bytes([sharps & 0xFF, mode])
