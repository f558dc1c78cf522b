"""VMCP's weight files: safetensors with the configuration in the header."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.vmcp.config import VmcpConfig
from vmusprod.vmcp.encoder import Encoders, weight_shapes

__all__ = ["default_weights", "load_vmcp", "save_vmcp"]

FORMAT = "vmus-vmcp-1"


def save_vmcp(path: Path, encoders: Encoders, about: dict[str, object]) -> None:
    """Write a model in float16, whole or not at all; `about`: JSON values. Raises OutputError."""
    weights = {name: np.asarray(v, np.float16) for name, v in encoders.weights.items()}
    # One entry: safetensors writes several in an order that changes from run to run.
    header = {"format": FORMAT, "config": encoders.config.to_dict(), "about": about}
    with atomic_output(path) as part:
        part.write_bytes(save(weights, metadata={"vmcp": json.dumps(header)}))


def load_vmcp(path: Path) -> tuple[Encoders, dict[str, object]]:
    """Return the encoders, in float32, and what their file says about itself.

    Raises InputError: missing, damaged, of another program, or weights that are not finite.
    """
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get("vmcp", "{}"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise InputError(path, "not VMCP weights")
            config, about = VmcpConfig.from_dict(header["config"]), header["about"]
            shapes = {
                name: tuple(file.get_slice(name).get_shape())
                for name in file.keys()  # noqa: SIM118
            }
            if shapes != weight_shapes(config):
                raise ValueError("its tensors are not those of its configuration")
            weights = {name: file.get_tensor(name) for name in shapes}
        if not isinstance(about, dict):
            raise ValueError("its description is not an object")
        if any(weight.dtype.kind != "f" for weight in weights.values()):
            raise ValueError("its tensors are not of floating point")
    except FileNotFoundError as error:
        raise InputError(path, "no such file") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(path, f"cannot be read as VMCP weights ({cause[:200]})") from error
    with np.errstate(over="ignore"):  # of float64: not finite, then
        weights = {name: np.asarray(weight, np.float32) for name, weight in weights.items()}
    if not all(np.isfinite(weight).all() for weight in weights.values()):
        raise InputError(path, "holds weights that are not finite")
    return Encoders(config, weights), about


def default_weights(side: str, music: str = "symbolic") -> Path:
    """Return where the package's weights of two sides lie, if it has them."""
    folder = Path(str(resources.files("vmusprod"))) / "weights" / "vmcp"
    return folder / f"{side}-{music}.safetensors"
