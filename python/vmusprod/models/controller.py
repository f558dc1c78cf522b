"""The video controller (paper section 4.1): what the chord stage hears of the picture.

Each source has its own transformer encoder; their outputs are joined along the length with a
learned mark of their source, and a fusion encoder mixes them. A missing source is simply not there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmusprod.models.attention import BarSlots, bar_slots
from vmusprod.models.config import StageConfig
from vmusprod.models.embeddings import TIMING_LEVELS, timing_encoding
from vmusprod.models.layers import EncoderLayer, Packed

SOURCE_SIZES = {"semantic": 768, "color": 3 * 32 * 32, "affect": 2, "motion": 2}
_SEMANTIC_SIZE = 512  # Table 7


@dataclass
class VideoInput:
    """One row a second of each source at hand, raw, for one or more videos end to end.

    rows: source to (S, size): CLIP features, RGB-uv histograms, valence and arousal, mean motion
    and whether a cut falls into the second. seconds: rows of each video. present: source to one
    bool a video; the rows of a video that lacks the source do not matter.
    """

    rows: dict[str, Tensor]
    seconds: list[int]
    present: dict[str, list[bool]]


class Controller(nn.Module):
    """Raw rows to the keys' and values' vectors of the chord stage."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        width = config.controller_width
        self.width = width
        self.sources = config.sources
        self.maps = nn.ModuleDict({name: _map(name, width) for name in self.sources})
        self.encoders = nn.ModuleDict(
            {name: _encoder(config, config.controller_layers) for name in self.sources}
        )
        self.fusion = _encoder(config, config.fusion_layers)
        self.norm = nn.LayerNorm(width)
        self.marks = nn.Parameter(torch.randn(len(self.sources), width) * 0.3)
        self.timing = nn.Linear(config.timing_size, width, bias=False)
        encoding = timing_encoding(torch.arange(TIMING_LEVELS), config.timing_size)
        self.register_buffer("encoding", encoding, persistent=False)

    def forward(self, video: VideoInput) -> tuple[Tensor, Packed] | None:
        """Vectors (N, width), their layout by video; None if there is no source at all."""
        timing = self._timing(video)
        parts: list[list[Tensor]] = [[] for _ in video.seconds]
        for i, name in enumerate(self.sources):
            if name not in video.rows or not any(video.present[name]):
                continue
            x = self.maps[name](_scaled(name, video.rows[name])) + timing
            encoded = _run(self.encoders[name], x, video.seconds) + self.marks[i]
            here = video.present[name]
            pieces = torch.split(encoded, video.seconds)
            for part, piece, there in zip(parts, pieces, here, strict=True):
                if there:
                    part.append(piece)
        if not any(parts):
            return None
        joined = [torch.cat(p) if p else timing.new_zeros(0, self.width) for p in parts]
        lengths = [len(p) for p in joined]
        x = self.norm(_run(self.fusion, torch.cat(joined), lengths))
        bars = torch.repeat_interleave(
            torch.arange(len(lengths), device=x.device), torch.tensor(lengths, device=x.device)
        )
        valid = torch.ones(len(x), device=x.device)
        return x, Packed(lengths, valid, sequence_slots(bars, len(lengths)))

    def _timing(self, video: VideoInput) -> Tensor:
        table = self.timing(torch.as_tensor(self.encoding))
        places = [
            torch.arange(n, device=table.device) * (TIMING_LEVELS - 1) // max(n, 1)
            for n in video.seconds
        ]
        return F.embedding(torch.cat(places), table)


def sequence_slots(sequence: Tensor, count: int) -> BarSlots:
    """A layout in which each of `count` sequences is a bar of its own that sees no other."""
    return bar_slots(3 * sequence + 1, 3 * count)


def _map(name: str, width: int) -> nn.Module:
    size = SOURCE_SIZES[name]
    if name == "semantic":
        return nn.Sequential(
            nn.Linear(size, _SEMANTIC_SIZE, bias=False), nn.Linear(_SEMANTIC_SIZE, width)
        )
    return nn.Linear(size, width)


def _scaled(name: str, rows: Tensor) -> Tensor:
    """Brings a source's raw values to about unit size."""
    if name == "semantic":
        return torch.as_tensor(F.normalize(rows, dim=-1) * rows.shape[-1] ** 0.5)
    if name == "color":
        return torch.as_tensor(rows.clamp(min=0).sqrt() * SOURCE_SIZES["color"] ** 0.5)
    if name == "motion":
        return torch.cat([rows[:, :1].clamp(min=0).log1p() - 2, rows[:, 1:]], -1)
    return rows


def _encoder(config: StageConfig, layers: int) -> nn.ModuleList:
    width = config.controller_width
    return nn.ModuleList(
        EncoderLayer(width, config.heads, 4 * width, config.dropout) for _ in range(layers)
    )


def _run(layers: nn.Module, x: Tensor, lengths: list[int]) -> Tensor:
    valid = torch.ones(len(x), device=x.device)
    nowhere = BarSlots(torch.zeros(0, dtype=torch.int64), 0, 1)
    for layer in layers.children():
        x = torch.as_tensor(layer(x, Packed(lengths, valid, nowhere)))
    return x
