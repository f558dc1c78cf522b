"""MuVi-Sync: 748 music videos as features, a second a row, with the chords and key of their songs.

What the columns are was found in the data and in the public scripts of its makers (Video2Music):

motion      mean absolute RGB difference of two neighbouring frames at the full second, not of
            pictures 0.2 s apart as in the paper; about a 2.7th of ours (`step_motion`).
scene       seconds since the last cut (not a number of the shot): 0 opens a shot.
loudness    RMS of the mono sound within the second, 0..1 of full scale, linear.
density     notes that sound within the second, of a transcription of the song.
emotion6    CLIP's probabilities of exciting, fearful, tense, sad, relaxing, neutral.
semantic    CLIP ViT-L/14@336 image features, int8; here L2-normalised.

Songs come one at a time: all of train as float32 would take 470 MB.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.pop909 import read_spans
from vmusprod.errors import InputError
from vmusprod.music.chord_names import chord_id
from vmusprod.music.key import Key, parse_key
from vmusprod.music.tokens import NO_CHORD
from vmusprod.video.features import VideoFeatures

__all__ = ["SPLITS", "ChordSpan", "Muvi", "MuviMusic", "MuviSong", "mood_affect", "step_motion"]

SPLITS = ("train", "val")
_SEMANTIC = 768
_MOODS = 6
# What each of the six moods adds to valence and to arousal.
_MOOD_AFFECT = np.array([[1, 1], [-1, 1], [-1, 1], [-1, -1], [1, -1], [0, 0]], np.float32)
_COLUMNS = ("emotion6", "motion", "scene", "loudness", "note_density")
_LARGEST = 1 << 24  # rows of one split


@dataclass(frozen=True)
class ChordSpan:
    """A chord, by our id (0..119, 120 none), from `start` to `end` seconds."""

    start: float
    end: float
    chord: int


@dataclass(frozen=True)
class MuviMusic:
    """The music of one video, S seconds.

    Attributes
    ----------
    key : (int, int)
        Tonic and mode.
    spans : tuple of ChordSpan
        In order, without gaps.
    chords : uint8 (S,)
        The chord that sounds longest within each second.
    density : float32 (S,)
        Notes that sound within each second.
    loudness : float32 (S,)
        RMS, 0..1 of full scale.
    """

    key: Key
    spans: tuple[ChordSpan, ...]
    chords: NDArray[np.uint8]
    density: NDArray[np.float32]
    loudness: NDArray[np.float32]


@dataclass(frozen=True)
class MuviSong:
    """One pair. `video` has no colour; its affect is ranked within train, -1..1.

    `moods`: float32 (S, 6), the probabilities of `emotion6`.
    """

    id: str
    title: str
    video: VideoFeatures
    moods: NDArray[np.float32]
    music: MuviMusic


class Muvi:
    """One split of the data set, opened; `len` and `songs` go over its videos.

    Raises InputError: not the data set, or a file of it that is damaged.
    """

    def __init__(self, root: str | os.PathLike[str], split: str = "train") -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        self._root = Path(root)
        self.ids, self._offset, self._columns = _read_tracks(self._root, split)
        self._semantic = _read_semantic(self._root, split, int(self._offset[-1]))
        self._labels = _read_labels(self._root / f"{split}.tsv")
        scale = _arrays(self._root / "semantic_scale.npz", ("mean", "scale"))
        self._mean, self._scale = (scale[name].astype(np.float32) for name in ("mean", "scale"))
        if self._mean.shape != (_SEMANTIC,) or self._scale.shape != (_SEMANTIC,):
            raise InputError(self._root / "semantic_scale.npz", "not 768 means and scales")
        # Both splits are ranked against train, as an unseen video is.
        columns = self._columns if split == "train" else _read_tracks(self._root, "train")[2]
        self._ranks = np.sort(mood_affect(columns["emotion6"]), axis=0)

    def __len__(self) -> int:
        return len(self.ids)

    def songs(self) -> Iterator[MuviSong]:
        """The pairs in the order of `ids`. Raises InputError for a damaged file."""
        for number in range(len(self)):
            yield self.song(number)

    def song(self, number: int) -> MuviSong:
        """Pair `number` of the split. Raises InputError for a damaged file."""
        name = self.ids[number]
        if name not in self._labels:
            raise InputError(self._root, f"no title and key of {name}")
        title, key = self._labels[name]
        begin, end = int(self._offset[number]), int(self._offset[number + 1])
        rows = {column: array[begin:end] for column, array in self._columns.items()}
        spans = _read_chords(self._root / "chord" / f"{name}.lab")
        music = MuviMusic(
            key,
            spans,
            _second_chords(spans, end - begin),
            rows["note_density"][:, 0],
            rows["loudness"][:, 0],
        )
        return MuviSong(name, title, self._video(rows, begin, end), rows["emotion6"], music)

    def semantic(self, begin: int, end: int) -> NDArray[np.float32]:
        """Rows `begin` to `end` of the split's CLIP features: float32 (rows, 768), L2 norm 1."""
        parts = []
        first = 0
        for shard in self._semantic:
            part = shard[max(begin - first, 0) : max(end - first, 0)]
            if len(part):
                parts.append(part.astype(np.float32) * self._scale + self._mean)
            first += len(shard)
        rows = np.concatenate(parts)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(rows / np.maximum(norms, 1e-6), np.float32)

    def _video(self, rows: dict[str, NDArray[np.float32]], begin: int, end: int) -> VideoFeatures:
        motion = np.repeat(step_motion(rows["motion"][:, 0]), 5)
        cuts = np.flatnonzero(rows["scene"][:, 0] == 0).astype(np.float32)
        return VideoFeatures(
            duration=float(end - begin),
            motion=motion,
            cuts=cuts[cuts > 0],
            affect=self._ranked(mood_affect(rows["emotion6"])),
            semantic=self.semantic(begin, end),
        )

    def _ranked(self, affect: NDArray[np.float32]) -> NDArray[np.float32]:
        """Valence and arousal as places among train's seconds: float32 (S, 2), -1..1."""
        ranks = np.empty_like(affect)
        for column in range(2):
            table = self._ranks[:, column]
            place = np.searchsorted(table, affect[:, column], "left").astype(np.float64)
            place += np.searchsorted(table, affect[:, column], "right")
            ranks[:, column] = place / len(table) - 1
        return ranks


def mood_affect(moods: NDArray[np.float32]) -> NDArray[np.float32]:
    """Valence and arousal, -1..1, of mood probabilities.

    moods: (S, 6), `emotion6`. Exciting counts +,+; fearful and tense -,+; sad -,-; relaxing +,-.
    """
    return np.asarray(moods @ _MOOD_AFFECT, np.float32)


def step_motion(motion: NDArray[np.float32]) -> NDArray[np.float32]:
    """The difference over 0.2 s to expect where neighbouring frames differ by `motion`, 0..255.

    On the four clips of ../shared with 24 to 30 frames a second the medians of the latter are 2.7,
    2.7, 3.3 and 6.8 times those of the former; a cut is as large in either.
    """
    return np.asarray(motion * (1 + 1.7 * np.exp(-motion / 20)), np.float32)


def _second_chords(spans: tuple[ChordSpan, ...], seconds: int) -> NDArray[np.uint8]:
    """uint8 (seconds,): the chord that sounds longest within each second."""
    share = np.zeros((seconds, NO_CHORD + 1), np.float32)
    for span in spans:
        for second in range(max(0, int(span.start)), min(seconds, int(np.ceil(span.end)))):
            heard = min(span.end, second + 1) - max(span.start, second)
            share[second, span.chord] += max(heard, 0.0)
    chords: NDArray[np.uint8] = share.argmax(axis=1).astype(np.uint8)
    chords[share.max(axis=1) == 0] = NO_CHORD
    return chords


def _read_chords(path: Path) -> tuple[ChordSpan, ...]:
    try:
        spans = tuple(ChordSpan(s, e, chord_id(name)) for s, e, name in read_spans(path))
    except ValueError as error:
        raise InputError(path, error) from error
    if any(not 0 <= span.start <= span.end <= 1e5 for span in spans):
        raise InputError(path, "a chord's time is out of range")
    return spans


def _read_labels(path: Path) -> dict[str, tuple[str, Key]]:
    """Video id to title and key."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            return {row["id"]: (row["title"], parse_key(row["key"])) for row in rows}
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, error) from error
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise InputError(path, f"not MuVi-Sync's table of videos ({error})") from error


def _read_tracks(
    root: Path, split: str
) -> tuple[tuple[str, ...], NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Ids, where each video's rows begin (one more than videos), and the columns as float32."""
    path = root / f"{split}_tracks.npz"
    arrays = _arrays(path, ("id", "offset", *_COLUMNS))
    ids = tuple(str(name) for name in arrays["id"].ravel())
    offset = arrays["offset"].ravel().astype(np.int64)
    fits = len(ids) > 0 and len(offset) == len(ids) + 1
    if not fits or offset[0] != 0 or np.any(np.diff(offset) < 1):
        raise InputError(path, "ids and offsets do not fit together")
    columns = {}
    for name in _COLUMNS:
        array = arrays[name].astype(np.float32)
        width = _MOODS if name == "emotion6" else 1
        if array.shape != (offset[-1], width) or not np.isfinite(array).all():
            raise InputError(path, f"{name!r} has a wrong shape or values that are not finite")
        columns[name] = array
    return ids, offset, columns


def _read_semantic(root: Path, split: str, rows: int) -> list[NDArray[np.int8]]:
    """Return the shards, mapped, not read."""
    shards: list[NDArray[np.int8]] = []
    while sum(map(len, shards)) < rows:
        path = root / f"{split}_semantic_{len(shards)}.npy"
        try:
            shard = np.lib.format.open_memmap(path, mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(path, error) from error
        fits = shard.ndim == 2 and shard.shape[1] == _SEMANTIC and shard.dtype == np.int8
        if not fits or len(shard) == 0:
            raise InputError(path, f"is {shard.dtype} {shard.shape}, not int8 (seconds, 768)")
        shards.append(shard)
    return shards


def _arrays(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[np.generic]]:
    try:
        # A file of our own: numpy leaves the one that it opened open when it is no archive.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = {name: np.asarray(archive[name]) for name in names}
    except KeyError as error:
        raise InputError(path, f"no {error} in it: not MuVi-Sync") from error
    except Exception as error:  # zip, zlib, header text: numpy raises what each of them raises
        raise InputError(path, error) from error
    if any(array.shape[0] > _LARGEST for array in found.values() if array.ndim):
        raise InputError(path, "too long to be MuVi-Sync")
    return found
