"""Batches: how many at once, where, and one bar for all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from vmus.console import Console

Told = Callable[[str, float], None]
Jobs = Annotated[
    int | None,
    typer.Option(
        "-j",
        "--jobs",
        min=1,
        envvar="VMUS_JOBS",
        show_envvar=True,
        help="So many files at once [one a core; a GPU: one].",
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Spread the files over a Ray cluster: auto, host:port."),
]


def run_batch(
    show: Console,
    work: Any,
    items: Sequence[Any],
    names: Sequence[str],
    jobs: int | None,
    ray: str | None = None,
    device: str = "cpu",
    heard: Callable[[Told], Told] | None = None,
) -> Iterator[Any]:
    """Yield the results of `work` for all items, in order, with one progress bar for all.

    `heard` wraps what is told of the progress, to measure it; then nothing leaves this process.
    """
    from vmusprod.batch.pool import cores, run_many

    if heard is not None:
        jobs, ray = 1, None
    with _bar(show, names) as bar:
        tell = bar if heard is None else _through(heard, bar)
        if ray is not None:
            from vmusprod.batch.cluster import run_on_cluster

            results = run_on_cluster(work, items, ray, tell)
        else:
            results = run_many(work, items, jobs or (cores() if device == "cpu" else 1), tell)
        for place, result in enumerate(results):
            bar(place, "done", 1.0)
            yield result


def _through(
    heard: Callable[[Told], Told], bar: Callable[[int, str, float], None]
) -> Callable[[int, str, float], None]:
    at = 0
    listening = heard(lambda what, done: bar(at, what, done))

    def tell(place: int, what: str, done: float) -> None:
        nonlocal at
        at = place
        listening(what, done)

    return tell


@contextmanager
def _bar(show: Console, names: Sequence[str]) -> Iterator[Callable[[int, str, float], None]]:
    if len(names) == 1:
        with show.progress(names[0]) as progress:
            yield lambda place, what, done: progress(what, done)
        return
    at: dict[int, tuple[str, float]] = {}
    with show.progress(f"{len(names)} files") as progress:

        def tell(place: int, what: str, done: float) -> None:
            at[place] = what, 0.0 if math.isnan(done) else done
            over = sum(what == "done" for what, _ in at.values())
            busy = [f"{names[i]} ({what})" for i, (what, _) in at.items() if what != "done"]
            # A file counts when it is done, as its stages are told one after the other.
            progress(f"{over} done; {', '.join(busy[:3])}", over / len(names))

        yield tell
