"""A batch on a Ray cluster: items are tasks, done again elsewhere when a machine is lost.

Every machine needs vmus installed, and sees inputs and outputs under the same names: a shared
folder, or URLs (`batch.urls`).
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from vmusprod.batch.work import ItemProgress, Progress, Work
from vmusprod.errors import MissingDependencyError, VmusError

__all__ = ["run_on_cluster"]

T = TypeVar("T")
R = TypeVar("R")

RETRIES = 4
"""How often an item is begun again whose machine or process is lost."""
_AHEAD = 2  # tasks a core in flight: enough to keep it busy, few enough to keep memory bounded
_CONNECT = 10.0  # seconds
_POLL = 0.5  # seconds between looks at the progress


def run_on_cluster(
    work: Work[T, R], items: Sequence[T], address: str, progress: ItemProgress | None = None
) -> Iterator[R]:
    """Yield what becomes of each item, in order. `address`: `auto`, `host:port`, `ray://...`.

    Raises MissingDependencyError without Ray, VmusError when the cluster cannot be reached.
    """
    ray = _ray()
    connected = not ray.is_initialized()
    if connected:
        try:
            _check_port(address)
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (OSError, RuntimeError, ValueError) as error:
            told = " ".join(str(error).split())[:200]
            raise VmusError(f"no Ray cluster at {address}: {told}") from error
    try:
        yield from _Cluster(ray, work, items, progress).run()
    finally:
        if connected:
            ray.shutdown()


def _check_port(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself would try for five minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT).close()


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        cause = "Ray is missing, which spreads work over machines: pip install 'vmusprod[ray]'"
        raise MissingDependencyError(cause) from error
    return ray


class _Cluster:
    def __init__(
        self, ray: Any, work: Work[Any, Any], items: Sequence[Any], progress: ItemProgress | None
    ) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._ray = ray
        self._work = work
        self._items = items
        self._progress = progress
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(num_cpus=0, scheduling_strategy=here)(_Board).remote()
        self._task = ray.remote(num_cpus=1, max_retries=RETRIES)(_do)
        self._about = ray.put((uuid.uuid4().hex, str(Path.cwd()), work))

    def run(self) -> Iterator[Any]:
        ray, waiting = self._ray, iter(range(len(self._items)))
        running: dict[Any, int] = {}
        done: dict[int, Any] = {}
        try:
            for place in range(len(self._items)):
                while place not in done:
                    self._fill(running, waiting)
                    ready, _ = ray.wait(list(running), timeout=_POLL)
                    for task in ready:
                        done[running[task]] = self._fetch(task, running[task])
                        del running[task]
                    self._show()
                yield done.pop(place)
        finally:
            for task in running:
                ray.cancel(task, force=False)
            ray.kill(self._board)

    def _fill(self, running: dict[Any, int], waiting: Iterator[int]) -> None:
        cores = int(self._ray.cluster_resources().get("CPU", 1))
        while len(running) < _AHEAD * max(cores, 1) and (place := next(waiting, None)) is not None:
            item = self._items[place]
            task = self._task.remote(self._about, place, item, self._board)
            running[task] = place

    def _fetch(self, task: Any, place: int) -> Any:
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            told = " ".join(str(error).split())[:200]
            cause = f"lost on the cluster: {type(error).__name__}: {told}"
            return self._work.lost(self._items[place], cause)

    def _show(self) -> None:
        if self._progress is None:
            return
        for place, (what, fraction) in self._ray.get(self._board.take.remote()).items():
            self._progress(place, what, fraction)


class _Board:
    """Where the tasks say how far they are; lives beside the driver."""

    def __init__(self) -> None:
        self._news: dict[int, tuple[str, float]] = {}

    def tell(self, place: int, what: str, fraction: float) -> None:
        self._news[place] = what, fraction

    def take(self) -> dict[int, tuple[str, float]]:
        news, self._news = self._news, {}
        return news


_loaded: dict[str, Work[Any, Any]] = {}


def _do(about: tuple[str, str, Work[Any, Any]], place: int, item: Any, board: Any) -> Any:
    """Do one item in whatever process Ray chose; models stay loaded there for the next one."""
    name, folder, work = about
    if name not in _loaded:
        os.chdir(folder)  # paths are said from where the command was given
        _loaded.clear()
        _loaded[name] = work
    return _loaded[name](item, _teller(board, place))


def _teller(board: Any, place: int) -> Progress:
    import time

    last = 0.0

    def tell(what: str, fraction: float) -> None:
        nonlocal last
        if time.monotonic() - last > _POLL:
            last = time.monotonic()
            board.tell.remote(place, what, fraction)

    return tell
