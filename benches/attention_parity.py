"""Our linear attention against pytorch-fast-transformers: largest differences, and time.

    python benches/attention_parity.py

Needs the extra `fast-transformers`. Sequences of 512 and 2048 tokens, 8 heads of 32, one thread.
"""

import time

import torch
from fast_transformers.attention.causal_linear_attention import CausalLinearAttention
from fast_transformers.masking import LengthMask, TriangularCausalMask
from fast_transformers.recurrent.attention import RecurrentLinearAttention

from vmusprod.models import attention as att

HEADS, DEPTH = 8, 32


def seconds(call, times=5):
    call()
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return sorted(taken)[times // 2]


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    theirs = CausalLinearAttention(HEADS * DEPTH)
    for length in (512, 2048):
        qkv = torch.randn(length, 3 * HEADS * DEPTH, requires_grad=True)
        valid = torch.ones(length)
        mask, lengths = TriangularCausalMask(length), LengthMask(torch.tensor([length]))

        def ours(qkv=qkv, valid=valid, length=length):
            return att.causal(qkv, valid, [length], HEADS)

        def kernel(qkv=qkv, mask=mask, lengths=lengths, length=length):
            q, k, v = qkv.view(1, length, 3, HEADS, DEPTH).unbind(2)
            return theirs(q, k, v, mask, lengths, lengths).reshape(length, -1)

        a, b = ours(), kernel()
        grad = torch.randn_like(a)
        (da,) = torch.autograd.grad(a, qkv, grad, retain_graph=True)
        (db,) = torch.autograd.grad(b, qkv, grad, retain_graph=True)
        state = torch.zeros(1, HEADS, DEPTH, DEPTH + 1)
        recurrent, memory = RecurrentLinearAttention(HEADS * DEPTH), None
        worst = chunked = 0.0
        with torch.no_grad():
            for t, row in enumerate(qkv.view(length, 3, 1, HEADS, DEPTH)):
                mapped = att.feature_map(row[0]), att.feature_map(row[1])
                step, state = att.causal_step(*mapped, row[2], state)
                other, memory = recurrent(*row, memory)
                worst = max(worst, float((step - other).abs().max()))
                chunked = max(chunked, float((step.flatten() - a[t]).abs().max()))
        print(
            f"{length} tokens: forward {float((a - b).abs().max()):.1e}, "
            f"gradient {float((da - db).abs().max()):.1e}, recurrent {worst:.1e}, "
            f"chunked against recurrent {chunked:.1e}"
        )

        def both(call, grad=grad, qkv=qkv):
            torch.autograd.grad(call(), qkv, grad)

        mine, its = seconds(lambda f=ours: both(f)), seconds(lambda f=kernel: both(f))
        print(
            f"{length} tokens, forward + backward: ours {mine * 1e3:.1f} ms, "
            f"fast-transformers {its * 1e3:.1f} ms, ratio {its / mine:.1f}"
        )


if __name__ == "__main__":
    main()
