"""The feature pass against a bare decode of all frames, in turns in one run.

python benches/feature_pass.py VIDEO [--rounds 3]
"""

import argparse
import time
from pathlib import Path

import av

from vmusprod.video.features import extract_features


def decode(video: Path) -> None:
    with av.open(str(video)) as file:
        file.streams.video[0].thread_type = "AUTO"
        for _ in file.decode(video=0):
            pass


def seconds(work: object, video: Path) -> float:
    began = time.perf_counter()
    work(video)  # type: ignore[operator]
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rounds = [
        [seconds(work, options.video) for work in (decode, extract_features)]
        for _ in range(options.rounds)
    ]
    bare, features = (min(column) for column in zip(*rounds, strict=True))
    print(f"decode {bare:.2f} s, features {features:.2f} s: {features / bare:.2f} times")


if __name__ == "__main__":
    main()
