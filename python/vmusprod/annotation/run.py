"""Annotate all songs of folders, in threads: the work is in Rust, without the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from vmusprod import __version__
from vmusprod.annotation.metadata import Metadata, load_metadata
from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.song import annotate, to_json
from vmusprod.annotation.sources import is_song, read_source
from vmusprod.annotation.store import FACTS, JAMS, checksum, read_facts, write_song
from vmusprod.annotation.tables import open_tables, printable
from vmusprod.annotation.walk import Found, walk_songs
from vmusprod.batch.pool import cores
from vmusprod.batch.work import Progress
from vmusprod.errors import InputError, OutputError, VmusError

__all__ = ["Outcome", "Summary", "annotate_folder"]

_AHEAD = 8  # songs in flight, a worker
_CHUNK = 16  # songs a task of a cluster


@dataclass(frozen=True)
class Outcome:
    """What became of one song: its facts or why there are none."""

    path: str
    folder: Path
    facts: dict[str, Any] | None
    reason: str | None = None
    was_done: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return the facts with `output` and `error`."""
        output = None if self.facts is None else printable(self.folder)
        return {**(self.facts or {"path": self.path}), "output": output, "error": self.reason}


@dataclass
class Summary:
    """How many songs were annotated, and were so before; paths and reasons of those that failed."""

    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)


def annotate_folder(
    inputs: Sequence[Path],
    out: Path,
    options: AnnotateOptions,
    *,
    table: Path | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    ray: str | None = None,
    report: Callable[[Outcome, float], None] | None = None,
) -> Summary:
    """Annotate the songs in files and folders into a folder `out`.

    A song that was annotated with the same settings, from the same bytes, is left as it is unless
    `overwrite`. `jobs`: threads, as many as cores if not given. `ray`: the address of a Ray cluster
    (`batch.cluster`) that does the work instead. `report` is told of each song, in
    order, with the share that is done.

    Raises InputError: no such input, no songs in it, an unusable table; OutputError where `out`
    cannot be written to; MissingDependencyError, VmusError where there is no Ray or no cluster.
    """
    metadata = load_metadata(table)
    total = sum(1 for _ in walk_songs(inputs, out, is_song))
    if not total:
        raise InputError(inputs[0], "no MIDI files or recordings in it")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(out, error) from error
    work = _Work(out, options, metadata, overwrite)
    summary = Summary()
    number = 0
    with open_tables(out, metadata.columns) as tables:
        songs = walk_songs(inputs, out, is_song)
        outcomes = (
            _ordered(work, songs, jobs or cores()) if ray is None else _spread(work, songs, ray)
        )
        for outcome in outcomes:
            number += 1
            if outcome.facts is None:
                reason = outcome.reason or ""
                summary.failed.append((outcome.path, reason))
                tables.fail(outcome.path, reason)
            else:
                summary.kept += outcome.was_done
                summary.done += not outcome.was_done
                tables.add(outcome.facts)
            if report is not None:
                report(outcome, min(number / total, 1.0))
    return summary


@dataclass(frozen=True)
class _Work:
    """What is the same for all songs."""

    out: Path
    options: AnnotateOptions
    metadata: Metadata
    overwrite: bool

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The options as every annotation.json tells them."""
        return self.options.to_dict()

    def song(self, found: Found) -> Outcome:
        """Annotate one song. Never raises but for an interrupt."""
        path = printable(found.path)
        folder = self.out / found.name
        try:
            head = {
                "path": path,
                "folder": printable(found.name),
                "vmus": __version__,
                "settings": self.settings,
                "source": checksum(found.source),
                "metadata": self.metadata.of(found.path),
            }
            if not self.overwrite:
                old = read_facts(folder)
                if old is not None and all(old.get(name) == value for name, value in head.items()):
                    return Outcome(path, folder, old, was_done=True)
            facts = self._make(found, folder, head)
        except VmusError as error:
            reason = getattr(error, "cause", None) or str(error)
            return Outcome(path, folder, None, reason)
        except OSError as error:
            return Outcome(path, folder, None, error.strerror or str(error))
        except MemoryError:
            return Outcome(path, folder, None, "out of memory")
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            return Outcome(path, folder, None, f"internal error: {told}")
        return Outcome(path, folder, facts)

    def _make(self, found: Found, folder: Path, head: dict[str, Any]) -> dict[str, Any]:
        song = annotate(read_source(found.source, self.options), self.options)
        facts = {**head, **song.facts, "chords_from": self.options.chords}
        files = dict(song.files)
        if self.options.jams:
            from vmusprod.annotation.jams import jams_bytes

            files[JAMS] = jams_bytes(song, facts)
        files[FACTS] = to_json(facts)
        write_song(folder, files)
        return facts


def _ordered(work: _Work, songs: Iterator[Found], jobs: int) -> Iterator[Outcome]:
    """Outcomes in the order of the songs, a bounded number of them ahead."""
    waiting: deque[Future[Outcome]] = deque()
    with _pool(jobs) as pool:
        for found in songs:
            waiting.append(pool.submit(work.song, found))
            if len(waiting) >= _AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


class _Chunk:
    """Some songs at a time: one takes too little time for a task of its own."""

    def __init__(self, work: _Work) -> None:
        self.work = work

    def __call__(self, item: tuple[Found, ...], progress: Progress) -> list[Outcome]:
        return [self.work.song(found) for found in item]

    def lost(self, item: tuple[Found, ...], cause: str) -> list[Outcome]:
        out = self.work.out
        return [Outcome(printable(f.path), out / f.name, None, cause) for f in item]


def _spread(work: _Work, songs: Iterator[Found], address: str) -> Iterator[Outcome]:
    """Outcomes in the order of the songs, from a Ray cluster."""
    from vmusprod.batch.cluster import run_on_cluster

    chunks = list(iter(lambda: tuple(islice(songs, _CHUNK)), ()))
    for outcomes in run_on_cluster(_Chunk(work), chunks, address):
        yield from outcomes


@contextmanager
def _pool(jobs: int) -> Iterator[ThreadPoolExecutor]:
    """Threads; on an error or an interrupt what has not begun never does."""
    pool = ThreadPoolExecutor(jobs)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()
