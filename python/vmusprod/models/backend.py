"""The code that computes causal linear attention: our own in Rust or torch, or fast-transformers'.

`pytorch-fast-transformers` (Katharopoulos et al. 2020) is what the paper used: "our own" is held to
it in the tests. It is an optional extra, for it compiles for minutes; on a CPU it is several times
slower than the Rust kernel, on a GPU it works only where it was built with CUDA.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vmusprod import _vmus_rs
from vmusprod.errors import MissingDependencyError
from vmusprod.models import attention as att

__all__ = ["BACKENDS", "fast_transformers", "find_backend", "rust"]

levels = _vmus_rs.StageEngine.levels
BACKENDS = ("auto", "rust", "torch", "fast-transformers")


def find_backend(name: str) -> att.Causal:
    """Return the function behind a backend's name.

    `auto` is `rust` where the processor has fused multiply-adds (`rust` is the chunked form of
    torch for tensors that do not lie on the CPU). Raises ValueError for a name that is not in
    BACKENDS, MissingDependencyError where its package is not installed.
    """
    if name == "auto":
        return att.chunked if levels()[0] == "plain" else rust
    if name == "rust":
        return rust
    if name == "torch":
        return att.chunked
    if name == "fast-transformers":
        _product()
        return fast_transformers
    raise ValueError(f"unknown attention backend {name!r}: one of {', '.join(BACKENDS)}")


class _Rust(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
        threads = torch.get_num_threads()
        out, weight = _vmus_rs.causal_attention(
            _numbers(qkv), valid.numpy(), lengths, heads, threads
        )
        mixed = torch.from_numpy(out)
        ctx.save_for_backward(qkv, valid, mixed, torch.from_numpy(weight))
        ctx.layout = lengths, heads
        return mixed.to(qkv.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        qkv, valid, mixed, weight = ctx.saved_tensors
        lengths, heads = ctx.layout
        found = _vmus_rs.causal_attention_backward(
            _numbers(qkv), valid.numpy(), lengths, heads, _numbers(grads[0].to(qkv.dtype)),
            mixed.numpy(), weight.numpy(), torch.get_num_threads(),
        )  # fmt: skip
        return torch.from_numpy(found).view(qkv.dtype), None, None, None


def rust(qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
    """Causal linear attention by the Rust kernel, on torch's number of threads.

    Arguments as of `attention.causal`, which is the same but for rounding. What lies on another
    device or is wider than float32 is left to `attention.chunked`.
    """
    if qkv.device.type != "cpu" or qkv.dtype not in (torch.float32, torch.bfloat16):
        return att.chunked(qkv, valid, lengths, heads)
    return torch.as_tensor(_Rust.apply(qkv, valid, lengths, heads))


def _numbers(x: Tensor) -> Any:
    """Return an array over a tensor's memory; numpy knows bfloat16 by its bits alone."""
    x = x.detach().contiguous()
    return x.view(torch.uint16).numpy() if x.dtype == torch.bfloat16 else x.numpy()


def fast_transformers(qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
    """Causal linear attention by fast-transformers' kernel; arguments as of `attention.causal`.

    Raises MissingDependencyError where it is not installed, or not built for the tensors' device.
    """
    product = _product()
    if product.dot[qkv.device.type] is None:
        raise MissingDependencyError(
            f"pytorch-fast-transformers was built without support for {qkv.device.type}: build it "
            "where nvcc is found, or take the attention backend torch"
        )
    width = qkv.shape[1] // 3
    with att.exact(qkv):
        x = qkv.float().view(-1, 3, heads, width // heads).permute(1, 2, 0, 3)  # (3, H, T, D)
        q, k, v = att.feature_map(x[0]), att.feature_map(x[1]) * valid[:, None], x[2]
        out = []
        for qs, ks, vs in zip(*(torch.split(y, lengths, 1) for y in (q, k, v)), strict=True):
            total = (qs * ks.cumsum(1)).sum(-1, keepdim=True)
            mixed = product.apply(*(y.unsqueeze(0).contiguous() for y in (qs, ks, vs)))[0]
            out.append(att.divide(torch.cat([mixed, total], -1)))
    return torch.cat(out, 1).transpose(0, 1).reshape(-1, width).to(qkv.dtype)


def _product() -> Any:
    """Return the package's autograd function."""
    try:
        from fast_transformers.causal_product import CausalDotProduct
    except ImportError as error:
        raise MissingDependencyError(
            "the attention backend fast-transformers needs pytorch-fast-transformers: "
            "pip install --no-build-isolation 'vmusprod[fast-transformers]'"
        ) from error
    return CausalDotProduct
