"""Torch's answers to what the Rust engine is asked, on given streams."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save

from vmusprod._vmus_rs import StageEngine
from vmusprod.dataset.pack import PackedSong
from vmusprod.models.config import config
from vmusprod.models.controller import VideoInput, sequence_slots
from vmusprod.models.grammar import Frame
from vmusprod.models.heads import CHAINS, stage_types
from vmusprod.models.stage import Stage
from vmusprod.models.task import Dice, Sheet, Task
from vmusprod.music import tokens as tk
from vmusprod.training.data import collate, make_example


def stage_engine(model: Stage, precision: str = "f32", level: str | None = None) -> StageEngine:
    """Return the engine of a torch model's own weights, in float32."""
    weights = {k: v.detach().contiguous() for k, v in model.state_dict().items()}
    return StageEngine(save(weights), json.dumps(model.config.to_dict()), precision, level)


def shaken(stage: str, name: str) -> Stage:
    """Random weights, the zero-initialised ones too."""
    torch.manual_seed(1)
    model = Stage(config(name, stage)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.03)
    return model


def song_task(stage: str, song: PackedSong) -> tuple[Task, tk.Tokens]:
    """A task whose right answer is a song's own stream, controls unknown as in evaluation."""
    example = make_example(stage, song)
    zeros = np.zeros(song.bars, np.int64)
    tempo = int(example.decoder.context["tempo"][0])
    sheet = Sheet(song.bars, tempo, 1 + song.mode, 0, zeros, zeros)
    task = Task(Frame(song.bars, song.mode), sheet, {"type": Dice()})
    if example.source is not None:
        source = example.source.tokens.astype(np.int16)
        chords = tk.decode_chords(song.chord, song.bars)
        task = Task(task.frame, sheet, task.dice, source=source, chords=chords)
    return task, example.target[:-1].astype(np.int16)


@torch.no_grad()
def torch_logits(model: Stage, song: PackedSong) -> dict[str, NDArray[np.float32]]:
    """Logits of the parallel form, as `StageEngine.logits` gives them."""
    stage = model.config.stage
    batch = collate([make_example(stage, song)])
    memory = where = None
    if batch.source is not None:
        memory, where = model.encode(batch.source), batch.source.packed
    return _logits(model, model(batch.decoder, memory, where)[batch.rows], batch.target)


def _logits(
    model: Stage, hidden: torch.Tensor, target: torch.Tensor
) -> dict[str, NDArray[np.float32]]:
    h = model.heads.norm(hidden)
    out = {"type": model.heads.kind(h)}
    for kind in stage_types(model.config.stage):
        rows = target[:, tk.TYPE] == kind
        for i, a in enumerate(CHAINS[kind]):
            name = tk.ATTRIBUTES[a]
            before = [target[rows, b] for b in CHAINS[kind][:i]]
            out[name] = model.heads.attribute(name, h[rows], before)
    return {name: x.numpy() for name, x in out.items() if len(x)}


@torch.no_grad()
def video_logits(
    model: Stage, song: PackedSong, video: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    """Logits of the chord stage that sees a video."""
    seconds = len(next(iter(video.values())))
    rows = {name: torch.from_numpy(values) for name, values in video.items()}
    assert model.controller is not None
    seen = model.controller(VideoInput(rows, [seconds], {name: [True] for name in rows}))
    batch = collate([make_example("chord", song)])
    packed = batch.decoder.packed
    slots = sequence_slots(torch.zeros(len(packed.valid), dtype=torch.int64), 1)
    decoder = replace(batch.decoder, packed=replace(packed, slots=slots))
    return _logits(model, model(decoder, *seen)[batch.rows], batch.target)
