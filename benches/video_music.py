"""Does generated music belong to its video? VMCP of pieces made for MuVi-Sync's unseen videos.

    python benches/video_music.py MUVI [--seed 0] [--weights DIR] [--without semantic ...]

One piece a video of val, none chosen among candidates, ranked by the shipped `clip` side at M = 70
(chance: P@10 0.143, AR 35.5), beside the real music; then with each source of the video left out.
"""

import argparse
from pathlib import Path

from vmusprod.compose import Composer, Settings
from vmusprod.dataset.muvi import Muvi
from vmusprod.vmcp import load_scorer
from vmusprod.vmcp.metric import retrieval

LEFT_OUT = ((), ("semantic",), ("motion",), ("affect",), ("semantic", "motion", "affect"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("muvi", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--without", nargs="*", action="append", help="instead of the usual ones")
    options = parser.parse_args()
    songs = Muvi(options.muvi, "val")
    videos = [songs.song(k).video for k in range(len(songs))]
    scorer = load_scorer("clip")
    composer = Composer(options.weights)
    for without in options.without or LEFT_OUT:
        settings = Settings(seed=options.seed, without=tuple(without))
        pieces = composer.compose_many([(video, settings) for video in videos])
        result = retrieval(scorer.scores(videos, [p.midi() for p in pieces]), candidates=70)
        figures = "  ".join(f"P@{k} {v.value:.3f}" for k, v in result.precision.items())
        name = "without " + ", ".join(without) if without else "all sources"
        print(f"{name:36} {figures}  AR {result.average_rank.value:.1f}", flush=True)


if __name__ == "__main__":
    main()
