"""The Rust kernel of causal linear attention, forward and backward, against its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from vmusprod import _vmus_rs
from vmusprod.models import attention as att
from vmusprod.models import backend

Case = tuple[list[int], int, int, float]
"""Tokens of each sequence, heads, depth of a head, share of tokens that are padding."""

cases = st.tuples(
    st.lists(st.one_of(st.integers(1, 70), st.sampled_from([15, 16, 17, 128])), max_size=3),
    st.integers(1, 4),
    st.one_of(st.integers(1, 40), st.sampled_from([16, 32, 64])),
    st.sampled_from([0.0, 0.2, 1.0]),
)


def tensors(case: Case, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv, valid and a gradient of the output."""
    lengths, heads, depth, padding = case
    rng = np.random.default_rng(seed)
    total, width = sum(lengths), heads * depth
    qkv = rng.normal(size=(total, 3 * width)) * rng.choice([0.3, 1.0, 3.0])
    valid = rng.random(total) >= padding
    grad = rng.normal(size=(total, width)) * valid[:, None]
    return tuple(torch.from_numpy(x).float() for x in (qkv, valid, grad))  # type: ignore[return-value]


def twin(qkv: Tensor, valid: Tensor, lengths: list[int], heads: int) -> Tensor:
    """The definition, pair by pair, in float64; autograd takes its gradient."""
    out = []
    width = qkv.shape[1] // 3
    for x, kept in zip(torch.split(qkv, lengths), torch.split(valid, lengths), strict=True):
        q, k, v = x.double().view(len(x), 3, heads, width // heads).permute(1, 2, 0, 3)
        q, k = torch.where(q > 0, q + 1, q.exp()), torch.where(k > 0, k + 1, k.exp())
        weight = (q @ (k * kept[:, None]).transpose(1, 2)).tril()
        mixed = weight @ v / (weight.sum(-1, keepdim=True) + 1e-6)
        out.append(mixed.transpose(0, 1).reshape(len(x), width))
    return torch.cat(out) if out else qkv[:, :width].double()


def both(function: Any, qkv: Tensor, grad: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    leaf = qkv.clone().requires_grad_()
    out = function(leaf, *rest)
    (found,) = torch.autograd.grad(out, leaf, grad.to(out.dtype))
    return out.detach(), found


@settings(max_examples=40)
@given(cases, st.integers(0, 999))
@example(([64], 8, 32, 0.0), 0)
@example(([], 2, 16, 0.0), 0)
def test_equals_the_definition(case: Case, seed: int) -> None:
    lengths, heads, _, _ = case
    qkv, valid, grad = tensors(case, seed)
    out, found = both(backend.rust, qkv, grad, valid, lengths, heads)
    expected, wanted = both(twin, qkv, grad, valid, lengths, heads)
    assert out.dtype == found.dtype == torch.float32
    # a query that may see padding alone is divided by almost nothing: nobody reads it
    seen = valid.bool()
    scale = 1 + float(wanted.abs().max() if len(wanted) else 0)
    torch.testing.assert_close(out[seen].double(), expected[seen], atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(found / scale, wanted / scale, atol=1e-5, rtol=1e-4)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=3), st.integers(0, 999))
def test_equals_torchs_chunks(chunks: list[int], seed: int) -> None:
    lengths = [n * att.CHUNK for n in chunks]
    qkv, valid, grad = tensors((lengths, 2, 32, 0.1), seed)
    out, found = both(backend.rust, qkv, grad, valid, lengths, 2)
    expected, wanted = both(att.chunked, qkv, grad, valid, lengths, 2)
    torch.testing.assert_close(out, expected, atol=2e-5, rtol=2e-5)
    torch.testing.assert_close(found, wanted, atol=5e-5, rtol=1e-4)


@settings(max_examples=15)
@given(cases, st.integers(0, 999), st.booleans())
def test_any_number_of_threads_gives_the_same_bits(case: Case, seed: int, half: bool) -> None:
    lengths, heads, _, _ = case
    qkv, valid, grad = tensors(case, seed)
    x, g = (y.bfloat16().view(torch.uint16).numpy() if half else y.numpy() for y in (qkv, grad))
    kept = valid.numpy()
    first: list[bytes] = []
    for threads in (1, 2, 3, 99):
        out, weight = _vmus_rs.causal_attention(x, kept, lengths, heads, threads)
        gradient = _vmus_rs.causal_attention_backward(
            x, kept, lengths, heads, g, out, weight, threads
        )
        found = [y.tobytes() for y in (out, weight, gradient)]
        assert found == (first := first or found)


def test_bfloat16_rounds_inputs_and_outputs_only() -> None:
    lengths = [1024, 512]
    qkv, valid, grad = tensors((lengths, 4, 32, 0.1), 1)
    rough, gradient = qkv.bfloat16(), grad.bfloat16()
    out, found = both(backend.rust, rough, gradient, valid, lengths, 4)
    assert out.dtype == found.dtype == torch.bfloat16
    expected, wanted = both(backend.rust, rough.float(), gradient.float(), valid, lengths, 4)
    assert torch.equal(out, expected.bfloat16())
    assert torch.equal(found, wanted.bfloat16())


def test_what_is_not_for_it_goes_to_torch() -> None:
    qkv, valid, grad = tensors(([64], 2, 8, 0.0), 0)
    out, found = both(backend.rust, qkv.double(), grad, valid, [64], 2)
    assert out.dtype == found.dtype == torch.float64
    expected, _ = both(att.chunked, qkv.double(), grad, valid, [64], 2)
    assert torch.equal(out, expected)


def test_an_input_in_another_order_of_memory() -> None:
    qkv, valid, grad = tensors(([48], 2, 8, 0.0), 0)
    expected, wanted = both(backend.rust, qkv, grad, valid, [48], 2)
    turned = qkv.t().contiguous().t()
    out, found = both(backend.rust, turned, grad.t().contiguous().t(), valid, [48], 2)
    assert torch.equal(out, expected)
    assert torch.equal(found, wanted)


def test_automatic_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    for levels, wanted in [
        (["avx512", "avx2", "plain"], backend.rust),
        (["neon"], backend.rust),
        (["plain"], att.chunked),
    ]:
        monkeypatch.setattr(backend, "levels", lambda levels=levels: levels)
        assert backend.find_backend("auto") is wanted
    assert backend.find_backend("rust") is backend.rust
    assert backend.find_backend("torch") is att.chunked


def test_what_does_not_fit_is_refused() -> None:
    x, valid = np.zeros((8, 12), np.float32), np.ones(8, np.float32)
    out, weight = _vmus_rs.causal_attention(x, valid, [3, 5], 2, 1)
    assert out.shape == (8, 4)
    assert weight.shape == (8, 2)
    bad: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        ((x, valid, [3, 4], 2, 1), ValueError, "lengths"),
        ((x, valid, [3, 5], 3, 1), ValueError, "qkv"),
        ((x, valid, [3, 5], 0, 1), ValueError, "qkv"),
        ((x[:, :11], valid, [3, 5], 2, 1), ValueError, "qkv"),
        ((x[:7], valid, [3, 5], 2, 1), ValueError, "qkv"),
        ((x, valid[:7], [3, 4], 2, 1), ValueError, "qkv"),
        ((x.astype(np.float64), valid, [3, 5], 2, 1), TypeError, "qkv"),
        ((x[0], valid, [3, 5], 2, 1), ValueError, "qkv"),
        ((x, valid.astype(bool), [3, 5], 2, 1), TypeError, "valid"),
        (("x", valid, [3, 5], 2, 1), TypeError, "qkv"),
    ]
    for arguments, error, name in bad:
        with pytest.raises(error, match=name):
            _vmus_rs.causal_attention(*arguments)
    with pytest.raises(TypeError, match="grad"):
        _vmus_rs.causal_attention_backward(
            x, valid, [3, 5], 2, out.astype(np.uint16), out, weight, 1
        )
    with pytest.raises(ValueError, match="weight"):
        _vmus_rs.causal_attention_backward(x, valid, [3, 5], 2, out, out, weight[:, :1], 1)
    with pytest.raises(OverflowError):
        _vmus_rs.causal_attention(x, valid, [-3, 11], 2, 1)
