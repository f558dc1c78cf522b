"""Batches: order, crashes, interrupts."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from batch_work import Deeds
from vmusprod.batch.pool import cores, run_many


def test_results_come_in_order(tmp_path: Path) -> None:
    items = ["sleep 0.3", "a", "b", "sleep 0.1", "c"]
    news: list[tuple[int, str, float]] = []
    results = list(run_many(Deeds(tmp_path), items, 2, lambda *told: news.append(told)))
    assert results == [f"{item} done" for item in items]
    assert sorted(news) == [(i, item.split()[0], 0.5) for i, item in enumerate(items)]


def test_a_dying_process_takes_only_its_own_item(tmp_path: Path) -> None:
    items = ["a", "die", "die-once mark", "raise so it is", "b"]
    assert list(run_many(Deeds(tmp_path), items, 2)) == [
        "a done",
        "die lost: its process died (SIGKILL)",
        "die-once mark done",
        "raise so it is lost: internal error: ValueError: so it is",
        "b done",
    ]


def test_one_worker_stays_in_this_process(tmp_path: Path) -> None:
    class Local:  # cannot be pickled
        def __call__(self, item: str, progress: object) -> str:
            return item

        def lost(self, item: str, cause: str) -> str:
            return cause

    assert list(run_many(Local(), ["a", "b"], 1)) == ["a", "b"]
    assert list(run_many(Local(), ["a"], 4)) == ["a"]
    assert list(run_many(Local(), [], 4)) == []
    with pytest.raises(ValueError, match="workers"):
        list(run_many(Local(), ["a"], 0))
    assert cores() >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is no signal there")
def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the background ignores it
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from pathlib import Path
        from batch_work import Deeds
        from vmusprod.batch.pool import run_many

        if __name__ == "__main__":
            try:
                list(run_many(Deeds(Path({str(tmp_path)!r})), ["write a", "write b"], 2))
            except KeyboardInterrupt:
                sys.exit(130)
    """)
    (tmp_path / "main.py").write_text(script)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "main.py")], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == ""
    assert {p.name for p in tmp_path.iterdir()} == {"begun", "main.py"}
