"""VMCP's two encoders in use: the forward pass of `model.py` in numpy.

They are too small (0.1 million numbers, eight segments) for the import of torch to pay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vmusprod.video.rows import product, unit_rows
from vmusprod.vmcp.config import VmcpConfig, shares
from vmusprod.vmcp.rows import BLOCKS, SEGMENTS, Rows, View, view

__all__ = ["Encoders", "Vectors", "similarities", "video_rows", "weight_shapes"]

Weights = Mapping[str, NDArray[np.float32]]
Shapes = dict[str, tuple[int, ...]]
Vectors = NDArray[np.float32]
"""Unit vectors of a piece's segments: (SEGMENTS, space)."""


class Encoders:
    """Both encoders and the projection of CLIP features.

    `weights`: finite float32 arrays by their names in `model.Vmcp`, of `weight_shapes(config)`.
    The same input gives the same vectors on any number of threads.
    """

    def __init__(self, config: VmcpConfig, weights: Weights) -> None:
        self.config = config
        self.weights = weights
        self._video_shares, self._music_shares = shares(config)

    def video(self, semantic: NDArray[np.floating] | None, pixels: Rows) -> Vectors:
        """Vectors of a video: CLIP features (S, 768), which the clip side needs, and pixel rows."""
        w = self.weights
        rows = video_rows(semantic, pixels, w["projection_centre"], w["projection"])
        return self._encoded("video.", view(rows, self._video_shares))

    def music(self, rows: Rows, midi: bool = False) -> Vectors:
        """Vectors of music rows (S, D); midi: they are of MIDI and not of a recording."""
        seen = view(rows, self._music_shares)
        if midi:
            w = self.weights
            seen = View(seen.segments - w["midi_segments"], seen.summary - w["midi_summary"])
        return self._encoded("music.", seen)

    def _encoded(self, side: str, seen: View) -> Vectors:
        w = {name[len(side) :]: v for name, v in self.weights.items() if name.startswith(side)}
        with np.errstate(over="ignore", invalid="ignore"):  # of odd weights: the score is nan
            summary = np.nan_to_num((seen.summary - w["centre"]) * w["scale"])
            parts = np.nan_to_num((seen.segments - w["segment_centre"]) * w["segment_scale"])
            x = _linear(w, "enter", parts) + w["place"]
            for number in range(self.config.layers):
                name = f"layers.layers.{number}."
                x = x + self._attended(w, f"{name}self_attn.", _normed(w, f"{name}norm1", x))
                inner = _gelu(_linear(w, f"{name}linear1", _normed(w, f"{name}norm2", x)))
                x = x + _linear(w, f"{name}linear2", inner)
            whole = product(summary.reshape(1, -1), w["whole.weight"].T)
            vectors = whole + _linear(w, "leave", x)
            length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
            return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)

    def _attended(self, w: Weights, name: str, x: Rows) -> Rows:
        """Self-attention over the rows of x, (SEGMENTS, width)."""
        qkv = product(x, w[f"{name}in_proj_weight"].T) + w[f"{name}in_proj_bias"]
        q, k, v = qkv.reshape(len(x), 3, self.config.heads, -1).swapaxes(0, 1)
        likeness = np.einsum("qhd,khd->hqk", q, k) / np.float32(math.sqrt(q.shape[-1]))
        share = np.exp(likeness - likeness.max(axis=-1, keepdims=True))
        share /= share.sum(axis=-1, keepdims=True)
        read = np.einsum("hqk,khd->qhd", share, v).reshape(x.shape)
        return _linear(w, f"{name}out_proj", read)


def video_rows(
    semantic: NDArray[np.floating] | None, pixels: Rows, centre: Rows, projection: Rows
) -> Rows:
    """Rows of the video side: CLIP features projected by (768, C), if it has any, and pixels."""
    if not projection.size:
        return pixels
    assert semantic is not None
    clip = unit_rows(semantic[: len(pixels)].astype(np.float32))
    projected = product(clip - centre, projection)
    return np.concatenate([projected, pixels], axis=1).astype(np.float32)


def similarities(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean cosine of the segments in order: (N, K, space), (M, K, space) to float64 (N, M)."""
    flat = [v.reshape(len(v), -1).astype(np.float64) for v in (first, second)]
    return np.asarray(np.einsum("ni,mi->nm", *flat) / first.shape[1], np.float64)


def weight_shapes(config: VmcpConfig) -> Shapes:
    """The weights' names and shapes, those of `model.Vmcp`'s state."""
    width, space = config.width, config.space
    shapes: Shapes = {
        "log_temperature": (),
        "projection": (768 if config.semantic else 0, config.semantic),
        "projection_centre": (768 if config.semantic else 0,),
        "midi_segments": (config.music_columns,),
        "midi_summary": (BLOCKS, config.music_columns),
    }
    for side, columns in (("video", config.video_columns), ("music", config.music_columns)):
        own: Shapes = {"centre": (BLOCKS, columns), "scale": (BLOCKS, columns)}
        own |= {"segment_centre": (columns,), "segment_scale": (columns,)}
        own |= {"whole.weight": (space, BLOCKS * columns), "place": (SEGMENTS, width)}
        own |= _linear_shapes("enter", columns, width) | _linear_shapes("leave", width, space)
        for number in range(config.layers):
            name = f"layers.layers.{number}."
            own |= {
                f"{name}norm{n}.{part}": (width,) for n in (1, 2) for part in ("weight", "bias")
            }
            own[f"{name}self_attn.in_proj_weight"] = (3 * width, width)
            own[f"{name}self_attn.in_proj_bias"] = (3 * width,)
            own |= _linear_shapes(f"{name}self_attn.out_proj", width, width)
            own |= _linear_shapes(f"{name}linear1", width, 2 * width)
            own |= _linear_shapes(f"{name}linear2", 2 * width, width)
        shapes |= {f"{side}.{name}": shape for name, shape in own.items()}
    return shapes


def _linear_shapes(name: str, before: int, after: int) -> Shapes:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _linear(w: Weights, name: str, x: Rows) -> Rows:
    return product(x, w[f"{name}.weight"].T) + w[f"{name}.bias"]


def _normed(w: Weights, name: str, x: Rows) -> Rows:
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + np.float32(1e-5))
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]


def _gelu(x: Rows) -> Rows:
    # numpy has no error function, and scipy's takes longer to import than this to run.
    erf = [math.erf(value) for value in (x.ravel() / np.float32(math.sqrt(2))).tolist()]
    return np.asarray(x * (np.array(erf, np.float32).reshape(x.shape) + 1) / 2, np.float32)
