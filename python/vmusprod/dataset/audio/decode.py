"""The sound of a file as mono windows: even level, bounded memory, whatever the length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.music.score import MAX_SECONDS
from vmusprod.sound import read_sound

__all__ = ["Sound", "Window", "survey", "windows"]

Samples = NDArray[np.float32]

_SURVEY_RATE = 22050
_SILENT = 10 ** (-70 / 20)  # peak; the noise of a converter lies below it
_MAX_GAIN = 100.0
_PEAK = 0.5  # where madmom's transcriber does best (F on a rendered song, see `madmom_models`)
# Left and right cancel where their sum holds less than this share of their energy.
_CANCELLED = 0.01


@dataclass(frozen=True)
class Sound:
    """A file that has sound: its length, and how it becomes mono at an even level.

    `gain` brings the peak to half of full scale; `left` says that the two channels cancel and the
    left one is heard alone.
    """

    path: Path
    seconds: float
    gain: float
    left: bool

    def blocks(self, rate: int) -> Iterator[Samples]:
        """Mono blocks, float32 (n,), at `rate`, a quarter of a second each."""
        for block in read_sound(self.path, rate, kind="a recording"):
            mono = block[:, 0] if self.left else block.mean(axis=1)
            yield np.ascontiguousarray(mono * self.gain, dtype=np.float32)


@dataclass(frozen=True)
class Window:
    """A part of the sound with its surroundings.

    `samples` start at sample `start` of the piece; what is found between the samples `first` and
    `last` of the piece belongs to this window.
    """

    samples: Samples
    start: int
    first: int
    last: int


def survey(path: Path) -> Sound:
    """Decode a file once to measure it.

    Raises InputError: no file, no sound in it, damaged to the end, silent, longer than six hours.
    """
    samples = 0
    peak = side_peak = 0.0
    middle = sides = 0.0
    for block in read_sound(path, _SURVEY_RATE, kind="a recording"):
        samples += len(block)
        if samples > MAX_SECONDS * _SURVEY_RATE:
            raise InputError(path, f"longer than {MAX_SECONDS / 3600:.0f} hours")
        mono = block.mean(axis=1)
        peak = max(peak, float(np.abs(mono).max(initial=0.0)))
        side_peak = max(side_peak, float(np.abs(block).max(initial=0.0)))
        middle += float(np.square(mono, dtype=np.float64).sum())
        sides += float(np.square(block, dtype=np.float64).mean(axis=1).sum())
    if not samples:
        raise InputError(path, "no sound in it that can be decoded")
    if not np.isfinite(sides):
        raise InputError(path, "its samples are not numbers")
    left = middle < _CANCELLED * sides
    loudest = side_peak if left else peak
    if loudest < _SILENT:
        raise InputError(path, "silent")
    gain = min(_PEAK / loudest, _MAX_GAIN)
    return Sound(Path(path), samples / _SURVEY_RATE, gain, left)


def windows(sound: Sound, rate: int, core: int, margin: int) -> Iterator[Window]:
    """Cut the sound into windows of `core` samples and up to `margin` more on either side."""
    held: list[Samples] = []
    count = 0  # samples held, the first being number `start`
    start = first = 0
    for block in sound.blocks(rate):
        held.append(block)
        count += len(block)
        while start + count >= first + core + margin:
            joined = np.concatenate(held)
            stop = first + core + margin - start
            yield Window(joined[:stop], start, first, first + core)
            first += core
            skip = max(0, first - margin - start)
            held, start, count = [joined[skip:]], start + skip, len(joined) - skip
    if start + count > first:
        yield Window(np.concatenate(held), start, first, start + count)
