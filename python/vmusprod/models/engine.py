"""What writes the streams: the Rust engine on a CPU, torch elsewhere or where asked for.

Both take the same weights, tasks and seeds, and follow the same rules. Their numbers differ (a
little in `f32` and `f16`, more in `int8`), so that now and then a draw falls otherwise: pieces part
ways there. Each engine gives the same piece every time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from vmusprod._vmus_rs import StageEngine
from vmusprod.errors import VmusError
from vmusprod.models.config import STAGES, StageConfig
from vmusprod.models.task import ENGINES, UNUSABLE, Task
from vmusprod.models.weight_file import read_header, reading_weights
from vmusprod.music import tokens as tk

PRECISION = "int8"
"""Costs a hundredth of a percent of held-out loss (docs/performance.md) and is the fastest."""


class Engine(Protocol):
    """Three stages that write what tasks ask for."""

    about: dict[str, dict[str, object]]
    """By stage: what its file says about its training."""

    def write(
        self, stage: str, tasks: Sequence[Task], progress: Callable[[float], None] | None = None
    ) -> list[tk.Tokens]:
        """Return one stream a task; progress is told the fraction of them all, 0..1.

        Raises VmusError where the weights predict nothing finite.
        """
        ...


class RustEngine:
    """The stages in Rust, without torch.

    folder: of STAGE.safetensors; precision: of the large matrices, `f32`, `f16` or `int8`; threads:
    as many as the machine has unless given; together: streams that a thread writes side by side, so
    that weights are read once for all; level: of SIMD, the machine's best unless given. A stream
    depends on none of the last three. Raises InputError when a file cannot be used.
    """

    def __init__(
        self, folder: Path, *, precision: str = PRECISION, threads: int | None = None,
        together: int = 8, level: str | None = None,
    ) -> None:  # fmt: skip
        self.threads, self.together = threads, together
        self.about: dict[str, dict[str, object]] = {}
        self.stages: dict[str, StageEngine] = {}
        self.configs: dict[str, StageConfig] = {}
        for stage in STAGES:
            path = folder / f"{stage}.safetensors"
            self.configs[stage], self.about[stage] = read_header(path, stage)
            with reading_weights(path):
                config = json.dumps(self.configs[stage].to_dict())
                self.stages[stage] = StageEngine(path.read_bytes(), config, precision, level)

    def write(
        self, stage: str, tasks: Sequence[Task], progress: Callable[[float], None] | None = None
    ) -> list[tk.Tokens]:
        """As `Engine.write`."""
        sources = self.configs[stage].sources
        seen = [
            replace(task, video={k: v for k, v in task.video.items() if k in sources})
            for task in tasks
        ]
        try:
            return self.stages[stage].write(seen, progress, self.threads, self.together)
        except FloatingPointError as error:
            raise VmusError(UNUSABLE) from error


def load_engine(name: str, folder: Path, device: str = "cpu") -> Engine:
    """Return the engine called `name`; `auto` is `rust` on the CPU and `torch` elsewhere.

    Raises InputError when the weights cannot be used, VmusError for the Rust engine on another
    device, ValueError for another name.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}: one of {', '.join(ENGINES)}")
    if name == "rust" and device != "cpu":
        raise VmusError(f"the engine rust computes on the CPU, not on {device}")
    if name == "torch" or device != "cpu":
        from vmusprod.models.torch_engine import TorchEngine

        return TorchEngine(folder, device)
    return RustEngine(folder)
