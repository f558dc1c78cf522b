"""What all commands share: lines on stderr, results on stdout, progress, and how errors end."""

from __future__ import annotations

import io
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

__all__ = ["Console", "end_batch", "prepare_streams", "report_errors", "result", "say", "set_debug"]

INTERRUPTED = 130
FAILED = 1
WRONG_USAGE = 2

_debug = False


def set_debug(on: bool) -> None:
    """Choose whether unexpected errors keep their traceback."""
    global _debug
    _debug = on


def debugging() -> bool:
    """Whether unexpected errors keep their traceback."""
    return _debug


def prepare_streams() -> None:
    """Let file names of any bytes through, and have SIGTERM clean up as Ctrl-C does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def say(line: str) -> None:
    """Print a line on stderr."""
    print(line, file=sys.stderr, flush=True)


def result(line: str) -> None:
    """Print a line on stdout, at once: a script may wait for it."""
    print(line, flush=True)


def end_batch(failed: Sequence[str], total: int) -> None:
    """Name what failed of a batch, and end the command with FAILED if anything did."""
    if failed and total > 1:
        say(f"vmus: {len(failed)} of {total} failed: {', '.join(failed)}")
    if failed:
        raise typer.Exit(FAILED)


@contextmanager
def report_errors() -> Iterator[None]:
    """End a command with one line and the right exit code, whatever goes wrong within."""
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        say("vmus: interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read stdout has gone; closing it at exit must not complain again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(FAILED) from None
    except Exception as error:
        if _debug:
            raise
        if _is(error, "vmusprod.jobs", "OptionError"):
            say(f"vmus: {error}")
            raise typer.Exit(WRONG_USAGE) from None
        if _is(error, "vmusprod.errors", "VmusError"):
            say(f"vmus: {error}")
        elif isinstance(error, OSError) and error.filename is not None:
            say(f"vmus: {error.filename}: {error.strerror}")
        else:
            told = " ".join(str(error).split())[:200]
            say(f"vmus: internal error: {type(error).__name__}: {told}")
            say("vmus: this should not happen; `vmus --debug ...` shows where it did")
        raise typer.Exit(FAILED) from None


def _is(error: Exception, module: str, name: str) -> bool:
    """Whether an error is of a class that may not even be loaded."""
    # Importing here could fail for the very reason that is to be told, a broken installation.
    kind = getattr(sys.modules.get(module), name, ())
    return isinstance(error, kind)


class Console:
    """Progress on stderr: a bar that goes away where it is a terminal, nothing elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def line(self, text: str) -> None:
        """Print a short line on stderr, unless quiet."""
        if not self.quiet:
            say(text)

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[str, float], None]]:
        """Yield a function that is told what is being done and the fraction, 0..1 or nan."""
        if self.quiet or not sys.stderr.isatty():
            yield _ignore
            return
        from rich.console import Console as RichConsole
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=RichConsole(stderr=True),
            transient=True,
            # Else what goes to stdout would come out on stderr.
            redirect_stdout=False,
            redirect_stderr=False,
        )
        name = escape(title.encode(errors="replace").decode())
        with bar:
            task = bar.add_task(name, total=None)

            def show(what: str, done: float) -> None:
                total = None if math.isnan(done) else 1.0
                bar.update(task, description=f"{name}: {escape(what)}", completed=done, total=total)

            yield show


def _ignore(what: str, done: float) -> None:
    del what, done
