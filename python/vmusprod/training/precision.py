"""What training multiplies in: bfloat16 where the machine has instructions for it, else float32."""

from __future__ import annotations

import torch

__all__ = ["PRECISIONS", "autocast", "find_precision"]

PRECISIONS = ("auto", "bf16", "f32")


def find_precision(name: str, device: torch.device) -> torch.dtype:
    """Return what products are to be computed in on a device.

    `auto`: bfloat16 on CUDA and on CPUs with AVX512-BF16 or AMX; elsewhere it would be emulated,
    and slower than float32. Raises ValueError for a name that is not in PRECISIONS.
    """
    if name not in PRECISIONS:
        raise ValueError(f"unknown precision {name!r}: one of {', '.join(PRECISIONS)}")
    wanted = name == "bf16" or (name == "auto" and _multiplies_bf16(device))
    return torch.bfloat16 if wanted else torch.float32


def autocast(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """Return a context in which matrices are multiplied in a type of `find_precision`.

    Weights, their gradients and their averages stay in float32.
    """
    enabled = dtype == torch.bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type != "cpu":
        return device.type == "cuda"
    has = torch.cpu.get_capabilities()
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
