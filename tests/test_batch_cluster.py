"""The same on a Ray cluster of two nodes, one of which is killed in the middle."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch_work import Deeds
from vmusprod.batch.cluster import run_on_cluster
from vmusprod.errors import VmusError
from vmusprod.music.score import MidiTrack, midi_bytes

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, about its future defaults
]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("RAY_DISABLE_MEMORY_MONITOR", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        made = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 1,
                "object_store_memory": 80 << 20,
                "include_dashboard": False,
            },
        )
        yield made
        if ray.is_initialized():
            ray.shutdown()
        made.shutdown()


def test_a_lost_node_loses_no_item(cluster: Any, tmp_path: Path) -> None:
    other = cluster.add_node(num_cpus=2, object_store_memory=80 << 20)
    cluster.wait_for_nodes()
    items = [f"sleep 0.{i}" for i in range(1, 8)] + ["raise so it is", "sleep 2", "sleep 2.1"]
    killer = threading.Timer(3.0, cluster.remove_node, (other, False))
    killer.start()
    news = []
    results = list(
        run_on_cluster(Deeds(tmp_path), items, cluster.address, lambda *told: news.append(told))
    )
    killer.join()
    failed = [r for r in results if "lost" in r]
    assert [r for r in results if r not in failed] == [
        f"{item} done" for item in items if not item.startswith("raise")
    ]
    assert len(failed) == 1
    assert "ValueError" in failed[0]
    assert {place for place, _, _ in news} <= set(range(len(items)))
    assert not ray.is_initialized()


def test_songs_are_annotated_there_as_here(cluster: Any, tmp_path: Path) -> None:
    from vmusprod.annotation.options import AnnotateOptions
    from vmusprod.annotation.run import annotate_folder

    (tmp_path / "in").mkdir()
    notes = [(120 * i, 110, 60 + i * 7 % 12, 80) for i in range(200)]
    for name in range(20):
        track = MidiTrack("Piano", np.array(notes[: 100 + name], np.int64))
        data = midi_bytes([track], 500_000, 24_000, "")
        (tmp_path / "in" / f"{name}.mid").write_bytes(data)
    (tmp_path / "in" / "bad.mid").write_bytes(b"MThd")
    options = AnnotateOptions()
    here = annotate_folder([tmp_path / "in"], tmp_path / "here", options, jobs=1)
    there = annotate_folder([tmp_path / "in"], tmp_path / "there", options, ray=cluster.address)
    assert there == here
    assert (there.done, len(there.failed)) == (20, 1)
    files = [p.relative_to(tmp_path / "here") for p in (tmp_path / "here").rglob("*.mid")]
    assert len(files) == 40
    for name in files:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_no_cluster() -> None:
    began = time.monotonic()
    with pytest.raises(VmusError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        list(run_on_cluster(Deeds(Path()), ["a"], "127.0.0.1:1"))
    assert time.monotonic() - began < 60
