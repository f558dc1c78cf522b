"""What rounded weights cost: held-out loss of whole songs in f32, f16 and int8.

    python benches/engine_precision.py PACK [--songs 10] [--weights DIR]

PACK: of `vmus dataset pack`. Teacher-forced in the Rust engine; nats a token over all attributes,
as `vmus train STAGE --evaluate PACK` reports them, and how much more that is than in f32.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.pack import Pack, PackedSong, song_mark
from vmusprod.models.config import STAGES
from vmusprod.models.engine import RustEngine
from vmusprod.models.grammar import Frame
from vmusprod.models.task import Dice, Sheet, Task, tempo_level
from vmusprod.models.weight_file import default_weights
from vmusprod.music import tokens as tk


def song_task(stage: str, song: PackedSong) -> tuple[Task, tk.Tokens]:
    """The task whose answer is the song's own stream; controls unknown, as in evaluation."""
    zeros = np.zeros(song.bars, np.int64)
    sheet = Sheet(song.bars, tempo_level(song.tempo), 1 + song.mode, 0, zeros, zeros)
    task = Task(Frame(song.bars, song.mode), sheet, {"type": Dice()})
    if stage == "chord":
        return task, song.chord
    chords = tk.decode_chords(song.chord, song.bars)
    notes = tk.decode_notes(song.melody) if stage == "accompaniment" else None
    source = tk.encode(song.bars, chords=chords, notes=notes)
    task = Task(task.frame, sheet, task.dice, source=source, chords=chords)
    return task, song.melody if stage == "melody" else song.accompaniment


def loss(logits: dict[str, NDArray[np.float32]], tokens: tk.Tokens) -> float:
    """Sum of nats over all attributes of a stream and its end."""
    total = 0.0
    for name, rows in logits.items():
        a = tk.ATTRIBUTES.index(name)
        wanted = tokens[:, a][tokens[:, a] > 0].astype(np.int64)
        if name == "type":
            wanted = np.append(tokens[:, a], tk.END).astype(np.int64)
        wide = rows.astype(np.float64)
        most = wide.max(1)
        norm = most + np.log(np.exp(wide - most[:, None]).sum(1))
        total += float((norm - wide[np.arange(len(wanted)), wanted]).sum())
    return total


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("pack", type=Path)
    parser.add_argument("--songs", type=int, default=10)
    parser.add_argument("--weights", type=Path, default=default_weights())
    options = parser.parse_args()
    engines = {p: RustEngine(options.weights, precision=p) for p in ("f32", "f16", "int8")}
    names = "".join(f"{p:>10}" for p in engines)
    print(f"{'stage':15}{'songs':>6}{'tokens':>8}{names}  int8 - f32")
    for stage in STAGES:
        trained = set(str(engines["f32"].about[stage].get("songs", "")).split())
        songs = [s for s in Pack(options.pack).songs("val") if song_mark(s.id) not in trained]
        sums = dict.fromkeys(engines, 0.0)
        count = 0
        for song in songs[: options.songs]:
            task, tokens = song_task(stage, song)
            count += len(tokens) + 1
            for name, engine in engines.items():
                sums[name] += loss(engine.stages[stage].logits(task, tokens), tokens)
        more = sums["int8"] / sums["f32"] - 1
        print(f"{stage:15}{min(len(songs), options.songs):6}{count:8}"
              + "".join(f"{total / count:10.4f}" for total in sums.values())
              + f"{100 * more:+9.3f} %")  # fmt: skip


if __name__ == "__main__":
    main()
