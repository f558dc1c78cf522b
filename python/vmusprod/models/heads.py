"""Output heads: the type first, then the attributes of that type, each given the ones before it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmusprod.models.attention import widen
from vmusprod.models.config import StageConfig
from vmusprod.music import tokens as tk

CHAINS: dict[int, tuple[int, ...]] = {
    tk.RHYTHM: (tk.BARBEAT,),
    tk.NOTE: (tk.PITCH, tk.DURATION, tk.VELOCITY),
    tk.CHORD: (tk.ROOT, tk.QUALITY),
}
"""Attributes of each type in the order in which they are predicted."""


def stage_types(stage: str) -> tuple[int, ...]:
    """Token types that a stage writes, besides the end."""
    return (tk.RHYTHM, tk.CHORD) if stage == "chord" else (tk.RHYTHM, tk.NOTE)


class AttributeHead(nn.Module):
    """Logits of one attribute from the hidden state and the attributes already chosen."""

    def __init__(self, width: int, hidden: int, size: int, given: tuple[int, ...]) -> None:
        super().__init__()
        self.map = nn.Linear(width, hidden)
        tables = [nn.Embedding(tk.SIZES[a], hidden) for a in given]
        self.given = nn.ModuleList(tables)
        self.logits = nn.Linear(hidden, size)
        nn.init.normal_(self.logits.weight, std=0.02)
        nn.init.zeros_(self.logits.bias)
        for table in tables:
            nn.init.normal_(table.weight, std=0.3)

    def forward(self, hidden: Tensor, given: list[Tensor]) -> Tensor:
        """(T, size) logits of hidden (T, width); given: values (T,) of the earlier attributes."""
        z = self.map(hidden)
        for table, value in zip(self.given, given, strict=True):
            z = z + table(value)
        return torch.as_tensor(self.logits(F.gelu(z, approximate="tanh")))


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Sum of nats, in float32 at least: on a CPU autocast would take logarithms in bfloat16."""
    return F.cross_entropy(widen(logits), wanted, reduction="sum")


class Heads(nn.Module):
    """All heads of a stage."""

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.kind = nn.Linear(config.width, tk.SIZES[tk.TYPE])
        self.types = stage_types(config.stage)
        self.attributes = nn.ModuleDict()
        for kind in self.types:
            chain = CHAINS[kind]
            for i, a in enumerate(chain):
                self.attributes[tk.ATTRIBUTES[a]] = AttributeHead(
                    config.width, config.head_size, tk.SIZES[a], chain[:i]
                )

    def losses(self, hidden: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Sum the cross-entropy, in nats, by attribute.

        hidden: (N, width), target: (N, 7), no padding among them.
        """
        h = self.norm(hidden)
        kind = target[:, tk.TYPE]
        out = {"type": _cross_entropy(self.kind(h), kind)}
        for t in self.types:
            rows = (kind == t).nonzero().squeeze(-1)
            part, wanted = h.index_select(0, rows), target[rows]
            chain = CHAINS[t]
            for i, a in enumerate(chain):
                name = tk.ATTRIBUTES[a]
                logits = self.attributes[name](part, [wanted[:, b] for b in chain[:i]])
                out[name] = _cross_entropy(logits, wanted[:, a])
        return out

    def attribute(self, name: str, h: Tensor, given: list[Tensor]) -> Tensor:
        """Logits (N, size) of one attribute; h: (N, width), the normed hidden state."""
        return torch.as_tensor(self.attributes[name](h, given))
