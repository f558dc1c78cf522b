"""Does generated music belong to its video? VMCP of pieces made for MuVi-Sync's unseen videos.

    python benches/video_music.py MUVI [--seeds 1] [--without semantic ...] [--out DIR]

One piece a video of val, none chosen among candidates, ranked by the shipped `clip` side at M = 70
(chance: P@10 0.143, AR 35.5); then with each source of the video left out. With several seeds each
has its line, and the mean one more. --out: where the pieces are left, DIR/SOURCES/SEED/ID.mid, for
benches/vmcp_judge.py --music.
"""

import argparse
from pathlib import Path

import numpy as np

from vmusprod.compose import Composer, Settings
from vmusprod.dataset.muvi import Muvi
from vmusprod.vmcp import load_scorer
from vmusprod.vmcp.metric import PRECISIONS, retrieval

LEFT_OUT = ((), ("semantic",), ("motion",), ("affect",), ("semantic", "motion", "affect"))


def show(name: str, values) -> None:
    figures = "  ".join(f"P@{k} {v:.3f}" for k, v in zip(PRECISIONS, values, strict=False))
    print(f"{name:44} {figures}  AR {values[-1]:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("muvi", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--without", nargs="*", action="append", help="instead of the usual ones")
    options = parser.parse_args()
    songs = Muvi(options.muvi, "val")
    videos = [songs.song(k).video for k in range(len(songs))]
    scorer = load_scorer("clip")
    composer = Composer(options.weights)
    for without in options.without or LEFT_OUT:
        name = "without " + ", ".join(without) if without else "all sources"
        found = []
        for seed in range(options.seeds):
            settings = Settings(seed=seed, without=tuple(without))
            pieces = composer.compose_many([(video, settings) for video in videos])
            music = [piece.midi() for piece in pieces]
            if options.out is not None:
                folder = options.out / ("-".join(["all", *without])) / str(seed)
                folder.mkdir(parents=True, exist_ok=True)
                for song, data in zip(songs.ids, music, strict=True):
                    (folder / f"{song}.mid").write_bytes(data)
            result = retrieval(scorer.scores(videos, music), candidates=70)
            values = [figure.value for figure in result.precision.values()]
            found.append([*values, result.average_rank.value])
            show(f"{name}, seed {seed}", found[-1])
        if options.seeds > 1:
            show(f"{name}, mean", np.mean(found, axis=0))


if __name__ == "__main__":
    main()
