"""What the user asks for: the options, and which video becomes which file."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vmusprod.errors import VmusError
from vmusprod.models.config import SOURCES
from vmusprod.models.task import ENGINES
from vmusprod.music.key import Key
from vmusprod.music.user_input import TEMPO_LIMITS
from vmusprod.steering import LEVELS

__all__ = [
    "DEMO_NAME", "FORMATS", "SOURCES", "Job", "OptionError", "Options", "demo_job",
           "named_videos", "parse_sources",
    "plan_jobs", "unconditional_jobs",
]  # fmt: skip

FORMATS = ("mid", "wav", "mp4")
DEMO_NAME = "vmus-demo.mp4"
MAX_CANDIDATES = 64

# .midi is .mid; the other containers hold what .mp4 cannot (VP8, for one).
_FILE_SUFFIXES = (".mid", ".midi", ".wav", ".mp4", ".m4v", ".mov", ".mkv", ".webm")
_VIDEO_SUFFIXES = frozenset(
    (".3g2", ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg",
     ".mts", ".mxf", ".ogv", ".ts", ".webm", ".wmv")
)  # fmt: skip


class OptionError(VmusError):
    """Options that mean nothing, or do not fit together."""


def parse_sources(text: str | None) -> tuple[str, ...]:
    """Sources named in a list such as `semantic,color`; none for None. Raises OptionError."""
    names = tuple(name.strip() for name in (text or "").split(",") if name.strip())
    for name in names:
        if name not in SOURCES:
            raise OptionError(f"unknown source {name!r}: one of {', '.join(SOURCES)}")
    return names


@dataclass(frozen=True)
class Options:
    """What the user decides for all videos alike. Raises OptionError for values out of range.

    Attributes
    ----------
    seed : int
        0..2**63 - 1; the same video, options and seed give the same bytes.
    key : (int, int) or None
        Tonic and mode; None: the user's own chords' and melody's, else chosen by the seed.
    tempo : float or None
        20..300 quarter notes a minute; None: the user's own melody's, else the motion's.
    temperature, top_p : float
        Sampling: above 0 to 5, and above 0 to 1.
    device : str
        Where the models compute: `cpu`, `cuda`, ...
    engine : str
        `rust`, `torch`, or `auto`: Rust on the CPU, torch elsewhere.
    weights : Path or None
        Folder of the three stages; None: the weights in the package.
    chords, melody : Path or None
        The user's own, in place of the stage (`music.user_input`).
    soundfont : Path or None
        For .wav and .mp4; None: the piano in the package.
    keep_audio : bool
        .mp4: leave the original sound in, the music under it.
    skip_existing : bool
        Leave videos alone whose files are all there.
    cache : bool
        Keep features under the user's cache folder.
    density, loudness : int or None
        1 (sparse, soft) to 8 (dense, loud), of every bar; None: the video's.
    without : tuple of str
        Sources of the video that are not looked at, of `SOURCES`.
    align : bool
        Move the tempo a little so that bar lines meet scene cuts.
    clip : Path or None
        CLIP's weights; None: those in the cache, if any.
    form : str or None
        Letters of the eight-bar phrases, `AABA`, or `none`; None: drawn by the seed.
    candidates : int
        1..64 pieces are made of each video, and the one that suits it best is kept.
    """

    seed: int = 0
    key: Key | None = None
    tempo: float | None = None
    temperature: float = 1.0
    top_p: float = 0.995
    device: str = "cpu"
    weights: Path | None = None
    chords: Path | None = None
    melody: Path | None = None
    soundfont: Path | None = None
    keep_audio: bool = False
    skip_existing: bool = False
    cache: bool = True
    engine: str = "auto"
    density: int | None = None
    loudness: int | None = None
    without: tuple[str, ...] = ()
    align: bool = True
    clip: Path | None = None
    candidates: int = 1
    form: str | None = None

    def __post_init__(self) -> None:
        low, high = TEMPO_LIMITS
        if not 0 <= self.seed < 1 << 63:
            raise OptionError(f"seed {self.seed} is not within 0..2**63-1")
        if self.tempo is not None and not low <= self.tempo <= high:
            raise OptionError(f"tempo {self.tempo:g} is not within {low:g}..{high:g}")
        if not (math.isfinite(self.temperature) and 0 < self.temperature <= 5):
            raise OptionError(f"temperature {self.temperature:g} is not above 0, at most 5")
        if self.engine not in ENGINES:
            raise OptionError(f"engine {self.engine!r} is not one of {', '.join(ENGINES)}")
        if self.engine == "rust" and self.device != "cpu":
            raise OptionError(f"the engine rust computes on the CPU, not on {self.device}")
        if not 0 < self.top_p <= 1:
            raise OptionError(f"top-p {self.top_p:g} is not above 0, at most 1")
        for name, level in (("density", self.density), ("loudness", self.loudness)):
            if level is not None and not 1 <= level <= LEVELS:
                raise OptionError(f"{name} {level} is not within 1..{LEVELS}")
        if self.form is not None and not re.fullmatch(r"[A-Za-z]{1,64}", self.form):
            raise OptionError(f"form {self.form!r} is not 1 to 64 letters, such as AABA")
        if not 1 <= self.candidates <= MAX_CANDIDATES:
            raise OptionError(f"{self.candidates} candidates are not within 1..{MAX_CANDIDATES}")


@dataclass(frozen=True)
class Job:
    """One video (or feature file) and the file to make.

    `stems`: the folder for its parts. `make_folders`: whether the output's folder is to be made.
    `blank`: there is no video; the number of the piece, from 1 (`unconditional_jobs`).
    """

    source: Path
    output: Path
    stems: Path | None = None
    make_folders: bool = False
    blank: int = 0

    @property
    def format(self) -> str:
        """`mid`, `wav`, or `mp4` for anything with a picture."""
        return _format_of(self.output)

    @property
    def stem_files(self) -> tuple[Path, ...]:
        """The files of the parts: chords.mid, melody.mid, accompaniment.mid, if asked for."""
        if self.stems is None:
            return ()
        names = ("chords.mid", "melody.mid", "accompaniment.mid")
        return tuple(self.stems / name for name in names)


@dataclass(frozen=True)
class _Found:
    """A video and its name in an output folder, suffix included."""

    source: Path
    name: Path


def plan_jobs(
    videos: Sequence[Path], out: Path, format: str | None = None, stems: Path | None = None
) -> list[Job]:
    """Return one job a video, in order.

    Folders among `videos` are walked for video files (hidden ones and `out` left out), whose tree
    is kept below `out`; a folder that holds none stays a job of its own, which fails. `out` is a
    file for one video (.mid, .wav, .mp4, .m4v, .mov, .mkv, .webm), else a folder, filled with
    files of `format` (mid, wav, mp4; None: mid). Videos whose names would clash keep their
    folders, and their suffix where that is all that tells them apart. `stems` is the folder of
    the parts; in a batch each video has its own in it.

    Raises OptionError: no video, an unknown format or suffix, a file for several videos.
    """
    if not videos:
        raise OptionError("no video given")
    if format is not None and format not in FORMATS:
        raise OptionError(f"unknown format {format!r}: one of {', '.join(FORMATS)}")
    found = _find(videos, out)
    if _is_file(out, many=len(found) > 1 or videos[0].is_dir()):
        if format is not None and format != _format_of(out):
            raise OptionError(f"{out}: the name says {_format_of(out)}, --format {format}")
        return [Job(found[0].source, out, stems)]
    suffix = f".{format or 'mid'}"
    jobs = []
    for video, name in _named(found):
        parts = None if stems is None else stems / name
        jobs.append(Job(video, out / name.with_name(name.name + suffix), parts, True))
    return jobs


def named_videos(videos: Sequence[Path], out: Path) -> list[tuple[Path, Path]]:
    """Return each video with its name below the folder `out`, without suffix: see `plan_jobs`.

    Raises OptionError: no video.
    """
    if not videos:
        raise OptionError("no video given")
    return _named(_find(videos, out))


def _named(found: Sequence[_Found]) -> list[tuple[Path, Path]]:
    return [(item.source, name) for item, name in zip(found, _names(found), strict=True)]


def demo_job(out: Path, format: str | None = None, stems: Path | None = None) -> Job:
    """Return the job for the demo clip, which is to be drawn where its `source` says.

    The clip goes beside the file `out`, or into the folder `out`. Raises OptionError as
    `plan_jobs` does, and when `out` is the clip itself.
    """
    jobs = plan_jobs([out.parent / DEMO_NAME], out, format, stems)
    if not jobs[0].make_folders:
        if out.name == DEMO_NAME:
            raise OptionError(f"{out}: is where the demo clip itself goes; choose another name")
        return jobs[0]
    # As .mp4 the piece needs another name than the clip.
    output = out / f"vmus-demo-music.{format or 'mid'}"
    return replace(jobs[0], source=out / DEMO_NAME, output=output)


def unconditional_jobs(
    count: int, out: Path, format: str | None = None, stems: Path | None = None
) -> list[Job]:
    """Return jobs for pieces without a video (paper section 6.5), files of the folder `out`.

    Raises OptionError: fewer than 1 or over 100,000 pieces, a format that needs a picture.
    """
    if not 1 <= count <= 100_000:
        raise OptionError(f"{count} pieces are not within 1..100000")
    if format not in (None, "mid", "wav"):
        raise OptionError(f"without a video there can be no {format}: mid or wav")
    if out.suffix.lower() in _FILE_SUFFIXES:
        raise OptionError(f"{out}: pieces without a video go to a folder, not a file")
    jobs = []
    for number in range(1, count + 1):
        name = f"piece-{number:0{len(str(count))}d}"
        parts = None if stems is None else stems / name
        jobs.append(Job(Path(name), out / f"{name}.{format or 'mid'}", parts, True, number))
    return jobs


def _is_file(out: Path, many: bool) -> bool:
    """Whether `out` names a file, not a folder. Raises OptionError where it can be neither."""
    if out.is_dir():
        return False
    suffix = out.suffix.lower()
    if suffix in _FILE_SUFFIXES:
        if many:
            raise OptionError(f"{out}: several videos need a folder to go to, not a file")
        return True
    if suffix and not many:
        known = ", ".join(("." + name) for name in FORMATS)
        raise OptionError(f"{out}: unknown suffix {suffix}; give {known}, or an existing folder")
    return False


def _format_of(out: Path) -> str:
    suffix = out.suffix.lower()
    if suffix in (".mid", ".midi"):
        return "mid"
    return "wav" if suffix == ".wav" else "mp4"


def _find(videos: Sequence[Path], out: Path) -> list[_Found]:
    found: dict[Path, _Found] = {}
    for video in videos:
        for item in _walk(video, out) if video.is_dir() else [_Found(video, Path(video.name))]:
            # A video that is given twice is done once.
            found.setdefault(_absolute(item.source), item)
    return list(found.values())


def _walk(folder: Path, out: Path) -> list[_Found]:
    """Return the videos below a folder; where there is none, the folder itself."""
    skipped = os.path.realpath(out)
    found = []
    for place, folders, names in os.walk(folder):
        # Music that was made for these videos, as .mp4, is no new video; OUT may be V itself.
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and os.path.realpath(Path(place, name)) != skipped
        )
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in _VIDEO_SUFFIXES and not name.startswith("."):
                found.append(_Found(path, path.relative_to(folder)))
    return found or [_Found(folder, Path(folder.resolve().name or "folder"))]


def _names(found: Sequence[_Found]) -> list[Path]:
    """Return names without suffix, no two alike."""
    names = [item.name.with_suffix("") for item in found]
    for widen in (_with_folders, _with_suffix):
        clashing = {key for key, count in Counter(map(_folded, names)).items() if count > 1}
        if not clashing:
            break
        longer = widen(found, names)
        names = [
            long if _folded(name) in clashing else name
            for name, long in zip(names, longer, strict=True)
        ]
    return _numbered(names)


def _numbered(names: Sequence[Path]) -> list[Path]:
    """Return the names with a number behind each that still is another's: `a.mp4`, `a.mp4-2`."""
    taken: set[str] = set()
    unlike = []
    for name in names:
        number, new = 1, name
        while _folded(new) in taken:
            number += 1
            new = name.with_name(f"{name.name}-{number}")
        taken.add(_folded(new))
        unlike.append(new)
    return unlike


def _with_folders(found: Sequence[_Found], names: Sequence[Path]) -> list[Path]:
    """Return the names with the folders below the one that all videos share."""
    absolute = [_absolute(item.source) for item in found]
    root = Path(os.path.commonpath([path.parent for path in absolute]))
    return [path.relative_to(root).with_suffix("") for path in absolute]


def _with_suffix(found: Sequence[_Found], names: Sequence[Path]) -> list[Path]:
    """Return the names with the videos' own suffixes, `a.mov` beside `a.mp4`."""
    return [
        name.with_name(name.name + item.source.suffix)
        for item, name in zip(found, names, strict=True)
    ]


def _absolute(path: Path) -> Path:
    # Not `resolve`: a link keeps the name and place that it has.
    return Path(os.path.abspath(path))  # noqa: PTH100


def _folded(name: Path) -> str:
    # Two names that differ in case only are one file on many systems.
    return str(name).casefold()
