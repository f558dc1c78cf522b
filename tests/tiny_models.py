"""Stages small enough to train and to write with in a test, and packs to train them on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from vmusprod.dataset.pack import Pack, pack_song, write_pack
from vmusprod.models.config import STAGES, StageConfig, config
from vmusprod.models.stage import Stage
from vmusprod.models.weights import save_stage
from vmusprod.music import tokens as tk

# Threads cost more than they give at these sizes, and on a busy machine a hundred times more.
torch.set_num_threads(1)

OVERRIDES: dict[str, object] = {
    "width": 64,
    "feed_forward": 64,
    "heads": 2,
    "decoder_layers": 1,
    "head_size": 16,
    "chroma_size": 8,
    "timing_size": 16,
    "max_bars": 16,
    "controller_width": 16,
}
"""Wide enough for Muon to have matrices."""


def overrides(stage: str) -> dict[str, object]:
    """Give the trainer the sizes of `tiny_config`."""
    return {**OVERRIDES, "encoder_layers": 0 if stage == "chord" else 1}


def tiny_config(stage: str) -> StageConfig:
    small = config("small", stage).to_dict()
    return StageConfig.from_dict({**small, **overrides(stage), "dropout": 0.0})


def tiny_stage(stage: str, seed: int = 0, spread: float = 0.3) -> Stage:
    """Random weights, the zero-initialised ones too, that have strong opinions."""
    torch.manual_seed(seed)
    model = Stage(tiny_config(stage)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * spread)
    return model


def save_tiny(folder: Path, seed: int = 0) -> Path:
    """Write the three stages for a Composer."""
    for number, stage in enumerate(STAGES):
        model = tiny_stage(stage, 3 * seed + number)
        save_stage(folder / f"{stage}.safetensors", model.config, model.state_dict(), {"test": 1})
    return folder


def random_song(seed: int, bars: int = 6, split: str = "train") -> dict[str, object]:
    """A song of random notes whose second half repeats the first."""
    rng = np.random.default_rng(seed)
    half = bars // 2 * 16
    count = bars * 4
    first = np.stack(
        [
            rng.integers(0, half, count),
            rng.integers(1, 12, count),
            rng.integers(40, 80, count),
            rng.integers(30, 110, count),
        ],
        1,
    )
    both = np.concatenate([first, first + np.array([half, 0, 0, 0])])
    notes = tk.normalise(both.astype(np.int32))
    return pack_song(
        id=f"song{seed}",
        source=("pop909", "symmv", "other")[seed % 3],
        notes=notes,
        melody=notes[:, 2] > 70,
        chords=np.resize(rng.integers(0, 121, bars * 2).astype(np.uint8), bars * 4),
        key=(seed % 12, seed % 2),
        tempo=90 + seed,
        split=split,
    )


def tiny_pack(path: Path, songs: int = 8) -> Pack:
    """Write a pack, one song in four held out."""
    entries = [random_song(i, split="val" if i % 4 == 3 else "train") for i in range(songs)]
    write_pack(path, entries, {"made": "for a test"})
    return Pack(path)
