"""Closed-form parts of VMCP: principal components of CLIP features, canonical correlation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["canonical_maps", "principal_components"]

Matrix = NDArray[np.float64]


def principal_components(rows: NDArray[np.float32], count: int) -> tuple[Matrix, Matrix]:
    """Centre (D,) and orthonormal directions (D, count) of the largest variance of rows (N, D)."""
    centre = rows.mean(axis=0, dtype=np.float64)
    _, vectors = np.linalg.eigh(np.cov((rows - centre).T))
    return centre, np.ascontiguousarray(vectors[:, ::-1][:, :count])


def canonical_maps(
    video: Matrix, music: Matrix, size: int, ridges: tuple[float, float]
) -> tuple[Matrix, Matrix]:
    """Maps (A, size) and (B, size) under which rows of a pair point the same way.

    Ridge-regularised canonical correlation of centred rows (N, A) and (N, B), each direction
    weighted by its correlation. Directions beyond what the data hold are zero.
    """
    left, right = _whitening(video, ridges[0]), _whitening(music, ridges[1])
    u, correlation, v = np.linalg.svd((video @ left).T @ (music @ right) / len(video))
    found = min(size, len(correlation))
    maps = np.zeros((video.shape[1], size)), np.zeros((music.shape[1], size))
    maps[0][:, :found] = left @ u[:, :found] * correlation[:found]
    maps[1][:, :found] = right @ v[:found].T * correlation[:found]
    return maps


def _whitening(rows: Matrix, ridge: float) -> Matrix:
    _, values, vectors = np.linalg.svd(rows / np.sqrt(len(rows)), full_matrices=False)
    return np.asarray(vectors.T / np.sqrt(values**2 + ridge), np.float64)
