"""Small clips for the tests, drawn and encoded on the spot with PyAV."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]  # (H, W, 3) RGB


def plain(color: Sequence[int], size: tuple[int, int] = (64, 48)) -> Picture:
    """One colour all over; `size` is (width, height)."""
    return np.broadcast_to(np.array(color, np.uint8), (size[1], size[0], 3)).copy()


def texture(seed: int, size: tuple[int, int] = (64, 48)) -> Picture:
    """A scene of large coloured blocks, another one for each seed."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    rows = np.arange(size[1]) * 6 // size[1]
    columns = np.arange(size[0]) * 8 // size[0]
    return blocks[rows][:, columns]


def drift(scene: Picture, pixels: int) -> Picture:
    """The scene moved sideways, as a pan does."""
    return np.roll(scene, pixels, axis=1)


def write_clip(
    path: Path,
    pictures: Iterable[Picture],
    *,
    rate: Fraction | int = 25,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    audio: NDArray[np.float32] | None = None,
    audio_codec: str = "aac",
    rotate: int = 0,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encode `pictures` (and `audio`, (samples, 2) at 44100) into `path`.

    `times` are timestamps in units of `time_base`, for an uneven rate or a late start.
    """
    with av.open(str(path), "w", options=container_options or {}) as out:
        video = None
        for index, picture in enumerate(pictures):
            if video is None:
                video = out.add_stream(codec, rate=rate, options=options or {})
                video.height, video.width = picture.shape[:2]
                video.pix_fmt = pixels
                if time_base is not None:
                    video.codec_context.time_base = time_base
                if rotate:
                    video.set_display_rotation(rotate)
                sound = None
                if audio is not None:
                    sound = out.add_stream(audio_codec, rate=44100, layout="stereo")
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = times[index] if times is not None else index
            frame.time_base = time_base if time_base is not None else 1 / Fraction(rate)
            out.mux(video.encode(frame))
        assert video is not None
        out.mux(video.encode(None))
        if audio is not None:
            _encode_audio(out, sound, audio)
    return path


def write_sound(path: Path, audio: NDArray[np.float32], codec: str = "pcm_s16le") -> Path:
    """Encode `audio`, float (samples, 2) at 44100, alone into `path`."""
    with av.open(str(path), "w") as out:
        _encode_audio(out, out.add_stream(codec, rate=44100, layout="stereo"), audio)
    return path


def tone(seconds: float, frequency: float = 440.0, level: float = 0.1) -> NDArray[np.float32]:
    """A sine, (samples, 2) at 44100."""
    time = np.arange(round(seconds * 44100)) / 44100
    wave = (level * np.sin(2 * np.pi * frequency * time)).astype(np.float32)
    return np.stack([wave, wave], axis=1)


def patch(path: Path, change: Callable[[bytearray], object], out: Path) -> Path:
    """Copy `path` to `out` with its bytes changed by `change`."""
    data = bytearray(path.read_bytes())
    change(data)
    out.write_bytes(data)
    return out


def scenes(
    seconds: Sequence[float], rate: int = 25, size: tuple[int, int] = (64, 48)
) -> list[Picture]:
    """Slowly drifting scenes of these lengths, one after the other."""
    return [
        drift(texture(number, size), index // 4)
        for number, length in enumerate(seconds)
        for index in range(round(length * rate))
    ]


def set_header_duration(data: bytearray, factor: float) -> None:
    """Make the durations in an mp4's headers (movie, track, media) lie by `factor`."""
    for name, at in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        place = data.find(name)
        while place >= 0:
            (value,) = struct.unpack_from(">I", data, place + at)
            struct.pack_into(">I", data, place + at, int(value * factor))
            place = data.find(name, place + 4)


def _encode_audio(out: Any, stream: Any, audio: NDArray[np.float32]) -> None:
    resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=44100)
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(audio.reshape(1, -1), np.float32), format="flt", layout="stereo"
    )
    frame.sample_rate = 44100
    frame.pts = 0
    for part in [*resampler.resample(frame), *resampler.resample(None)]:
        out.mux(stream.encode(part))
    out.mux(stream.encode(None))
