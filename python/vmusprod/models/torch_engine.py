"""The three stages in torch: on a GPU, and what the Rust engine is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from vmusprod.models.config import STAGES
from vmusprod.models.sampling import write_task
from vmusprod.models.stage import Stage
from vmusprod.models.task import Task
from vmusprod.models.weights import load_stage
from vmusprod.music import tokens as tk


class TorchEngine:
    """One stream after the other, token by token.

    folder: of STAGE.safetensors. Raises InputError when a file cannot be used.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.models: dict[str, Stage] = {}
        self.about: dict[str, dict[str, object]] = {}
        for stage in STAGES:
            model, self.about[stage] = load_stage(folder / f"{stage}.safetensors", stage)
            self.models[stage] = model.to(device)

    def write(
        self, stage: str, tasks: Sequence[Task], progress: Callable[[float], None] | None = None
    ) -> list[tk.Tokens]:
        """As `engine.Engine.write`."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums must not depend on the machine's thread count
        total = sum(task.frame.bars for task in tasks)
        written: list[tk.Tokens] = []
        done = 0

        def tell(share: float) -> None:
            if progress is not None:
                progress((done + share * task.frame.bars) / total)

        try:
            with torch.inference_mode():
                for task in tasks:
                    written.append(write_task(self.models[stage], task, tell))
                    done += task.frame.bars
        finally:
            torch.set_num_threads(threads)
        if progress is not None:
            progress(1.0)
        return written
