"""Training: to the step the same after a resume, within its budget, the same in every process."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tiny_models import overrides, tiny_pack, tiny_stage
from tiny_training import options, same, train
from vmusprod.dataset.pack import Pack
from vmusprod.errors import InputError, OutputError, VmusError
from vmusprod.models.config import STAGES
from vmusprod.models.stage import Stage
from vmusprod.models.weights import load_stage, save_stage
from vmusprod.training import trainer as module
from vmusprod.training.data import StageData, collate
from vmusprod.training.precision import find_precision
from vmusprod.training.trainer import Trainer, evaluate, forward


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return tiny_pack(tmp_path_factory.mktemp("pack") / "songs.pack")


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


@pytest.mark.parametrize(("name", "cast"), [("bf16", True), ("f32", False)])
def test_precision(
    name: str, cast: bool, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def spy(model: Stage, batch: Any) -> dict[str, Tensor]:
        seen.append((model.training, torch.is_autocast_enabled("cpu")))
        return forward(model, batch)

    monkeypatch.setattr(module, "forward", spy)
    train(run := Trainer(options(steps=2, precision=name), pack, tmp_path))
    assert [c for training, c in seen if training] == [cast, cast]
    assert not any(c for training, c in seen if not training)  # losses are measured in float32
    assert all(p.dtype == torch.float32 for p in run.model.parameters())


def test_automatic_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert find_precision("auto", torch.device("cuda")) == torch.bfloat16
    assert find_precision("auto", torch.device("mps")) == torch.float32
    for has, wanted in [
        ({"avx512_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ({"avx2": True, "avx512_bf16": False}, torch.float32),
        ({}, torch.float32),
    ]:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda has=has: has)
        assert find_precision("auto", cpu) == wanted
        assert find_precision("bf16", cpu) == torch.bfloat16
        assert find_precision("f32", cpu) == torch.float32
    with pytest.raises(ValueError, match="unknown precision 'f16': one of auto, bf16, f32"):
        find_precision("f16", cpu)


@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_alike_in_bf16(stage: str, pack: Pack, tmp_path: Path) -> None:
    exact = train(Trainer(options(stage, steps=12, precision="f32"), pack, tmp_path / "f32"))
    rough = train(Trainer(options(stage, steps=12, precision="bf16"), pack, tmp_path / "bf16"))
    assert rough != exact
    np.testing.assert_allclose(rough, exact, rtol=0.01)


def test_a_run_goes_on_in_another_precision(pack: Pack, tmp_path: Path) -> None:
    train(first := Trainer(options(steps=3, precision="f32"), pack, tmp_path))
    second = Trainer(options(steps=4, precision="bf16"), pack, tmp_path)
    assert second.resume()
    assert same(second.model.state_dict(), first.model.state_dict())
    assert len(train(second)) == 1
    assert all(v.dtype != torch.bfloat16 for v in second.average.weights.values())


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
    with pytest.raises(ValueError, match="unknown precision"):
        Trainer(options(precision="f8"), pack, tmp_path)
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


def test_an_interrupt_loses_no_step(pack: Pack, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    run = Trainer(options(), pack, tmp_path)

    def interrupt(row: dict[str, float]) -> None:
        if row["step"] == 2:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run.run(interrupt)
    again = Trainer(options(), pack, tmp_path)
    assert again.resume()
    assert again.step == 2
    assert same(again.model.state_dict(), run.model.state_dict())
    assert signal.getsignal(signal.SIGINT) is before
