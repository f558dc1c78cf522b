"""Several processes of a run: each its own batches, all the same weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tiny_models import overrides, tiny_pack
from tiny_training import options, same
from vmusprod.dataset.pack import Pack
from vmusprod.errors import VmusError
from vmusprod.training import data
from vmusprod.training.distributed import own_device, rank_and_world
from vmusprod.training.trainer import Trainer, TrainOptions


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    return tiny_pack(tmp_path_factory.mktemp("pack") / "songs.pack")


def test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert rank_and_world() == (0, 1)


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("x", "2"), ("0", "0"), ("-1", "2")])
def test_nonsense(rank: str, world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(VmusError, match="torchrun"):
        rank_and_world()


def test_each_gets_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device(torch.device("cuda"), 4) == torch.device("cuda", 3)
    assert own_device(torch.device("cuda", 1), 4) == torch.device("cuda", 1)
    assert own_device(torch.device("cuda"), 1) == torch.device("cuda")
    assert own_device(torch.device("cpu"), 4) == torch.device("cpu")


def test_nobody_to_join(pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(VmusError, match="cannot join the other processes"):
        Trainer(options(), pack, tmp_path).run()


@pytest.mark.parametrize("world", [2, 3, 50])
def test_rounds(world: int, pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together the processes see every batch of an epoch, each another one of a round."""
    monkeypatch.setattr(data, "collate", lambda examples, *_: [id(e) for e in examples])
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
def test_two_gloo_processes(pack: Pack, tmp_path: Path) -> None:
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
