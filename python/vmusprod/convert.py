"""Single files made of single files: features of a video, sound of a score, the demo clip."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vmusprod.errors import OutputError
from vmusprod.video.cache import load_features
from vmusprod.video.features import VideoFeatures

__all__ = ["draw_demo_clip", "make_folder", "render_file", "write_features"]


def write_features(
    video: Path,
    out: Path,
    cache: bool = True,
    progress: Callable[[float], None] | None = None,
    clip: Path | None = None,
) -> VideoFeatures:
    """Write a video's features to a .npz file and return them.

    clip: CLIP's weights. Raises InputError, OutputError, MissingDependencyError.
    """
    _check_suffix(video, out, ".npz")
    features = load_features(video, cache, progress, clip)
    features.save(out)
    return features


def render_file(midi: Path, out: Path, soundfont: Path | None = None) -> None:
    """Play a MIDI file into a .wav file, as `music.render.render_wav` does.

    Raises OutputError, too, for a name that does not end in .wav.
    """
    from vmusprod.music.render import render_wav

    _check_suffix(midi, out, ".wav")
    render_wav(midi, out, soundfont)


def draw_demo_clip(path: Path) -> None:
    """Draw the demo clip, its folder with it. Raises OutputError."""
    from vmusprod.video.demo import draw_demo

    make_folder(path.parent)
    draw_demo(path)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where missing. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OutputError(folder, "is no folder") from error
    except OSError as error:
        raise OutputError(folder, error) from error


def _check_suffix(source: Path, out: Path, suffix: str) -> None:
    if out.suffix.lower() != suffix:
        raise OutputError(out, f"the name must end in {suffix}")
    if out.exists() and source.exists() and out.samefile(source):
        raise OutputError(out, "would replace the file that it is made from")
