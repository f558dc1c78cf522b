"""Weight files: safetensors with the configuration in the header."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.models.config import StageConfig
from vmusprod.models.stage import Stage

FORMAT = "vmus-stage-1"


def save_stage(
    path: Path, config: StageConfig, weights: dict[str, Tensor], about: dict[str, object]
) -> None:
    """Writes float16 weights, whole or not at all. about: what the file was trained on, JSON values."""
    half = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in weights.items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "about": json.dumps(about),
    }
    with atomic_output(path) as part:
        part.write_bytes(save(half, metadata=header))


def load_stage(path: Path, stage: str | None = None) -> tuple[Stage, dict[str, object]]:
    """The model in float32, in evaluation mode, and what its file says about itself.

    Raises InputError when the file is missing, damaged, of another program or of another stage.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise InputError(path, "not a vmus weights file")
            config = StageConfig.from_dict(json.loads(header["config"]))
            if stage is not None and config.stage != stage:
                raise InputError(path, f"holds the {config.stage} stage, not {stage}")
            weights = {k: file.get_tensor(k).float() for k in file.keys()}  # noqa: SIM118
            about = cast(dict[str, object], json.loads(header.get("about", "{}")))
        model = Stage(config)
        model.load_state_dict(weights)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as e:
        cause = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise InputError(path, f"cannot be read as vmus weights ({cause[:200]})") from e
    if not all(torch.isfinite(w).all() for w in weights.values()):
        raise InputError(path, "holds weights that are not finite")
    return model.eval(), about


def default_weights() -> Path:
    """The folder of the weights in the package."""
    return Path(str(resources.files("vmusprod"))) / "weights" / "small"
