"""Several processes of one run, as torchrun starts them: each trains on batches of its own."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist

from vmusprod.errors import VmusError

__all__ = ["largest", "mean_gradients", "own_device", "process_group", "rank_and_world"]


def rank_and_world() -> tuple[int, int]:
    """Return this process's number and how many there are, from torchrun's variables: (0, 1) alone.

    Raises VmusError when RANK and WORLD_SIZE make no sense.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        raise VmusError(f"RANK={rank} of WORLD_SIZE={world}: start several processes with torchrun")
    return int(rank), int(world)


def own_device(device: torch.device, world: int) -> torch.device:
    """Return the GPU of this process when there are several and none was named."""
    if world > 1 and str(device) == "cuda":
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return device


@contextmanager
def process_group(world: int, device: torch.device) -> Iterator[None]:
    """Join the other processes (gloo on CPUs, NCCL on GPUs); wait for them at the end of the block.

    Alone it does nothing. A process joins once and leaves when it exits: torchrun's store still
    holds the addresses of a group that was left, so that joining again may call at a closed door.
    Raises VmusError if it cannot join.
    """
    if world == 1:
        yield
        return
    if not dist.is_initialized():
        _join(device)
    yield
    # Neither after an error: the others may wait in a sum that this process will never join.
    dist.barrier()  # what the first process writes is there when any goes on
    atexit.unregister(_leave)
    atexit.register(_leave)


def _join(device: torch.device) -> None:
    try:
        if device.type == "cuda":
            torch.cuda.set_device(device)
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (ValueError, RuntimeError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise VmusError(f"cannot join the other processes of torchrun ({cause[:200]})") from error


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def mean_gradients(parameters: Iterable[nn.Parameter], world: int) -> None:
    """Replace each gradient by its mean over the processes."""
    if world == 1:
        return
    held = list(parameters)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in held]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= world
    for p, mean in zip(held, torch.split(flat, [g.numel() for g in grads]), strict=True):
        p.grad = mean.view_as(p)


def largest(value: float, world: int, device: torch.device) -> float:
    """Return the largest `value` of all processes."""
    if world == 1:
        return value
    agreed: Tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(agreed, dist.ReduceOp.MAX)
    return float(agreed)
