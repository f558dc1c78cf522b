"""Transformer layers over packed sequences, each with a parallel and a step form that agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vmusprod.models import attention as att
from vmusprod.models.config import StageConfig

MIN_PADDING = 3
"""Empty places after each packed sequence, so that a short convolution cannot reach across."""


def _linear(inputs: int, outputs: int, *, zero: bool = False) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.zeros_(layer.weight) if zero else nn.init.normal_(layer.weight, std=inputs**-0.5 * 0.7)
    return layer


def _heads(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:-1], heads, -1)


class _ShiftFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        out = x.clone()
        for j, w in enumerate(weight, 1):
            out[j:].addcmul_(x[:-j], w)
        ctx.save_for_backward(x, weight)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        grad = grads[0]
        dx = grad.clone()
        dw = torch.empty_like(weight)
        for j, w in enumerate(weight, 1):
            dx[:-j].addcmul_(grad[j:], w)
            torch.sum(grad[j:] * x[:-j], 0, out=dw[j - 1])
        return dx, dw


class Shift(nn.Module):
    """Short causal depthwise convolution with a residual: x + sum of w_j x_{-j}, j = 1..taps-1."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(taps - 1, width))

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """x: (T, width), packed with at least taps - 1 places of padding after each sequence."""
        x = x * valid.unsqueeze(-1)
        return torch.as_tensor(_ShiftFunction.apply(x, self.weight.to(x.dtype)))

    def step(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, width); past: (B, taps - 1, width), newest first. Returns output and new past."""
        out = x + (past * self.weight).sum(1)
        return out, torch.cat([x.unsqueeze(1), past[:, :-1]], 1)


class FeedForward(nn.Module):
    """Two linear maps with a GELU (tanh form) between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = _linear(width, hidden)
        self.down = _linear(hidden, width, zero=True)

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., width)."""
        return torch.as_tensor(self.down(F.gelu(self.up(x), approximate="tanh")))


@dataclass
class Packed:
    """Where packed tokens lie.

    lengths: of the sequences, multiples of CHUNK, at least MIN_PADDING more than their tokens;
    valid: (T,) float, 0 at padding; slots: layout by global bar.
    """

    lengths: list[int]
    valid: Tensor
    slots: att.BarSlots


class EncoderLayer(nn.Module):
    """Pre-norm, unmasked linear self-attention, feed-forward."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = _linear(width, 3 * width)
        self.out = _linear(width, width, zero=True)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, hidden)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, packed: Packed) -> Tensor:
        """x: (S, width)."""
        q, k, v = (_heads(p, self.heads) for p in self.qkv(self.norm1(x)).chunk(3, -1))
        q, k = att.feature_map(att.widen(q)), att.feature_map(att.widen(k))
        mixed = att.full(q, k * packed.valid[:, None, None], v, packed.lengths)
        x = x + self.drop(self.out(mixed.flatten(-2)))
        return torch.as_tensor(x + self.drop(self.ffn(self.norm2(x))))


class DecoderLayer(nn.Module):
    """Pre-norm, causal linear self-attention, optional cross-attention, feed-forward.

    Cross-attention reads a state (…, H, D, D + 1) made by `memory`: one a bar (melody and
    accompaniment) or one a sequence (chord stage). A `memory_width` of 0 leaves it out.
    """

    def __init__(self, config: StageConfig, memory_width: int) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(width)
        self.shift = Shift(width, config.shift) if config.shift else None
        self.qkv = _linear(width, 3 * width)
        self.out = _linear(width, width, zero=True)
        if memory_width:
            self.norm_cross = nn.LayerNorm(width)
            self.cross_q = _linear(width, width)
            self.cross_kv = _linear(memory_width, 2 * width)
            self.cross_out = _linear(width, width, zero=True)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.feed_forward)
        self.drop = nn.Dropout(config.dropout)

    def memory(self, source: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Keys (after the feature map, zero at padding) and values (S, H, D) of the source."""
        k, v = (_heads(p, self.heads) for p in self.cross_kv(source).chunk(2, -1))
        return att.feature_map(k) * valid[:, None, None], v

    def forward(
        self, x: Tensor, packed: Packed, source: Tensor | None, where: Packed | None
    ) -> Tensor:
        """x: (T, width); source: (S, memory_width) with its layout, or None."""
        h = self.norm1(x)
        if self.shift is not None:
            h = self.shift(h, packed.valid)
        mixed = att.causal(self.qkv(h), packed.valid, packed.lengths, self.heads)
        x = x + self.drop(self.out(mixed))
        if source is not None and where is not None:
            q, kv = self.cross_q(self.norm_cross(x)), self.cross_kv(source)
            mixed = att.windowed(q, kv, where.valid, packed.slots, where.slots, self.heads)
            x = x + self.drop(self.cross_out(mixed))
        return torch.as_tensor(x + self.drop(self.ffn(self.norm2(x))))

    def start(self, batch: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Return the empty recurrent state of `batch` sequences."""
        width = self.heads * (depth := self.out.in_features // self.heads)
        taps = 0 if self.shift is None else len(self.shift.weight)
        state = like.new_zeros(batch, self.heads, depth, depth + 1)
        return state, like.new_zeros(batch, taps, width)

    def step(
        self, x: Tensor, state: tuple[Tensor, Tensor], cross: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One token of each sequence. x: (B, width); cross: (B, H, D, D + 1) or None."""
        attention, past = state
        h = self.norm1(x)
        if self.shift is not None:
            h, past = self.shift.step(h, past)
        q, k, v = (_heads(p, self.heads) for p in self.qkv(h).chunk(3, -1))
        q, k = att.feature_map(q), att.feature_map(k)
        mixed, attention = att.causal_step(q, k, v, attention)
        x = x + self.out(mixed.flatten(-2))
        if cross is not None:
            q = att.feature_map(_heads(self.cross_q(self.norm_cross(x)), self.heads))
            x = x + self.cross_out(att.window_step(q, cross).flatten(-2))
        return x + self.ffn(self.norm2(x)), (attention, past)
