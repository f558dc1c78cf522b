"""Runs of a few steps, and how to compare what they end with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tiny_models import overrides
from vmusprod.training.trainer import Trainer, TrainOptions


def options(stage: str = "melody", **changes: Any) -> TrainOptions:
    """Several batches an epoch, dropout on, a rate that no budget changes."""
    given: dict[str, Any] = {"steps": 6, "batch_tokens": 150, "dropout": 0.1, "cooldown": 0.0}
    return TrainOptions(stage, **{**given, "warmup": 4, "overrides": overrides(stage), **changes})


def train(run: Trainer) -> list[float]:
    losses: list[float] = []
    run.run(lambda row: losses.append(row["loss"]))
    return losses


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
