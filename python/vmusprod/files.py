"""Output files that appear whole or not at all, and the user's cache folder."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmusprod.errors import OutputError

__all__ = ["atomic_output", "cache_dir"]


@contextmanager
def atomic_output(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to, which becomes `path` when the block ends well.

    The yielded path names an empty hidden file in the same folder and with the same suffix. It is
    renamed onto `path` on success, and removed on any exception, KeyboardInterrupt included, so
    that `path` is never half written and an older file there survives a failure.

    Raises OutputError(path, cause) for whatever the system refuses: no such folder, no permission,
    full disk, `path` is a folder. Other exceptions pass through.
    """
    target = Path(path)
    try:
        # Renaming onto a link would replace the link; what it points to is meant.
        final = Path(os.path.realpath(target))
        _check_target(target, final)
        temporary = _new_file(final)
    except OSError as error:
        raise OutputError(target, error) from error
    try:
        try:
            yield temporary
            temporary.replace(final)
        except OSError as error:
            raise OutputError(target, error) from error
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def cache_dir() -> Path:
    """Return the folder for what can be computed again: $VMUS_CACHE, else the system's place.

    The folder need not exist yet.
    """
    if chosen := os.environ.get("VMUS_CACHE"):
        return Path(chosen)
    try:
        home = Path.home()
    except RuntimeError:  # no home at all, as in some containers
        return Path(tempfile.gettempdir()) / "vmus-cache"
    if sys.platform == "darwin":
        return home / "Library" / "Caches" / "vmus"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else home / "AppData" / "Local") / "vmus" / "Cache"
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative values ignored.
    return (Path(xdg) if Path(xdg).is_absolute() else home / ".cache") / "vmus"


def _check_target(target: Path, final: Path) -> None:
    if not final.parent.is_dir():
        raise OutputError(target, f"no such folder: {target.parent}")
    if final.is_dir():
        raise OutputError(target, "is a folder")
    if final.exists() and not final.is_file():
        # Renaming onto /dev/null, say, would replace the device.
        raise OutputError(target, "not a regular file")
    if final.exists() and not os.access(final, os.W_OK):
        raise OutputError(target, "read-only file")


def _new_file(final: Path) -> Path:
    """Create an empty hidden file beside `final`, with the permissions it has or would get."""
    temporary = final.with_name(f".vmus-{secrets.token_hex(6)}{final.suffix}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    if final.exists():
        temporary.chmod(final.stat().st_mode & 0o777)
    return temporary
