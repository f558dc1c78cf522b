"""Pictures of a video in the order and for the time they are shown, whatever the file is like.

Time 0 is the first picture. A picture is shown from its own timestamp to the next one's, so an
uneven frame rate needs no special care; the last one for its own duration. What the header claims
is used for the progress display, to tell a real gap from a broken timestamp, and in warnings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vmusprod.errors import InputError
from vmusprod.media import MAX_PIXELS, cause_of, open_container

__all__ = ["MAX_SECONDS", "Picture", "VideoReader", "open_video"]

MAX_SECONDS = 12 * 3600.0
_THREADS = 8
_MAX_GAP = 60.0  # a longer gap between timestamps must be backed by the header
_DISORDER = 0.25  # seconds back that are a slip, not a new beginning
_NOMINAL_RATE = 25.0  # for a file that tells no rate at all


@dataclass(frozen=True)
class Picture:
    """One decoded frame and when it is shown: from `start` to `end`, seconds, end > start."""

    frame: VideoFrame
    start: float
    end: float


def open_video(path: Path) -> tuple[InputContainer, VideoStream]:
    """Open a video file and choose its picture stream (cover art is none). Raises InputError."""
    container = open_container(path)
    try:
        return container, _picture_stream(path, container)
    except BaseException:
        container.close()
        raise


class VideoReader:
    """All pictures of a video in one pass over the file; use as a context manager and iterate.

    After the iteration `duration` is the true length of the picture in seconds and `warnings` says
    in plain words what was wrong with a file that could be read all the same.

    Parameters
    ----------
    path : Path
        A video file.
    progress : callable, optional
        Is told the fraction read, 0..1, never falling, 1.0 at the end.

    Raises InputError: not a readable video (on entering), no decodable picture, longer than
    12 hours (while iterating).
    """

    def __init__(self, path: Path, progress: Callable[[float], None] | None = None) -> None:
        self.path = path
        self.duration = 0.0
        self._notes: list[str] = []
        self._progress = progress
        self._reported = -1.0
        self._bad_packets = 0
        self._bad_frames = 0
        self._container, self._stream = open_video(path)
        # Frame and slice threads. Their number is fixed: what a decoder puts in place of a damaged
        # part depends on it, and the same file shall give the same features on every machine.
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = _THREADS
        self._length = _header_length(self._container, self._stream)
        rate = self._stream.average_rate or self._stream.guessed_rate
        sane = rate is not None and 0.01 <= rate <= 1000
        self._nominal = 1 / float(rate) if rate is not None and sane else 1 / _NOMINAL_RATE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._container.close()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was wrong with the file, one line each."""
        return tuple(self._notes)

    def __iter__(self) -> Iterator[Picture]:
        shown: VideoFrame | None = None
        start = 0.0
        for frame, time in self._timed():
            if shown is not None:
                yield Picture(shown, start, time)
            shown, start = frame, time
        if shown is None:
            cause = "damaged: not one picture can be decoded" if self._bad_packets else "no picture"
            raise InputError(self.path, cause)
        self.duration = start + self._own_length(shown, start)
        if self.duration > MAX_SECONDS:
            raise self._too_long()
        yield Picture(shown, start, self.duration)
        self._summarise()
        self._report(1.0)

    def _timed(self) -> Iterator[tuple[VideoFrame, float]]:
        """Frames with their start in seconds, strictly rising from 0."""
        shift: float | None = None
        last = 0.0
        jumps = 0
        for frame in self._frames():
            stamp = _stamp(frame)
            if shift is None:
                shift = -stamp if stamp is not None else 0.0
                yield frame, 0.0
                continue
            time = last + self._nominal if stamp is None else stamp + shift
            if last - _DISORDER < time <= last:
                continue  # shown for no time at all
            if time <= last or not self._plausible(last, time):
                # Joined recordings, a broken timestamp: go on where the last picture ended.
                jumps += 1
                shift += last + self._nominal - time
                time = last + self._nominal
            if time > MAX_SECONDS:
                raise self._too_long()
            last = time
            yield frame, time
        if jumps:
            self._notes.append("timestamps jump: the pictures are taken to follow each other")

    def _frames(self) -> Iterator[VideoFrame]:
        """Every frame that can be decoded; what cannot is counted."""
        try:
            for packet in self._container.demux(self._stream):
                self._track(packet)
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    self._bad_packets += 1
                    continue
                for frame in frames:
                    self._bad_frames += frame.is_corrupt
                    yield frame
        except av.FFmpegError as error:
            self._notes.append(f"reading stopped early ({cause_of(error)})")

    def _own_length(self, frame: VideoFrame, start: float) -> float:
        """How long the last frame is shown, seconds."""
        if frame.duration and frame.time_base:
            length = float(frame.duration * frame.time_base)
            if length > 0 and self._plausible(start, start + length):
                return length
        return self._nominal

    def _plausible(self, time: float, later: float) -> bool:
        """Whether a picture at `time` may be shown until `later`."""
        if self._length is not None and later <= self._length + 1.0:
            return True
        return later - time <= _MAX_GAP

    def _track(self, packet: Packet[VideoStream]) -> None:
        if self._progress is None or not packet.size:
            return
        size = self._container.size
        if self._length and packet.pts is not None and packet.time_base:
            start = self._stream.start_time or 0
            self._report(float((packet.pts - start) * packet.time_base) / self._length)
        elif packet.pos is not None and packet.pos >= 0 and size > 0:
            self._report(packet.pos / size)

    def _report(self, fraction: float) -> None:
        fraction = max(0.0, min(1.0, fraction))
        # A call per cent is enough for any display.
        if self._progress is not None and (
            fraction >= self._reported + 0.01 or fraction == 1.0 > self._reported
        ):
            self._reported = fraction
            self._progress(fraction)

    def _summarise(self) -> None:
        if self._bad_packets or self._bad_frames:
            count = self._bad_packets + self._bad_frames
            pictures = "1 picture" if count == 1 else f"{count} pictures"
            self._notes.append(f"damaged: {pictures} could not be decoded whole")
        claim = self._claim()
        if claim is not None and self.duration < claim - max(1.0, 0.02 * claim):
            self._notes.append(
                f"cut off: pictures for {self.duration:.1f} s of the {claim:.1f} s that the "
                "header says"
            )

    def _claim(self) -> float | None:
        """How long the header says that the picture (not the sound) lasts, seconds."""
        if self._stream.duration is not None and self._stream.time_base is not None:
            return float(self._stream.duration * self._stream.time_base)
        return self._length if not self._container.streams.audio else None

    def _too_long(self) -> InputError:
        return InputError(self.path, f"longer than {MAX_SECONDS / 3600:.0f} hours")


def _picture_stream(path: Path, container: InputContainer) -> VideoStream:
    moving = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not moving:
        if container.streams.video:
            raise InputError(path, "sound with a cover picture, not a video")
        raise InputError(
            path, "only sound, no picture" if container.streams.audio else "no picture stream"
        )
    best = container.streams.best("video")
    stream = best if isinstance(best, VideoStream) and best in moving else moving[0]
    context = getattr(stream, "codec_context", None)  # None where ffmpeg lacks the decoder
    if context is None:
        raise InputError(path, "its pictures are coded in a way that cannot be decoded here")
    if context.width * context.height > MAX_PIXELS:
        raise InputError(path, f"pictures of {context.width}x{context.height} pixels are too large")
    return stream


def _header_length(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the longer of what stream and container claim to last, seconds, if either does."""
    claims = []
    if stream.duration is not None and stream.time_base is not None:
        claims.append(float(stream.duration * stream.time_base))
    if container.duration is not None:
        claims.append(container.duration / av.time_base)
    claims = [claim for claim in claims if math.isfinite(claim) and claim > 0]
    return max(claims) if claims else None


def _stamp(frame: VideoFrame) -> float | None:
    if frame.pts is not None:
        return frame.time
    return float(frame.dts * frame.time_base) if frame.dts is not None and frame.time_base else None
