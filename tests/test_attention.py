"""Linear attention: every form equals the definition, a sum over pairs of tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vmusprod import _vmus_rs
from vmusprod.errors import MissingDependencyError
from vmusprod.models import attention as att
from vmusprod.models import backend

HEADS, DEPTH = 2, 3
WIDTH = HEADS * DEPTH


def phi(x: Tensor) -> Tensor:
    return torch.where(x > 0, x + 1, x.exp())


def pairs(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
    """Each query's weighted mean over the keys that its row of the mask allows, head by head.

    q: (T, width), k, v: (S, width), before the feature map; mask: (T, S).
    """
    out = []
    for h in range(HEADS):
        part = slice(h * DEPTH, (h + 1) * DEPTH)
        weight = (phi(q[:, part]) @ phi(k[:, part]).T) * mask
        out.append(weight @ v[:, part] / (weight.sum(1, keepdim=True) + 1e-6))
    return torch.cat(out, 1)


class Layout:
    """Packed sequences: lengths of tokens, each padded to whole chunks."""

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts
        self.lengths = [-(-max(n, 1) // att.CHUNK) * att.CHUNK for n in counts]
        self.starts = [sum(self.lengths[:i]) for i in range(len(counts))]
        self.total = sum(self.lengths)
        self.valid = torch.zeros(self.total)
        for start, count in zip(self.starts, counts, strict=True):
            self.valid[start : start + count] = 1
        self.rows = self.valid.bool()

    def spans(self) -> list[slice]:
        return [slice(s, s + n) for s, n in zip(self.starts, self.counts, strict=True)]


def random(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)


def gradients(
    function: Callable[..., Tensor], inputs: list[Tensor], weights: Tensor
) -> tuple[Tensor, list[Tensor]]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    torch.autograd.backward((out * weights).sum())
    return out.detach(), [torch.as_tensor(x.grad) for x in leaves]


counts = st.lists(
    st.one_of(st.integers(1, 150), st.sampled_from([1, 63, 64, 65, 128, 129])),
    min_size=1,
    max_size=3,
)


@settings(max_examples=15)
@given(counts, st.integers(0, 999), st.sampled_from([torch.float64, torch.float32]))
def test_causal_equals_pairs(counts: list[int], seed: int, dtype: torch.dtype) -> None:
    layout = Layout(counts)
    qkv = random(layout.total, 3 * WIDTH, seed=seed, dtype=dtype)
    weights = random(layout.total, WIDTH, seed=seed + 1, dtype=dtype) * layout.valid[:, None]

    def twin(x: Tensor) -> Tensor:
        x = x.double()
        out = torch.zeros(layout.total, WIDTH, dtype=torch.float64)
        for span in layout.spans():
            q, k, v = x[span].chunk(3, 1)
            out[span] = pairs(q, k, v, torch.ones(len(q), len(q)).tril())
        return out

    def chunks(x: Tensor) -> Tensor:
        return att.causal(x, layout.valid, layout.lengths, HEADS)

    actual, (grad,) = gradients(chunks, [qkv], weights)
    expected, (wanted,) = gradients(twin, [qkv], weights)
    assert actual.dtype == grad.dtype == dtype
    close = 1e-10 if dtype == torch.float64 else 2e-5
    rows = layout.rows
    torch.testing.assert_close(actual[rows].double(), expected[rows], atol=close, rtol=close)
    torch.testing.assert_close(grad.double(), wanted.double(), atol=5 * close, rtol=5 * close)


@settings(max_examples=10)
@given(st.integers(1, 140), st.integers(0, 999))
def test_recurrent_equals_chunked(count: int, seed: int) -> None:
    layout = Layout([count])
    qkv = random(layout.total, 3 * WIDTH, seed=seed, dtype=torch.float32)
    expected = att.causal(qkv, layout.valid, layout.lengths, HEADS)
    state = torch.zeros(1, HEADS, DEPTH, DEPTH + 1)
    for row, wanted in zip(qkv[:count], expected[:count], strict=True):
        q, k, v = row.view(3, 1, HEADS, DEPTH)
        out, state = att.causal_step(att.feature_map(q), att.feature_map(k), v, state)
        torch.testing.assert_close(out.flatten(), wanted, atol=1e-5, rtol=1e-5)


def test_steps_of_a_batch_do_not_mix() -> None:
    q, k, v = random(3, 4, HEADS, DEPTH, seed=0).abs()
    state = random(4, HEADS, DEPTH, DEPTH + 1, seed=1).abs()
    out, new = att.causal_step(q, k, v, state)
    for b in range(4):
        row = slice(b, b + 1)
        alone, alone_state = att.causal_step(q[row], k[row], v[row], state[row])
        torch.testing.assert_close(out[row], alone)
        torch.testing.assert_close(new[row], alone_state)


@settings(max_examples=10)
@given(counts, st.integers(0, 999))
def test_full_equals_pairs(counts: list[int], seed: int) -> None:
    layout = Layout(counts)
    q, k, v = random(3, layout.total, WIDTH, seed=seed)
    weights = random(layout.total, WIDTH, seed=seed + 1)

    def twin(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = []
        for start, length in zip(layout.starts, layout.lengths, strict=True):
            span = slice(start, start + length)
            mask = layout.valid[span].expand(length, -1)
            parts.append(pairs(q[span], k[span], v[span], mask))
        return torch.cat(parts)

    def sums(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.view(-1, HEADS, DEPTH) for x in (q, k, v))
        k = att.feature_map(k) * layout.valid[:, None, None]
        return att.full(att.feature_map(q), k, v, layout.lengths).flatten(1)

    actual, grads = gradients(sums, [q, k, v], weights)
    expected, wanted = gradients(twin, [q, k, v], weights)
    torch.testing.assert_close(actual, expected)
    for grad, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, want)


song = st.tuples(  # bars of its queries and of its source tokens, in a song of 5 bars
    st.lists(st.integers(0, 4), min_size=1, max_size=25),
    st.lists(st.integers(0, 4), min_size=0, max_size=25),
)


@settings(max_examples=25)
@given(st.lists(song, min_size=1, max_size=3), st.integers(0, 999))
def test_windowed_equals_pairs_within_the_ranges(
    songs: list[tuple[list[int], list[int]]], seed: int
) -> None:
    # as packed for training: songs lie two empty bars apart, padding keeps no key
    near = np.concatenate([np.sort(np.array(q, int)) + 1 + 7 * i for i, (q, _) in enumerate(songs)])
    far = np.concatenate([np.sort(np.array(s, int)) + 1 + 7 * i for i, (_, s) in enumerate(songs)])
    valid = (random(len(far), seed=seed) > -1).double()
    bars = 7 * len(songs) + 1
    ranges = _vmus_rs.bar_ranges(near.astype(np.int32), far.astype(np.int32))
    mask = torch.zeros(len(near), len(far), dtype=torch.float64)
    for row, (start, end) in zip(mask, ranges, strict=True):
        row[start:end] = 1
    mask *= valid
    q = random(len(near), WIDTH, seed=seed + 1)
    kv = random(len(far), 2 * WIDTH, seed=seed + 2)
    weights = random(len(near), WIDTH, seed=seed + 3)
    near_slots = att.bar_slots(torch.from_numpy(near), bars)
    far_slots = att.bar_slots(torch.from_numpy(far), bars)

    def twin(q: Tensor, kv: Tensor) -> Tensor:
        return pairs(q, kv[:, :WIDTH], kv[:, WIDTH:], mask)

    def tables(q: Tensor, kv: Tensor) -> Tensor:
        return att.windowed(q, kv, valid, near_slots, far_slots, HEADS)

    actual, grads = gradients(tables, [q, kv], weights)
    expected, wanted = gradients(twin, [q, kv], weights)
    torch.testing.assert_close(actual, expected)
    for grad, want in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, want)

    k, v = (x.view(-1, HEADS, DEPTH) for x in kv.chunk(2, 1))
    states = att.bar_states(att.feature_map(k) * valid[:, None, None], v, far_slots)
    read = att.window_step(att.feature_map(q).view(-1, HEADS, DEPTH), states[near])
    torch.testing.assert_close(read.flatten(1), expected)


def test_slots_hold_each_token_once() -> None:
    bars = torch.tensor([3, 0, 3, 3, 1])
    slots = att.bar_slots(bars, 5)
    assert (slots.bars, slots.widest) == (5, 3)
    assert len(set(slots.place.tolist())) == 5
    assert torch.equal(slots.place // slots.widest, bars)


@pytest.mark.parametrize("form", ["causal", "windowed", "full"])
def test_autocast_changes_inputs_only(form: str) -> None:
    """Under bf16 autocast (as on a GPU) the sums stay in float32, forward and backward."""
    x = random(128, 5 * WIDTH, seed=3, dtype=torch.float32).bfloat16()
    valid = torch.ones(128)
    slots = att.bar_slots(torch.arange(128) // 16, 8)

    def function(x: Tensor) -> Tensor:
        if form == "causal":
            return att.causal(x[:, : 3 * WIDTH].contiguous(), valid, [128], HEADS)
        if form == "windowed":
            parts = x[:, :WIDTH].contiguous(), x[:, WIDTH : 3 * WIDTH].contiguous()
            return att.windowed(*parts, valid, slots, slots, HEADS)
        q, k, v, *_ = (y.view(-1, HEADS, DEPTH) for y in x.chunk(5, 1))
        mapped = att.feature_map(att.widen(q)), att.feature_map(att.widen(k))
        return att.full(*mapped, v, [128]).flatten(1)

    weights = random(128, WIDTH, seed=4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        actual, (grad,) = gradients(function, [x], weights)
    expected, (wanted,) = gradients(function, [x.float()], weights)
    assert actual.dtype == torch.bfloat16
    # bf16 has 8 bits; sums over 128 tokens in bf16 would be off by several per cent
    torch.testing.assert_close(actual.float(), expected, atol=4e-3, rtol=8e-3)
    assert (grad.float() - wanted).norm() < 0.01 * wanted.norm()


class TestFastTransformers:
    """The authors' own package as the oracle, and as a backend."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("fast_transformers.causal_product")

    @pytest.mark.parametrize("lengths", [[64], [128, 64, 192]])
    def test_causal(self, lengths: list[int]) -> None:
        from fast_transformers.attention.causal_linear_attention import CausalLinearAttention
        from fast_transformers.masking import LengthMask, TriangularCausalMask

        oracle = CausalLinearAttention(DEPTH)
        layout = Layout([n - 9 for n in lengths])
        qkv = random(layout.total, 3 * WIDTH, seed=5, dtype=torch.float32)
        weights = random(layout.total, WIDTH, seed=6, dtype=torch.float32) * layout.valid[:, None]

        def theirs(x: Tensor) -> Tensor:
            parts = []
            for part, count in zip(torch.split(x, lengths), layout.counts, strict=True):
                q, k, v = part.view(1, len(part), 3, HEADS, DEPTH).unbind(2)
                known = LengthMask(torch.tensor([count]), max_len=len(part))
                mask = TriangularCausalMask(len(part))
                parts.append(oracle(q, k, v, mask, known, known)[0].flatten(1))
            return torch.cat(parts)

        def ours(x: Tensor) -> Tensor:
            return att.causal(x, layout.valid, lengths, HEADS)

        expected, (wanted,) = gradients(theirs, [qkv], weights)
        for name in backend.BACKENDS:
            with att.use_backend(name):
                actual, (grad,) = gradients(ours, [qkv], weights)
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(grad, wanted, atol=1e-5, rtol=1e-4)

    def test_recurrent(self) -> None:
        from fast_transformers.recurrent.attention.self_attention.linear_attention import (
            RecurrentLinearAttention,
        )

        oracle = RecurrentLinearAttention(DEPTH)
        theirs, state = None, torch.zeros(2, HEADS, DEPTH, DEPTH + 1)
        for step in range(100):
            q, k, v = random(3, 2, HEADS, DEPTH, seed=step, dtype=torch.float32)
            expected, theirs = oracle(q, k, v, theirs)
            actual, state = att.causal_step(att.feature_map(q), att.feature_map(k), v, state)
            torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)

    def test_backend_is_really_used_and_put_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = []

        def spy(qkv: Tensor, *_: object) -> Tensor:
            asked.append(len(qkv))
            return qkv[:, :WIDTH]

        monkeypatch.setattr(backend, "fast_transformers", spy)
        qkv = random(64, 3 * WIDTH, seed=0, dtype=torch.float32)
        with att.use_backend("fast-transformers"), att.use_backend("torch"):
            att.causal(qkv, torch.ones(64), [64], HEADS)
        assert not asked

        def fails_after_use() -> None:
            with att.use_backend("fast-transformers"):
                att.causal(qkv, torch.ones(64), [64], HEADS)
                raise KeyError

        with pytest.raises(KeyError):
            fails_after_use()
        assert asked == [64]
        att.causal(qkv, torch.ones(64), [64], HEADS)
        assert asked == [64]

    def test_backend_without_a_kernel_for_the_device(self) -> None:
        from fast_transformers.causal_product import CausalDotProduct

        kernels = dict(CausalDotProduct.dot)
        try:
            CausalDotProduct.dot["cpu"] = None
            with pytest.raises(MissingDependencyError, match="without support for cpu"):
                backend.fast_transformers(torch.zeros(64, 6), torch.ones(64), [64], 1)
        finally:
            CausalDotProduct.dot.update(kernels)


def test_missing_backend_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fast_transformers.causal_product", None)
    with (
        pytest.raises(MissingDependencyError, match=r"pip install --no-build-isolation"),
        att.use_backend("fast-transformers"),
    ):
        raise AssertionError
    with pytest.raises(ValueError, match="unknown attention backend 'flash'"):
        backend.find_backend("flash")
