"""How well music and video belong together: `Scorer`, `score_pairs`, `similarity`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError, VmusError
from vmusprod.music.score import TimedNotes
from vmusprod.video.features import VideoFeatures
from vmusprod.vmcp.encoder import Encoders, Vectors, similarities
from vmusprod.vmcp.inputs import PairInput, PairSource, read_music
from vmusprod.vmcp.metric import Retrieval, retrieval
from vmusprod.vmcp.midi import notes_seconds
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.rows import Rows, music_rows, pixel_rows
from vmusprod.vmcp.weights import default_weights, load_vmcp

__all__ = ["PairScores", "Scorer", "load_scorer", "rank_music", "score_pairs", "similarity"]

Music = str | os.PathLike[str] | bytes | TimedNotes | MusicSeconds
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class PairScores:
    """The figures, the side that gave them, and the pairs that could not be read."""

    retrieval: Retrieval
    side: str
    failed: tuple[VmusError, ...]


class Scorer:
    """The encoders and, for the audio side, the tagger's weights."""

    def __init__(self, encoders: Encoders, tagger: Path | None = None) -> None:
        self._encoders = encoders
        self._tagger = tagger

    @property
    def side(self) -> str:
        """`clip` or `pixels`."""
        return self._encoders.config.side

    def similarity(self, features: VideoFeatures, music: Music) -> float:
        """Mean cosine of the segments of a video and a piece of music, -1..1.

        `music`: a MIDI file (also one's bytes, or its notes), what MuVi-Sync would say of it, or
        for the audio side a sound file. Only the order of scores means something. Raises InputError
        for unreadable music, VmusError for a video without CLIP features on the clip side.
        """
        return float(self.scores([features], [music])[0, 0])

    def scores(
        self, videos: Sequence[VideoFeatures], musics: Sequence[Music]
    ) -> NDArray[np.float64]:
        """Similarity of each music (row) with each video (column): float64 (M, N)."""
        video = np.stack([self.video_vectors(features) for features in videos])
        music = np.stack([self.music_vectors(piece) for piece in musics])
        return similarities(music, video)

    def video_vectors(self, features: VideoFeatures) -> Vectors:
        """(SEGMENTS, space), unit length. Raises VmusError as `similarity`."""
        if self.side == "clip" and features.semantic is None:
            raise VmusError("the clip side needs CLIP features of the video: use the pixels side")
        return self._encoders.video(features.semantic, pixel_rows(features))

    def music_vectors(self, music: Music) -> Vectors:
        """(SEGMENTS, space), unit length. Raises InputError as `similarity`."""
        return self._encoders.music(*self._music_rows(music))

    def _music_rows(self, music: Music) -> tuple[Rows, bool]:
        """Rows, and whether they are of MIDI and not of a recording."""
        if isinstance(music, bytes):
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "music.mid"
                path.write_bytes(music)
                return self._music_rows(path)
        kind = self._encoders.config.music
        if isinstance(music, (TimedNotes, MusicSeconds)):
            if kind == "audio":
                raise VmusError("the audio side needs a file of music")
            seconds = notes_seconds(music) if isinstance(music, TimedNotes) else music
            return music_rows(seconds), seconds.midi
        rows, is_midi = read_music(Path(music), kind, self._tagger)
        if rows.shape[1] != self._encoders.config.music_columns:
            raise InputError(music, "its features are not those of the weights")
        return rows, is_midi


def load_scorer(
    side: str = "clip",
    music: str = "symbolic",
    weights: Path | None = None,
    tagger: Path | None = None,
) -> Scorer:
    """Return the scorer of two sides, with the weights in the package if none are given.

    side: `clip` or `pixels`; music: `symbolic` or `audio`. tagger: the music tagger's weights, for
    the audio side. Raises InputError: unusable weights, or of other sides; VmusError: the package
    has none of these sides (the audio side's have to be trained).
    """
    path = default_weights(side, music) if weights is None else weights
    if weights is None and not path.is_file():
        raise VmusError(
            f"no weights of the sides {side} and {music} in the package: "
            "train them by vmus vmcp train, and give them by --weights FILE"
        )
    encoders, _ = load_vmcp(path)
    config = encoders.config
    if (config.side, config.music) != (side, music):
        found = f"{config.side} and {config.music}"
        raise InputError(path, f"holds the sides {found}, not {side} and {music}")
    return Scorer(encoders, tagger)


@lru_cache(maxsize=2)
def _package_scorer(side: str) -> Scorer:
    return load_scorer(side)


def similarity(features: VideoFeatures, music: Music) -> float:
    """`Scorer.similarity` by the package's weights: with CLIP features if the video has them."""
    return _package_scorer("pixels" if features.semantic is None else "clip").similarity(
        features, music
    )


def score_pairs(
    pairs: PairSource,
    candidates: int = 70,
    seed: int = 0,
    side: str = "auto",
    music: str = "symbolic",
    weights: Path | None = None,
    tagger: Path | None = None,
    progress: Progress | None = None,
) -> PairScores:
    """VMCP of pairs (`inputs.pair_source`): for each piece its video's rank among `candidates`.

    side: `clip`, `pixels` or `auto`, `clip` if all videos have CLIP features. Pairs that cannot be
    read are left out and told in `failed`. A video that stands in several pairs, as when several
    pieces were made for it, counts once as a candidate. Raises VmusError: fewer videos than
    candidates; and as `load_scorer`.
    """
    read: list[PairInput] = []
    failed: list[VmusError] = []
    for number, pair in enumerate(pairs.inputs(failed), 1):
        read.append(pair)
        if progress is not None:
            progress(f"reading pair {number}", number / len(pairs))
    if not read:
        raise VmusError("no pair could be read" + (f": {failed[0]}" if failed else ""))
    if side == "auto":
        side = "clip" if all(p.features.semantic is not None for p in read) else "pixels"
    scorer = load_scorer(side, music, weights, tagger)
    columns: dict[str, int] = {}
    video, sound, own = [], [], []
    for number, pair in enumerate(read, 1):
        try:
            heard = scorer.music_vectors(pair.music)
            if pair.video not in columns:
                video.append(scorer.video_vectors(pair.features))
                columns[pair.video] = len(columns)
        except VmusError as error:
            failed.append(error)
            continue
        sound.append(heard)
        own.append(columns[pair.video])
        if progress is not None:
            progress(f"scoring pair {number}", number / len(read))
    if not sound:
        raise VmusError(f"no pair could be scored: {failed[0]}")
    scores = similarities(np.stack(sound), np.stack(video))
    figures = retrieval(scores, candidates, seed, np.array(own))
    return PairScores(figures, side, tuple(failed))


def rank_music(
    scorer: Scorer, features: VideoFeatures, musics: Sequence[Path]
) -> tuple[list[tuple[float, Path]], list[VmusError]]:
    """Music by falling similarity with one video, and what could not be read."""
    found: list[tuple[float, Path]] = []
    failed: list[VmusError] = []
    video = scorer.video_vectors(features)[None]
    for path in musics:
        try:
            score = float(similarities(scorer.music_vectors(path)[None], video)[0, 0])
        except VmusError as error:
            failed.append(error)
        else:
            found.append((score, path))
    return sorted(found, key=lambda item: -item[0]), failed
