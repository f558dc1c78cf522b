"""Where time and memory go: what `vmus generate --profile` prints.

Listens to the progress that every step tells anyway, so that nothing has to be measured twice.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["Profile", "peak_memory", "process_age"]

Progress = Callable[[str, float], None]
START = "starting"


def peak_memory() -> int:
    """Return the most memory that this process has held so far, in bytes; 0 where unknown."""
    try:
        # Where there is one: getrusage counts what the parent held before this program began.
        text = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return int(text.partition("VmHWM:")[2].split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def process_age() -> float:
    """Return the seconds since this process began, 0 where the system does not tell."""
    try:
        text = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace")
        ticks = int(text.rpartition(")")[2].split()[19])
        return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0


class Profile:
    """Seconds of wall and processor time, and memory, by phase, added up over all videos.

    A phase lasts from its first word of progress to the next phase's.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.busy: dict[str, float] = {}
        self.peak: dict[str, int] = {}
        self._phase = START
        self._since = time.monotonic() - process_age()
        self._busy_since = 0.0

    def listen(self, progress: Progress) -> Progress:
        """Return a progress that is timed and passed on."""

        def tell(what: str, done: float) -> None:
            if what != self._phase:
                self._close(what)
            progress(what, done)

        return tell

    def table(self) -> Iterator[str]:
        """Yield the lines of a table: phase, seconds, share, busy cores, peak memory."""
        self._close(START)
        total = sum(self.seconds.values())
        yield f"{'phase':24}{'seconds':>9}{'share':>8}{'cores':>7}{'peak MB':>9}"
        for phase, seconds in self.seconds.items():
            cores = self.busy[phase] / max(seconds, 1e-9)
            megabytes = self.peak[phase] / 1e6
            share = 100 * seconds / max(total, 1e-9)
            yield f"{phase:24}{seconds:9.2f}{share:7.1f}%{cores:7.2f}{megabytes:9.0f}"
        yield f"{'all':24}{total:9.2f}{100:7.1f}%{'':7}{peak_memory() / 1e6:9.0f}"

    def _close(self, following: str) -> None:
        now, busy = time.monotonic(), time.process_time()
        phase = self._phase
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self._since
        self.busy[phase] = self.busy.get(phase, 0.0) + busy - self._busy_since
        self.peak[phase] = peak_memory()
        self._phase, self._since, self._busy_since = following, now, busy
