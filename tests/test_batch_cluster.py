"""The same on a Ray cluster of two nodes, one of which is killed in the middle."""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batch_work import Deeds
from vmusprod.batch.cluster import run_on_cluster
from vmusprod.errors import VmusError

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


def test_no_cluster() -> None:
    began = time.monotonic()
    with pytest.raises(VmusError, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        list(run_on_cluster(Deeds(Path()), ["a"], "127.0.0.1:1"))
    assert time.monotonic() - began < 60
