"""One trainer for all stages: resumable to the step, on one device or under torchrun."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from vmusprod.dataset.pack import Pack
from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.models.config import config as named_config
from vmusprod.models.stage import Stage
from vmusprod.models.weights import load_stage, save_stage
from vmusprod.training.data import Batch, StageData, collate
from vmusprod.training.optim import Average, make_optimizers, trapezoid

Report = Callable[[dict[str, float]], None]


@dataclass
class TrainOptions:
    """What a run is made of. Budget: whichever of `steps` and `minutes` ends first (minutes count this
    call only); with neither, ten epochs. Rates are at the top of the trapezoid."""

    stage: str
    config: str = "small"
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    lr: float = 2e-3
    matrix_lr: float = 0.02
    warmup: int = 100
    cooldown: float = 0.3
    ema: float = 0.998
    dropout: float | None = None
    seed: int = 0
    device: str = "cpu"
    evaluate_minutes: float = 10.0
    init: Path | None = None
    overrides: dict[str, object] = field(default_factory=dict)


def forward(model: Stage, batch: Batch) -> dict[str, Tensor]:
    """Summed losses of a batch by attribute, in nats."""
    memory = where = None
    if batch.source is not None:
        memory, where = model.encode(batch.source), batch.source.packed
    hidden = model(batch.decoder, memory, where)
    return model.heads.losses(hidden.index_select(0, batch.rows), batch.target)


@torch.no_grad()
def evaluate(model: Stage, data: StageData, device: torch.device) -> dict[str, float]:
    """Nats a token over whole songs, in total and by attribute (shares of the total)."""
    model.eval()
    sums: dict[str, float] = {}
    count = 0
    for batch in data.evaluation(8192):
        for name, loss in forward(model, batch.to(device)).items():
            sums[name] = sums.get(name, 0.0) + float(loss)
        count += len(batch.target)
    model.train()
    shares = {name: value / max(count, 1) for name, value in sums.items()}
    return {"nats_per_token": sum(shares.values()), **shares}


class Trainer:
    """Holds a run's state in `folder`: state.pt (to resume), losses.jsonl, STAGE.safetensors (averaged
    weights of the best evaluation so far)."""

    def __init__(self, options: TrainOptions, pack: Pack, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        settings = named_config(options.config, options.stage)
        if options.dropout is not None:
            settings = _replace(settings, dropout=options.dropout)
        self.config = _replace(settings, **options.overrides)
        self.model = Stage(self.config)
        if options.init is not None:
            self._init_from(options.init)
        self.model.to(self.device).train()
        self.train_data = StageData(pack, options.stage, "train")
        self.val_data = StageData(pack, options.stage, "val")
        if not self.train_data.examples:
            raise InputError(folder, "the pack has no training songs")
        self.optimizers = make_optimizers(self.model, options.lr, options.matrix_lr)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.average = Average(self.model, options.ema)
        self.step = self.epoch = self.place = 0
        self.tokens = 0
        self.best = float("inf")
        self.seconds = 0.0
        self.about = {"pack": pack.about}

    def _init_from(self, path: Path) -> None:
        loaded, _ = load_stage(path, self.options.stage)
        own = self.model.state_dict()
        fitting = {k: v for k, v in loaded.state_dict().items() if k in own and own[k].shape == v.shape}
        self.model.load_state_dict({**own, **fitting})

    def resume(self) -> bool:
        """Goes on from state.pt if it is there; says whether it was."""
        path = self.folder / "state.pt"
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.average.weights = state["average"]
            self.average.steps = state["average_steps"]
            for name in ("step", "epoch", "place", "tokens", "best", "seconds"):
                setattr(self, name, state[name])
            torch.set_rng_state(state["rng"].cpu())
        except (OSError, RuntimeError, KeyError, ValueError, EOFError) as e:
            raise InputError(path, f"cannot resume from it ({str(e).splitlines()[0][:200]})") from e
        return True

    def save(self) -> None:
        """Writes state.pt, whole or not at all."""
        if self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "average": self.average.weights,
            "average_steps": self.average.steps,
            "rng": torch.get_rng_state(),
            **{k: getattr(self, k) for k in ("step", "epoch", "place", "tokens", "best", "seconds")},
        }
        with atomic_output(self.folder / "state.pt") as part:
            torch.save(state, part)

    def run(self, report: Report | None = None) -> dict[str, float]:
        """Trains until the budget is spent; returns the last evaluation."""
        o = self.options
        self.folder.mkdir(parents=True, exist_ok=True)
        began = last_eval = last_save = time.monotonic()
        steps = o.steps
        if steps is None and o.minutes is None:
            steps = 10 * len(self.train_data.epoch(o.batch_tokens, 0))
        spent = self.seconds
        while True:
            now = time.monotonic()
            progress = self._progress(steps, now - began)
            if progress >= 1:
                break
            loss = self._train_step(progress)
            self.seconds = spent + time.monotonic() - began
            if report is not None:
                report({"step": self.step, "loss": loss, "progress": progress, "tokens": self.tokens})
            if self.step % 20 == 0:
                self._log({"step": self.step, "tokens": self.tokens, "train": loss,
                           "seconds": round(self.seconds, 1)})  # fmt: skip
            if now - last_save > 240:
                self.save()
                last_save = now
            if now - last_eval > o.evaluate_minutes * 60:
                self._evaluate()
                last_eval = time.monotonic()
        result = self._evaluate()
        self.save()
        return result

    def _progress(self, steps: int | None, seconds: float) -> float:
        shares = [0.0]
        if steps is not None:
            shares.append(self.step / max(steps, 1))
        if self.options.minutes is not None:
            shares.append(seconds / (self.options.minutes * 60))
        progress = max(shares)
        if self.world > 1:  # all ranks must stop at the same step
            agreed = torch.tensor(progress, device=self.device)
            dist.all_reduce(agreed, dist.ReduceOp.MAX)
            progress = float(agreed)
        return progress

    def _next_batch(self) -> Batch:
        seed = self.options.seed * 100_003 + self.epoch
        batches = self.train_data.epoch(self.options.batch_tokens, seed)
        if self.place + self.world > len(batches):
            self.epoch += 1
            self.place = 0
            if self.world > len(batches):
                self.place = -self.rank  # fewer batches than ranks: all take the first
            return self._next_batch() if self.place == 0 else self._collate(batches[0])
        chosen = batches[self.place + self.rank]
        self.place += self.world
        return self._collate(chosen)

    def _collate(self, chosen: list[int]) -> Batch:
        rng = np.random.default_rng([self.options.seed, self.step, self.rank])
        return collate([self.train_data.examples[i] for i in chosen], rng)

    def _train_step(self, progress: float) -> float:
        o = self.options
        batch = self._next_batch().to(self.device)
        factor = trapezoid(self.step, o.warmup, progress, o.cooldown)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
        cuda = self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=cuda):
            losses = forward(self.model, batch)
        total = torch.stack([v.float() for v in losses.values()]).sum() / len(batch.target)
        total.backward()  # type: ignore[no-untyped-call]
        self._reduce()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.model)
        self.step += 1
        self.tokens += len(batch.target) * self.world
        return float(total.detach())

    def _reduce(self) -> None:
        if self.world == 1:
            return
        grads = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.model.parameters()]
        flat = torch.cat([g.flatten() for g in grads])
        dist.all_reduce(flat)
        flat /= self.world
        for p, g in zip(self.model.parameters(), flat.split([g.numel() for g in grads]), strict=True):
            p.grad = g.view_as(p)

    def _evaluate(self) -> dict[str, float]:
        live = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.weights)
        result = evaluate(self.model, self.val_data, self.device) if self.val_data.examples else {}
        self.model.load_state_dict(live)
        self._log({"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1),
                   "val": result.get("nats_per_token"), "by": result})  # fmt: skip
        score = result.get("nats_per_token", 0.0)
        if score <= self.best and not self.rank:
            self.best = score
            about = {**self.about, "tokens": self.tokens, "steps": self.step, "val": result,
                     "options": {k: str(v) for k, v in asdict(self.options).items()}}  # fmt: skip
            save_stage(self.folder / f"{self.options.stage}.safetensors", self.config,
                       self.average.weights, about)  # fmt: skip
        return result

    def _log(self, row: dict[str, object]) -> None:
        if self.rank:
            return
        with (self.folder / "losses.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


def _replace(config: object, **changes: object) -> object:
    import dataclasses

    return dataclasses.replace(config, **changes)  # type: ignore[type-var]
