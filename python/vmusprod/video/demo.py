"""A short clip drawn on the spot, for a user who has no video at hand.

Hills at dawn, a sea under the moon, northern lights, drifting lanterns, a ride through a tunnel:
still scenes and fast ones, dark and bright, with a hard cut between two.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from vmusprod.errors import OutputError
from vmusprod.files import atomic_output

__all__ = ["draw_demo"]

RATE = 24
_SIZE = (640, 360)
_DRAWN = (320, 180)  # drawn small, enlarged smoothly: soft shapes, a quarter of the work
_SCENE_SECONDS = 4.0
_ENCODERS = ("libx264", "libopenh264", "mpeg4", "mjpeg")

Image = NDArray[np.floating[Any]]  # (H, W, 3), 0..1
Plane = NDArray[np.floating[Any]]  # (H, W) or broadcastable to it
Color = tuple[float, float, float]


@dataclass(frozen=True)
class _Canvas:
    """Where the pixels lie, `x` from -1.78 to 1.78 and `y` from 1 (top) to -1, and the dice."""

    x: Plane
    y: Plane
    rng: np.random.Generator


# Takes the scene's time in seconds and how far through it is, 0..1; returns the picture.
Scene = Callable[[float, float], Image]


def draw_demo(path: str | os.PathLike[str], seconds: float = 20.0, seed: int = 0) -> None:
    """Draw a clip of `seconds` and write it to `path` (640x360, 24 pictures a second, no sound).

    The seed decides scenes, colours and cuts; the same arguments give the same pictures. The
    suffix of `path` decides the container (.mp4, .mkv, .mov). Raises OutputError when it cannot be
    written, ValueError unless 0 < seconds <= 3600.
    """
    if not 0 < seconds <= 3600:
        raise ValueError(f"seconds must be within 0..3600, not {seconds}")
    frames = max(1, round(seconds * RATE))
    with atomic_output(path) as temporary:
        try:
            _write(temporary, frames, np.random.default_rng(seed))
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):
                raise
            raise OutputError(path, f"no video of this kind can be written ({error})") from error


def _write(path: Path, frames: int, rng: np.random.Generator) -> None:
    with av.open(f"file:{path}", "w", options={"fflags": "bitexact"}) as out:
        name = next(name for name in _ENCODERS if _encodes(name))
        quality = {"crf": "20", "preset": "veryfast"} if name == "libx264" else {}
        stream = out.add_stream(name, rate=RATE, options=quality)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height = _SIZE
        stream.pix_fmt = "yuvj420p" if name == "mjpeg" else "yuv420p"
        if not quality:
            stream.bit_rate = 2_000_000
        reformatter = VideoReformatter()
        number = 0
        for scene, length in _plan(frames, rng):
            for index in range(length):
                image = scene(index / RATE, index / max(1, length - 1)) * _dim(number, frames)
                pixels = np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)
                frame = reformatter.reformat(
                    av.VideoFrame.from_ndarray(pixels, format="rgb24"),
                    *_SIZE,
                    format=stream.pix_fmt,
                    interpolation=Interpolation.BICUBIC,
                )
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                out.mux(stream.encode(frame))
                number += 1
        out.mux(stream.encode(None))


def _encodes(name: str) -> bool:
    try:
        av.codec.Codec(name, "w")
    except ValueError:  # UnknownCodecError
        return False
    return True


def _dim(number: int, frames: int) -> float:
    """Brightness: up in the first half second, down in the last."""
    fade = min(RATE / 2, frames / 4)
    return float(min(1.0, (number + 1) / fade, (frames - number) / fade))


def _plan(frames: int, rng: np.random.Generator) -> list[tuple[Scene, int]]:
    """Choose the scenes and how many frames each has."""
    count = max(1, round(frames / RATE / _SCENE_SECONDS))
    shares = rng.uniform(0.7, 1.3, count)
    ends = np.round(np.cumsum(shares) / shares.sum() * frames).astype(int)
    width, height = _DRAWN
    aspect = width / height
    canvas = _Canvas(
        np.linspace(-aspect, aspect, width, dtype=np.float32)[None, :],
        np.linspace(1, -1, height, dtype=np.float32)[:, None],
        rng,
    )
    makers = [_hills, _sea, _lights, _lanterns, _tunnel]
    order: list[int] = []
    while len(order) < count:
        turn = rng.permutation(len(makers)).tolist()
        if order and turn[0] == order[-1]:
            turn.reverse()  # never the same scene twice in a row
        order += turn
    lengths = np.diff(ends, prepend=0).tolist()
    return [(makers[kind](canvas), length) for kind, length in zip(order, lengths, strict=False)]


def _hills(canvas: _Canvas) -> Scene:
    """Draw a sun that rises behind three rows of hills passing by."""
    x, y, rng = canvas.x, canvas.y, canvas.rng
    warm = rng.uniform(0.85, 1.0)
    side = rng.uniform(-0.9, 0.9)
    waves = rng.uniform(0, 2 * np.pi, (3, 3)).tolist()

    def scene(time: float, done: float) -> Image:
        height = (y + 1) / 2
        dawn = 0.35 + 0.65 * done
        image = _mix(height, (1.0 * warm, 0.55, 0.35), (0.25, 0.35, 0.65)) * dawn
        sun = np.hypot(x - side, y - (-0.35 + 0.8 * done))
        image = image + (_soft(0.16 - sun, 0.02) + 0.45 * np.exp(-4 * sun))[..., None] * _rgb(
            1.0, 0.85, 0.55
        )
        for row in range(3):
            shift = x + time * 0.12 * (row + 1) ** 1.5
            crest = np.full_like(x, -0.15 - 0.27 * row)
            for order in range(3):
                crest = crest + 0.14 / (order + 1) * np.sin(
                    shift * (1.3 + 1.1 * order + 0.4 * row) + waves[row][order]
                )
            shade = _rgb(0.16, 0.24, 0.2) * (1.3 - 0.42 * row) * dawn
            image = _over(image, shade, _soft(crest - y, 0.015))
        return image

    return scene


def _sea(canvas: _Canvas) -> Scene:
    """Draw the moon over a moving sea."""
    x, y, rng = canvas.x, canvas.y, canvas.rng
    place = rng.uniform(-0.8, 0.8)
    hue = rng.uniform(0.0, 0.25)

    def scene(time: float, done: float) -> Image:
        drift = place + 0.3 * (done - 0.5)
        image = (
            _mix((y + 0.2) / 1.2, (0.2 + hue, 0.25, 0.42), (0.03, 0.05, 0.16))
            * np.ones_like(x)[..., None]
        )
        moon = np.hypot(x - drift, y - 0.5)
        image = image + (_soft(0.13 - moon, 0.015) + 0.3 * np.exp(-5 * moon))[..., None] * _rgb(
            0.95, 0.95, 0.85
        )
        depth = np.maximum(-0.1 - y, 0.0) + 0.03
        swell = np.sin(9 / depth**0.6 + 2.2 * time + 3 * np.sin(1.5 * x + 0.7 * time))
        water = _mix(depth, (0.12 + hue / 2, 0.2, 0.36), (0.01, 0.08, 0.16)) * (
            0.85 + 0.15 * swell[..., None]
        )
        glitter = np.exp(-(((x - drift) / (0.1 + 0.45 * depth)) ** 2)) * np.maximum(swell, 0) ** 3
        water = water + 0.8 * glitter[..., None] * _rgb(0.95, 0.95, 0.8)
        return _over(image, water, _soft(-0.1 - y, 0.004) * np.ones_like(x))

    return scene


def _lights(canvas: _Canvas) -> Scene:
    """Draw northern lights over a starry sky."""
    x, y, rng = canvas.x, canvas.y, canvas.rng
    stars = rng.random((y.size, x.size), dtype=np.float32)
    stars = np.maximum((stars - 0.9965) / 0.0035, 0.0)
    phase = rng.uniform(0, 2 * np.pi, 3).tolist()
    colors = [_rgb(0.1, 0.9, 0.5), _rgb(0.15, 0.6, 0.9), _rgb(0.65, 0.25, 0.85)]

    def scene(time: float, done: float) -> Image:
        image = (
            _mix((y + 1) / 2, (0.04, 0.08, 0.16), (0.0, 0.01, 0.06)) * np.ones_like(x)[..., None]
        )
        twinkle = 0.7 + 0.3 * np.sin(5 * time + 40 * stars)
        image = image + (stars * twinkle)[..., None]
        for band, color in enumerate(colors):
            foot = -0.25 + 0.22 * band + 0.2 * np.sin(1.6 * x + 0.5 * time + phase[band])
            above = y - foot
            rays = 0.6 + 0.4 * np.sin(14 * x + 5 * np.sin(2 * x + time) + 2 * phase[band])
            glow = _soft(above, 0.05) * np.exp(-2.2 * np.maximum(above, 0)) * rays
            image = image + (0.75 * (0.6 + 0.4 * done) * glow)[..., None] * color
        return np.asarray(image)

    return scene


def _lanterns(canvas: _Canvas) -> Scene:
    """Draw soft coloured lights that rise through the dusk."""
    x, y, rng = canvas.x, canvas.y, canvas.rng
    count = 18
    place = rng.uniform(-1.9, 1.9, count).tolist()
    start = rng.uniform(-1.6, 1.2, count).tolist()
    speed = rng.uniform(0.25, 0.7, count).tolist()
    size = rng.uniform(0.07, 0.22, count).tolist()
    base = _rgb(*rng.uniform(0.06, 0.22, 3).tolist())
    first = 0.8 * rng.random()
    colors = [_hue(first + more) for more in rng.uniform(-0.05, 0.2, count).tolist()]

    def scene(time: float, done: float) -> Image:
        image = np.ones_like(x * y)[..., None] * base * (1.2 - 0.4 * y[..., None])
        for one in range(count):
            height = (start[one] + speed[one] * time + 1.6) % 3.2 - 1.6
            sway = place[one] + 0.08 * math.sin(2 * time + one)
            distance = np.hypot(x - sway, y - height)
            glow = 0.75 * _soft(size[one] - distance, 0.03) + 0.35 * np.exp(-distance / size[one])
            image = image + (0.5 * glow)[..., None] * colors[one]
        return image

    return scene


def _tunnel(canvas: _Canvas) -> Scene:
    """Draw a fast ride through a tunnel of coloured light."""
    x, y, rng = canvas.x, canvas.y, canvas.rng
    first = rng.random()
    turn = float(rng.choice([-1.0, 1.0]))
    arms = int(rng.integers(4, 8))

    def scene(time: float, done: float) -> Image:
        bend_x, bend_y = 0.35 * math.sin(1.1 * time), 0.25 * math.cos(0.9 * time)
        radius = np.hypot(x - bend_x, y - bend_y) + 0.04
        angle = np.arctan2(y - bend_y, x - bend_x) + turn * (0.6 * time + 0.5 / radius)
        depth = 1.2 / radius + (4 + 3 * done) * time
        rings = 0.5 + 0.5 * np.sin(2.2 * depth)
        ribs = 0.5 + 0.5 * np.cos(arms * angle)
        near = np.clip(radius * 1.1, 0, 1)
        light = (0.15 + 0.85 * rings * (0.4 + 0.6 * ribs)) * near
        walls = light[..., None] * _hue(first + 0.04 * depth + 0.1 * ribs)
        return np.asarray(walls + 0.6 * np.exp(-6 * radius)[..., None])

    return scene


def _rgb(red: float, green: float, blue: float) -> NDArray[np.float32]:
    return np.array([red, green, blue], np.float32)


def _mix(share: Plane, low: tuple[float, float, float], high: tuple[float, float, float]) -> Image:
    """Blend from `low` to `high` as `share` goes from 0 to 1."""
    part = np.clip(share, 0, 1)[..., None]
    return (1 - part) * _rgb(*low) + part * _rgb(*high)


def _over(under: Image, color: NDArray[np.float32], share: Plane) -> Image:
    part = share[..., None]
    return under * (1 - part) + color * part


def _soft(inside: Plane, edge: float) -> Plane:
    """0 where `inside` is negative, 1 where it exceeds `edge`, a smooth ramp between."""
    ramp = np.clip(inside / edge, 0, 1)
    return np.asarray(ramp * ramp * (3 - 2 * ramp), np.float32)


def _hue(turn: Plane | float) -> NDArray[np.float32]:
    """Return the colour at `turn` (1 is once round the colour circle), (..., 3)."""
    shift = np.array([0.0, 1 / 3, 2 / 3], np.float32)
    wave = np.cos(2 * math.pi * (np.asarray(turn, np.float32)[..., None] - shift))
    return np.asarray(0.575 + 0.425 * wave, np.float32)
