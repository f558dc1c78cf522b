"""Music under a picture: the picture's packets are copied as they are, the music becomes its sound.

With `keep_audio` the original sound stays, and the music goes 12 dB down wherever that sounds.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import Flags, InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmusprod.errors import InputError, OutputError
from vmusprod.files import atomic_output
from vmusprod.sound import (
    CELL_SECONDS,
    SILENCE,
    Block,
    Curve,
    Level,
    around,
    audio_frame,
    levelling,
    measure,
    read_sound,
    smooth,
)
from vmusprod.video.decode import open_video

__all__ = ["check_container", "mux_music"]

RATE = 48000
CEILING = -2.0  # dB true peak before the encoder, which may add half a dB
_BIT_RATE = 192_000
_DUCKED = 10 ** (-12 / 20)
_AUDIBLE = 10 ** (-42 / 10)  # mean square of the original above which it "sounds"
_MAX_BOOST = 10 ** (6 / 20)  # of a quiet original; more would raise its noise
_KINDS = {
    ".mp4": ("mp4", "aac"),
    ".m4v": ("ipod", "aac"),
    ".mov": ("mov", "aac"),
    ".mkv": ("matroska", "aac"),
    ".webm": ("webm", "libopus"),
}
"""Container and coding of the sound."""
# What describes the old file rather than its content.
_DISORDER = 0.25  # seconds back that are a slip, not a new beginning
_INDEXED = {".mp4", ".m4v", ".mov"}
_CONTAINER_KEYS = {"major_brand", "minor_version", "compatible_brands", "encoder", "duration"}


def check_container(video: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Raise OutputError where a file named `out` cannot hold this video's picture (VP8 in .mp4).

    Nothing is written. Raises InputError for an unreadable `video`.
    """
    out = Path(out)
    container, codec = _kind(out)
    source, stream = open_video(Path(video))
    with source:
        trial = av.open(io.BytesIO(), "w", format=container)
        with contextlib.closing(trial):
            _open_streams(out, trial, stream, codec)


def mux_music(
    video: str | os.PathLike[str],
    wav: str | os.PathLike[str],
    out: str | os.PathLike[str],
    keep_audio: bool = False,
    loudness: float = -16.0,
) -> None:
    """Write `out`: the picture of `video`, packet for packet, with the music of `wav` as its sound.

    The sound is brought to `loudness` (LUFS, integrated), true peaks below -1 dB, and ends no later
    than the picture. With `keep_audio` the original sound stays, and the music is turned down by
    12 dB where that is heard. The container follows the suffix of `out`: .mp4, .m4v, .mov and .mkv
    get AAC, .webm gets Opus. The same inputs give the same bytes.

    Raises InputError for an unreadable `video` or `wav`; OutputError when `out` cannot be written,
    has another suffix, or is of a kind that cannot hold this picture's coding (VP8 in .mp4).
    """
    video, wav, out = Path(video), Path(wav), Path(out)
    _, codec = _kind(out)
    if out.exists() and out.samefile(video):
        raise OutputError(out, "would replace the video that it is made from")
    with atomic_output(out) as temporary:
        origin, base = _origin(video)
        clock = _Clock(origin, base)
        for packet in _packets(video):
            clock.retime(packet)
        length = round(clock.end * RATE)
        sound = _sound(video, wav, origin * base, length, loudness, keep_audio)
        try:
            _write(video, temporary, out, codec, _Clock(origin, base), sound, length)
        except av.FFmpegError as error:
            if isinstance(error, OSError):
                raise  # a full disk, say: atomic_output names the file
            raise OutputError(out, f"the picture cannot be copied ({error.strerror})") from error


def _kind(out: Path) -> tuple[str, str]:
    kind = _KINDS.get(out.suffix.lower())
    if kind is None:
        raise OutputError(out, f"not one of {' '.join(_KINDS)}")
    return kind


class _Clock:
    """New timestamps for copied packets: the first one shown is at 0, and decoding times rise."""

    def __init__(self, origin: int, base: float) -> None:
        self._shift = -origin
        self._base = base  # seconds a tick
        self._last: int | None = None
        self.end = 0.0  # of the packets so far, seconds

    def retime(self, packet: Packet[VideoStream]) -> float:
        """Give `packet` its new times; return its decoding time in seconds."""
        assert packet.pts is not None
        assert packet.dts is not None
        step = packet.duration or 1
        if self._last is not None and packet.dts + self._shift <= self._last:
            # Joined recordings start over: the second goes on where the first ended.
            if (self._last - packet.dts - self._shift) * self._base > _DISORDER:
                self._shift = self._last + step - packet.dts
            packet.dts = max(packet.dts, self._last + 1 - self._shift)
        packet.dts += self._shift
        packet.pts = max(packet.pts + self._shift, packet.dts)
        self._last = packet.dts
        self.end = max(self.end, (packet.pts + step) * self._base)
        return packet.dts * self._base


def _origin(video: Path) -> tuple[int, float]:
    """Return when the first picture is shown, in ticks of the file's clock, and a tick in seconds.

    Pictures before it are there for others to build on, where a recording was trimmed.
    """
    shown = (packet for packet in _packets(video) if not packet.is_discard)
    # The first one shown is not the first one decoded, but never far from it.
    early = [(packet.pts or 0, packet.time_base) for packet in itertools.islice(shown, 32)]
    if not early:
        raise InputError(video, "no picture that says when it is shown")
    ticks, base = min(early)
    return ticks, float(base)


def _packets(video: Path) -> Iterator[Packet[VideoStream]]:
    """Yield the picture's packets, each with both times and a duration.

    Left out are packets without any time, and those at the end that an edit list hides.
    """
    container, stream = open_video(video)
    with container:
        container.flags |= cast(int, Flags.gen_pts.value)  # AVI leaves display times out
        rate, base = stream.average_rate, stream.time_base
        step = max(1, round(1 / (rate * base))) if rate and base else 1
        hidden: list[Packet[VideoStream]] = []
        early: list[Packet[VideoStream]] = []
        known = False
        for packet in container.demux(stream):
            if not packet.size or packet.pts is None:
                continue
            packet.duration = packet.duration or step
            if packet.is_discard and known:
                hidden.append(packet)
                continue
            if packet.dts is None and not known:
                early.append(packet)  # Matroska: until the decoder's delay is known
                continue
            if packet.dts is None:
                packet.dts = packet.pts
            for count, waiting in enumerate(early):
                waiting.dts = packet.dts - (len(early) - count) * step
            yield from (*early, *hidden, packet)
            known, early, hidden = True, [], []
        for waiting in early:  # a clip too short for it to be known
            waiting.dts = waiting.pts
            yield waiting


def _open_streams(
    out: Path, target: OutputContainer, stream: VideoStream, codec: str
) -> tuple[VideoStream, AudioStream]:
    name = stream.codec_context.codec.canonical_name
    try:
        picture = target.add_stream_from_template(stream)
        # At this bit rate the fast search sounds no worse, and halves the time.
        options = {"aac_coder": "fast"} if codec == "aac" else {}
        music = target.add_stream(codec, rate=RATE, layout="stereo", options=options)
        assert isinstance(music, AudioStream)
        music.bit_rate = _BIT_RATE
        target.start_encoding()
    except (ValueError, av.error.PatchWelcomeError) as error:
        cause = f"a {out.suffix} file cannot hold {name} pictures: name a .mkv file instead"
        raise OutputError(out, cause) from error
    return picture, music


def _write(
    video: Path,
    temporary: Path,
    out: Path,
    codec: str,
    clock: _Clock,
    sound: Iterator[Block],
    length: int,
) -> None:
    """Write picture and sound side by side, `length` samples of sound at most."""
    # Bit-exact: no random identifiers, no version of the library in the file.
    options = {"fflags": "bitexact"}
    if out.suffix.lower() in _INDEXED:
        options["movflags"] = "faststart"
    source, stream = open_video(video)
    with source, av.open(f"file:{temporary}", "w", options=options) as target:
        _keep_tags(target, source)
        picture, music = _open_streams(out, target, stream, codec)
        written = 0
        for packet in _packets(video):
            time = clock.retime(packet)
            while written < time * RATE and (block := next(sound, None)) is not None:
                _encode(target, music, block, written, length)
                written += len(block)
            packet.stream = picture
            target.mux_one(packet)
        for block in sound:
            _encode(target, music, block, written, length)
            written += len(block)
        _mux(target, music.encode(None), length)


def _encode(
    target: OutputContainer, music: AudioStream, block: Block, position: int, length: int
) -> None:
    _mux(target, music.encode(audio_frame(block, RATE, position)), length)


def _mux(target: OutputContainer, packets: list[Packet[AudioStream]], length: int) -> None:
    for packet in packets:
        if packet.pts is not None and packet.duration:
            # An AAC frame is 1024 samples: the last one is said to end with the picture.
            left = math.ceil(Fraction(length, RATE) / packet.time_base) - packet.pts
            packet.duration = max(1, min(packet.duration, left))
        target.mux_one(packet)


def _sound(
    video: Path, wav: Path, start: float, length: int, loudness: float, keep_audio: bool
) -> Iterator[Block]:
    """Yield the finished sound, stereo at 48 kHz, from the picture's beginning to its end."""

    def music() -> Iterator[Block]:
        return _first(length, read_sound(wav, RATE))

    def original() -> Iterator[Block]:
        return _first(length, read_sound(video, RATE, start=start))

    level = measure(music(), RATE)
    mix = music
    if keep_audio and _has_sound(video):
        under = measure(original(), RATE)
        if under.loudness > SILENCE:
            gain = min(10 ** ((loudness - under.loudness) / 20), _MAX_BOOST)
            quieter = _ducking(levelling(level, loudness, CEILING), under, gain)

            def mix() -> Iterator[Block]:
                return _added(quieter.apply(music()), original(), gain)

            level = measure(mix(), RATE)
    return levelling(level, loudness, CEILING).apply(mix())


def _ducking(music: Curve, original: Level, gain: float) -> Curve:
    """Return the music's gain, 12 dB lower where the original times `gain` is heard."""
    energy = original.energy * gain * gain
    heard = smooth(energy, round(0.1 / CELL_SECONDS)) > _AUDIBLE
    # Held and eased over 0.3 s: the music is down when a sound begins, and pauses are no holes.
    radius = round(0.3 / CELL_SECONDS)
    held = around(heard.astype(np.float64), radius, np.max)
    duck = smooth(1 - (1 - _DUCKED) * held, radius)
    length = max(len(music.cells), len(duck))
    cells = _extended(music.cells, length) * _extended(duck, length)
    return Curve(cells, original.cell)


def _extended(cells: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    return np.pad(cells, (0, length - len(cells)), mode="edge")


def _added(music: Iterator[Block], original: Iterator[Block], gain: float) -> Iterator[Block]:
    """Yield the sum of both, to the end of the longer; `read_sound` cuts both alike."""
    nothing = np.zeros((0, 2), np.float32)
    pairs = itertools.zip_longest(music, original, fillvalue=nothing)
    for one, other in pairs:
        block = np.zeros((max(len(one), len(other)), 2), np.float32)
        block[: len(one)] += one
        block[: len(other)] += np.float32(gain) * other
        yield block


def _first(length: int, blocks: Iterator[Block]) -> Iterator[Block]:
    """Yield the first `length` samples."""
    for block in blocks:
        yield block[:length]
        length -= len(block)
        if length <= 0:
            return


def _has_sound(video: Path) -> bool:
    container, _ = open_video(video)
    with container:
        return bool(container.streams.audio)


def _keep_tags(target: OutputContainer, source: InputContainer) -> None:
    """Keep the title and the like."""
    for key, value in source.metadata.items():
        if key.lower() not in _CONTAINER_KEYS:
            target.metadata[key] = value
