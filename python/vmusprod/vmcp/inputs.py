"""What VMCP reads: pairs of files, or MuVi-Sync itself, as video features and music rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from vmusprod.dataset.muvi import Muvi
from vmusprod.errors import InputError, VmusError
from vmusprod.video.cache import load_features
from vmusprod.video.features import VideoFeatures
from vmusprod.vmcp.midi import midi_seconds
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.pairs import AUDIO_SUFFIXES, MIDI_SUFFIXES, PairFiles, find_pairs
from vmusprod.vmcp.rows import Rows, music_rows

if TYPE_CHECKING:
    from vmusprod.vmcp.tagger import Tagger

__all__ = ["MuviSource", "PairInput", "PairSource", "pair_source", "read_music"]


@dataclass(frozen=True)
class PairInput:
    """A pair that was read: the video by name (the same name is the same video) and features."""

    video: str
    features: VideoFeatures
    music: Path | MusicSeconds


class FileSource:
    """Pairs of files."""

    def __init__(self, pairs: Sequence[PairFiles]) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def inputs(self, failed: list[VmusError]) -> Iterator[PairInput]:
        """The pairs in order; the errors of videos that cannot be read go to `failed`."""
        known: dict[str, VideoFeatures] = {}
        broken: set[str] = set()
        for pair in self._pairs:
            name = os.path.realpath(pair.video)
            if name in broken:
                continue
            try:
                if name not in known:
                    # Colour is most of it, and nothing here looks at it.
                    known[name] = replace(load_features(pair.video), color=None)
            except VmusError as error:
                failed.append(error)
                broken.add(name)
                continue
            yield PairInput(name, known[name], pair.music)


class MuviSource:
    """The pairs of a split of MuVi-Sync."""

    def __init__(self, root: Path, split: str) -> None:
        self._muvi = Muvi(root, split)

    def __len__(self) -> int:
        return len(self._muvi)

    def inputs(self, failed: list[VmusError]) -> Iterator[PairInput]:
        """The pairs in order; a damaged file raises InputError."""
        del failed
        for song in self._muvi.songs():
            music = song.music
            seconds = MusicSeconds(music.chords, music.density, music.loudness)
            yield PairInput(song.id, song.video, seconds)


PairSource = FileSource | MuviSource


def pair_source(source: Path, music: Path | None = None, split: str = "val") -> PairSource:
    """Pairs from a table, two folders (`pairs.find_pairs`), or a split of MuVi-Sync's folder.

    Raises InputError.
    """
    if music is None and source.is_dir() and (source / "train_tracks.npz").is_file():
        return MuviSource(source, split)
    return FileSource(find_pairs(source, music))


def read_music(path: Path, kind: str, tagger: Path | None) -> tuple[Rows, bool]:
    """Rows of a music file for a side, `symbolic` or `audio`, and whether it is MIDI.

    Raises InputError: unreadable, or of a form that the side cannot hear; VmusError without the
    tagger.
    """
    suffix = path.suffix.lower()
    if kind == "audio":
        from vmusprod.vmcp.tagger import find_tagger

        if suffix == ".npz":
            raise InputError(path, "a file of chords and density has no sound for the audio side")
        # The tagger renders MIDI: both kinds are sound by then.
        return _tagger(find_tagger(tagger)).rows(path), False
    if suffix in AUDIO_SUFFIXES:
        raise InputError(path, "is sound, which the symbolic side cannot hear: use --music audio")
    if suffix in MIDI_SUFFIXES:
        return music_rows(midi_seconds(path)), True
    if suffix == ".npz":
        seconds = MusicSeconds.load(path)
        return music_rows(seconds), seconds.midi
    raise InputError(path, "neither MIDI nor audio nor a file of music features")


@lru_cache(maxsize=1)
def _tagger(path: Path) -> Tagger:
    from vmusprod.vmcp.tagger import Tagger

    return Tagger(path)
