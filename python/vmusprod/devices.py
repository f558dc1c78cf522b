"""Which device torch computes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vmusprod.errors import VmusError

if TYPE_CHECKING:
    import torch

__all__ = ["checked_device"]


def checked_device(name: str) -> torch.device:
    """Return the device called `name` (`cpu`, `cuda`, `cuda:1`, `mps`), once it has been tried.

    Raises VmusError: no such device here.
    """
    import torch

    try:
        device = torch.device(name)
        torch.ones(1, device=device).sum().item()
    except Exception as error:  # RuntimeError, AssertionError ("not compiled with CUDA"), ...
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VmusError(f"device {name!r} cannot be used here ({cause[:160]})") from error
    return device
