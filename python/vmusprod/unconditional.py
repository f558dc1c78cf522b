"""Pieces without a video (paper section 6.5), as long and as fast as POP909's songs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from vmusprod.compose import Settings
from vmusprod.models.config import SOURCES
from vmusprod.video.features import VideoFeatures, motion_steps

__all__ = ["blank_features", "blank_settings"]

# Quantiles over the 757 songs that packs are made of, the extremes brought in.
_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_TEMPI = (60.0, 60.0, 65.0, 74.0, 93.0, 114.0, 150.0)
_BARS = (40.0, 58.0, 67.0, 78.0, 95.0, 113.0, 140.0)
_MINOR = 0.43


def blank_settings(settings: Settings) -> Settings:
    """Settings of a piece for no video: key and tempo by the dice where the user left them open."""
    rng = np.random.default_rng([settings.seed, 1])
    tempo = round(float(np.interp(rng.random(), _SHARES, _TEMPI)))
    key = int(rng.integers(12)), int(rng.random() < _MINOR)
    return replace(
        settings,
        key=settings.key or key,
        tempo=settings.tempo or float(tempo),
        without=SOURCES,
    )


def blank_features(settings: Settings) -> VideoFeatures:
    """The features of nothing: whole bars of `blank_settings`' tempo, and no motion."""
    if settings.tempo is None:
        raise ValueError("a piece without a video needs a tempo")
    rng = np.random.default_rng([settings.seed, 2])
    bars = round(float(np.interp(rng.random(), _SHARES, _BARS)))
    duration = bars * 240.0 / settings.tempo
    return VideoFeatures(
        duration, np.zeros(motion_steps(duration), np.float32), np.zeros(0, np.float32)
    )
