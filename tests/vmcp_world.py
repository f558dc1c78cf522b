"""A small world of pairs in which music follows the video, for VMCP's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vmusprod.video.features import VideoFeatures
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.rows import music_rows, pixel_rows
from vmusprod.vmcp.training import PairRows

SECONDS = 24


def pair(seed: int, semantic: bool = True) -> tuple[VideoFeatures, MusicSeconds]:
    """A video and its music, which share three hidden numbers."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=3)
    time = np.arange(SECONDS)
    moving = np.exp(1.5 + 0.8 * hidden[0] + 0.1 * rng.normal(size=SECONDS * 5))
    cuts = np.arange(2 + int(3 * np.exp(0.5 * hidden[1])), SECONDS, 4, dtype=np.float32)
    affect = np.tanh(hidden[1:] + 0.2 * rng.normal(size=(SECONDS, 2)))
    directions = np.random.default_rng(99).normal(size=(3, 768)) / 28
    clip = hidden @ directions + 0.3 * rng.normal(size=(SECONDS, 768)) / 28
    clip /= np.linalg.norm(clip, axis=1, keepdims=True)
    video = VideoFeatures(
        float(SECONDS),
        np.clip(moving, 0, 255).astype(np.float32),
        cuts,
        affect=affect.astype(np.float32),
        semantic=clip.astype(np.float32) if semantic else None,
    )
    density = np.exp(2 + 0.5 * hidden[0] + 0.1 * rng.normal(size=SECONDS))
    loudness = np.exp(-2 + 0.4 * hidden[2] + 0.1 * rng.normal(size=SECONDS))
    minor = hidden[1] < 0
    chords = np.array([91, 50, 0, 70] if minor else [0, 70, 91, 50])[time // 3 % 4]
    return video, MusicSeconds(
        chords.astype(np.uint8),
        density.astype(np.float32),
        np.clip(loudness, 0, 1).astype(np.float32),
    )


def rows(count: int, first: int = 0, semantic: bool = True) -> list[PairRows]:
    """Training rows of pairs `first` and on."""
    found = []
    for seed in range(first, first + count):
        video, music = pair(seed, semantic)
        found.append(PairRows(video.semantic, pixel_rows(video), music_rows(music)))
    return found


def write_pairs(folder: Path, count: int, first: int = 0) -> Path:
    """Feature files of pairs and their table."""
    lines = ["video,music"]
    for seed in range(first, first + count):
        video, music = pair(seed)
        video.save(folder / f"v{seed}.npz")
        music.save(folder / f"m{seed}.npz")
        lines.append(f"v{seed}.npz,m{seed}.npz")
    table = folder / "pairs.csv"
    table.write_text("\n".join(lines) + "\n")
    return table
