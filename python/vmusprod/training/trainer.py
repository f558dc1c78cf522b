"""One trainer for all stages: resumable to the step, on one device or under torchrun."""

from __future__ import annotations

import json
import pickle
import struct
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vmusprod.dataset.pack import Pack, song_mark
from vmusprod.errors import InputError, MissingDependencyError, OutputError, VmusError
from vmusprod.files import atomic_output
from vmusprod.models.attention import use_backend
from vmusprod.models.backend import find_backend
from vmusprod.models.config import SYSTEMS, StageConfig
from vmusprod.models.config import config as named_config
from vmusprod.models.controller import sequence_slots
from vmusprod.models.stage import Stage
from vmusprod.models.weights import load_stage, save_stage
from vmusprod.training.data import Batch, StageData
from vmusprod.training.distributed import (
    largest,
    mean_gradients,
    own_device,
    process_group,
    rank_and_world,
)
from vmusprod.training.interrupt import deferred_interrupt
from vmusprod.training.optim import Average, make_optimizers, trapezoid
from vmusprod.training.plot import plot_losses
from vmusprod.training.precision import autocast, find_precision

Report = Callable[[dict[str, float]], None]

SAVE_SECONDS = 240.0
_COUNTERS = ("step", "epoch", "place", "tokens", "best", "seconds")


@dataclass
class TrainOptions:
    """What a run is made of.

    Budget: whichever of `steps` and `minutes` ends first (minutes count this call only); with
    neither, ten epochs. Rates are at the top of the trapezoid. attention: see models/backend.py;
    precision: see training/precision.py (evaluation is in float32 whatever it says).
    without: video sources that the chord stage shall not have. video_share: see `StageData`.
    system: what the accompaniment stage reads and writes, see `data.stage_streams`.
    """

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
    attention: str = "auto"
    precision: str = "auto"
    without: tuple[str, ...] = ()
    video_share: float | None = None
    system: str = SYSTEMS[0]
    overrides: dict[str, object] = field(default_factory=dict)


def forward(model: Stage, batch: Batch) -> dict[str, Tensor]:
    """Sum the losses of a batch by attribute, in nats."""
    memory = where = None
    decoder = batch.decoder
    if batch.source is not None:
        memory, where = model.encode(batch.source), batch.source.packed
    elif batch.video is not None and model.controller is not None:
        seen = model.controller(batch.video)
        if seen is not None:
            memory, where = seen
            packed = decoder.packed
            lengths = torch.tensor(packed.lengths, device=memory.device)
            sequence = torch.repeat_interleave(
                torch.arange(len(lengths), device=memory.device), lengths
            )
            slots = sequence_slots(sequence, len(lengths))
            decoder = replace(decoder, packed=replace(packed, slots=slots))
    hidden = model(decoder, memory, where)
    return model.heads.losses(hidden.index_select(0, batch.rows), batch.target)


@torch.no_grad()
def evaluate(model: Stage, data: StageData, device: torch.device) -> dict[str, float]:
    """Nats a token over whole songs, in total and by attribute (shares of the total)."""
    training = model.training
    model.eval()
    sums: dict[str, float] = {}
    count = 0
    for batch in data.evaluation(8192):
        for name, loss in forward(model, batch.to(device)).items():
            sums[name] = sums.get(name, 0.0) + float(loss)
        count += len(batch.target)
    model.train(training)
    shares = {name: value / max(count, 1) for name, value in sums.items()}
    return {"nats_per_token": sum(shares.values()), **shares}


class Trainer:
    """A run, its state in `folder`.

    state.pt (to resume), losses.jsonl and its plot losses.png (where matplotlib is installed),
    STAGE.safetensors (averaged weights of the best evaluation so far). Under torchrun every process
    holds the same weights and trains on batches of its own; the first writes the files.

    Raises InputError for a pack without training songs or an unusable `init`, ValueError for a
    stage, configuration, attention backend or precision that does not exist, MissingDependencyError
    where the backend is not installed.
    """

    def __init__(self, options: TrainOptions, pack: Pack, folder: Path) -> None:
        find_backend(options.attention)
        if options.system not in SYSTEMS:
            raise ValueError(f"unknown system {options.system!r}: one of {', '.join(SYSTEMS)}")
        self.options = options
        self.folder = folder
        self.rank, self.world = rank_and_world()
        self.device = own_device(torch.device(options.device), self.world)
        self.precision = find_precision(options.precision, self.device)
        torch.manual_seed(options.seed)
        self.config = _config(options, pack)
        self.model = Stage(self.config)
        if options.init is not None:
            self._init_from(options.init)
        self.model.to(self.device).train()
        sources = self.config.sources
        self.train_data = StageData(
            pack.songs("train"), options.stage, sources, options.video_share, options.system
        )
        self.val_data = StageData(pack.songs("val"), options.stage, sources, system=options.system)
        if not self.train_data.examples:
            raise InputError(folder, "the pack has no training songs")
        self.optimizers = make_optimizers(self.model, options.lr, options.matrix_lr, self.precision)
        self.base_rates = [[g["lr"] for g in o.param_groups] for o in self.optimizers]
        self.average = Average(self.model, options.ema)
        self.step = self.epoch = self.place = 0
        self.tokens = 0
        self.best = float("inf")
        self.seconds = 0.0
        marks = sorted(song_mark(song.id) for song in pack.songs("train"))
        self.about: dict[str, object] = {
            "pack": pack.about,
            "songs": " ".join(marks),
            "system": options.system,
        }
        self._order: tuple[int, list[list[int]]] = (-1, [])

    def _init_from(self, path: Path) -> None:
        loaded, _ = load_stage(path, self.options.stage)
        own = self.model.state_dict()
        given = loaded.state_dict()
        fitting = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
        self.model.load_state_dict({**own, **fitting})

    def resume(self) -> bool:
        """Go on from state.pt if it is there; say whether it was.

        Raises InputError for a damaged state, or one of a run with other sizes.
        """
        path = self.folder / "state.pt"
        if not path.exists():
            return False
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch about pickles that are not its own
                state = torch.load(path, map_location=self.device, weights_only=True)
            self.model.load_state_dict(state["model"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.average.weights = state["average"]
            self.average.steps = state["average_steps"]
            for name in _COUNTERS:
                setattr(self, name, state[name])
        except _DAMAGE as e:
            cause = (str(e).strip().splitlines() or [type(e).__name__])[0]
            raise InputError(path, f"cannot resume from it ({cause[:200]})") from e
        if not self.rank:
            self._trim_log()
        return True

    def save(self) -> None:
        """Write state.pt, whole or not at all. Raises OutputError."""
        if self.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "average": self.average.weights,
            "average_steps": self.average.steps,
            **{name: getattr(self, name) for name in _COUNTERS},
        }
        with atomic_output(self.folder / "state.pt") as part:
            torch.save(state, part)

    def run(self, report: Report | None = None) -> dict[str, float]:
        """Train until the budget is spent; return the last evaluation (empty: no held-out songs).

        `report` is told step, loss, progress (0..1) and tokens after each step. Raises OutputError
        when a file cannot be written, VmusError when the loss is no longer finite or the other
        processes cannot be joined. Ctrl-C ends the step, saves the state and is raised then.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise OutputError(self.folder, e) from e
        with process_group(self.world, self.device), use_backend(self.options.attention):
            with deferred_interrupt() as is_interrupted:
                self._loop(report, is_interrupted)
            result = self._evaluate()
            self.save()
        return result

    def _loop(self, report: Report | None, is_interrupted: Callable[[], bool]) -> None:
        began = last_eval = last_save = time.monotonic()
        steps = self._steps()
        spent = self.seconds
        while (progress := self._progress(steps, time.monotonic() - began)) < 1:
            loss = self._train_step(progress)
            now = time.monotonic()
            self.seconds = spent + now - began
            row = {"step": self.step, "loss": loss, "progress": progress, "tokens": self.tokens}
            if report is not None:
                report(row)
            if is_interrupted():
                self.save()
                raise KeyboardInterrupt
            if self.step % 20 == 0:
                self._log({"train": loss})
            if now - last_save > SAVE_SECONDS:
                self.save()
                last_save = now
            if now - last_eval > self.options.evaluate_minutes * 60 and not self.rank:
                self._evaluate()
                last_eval = time.monotonic()

    def _steps(self) -> int | None:
        o = self.options
        if o.steps is not None or o.minutes is not None:
            return o.steps
        return -(-10 * len(self._batches(0)) // self.world)

    def _progress(self, steps: int | None, seconds: float) -> float:
        """Share of the budget that is spent; all processes stop at the same step."""
        shares = [0.0]
        if steps is not None:
            shares.append(self.step / steps if self.step < steps else 1.0)
        if self.options.minutes is not None:
            shares.append(seconds / max(self.options.minutes * 60, 1e-9))
        return largest(max(shares), self.world, self.device)

    def _batches(self, epoch: int) -> list[list[int]]:
        """Song numbers of each batch of an epoch, the same in every process."""
        if self._order[0] != epoch:
            seed = self.options.seed * 100_003 + epoch
            self._order = epoch, self.train_data.epoch(self.options.batch_tokens, seed)
        return self._order[1]

    def _next_batch(self) -> Batch:
        """Return this process's batch of the next round; the epoch's last round is filled up."""
        if self.place >= len(self._batches(self.epoch)):
            self.epoch += 1
            self.place = 0
        batches = self._batches(self.epoch)
        chosen = batches[(self.place + self.rank) % len(batches)]
        self.place += self.world
        rng = np.random.default_rng([self.options.seed, self.step, self.rank])
        return self.train_data.batch(chosen, rng)

    def _train_step(self, progress: float) -> float:
        o = self.options
        batch = self._next_batch().to(self.device)
        factor = trapezoid(self.step, o.warmup, progress, o.cooldown)
        for optimizer, rates in zip(self.optimizers, self.base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
        # Dropout is a matter of step and process alone, so that a resumed run repeats it.
        torch.manual_seed(_seed(o.seed, self.step, self.rank))
        with autocast(self.precision, self.device):
            losses = forward(self.model, batch)
        total = torch.stack([v.float() for v in losses.values()]).sum() / len(batch.target)
        total.backward()  # type: ignore[no-untyped-call]
        loss = float(total.detach())
        if not np.isfinite(loss):
            raise VmusError(f"the loss is {loss} at step {self.step}: try a lower learning rate")
        mean_gradients(self.model.parameters(), self.world)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.average.update(self.model)
        self.step += 1
        self.tokens += len(batch.target) * self.world
        return loss

    def _evaluate(self) -> dict[str, float]:
        """Measure the averaged weights, and keep them if they are the best so far."""
        live = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.weights)
        result = evaluate(self.model, self.val_data, self.device) if self.val_data.examples else {}
        self.model.load_state_dict(live)
        if self.rank:
            return result
        self._log({"val": result.get("nats_per_token"), "by": result})
        self._draw()
        score = result.get("nats_per_token", 0.0)
        if score <= self.best:
            self.best = score
            about = {**self.about, "tokens": self.tokens, "steps": self.step, "val": result,
                     "options": {k: str(v) for k, v in asdict(self.options).items()}}  # fmt: skip
            save_stage(self.folder / f"{self.options.stage}.safetensors", self.config,
                       self.average.weights, about)  # fmt: skip
        return result

    @property
    def log(self) -> Path:
        """The run's losses, one JSON object a line."""
        return self.folder / "losses.jsonl"

    def _log(self, what: dict[str, object]) -> None:
        if self.rank:
            return
        row = {"step": self.step, "tokens": self.tokens, "seconds": round(self.seconds, 1), **what}
        try:
            with self.log.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as e:
            raise OutputError(self.log, e) from e

    def _trim_log(self) -> None:
        """Drop what was logged after the state was saved: those steps come again."""
        if not self.log.exists():
            return
        kept = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                if json.loads(line)["step"] <= self.step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue  # cut short by a crash
        with atomic_output(self.log) as part:
            part.write_text("".join(kept), encoding="utf-8")

    def _draw(self) -> None:
        try:
            plot_losses(self.log, self.folder / "losses.png")
        except MissingDependencyError:
            return  # an optional extra


def _config(options: TrainOptions, pack: Pack) -> StageConfig:
    named = named_config(options.config, options.stage)
    # Where no song has a source, its encoder would stay as random as it was made.
    shown = {name for song in pack.songs("train") if song.video for name in song.video.has}
    shown -= set(options.without)
    changes: dict[str, object] = {
        "sources": tuple(name for name in named.sources if name in shown),
        **options.overrides,
    }
    if options.dropout is not None:
        changes["dropout"] = options.dropout
    return StageConfig.from_dict({**named.to_dict(), **changes})


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


_DAMAGE = (
    OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError, EOFError,
    pickle.UnpicklingError, struct.error,
)  # fmt: skip
"""What torch.load and load_state_dict raise on files that are not what they should be."""
