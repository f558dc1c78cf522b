"""Another version of a video, darker or faster: pairs that differ in one thing only.

python docs/video_control_clips.py VIDEO OUT.mp4 [--gain 0.15] [--speed 6]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import numpy as np

from vmusprod.video.decode import VideoReader

RATE = 25
SIZE = (640, 360)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--gain", type=float, default=1.0, help="of brightness")
    parser.add_argument("--speed", type=float, default=1.0, help="times as fast, played in a loop")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with VideoReader(options.video) as pictures:
        kept = [
            picture.frame.reformat(*SIZE, format="rgb24").to_ndarray()
            for picture in pictures
            if picture.start < options.seconds * options.speed
        ]
    length = pictures.duration
    with av.open(str(options.out), "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        share = min(length, options.seconds * options.speed)
        for number in range(round(options.seconds * RATE)):
            place = number / RATE * options.speed % share / share
            pixels = kept[min(int(place * len(kept)), len(kept) - 1)]
            dimmed = np.clip(pixels * options.gain, 0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(dimmed, format="rgb24")))
        out.mux(stream.encode(None))


if __name__ == "__main__":
    main()
