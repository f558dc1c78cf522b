"""A picture of what is seen of a video: frames, colours, motion with cuts, affect, over time.

Needs matplotlib: the extra `plot`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vmusprod.errors import MissingDependencyError
from vmusprod.files import atomic_output
from vmusprod.video.decode import open_video
from vmusprod.video.features import MOTION_STEP, VideoFeatures
from vmusprod.video.networks import resized

__all__ = ["plot_features"]

_FRAMES = 10
_TRIES = 300  # pictures decoded at most from one that can be jumped to
_HEIGHT = 90
_BANDS = 24  # colours a second
_COLUMNS = 400  # seconds at most, evenly chosen, whose colours are drawn


def plot_features(features: VideoFeatures, out: Path, video: Path | None = None) -> None:
    """Draw the features into an image (PNG, SVG, ...; by the suffix of `out`).

    video: whose frames are shown; a feature file, or None, shows none. Raises
    MissingDependencyError without matplotlib, InputError for an unreadable video, OutputError.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib: pip install 'vmusprod[plot]'"
        ) from error
    frames = []
    if video is not None and video.suffix.lower() != ".npz":
        frames = _frames(video, features.duration)
    panels = [(_draw_motion, 2.0)]
    if frames:
        panels.insert(0, (_Strip(frames), 1.0))
    if features.color is not None:
        panels.append((_draw_color, 1.4))
    if features.affect is not None:
        panels.append((_draw_affect, 2.0))
    figure = Figure(figsize=(10, 0.8 + sum(height for _, height in panels)), layout="constrained")
    ratios = [height for _, height in panels]
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, height_ratios=ratios)
    for (draw, _), axes in zip(panels, grid[:, 0], strict=True):
        draw(axes, features)
    grid[-1, 0].set_xlim(0, features.duration)
    grid[-1, 0].set_xlabel("seconds")
    with atomic_output(out) as part:
        figure.savefig(part, dpi=120)


class _Strip:
    """Draws frames side by side."""

    def __init__(self, frames: list[NDArray[np.uint8]]) -> None:
        self._frames = frames

    def __call__(self, axes: Any, features: VideoFeatures) -> None:
        width = features.duration / len(self._frames)
        for i, frame in enumerate(self._frames):
            axes.imshow(frame, extent=(i * width, (i + 1) * width, 0, 1), aspect="auto")
        axes.set_yticks([])


def _draw_motion(axes: Any, features: VideoFeatures) -> None:
    times = np.arange(len(features.motion)) * MOTION_STEP
    axes.fill_between(times, features.motion, step="post", linewidth=0)
    for cut in features.cuts:
        axes.axvline(cut, color="black", linewidth=0.6)
    axes.set_ylabel("motion, cuts")
    axes.set_ylim(0, max(float(features.motion.max()) * 1.05, 1.0))


def _draw_affect(axes: Any, features: VideoFeatures) -> None:
    assert features.affect is not None
    times = np.arange(len(features.affect)) + 0.5
    for column, name in enumerate(("valence", "arousal")):
        axes.plot(times, features.affect[:, column], label=name, linewidth=1.2)
    axes.axhline(0, color="grey", linewidth=0.5)
    axes.set_ylim(-1.05, 1.05)
    axes.set_ylabel("affect")
    axes.legend(loc="upper right", fontsize="small")


def _draw_color(axes: Any, features: VideoFeatures) -> None:
    """Each second's colours as bands, as wide as their share; brightness is not in a histogram."""
    assert features.color is not None
    count = len(features.color)
    chosen = np.linspace(0, count - 1, min(count, _COLUMNS)).round().astype(int)
    image = np.stack([_bands(features.color[i]) for i in chosen], axis=1)
    axes.imshow(image, extent=(0, features.duration, 0, 1), aspect="auto", interpolation="nearest")
    axes.set_yticks([])
    axes.set_ylabel("colours")


def _bands(histogram: NDArray[np.float32]) -> NDArray[np.float64]:
    """(bands, 3): the colours of a histogram, (3, 32, 32), ordered by hue of red against blue."""
    plane = histogram[0].astype(np.float64)  # over log(red/green) and log(red/blue)
    ratio = np.linspace(-3, 3, plane.shape[0])
    u, v = np.meshgrid(ratio, ratio, indexing="ij")
    color = np.stack([np.ones_like(u), np.exp(-u), np.exp(-v)], axis=-1)
    color /= color.max(axis=-1, keepdims=True)
    order = np.argsort(v, axis=None, kind="stable")
    share = np.cumsum(plane.ravel()[order])
    if share[-1] <= 0:
        return np.ones((_BANDS, 3))
    places = (np.arange(_BANDS) + 0.5) / _BANDS * share[-1]
    return np.asarray(color.reshape(-1, 3)[order][np.searchsorted(share, places)])


def _frames(video: Path, duration: float) -> list[NDArray[np.uint8]]:
    """Some pictures, evenly spread over the video; fewer where it cannot be jumped in."""
    import av

    container, stream = open_video(video)
    reformatter = VideoReformatter()
    found = []
    with container:
        start = float((stream.start_time or 0) * (stream.time_base or 0))
        for i in range(_FRAMES):
            wanted = start + (i + 0.5) * duration / _FRAMES
            try:
                container.seek(round(wanted * av.time_base))
                frame = None
                for number, frame in enumerate(container.decode(stream)):
                    if number >= _TRIES or frame.time is None or frame.time >= wanted:
                        break
            except av.FFmpegError:
                continue
            if frame is not None:
                width = max(1, round(_HEIGHT * frame.width / frame.height))
                found.append(resized(frame, reformatter, min(width, 10 * _HEIGHT), _HEIGHT))
    return found
