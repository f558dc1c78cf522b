"""What the video controller sees of a video: motion, scene cuts, colour, and what networks see.

Motion is the paper's (section 4.1): the mean absolute RGB difference of pictures 0.2 s apart. The
colour histogram is the one the paper takes from HistoGAN: log-chroma (RGB-uv), 3 x 32 x 32, once a
second.

Both are taken from a small picture (57,600 pixels for motion, 3,600 for colour) that is made by
picking pixels, never by averaging them: averaging hides fine motion (it halves the figure on grass
and leaves), a picked sample keeps it. Against full pictures, on the seven videos of ../shared, the
motion correlates above 0.9998, differs by 0.25 of 255 at most and by 0.5 % in the mean.
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter
from numpy.typing import NDArray

from vmusprod._vmus_rs import color_histogram, rgb_difference
from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.video.cuts import CutDetector
from vmusprod.video.decode import MAX_SECONDS, VideoReader
from vmusprod.video.networks import PictureNetwork, Watcher

__all__ = ["MOTION_STEP", "VideoFeatures", "extract_features", "motion_steps", "seconds"]

MOTION_STEP = 0.2
_STEPS_A_SECOND = 5
_MOTION_PIXELS = 320 * 180
_COLOR_PIXELS = 80 * 45
_POINT = Interpolation.POINT | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
# Where timestamps are whole milliseconds, a picture meant for a step begins up to 1 ms after it.
_SLACK = 1.5e-3

_MAX_CUTS = int(2 * MAX_SECONDS)
_MAX_ITEM = 1 << 14  # bytes of one value: a warning's text is the longest
# The shape of each source's row.
_SHAPES: dict[str, tuple[int, ...]] = {"color": (3, 32, 32), "affect": (2,), "semantic": (768,)}


@dataclass(frozen=True)
class VideoFeatures:
    """Features of one video. S = ceil(duration) seconds, M = ceil(duration / 0.2) steps.

    Attributes
    ----------
    duration : float
        True length of the picture, seconds.
    motion : float32 (M,)
        Mean absolute RGB difference, 0..255, between the pictures shown at 0.2 i and 0.2 (i - 1)
        seconds; motion[0] is 0.
    cuts : float32 (K,)
        Scene cuts, seconds, rising, at least 0.5 s apart.
    color : float32 (S, 3, 32, 32) or None
        RGB-uv log-chroma histogram of the picture shown at each full second; each sums to 1.
    affect : float32 (S, 2) or None
        Valence and arousal, each ranked, -1..1, among pictures (video/affect.py).
    semantic : float32 (S, 768) or None
        CLIP image features, of length 1.
    warnings : tuple of str
        What was wrong with a file that could be read all the same.
    """

    duration: float
    motion: NDArray[np.float32]
    cuts: NDArray[np.float32]
    color: NDArray[np.float32] | None = None
    affect: NDArray[np.float32] | None = None
    semantic: NDArray[np.float32] | None = None
    warnings: tuple[str, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file with the attributes as keys; an absent source is an absent key.

        The same features give the same bytes. Raises OutputError.
        """
        arrays: dict[str, NDArray[np.generic]] = {
            "duration": np.array(self.duration, np.float64),
            "motion": self.motion,
            "cuts": self.cuts,
        }
        for name in _SHAPES:
            if (source := getattr(self, name)) is not None:
                arrays[name] = source
        if self.warnings:
            arrays["warnings"] = np.array(self.warnings, dtype=np.str_)
        # Not compressed: histograms barely shrink (6 %), and an hour of them would take seconds.
        with atomic_output(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> VideoFeatures:
        """Read what `save` wrote, or what follows its form.

        Raises InputError: not such a file, a missing or unknown key, a wrong shape or type, a
        value that is not finite or out of range.
        """
        return _load(Path(path))


def seconds(duration: float) -> int:
    """S, the number of seconds begun in `duration`: the rows of the sources taken once a second."""
    return max(1, math.ceil(duration - _SLACK))


def motion_steps(duration: float) -> int:
    """M, the number of 0.2 s steps begun in `duration`: the length of `motion`."""
    return max(1, math.ceil((duration - _SLACK) * _STEPS_A_SECOND))


def extract_features(
    path: str | os.PathLike[str],
    progress: Callable[[float], None] | None = None,
    networks: Sequence[PictureNetwork] = (),
) -> VideoFeatures:
    """Decode a whole video once and return its motion, cuts and colour, and what networks see.

    `progress` is told the fraction done, 0..1. `networks` look at the picture of each full second.
    Memory grows by 12 kB a second of video (the colour histogram), whatever the size of the
    picture. Raises InputError: missing, not a video, only sound, no decodable picture, longer than
    12 hours.
    """
    with ExitStack() as stack:
        watchers = [stack.enter_context(Watcher(network)) for network in networks]
        sampler = _Sampler(watchers)
        detector = CutDetector()
        pictures = stack.enter_context(VideoReader(Path(path), progress))
        for picture in pictures:
            detector.add(picture.frame, picture.start)
            sampler.add(picture.frame, picture.end)
        duration = pictures.duration
        motion, color = sampler.finish(duration)
        seen = {w.network.name: w.rows(seconds(duration)) for w in watchers}
        return VideoFeatures(
            duration, motion, detector.cuts(), color, seen.get("affect"), seen.get("semantic"),
            pictures.warnings,
        )  # fmt: skip


class _Sampler:
    """Takes the picture shown at each multiple of 0.2 s, and its colours at each full second."""

    def __init__(self, watchers: Sequence[Watcher] = ()) -> None:
        self._watchers = watchers
        self._reformatter = VideoReformatter()
        self._size = (0, 0)
        self._before: NDArray[np.uint8] | None = None
        self._motion: list[float] = []
        self._color: list[NDArray[np.float32]] = []

    def add(self, frame: VideoFrame, end: float) -> None:
        """Take `frame`, the next in order, for every step up to `end` (s)."""
        first = len(self._motion)
        # The steps that fall while this picture is shown; often none.
        last = max(first, math.ceil((end - _SLACK) * _STEPS_A_SECOND))
        if last == first:
            return
        picture = self._reduce(frame)
        change = 0.0 if self._before is None else rgb_difference(self._before, picture)
        self._before = picture
        # After its first step the picture stands still.
        self._motion += [change] + [0.0] * (last - first - 1)
        full = math.ceil(last / _STEPS_A_SECOND) - math.ceil(first / _STEPS_A_SECOND)
        if full:
            self._color += [color_histogram(_picked(picture))] * full
            for watcher in self._watchers:
                watcher.add(frame, full)

    def finish(self, duration: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(motion, color) for a video of `duration` seconds."""
        if not self._motion:
            raise ValueError("no picture was added")
        motion = np.array(self._motion[: motion_steps(duration)], np.float32)
        return motion, np.stack(self._color[: seconds(duration)])

    def _reduce(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Return the frame as RGB at the size chosen for the first one, uint8 (H, W, 3)."""
        if self._size == (0, 0):
            scale = min(1.0, math.sqrt(_MOTION_PIXELS / (frame.width * frame.height)))
            self._size = (
                max(1, round(frame.width * scale)),
                max(1, round(frame.height * scale)),
            )
        small = self._reformatter.reformat(
            frame, *self._size, format="rgb24", interpolation=_POINT, threads=1
        )
        return np.ascontiguousarray(small.to_ndarray())


def _picked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every k-th pixel of every k-th row, about 3600 in all: colours need no more."""
    step = max(1, round(math.sqrt(picture.shape[0] * picture.shape[1] / _COLOR_PIXELS)))
    row, column = (min(step // 2, size - 1) for size in picture.shape[:2])
    return np.ascontiguousarray(picture[row::step, column::step])


def _load(path: Path) -> VideoFeatures:
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked(path, _Archive(path, archive))
    except OSError as error:
        raise InputError(path, error) from error
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        # NotImplementedError: an exotic compression; RuntimeError: encrypted.
        raise InputError(path, f"not a feature file ({error})") from error


class _Archive:
    """The arrays of a .npz file, each read only once its shape is known to be right."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        names = archive.namelist()
        if len(set(names)) != len(names):
            raise InputError(path, "not a feature file (a key stands in it twice)")
        self.keys = {name.removesuffix(".npy") for name in names if name.endswith(".npy")}
        known = {"duration", "motion", "cuts", "warnings", *_SHAPES}
        if unknown := sorted(set(names) - {f"{key}.npy" for key in known}):
            raise InputError(path, f"unknown key {unknown[0][:40]!r} in a feature file")

    def read(self, key: str, kinds: str, shape: tuple[int | None, ...]) -> NDArray[np.generic]:
        """Array `key` of a dtype kind in `kinds` and of `shape` (None: up to any sane length)."""
        if key not in self.keys:
            raise InputError(self._path, f"no {key!r} in it: not a feature file")
        with self._archive.open(f"{key}.npy") as file:
            found, dtype = self._header(key, file)
            fits = len(found) == len(shape) and all(
                size == want or (want is None and size <= _MAX_CUTS)
                for size, want in zip(found, shape, strict=True)
            )
            if not fits or dtype.kind not in kinds or dtype.itemsize > _MAX_ITEM:
                wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
                raise InputError(self._path, f"{key!r} is {dtype} {found}, not {wanted}")
        with self._archive.open(f"{key}.npy") as file:
            try:
                array = np.lib.format.read_array(file, allow_pickle=False)
            except ValueError as error:
                raise InputError(self._path, f"{key!r} is cut off or damaged") from error
        return cast(NDArray[np.generic], array)

    def _header(self, key: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
        try:
            version = np.lib.format.read_magic(file)
            if version == (1, 0):
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            else:
                shape, _, dtype = np.lib.format.read_array_header_2_0(file)
        except Exception as error:
            # A damaged header is Python text that numpy evaluates: SyntaxError, TokenError, ...
            raise InputError(self._path, f"{key!r} is no array") from error
        return shape, dtype


def _checked(path: Path, archive: _Archive) -> VideoFeatures:
    """Return the features in `archive`, every value looked at."""
    duration = float(archive.read("duration", "fiu", ()).astype(np.float64))
    if not (math.isfinite(duration) and 0 < duration <= MAX_SECONDS):
        raise InputError(path, f"'duration' is {duration}, not within 0..{MAX_SECONDS:.0f} s")
    motion = _floats(path, archive, "motion", (motion_steps(duration),))
    _within(path, "motion", motion, 0.0, 255.0)
    cuts = _floats(path, archive, "cuts", (None,))
    _within(path, "cuts", cuts, 0.0, duration)
    if np.any(np.diff(cuts) <= 0):
        raise InputError(path, "'cuts' do not rise")
    sources: dict[str, NDArray[np.float32]] = {}
    for name, shape in _SHAPES.items():
        if name in archive.keys:
            sources[name] = _floats(path, archive, name, (seconds(duration), *shape))
    if "color" in sources:
        _within(path, "color", sources["color"], 0.0, 1.0 + 1e-3)
    warnings: tuple[str, ...] = ()
    if "warnings" in archive.keys:
        warnings = tuple(str(line) for line in archive.read("warnings", "U", (None,)))
    return VideoFeatures(duration, motion, cuts, warnings=warnings, **sources)


def _floats(
    path: Path, archive: _Archive, key: str, shape: tuple[int | None, ...]
) -> NDArray[np.float32]:
    array = archive.read(key, "fiu", shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise InputError(path, f"{key!r} holds a value that is not finite")
    return np.ascontiguousarray(array)


def _within(path: Path, key: str, array: NDArray[np.float32], low: float, high: float) -> None:
    if array.size and not (array.min() >= low and array.max() <= high):
        raise InputError(path, f"{key!r} holds a value outside {low:g}..{high:g}")
