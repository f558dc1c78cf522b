"""`vmus generate` as a batch: the models are loaded once a process, results may go to a URL."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmusprod.batch.work import Progress
from vmusprod.errors import MissingDependencyError
from vmusprod.generate import Generator, Result
from vmusprod.jobs import Job, OptionError, Options

__all__ = ["Destination", "MusicWork", "UploadedMusic", "check_url"]

# Stands for the URL while it is found out which files there will be.
_ROOT = Path(tempfile.gettempdir()) / "vmus-no-such-folder"


class MusicWork:
    """Makes one video's files. The parameters are those of `Generator`."""

    def __init__(self, options: Options, inputs: Sequence[Path] = ()) -> None:
        self.options = options
        self.inputs = tuple(inputs)
        self._generator: Generator | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded models behind: every process has its own."""
        return {**self.__dict__, "_generator": None}

    def __call__(self, item: Job, progress: Progress) -> Result:
        """Make the files of one job; its faults are in the result."""
        if self._generator is None:
            self._generator = Generator(self.options, self.inputs)
        return self._generator.run(item, progress)

    def lost(self, item: Job, cause: str) -> Result:
        """Return the failure of a job whose process was lost."""
        nothing = (None,) * 5
        return Result(
            str(item.source), (), *nothing, self.options.seed, 0.0, f"{item.source}: {cause}"
        )


class Destination:
    """Where the files are to go: a path, or a URL that fsspec knows.

    Attributes
    ----------
    out : Path
        The path, or what stands for it in the jobs until they are done.
    stems : Path or None
        The same for the folder of the parts; with a URL it lies below that.
    url : str or None
        The URL of the folder, None for a path.

    Raises OptionError for a URL of an unknown kind, or a `stems` that does not lie below it;
    MissingDependencyError where fsspec lacks what the URL needs.
    """

    def __init__(self, out: str, stems: Path | None = None) -> None:
        self.out, self.stems, self.url = Path(out), stems, None
        scheme, found, _ = out.partition("://")
        if not (found and scheme.isalnum()):
            return
        check_url(out)
        parent, _, name = out.rstrip("/").rpartition("/")
        is_file = bool(Path(name).suffix) and not parent.endswith("/")
        self.url = parent if is_file else out.rstrip("/")
        self.out = _ROOT / name if is_file else _ROOT
        if stems is not None:
            if stems.is_absolute() or ".." in stems.parts:
                raise OptionError(f"{stems}: with a URL, the parts go into a folder below it")
            self.stems = _ROOT / stems

    def around(self, work: MusicWork) -> MusicWork | UploadedMusic:
        """Return work that leaves its files here."""
        return work if self.url is None else UploadedMusic(work, self.url, _ROOT)


class UploadedMusic:
    """The same, with the files put under a URL that fsspec knows, each whole or not at all.

    Parameters
    ----------
    work : MusicWork
        What makes the files, in a passing folder.
    url : str
        Where they go: s3://bucket/music, gs://..., sftp://..., file:///...
    root : Path
        The folder that the jobs' outputs lie in; `url` takes its place.
    """

    def __init__(self, work: MusicWork, url: str, root: Path) -> None:
        self.work = work
        self.url = url.rstrip("/")
        self.root = root

    def __call__(self, item: Job, progress: Progress) -> Result:
        """Make the files of one job and upload them."""
        system, base = check_url(self.url)
        names = [path.relative_to(self.root).as_posix() for path in (item.output, *item.stem_files)]
        try:
            if self.work.options.skip_existing and all(
                system.exists(f"{base}/{name}") for name in names
            ):
                there = tuple(f"{self.url}/{name}" for name in names)
                return replace(self.work.lost(item, ""), outputs=there, error=None, skipped=True)
            with tempfile.TemporaryDirectory(prefix="vmus-") as folder:
                made = self.work(self._moved(item, Path(folder)), progress)
                done = []
                for path in map(Path, made.outputs):
                    name = path.relative_to(folder).as_posix()
                    _upload(system, path, f"{base}/{name}")
                    done.append(f"{self.url}/{name}")
                error = made.error and made.error.replace(f"{folder}/", f"{self.url}/")
                return replace(made, outputs=tuple(done), error=error)
        except OSError as error:  # botocore's and paramiko's are not all, but most come as these
            told = " ".join(str(error).split())[:200] or type(error).__name__
            return self.work.lost(item, f"not uploaded to {self.url} ({told})")

    def lost(self, item: Job, cause: str) -> Result:
        """Return the failure of a job whose process was lost."""
        return self.work.lost(item, cause)

    def _moved(self, job: Job, folder: Path) -> Job:
        output = folder / job.output.relative_to(self.root)
        output.parent.mkdir(parents=True, exist_ok=True)
        stems = None if job.stems is None else folder / job.stems.relative_to(self.root)
        return replace(job, output=output, stems=stems)


def check_url(url: str) -> tuple[Any, str]:
    """Return fsspec's file system for a URL, and the path in it.

    Raises MissingDependencyError without fsspec or what it needs for this kind of URL, OptionError
    for a kind that it does not know.
    """
    try:
        from fsspec.core import url_to_fs

        system, base = url_to_fs(url)
    except ImportError as error:
        cause = " ".join(str(error).split())
        raise MissingDependencyError(f"{url}: {cause} (pip install 'vmusprod[ray]')") from error
    except ValueError as error:
        raise OptionError(f"{url}: {error}") from error
    return system, str(base).rstrip("/")


def _upload(system: Any, path: Path, target: str) -> None:
    system.makedirs(target.rpartition("/")[0], exist_ok=True)
    # In a transaction a file appears when it is whole.
    with system.transaction, path.open("rb") as source, system.open(target, "wb") as sink:
        shutil.copyfileobj(source, sink, 1 << 20)
