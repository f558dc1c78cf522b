"""Loss curves: read from a run's log, drawn where matplotlib is installed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tiny_models import tiny_pack
from tiny_training import options
from vmusprod.errors import InputError, MissingDependencyError, OutputError
from vmusprod.training import plot
from vmusprod.training.trainer import Trainer


def written_log(folder: Path) -> Path:
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


def test_reading(tmp_path: Path) -> None:
    curves = plot.read_losses(written_log(tmp_path))
    assert curves.train == [(1000, 3.5), (2000, 3.0)]
    assert curves.held_out == [(2000, 3.1)]
    with pytest.raises(InputError):
        plot.read_losses(tmp_path / "no")


def test_drawing(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    log = written_log(tmp_path)
    plot.plot_losses(log, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    plot.plot_losses(log, tmp_path / "a.svg")
    assert b"held out" in (tmp_path / "a.svg").read_bytes()
    log.write_text("")
    plot.plot_losses(log, tmp_path / "empty.png")
    with pytest.raises(OutputError):
        plot.plot_losses(log, tmp_path / "no" / "a.png")


def test_runs_draw_where_matplotlib_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    pack = tiny_pack(tmp_path / "songs.pack")
    Trainer(options(steps=1), pack, tmp_path / "a").run()
    assert (tmp_path / "a" / "losses.png").exists()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"vmusprod\[plot\]"):
        plot.plot_losses(tmp_path / "a" / "losses.jsonl", tmp_path / "a.png")
    Trainer(options(steps=1), pack, tmp_path / "b").run()
    assert not (tmp_path / "b" / "losses.png").exists()
