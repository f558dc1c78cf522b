"""MIDI files of every bad kind, as bytes made here: name -> (bytes, what must be said of it).

None: it is annotated. Otherwise a part of the reason it is refused for.
"""

from __future__ import annotations

from collections.abc import Iterable

END = b"\x00\xff\x2f\x00"


def varint(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def chunk(body: bytes, name: bytes = b"MTrk") -> bytes:
    return name + len(body).to_bytes(4, "big") + body


def header(kind: int = 1, tracks: int = 1, division: int = 220) -> bytes:
    return chunk(b"".join(word.to_bytes(2, "big") for word in (kind, tracks, division)), b"MThd")


def song(
    notes: Iterable[tuple[int, int, int]] = (),
    events: Iterable[tuple[int, bytes]] = (),
    *,
    channel: int = 0,
    division: int = 220,
    kind: int = 1,
) -> bytes:
    """A file of one track: notes (tick, length, pitch), other events (tick, bytes)."""
    rows = [(tick, 0, data) for tick, data in events]
    for tick, length, pitch in notes:
        rows.append((tick, 2, bytes([0x90 | channel, pitch, 80])))
        rows.append((tick + length, 1 if length else 3, bytes([0x80 | channel, pitch, 0])))
    body, now = b"", 0
    parts = []
    for tick, _, data in sorted(rows):
        parts.append(varint(tick - now) + data)
        now = tick
    body = b"".join(parts) + END
    return header(kind, 1, division) + chunk(body)


def meta(kind: int, data: bytes) -> bytes:
    return b"\xff" + bytes([kind]) + varint(len(data)) + data


def tempo(mspq: int) -> bytes:
    return meta(0x51, mspq.to_bytes(3, "big"))


def signature(number: int, power: int) -> bytes:
    return meta(0x58, bytes([number, power, 24, 8]))


def tune(bars: int = 12, step: int = 110, start: int = 0) -> list[tuple[int, int, int]]:
    """A tune over chords in eighths: enough for beats to be found."""
    roots = (0, 7, 9, 5)
    notes = []
    for bar in range(bars):
        root = roots[bar % 4]
        at = start + 8 * step * bar
        notes += [(at, 8 * step, 36 + root), (at, 4 * step, 48 + root), (at, 4 * step, 55 + root)]
        notes += [(at + 4 * step, 4 * step, 52 + root)]
        notes += [
            (at + k * step, step, 67 + (root + d) % 12)
            for k, d in enumerate((0, 4, 7, 4, 2, 4, 5, 2))
        ]
    return notes


TUNE = tune()
WHOLE = song(TUNE)

CORPUS: dict[str, tuple[bytes, str | None]] = {
    "empty": (b"", "empty file"),
    "text": (b"no MIDI at all\n", "not a MIDI file"),
    "zeros": (bytes(5000), "not a MIDI file"),
    "riff": (b"RIFF\x00\x00\x00\x00RMID" + WHOLE, "not a MIDI file"),
    "header-cut": (WHOLE[:11], "cut short"),
    "header-only": (header(), "not a readable MIDI file|no notes"),
    "track-cut": (WHOLE[: len(WHOLE) // 2], "cut short"),
    "track-longer-than-file": (header() + b"MTrk\x7f\xff\xff\xff" + WHOLE[22:], "cut short"),
    "type-2": (song(TUNE, kind=2), "type 2"),
    "type-0": (song(TUNE, kind=0), None),
    "type-99": (song(TUNE, kind=99), "type 99"),
    "smpte": (header(1, 1, 0xE728) + WHOLE[14:], "SMPTE"),
    "division-0": (song(TUNE, division=0), "0 ticks"),
    "division-1": (song([(t // 55, 1, p) for t, _, p in TUNE], division=1), None),
    "division-32767": (song([(148 * t, 148 * n, p) for t, n, p in TUNE], division=32767), None),
    "no-notes": (song(events=[(0, tempo(500000))]), "no notes"),
    "only-drums": (song(TUNE, channel=9), "no notes"),
    "only-zero-length": (song([(t, 0, p) for t, _, p in TUNE]), "no notes"),
    "some-zero-length": (song([(t, n if p > 60 else 0, p) for t, n, p in TUNE]), None),
    "one-note": (song([(0, 220, 60)]), None),
    "one-note-late": (song([(100_000, 1, 127)]), None),
    "one-chord": (song([(0, 220, p) for p in (60, 64, 67)]), None),
    "all-at-once": (song([(0, 1 + p, p) for p in range(128)]), None),
    "one-key": (song([(110 * k, 110, 60) for k in range(200)]), None),
    "overlapping": (song([(110 * k, 1000, 60 + k % 3) for k in range(200)]), None),
    "note-on-only": (
        song(TUNE, events=[(t, bytes([0x90, 100, 64])) for t in range(0, 8000, 500)]),
        None,
    ),
    "note-on-only-no-end": (song(events=[(0, bytes([0x90, 60, 64]))]), "no notes|readable"),
    "tempo-0": (song(TUNE, [(0, tempo(0))]), "tempo of 0"),
    "tempo-0-later": (song(TUNE, [(4000, tempo(0))]), "tempo of 0"),
    "tempo-1": (song(TUNE, [(0, tempo(1))]), "shorter than"),
    "tempo-slowest": (song(TUNE, [(0, tempo(0xFFFFFF))]), None),
    "tempo-wild": (
        song(TUNE, [(100 * k, tempo(200_000 + 7919 * k % 900_000)) for k in range(100)]),
        None,
    ),
    "ten-hours": (song([*TUNE, (220 * 2 * 36_000, 220, 60)]), "6 hours"),
    "five-hours-of-nothing": (song([*TUNE, (220 * 2 * 18_000, 220, 60)]), None),
    "signature-0": (song(TUNE, [(0, signature(0, 2))]), None),
    "signature-255": (song(TUNE, [(0, signature(255, 255))]), None),
    "signature-7-8": (song(TUNE, [(0, signature(7, 3))]), None),
    "signature-6-8": (song(TUNE, [(0, signature(6, 3))]), None),
    "signature-1-128": (song(TUNE, [(0, signature(1, 7))]), None),
    "signature-64-1": (song(TUNE, [(0, signature(64, 0))]), None),
    "signature-mid-bar": (
        song(TUNE, [(333 * k, signature(2 + k % 9, 1 + k % 4)) for k in range(30)]),
        None,
    ),
    "name-latin1": (song(TUNE, [(0, meta(3, "Flügel é".encode("latin-1")))]), None),
    "name-shift-jis": (song(TUNE, [(0, meta(3, "メロディ".encode("shift-jis")))]), None),
    "name-utf16": (song(TUNE, [(0, meta(3, "Klavier".encode("utf-16")))]), None),
    "name-zeros": (song(TUNE, [(0, meta(3, bytes(100)))]), None),
    "lyrics-bytes": (song(TUNE, [(10 * k, meta(5, bytes([128 + k]))) for k in range(100)]), None),
    "name-huge": (song(TUNE, [(0, meta(3, b"x" * 100_000))]), None),
    "sysex": (song(TUNE, [(50, b"\xf0\x05\x7e\x7f\x09\x01\xf7")]), None),
    "many-tracks": (
        header(1, 300) + b"".join(chunk(song([(110 * k, 110, 60)])[22:]) for k in range(300)),
        None,
    ),
    "highest-lowest": (song([(110 * k, 55, 127 * (k % 2)) for k in range(100)]), None),
    "grace-notes": (song([(t + k, 1, p) for t, _, p in TUNE for k in range(3)]), None),
}


def million() -> bytes:
    """A million notes."""
    body = (b"\x01\x90\x3c\x50\x01\x3c\x00") * 1_000_000
    return header() + chunk(body + END)
