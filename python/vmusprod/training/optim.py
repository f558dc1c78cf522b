"""Muon for matrices beside AdamW for the rest, the trapezoid schedule, and averaged weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

_NS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5, dtype: torch.dtype = torch.float32) -> Tensor:
    """Newton-Schulz iteration of Muon (Jordan et al. 2024): singular values near 1.

    matrices: (N, rows, columns); dtype: what to multiply in. bfloat16 is what Muon was made with:
    the iteration ends near 1 from wherever it comes. Returns them in `dtype`.
    """
    a, b, c = _NS
    x = (matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)).to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-1, -2)
    for _ in range(steps):
        gram = x @ x.transpose(-1, -2)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return torch.as_tensor(x.transpose(-1, -2) if tall else x)


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: a step moves every singular direction alike. For matrices only.

    dtype: see `orthogonalise`; no part of the state, which is in float32.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        decay: float = 0.01,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum, "decay": decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Matrices of one shape go through the iteration together."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for shape, params in shapes.items():
                for p in params:
                    if "momentum" not in self.state[p]:
                        self.state[p]["momentum"] = torch.zeros_like(p)
                held = [self.state[p]["momentum"] for p in params]
                grads = [torch.as_tensor(p.grad) for p in params]
                torch._foreach_lerp_(held, grads, 1 - group["momentum"])
                updates = torch._foreach_lerp(grads, held, group["momentum"])
                moved = orthogonalise(torch.stack(updates), dtype=self.dtype).to(params[0].dtype)
                scale = max(1.0, shape[0] / shape[1]) ** 0.5
                torch._foreach_mul_(params, 1 - group["lr"] * group["decay"])
                torch._foreach_add_(params, moved.unbind(), alpha=-group["lr"] * scale)


def make_optimizers(
    model: nn.Module, lr: float, matrix_lr: float, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """Muon on the matrices of the layers, AdamW on embeddings, norms, biases and output heads.

    dtype: what Muon multiplies in.
    """
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, p in model.named_parameters():
        inner = p.ndim == 2 and min(p.shape) >= 64 and "logits" not in name
        embedding = any(part in name for part in ("tables", "table", "runs", "given", "shift"))
        (matrices if inner and not embedding else rest).append(p)
    adam = torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.01)
    if not matrices or matrix_lr <= 0:
        return [torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01)]
    return [Muon(matrices, matrix_lr, dtype=dtype), adam]


def trapezoid(step: int, warmup: int, progress: float, cooldown: float) -> float:
    """Factor of the learning rate: linear up, flat, then linearly down to zero.

    warmup: steps up; cooldown: share of the budget down; progress: share of the budget spent.
    """
    up = min(1.0, (step + 1) / max(warmup, 1))
    down = min(1.0, max(0.0, 1 - progress) / cooldown) if cooldown > 0 else 1.0
    return min(up, down)


class Average:
    """Exponential moving average of the weights, with a warm start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """To be called after each optimiser step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        state = model.state_dict()
        smooth = [key for key, value in state.items() if value.is_floating_point()]
        kept = [self.weights[key] for key in smooth]
        torch._foreach_lerp_(kept, [state.pop(key) for key in smooth], 1 - decay)
        for key, value in state.items():
            self.weights[key].copy_(value)
