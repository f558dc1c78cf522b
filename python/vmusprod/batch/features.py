"""`vmus features` as a batch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from vmusprod.batch.work import Progress
from vmusprod.convert import make_folder, write_features
from vmusprod.errors import InputError, OutputError, VmusError
from vmusprod.jobs import OptionError, named_videos

__all__ = ["FeatureJob", "FeatureResult", "FeatureWork", "plan_features"]


@dataclass(frozen=True)
class FeatureJob:
    """A video, the .npz file to make, and the picture, if one is wanted."""

    source: Path
    output: Path
    plot: Path | None = None


@dataclass(frozen=True)
class FeatureResult:
    """What became of one video; `duration` and `elapsed` in seconds, `error` one line or None."""

    input: str
    outputs: tuple[str, ...]
    duration: float | None
    elapsed: float
    error: str | None
    warnings: tuple[str, ...] = ()
    skipped: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return `input, outputs, duration, elapsed, error`."""
        row = asdict(self)
        return {key: row[key] for key in ("input", "outputs", "duration", "elapsed", "error")}


def plan_features(videos: Sequence[Path], out: Path, plot: Path | None = None) -> list[FeatureJob]:
    """Return a job a video: `out` is a .npz file for one video, else a folder; `plot` goes with it.

    Raises OptionError: no video, several for one file.
    """
    is_one = len(videos) == 1 and not videos[0].is_dir()
    if is_one and not out.is_dir():
        return [FeatureJob(videos[0], out, plot)]
    if out.suffix == ".npz":
        raise OptionError(f"{out}: several videos need a folder to go to, not a file")
    return [
        FeatureJob(
            video,
            out / name.with_name(f"{name.name}.npz"),
            None if plot is None else plot / name.with_name(f"{name.name}.png"),
        )
        for video, name in named_videos(videos, out)
    ]


@dataclass(frozen=True)
class FeatureWork:
    """Looks at one video. make_folders: whether those of the outputs are to be made."""

    cache: bool = True
    clip: Path | None = None
    skip_existing: bool = False
    make_folders: bool = False

    def __call__(self, item: FeatureJob, progress: Progress) -> FeatureResult:
        """Write the files of one job; its faults are in the result."""
        began = time.monotonic()
        files = [item.output] if item.plot is None else [item.output, item.plot]
        if self.skip_existing and all(path.is_file() for path in files):
            names = tuple(map(str, files))
            return FeatureResult(str(item.source), names, None, 0.0, None, skipped=True)
        try:
            if self.make_folders:
                for path in files:
                    make_folder(path.parent)
            found = write_features(
                item.source, item.output, self.cache,
                lambda done: progress("looking at the video", done), self.clip,
            )  # fmt: skip
            if item.plot is not None:
                from vmusprod.video.plot import plot_features

                progress("drawing", float("nan"))
                plot_features(found, item.plot, item.source)
        except (InputError, OutputError) as error:
            return self.lost(item, "", str(error))
        except VmusError as error:
            return self.lost(item, str(error))
        return FeatureResult(
            str(item.source), tuple(map(str, files)), round(found.duration, 6),
            round(time.monotonic() - began, 3), None, tuple(found.warnings),
        )  # fmt: skip

    def lost(self, item: FeatureJob, cause: str, error: str | None = None) -> FeatureResult:
        """Return the failure of a job."""
        told = error if error is not None else f"{item.source}: {cause}"
        return FeatureResult(str(item.source), (), None, 0.0, told)
