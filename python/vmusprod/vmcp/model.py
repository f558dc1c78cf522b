"""Video-music CLIP (paper, section 5.1): two encoders into one space.

Each encoder is a transformer over a piece's eight segments, added to a linear map of its summary.
The linear maps begin as the canonical correlation of the two sides (`canonical.py`), the
transformers as nothing; InfoNCE then trains all of it. With a few hundred pairs this order is what
generalises: transformers alone overfit within ten epochs.

This is the model as it is trained; what was trained is used by `encoder.py`, without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmusprod.vmcp.config import VmcpConfig
from vmusprod.vmcp.encoder import Encoders
from vmusprod.vmcp.rows import BLOCKS, SEGMENTS

__all__ = ["Encoder", "Views", "Vmcp"]


@dataclass(frozen=True)
class Views:
    """Pieces as an encoder takes them in: (N, SEGMENTS, D) and (N, BLOCKS, D), nan = unknown."""

    segments: Tensor
    summary: Tensor

    def __len__(self) -> int:
        return len(self.segments)

    def select(self, index: Tensor) -> Views:
        """The pieces that an index picks."""
        return Views(self.segments[index], self.summary[index])


class Encoder(nn.Module):
    """Views (N) to unit vectors, (N, SEGMENTS, space)."""

    centre: Tensor
    scale: Tensor
    segment_centre: Tensor
    segment_scale: Tensor

    def __init__(self, columns: int, config: VmcpConfig) -> None:
        super().__init__()
        width = config.width
        for name, shape in (("centre", (BLOCKS, columns)), ("segment_centre", (columns,))):
            self.register_buffer(name, torch.zeros(shape))
            self.register_buffer(name.replace("centre", "scale"), torch.ones(shape))
        self.whole = nn.Linear(BLOCKS * columns, config.space, bias=False)
        self.enter = nn.Linear(columns, width)
        self.place = nn.Parameter(torch.zeros(SEGMENTS, width))
        layer = nn.TransformerEncoderLayer(
            width,
            config.heads,
            2 * width,
            config.dropout,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)
        self.leave = nn.Linear(width, config.space)
        self.drop = nn.Dropout(config.dropout)
        nn.init.normal_(self.place, std=0.3)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, views: Views) -> Tensor:
        """Unit vectors of each segment: (N, SEGMENTS, space)."""
        summary = torch.nan_to_num((views.summary - self.centre) * self.scale)
        parts = torch.nan_to_num((views.segments - self.segment_centre) * self.segment_scale)
        whole = self.whole(self.drop(summary.flatten(1)))
        x = self.layers(self.enter(self.drop(parts)) + self.place)
        return F.normalize(whole[:, None] + self.leave(x), dim=-1)


class Vmcp(nn.Module):
    """The two encoders, the projection of CLIP features, and the temperature."""

    projection: Tensor
    projection_centre: Tensor
    midi_segments: Tensor
    midi_summary: Tensor

    def __init__(self, config: VmcpConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer(
            "projection", torch.zeros(768 if config.semantic else 0, config.semantic)
        )
        self.register_buffer("projection_centre", torch.zeros(768 if config.semantic else 0))
        self.video = Encoder(config.video_columns, config)
        self.music = Encoder(config.music_columns, config)
        # What views of MIDI have more than those of recordings (`training.fit_midi_shift`).
        self.register_buffer("midi_segments", torch.zeros(config.music_columns))
        self.register_buffer("midi_summary", torch.zeros(BLOCKS, config.music_columns))
        # Its logarithm, so that it stays positive.
        self.log_temperature = nn.Parameter(torch.tensor(-2.3))

    def encoders(self) -> Encoders:
        """The encoders as they are now, for use; what is learned later does not change them."""
        weights = {n: w.detach().cpu().float().numpy().copy() for n, w in self.state_dict().items()}
        return Encoders(self.config, weights)

    def loss(self, video: Tensor, music: Tensor, share: float) -> Tensor:
        """Symmetric InfoNCE of (N, SEGMENTS, space) vectors of N pairs.

        Over segments as in the paper, each against all segments of all pieces, and over pieces,
        by the mean cosine of their segments, which is what the score ranks by; `share` is the
        weight of the former.
        """
        temperature = self.log_temperature.clamp(-4.6, 0).exp()
        pieces = video.flatten(1) @ music.flatten(1).T / video.shape[1] / temperature
        parts = video.flatten(0, 1) @ music.flatten(0, 1).T / temperature
        return share * _symmetric(parts) + (1 - share) * _symmetric(pieces)


def _symmetric(logits: Tensor) -> Tensor:
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
