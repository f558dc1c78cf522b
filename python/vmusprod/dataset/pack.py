"""A pack: songs as token streams, in one compressed file that every training stage reads.

Songs stand in C major or A minor (it spares a small model eleven twelfths of the work), with
velocities evened out song by song, since SymMV's transcriber and POP909's players differ widely.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.pack_video import PairedVideo, read_videos, video_arrays
from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.music import tokens as tk

VERSION = 1
LEVELS = 8
STREAMS = ("chord", "melody", "accompaniment")
MEAN_VELOCITY, VELOCITY_SPREAD = 66.0, 14.0
_SMOOTH_BARS = 4
_DAMAGE = (
    KeyError, ValueError, TypeError, IndexError, AttributeError, EOFError, MemoryError,
    OverflowError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy, zipfile and json raise on files that are not what they should be."""


@dataclass(frozen=True)
class PackedSong:
    """One song.

    Streams are token arrays (T, 7) over `bars` bars; density and loudness hold, for each stream,
    one level 1..8 a bar (0: nothing to measure). tempo: beats a minute; mode: 0 major, 1 minor.
    video: what was seen to it, if it is a pair; such a song may be chords alone, without notes.
    """

    id: str
    source: str
    split: str
    bars: int
    tempo: float
    mode: int
    chord: tk.Tokens
    melody: tk.Tokens
    accompaniment: tk.Tokens
    density: dict[str, NDArray[np.int64]]
    loudness: dict[str, NDArray[np.int64]]
    video: PairedVideo | None = None

    @property
    def has_notes(self) -> bool:
        """Whether melody and accompaniment can be learnt from it."""
        notes = (self.melody[:, tk.TYPE] == tk.NOTE, self.accompaniment[:, tk.TYPE] == tk.NOTE)
        return any(bool(there.any()) for there in notes)


def to_common_key(
    notes: tk.Notes, chords: NDArray[np.uint8], key: tuple[int, int]
) -> tuple[tk.Notes, NDArray[np.uint8]]:
    """Transpose to C major or A minor by at most 6 semitones.

    Notes that would leave 0..127 change octave.
    """
    tonic, mode = key
    shift = ((9 if mode else 0) - tonic + 6) % 12 - 6
    moved = notes.copy()
    moved[:, 2] += shift
    moved[:, 2] = np.where(moved[:, 2] < 0, moved[:, 2] + 12, moved[:, 2])
    moved[:, 2] = np.where(moved[:, 2] > 127, moved[:, 2] - 12, moved[:, 2])
    ids = chords.astype(np.int64)
    root = (ids // 10 + shift) % 12
    return moved, np.where(ids >= tk.NO_CHORD, tk.NO_CHORD, root * 10 + ids % 10).astype(np.uint8)


def even_velocity(velocity: NDArray[np.int32]) -> NDArray[np.int32]:
    """Move a song's velocities to mean 66, spread 14 (a flat song keeps no spread)."""
    spread = max(float(velocity.std()), 1.0)
    scaled = MEAN_VELOCITY + (velocity - velocity.mean()) * min(VELOCITY_SPREAD / spread, 4.0)
    return np.asarray(np.clip(np.round(scaled), 1, 127), np.int32)


def pack_song(
    *,
    id: str,
    source: str,
    notes: tk.Notes,
    melody: NDArray[np.bool_],
    chords: NDArray[np.uint8],
    key: tuple[int, int],
    tempo: float,
    split: str | None = None,
) -> dict[str, object]:
    """One song's entry for `write_pack`: streams in the common key.

    notes: (N, 4) grid notes; melody: (N,) which of them are the melody; chords: one id a beat; key:
    (tonic, mode). Raises ValueError without notes.
    """
    if not len(notes):
        raise ValueError("no notes on the grid")
    moved, moved_chords = to_common_key(notes, chords, key)
    moved[:, 3] = even_velocity(moved[:, 3])
    bars = int(moved[:, 0].max()) // tk.STEPS_PER_BAR + 1
    padded = np.full(bars * tk.BEATS_PER_BAR, tk.NO_CHORD, np.uint8)
    count = min(len(padded), len(moved_chords))
    padded[:count] = moved_chords[:count]
    return {
        "id": id,
        "source": source,
        "split": split or split_of(id),
        "bars": bars,
        "tempo": float(tempo),
        "mode": int(key[1]),
        "chord": tk.encode(bars, chords=padded),
        "melody": tk.encode(bars, notes=tk.normalise(moved[melody])),
        "accompaniment": tk.encode(bars, notes=tk.normalise(moved[~melody])),
    }


def song_mark(id: str) -> str:
    """Eight hex digits by which a weights file remembers that a song was trained on."""
    return hashlib.sha256(id.encode()).hexdigest()[:8]


def split_of(id: str) -> str:
    """`val` for one song in twenty, by a hash of its name, so that no rerun moves a song."""
    return "val" if hashlib.sha256(id.encode()).digest()[0] % 20 == 0 else "train"


def write_pack(path: Path, songs: Iterable[dict[str, object]], about: dict[str, object]) -> int:
    """Write a pack, whole or not at all; return the number of songs. Raises OutputError."""
    entries = list(songs)
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in STREAMS:
        streams = [np.asarray(e[name], np.int16) for e in entries]
        lengths = [len(s) for s in streams]
        arrays[f"{name}_offset"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.concatenate(streams) if streams else np.zeros((0, 7), np.int16)
        arrays[f"{name}_tokens"] = rows.astype(np.uint8)
    arrays.update(video_arrays([_video_of(e) for e in entries]))
    plain = ("id", "source", "split", "bars", "tempo", "mode")
    table = [{k: e[k] for k in plain} for e in entries]
    header = json.dumps({"version": VERSION, "about": about, "songs": table})
    arrays["header"] = np.frombuffer(header.encode(), np.uint8)
    with atomic_output(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return len(entries)


def _video_of(entry: dict[str, object]) -> PairedVideo | None:
    video = entry.get("video")
    return video if isinstance(video, PairedVideo) else None


class Pack:
    """A pack in memory, or several in a row (`Pack.joined`).

    Raises InputError if the file is not a whole pack of this version.
    """

    @classmethod
    def joined(cls, paths: Sequence[Path]) -> Pack:
        """Several packs as one: levels are ranked within each. Raises InputError, ValueError."""
        if not paths:
            raise ValueError("no pack given")
        first, *others = (cls(path) for path in paths)
        if others:
            first.about = {"packs": [pack.about for pack in (first, *others)]}
        first._songs = [song for pack in (first, *others) for song in pack._songs]
        return first

    def __init__(self, path: Path) -> None:
        try:
            # opened here, because np.load leaves a damaged file open
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                arrays = {k: data[k] for k in data.files}
            header = json.loads(bytes(arrays["header"]).decode())
            if header["version"] != VERSION:
                raise InputError(path, f"pack version {header['version']}, expected {VERSION}")
            self.about: dict[str, object] = dict(header["about"])
            self._songs = list(_read(header["songs"], arrays))
        except OSError as e:
            raise InputError(path, e) from e
        except _DAMAGE as e:
            raise InputError(path, f"not a training pack ({e})") from e

    def songs(self, split: str) -> list[PackedSong]:
        """Return the songs of a split (`train`, `val`, or `all`)."""
        return [s for s in self._songs if split in ("all", s.split)]


def _read(
    table: list[dict[str, object]], arrays: dict[str, NDArray[np.generic]]
) -> Iterable[PackedSong]:
    bars = [int(str(row["bars"])) for row in table]
    streams = {name: _streams(name, arrays, bars) for name in STREAMS}
    density = {n: _levels([_density(s, b) for s, b in zip(streams[n], bars, strict=True)])
               for n in STREAMS}  # fmt: skip
    loudness = {n: _levels([_loudness(s, b) for s, b in zip(streams[n], bars, strict=True)])
                for n in STREAMS}  # fmt: skip
    videos = read_videos(arrays, len(table))
    for i, row in enumerate(table):
        tempo, mode = float(str(row["tempo"])), int(str(row["mode"]))
        if not (0 < tempo < np.inf and mode in (0, 1)):
            raise ValueError("tempo or mode out of range")
        yield PackedSong(
            id=str(row["id"]), source=str(row["source"]), split=str(row["split"]), bars=bars[i],
            tempo=tempo, mode=mode,
            chord=streams["chord"][i], melody=streams["melody"][i],
            accompaniment=streams["accompaniment"][i],
            density={n: density[n][i] for n in STREAMS},
            loudness={n: loudness[n][i] for n in STREAMS},
            video=videos[i],
        )  # fmt: skip


def _streams(name: str, arrays: dict[str, NDArray[np.generic]], bars: list[int]) -> list[tk.Tokens]:
    """Return each song's stream, once it is sure to be one: models index tables by its values."""
    tokens, offset = arrays[f"{name}_tokens"], arrays[f"{name}_offset"].astype(np.int64)
    if tokens.ndim != 2 or tokens.shape[1] != len(tk.SIZES) or tokens.dtype != np.uint8:
        raise ValueError(f"{name} tokens of the wrong shape")
    if len(offset) != len(bars) + 1 or offset[0] != 0 or offset[-1] != len(tokens):
        raise ValueError(f"{name} streams do not match the songs")
    if (
        (np.diff(offset) < 1).any()
        or (tokens >= np.array(tk.SIZES)).any()
        or not tokens[:, 0].all()
    ):
        raise ValueError(f"{name} tokens out of range")
    parts: list[tk.Tokens] = np.split(tokens.astype(np.int16), offset[1:-1])
    for part, count in zip(parts, bars, strict=True):
        opens = part[:, tk.BARBEAT] == 1
        if not opens[0] or opens.sum() != count or (np.diff(tk.stream_keys(part)) <= 0).any():
            raise ValueError(f"a {name} stream is not in order")
    return parts


def _density(tokens: tk.Tokens, bars: int) -> NDArray[np.float64]:
    """Count notes (or chords) a bar, smoothed over four bars; NaN if there are none at all."""
    bar, _ = tk.places(tokens)
    kept = (tokens[:, tk.TYPE] == tk.NOTE) | (tokens[:, tk.TYPE] == tk.CHORD)
    if not kept.any():  # a song of chords alone says nothing of how dense notes are
        return np.full(bars, np.nan)
    return _smooth(np.bincount(bar[kept], minlength=bars).astype(np.float64))


def _loudness(tokens: tk.Tokens, bars: int) -> NDArray[np.float64]:
    """Mean velocity level a bar, smoothed; NaN where there is no note for four bars."""
    bar, _ = tk.places(tokens)
    kept = tokens[:, tk.TYPE] == tk.NOTE
    count = np.bincount(bar[kept], minlength=bars).astype(np.float64)
    weights = tokens[kept, tk.VELOCITY].astype(np.float64)
    total = np.bincount(bar[kept], weights, minlength=bars).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(_smooth(total) / _smooth(count))


def _smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
    window = np.ones(min(_SMOOTH_BARS, len(x)))
    return np.convolve(x, window, "same") / np.convolve(np.ones(len(x)), window, "same")


def _levels(values: list[NDArray[np.float64]]) -> list[NDArray[np.int64]]:
    """Quantile levels 1..8 over the whole pack; NaN becomes 0."""
    everything = np.concatenate(values) if values else np.zeros(0)
    known = everything[~np.isnan(everything)]
    if not len(known):
        return [np.zeros(len(v), np.int64) for v in values]
    edges = np.quantile(known, np.arange(1, LEVELS) / LEVELS)
    return [
        np.where(np.isnan(v), 0, 1 + np.searchsorted(edges, v)).astype(np.int64) for v in values
    ]
