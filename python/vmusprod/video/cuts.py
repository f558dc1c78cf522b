"""Hard scene cuts, from every frame of a video.

Three measures compare a frame with the one before it: how much the samples changed, how much the
histograms changed, and how far the picture's structure (the correlation of its brightness) is
gone. A whip pan or a run of explosions is high in the first; an explosion, a flash, a light going
on is high in the first two but keeps the structure. A cut is high in all of them, and alone: it
stands out from the half second around it.
"""

from __future__ import annotations

from array import array

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

__all__ = ["MIN_SCENE", "CutDetector"]

MIN_SCENE = 0.5  # seconds between two cuts

# Set by eye on 5 minutes of film, animation and surveillance video (see tests/test_video_cuts.py).
_CHANGE = 10.0  # mean absolute change, brightness + both colour differences, of 255
_HISTOGRAM = 0.02  # share of the samples that moved to another bin
_STRUCTURE = 0.65  # correlation of the brightness before and after
_CONTRAST = 2.5  # times the mean of the half second around it
_FLOOR = 2.0  # added to that mean, so that the first movement after stillness is no cut
_AROUND = 0.5

_GRID = (64, 36)
_BIN_SHIFT = np.array([[3], [4], [4]], np.uint8)
_BIN_START = np.array([[0], [32], [48]], np.uint8)
_ONES = np.ones(_GRID[0] * _GRID[1], np.float32)
_POINT = Interpolation.POINT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class CutDetector:
    """Feed it every frame by `add`; `cuts` then gives the cut times.

    Each frame is reduced to 64 x 36 samples of brightness and colour difference (0.04 ms); kept
    are three numbers a frame, so an hour of video takes about a megabyte.
    """

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._before: _Sample | None = None
        self._times = array("d")
        self._scores = array("f")
        self._candidate = array("b")

    def add(self, frame: VideoFrame, time: float) -> None:
        """Compare `frame`, shown from `time` (s, rising), with the one before."""
        sample = _Sample(
            self._reformatter.reformat(
                frame, *_GRID, format="yuv444p", interpolation=_POINT, threads=1
            )
        )
        score, candidate = 0.0, False
        if self._before is not None:
            score, candidate = sample.compare(self._before)
        self._before = sample
        self._times.append(time)
        self._scores.append(score)
        self._candidate.append(candidate)

    def cuts(self) -> NDArray[np.float32]:
        """Cut times, float32 (K,), seconds, rising, at least 0.5 s apart: the first new frame."""
        times = np.array(self._times, np.float64)
        scores = np.array(self._scores, np.float32)
        candidates = np.flatnonzero(np.array(self._candidate, np.int8))
        total = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
        strong: list[tuple[float, float]] = []
        for index in candidates:
            low = np.searchsorted(times, times[index] - _AROUND, side="left")
            high = np.searchsorted(times, times[index] + _AROUND, side="right")
            others = int(high - low) - 1
            around = (total[high] - total[low] - scores[index]) / others if others else 0.0
            if scores[index] > _CONTRAST * (around + _FLOOR):
                strong.append((float(scores[index]), float(times[index])))
        chosen: list[float] = []
        for _, time in sorted(strong, key=lambda cut: (-cut[0], cut[1])):
            if all(abs(time - other) >= MIN_SCENE for other in chosen):
                chosen.append(time)
        return np.array(sorted(chosen), np.float32)


class _Sample:
    """A frame at 64 x 36 samples: its values, histogram and normalised brightness."""

    def __init__(self, frame: VideoFrame) -> None:
        width, height = _GRID
        raw = np.empty((3, height, width), np.uint8)
        for index, plane in enumerate(frame.planes):
            raw[index] = np.frombuffer(memoryview(plane), np.uint8).reshape(height, -1)[:, :width]
        flat = raw.reshape(3, -1)
        # 32 bins of brightness, 16 of either colour difference, in one count.
        self.histogram = np.bincount(((flat >> _BIN_SHIFT) + _BIN_START).ravel(), minlength=64)
        self.values = flat.astype(np.float32)
        bright = self.values[0] - self.values[0] @ _ONES / _ONES.size
        # The added width keeps an even picture, whose structure is noise, from resembling another.
        self.structure = bright / (float(np.vdot(bright, bright)) ** 0.5 + width)

    def compare(self, before: _Sample) -> tuple[float, bool]:
        """(score, whether it may be a cut) of the step from `before` to this frame."""
        # Sums of whole numbers under 2**24: exact in float32, in whatever order they are added.
        change = (np.abs(self.values - before.values) @ _ONES) / _ONES.size
        moved = float(change[0] + (change[1] + change[2]) / 2)
        apart = int(np.abs(self.histogram - before.histogram).sum())
        histogram = apart / (2 * self.values.size)
        kept = max(0.0, float(np.vdot(self.structure, before.structure)))
        score = (100 * moved * histogram) ** 0.5 * (1 - kept)
        candidate = moved > _CHANGE and histogram > _HISTOGRAM and kept < _STRUCTURE
        return score, candidate
