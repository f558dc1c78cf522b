"""Music under a picture: the picture's packets are copied as they are, the music becomes its sound.

With `keep_audio` the original sound stays, and the music goes 12 dB down wherever that sounds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

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

__all__ = ["mux_music"]

RATE = 48000
CEILING = -2.0  # dB true peak before the encoder, which may add half a dB
_BIT_RATE = 192_000
_DUCKED = 10 ** (-12 / 20)
_AUDIBLE = 10 ** (-42 / 10)  # mean square of the original above which it "sounds"
_MAX_BOOST = 10 ** (6 / 20)  # of a quiet original; more would raise its noise
_SOUND_CODECS = {".mp4": "aac", ".m4v": "aac", ".mov": "aac", ".mkv": "aac", ".webm": "libopus"}

Sound = Callable[[], Iterator[Block]]


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
    codec = _SOUND_CODECS.get(out.suffix.lower())
    if codec is None:
        raise OutputError(out, f"not one of {' '.join(_SOUND_CODECS)}")
    if out.exists() and out.samefile(video):
        raise OutputError(out, "would replace the video that it is made from")
    container, stream = open_video(video)
    with container, atomic_output(out) as temporary:
        start = _start(video, container, stream)
        sound = _sound(video, wav, start, loudness, keep_audio)
        try:
            with av.open(
                f"file:{temporary}", "w", options={"movflags": "faststart"}, format=_format(out)
            ) as target:
                _write(container, stream, target, codec, sound(), out)
        except (av.FFmpegError, ValueError) as error:
            if isinstance(error, OSError):
                raise  # a full disk, say: atomic_output names the file
            raise OutputError(out, f"the picture cannot be copied ({error})") from error
