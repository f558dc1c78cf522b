"""Visual features of songs' videos on a plane, by t-SNE (Fig. 3b)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.statistics.counts import most_frequent_genres
from vmusprod.dataset.statistics.songs import SongFacts
from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.video.features import VideoFeatures

__all__ = ["visual_map"]

_LEAST = 5
_PERPLEXITY = 30.0
# The paper leaves it out, as too varied to form a cluster.
_LEFT_OUT = "pop"


def visual_map(
    songs: Sequence[SongFacts], folder: Path, failed: list[InputError]
) -> dict[str, Any] | None:
    """Place the songs of the five most frequent genres but Pop by what their videos look like.

    `folder` holds features as `vmus features` writes them, `ID.npz` for each song. Of each video
    the CLIP features are averaged over time; where none has them, colour histograms are. Returns
    `source` (`semantic` or `color`), `id`, `genre`, `x`, `y`; None for fewer than five songs with
    features and a genre. Raises InputError: no such folder; MissingDependencyError.
    """
    if not folder.is_dir():
        raise InputError(folder, "no such folder")
    rest = [song for song in songs if song.genre and song.genre.lower() != _LEFT_OUT]
    chosen = [song for group in most_frequent_genres(rest).values() for song in group]
    rows: dict[str, list[tuple[SongFacts, NDArray[np.float64]]]] = {"semantic": [], "color": []}
    for song in chosen:
        path = folder / f"{song.id}.npz"
        if not path.is_file():
            continue
        try:
            features = VideoFeatures.load(path)
        except InputError as error:
            failed.append(error)
            continue
        for name, group in rows.items():
            values = getattr(features, name)
            if values is not None:
                group.append((song, values.reshape(len(values), -1).mean(axis=0)))
    source = "semantic" if len(rows["semantic"]) >= _LEAST else "color"
    if len(rows[source]) < _LEAST:
        return None
    places = _embed(np.stack([row for _, row in rows[source]]).astype(np.float64))
    return {
        "source": source,
        "id": [song.id for song, _ in rows[source]],
        "genre": [song.genre for song, _ in rows[source]],
        "x": [round(float(x), 3) for x in places[:, 0]],
        "y": [round(float(y), 3) for y in places[:, 1]],
    }


def _embed(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Embed by t-SNE from the principal components, seeded: float64 (N, 2)."""
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise MissingDependencyError(
            "t-SNE needs scikit-learn: pip install 'vmusprod[stats]'"
        ) from error
    # CLIP's features differ in length between extractors.
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    perplexity = min(_PERPLEXITY, (len(rows) - 1) / 3)
    model = TSNE(perplexity=perplexity, init="pca", random_state=0, method="exact", n_jobs=1)
    return np.asarray(model.fit_transform(rows), np.float64)
