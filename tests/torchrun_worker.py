"""One process of a run that tests/test_trainer.py starts with torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from tiny_models import overrides
from vmusprod.dataset.pack import Pack
from vmusprod.training import trainer as module
from vmusprod.training.trainer import Trainer, TrainOptions


def train(pack: Pack, folder: Path, steps: int) -> dict[str, object]:
    """Train to `steps`; return what the process ends with."""
    options = TrainOptions(
        "melody", steps=steps, batch_tokens=150, dropout=0.1, cooldown=0, warmup=1,
        overrides=overrides("melody"),
    )  # fmt: skip
    run = Trainer(options, pack, folder)
    run.resume()
    chosen: list[list[int]] = []
    original = module.collate

    def spy(examples: list[object], *rest: object) -> object:
        everything = run.train_data.examples
        chosen.append([next(i for i, x in enumerate(everything) if x is e) for e in examples])
        return original(examples, *rest)  # type: ignore[arg-type]

    module.collate = spy  # type: ignore[assignment]
    losses: list[float] = []
    run.run(lambda row: losses.append(row["loss"]))
    module.collate = original
    return {"weights": run.model.state_dict(), "batches": chosen, "losses": losses}


def main(pack: Path, out: Path) -> None:
    rank = os.environ["RANK"]
    songs = Pack(pack)
    straight = train(songs, out / "straight", 5)
    first = train(songs, out / "parts", 3)
    second = train(songs, out / "parts", 5)
    torch.save([straight, first, second], out / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
