"""The video side of a pack: rows a second of each source, small enough to lie in memory.

Semantic features are int8 with a scale a column; colours are rows of one palette, since a data set
without pixels (MuVi-Sync) borrows the histograms of a few hundred pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairedVideo", "read_videos", "video_arrays"]

_WIDTHS = {"semantic": 768, "affect": 2, "motion": 2}
_COLORS = 3 * 32 * 32


@dataclass(frozen=True)
class PairedVideo:
    """The video of one song, S seconds from its first bar to its last.

    semantic: int8 (S, 768) to be multiplied with `scale` (768,), or float with a scale of ones;
    affect: (S, 2); motion: (S, 2), as `video.rows.video_rows` has it; color: (S,) rows of `palette`
    (K, 3072), -1 where there is none. `has`: the sources that the video has.
    """

    semantic: NDArray[np.generic]
    scale: NDArray[np.float32]
    affect: NDArray[np.float16]
    motion: NDArray[np.float16]
    color: NDArray[np.int32]
    palette: NDArray[np.float16]
    has: frozenset[str]

    def __len__(self) -> int:
        return len(self.motion)

    def rows(self) -> dict[str, NDArray[np.float32]]:
        """Each source at hand as float32 (S, size)."""
        found = {}
        if "semantic" in self.has:
            found["semantic"] = self.semantic.astype(np.float32) * self.scale
        if "color" in self.has:
            found["color"] = self.palette[self.color].astype(np.float32)
        if "affect" in self.has:
            found["affect"] = self.affect.astype(np.float32)
        if "motion" in self.has:
            found["motion"] = self.motion.astype(np.float32)
        return found


def video_arrays(videos: Sequence[PairedVideo | None]) -> dict[str, NDArray[np.generic]]:
    """The arrays that `read_videos` reads, of one video (or None) a song, all with one palette."""
    known = [(i, v) for i, v in enumerate(videos) if v is not None]
    if not known:
        return {}
    kept = [v for _, v in known]
    largest = np.max([_peak(v) for v in kept], axis=0)
    scale = (np.maximum(largest, 1e-6) / 127).astype(np.float32)
    semantic = [
        np.round(v.semantic.astype(np.float32) * v.scale / scale).astype(np.int8) for v in kept
    ]
    has = [[name in v.has for name in ("semantic", "color", "affect", "motion")] for v in kept]
    return {
        "video_song": np.array([i for i, _ in known], np.int64),
        "video_offset": np.concatenate([[0], np.cumsum([len(v) for v in kept])]).astype(np.int64),
        "video_has": np.array(has, np.bool_),
        "video_scale": scale,
        "video_semantic": np.concatenate(semantic),
        "video_affect": np.concatenate([v.affect for v in kept]).astype(np.float16),
        "video_motion": np.concatenate([v.motion for v in kept]).astype(np.float16),
        "video_color": np.concatenate([v.color for v in kept]).astype(np.int32),
        "video_palette": kept[0].palette,
    }


def _peak(video: PairedVideo) -> NDArray[np.float32]:
    rows = video.semantic.astype(np.float32) * video.scale
    return np.asarray(np.abs(rows).max(axis=0, initial=0.0), np.float32)


def read_videos(arrays: dict[str, NDArray[np.generic]], songs: int) -> list[PairedVideo | None]:
    """One video a song, None for those without. Raises ValueError or KeyError for a damaged pack.

    arrays: a pack's; one that was made without videos has none of theirs.
    """
    out: list[PairedVideo | None] = [None] * songs
    if "video_song" not in arrays:
        return out
    index = arrays["video_song"].astype(np.int64)
    offset = arrays["video_offset"].astype(np.int64)
    total = int(offset[-1]) if len(offset) else -1
    if len(offset) != len(index) + 1 or offset[0] != 0 or (np.diff(offset) < 1).any():
        raise ValueError("videos do not match their rows")
    if ((index < 0) | (index >= songs)).any() or len(np.unique(index)) != len(index):
        raise ValueError("videos do not match the songs")
    has, palette = arrays["video_has"], arrays["video_palette"].astype(np.float16)
    color = arrays["video_color"].astype(np.int32)
    if has.shape != (len(index), 4) or palette.ndim != 2 or palette.shape[1] != _COLORS:
        raise ValueError("video sources of the wrong shape")
    if color.shape != (total,) or ((color < -1) | (color >= len(palette))).any():
        raise ValueError("video colours out of range")
    scale = arrays["video_scale"].astype(np.float32)
    if scale.shape != (_WIDTHS["semantic"],) or not np.isfinite(scale).all():
        raise ValueError("bad scale of the semantic features")
    rows = {name: arrays[f"video_{name}"] for name in _WIDTHS}
    for name, width in _WIDTHS.items():
        if rows[name].shape != (total, width) or not np.isfinite(rows[name]).all():
            raise ValueError(f"{name} rows of the wrong shape, or not finite")
    names = ("semantic", "color", "affect", "motion")
    for number, song in enumerate(index):
        here = slice(int(offset[number]), int(offset[number + 1]))
        own = frozenset(n for n, there in zip(names, has[number], strict=True) if there)
        if "color" in own and (color[here] < 0).any():
            raise ValueError("a video's colour is missing")
        out[int(song)] = PairedVideo(
            rows["semantic"][here], scale,
            rows["affect"][here].astype(np.float16), rows["motion"][here].astype(np.float16),
            color[here], palette, own,
        )  # fmt: skip
    return out
