"""Networks that look at one picture a second, beside the decoding.

A network is anything with a `prepare`, which makes the pixels that it wants of a frame, and a
`look`, which makes a row of numbers of the pixels. `Watcher` has it look in a thread of its own:
ONNX and torch let go of the interpreter while they compute, so that decoding goes on.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

__all__ = ["PictureNetwork", "Watcher", "resized"]

Pixels = NDArray[np.uint8]
_WAITING = 8  # pictures at most that wait to be looked at: memory stays bounded
_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class PictureNetwork(Protocol):
    """Makes a row of features of a picture."""

    @property
    def name(self) -> str:
        """The source that it makes, `affect` or `semantic`."""
        ...

    @property
    def mark(self) -> str:
        """What tells its results from those of other weights; part of a cache entry's name."""
        ...

    def prepare(self, frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
        """Return the pixels that it wants, uint8 (H, W, 3)."""
        ...

    def look(self, picture: Pixels) -> NDArray[np.float32]:
        """Return the row of a picture."""
        ...


def resized(
    frame: VideoFrame, reformatter: VideoReformatter, width: int, height: int, smooth: bool = False
) -> Pixels:
    """A frame as RGB at another size, bilinear or (`smooth`) bicubic: uint8 (height, width, 3)."""
    way = Interpolation.BICUBIC if smooth else Interpolation.BILINEAR
    small = reformatter.reformat(
        frame, width, height, format="rgb24", interpolation=way | _EXACT, threads=1
    )
    return np.ascontiguousarray(small.to_ndarray())


class Watcher:
    """Feed it a frame a second by `add`; `rows` waits for what was seen. Use as a context."""

    def __init__(self, network: PictureNetwork) -> None:
        self.network = network
        self._reformatter = VideoReformatter()
        self._pool = ThreadPoolExecutor(1)
        self._waiting: deque[tuple[Future[NDArray[np.float32]], int]] = deque()
        self._rows: list[NDArray[np.float32]] = []

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, frame: VideoFrame, seconds: int) -> None:
        """Have `frame` looked at, which stands for `seconds` rows."""
        while len(self._waiting) >= _WAITING:
            self._take()
        picture = self.network.prepare(frame, self._reformatter)
        self._waiting.append((self._pool.submit(self.network.look, picture), seconds))

    def rows(self, seconds: int) -> NDArray[np.float32]:
        """The rows of the first `seconds` seconds, float32 (seconds, size)."""
        while self._waiting:
            self._take()
        return np.stack(self._rows[:seconds])

    def _take(self) -> None:
        future, seconds = self._waiting.popleft()
        self._rows += [future.result()] * seconds
