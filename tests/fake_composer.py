"""A composer without transformers: what surrounds composing is tested by itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vmusprod.compose import Piece, Settings, plan
from vmusprod.music import tokens as tk
from vmusprod.video.features import VideoFeatures


class FakeComposer:
    """C major arpeggios that depend on seed and settings; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Settings] = []

    def compose(
        self,
        features: VideoFeatures,
        settings: Settings,
        progress: Callable[[str, float], None] | None = None,
    ) -> Piece:
        self.asked.append(settings)
        grid = plan(features, settings)
        for stage in ("chord", "melody", "accompaniment"):
            if progress is not None:
                progress(stage, 1.0)
        chords = np.zeros(4 * grid.bars, np.uint8) if settings.chords is None else settings.chords
        melody = settings.melody
        if melody is None:
            rng = np.random.default_rng(settings.seed)
            onset = np.arange(grid.pickup, 16 * grid.bars, 2)
            pitch = rng.choice([60, 64, 67, 72], len(onset))
            melody = np.stack([onset, np.full_like(onset, 2), pitch, np.full_like(onset, 80)], 1)
        bass = [[16 * bar, 16, 48, 60] for bar in range(grid.bars)]
        return Piece(
            grid,
            settings.key or (0, 0),
            chords,
            tk.normalise(melody.astype(np.int32)),
            np.array(bass, np.int32),
        )
