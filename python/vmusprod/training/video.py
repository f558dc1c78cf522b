"""The video side of a batch: rows of several songs end to end, sources dropped at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vmusprod.dataset.pack_video import PairedVideo
from vmusprod.models.controller import SOURCE_SIZES, VideoInput

Rows = dict[str, NDArray[np.float32]]

_NO_VIDEO = 0.15
"""Share of the songs in training whose video is not shown at all."""
_KEPT = {"semantic": 0.6, "color": 0.7, "affect": 0.7, "motion": 0.8}
_THINNED = 60
"""Seconds above which a video is thinned out in training."""
_MOTION_SPREAD = 0.3
"""Of the random factor on motion (log scale): cameras and codecs differ more than that."""
_AFFECT_SPREAD = 0.15
"""Of the random shift of affect: at inference another network looks."""


def video_input(
    videos: Sequence[PairedVideo | None],
    sources: Sequence[str],
    rng: np.random.Generator | None = None,
) -> VideoInput | None:
    """Lay the videos of a batch end to end, sources not in `sources` left out.

    With `rng` (training) whole sources are dropped song by song, and what is left is jittered.
    None if no song has anything to show.
    """
    parts = [_shown(video, sources, rng) for video in videos]
    names = [name for name in SOURCE_SIZES if any(name in part for part in parts)]
    if not names:
        return None
    seconds = [max((len(rows) for rows in part.values()), default=1) for part in parts]
    filled = {
        name: np.concatenate(
            [
                part.get(name, np.zeros((count, SOURCE_SIZES[name]), np.float32))
                for part, count in zip(parts, seconds, strict=True)
            ]
        )
        for name in names
    }
    return VideoInput(
        {name: torch.from_numpy(rows) for name, rows in filled.items()},
        seconds,
        {name: [name in part for part in parts] for name in names},
    )


def _shown(
    video: PairedVideo | None, sources: Sequence[str], rng: np.random.Generator | None
) -> Rows:
    if video is None:
        return {}
    rows = {name: values for name, values in video.rows().items() if name in sources}
    if rng is None:
        return rows
    if rng.random() < _NO_VIDEO:
        return {}
    kept = {name: values for name, values in rows.items() if rng.random() < _KEPT[name]}
    if len(video) > _THINNED:
        # Every second row, odd or even: half the work, and never twice the same.
        first = int(rng.integers(2))
        kept = {name: values[first::2] for name, values in kept.items()}
    if "motion" in kept:
        kept["motion"][:, 0] *= np.exp(rng.normal(0, _MOTION_SPREAD))
    if "affect" in kept:
        kept["affect"] += rng.normal(0, _AFFECT_SPREAD, 2)
    return kept
