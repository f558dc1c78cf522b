"""What each source of the video is worth to the chord stage: held-out loss without it.

python docs/video_chords.py PAIRS.npz [--weights chord.safetensors] [--others SONGS.npz]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vmusprod.dataset.pack import Pack
from vmusprod.models.config import SOURCES
from vmusprod.models.stage import Stage
from vmusprod.models.weight_file import default_weights
from vmusprod.models.weights import load_stage
from vmusprod.training.data import StageData
from vmusprod.training.trainer import evaluate

CPU = torch.device("cpu")


def show(name: str, model: Stage, data: StageData) -> None:
    found = evaluate(model, data, CPU)
    parts = ", ".join(f"{k} {found[k]:.4f}" for k in ("barbeat", "root", "quality"))
    print(f"{name}: {found['nats_per_token']:.4f} ({parts})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--weights", type=Path, default=default_weights() / "chord.safetensors")
    parser.add_argument("--others", type=Path, help="a pack without videos")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, _ = load_stage(options.weights, "chord")
    if options.others is not None:
        show("songs without video", model, StageData(Pack(options.others).songs("val"), "chord"))
    pairs = Pack(options.pairs).songs("val")
    show("pairs", model, StageData(pairs, "chord"))
    if model.controller is None:
        return
    for source in SOURCES:
        kept = tuple(name for name in SOURCES if name != source)
        show(f"without {source}", model, StageData(pairs, "chord", kept))
    show("without semantic, affect, color", model, StageData(pairs, "chord", ("motion",)))
    show("without any", model, StageData(pairs, "chord", ()))
    order = np.random.default_rng(0).permutation(len(pairs))
    shuffled = [
        replace(song, video=pairs[other].video) for song, other in zip(pairs, order, strict=True)
    ]
    show("videos shuffled", model, StageData(shuffled, "chord"))


if __name__ == "__main__":
    main()
