"""VMCP's weight files: safetensors with the configuration in the header."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.vmcp.model import Vmcp, VmcpConfig

__all__ = ["default_weights", "load_vmcp", "save_vmcp"]

FORMAT = "vmus-vmcp-1"


def save_vmcp(path: Path, model: Vmcp, about: dict[str, object]) -> None:
    """Write a model in float16, whole or not at all; `about`: JSON values. Raises OutputError."""
    weights = {
        name: weight.detach().to("cpu", torch.float16).contiguous()
        for name, weight in model.state_dict().items()
    }
    # One entry: safetensors writes several in an order that changes from run to run.
    header = {"format": FORMAT, "config": model.config.to_dict(), "about": about}
    with atomic_output(path) as part:
        part.write_bytes(save(weights, metadata={"vmcp": json.dumps(header)}))


def load_vmcp(path: Path) -> tuple[Vmcp, dict[str, object]]:
    """Return the model, in float32 and evaluation mode, and what its file says about itself.

    Raises InputError: missing, damaged, of another program, or weights that are not finite.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {}).get("vmcp", "{}"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise InputError(path, "not VMCP weights")
            config, about = VmcpConfig.from_dict(header["config"]), header["about"]
            with torch.device("meta"):
                wanted = {name: list(w.shape) for name, w in Vmcp(config).state_dict().items()}
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            if shapes != wanted:
                raise ValueError("its tensors are not those of its configuration")
            weights = {name: file.get_tensor(name).float() for name in shapes}
        if not isinstance(about, dict):
            raise ValueError("its description is not an object")
        model = Vmcp(config)
        model.load_state_dict(weights)
    except FileNotFoundError as error:
        raise InputError(path, "no such file") from error
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(path, f"cannot be read as VMCP weights ({cause[:200]})") from error
    if not all(bool(torch.isfinite(weight).all()) for weight in weights.values()):
        raise InputError(path, "holds weights that are not finite")
    return model.eval(), about


def default_weights(side: str, music: str = "symbolic") -> Path:
    """Return where the package's weights of two sides lie, if it has them."""
    folder = Path(str(resources.files("vmusprod"))) / "weights" / "vmcp"
    return folder / f"{side}-{music}.safetensors"
