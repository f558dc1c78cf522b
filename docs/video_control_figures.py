"""The figures of docs/video_control.md: what pieces for given videos are like, over ten seeds.

python docs/video_control_figures.py VIDEO... [--seeds 10] [--weights DIR] [--without SOURCES]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from vmusprod.alignment import downbeat_distance
from vmusprod.compose import Composer, Piece, Settings, plan
from vmusprod.jobs import parse_sources
from vmusprod.video.cache import load_features
from vmusprod.video.features import VideoFeatures


def describe(piece: Piece, duration: float) -> list[float]:
    """Tempo, whether minor, notes a second, mean velocity."""
    notes = np.concatenate([piece.melody, piece.accompaniment])
    return [
        piece.plan.tempo, piece.key[1], len(notes) / duration, float(notes[:, 3].mean()),
    ]  # fmt: skip


def distances(features: VideoFeatures) -> tuple[float, float]:
    """Mean distance from cut to downbeat without and with alignment, seconds."""
    found = []
    for align in (False, True):
        grid = plan(features, Settings(align=align))
        whole = grid.bars * 16 - grid.pickup
        found.append(downbeat_distance(whole, features.duration, features.cuts))
    return found[0], found[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--without")
    options = parser.parse_args()
    without = parse_sources(options.without)
    composer = Composer(options.weights)
    columns = ("video", "motion", "valence", "arousal", "tempo", "minor", "notes/s", "velocity",
               "cut to downbeat")  # fmt: skip
    print(f"| {' | '.join(columns)} |")
    print("|---" * len(columns) + "|")
    for path in options.videos:
        features = load_features(path)
        wanted = [(features, Settings(seed, without=without)) for seed in range(options.seeds)]
        rows = np.array(
            [describe(piece, features.duration) for piece in composer.compose_many(wanted)]
        )
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        affect = [np.nan, np.nan] if features.affect is None else features.affect.mean(axis=0)
        before, after = distances(features)
        print(
            f"| {path.name} | {features.motion.mean():.1f} | {affect[0]:.2f} | {affect[1]:.2f} "
            f"| {mean[0]:.0f} | {rows[:, 1].sum():.0f}/{len(rows)} "
            f"| {mean[2]:.1f} ± {spread[2]:.1f} | {mean[3]:.0f} ± {spread[3]:.0f} "
            f"| {before:.2f} s, {after:.2f} s |"
        )


if __name__ == "__main__":
    main()
