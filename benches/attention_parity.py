"""Our linear attention against pytorch-fast-transformers: largest differences, and time.

    python benches/attention_parity.py

Sequences of 512 and 2048 tokens, 8 heads of 32, one thread: the Rust kernel in float32 and on
bfloat16, and the chunked form of torch. Without the extra `fast-transformers` torch's chunked form
is what the others are held to. Ways take turns; times are the processor's, the least of some.
"""

import time

import torch

from vmusprod.models import attention as att
from vmusprod.models import backend

HEADS, DEPTH, ROUNDS = 8, 32, 15
WIDTH = HEADS * DEPTH


def ways(length):
    """Return calls by name, the one that others are held to first: qkv to the output."""
    valid = torch.ones(length)

    def chunked(qkv):
        return att.chunked(qkv, valid, [length], HEADS)

    def rust(qkv):
        return backend.rust(qkv, valid, [length], HEADS)

    def halves(qkv):
        return backend.rust(qkv.bfloat16(), valid, [length], HEADS).float()

    ours = {"rust": rust, "rust on bfloat16": halves, "torch": chunked}
    try:
        from fast_transformers.attention.causal_linear_attention import CausalLinearAttention
        from fast_transformers.masking import LengthMask, TriangularCausalMask
    except ImportError:
        return {"torch": chunked, **ours}
    theirs = CausalLinearAttention(WIDTH)
    mask, lengths = TriangularCausalMask(length), LengthMask(torch.tensor([length]))

    def kernel(qkv):
        q, k, v = qkv.view(1, length, 3, HEADS, DEPTH).unbind(2)
        return theirs(q, k, v, mask, lengths, lengths).reshape(length, -1)

    return {"fast-transformers": kernel, **ours}


def both(call, qkv, grad):
    """Return output and gradient, and the seconds that they took."""
    began = time.process_time()
    out = call(qkv)
    (found,) = torch.autograd.grad(out, qkv, grad)
    return out.detach(), found, time.process_time() - began


def recurrent_difference(qkv, expected):
    """Return how far the recurrent form is from an output."""
    state, worst = torch.zeros(1, HEADS, DEPTH, DEPTH + 1), 0.0
    with torch.no_grad():
        for row, wanted in zip(qkv.view(-1, 3, 1, HEADS, DEPTH), expected, strict=True):
            mapped = att.feature_map(row[0]), att.feature_map(row[1])
            step, state = att.causal_step(*mapped, row[2], state)
            worst = max(worst, float((step.flatten() - wanted).abs().max()))
    return worst


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for length in (512, 2048):
        qkv = torch.randn(length, 3 * WIDTH, requires_grad=True)
        grad = torch.randn(length, WIDTH)
        calls = ways(length)
        least = dict.fromkeys(calls, float("inf"))
        for _ in range(ROUNDS):
            results = {name: both(call, qkv, grad) for name, call in calls.items()}
            least = {name: min(least[name], results[name][2]) for name in calls}
        first = next(iter(calls))
        out, gradient, _ = results[first]
        print(f"{length} tokens, against {first}: recurrent {recurrent_difference(qkv, out):.1e}")
        for name, (a, b, _) in results.items():
            apart, steeper = float((a - out).abs().max()), float((b - gradient).abs().max())
            print(
                f"  {name:18} forward + backward {least[name] * 1e3:6.2f} ms, "
                f"{least[first] / least[name]:4.1f} times as fast; "
                f"differs by {apart:.1e}, gradient {steeper:.1e}"
            )


if __name__ == "__main__":
    main()
