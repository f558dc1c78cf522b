"""Features by content: a video that was looked at once need not be decoded again."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from vmusprod.errors import InputError, OutputError
from vmusprod.files import cache_dir
from vmusprod.video.decode import open_video
from vmusprod.video.features import VideoFeatures, extract_features
from vmusprod.video.networks import PictureNetwork
from vmusprod.video.sources import find_networks

__all__ = ["FEATURE_VERSION", "load_features"]

# Part of every cache entry's name: raise it whenever the same video gives other features.
FEATURE_VERSION = 2


def load_features(
    path: str | os.PathLike[str],
    cache: bool = True,
    progress: Callable[[float], None] | None = None,
    clip: Path | None = None,
) -> VideoFeatures:
    """Return the features of a video, or those in a feature file (.npz).

    With `cache`, features are kept under `cache_dir()/features`, named by the video's content
    (BLAKE2b), so that renaming or moving a video changes nothing; an unreadable entry is computed
    again, and a cache that cannot be written is mentioned in `warnings` only. `progress` is told
    the fraction done, 0..1. `clip`: CLIP's weights (`video.sources.find_networks`).

    Raises InputError: neither a readable video nor a sound feature file, or unusable weights;
    MissingDependencyError for `clip` without open_clip.
    """
    source = Path(path)
    if source.suffix.lower() == ".npz":
        features = VideoFeatures.load(source)
    else:
        # Says what is wrong with a folder, an empty or a foreign file before networks are loaded
        # and gigabytes hashed.
        open_video(source)[0].close()
        networks, notes = find_networks(clip)
        if cache:
            features = _cached(source, progress, networks)
        else:
            features = extract_features(source, progress, networks)
        features = _noted(features, *notes)
    if progress is not None:
        progress(1.0)
    return features


def _noted(features: VideoFeatures, *notes: str) -> VideoFeatures:
    return dataclasses.replace(features, warnings=(*features.warnings, *notes))


def _cached(
    source: Path,
    progress: Callable[[float], None] | None,
    networks: Sequence[PictureNetwork],
) -> VideoFeatures:
    # Without a network, or with another one, the same video has other features.
    version = "-".join([f"v{FEATURE_VERSION}", *sorted(network.mark for network in networks)])
    entry = cache_dir() / "features" / f"{_digest(source)}-{version}.npz"
    try:
        return VideoFeatures.load(entry)
    except InputError:
        features = extract_features(source, progress, networks)
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        features.save(entry)
    except (OSError, OutputError) as error:
        cause = error.cause if isinstance(error, OutputError) else error.strerror
        return _noted(features, f"features were not kept in {entry.parent} ({cause})")
    return features


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
    except OSError as error:
        raise InputError(path, error) from error
