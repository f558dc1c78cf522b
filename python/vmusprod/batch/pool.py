"""A batch on the cores of this machine: one process a core, none of which can take the rest along.

Processes and not threads: a decoder that crashes on a broken video takes only its own item with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from vmusprod.batch.work import ItemProgress, Work

__all__ = ["cores", "run_many"]

T = TypeVar("T")
R = TypeVar("R")

TRIES = 2
"""How often an item is begun whose process dies."""
_GRACE = 10.0  # seconds that a process gets to clean up
# Forked processes would inherit locks that other threads of torch or FFmpeg hold.
_context = multiprocessing.get_context("spawn")


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_many(
    work: Work[T, R], items: Sequence[T], workers: int, progress: ItemProgress | None = None
) -> Iterator[R]:
    """Yield what becomes of each item, in order, whatever the order they are done in.

    With one worker, or one item, nothing leaves this process. Else an item whose process dies is
    tried once more in a new one. When the generator is closed, or Ctrl-C comes, the processes are
    interrupted, so that they take back what is half written.

    Raises ValueError for less than one worker.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    tell = progress or _silent
    if min(workers, len(items)) <= 1:
        for place, item in enumerate(items):
            yield work(item, partial(tell, place))
        return
    pool = _Pool(work, items, min(workers, len(items)), tell)
    try:
        yield from pool.run()
    finally:
        pool.stop()


def _silent(place: int, what: str, done: float) -> None:
    del place, what, done


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    place: int | None = None
    """The item that it is at."""


class _Pool:
    def __init__(
        self, work: Work[Any, Any], items: Sequence[Any], workers: int, tell: ItemProgress
    ) -> None:
        self._work = work
        self._items = items
        self._tell = tell
        self._threads = max(1, cores() // workers)
        self._tries = [0] * len(items)
        self._waiting = list(reversed(range(len(items))))
        self._done: dict[int, Any] = {}
        self._workers: list[_Worker] = []
        for _ in range(workers):
            self._start()

    def run(self) -> Iterator[Any]:
        for place in range(len(self._items)):
            while place not in self._done:
                self._turn()
            yield self._done.pop(place)

    def stop(self) -> None:
        """Interrupt what is going on, and wait for the processes to end."""
        for worker in self._workers:
            with contextlib.suppress(OSError):
                worker.pipe.send(None)
            if worker.place is not None and worker.process.pid is not None:
                with contextlib.suppress(OSError):
                    os.kill(worker.process.pid, signal.SIGINT)
        for worker in self._workers:
            worker.process.join(_GRACE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers = []

    def _start(self) -> None:
        ours, theirs = _context.Pipe()
        process = _context.Process(
            target=_serve, args=(theirs, self._work, self._threads), daemon=True
        )
        with _no_interrupts():  # the child is born with them held back, until it can handle them
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        worker.place = self._waiting.pop() if self._waiting else None
        if worker.place is None:
            return
        self._tries[worker.place] += 1
        with contextlib.suppress(OSError):  # dead already: its end is read in the next turn
            worker.pipe.send((worker.place, self._items[worker.place]))

    def _turn(self) -> None:
        """Wait for news from the workers, and act on it."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe)):
            assert isinstance(pipe, Connection)
            worker = by_pipe[pipe]
            try:
                kind, *rest = pipe.recv()
            except (EOFError, OSError):
                self._bury(worker)
                continue
            if kind == "progress":
                self._tell(*rest)
                continue
            place, value = rest
            self._done[place] = (
                value if kind == "done" else self._work.lost(self._items[place], value)
            )
            self._give(worker)

    def _bury(self, worker: _Worker) -> None:
        """Replace a process that died, and try its item again."""
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()
        place = worker.place
        if place is not None and self._tries[place] < TRIES:
            self._waiting.append(place)
        elif place is not None:
            cause = f"its process died ({_how(worker.process.exitcode)})"
            self._done[place] = self._work.lost(self._items[place], cause)
        if self._waiting:
            self._start()


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back for the block."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Starting it lets interrupts through again: it must not start within the block.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _how(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(pipe: Connection, work: Work[Any, Any], threads: int) -> None:
    """Do items until there are no more: the worker's whole life."""
    # torch and BLAS read it when they are loaded, which is later.
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while (given := pipe.recv()) is not None:
            pipe.send(_answer(pipe, work, *given))
    except (KeyboardInterrupt, EOFError, OSError):
        return  # Ctrl-C, or the main process is gone: nobody is there to be told


def _answer(pipe: Connection, work: Work[Any, Any], place: int, item: Any) -> tuple[str, int, Any]:
    def tell(what: str, done: float) -> None:
        pipe.send(("progress", place, what, done))

    try:
        return "done", place, work(item, tell)
    except Exception as error:
        told = " ".join(str(error).split())[:200]
        return "failed", place, f"internal error: {type(error).__name__}: {told}"
