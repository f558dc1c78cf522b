"""One process of a run that tests/test_distributed.py starts with torchrun."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

from tiny_models import overrides
from vmusprod.dataset.pack import Pack
from vmusprod.training.data import Batch
from vmusprod.training.trainer import Trainer, TrainOptions


class Recorded(Trainer):
    """A trainer that remembers which songs it took."""

    def __init__(self, options: TrainOptions, pack: Pack, folder: Path) -> None:
        super().__init__(options, pack, folder)
        self.chosen: list[list[int]] = []

    def _next_batch(self) -> Batch:
        batch = super()._next_batch()
        number = (self.place - self.world + self.rank) % len(self._batches(self.epoch))
        self.chosen.append(self._batches(self.epoch)[number])
        wanted = [self.train_data.examples[i] for i in self.chosen[-1]]
        assert len(batch.target) == sum(len(e.target) for e in wanted)
        return batch


def train(pack: Pack, folder: Path, steps: int) -> dict[str, object]:
    """Train to `steps`; return what the process ends with."""
    options = TrainOptions(
        "melody", steps=steps, batch_tokens=150, dropout=0.1, cooldown=0, warmup=1,
        overrides=overrides("melody"),
    )  # fmt: skip
    run = Recorded(options, pack, folder)
    run.resume()
    losses: list[float] = []
    run.run(lambda row: losses.append(row["loss"]))
    return {"weights": run.model.state_dict(), "batches": run.chosen, "losses": losses}


def main(pack: Path, out: Path) -> None:
    rank = os.environ["RANK"]
    songs = Pack(pack)
    straight = train(songs, out / "straight", 5)
    first = train(songs, out / "parts", 3)
    second = train(songs, out / "parts", 5)
    torch.save([straight, first, second], out / f"rank{rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
