"""Linear attention (Katharopoulos et al. 2020, feature map elu + 1): the paper's section 4.3.

    out_i = phi(q_i) . sum_j phi(k_j) v_j^T / phi(q_i) . sum_j phi(k_j)

`causal` is the chunked form for training, `causal_step` the recurrent form for decoding, `full` the
unmasked form of encoders, `windowed` and `window_step` cross-attention to the previous, current and
next bar. Sequences of a batch lie end to end ("packed"), each padded to a multiple of CHUNK. The
forms with a gradient compute it by hand: on a CPU autograd spends more time on copies than on
products. All sums are kept in float32 at least, whatever autocast says: they run over whole songs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

CHUNK = 64
EPS = 1e-6
Causal = Callable[[Tensor, Tensor, list[int], int], Tensor]
"""What computes causal attention; arguments as of `causal`."""


def feature_map(x: Tensor) -> Tensor:
    """elu(x) + 1, positive everywhere."""
    return F.elu(x) + 1


def exact(x: Tensor) -> torch.autocast:
    """Return a context in which products of tensors on x's device keep their precision."""
    return torch.autocast(x.device.type, enabled=False)


def widen(x: Tensor) -> Tensor:
    """Return x in float32, or in float64 if it comes so."""
    return x if x.dtype == torch.float64 else x.float()


def _with_ones(v: Tensor) -> Tensor:
    return F.pad(v, (0, 1), value=1.0)


def divide(mixed: Tensor) -> Tensor:
    """Return the attention output (..., D) of sums (..., D + 1), the last column their weight."""
    return mixed[..., :-1] / (mixed[..., -1:] + EPS)


def _divide_backward(grad: Tensor, mixed: Tensor) -> Tensor:
    """Gradient of `divide` with respect to its input."""
    weight = 1 / (mixed[..., -1:] + EPS)
    numerator = grad * weight
    denominator = -(numerator * mixed[..., :-1]).sum(-1, keepdim=True) * weight
    return torch.cat([numerator, denominator], -1)


def _slope(mapped: Tensor) -> Tensor:
    """Return the derivative of the feature map, from its value."""
    return mapped.clamp(max=1.0)


class _Causal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
        total, width = qkv.shape[0], qkv.shape[1] // 3
        chunks = total // CHUNK
        split = widen(qkv).view(chunks, CHUNK, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        parts = [n // CHUNK for n in lengths]
        with exact(qkv):
            mapped = feature_map(split[:2].contiguous())
            q, k = mapped[0], mapped[1].mul_(valid.view(chunks, 1, CHUNK, 1))
            v = _with_ones(split[2])
            state = _running_sum(k.transpose(-1, -2) @ v, parts)
            scores = (q @ k.transpose(-1, -2)).tril_()
            mixed = scores @ v + q @ state
        ctx.save_for_backward(q, k, v, state, scores, mixed, valid)
        ctx.parts = parts
        out = divide(mixed).transpose(1, 2).reshape(total, width)
        return out.to(qkv.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, state, scores, mixed, valid = ctx.saved_tensors
        chunks, heads, _, depth = q.shape
        grad = widen(grads[0]).view(chunks, CHUNK, heads, depth).transpose(1, 2)
        with exact(q):
            g = _divide_backward(grad, mixed)
            inner = (g @ v.transpose(-1, -2)).tril_()
            later = _running_sum(q.transpose(-1, -2) @ g, ctx.parts, reverse=True)
            out = torch.empty(3, chunks, heads, CHUNK, depth, dtype=q.dtype, device=q.device)
            torch.mul(inner @ k + g @ state.transpose(-1, -2), _slope(q), out=out[0])
            dk = inner.transpose(-1, -2) @ q + v @ later.transpose(-1, -2)
            torch.mul(dk, _slope(k), out=out[1])
            out[1].mul_(valid.view(chunks, 1, CHUNK, 1))
            out[2] = (scores.transpose(-1, -2) @ g + k @ later)[..., :depth]
        flat = out.permute(1, 3, 0, 2, 4).reshape(chunks * CHUNK, 3 * heads * depth)
        return flat.to(grads[0].dtype), None, None, None


def _running_sum(x: Tensor, parts: list[int], *, reverse: bool = False) -> Tensor:
    """Exclusive running sum over chunks, starting anew with each sequence."""
    out = torch.zeros_like(x)
    for into, piece in zip(torch.split(out, parts), torch.split(x, parts), strict=True):
        if len(piece) < 2:
            continue
        if reverse:
            into[:-1] = piece[1:].flip(0).cumsum(0).flip(0)
        else:
            into[1:] = piece[:-1].cumsum(0)
    return out


def causal(qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
    """Causal linear attention over packed sequences, by the backend in use.

    qkv: (T, 3 * width), before the feature map; valid: (T,) 1 or, at padding, 0; lengths: of the
    sequences, multiples of CHUNK that add up to T. Returns (T, width).
    """
    return _backends[-1](qkv, valid, lengths, heads)


def chunked(qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
    """Causal linear attention in chunks: the backend `torch`, arguments as of `causal`.

    Inside a chunk the products are masked squares; across chunks a running sum of k v^T.
    """
    return torch.as_tensor(_Causal.apply(qkv, valid, lengths, heads))


_backends: list[Causal] = [chunked]


@contextmanager
def use_backend(name: str) -> Iterator[None]:
    """Let `causal` be computed by one of `backend.BACKENDS` while the block runs.

    Holds for the whole process. Raises as `backend.find_backend`.
    """
    from vmusprod.models.backend import find_backend

    _backends.append(find_backend(name))
    try:
        yield
    finally:
        _backends.pop()


def causal_step(q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """One step of the recurrent form.

    q, k, v: (B, H, D), q and k after the feature map; state: (B, H, D, D + 1), zeros at the start.
    Returns the output (B, H, D) and the new state.
    """
    state = state + k.unsqueeze(-1) * _with_ones(v).unsqueeze(-2)
    return window_step(q, state), state


def window_step(q: Tensor, state: Tensor) -> Tensor:
    """Return what q (B, H, D), after the feature map, reads from a state (B, H, D, D + 1)."""
    return divide((q.unsqueeze(-2) @ state).squeeze(-2))


def full(q: Tensor, k: Tensor, v: Tensor, lengths: list[int]) -> Tensor:
    """Linear attention without a mask, each packed sequence over itself.

    q, k, v: (S, H, D), q and k after the feature map, k zero at padding. Returns (S, H, D).
    """
    out = []
    with exact(q):
        parts = (torch.split(widen(x), lengths) for x in (q, k, _with_ones(v)))
        for qs, ks, vs in zip(*parts, strict=True):
            state = ks.permute(1, 2, 0) @ vs.transpose(0, 1)  # (H, D, D + 1)
            out.append(divide(qs.transpose(0, 1) @ state).transpose(0, 1))
    return torch.cat(out).to(v.dtype)


class BarSlots(NamedTuple):
    """Tokens laid out in a (bars, widest) table: place of each token, number of bars, its width."""

    place: Tensor
    bars: int
    widest: int


def bar_slots(bars: Tensor, count: int) -> BarSlots:
    """Lay tokens out by global bar. bars: (T,) integers below `count`, in any order."""
    order = torch.argsort(bars, stable=True)
    sizes = torch.bincount(bars, minlength=count)
    first = sizes.cumsum(0) - sizes
    within = torch.empty_like(bars)
    within[order] = torch.arange(len(bars), device=bars.device) - first[bars[order]]
    widest = max(int(sizes.max()), 1) if count else 1
    return BarSlots(bars * widest + within, count, widest)


def bar_states(k: Tensor, v: Tensor, slots: BarSlots) -> Tensor:
    """Sum k v^T over the previous, current and next bar: what cross-attention reads in each bar.

    k, v: (S, H, D), k after the feature map and zero at padding; slots: of the source tokens.
    Bars of different sequences must be parted by an empty bar. Returns (bars, H, D, D + 1).
    """
    return _window_sum(_table(k, slots).transpose(-1, -2) @ _table(_with_ones(v), slots))


def _window_sum(x: Tensor) -> Tensor:
    out = x.clone()
    out[1:] += x[:-1]
    out[:-1] += x[1:]
    return out


def _table(x: Tensor, slots: BarSlots) -> Tensor:
    """(T, H, D) to (bars, H, widest, D), zero where no token lies."""
    table = x.new_zeros(slots.bars * slots.widest, *x.shape[1:])
    table[slots.place] = x
    return table.view(slots.bars, slots.widest, *x.shape[1:]).transpose(1, 2)


def _rows(table: Tensor, slots: BarSlots) -> Tensor:
    """Undo `_table`, heads joined: (T, H * D)."""
    flat = table.transpose(1, 2).reshape(slots.bars * slots.widest, -1)
    return flat.index_select(0, slots.place)


class _Windowed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, q: Tensor, kv: Tensor, valid: Tensor, near: BarSlots, far: BarSlots, heads: int
    ) -> Tensor:
        depth = q.shape[-1] // heads
        with exact(q):
            mapped_q = feature_map(widen(q).view(-1, heads, depth))
            k, v = widen(kv).view(-1, 2, heads, depth).unbind(1)
            mapped_k = feature_map(k) * valid[:, None, None]
            tq, tk, tv = _table(mapped_q, near), _table(mapped_k, far), _table(_with_ones(v), far)
            state = _window_sum(tk.transpose(-1, -2) @ tv)
            mixed = tq @ state
        ctx.save_for_backward(tq, tk, tv, state, mixed, valid)
        ctx.layout = near, far
        return _rows(divide(mixed), near).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        tq, tk, tv, state, mixed, valid = ctx.saved_tensors
        near, far = ctx.layout
        heads, depth = tq.shape[1], tq.shape[3]
        grad = widen(grads[0]).view(-1, heads, depth)
        with exact(tq):
            g = _divide_backward(_table(grad, near), mixed)
            dq = _rows((g @ state.transpose(-1, -2)).mul_(_slope(tq)), near)
            dstate = _window_sum(tq.transpose(-1, -2) @ g)
            dk = _rows((tv @ dstate.transpose(-1, -2)).mul_(_slope(tk)), far) * valid[:, None]
            dv = _rows((tk @ dstate)[..., :depth], far)
        dtype = grads[0].dtype
        return dq.to(dtype), torch.cat([dk, dv], -1).to(dtype), None, None, None, None


def windowed(
    q: Tensor, kv: Tensor, valid: Tensor, near: BarSlots, far: BarSlots, heads: int
) -> Tensor:
    """Cross-attention of each token to the source tokens of the previous, current and next bar.

    q: (T, width) and kv: (S, 2 * width), before the feature map; valid: (S,); near, far: layout by
    global bar of queries and of source tokens. Returns (T, width), zero where the window is empty.
    """
    return torch.as_tensor(_Windowed.apply(q, kv, valid, near, far, heads))
