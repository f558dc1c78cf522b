"""Training: to the step the same after a resume, within its budget, the same in every process."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tiny_models import overrides, tiny_config, tiny_pack, tiny_stage
from vmusprod.dataset.pack import Pack
from vmusprod.errors import InputError, MissingDependencyError, OutputError, VmusError
from vmusprod.models.config import STAGES
from vmusprod.models.stage import Stage
from vmusprod.models.weights import load_stage, save_stage
from vmusprod.training import plot
from vmusprod.training import trainer as module
from vmusprod.training.data import StageData, collate
from vmusprod.training.distributed import own_device, rank_and_world
from vmusprod.training.optim import Average, Muon, make_optimizers, orthogonalise, trapezoid
from vmusprod.training.trainer import Trainer, TrainOptions, evaluate, forward


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return tiny_pack(tmp_path_factory.mktemp("pack") / "songs.pack")


def options(stage: str = "melody", **changes: Any) -> TrainOptions:
    """Several batches an epoch, dropout on, a rate that no budget changes."""
    given: dict[str, Any] = {"steps": 6, "batch_tokens": 150, "dropout": 0.1, "cooldown": 0.0}
    return TrainOptions(stage, **{**given, "warmup": 4, "overrides": overrides(stage), **changes})


def train(run: Trainer) -> list[float]:
    losses: list[float] = []
    run.run(lambda row: losses.append(row["loss"]))
    return losses


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


@pytest.mark.parametrize("stage", STAGES)
def test_resumes_to_the_step(stage: str, pack: Pack, tmp_path: Path) -> None:
    straight = Trainer(options(stage), pack, tmp_path / "straight")
    expected = train(straight)
    assert len(expected) == straight.step == 6
    assert straight.epoch > 0  # more than one epoch, so that the order's change is met too

    first = Trainer(options(stage, steps=3), pack, tmp_path / "parts")
    assert not first.resume()
    losses = train(first)
    torch.rand(99)  # the state of torch's own dice does not matter
    second = Trainer(options(stage), pack, tmp_path / "parts")
    assert second.resume()
    losses += train(second)

    assert losses == expected
    for name in ("step", "epoch", "place", "tokens"):
        assert getattr(second, name) == getattr(straight, name)
    assert same(second.model.state_dict(), straight.model.state_dict())
    assert same(second.average.weights, straight.average.weights)
    for a, b in zip(second.optimizers, straight.optimizers, strict=True):
        assert same(a.state_dict(), b.state_dict())


def test_batches_come_epoch_by_epoch(pack: Pack, tmp_path: Path) -> None:
    run = Trainer(options(seed=3), pack, tmp_path)
    expected = []
    for epoch in range(4):
        for chosen in run.train_data.epoch(150, 3 * 100_003 + epoch):
            examples = [run.train_data.examples[i] for i in chosen]
            rng = np.random.default_rng([3, 0, 0])
            expected.append(collate(examples, rng))
    assert len(expected) > 6
    for batch in expected:
        assert same(dataclasses.astuple(run._next_batch()), dataclasses.astuple(batch))


def test_an_epoch_has_every_song_once(pack: Pack) -> None:
    data = StageData(pack.songs("train"), "melody")
    orders = [data.epoch(150, seed) for seed in range(3)]
    for order in orders:
        assert sorted(i for batch in order for i in batch) == list(range(6))
        for batch in order:
            assert len(batch) == 1 or sum(len(data.examples[i].target) for i in batch) <= 150
    assert orders[0] != orders[1] or orders[1] != orders[2]
    assert data.tokens == sum(len(s.melody) + 1 for s in pack.songs("train"))


def test_minutes_end_a_run(pack: Pack, tmp_path: Path) -> None:
    run = Trainer(options(steps=None, minutes=0.004), pack, tmp_path)
    shares: list[float] = []
    run.run(lambda row: shares.append(row["progress"]))
    assert run.step == len(shares) >= 1
    assert shares == sorted(shares)
    assert max(shares) < 1
    assert run.seconds < 60
    again = Trainer(options(steps=None, minutes=0.0), pack, tmp_path)
    assert again.resume()
    before = again.step
    train(again)
    assert again.step <= before + 1


def test_whichever_budget_ends_first(pack: Pack, tmp_path: Path) -> None:
    run = Trainer(options(steps=2, minutes=60.0), pack, tmp_path)
    assert len(train(run)) == 2
    done = Trainer(options(steps=2), pack, tmp_path)
    assert done.resume()
    assert train(done) == []
    without = Trainer(options(steps=None), pack, tmp_path)
    assert without._steps() == 10 * len(without.train_data.epoch(150, 0))


def test_it_learns(pack: Pack, tmp_path: Path) -> None:
    run = Trainer(options(steps=40, dropout=0.0, lr=5e-3, cooldown=0.3), pack, tmp_path)
    losses = train(run)
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:3])


def test_what_a_run_leaves(pack: Pack, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    run = Trainer(options(steps=20), pack, folder)
    result = run.run()
    names = {p.name for p in folder.iterdir()}
    assert names >= {"state.pt", "losses.jsonl", "melody.safetensors"}
    rows = [json.loads(line) for line in (folder / "losses.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == [20, 20]
    assert rows[0]["train"] > 0
    assert rows[1]["val"] == pytest.approx(result["nats_per_token"])
    assert rows[1]["tokens"] == run.tokens > 0
    model, about = load_stage(folder / "melody.safetensors", "melody")
    assert about["pack"] == {"made": "for a test"}
    assert about["steps"] == 20
    for name, weight in run.average.weights.items():
        assert torch.equal(model.state_dict()[name], weight.half().float())
    # what was measured is what was saved, to the rounding of float16
    loss = evaluate(model, run.val_data, torch.device("cpu"))["nats_per_token"]
    assert loss == pytest.approx(result["nats_per_token"], abs=2e-3)


def test_only_the_best_weights_are_kept(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Trainer(options(steps=1), pack, tmp_path)
    kept = []
    for score in (3.0, 2.0, 2.5, math.nan, 1.0):
        monkeypatch.setattr(module, "evaluate", lambda *_, s=score: {"nats_per_token": s})
        monkeypatch.setattr(module, "save_stage", lambda *_, s=score: kept.append(s))
        run._evaluate()
    assert kept == [3.0, 2.0, 1.0]


def test_evaluation_happens_between_steps_and_changes_nothing(pack: Pack, tmp_path: Path) -> None:
    plain = Trainer(options(), pack, tmp_path / "a")
    often = Trainer(options(evaluate_minutes=0.0), pack, tmp_path / "b")
    assert train(plain) == train(often)
    assert same(plain.model.state_dict(), often.model.state_dict())
    rows = (tmp_path / "b" / "losses.jsonl").read_text().splitlines()
    assert len(rows) == 7


@pytest.mark.parametrize("stage", STAGES)
def test_evaluate(stage: str, pack: Pack) -> None:
    model = tiny_stage(stage)
    data = StageData(pack.songs("val"), stage)
    cpu = torch.device("cpu")
    result = evaluate(model, data, cpu)
    parts = {k: v for k, v in result.items() if k != "nats_per_token"}
    assert result["nats_per_token"] == pytest.approx(sum(parts.values()))
    total = 0.0
    with torch.no_grad():
        for example in data.examples:  # song by song: packing must not matter
            losses = forward(model, collate([example]))
            total += float(torch.stack(list(losses.values())).sum())
    assert result["nats_per_token"] == pytest.approx(total / data.tokens, rel=1e-4)
    assert not model.training
    model.train()
    evaluate(model, data, cpu)
    assert model.training


def test_a_pack_without_held_out_songs(pack: Pack, tmp_path: Path) -> None:
    run = Trainer(options(steps=1), pack, tmp_path)
    run.val_data.examples = []
    assert run.run() == {}
    assert (tmp_path / "melody.safetensors").exists()


def test_a_pack_without_songs(tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "p", 3)
    pack._songs = [dataclasses.replace(s, split="val") for s in pack.songs("all")]
    with pytest.raises(InputError, match="no training songs"):
        Trainer(options(), pack, tmp_path)


def test_starting_from_other_weights(pack: Pack, tmp_path: Path) -> None:
    other = tiny_stage("melody", 7)
    save_stage(tmp_path / "w.safetensors", other.config, other.state_dict(), {})
    run = Trainer(options(init=tmp_path / "w.safetensors"), pack, tmp_path)
    for name, weight in run.model.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name].half().float())
    wider = {**overrides("melody"), "head_size": 24}
    run = Trainer(options(init=tmp_path / "w.safetensors", overrides=wider), pack, tmp_path)
    assert torch.equal(run.model.heads.kind.weight, other.heads.kind.weight.half().float())
    with pytest.raises(InputError, match="no such file"):
        Trainer(options(init=tmp_path / "no"), pack, tmp_path)


class TestBrokenState:
    @pytest.fixture
    def run(self, pack: Pack, tmp_path: Path) -> Trainer:
        run = Trainer(options(steps=1), pack, tmp_path)
        train(run)
        return run

    def refused(self, run: Trainer) -> None:
        with pytest.raises(InputError) as caught:
            run.resume()
        assert str(caught.value).startswith(f"{run.folder / 'state.pt'}: cannot resume from it (")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04cos\nsystem\n", b"PK\x03\x04"])
    def test_foreign(self, content: bytes, run: Trainer) -> None:
        (run.folder / "state.pt").write_bytes(content)
        self.refused(run)

    def test_truncated(self, run: Trainer) -> None:
        path = run.folder / "state.pt"
        path.write_bytes(path.read_bytes()[:5000])
        self.refused(run)

    @pytest.mark.parametrize("value", [torch.zeros(3), {}, [1], {"model": {}}])
    def test_something_else(self, value: object, run: Trainer) -> None:
        torch.save(value, run.folder / "state.pt")
        self.refused(run)

    def test_another_size(self, run: Trainer, pack: Pack) -> None:
        sizes = {**overrides("melody"), "head_size": 24}
        self.refused(Trainer(options(overrides=sizes), pack, run.folder))

    def test_never_run_as_code(self, run: Trainer, tmp_path: Path) -> None:
        class Evil:
            def __reduce__(self) -> tuple[Any, tuple[str]]:
                return Path.touch, (tmp_path / "owned",)  # type: ignore[return-value]

        torch.save({"model": Evil()}, run.folder / "state.pt")
        self.refused(run)
        assert not (tmp_path / "owned").exists()


def test_resume_drops_what_was_logged_after_the_state(pack: Pack, tmp_path: Path) -> None:
    run = Trainer(options(steps=2), pack, tmp_path)
    train(run)
    log = tmp_path / "losses.jsonl"
    before = log.read_text()
    log.write_text(before + '{"step": 3, "tokens": 9, "train": 1.0}\n{"step": 4, "tok')
    assert run.resume()
    assert log.read_text() == before


def test_a_loss_that_is_not_finite_stops_the_run(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Trainer(options(steps=2), pack, tmp_path)
    train(run)
    held = (tmp_path / "state.pt").read_bytes()

    def broken(model: Stage, batch: object) -> dict[str, Tensor]:
        return {"type": next(model.parameters()).sum() * math.nan}

    monkeypatch.setattr(module, "forward", broken)
    run = Trainer(options(steps=4), pack, tmp_path)
    assert run.resume()
    with pytest.raises(VmusError, match="the loss is nan at step 2: try a lower learning rate"):
        train(run)
    assert (tmp_path / "state.pt").read_bytes() == held


def test_bf16_is_for_gpus(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(model: Stage, batch: Any) -> dict[str, Tensor]:
        seen.append(torch.is_autocast_enabled("cpu"))
        return forward(model, batch)

    monkeypatch.setattr(module, "forward", spy)
    train(Trainer(options(steps=1), pack, tmp_path))
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("stage", STAGES)
def test_a_step_under_bf16_autocast(stage: str, pack: Pack) -> None:
    """What a GPU would do, on the CPU: it runs, and is close."""
    model = tiny_stage(stage, spread=0.05)
    batch = collate(StageData(pack.songs("train"), stage).examples[:2])
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses = forward(model, batch)
        total = torch.stack([v.float() for v in losses.values()]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        gradients.append((float(total.detach()), torch.cat(grads)))
    (exact, wanted), (rough, actual) = gradients
    assert rough == pytest.approx(exact, rel=0.01)
    assert torch.cosine_similarity(actual, wanted, 0) > 0.98


def test_the_attention_backend(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown attention backend"):
        Trainer(options(attention="flash"), pack, tmp_path)
    pytest.importorskip("fast_transformers.causal_product")
    ours = train(Trainer(options(steps=3), pack, tmp_path / "a"))
    theirs = train(Trainer(options(steps=3, attention="fast-transformers"), pack, tmp_path / "b"))
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_unwritable_folders(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        Trainer(options(), pack, tmp_path / "file").run()
    with pytest.raises(OutputError):
        Trainer(options(), pack, tmp_path / "file" / "below").run()
    (tmp_path / "run" / "losses.jsonl").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"losses\.jsonl"):
        Trainer(options(steps=1), pack, tmp_path / "run").run()


class TestPlot:
    def log(self, folder: Path) -> Path:
        rows = [
            {"step": 20, "tokens": 1000, "seconds": 1.0, "train": 3.5},
            {"step": 40, "tokens": 2000, "seconds": 2.0, "train": 3.0},
            {"step": 40, "tokens": 2000, "seconds": 2.0, "val": 3.1, "by": {}},
            {"step": 60, "tokens": 3000, "seconds": 2.0, "val": None, "by": {}},
        ]
        path = folder / "losses.jsonl"
        text = "\n".join(map(json.dumps, rows))
        path.write_text(text + '\n[1]\n{"train": "x", "tokens": 3}\n{"step": 80, "tok')
        return path

    def test_reading(self, tmp_path: Path) -> None:
        curves = plot.read_losses(self.log(tmp_path))
        assert curves.train == [(1000, 3.5), (2000, 3.0)]
        assert curves.held_out == [(2000, 3.1)]
        with pytest.raises(InputError):
            plot.read_losses(tmp_path / "no")

    def test_drawing(self, tmp_path: Path) -> None:
        pytest.importorskip("matplotlib")
        log = self.log(tmp_path)
        plot.plot_losses(log, tmp_path / "a.png")
        assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
        plot.plot_losses(log, tmp_path / "a.svg")
        assert b"held out" in (tmp_path / "a.svg").read_bytes()
        log.write_text("")
        plot.plot_losses(log, tmp_path / "empty.png")
        with pytest.raises(OutputError):
            plot.plot_losses(log, tmp_path / "no" / "a.png")

    def test_runs_draw_where_matplotlib_is(
        self, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("matplotlib")
        Trainer(options(steps=1), pack, tmp_path / "a").run()
        assert (tmp_path / "a" / "losses.png").exists()
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(MissingDependencyError, match=r"vmusprod\[plot\]"):
            plot.plot_losses(tmp_path / "a" / "losses.jsonl", tmp_path / "a.png")
        Trainer(options(steps=1), pack, tmp_path / "b").run()
        assert not (tmp_path / "b" / "losses.png").exists()


class TestProcesses:
    def test_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("RANK", raising=False)
        monkeypatch.delenv("WORLD_SIZE", raising=False)
        assert rank_and_world() == (0, 1)

    @pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("x", "2"), ("0", "0"), ("-1", "2")])
    def test_nonsense(self, rank: str, world: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", world)
        with pytest.raises(VmusError, match="torchrun"):
            rank_and_world()

    def test_each_gets_a_gpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOCAL_RANK", "3")
        assert own_device(torch.device("cuda"), 4) == torch.device("cuda", 3)
        assert own_device(torch.device("cuda", 1), 4) == torch.device("cuda", 1)
        assert own_device(torch.device("cuda"), 1) == torch.device("cuda")
        assert own_device(torch.device("cpu"), 4) == torch.device("cpu")

    def test_nobody_to_join(
        self, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("MASTER_ADDR", raising=False)
        with pytest.raises(VmusError, match="cannot join the other processes"):
            Trainer(options(), pack, tmp_path).run()

    @pytest.mark.parametrize("world", [2, 3, 50])
    def test_rounds(
        self, world: int, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Together the processes see every batch of an epoch, each another one of a round."""
        monkeypatch.setattr(module, "collate", lambda examples, _: [id(e) for e in examples])
        monkeypatch.setenv("WORLD_SIZE", str(world))
        runs: list[Trainer] = []
        for rank in range(world):
            monkeypatch.setenv("RANK", str(rank))
            runs.append(Trainer(options(), pack, tmp_path) if rank < 3 else runs[-1])
        count = len(runs[0].train_data.epoch(150, 0))
        for run in runs[:3]:
            everything = run.train_data.examples
            batches = run.train_data.epoch(150, 0)
            for start in range(0, count, world):
                chosen: Any = run._next_batch()
                wanted = batches[(start + run.rank) % count]
                assert chosen == [id(everything[i]) for i in wanted]
            assert run.epoch == 0
            run._next_batch()
            assert run.epoch == 1

    @pytest.mark.slow
    def test_two_gloo_processes(self, pack: Pack, tmp_path: Path) -> None:
        tiny_pack(tmp_path / "songs.pack")
        tests = Path(__file__).parent
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tests)}
        done = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
             str(tests / "torchrun_worker.py"), str(tmp_path / "songs.pack"), str(tmp_path)],
            env=environment, capture_output=True, text=True, timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        ranks = [torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1)]
        straight = [r[0] for r in ranks]
        assert same(straight[0]["weights"], straight[1]["weights"])
        pairs = list(zip(straight[0]["batches"], straight[1]["batches"], strict=True))
        assert len(pairs) == 5
        assert all(set(a).isdisjoint(b) for a, b in pairs)
        assert straight[0]["losses"] != straight[1]["losses"]
        for whole, first, second in ranks:  # resumed to the step, in both processes
            assert first["losses"] + second["losses"] == whole["losses"]
            assert first["batches"] + second["batches"] == whole["batches"]
            assert same(second["weights"], whole["weights"])
        alone = Trainer(TrainOptions("melody", overrides=overrides("melody")), pack, tmp_path)
        assert not same(alone.model.state_dict(), straight[0]["weights"])
        rows = (tmp_path / "straight" / "losses.jsonl").read_text().splitlines()
        assert len(rows) == 1  # only the first process writes


class TestOptimisers:
    @pytest.mark.parametrize("shape", [(3, 8, 8), (2, 8, 20), (1, 20, 8)])
    def test_orthogonalise(self, shape: tuple[int, ...]) -> None:
        torch.manual_seed(0)
        matrices = torch.randn(shape)
        singular = torch.linalg.svdvals(orthogonalise(matrices))
        assert singular.min() > 0.5
        assert singular.max() < 1.3
        u, _, v = torch.linalg.svd(matrices, full_matrices=False)
        alike = (orthogonalise(matrices) * (u @ v)).sum((1, 2)) / min(shape[1:])
        assert (alike > 0.8).all()
        assert not orthogonalise(torch.zeros(shape)).any()

    def test_muon_takes_matrices_and_adam_the_rest(self) -> None:
        model = Stage(tiny_config("melody"))
        muon, adam = make_optimizers(model, 1e-3, 0.02)
        assert isinstance(muon, Muon)
        names = {id(p): n for n, p in model.named_parameters()}
        groups = [{names[id(p)] for g in o.param_groups for p in g["params"]} for o in (muon, adam)]
        assert groups[0].isdisjoint(groups[1])
        assert groups[0] | groups[1] == set(names.values())
        assert "decoder.0.qkv.weight" in groups[0]
        rest = ("heads.attributes.pitch.logits.weight", "places.table", "recall.runs")
        assert set(rest) <= groups[1]
        assert len(make_optimizers(model, 1e-3, 0.0)) == 1

    def test_muon_batches_equal_shapes_without_mixing(self) -> None:
        torch.manual_seed(0)
        start = torch.randn(3, 8, 8)
        target = torch.randn(3, 8, 8)
        together = [p.clone().requires_grad_() for p in start]
        alone = [p.clone().requires_grad_() for p in start]
        optimizers = [Muon(together, 0.1), *(Muon([p], 0.1) for p in alone)]
        for _ in range(3):
            for params in (together, alone):
                loss = sum((((p - t) ** 2).sum() for p, t in zip(params, target, strict=True)))
                torch.autograd.backward(loss)
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
        torch.testing.assert_close(torch.stack(together), torch.stack(alone))
        assert (torch.stack(together) - target).norm() < (start - target).norm()

    def test_trapezoid(self) -> None:
        assert [trapezoid(s, 4, 0.0, 0.3) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
        shares = [trapezoid(99, 4, p, 0.5) for p in (0.4, 0.5, 0.75, 1.0, 1.2)]
        assert shares == pytest.approx([1, 1, 0.5, 0, 0])
        assert trapezoid(99, 0, 1.0, 0.0) == 1

    def test_average(self) -> None:
        model = torch.nn.Linear(1, 1, bias=False)
        with torch.no_grad():
            model.weight.fill_(0.0)
        average = Average(model, 0.9)
        with torch.no_grad():
            model.weight.fill_(1.0)
        expected = 0.0
        for step in range(1, 200):
            average.update(model)
            decay = min(0.9, step / (step + 10))
            expected = decay * expected + (1 - decay)
            assert float(average.weights["weight"]) == pytest.approx(expected, rel=1e-4)
        assert expected > 0.99
