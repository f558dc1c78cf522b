"""From a video to its music: cold processes, features not cached, time and memory of each.

    python benches/end_to_end.py [--rounds 3] [--clip]

A clip of 10 s, one piece and the best of eight (--clip: only these), a film of 3 minutes (640x360,
h264; the demo's pictures nine times over), and a feature file of 2 hours with every source. Wall
time is that of the machine as busy as it is; the processor time beside it is what a free core would
need at most.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np

from vmusprod.video.demo import draw_demo
from vmusprod.video.features import VideoFeatures


def repeat(source: Path, target: Path, times: int) -> None:
    """Write the packets of a video several times over."""
    with av.open(str(target), "w") as out:
        stream = None
        offset = 0
        for _ in range(times):
            with av.open(str(source)) as film:
                picture = film.streams.video[0]
                if stream is None:
                    stream = out.add_stream_from_template(picture)
                end = 0
                for packet in film.demux(picture):
                    if packet.dts is None or packet.pts is None:
                        continue
                    end = max(end, packet.pts + (packet.duration or 0))
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    out.mux(packet)
                offset += end


def two_hours(path: Path) -> None:
    """Write features of every source for two hours, as random as they come."""
    rng = np.random.default_rng(0)
    seconds = 7200
    color = rng.random((seconds, 3, 32, 32), np.float32)
    color /= color.sum((1, 2, 3), keepdims=True)
    VideoFeatures(
        float(seconds),
        rng.gamma(2.0, 4.0, seconds * 5).astype(np.float32),
        np.sort(rng.random(900) * seconds).astype(np.float32),
        color,
        affect=rng.normal(0, 1, (seconds, 2)).astype(np.float32),
        semantic=rng.normal(0, 1, (seconds, 768)).astype(np.float32),
    ).save(path)


def measure(source: Path, rounds: int, *options: str) -> None:
    """Print the least wall and processor time of cold runs, the last one's memory and profile."""
    walls, cpus, told = [], [], ""
    for _ in range(rounds):
        out = source.with_suffix(".mid")
        command = [sys.executable, "-m", "vmus", "generate", str(source), "-o", str(out)]
        began = time.monotonic()
        child = subprocess.Popen(
            [*command, "--no-cache", "--profile", *options], stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        told = child.stderr.read() if child.stderr else ""
        _, status, used = os.wait4(child.pid, 0)
        if status:
            raise SystemExit(told)
        walls.append(time.monotonic() - began)
        cpus.append(used.ru_utime + used.ru_stime)
    name = " ".join([source.name, *options])
    print(f"{name:24} {min(walls):7.2f} s wall {min(cpus):7.2f} s processor", end=" ")
    print(f"{used.ru_maxrss / 1e6:.2f} GB")
    print(told)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clip", action="store_true")
    chosen = parser.parse_args()
    rounds = chosen.rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw_demo(folder / "clip.mp4", 10.0)
        measure(folder / "clip.mp4", rounds)
        measure(folder / "clip.mp4", rounds, "--candidates", "8")
        if chosen.clip:
            return
        draw_demo(folder / "scenes.mp4", 20.0)
        repeat(folder / "scenes.mp4", folder / "film.mp4", 9)
        two_hours(folder / "hours.npz")
        measure(folder / "film.mp4", rounds)
        measure(folder / "hours.npz", 1)


if __name__ == "__main__":
    main()
