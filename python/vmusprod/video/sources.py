"""Which networks look at a video on this machine: none is needed, and none is fetched unasked."""

from __future__ import annotations

from pathlib import Path

from vmusprod.errors import MissingDependencyError
from vmusprod.video.affect import AffectNetwork
from vmusprod.video.networks import PictureNetwork

__all__ = ["find_networks"]


def find_networks(clip: Path | None = None) -> tuple[list[PictureNetwork], list[str]]:
    """The networks at hand, and a line for each that should be there but is not.

    clip: CLIP's weights; None: those that `vmus models fetch clip` left in the cache, if any.
    Raises InputError for weights that cannot be used, MissingDependencyError where `clip` is given
    but open_clip is not installed.
    """
    from vmusprod.video.clip import find_clip

    networks: list[PictureNetwork] = []
    notes = []
    try:
        networks.append(AffectNetwork())
    except MissingDependencyError as error:
        notes.append(f"{error}; without it the music hears less of the picture")
    found, note = find_clip(clip)
    if found is not None:
        networks.append(found)
    if note:
        notes.append(note)
    return networks, notes
