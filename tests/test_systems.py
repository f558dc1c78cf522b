"""The paper's reduced systems: one stage fewer, or one stage alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fake_seen import features
from tiny_models import random_song, save_tiny, tiny_pack
from tiny_training import options, train
from vmus.app import app
from vmusprod.compose import Composer, Settings
from vmusprod.dataset.pack import Pack, write_pack
from vmusprod.evaluate import evaluate_stage
from vmusprod.models.config import SYSTEMS
from vmusprod.models.weights import load_stage
from vmusprod.music import tokens as tk
from vmusprod.training.data import stage_streams
from vmusprod.training.trainer import Trainer, TrainOptions


def test_what_the_last_stage_reads_and_writes(tmp_path: Path) -> None:
    write_pack(tmp_path / "p", [random_song(0)], {})
    song = Pack(tmp_path / "p").songs("all")[0]
    count = [(stream[:, tk.TYPE] == tk.NOTE).sum() for stream in (song.melody, song.accompaniment)]
    plain, two, one = (stage_streams("accompaniment", song, system) for system in SYSTEMS)
    assert (plain[0][:, tk.TYPE] == tk.NOTE).sum() == count[1]
    for written, _ in (two, one):
        assert (written[:, tk.TYPE] == tk.NOTE).sum() == sum(count)
    assert two[1] is song.chord
    assert one[1] is not None
    assert (one[1][:, tk.TYPE] == tk.RHYTHM).all()
    for system in SYSTEMS:
        assert stage_streams("melody", song, system)[0] is song.melody


@pytest.mark.parametrize("system", SYSTEMS[1:])
def test_trained_and_composed_with(system: str, tmp_path: Path) -> None:
    pack = tiny_pack(tmp_path / "songs.pack", songs=4)
    run = Trainer(options("accompaniment", steps=2, system=system), pack, tmp_path / "run")
    train(run)
    _, about = load_stage(tmp_path / "run" / "accompaniment.safetensors")
    assert about["system"] == system
    loss = evaluate_stage("accompaniment", tmp_path / "songs.pack", tmp_path / "run")
    assert np.isfinite(loss.nats_per_token)
    folder = save_tiny(tmp_path)
    (tmp_path / "run" / "accompaniment.safetensors").replace(folder / "accompaniment.safetensors")
    piece = Composer(folder).compose(features(10.0), Settings(1, (2, 0), density=8))
    assert len(piece.melody) == 0
    assert len(piece.accompaniment) > 0
    assert len(piece.chords) == piece.plan.bars * 4
    assert piece.midi()
    mine = np.zeros(4, np.uint8)
    own = Composer(folder).compose(features(10.0), Settings(1, (0, 0), chords=mine))
    assert set(own.chords.tolist()) == {0}
    with pytest.raises(ValueError, match="unknown system"):
        Trainer(options("accompaniment", system="video2noise"), pack, tmp_path / "x")


def test_by_name_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[TrainOptions] = []

    class Spy(Trainer):
        def __init__(self, given: TrainOptions, pack: Pack, folder: Path) -> None:
            asked.append(given)
            super().__init__(options("accompaniment", steps=1, system=given.system), pack, folder)

    monkeypatch.setattr("vmusprod.training.trainer.Trainer", Spy)
    tiny_pack(tmp_path / "songs.pack", songs=4)
    command = ["train", "accompaniment", "--pack", str(tmp_path / "songs.pack")]
    command += ["-o", str(tmp_path / "run"), "--system", "video2music", "--video-share", "0.5"]
    done = CliRunner().invoke(app, [*command, "--without", "color"])
    assert done.exit_code == 0, done.output
    assert [(o.system, o.without, o.video_share) for o in asked] == [
        ("video2music", ("color",), 0.5)
    ]
    assert CliRunner().invoke(app, [*command, "--video-share", "2"]).exit_code == 2
    assert CliRunner().invoke(app, [*command, "--without", "sound"]).exit_code == 2
