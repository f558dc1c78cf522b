"""Weight files: safetensors with the configuration in the header."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.models.config import StageConfig
from vmusprod.models.stage import Stage
from vmusprod.models.weight_file import FORMAT, read_header, reading_weights

MAX_LAYERS = 128


def save_stage(
    path: Path, config: StageConfig, weights: dict[str, Tensor], about: dict[str, object]
) -> None:
    """Write weights in float16, whole or not at all.

    about: what the file was trained on, JSON values. Raises OutputError.
    """
    half = {k: v.detach().to("cpu", torch.float16).contiguous() for k, v in weights.items()}
    header = {
        "format": FORMAT,
        "config": json.dumps(config.to_dict()),
        "about": json.dumps(about),
    }
    with atomic_output(path) as part:
        part.write_bytes(save(half, metadata=header))


def load_stage(path: Path, stage: str | None = None) -> tuple[Stage, dict[str, object]]:
    """Return the model in float32, in evaluation mode, and what its file says about itself.

    Raises InputError when the file is missing, damaged, of another program or of another stage, or
    holds weights that are not finite. Nothing larger than the file's own tensors is built.
    """
    config, about = read_header(path, stage)
    with reading_weights(path):
        with safe_open(path, framework="pt") as file:
            shapes = {k: file.get_slice(k).get_shape() for k in file.keys()}  # noqa: SIM118
            _check_shapes(config, shapes)
            weights = {k: file.get_tensor(k).float() for k in shapes}
        model = Stage(config)
        model.load_state_dict(weights)
    if not all(torch.isfinite(w).all() for w in weights.values()):
        raise InputError(path, "holds weights that are not finite")
    return model.eval(), about


def _check_shapes(config: StageConfig, shapes: dict[str, list[int]]) -> None:
    """Raise ValueError unless `shapes` are those of a model of this configuration.

    The model is built without memory: a header may ask for more than the machine has.
    """
    if config.decoder_layers + config.encoder_layers > MAX_LAYERS:
        raise ValueError(f"over {MAX_LAYERS} layers")
    with torch.device("meta"):
        wanted = {k: list(v.shape) for k, v in Stage(config).state_dict().items()}
    for name in sorted(wanted.keys() ^ shapes.keys()):
        raise ValueError(f"{name} is {'missing' if name in wanted else 'not of this model'}")
    for name, shape in shapes.items():
        if shape != wanted[name]:
            raise ValueError(f"{name} has shape {shape}, not {wanted[name]}")
