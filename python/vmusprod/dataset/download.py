"""Videos and sound from URLs, by yt-dlp; nothing here runs unless `--download` asks for it."""

from __future__ import annotations

import contextlib
import importlib
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from vmusprod.errors import InputError, MissingDependencyError, OutputError

__all__ = ["check_downloads", "download", "is_url"]

# One file each, so that no ffmpeg is needed to put sound and picture together. The picture is
# looked at in small, so that 480 lines are enough.
_FORMATS = {
    "sound": "bestaudio[ext=m4a]/bestaudio/best",
    "picture": "bestvideo[height<=480][ext=mp4]/bestvideo[height<=480]/best[height<=480]/best",
}
_MAX_BYTES = 2 << 30


def is_url(text: str) -> bool:
    """Whether a cell names something on the web rather than a file."""
    return urlsplit(text).scheme in ("http", "https")


def check_downloads() -> None:
    """Raise MissingDependencyError without yt-dlp."""
    _load()


def download(url: str, folder: Path, name: str, kind: str) -> Path:
    """Download the `sound` or the `picture` of a URL to `folder` / `name`, and its own suffix.

    What is there already is not downloaded again. Raises InputError with what yt-dlp says,
    OutputError, MissingDependencyError.
    """
    if (there := next(iter(sorted(folder.glob(f"{name}.*"))), None)) is not None:
        return there
    module = _load()
    try:
        # Whole or not at all: the file moves into its place when it is complete.
        with tempfile.TemporaryDirectory(prefix=".vmus-", dir=folder) as part:
            _fetch(module, url, str(Path(part) / f"{name}.%(ext)s"), kind)
            found = sorted(path for path in Path(part).iterdir() if path.suffix != ".part")
            if not found:
                raise InputError(url, "nothing could be downloaded")
            return found[0].replace(folder / found[0].name)
    except OSError as error:
        raise OutputError(folder, error) from error


def _fetch(module: ModuleType, url: str, template: str, kind: str) -> None:
    options = {
        "format": _FORMATS[kind],
        "outtmpl": template,
        "noplaylist": True,
        "playlist_items": "1",
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "logger": _Silent(),
        "max_filesize": _MAX_BYTES,
        "retries": 3,
        "socket_timeout": 30,
    }
    try:
        with module.YoutubeDL(options) as loader:
            loader.extract_info(url, download=True)
    # Beside its own DownloadError, extractors let errors of all kinds through.
    except Exception as error:
        said = " ".join(str(error).split()).removeprefix("ERROR: ")
        raise InputError(url, said[:200] or type(error).__name__) from error


def _load() -> ModuleType:
    with contextlib.suppress(ImportError):
        return importlib.import_module("yt_dlp")
    raise MissingDependencyError("downloads need yt-dlp: pip install 'vmusprod[yt-dlp]'")


class _Silent:
    """Errors come as exceptions; yt-dlp would print them, too."""

    def debug(self, message: Any) -> None:
        """Say nothing."""

    info = warning = error = debug
