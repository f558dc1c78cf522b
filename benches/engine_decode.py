"""A decode step of the config `paper`: our engine against fast-transformers' recurrent decoder.

    python benches/engine_decode.py [--tokens 200] [--rounds 5]

Random weights of Table 7's melody stage (d 512, 6 decoder layers, 8 heads, FFN 2048), one thread
each, in turns, so that what else the machine does falls on both. Figures are processor time, the
least of the rounds. Ours is the whole step (embedding, decoder, heads, grammar aside), theirs the
decoder alone. Then eight pieces side by side against one.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from safetensors.torch import save

from vmusprod._vmus_rs import StageEngine
from vmusprod.models.config import config
from vmusprod.models.grammar import Frame
from vmusprod.models.stage import Stage
from vmusprod.models.task import Dice, Sheet, Task
from vmusprod.models.weight_file import default_weights, read_header
from vmusprod.music import tokens as tk


def least(run: Callable[[], object], rounds: int) -> float:
    """Return the least processor time of a few runs, in seconds."""
    times = []
    for _ in range(rounds):
        began = time.process_time()
        run()
        times.append(time.process_time() - began)
    return min(times)


def task(bars: int, seed: int) -> Task:
    """A melody over chords that change every bar."""
    free = np.zeros(bars, np.int64)
    chords = np.repeat(np.resize([0, 91, 50, 70], bars), 4).astype(np.uint8)
    sheet = Sheet(bars, 15, 1, 1, free, free)
    dice = dict.fromkeys(tk.ATTRIBUTES, Dice(1.0, 0.995))
    source = tk.encode(bars, chords=chords)
    return Task(Frame(bars, 0), sheet, dice, (seed,), source=source, chords=chords)


def random_stage() -> tuple[bytes, str]:
    torch.manual_seed(0)
    model = Stage(config("paper", "melody"))
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.01)
    weights = {k: v.contiguous() for k, v in model.state_dict().items()}
    return save(weights), json.dumps(model.config.to_dict())


def recurrent_decoder() -> Callable[[], object]:
    """Return one step of fast-transformers' decoder of the same size, with cross-attention."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fast_transformers.builders import RecurrentDecoderBuilder
        from fast_transformers.masking import LengthMask

        decoder = RecurrentDecoderBuilder.from_kwargs(
            n_layers=6, n_heads=8, query_dimensions=64, value_dimensions=64,
            feed_forward_dimensions=2048, self_attention_type="linear",
            cross_attention_type="linear", activation="gelu",
        ).get()  # fmt: skip
    decoder.eval()
    x, memory = torch.randn(1, 512), torch.randn(1, 64, 512)
    lengths = LengthMask(torch.tensor([64]))
    state = None

    def step() -> object:
        nonlocal state
        with torch.inference_mode():
            y, state = decoder(x, memory, memory_length_mask=lengths, state=state)
        return y

    return step


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, shape = random_stage()
    given = task(8, 0)
    stream = np.resize(
        np.array([[1, 1, 0, 0, 0, 0, 0], [1, 2, 0, 0, 0, 0, 0], [2, 0, 61, 4, 4, 0, 0]], np.int16),
        (options.tokens, 7),
    )
    given = replace(given, frame=Frame(options.tokens, 0))
    theirs = float("nan")
    try:
        step = recurrent_decoder()
    except ImportError:
        print("fast-transformers is not installed: no comparison")
    else:
        step()
        theirs = least(lambda: [step() for _ in range(options.tokens)], options.rounds)
        theirs *= 1e3 / options.tokens
        print(f"fast-transformers, recurrent, 1 thread   {theirs:7.3f} ms a token")
    for precision in ("f32", "f16", "int8"):
        engine = StageEngine(data, shape, precision)
        once = least(lambda: engine.logits(given, stream[:1]), options.rounds)  # noqa: B023
        ours = least(lambda: engine.logits(given, stream), options.rounds) - once  # noqa: B023
        ours *= 1e3 / (options.tokens - 1)
        print(f"vmus {precision:5} {engine.level:10} 1 thread          {ours:7.3f} ms a token, "
              f"{theirs / ours:5.1f} times faster")  # fmt: skip
    path = default_weights() / "accompaniment.safetensors"
    shipped = path.read_bytes(), json.dumps(read_header(path)[0].to_dict())
    for name, (weights, sizes) in {"paper": (data, shape), "small": shipped}.items():
        for precision in ("f32", "f16", "int8"):
            engine = StageEngine(weights, sizes, precision)
            one = task(8, 1)
            single = least(lambda: engine.write([one], threads=1), options.rounds)  # noqa: B023
            eight = least(
                lambda: engine.write([one] * 8, threads=1, together=8),  # noqa: B023
                options.rounds,
            )
            print(f"{name} {precision:5} 8 pieces {eight * 1e3:8.1f} ms, 1 piece "
                  f"{single * 1e3:8.1f} ms: {eight / single:4.2f} times")  # fmt: skip


if __name__ == "__main__":
    main()
