"""Features by content: a video that was looked at once need not be decoded again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from vmusprod.errors import InputError, OutputError
from vmusprod.files import cache_dir
from vmusprod.video.decode import open_video
from vmusprod.video.features import VideoFeatures, extract_features

__all__ = ["FEATURE_VERSION", "load_features"]

# Part of every cache entry's name: raise it whenever the same video gives other features.
FEATURE_VERSION = 1


def load_features(
    path: str | os.PathLike[str],
    cache: bool = True,
    progress: Callable[[float], None] | None = None,
) -> VideoFeatures:
    """Return the features of a video, or those in a feature file (.npz).

    With `cache`, features are kept under `cache_dir()/features`, named by the video's content
    (BLAKE2b), so that renaming or moving a video changes nothing; an unreadable entry is computed
    again, and a cache that cannot be written is mentioned in `warnings` only. `progress` is told
    the fraction done, 0..1.

    Raises InputError: neither a readable video nor a sound feature file.
    """
    source = Path(path)
    if source.suffix.lower() == ".npz":
        features = VideoFeatures.load(source)
    elif cache:
        features = _cached(source, progress)
    else:
        return extract_features(source, progress)
    if progress is not None:
        progress(1.0)
    return features


def _cached(source: Path, progress: Callable[[float], None] | None) -> VideoFeatures:
    # Says what is wrong with a folder, an empty or a foreign file before gigabytes are hashed.
    open_video(source)[0].close()
    entry = cache_dir() / "features" / f"{_digest(source)}-v{FEATURE_VERSION}.npz"
    try:
        return VideoFeatures.load(entry)
    except InputError:
        features = extract_features(source, progress)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        features.save(entry)
    except (OSError, OutputError) as error:
        cause = error.cause if isinstance(error, OutputError) else error.strerror
        note = f"features were not kept in {entry.parent} ({cause})"
        return dataclasses.replace(features, warnings=(*features.warnings, note))
    return features


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    except OSError as error:
        raise InputError(path, error) from error
