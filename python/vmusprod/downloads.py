"""Weights too large for the package: fetched when asked for, checked, kept in the cache."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vmusprod.errors import OutputError, VmusError
from vmusprod.files import atomic_output, cache_dir

__all__ = ["CLIP", "MODELS", "TAGGER", "Download", "DownloadError", "fetch", "fetched"]

_BLOCK = 1 << 20
_TIMEOUT = 30.0


class DownloadError(VmusError):
    """Something could not be fetched; the message says what to do without a network."""


@dataclass(frozen=True)
class Download:
    """name: as in `vmus models fetch`; file: its name in the cache; size in bytes, about."""

    name: str
    file: str
    url: str
    sha256: str
    size: int


CLIP = Download(
    "clip",
    "ViT-L-14-336px.pt",
    "https://openaipublic.azureedge.net/clip/models/"
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02/ViT-L-14-336px.pt",
    "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02",
    934_088_680,
)
TAGGER = Download(
    "tagger",
    "mtat-musicnn.pth",
    "https://raw.githubusercontent.com/minzwon/sota-music-tagging-models/"
    "1f4d282693ac19cde4d30b86811fe0ae2452f406/models/mtat/musicnn/best_model.pth",
    "690ace3bb5d49d90dd38fe3ec05a1185350b3bc3742bd7ee941f56b649b2c893",
    3_257_172,
)
MODELS = {model.name: model for model in (CLIP, TAGGER)}


def place(model: Download) -> Path:
    """Return where the file lies, or would."""
    return cache_dir() / "models" / model.file


def fetched(model: Download) -> Path | None:
    """Return the file if it is there; `fetch` checked it when it came."""
    path = place(model)
    return path if path.is_file() else None


def fetch(model: Download, progress: Callable[[float], None] | None = None) -> Path:
    """Fetch a file into the cache, whole and checked or not at all; return its path.

    One that is there already is checked and kept. `progress` is told the fraction done, 0..1.
    Raises DownloadError: no network, another content than expected; OutputError: the cache cannot
    be written.
    """
    path = place(model)
    if path.is_file() and _digest(path) == model.sha256:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(path.parent, error) from error
    with atomic_output(path) as part:
        found = _download(model, part, progress)
        if found != model.sha256:
            raise DownloadError(f"{model.url}: damaged on the way (its SHA-256 is {found})")
    return path


def _download(model: Download, part: Path, progress: Callable[[float], None] | None) -> str:
    """Write the file to `part`; return its SHA-256."""
    digest = hashlib.sha256()
    done = 0
    try:
        with urllib.request.urlopen(model.url, timeout=_TIMEOUT) as answer:
            total = int(answer.headers.get("Content-Length") or model.size)
            with part.open("wb") as file:
                while block := answer.read(_BLOCK):
                    digest.update(block)
                    try:
                        file.write(block)
                    except OSError as error:
                        raise OutputError(place(model), error) from error
                    done += len(block)
                    if progress is not None:
                        progress(min(done / max(total, 1), 1.0))
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        cause = getattr(error, "reason", None) or error
        raise DownloadError(
            f"{model.url} cannot be fetched ({cause}); without a network bring the file from "
            f"elsewhere: save it as {os.fspath(place(model))}, or give its path with --{model.name}"
        ) from error
    return digest.hexdigest()


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OutputError(path, error) from error
