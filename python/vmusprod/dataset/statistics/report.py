"""From a folder of songs to numbers, figures and a page."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vmusprod.convert import make_folder
from vmusprod.dataset.statistics.counts import statistics
from vmusprod.dataset.statistics.figures import draw_figures
from vmusprod.dataset.statistics.page import html_page
from vmusprod.dataset.statistics.songs import iter_songs
from vmusprod.dataset.statistics.visual import visual_map
from vmusprod.errors import InputError
from vmusprod.files import atomic_output

__all__ = ["Report", "describe_set"]


@dataclass(frozen=True)
class Report:
    """The numbers (as in stats.json), the files written, and what could not be read."""

    numbers: dict[str, Any]
    files: tuple[Path, ...]
    failed: tuple[InputError, ...]


def describe_set(
    root: Path,
    out: Path | None = None,
    metadata: Path | None = None,
    features: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Report:
    """Count the songs of an annotated folder, or of SymMV as published.

    With `out`: stats.json, every figure as .png and .svg, and index.html go into that folder; the
    same set gives the same bytes. `metadata`: a table with a column `genre`. `features`: a folder
    with ID.npz for each song. `progress` is told what is done and the fraction.

    Raises InputError: no such set, no song in it that can be read, an unusable table;
    OutputError; MissingDependencyError for figures without matplotlib or scikit-learn.
    """
    tell = progress if progress is not None else _ignore
    failed: list[InputError] = []
    songs = list(iter_songs(root, metadata, failed, tell))
    if not songs:
        raise failed[0] if failed else InputError(root, "no songs in it")
    numbers = statistics(songs)
    if features is not None:
        tell("t-SNE", float("nan"))
        found = visual_map(songs, features, failed)
        if found is not None:
            numbers["visual"] = found
    numbers["failed"] = [
        {"path": _below(root, error.path), "reason": error.cause} for error in failed
    ]
    files: tuple[Path, ...] = ()
    if out is not None:
        tell("drawing", float("nan"))
        files = _write(root, out, numbers)
    return Report(numbers, files, tuple(failed))


def _below(root: Path, path: str) -> str:
    """The path as seen from the set, so that a moved set has the same statistics."""
    found = Path(path)
    return found.relative_to(root).as_posix() if found.is_relative_to(root) else found.as_posix()


def _write(root: Path, out: Path, numbers: dict[str, Any]) -> tuple[Path, ...]:
    figures = draw_figures(numbers)
    contents: dict[str, bytes] = {}
    for name, forms in figures.items():
        for form, data in forms.items():
            contents[f"{name}.{form}"] = data
    page = html_page(root.resolve().name, numbers, figures)
    contents["index.html"] = page.encode("utf-8", "replace")
    text = json.dumps(numbers, indent=1, ensure_ascii=False) + "\n"
    contents["stats.json"] = text.encode("utf-8", "replace")
    make_folder(out)
    for name, data in contents.items():
        with atomic_output(out / name) as part:
            part.write_bytes(data)
    return tuple(out / name for name in contents)


def _ignore(what: str, done: float) -> None:
    del what, done
