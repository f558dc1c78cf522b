"""VMCP's sizes, and which columns of its rows are shares: what needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.vmcp.rows import MUSIC_SHARES, PIXEL_SHARES

__all__ = ["VmcpConfig", "shares"]

_LIMIT = 4096


@dataclass(frozen=True)
class VmcpConfig:
    """Sizes. Raises ValueError for what makes no model.

    side: `clip` or `pixels`; music: `symbolic` or `audio`. video_columns, music_columns: numbers a
    row; semantic: how many of the video's, its first, are CLIP's, projected from 768 (0: none).
    space: size of the common space; width, layers, heads, dropout: the transformers'.
    """

    side: str
    music: str
    video_columns: int
    music_columns: int
    semantic: int = 0
    space: int = 24
    width: int = 64
    layers: int = 1
    heads: int = 4
    dropout: float = 0.4

    def __post_init__(self) -> None:
        if self.side not in ("clip", "pixels") or self.music not in ("symbolic", "audio"):
            raise ValueError(f"no sides {self.side!r} and {self.music!r}")
        sizes = (self.video_columns, self.music_columns, self.space, self.width, self.layers)
        if not all(isinstance(n, int) and 1 <= n <= _LIMIT for n in (*sizes, self.heads)):
            raise ValueError("a size is out of range")
        if self.layers > 64 or self.width % self.heads or not 0 <= self.dropout < 1:
            raise ValueError("width, heads, layers or dropout is out of range")
        if not 0 <= self.semantic <= min(self.video_columns, 768):
            raise ValueError("semantic is out of range")
        if (self.semantic > 0) != (self.side == "clip"):
            raise ValueError("semantic columns are the clip side's")

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> VmcpConfig:
        """Return what `to_dict` made. Raises ValueError."""
        if set(values) - {field.name for field in fields(cls)}:
            raise ValueError("a field of the configuration is unknown")
        try:
            return cls(**values)
        except TypeError as error:
            raise ValueError(str(error)) from error


def shares(config: VmcpConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which columns of the video's and of the music's rows are shares."""
    video = np.concatenate([np.zeros(config.semantic, bool), PIXEL_SHARES])
    plain = np.zeros(config.music_columns, bool)
    return video, MUSIC_SHARES if config.music == "symbolic" else plain
