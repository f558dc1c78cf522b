"""Sound in blocks: reading it, measuring its loudness, and bringing it to a level without clipping.

Everything streams: a block is float32 (n, 2), stereo, full scale 1. What is kept of a whole piece
is one peak and one energy for each cell of 2 ms (3 MB an hour). Loudness is the integrated one of
ITU-R BS.1770 / EBU R 128, as ffmpeg's `ebur128` measures it; peaks are true peaks (4 x
oversampled).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter import Graph
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.media import open_container

__all__ = ["Block", "Curve", "Level", "levelling", "measure", "read_sound"]

Block = NDArray[np.float32]
Cells = NDArray[np.float64]

CELL_SECONDS = 0.002
SILENCE = -69.0  # LUFS; ebur128 reports -70 for what it never heard
CEILING = -1.5  # dB true peak: half a dB of room below -1 for what a lossy codec adds
_MAX_GAIN = 40.0  # dB
_LIMIT_RADIUS = 20  # cells: the limiter closes and opens over 40 ms
_MAX_GAP_SECONDS = 600


@dataclass(frozen=True)
class Level:
    """How loud a piece is.

    `loudness` in LUFS (-70: silence); per cell of `cell` samples `peak`, float64 (cells,), the
    greatest true peak of either channel, and `energy`, float64 (cells,), the mean square of both.
    """

    loudness: float
    peak: Cells
    energy: Cells
    cell: int


@dataclass(frozen=True)
class Curve:
    """A gain that moves: one factor for the middle of each cell, straight lines between."""

    cells: Cells
    cell: int

    def apply(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Yield the blocks, which must start at sample 0, times the gain."""
        position = 0
        for block in blocks:
            place = (np.arange(position, position + len(block)) + 0.5) / self.cell - 0.5
            first = max(0, math.floor(place[0])) if len(place) else 0
            # Only the cells that this block touches: np.interp searches all that it is given.
            near = self.cells[first : first + len(block) // self.cell + 3]
            if not len(near):
                near = self.cells[-1:]
            gain = np.interp(place - first, np.arange(len(near)), near).astype(np.float32)
            yield block * gain[:, None]
            position += len(block)


def read_sound(
    path: Path, rate: int, stream: int = 0, start: float = 0.0, kind: str = "a video"
) -> Iterator[Block]:
    """Yield the sound of a media file as stereo at `rate`, from `start` (s) on, 1/4 s a block.

    Sound whose timestamps begin later is preceded by silence, gaps are filled with it. `stream`
    counts audio streams. What cannot be decoded is left out. `kind` as in `open_container`. Raises
    InputError: missing or unreadable file, no sound.
    """
    with open_container(path, kind) as container:
        if stream >= len(container.streams.audio):
            raise InputError(path, "no sound in it")
        frames = _sound_frames(container, container.streams.audio[stream])
        yield from _evenly(_aligned(frames, rate, start), rate // 4)


def measure(blocks: Iterable[Block], rate: int) -> Level:
    """Measure loudness, true peaks and energy of a whole piece."""
    meter = _Meter(rate)
    for block in _evenly(blocks, rate // 4):
        meter.add(block)
    return meter.finish()


def levelling(level: Level, loudness: float, ceiling: float = CEILING) -> Curve:
    """Return the gain that brings a piece to `loudness` (LUFS), no true peak above `ceiling` (dB).

    Peaks that would be higher are turned down for 40 ms around them, and the whole turned up to
    make good what that takes from the loudness. Silence stays silence.
    """
    if level.loudness < SILENCE:
        return Curve(np.ones(1), level.cell)
    base = _linear(min(loudness - level.loudness, _MAX_GAIN))
    wanted = base * base * float(level.energy.sum())
    push = base
    gain = _limited(level, push, ceiling)
    for _ in range(3):
        share = float((np.square(gain) * level.energy).sum()) / wanted
        if share > 0.999:
            break
        # At most 12 dB more: a piece that is all peaks cannot be as loud as one that has none.
        push = min(push / math.sqrt(share), 4 * base)
        gain = _limited(level, push, ceiling)
    return Curve(gain, level.cell)


def _limited(level: Level, gain: float, ceiling: float) -> Cells:
    """`gain` for every cell, less where a peak near it would pass `ceiling` (dB)."""
    need = np.minimum(gain, _linear(ceiling) / np.maximum(level.peak, 1e-9))
    if not (need < gain).any():
        return np.full(len(need), gain)
    radius = _LIMIT_RADIUS
    low = around(need, radius, np.min)
    # The window is narrower than the minimum's by one cell on either side, so that neither the
    # average nor the line between two cells exceeds what any cell needs.
    return smooth(low, radius - 1)


def around(cells: Cells, radius: int, reduce: Callable[..., Cells]) -> Cells:
    """Reduce (np.min, np.max) each cell with its `radius` neighbours on either side."""
    padded = np.pad(cells, radius, mode="edge")
    return reduce(np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1), axis=1)


def smooth(cells: Cells, radius: int) -> Cells:
    """Average each cell with its `radius` neighbours on either side under a Hann window."""
    window = np.hanning(2 * radius + 3)[1:-1]
    padded = np.pad(cells, radius, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")


class _Meter:
    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._cell = max(1, round(rate * CELL_SECONDS))
        self._graph = _loudness_graph(rate)
        self._samples = 0
        self._loudness = SILENCE - 1
        self._rest = np.zeros((0, 2), np.float32)
        self._rest_peak = np.zeros(0, np.float32)
        self._history = np.zeros((_TAPS - 1, 2), np.float32)
        self._peak: list[NDArray[np.float32]] = []
        self._energy: list[NDArray[np.float32]] = []

    def add(self, block: Block) -> None:
        if not len(block):
            return
        self._push(block)
        samples = np.concatenate([self._history, block])
        self._history = samples[-(_TAPS - 1) :]
        peak = np.abs(block).max(axis=1)
        for phase in _PHASES:
            for channel in range(2):
                between = np.abs(np.convolve(samples[:, channel], phase, mode="valid"))
                np.maximum(peak, between, out=peak)
        block = np.concatenate([self._rest, block])
        peak = np.concatenate([self._rest_peak, peak])
        whole = len(block) // self._cell * self._cell
        self._reduce(block[:whole], peak[:whole])
        self._rest, self._rest_peak = block[whole:], peak[whole:]

    def finish(self) -> Level:
        self._push(None)
        if len(self._rest):
            fill = self._cell - len(self._rest)
            self._reduce(
                np.pad(self._rest, ((0, fill), (0, 0))), np.pad(self._rest_peak, (0, fill))
            )
        peak, energy = (
            np.concatenate([*parts, np.zeros(0 if parts else 1, np.float32)]).astype(np.float64)
            for parts in (self._peak, self._energy)
        )
        return Level(self._loudness, peak, energy, self._cell)

    def _reduce(self, block: Block, peak: NDArray[np.float32]) -> None:
        if len(block):
            self._peak.append(peak.reshape(-1, self._cell).max(axis=1))
            square = np.square(block).reshape(-1, self._cell * 2)
            self._energy.append(square.mean(axis=1))

    def _push(self, block: Block | None) -> None:
        """Hand a block (None: the end) to ffmpeg's meter, and read what it shows."""
        frame = None
        if block is not None:
            frame = audio_frame(block, self._rate, self._samples)
            self._samples += len(block)
        self._graph.push(frame)
        while True:
            try:
                shown = self._graph.pull().metadata
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._loudness = float(shown.get("lavfi.r128.I", self._loudness))


def audio_frame(block: Block, rate: int, position: int) -> av.AudioFrame:
    """Wrap a block as a frame whose first sample is number `position`."""
    packed = np.ascontiguousarray(block, np.float32).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout="stereo")
    frame.sample_rate = rate
    frame.time_base = Fraction(1, rate)
    frame.pts = position
    return frame


def _loudness_graph(rate: int) -> Graph:
    graph = Graph()
    source = graph.add_abuffer(
        format="flt", sample_rate=rate, layout="stereo", time_base=Fraction(1, rate)
    )
    graph.link_nodes(source, graph.add("ebur128", "metadata=1"), graph.add("abuffersink"))
    graph.configure()
    return graph


def _aligned(frames: Iterable[av.AudioFrame], rate: int, start: float) -> Iterator[Block]:
    """Yield the frames' sound with sample n at `start` + n / rate seconds."""
    resampler = av.AudioResampler(format="flt", layout="stereo", rate=rate)
    position: int | None = None  # of the next sample; below 0 it is dropped
    for frame in frames:
        if frame.time is not None:
            place = round((frame.time - start) * rate)
            if position is None:
                position = min(0, place)
                tolerance = 0
            gap = place - position
            # A longer gap is a broken timestamp rather than a pause.
            if tolerance < gap <= _MAX_GAP_SECONDS * rate:
                yield from _silence(gap)
                position = place
            tolerance = rate // 10
        position = position or 0
        for block in _blocks(resampler, frame):
            drop = max(0, -position)
            position += len(block)
            if drop < len(block):
                yield block[drop:]
    for block in _blocks(resampler, None):
        yield block[max(0, -(position or 0)) :]


def _sound_frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Yield every frame that can be decoded."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except av.FFmpegError:
                continue
    except av.FFmpegError:
        return


def _blocks(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[Block]:
    parts = resampler.resample(frame)
    return [part.to_ndarray().astype(np.float32, copy=False).reshape(-1, 2) for part in parts]


def _evenly(blocks: Iterable[Block], size: int) -> Iterator[Block]:
    """Yield the same sound in blocks of `size` samples, the last one shorter."""
    held: list[Block] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count >= size:
            joined = np.concatenate(held)
            whole = count // size * size
            yield from np.split(joined[:whole], whole // size)
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _silence(samples: int) -> Iterator[Block]:
    for begin in range(0, samples, 48000):
        yield np.zeros((min(48000, samples - begin), 2), np.float32)


def _linear(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _between(fraction: float) -> NDArray[np.float32]:
    """Taps that interpolate at `fraction` of the way from the 6th to the 7th of 12 samples."""
    offset = np.arange(_TAPS) - (_TAPS // 2 - 1) - fraction
    taps = np.sinc(offset) * np.cos(np.pi * offset / (_TAPS + 1)) ** 2
    return np.asarray(taps / taps.sum(), np.float32)


_TAPS = 12
_PHASES = [_between(quarter / 4) for quarter in (1, 2, 3)]
