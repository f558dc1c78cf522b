"""What a token's vector is made of (paper section 4.2 and Table 7; timing encoding of CMT)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmusprod.models.config import StageConfig
from vmusprod.models.task import STYLES, TEMPO_LEVELS
from vmusprod.music import recall as rc
from vmusprod.music import tokens as tk

CONTROL_LEVELS = 9
"""Density and loudness of a bar: 0 unknown, 1 sparse or soft ... 8 dense or loud."""
PHRASE = 16
TIMING_LEVELS = 101


@dataclass
class Context:
    """What is known of each token's place, all (T,) long.

    bar: absolute; step: 16th in the bar; timing: hundredths of the piece, 0..100; tempo: level;
    mode: 0 unknown, 1 major, 2 minor; style: see task.STYLES; density, loudness: see
    CONTROL_LEVELS.
    """

    bar: Tensor
    step: Tensor
    timing: Tensor
    tempo: Tensor
    mode: Tensor
    style: Tensor
    density: Tensor
    loudness: Tensor

    def map(self, move: Callable[[Tensor], Tensor]) -> Context:
        """Return the context with `move` applied to every field."""
        return Context(**{f.name: move(getattr(self, f.name)) for f in fields(self)})


class Attributes(nn.Module):
    """One table an attribute, side by side, mapped to the width."""

    def __init__(self, sizes: tuple[int, ...], chroma_size: int, width: int) -> None:
        super().__init__()
        self.columns = [i for i, size in enumerate(sizes) if size]
        tables = [nn.Embedding(tk.SIZES[i], sizes[i]) for i in self.columns]
        for table in tables:
            nn.init.normal_(table.weight, std=0.3)
        self.tables = nn.ModuleList(tables)
        self.chroma = nn.Linear(12, chroma_size, bias=False) if chroma_size else None
        total = sum(sizes) + chroma_size
        self.join = nn.Linear(total, width, bias=False)
        nn.init.normal_(self.join.weight, std=total**-0.5)
        self.register_buffer("chroma_table", torch.from_numpy(tk.CHROMA), persistent=False)

    def forward(self, tokens: Tensor, chord: Tensor | None = None) -> Tensor:
        """tokens: (T, 7); chord: (T, 2) root and quality sounding at each token, for the chroma."""
        parts = [t(tokens[:, i]) for t, i in zip(self.tables, self.columns, strict=True)]
        if self.chroma is not None and chord is not None:
            table = torch.as_tensor(self.chroma_table)
            parts.append(self.chroma(table[chord[:, 0], chord[:, 1]]))
        return torch.as_tensor(self.join(torch.cat(parts, -1)))


class Places(nn.Module):
    """Bar, beat, tempo and timing, and the controls of the bar; one table, each field its rows."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.max_bars = config.max_bars
        sizes = (
            config.max_bars, PHRASE, tk.STEPS_PER_BAR, TEMPO_LEVELS, 3, len(STYLES),
            CONTROL_LEVELS, CONTROL_LEVELS,
        )  # fmt: skip
        self.table = nn.Parameter(torch.randn(sum(sizes), config.width) * 0.05)
        starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.register_buffer("starts", torch.tensor(starts), persistent=False)
        self.timing = nn.Linear(config.timing_size, config.width, bias=False)
        nn.init.normal_(self.timing.weight, std=0.05)
        encoding = timing_encoding(torch.arange(TIMING_LEVELS), config.timing_size)
        self.register_buffer("encoding", encoding, persistent=False)

    def forward(self, context: Context) -> Tensor:
        """(T, width)."""
        c = context
        bar = c.bar.clamp(max=self.max_bars - 1)
        fields = (bar, c.bar % PHRASE, c.step, c.tempo, c.mode, c.style, c.density, c.loudness)
        rows = torch.stack(fields, -1) + torch.as_tensor(self.starts)
        timing = self.timing(torch.as_tensor(self.encoding))
        return F.embedding_bag(rows, self.table, mode="sum") + F.embedding(c.timing, timing)


def timing_encoding(percent: Tensor, size: int) -> Tensor:
    """Sinusoids of how far through the piece a token stands, as in CMT.

    percent: (T,) in 0..100. Returns (T, size).
    """
    half = size // 2
    steps = torch.arange(half, device=percent.device, dtype=torch.float32)
    rates = torch.exp(steps * (-math.log(10_000.0) / half))
    angle = percent.float().unsqueeze(-1) * rates
    return torch.cat([angle.sin(), angle.cos()], -1)


class RecallInput(nn.Module):
    """Embeds the hints of music/recall.py: a map of the hinted tokens, a table of the runs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(rc.SLOTS * width, width, bias=False)
        nn.init.normal_(self.map.weight, std=0.3 * width**-0.5)
        self.runs = nn.Parameter(torch.randn(rc.SLOTS * rc.RUN_LEVELS, width) * 0.05)
        starts = torch.arange(rc.SLOTS) * rc.RUN_LEVELS
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, embedded: Tensor, hint: Tensor, run: Tensor) -> Tensor:
        """(T, width) of hint, run (T, SLOTS); hints point into `embedded` (N, width), -1: none."""
        vectors = lookup(embedded, hint).flatten(-2)
        runs = F.embedding_bag(run + torch.as_tensor(self.starts), self.runs, mode="sum")
        return torch.as_tensor(self.map(vectors) + runs)


def lookup(vectors: Tensor, index: Tensor) -> Tensor:
    """Rows of `vectors` (N, width) by index, zero for -1: index.shape + (width,)."""
    return F.embedding(index + 1, F.pad(vectors, (0, 0, 1, 0)))
