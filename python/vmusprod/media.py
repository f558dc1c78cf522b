"""Opening of media files: what is no media file, or no file at all, is told apart here."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import av
from av.container import InputContainer

from vmusprod.errors import InputError

__all__ = ["MAX_PIXELS", "cause_of", "open_container"]

MAX_PIXELS = 16384 * 8704  # 16K; beyond it a header lies, or means harm

# Demuxers that read one self-contained file. ffmpeg has others that run off to other files and
# hosts (playlists), or that take any text for a picture ("tty").
_FORMATS = (
    "3g2,3gp,aac,ac3,aiff,amr,apng,asf,av1,avi,avs2,caf,dirac,dnxhd,dv,dvd,flac,flv,gif,gxf,h261,"
    "h263,h264,hevc,ivf,lavf,live_flv,m4a,m4v,matroska,mj2,mjpeg,mov,mp3,mp4,mpeg,mpegps,mpegts,"
    "mpegvideo,mpegtsraw,mxf,nsv,nut,obu,ogg,rawvideo,rm,smjpeg,swf,svq3,vc1,vc1test,vob,vvc,w64,"
    "wav,webm,wtv,wv,yuv4mpegpipe,y4m"
)
# How PNG, JPEG and BMP files begin.
_STILL = (b"\x89PNG", b"\xff\xd8\xff", b"BM")


def open_container(path: Path, kind: str = "a video") -> InputContainer:
    """Open a media file for reading; `kind` is what errors say that it should be.

    Raises InputError: missing, empty, a folder, unreadable.
    """
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise InputError(path, f"is a folder, not {kind}")
        if not stat.S_ISREG(info.st_mode):
            raise InputError(path, "not a regular file")
        if info.st_size == 0:
            raise InputError(path, "empty file")
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(path, error) from error
    except ValueError as error:  # a NUL in the name
        raise InputError(path, error) from error
    try:
        return av.open(
            # "file:" keeps ffmpeg from reading "12:30.mp4" as protocol "12".
            f"file:{path}",
            mode="r",
            options={"format_whitelist": _FORMATS, "max_pixels": str(MAX_PIXELS)},
            metadata_errors="replace",
        )
    except (av.FFmpegError, ValueError) as error:
        raise InputError(path, _open_cause(path, error, kind)) from error


def cause_of(error: Exception) -> str:
    """Return in a few words what an error of ffmpeg says."""
    if isinstance(error, av.FFmpegError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _open_cause(path: Path, error: Exception, kind: str) -> str:
    with path.open("rb") as file:
        head = file.read(12)
    if head.startswith(_STILL) or (head[:4] == b"RIFF" and head[8:] == b"WEBP"):
        return f"a still picture, not {kind}"
    if head[4:8] == b"ftyp":
        return "cut off or damaged: its index (moov) is missing"
    # EINVAL is ffmpeg's word for a format that is not on the list.
    if isinstance(error, av.InvalidDataError) or getattr(error, "errno", None) == errno.EINVAL:
        return f"not {kind}"
    if isinstance(error, av.error.EOFError):
        return "cut off: it ends before the first picture"
    return f"cannot be read as {kind} ({cause_of(error)})"
