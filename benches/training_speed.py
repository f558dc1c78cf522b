"""Training on a CPU: tokens a second, by precision and attention, against what the machine can do.

    python benches/training_speed.py PACK [STAGE]

Steps of the stage (default: melody) at 4,096 tokens, configuration `small`, one thread; the ways
take turns, and of each the fastest step for its tokens counts. "Share" is what the products of the
model and of Muon would take at the rate that large products reach here, measured in the same run,
of what the step took. Times are of the processor, so that other programs disturb less.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from vmusprod.dataset.pack import Pack
from vmusprod.models.attention import use_backend
from vmusprod.training.trainer import Trainer, TrainOptions

WAYS = (("f32", "torch"), ("f32", "rust"), ("bf16", "torch"), ("bf16", "rust"))
ROUNDS = 4
SIZE = 1024


def matmul_rate(dtype):
    """Return the multiply-and-add rate of large products, in GFLOP/s."""
    a, b = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    taken = []
    for _ in range(8):
        began = time.process_time()
        a @ b
        taken.append(time.process_time() - began)
    return 2 * SIZE**3 / min(taken) / 1e9


def step(trainer, attention):
    """Train one step; return tokens a second."""
    tokens, began = trainer.tokens, time.process_time()
    with use_backend(attention):
        trainer._train_step(0.0)
    return (trainer.tokens - tokens) / (time.process_time() - began)


def products(trainer):
    """Return GFLOP a token of all matrix products of a step, the Rust kernel's not counted."""
    tokens = trainer.tokens
    with FlopCounterMode(display=False) as counter, use_backend("rust"):
        trainer._train_step(0.0)
    return counter.get_total_flops() / (trainer.tokens - tokens) / 1e9


def main():
    torch.set_num_threads(1)
    pack = Pack.joined([Path(sys.argv[1])])
    stage = sys.argv[2] if len(sys.argv) > 2 else "melody"
    with tempfile.TemporaryDirectory() as folder:
        trainers = {
            way: Trainer(
                TrainOptions(stage, precision=way[0], attention=way[1]), pack, Path(folder)
            )
            for way in WAYS
        }
        work = products(trainers["f32", "rust"])
        best = dict.fromkeys(WAYS, 0.0)
        rates = {"f32": 0.0, "bf16": 0.0}
        for _ in range(ROUNDS):
            for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16)):
                rates[name] = max(rates[name], matmul_rate(dtype))
            for way, trainer in trainers.items():
                best[way] = max(best[way], step(trainer, way[1]))
    print(f"{stage}: {work * 1e3:.1f} MFLOP a token in matrix products")
    print("GFLOP/s of large products: " + ", ".join(f"{n} {r:.0f}" for n, r in rates.items()))
    for (precision, attention), speed in best.items():
        share = speed * work / rates[precision]
        ratio = speed / best[WAYS[0]]
        print(
            f"{precision:>4} {attention:>5}: {speed:6.0f} tokens a second, "
            f"{ratio:.2f} times the first, share {share:.0%}"
        )


if __name__ == "__main__":
    main()
