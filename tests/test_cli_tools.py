"""The other commands: features, render, evaluate, dataset pack, train."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from video_factory import drift, texture, write_clip
from vmus.app import app
from vmusprod.errors import MissingDependencyError
from vmusprod.music.score import MidiTrack, midi_bytes
from vmusprod.video.features import VideoFeatures


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path_factory.mktemp("cache")))


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def one_line(done: Result, *parts: str) -> None:
    """Exit 1 with one line that names these."""
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("vmus: ")
    assert all(part in line for part in parts), line


def song(seed: int, bars: int = 16) -> bytes:
    """A tune over a bass in C major at 120 bpm, each seed another."""
    rng = np.random.default_rng(seed)
    rows = []
    for step in range(0, 16 * bars, 2):
        pitch = int(rng.choice([60, 62, 64, 65, 67, 69, 71, 72]))
        rows.append((55 * step, 100, pitch + 12, int(rng.integers(50, 100))))
        if step % 8 == 0:
            rows.append((55 * step, 400, int(rng.choice([36, 41, 43])), 60))
    return midi_bytes([MidiTrack("Piano", np.array(rows))], 500_000, 220 * 4 * bars, "")


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    # Enough that some fall into the held-out twentieth.
    for seed in range(40):
        (folder / f"{seed:02}.mid").write_bytes(song(seed))
    return folder


@pytest.fixture(scope="session")
def pack(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packs") / "songs.pack"
    done = vmus("dataset", "pack", "-o", path, "--midi", songs, "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert row["kept"]["midi"] >= 36  # one or two may be read in three
    assert row["fit"]["midi"] > 0.95
    assert row["kept"]["midi"] + row["left_out"] == 40
    return path


def test_features_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.mp4", "deep/b.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        write_clip(tmp_path / "in" / name, (texture(k) for k in range(30)))
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video")
    done = vmus("features", tmp_path / "in", "-o", tmp_path / "out", "--json", "--jobs", 2)
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in rows] == [["input", "outputs", "duration", "elapsed", "error"]] * 3
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[2]["outputs"] == [str(tmp_path / "out/deep/b.npz")]
    assert "1 of 3 failed" in done.stderr
    assert VideoFeatures.load(tmp_path / "out/a.npz").duration == pytest.approx(1.2)
    again = vmus("features", tmp_path / "in/a.mp4", "-o", tmp_path / "out", "--skip-existing")
    assert again.exit_code == 0
    assert "already there" in again.stderr


def test_features_are_written_and_named(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "v.mp4", (drift(texture(3), k) for k in range(30)))
    done = vmus("features", clip, "-o", tmp_path / "f.npz")
    assert (done.exit_code, done.stdout) == (0, f"{tmp_path / 'f.npz'}\n")
    assert VideoFeatures.load(tmp_path / "f.npz").duration == pytest.approx(1.2)
    with np.load(tmp_path / "f.npz") as arrays:
        assert {"duration", "motion", "cuts", "color"} <= set(arrays.files)
    one_line(vmus("features", tmp_path / "no.mp4", "-o", tmp_path / "g.npz"), "no.mp4", "No such")
    one_line(vmus("features", clip, "-o", tmp_path / "no" / "g.npz"), "no such folder")
    one_line(vmus("features", clip, "-o", clip), "must end in .npz")


def test_render_writes_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    midi, wav = tmp_path / "a.mid", tmp_path / "a.wav"
    midi.write_bytes(song(0, bars=2))
    done = vmus("render", midi, "-o", wav)
    assert (done.exit_code, done.stdout) == (0, f"{wav}\n"), done.output
    with wave.open(str(wav)) as sound:
        assert sound.getnframes() == pytest.approx(4.0 * sound.getframerate(), abs=1)
    wav.unlink()
    font = tmp_path / "f.sf2"
    font.write_bytes(b"RIFF")
    one_line(vmus("render", midi, "-o", wav, "--soundfont", font), "f.sf2")
    one_line(vmus("render", font, "-o", wav), "f.sf2")
    one_line(vmus("render", midi, "-o", midi), "must end in .wav")

    def missing() -> None:
        raise MissingDependencyError("FluidSynth is missing")

    monkeypatch.setattr("vmusprod.music.render._fluidsynth", missing)
    one_line(vmus("render", midi, "-o", wav), "FluidSynth is missing")
    assert not wav.exists()


def test_evaluate_prints_a_row_a_folder(songs: Path, tmp_path: Path) -> None:
    done = vmus("evaluate", songs, "--json")
    assert done.exit_code == 0
    row = json.loads(done.stdout)
    assert list(row) == ["files", "sc", "pe", "pce", "ebr", "ioi"]
    assert (row["files"], row["sc"]) == (40, 1.0)
    (tmp_path / "a.mid").write_bytes(song(0))
    (tmp_path / "b.mid").write_bytes(b"MThd")
    done = vmus("evaluate", tmp_path, "--reference", songs, "--json")
    assert done.exit_code == 1
    assert done.stderr == f"vmus: {tmp_path / 'b.mid'}: MIDI header cut short\n"
    both = json.loads(done.stdout)
    assert both["files"] == 1
    assert both["reference"] == row
    table = vmus("evaluate", songs, "--reference", songs).stdout.splitlines()
    assert table[0].split() == ["files", "sc", "pe", "pce", "ebr", "ioi"]
    assert [line.split()[0] for line in table[1:]] == ["40", "40"]
    one_line(vmus("evaluate", tmp_path / "none"), "no such folder")


def test_packing_tells_what_was_left_out(tmp_path: Path, songs: Path) -> None:
    (tmp_path / "a.mid").write_bytes((songs / "00.mid").read_bytes())
    (tmp_path / "b.mid").write_bytes(b"MThd")
    out = tmp_path / "p.pack"
    done = vmus("dataset", "pack", "-o", out, "--midi", tmp_path)
    assert done.exit_code == 0
    assert done.stdout.splitlines()[-1] == f"1 kept, 1 left out: {out}"
    assert done.stdout.startswith("midi: 1 songs, mean fit ")
    assert "left out 1: " in done.stderr
    one_line(vmus("dataset", "pack", "-o", tmp_path / "no" / "p", "--midi", tmp_path), "no such")
    one_line(vmus("dataset", "pack", "-o", out, "--pop909", tmp_path), "no POP909 songs")


@pytest.mark.slow
def test_training_goes_on_and_is_measured(pack: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = ["train", "chord", "--pack", pack, "-o", run, "--batch-tokens", 256]
    done = vmus(*arguments, "--steps", 1)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{run}: 1 steps, ")
    more = vmus(*arguments, "--steps", 2, "--json")
    assert more.exit_code == 0, more.output
    assert "going on from step 1" in more.stderr
    row = json.loads(more.stdout)
    assert (row["stage"], row["steps"]) == ("chord", 2)
    afresh = vmus(*arguments, "--steps", 1, "--json", "--no-resume")
    assert json.loads(afresh.stdout)["steps"] == 1

    measured = vmus("train", "chord", "--evaluate", pack, "--weights", run, "--json")
    assert measured.exit_code == 0, measured.output
    loss = json.loads(measured.stdout)
    assert list(loss) == ["stage", "tokens", "nats_per_token", "ngram_nats_per_token"]
    assert loss["stage"] == "chord"
    assert loss["tokens"] > 0
    assert loss["nats_per_token"] > 0
    assert loss["ngram_nats_per_token"] > 0
    # The stage's file does as well as its folder.
    same = vmus(
        "train", "chord", "--evaluate", pack, "--weights", run / "chord.safetensors", "--json"
    )
    assert json.loads(same.stdout) == loss
    assert vmus("train", "chord", "--evaluate", pack, "--weights", run).stdout.startswith("chord: ")


def test_bad_training_input_is_one_line(pack: Path, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk")
    one_line(vmus("train", "chord", "--pack", junk, "-o", tmp_path / "r"), str(junk))
    one_line(vmus("train", "chord", "--pack", tmp_path / "no", "-o", tmp_path / "r"), "no")
    one_line(vmus("train", "chord", "--evaluate", junk), str(junk))
    one_line(vmus("train", "chord", "--evaluate", pack, "--weights", junk), str(junk))
    one_line(
        vmus("train", "chord", "--pack", pack, "-o", tmp_path / "r", "--device", "nonsense"),
        "device 'nonsense'",
    )
    one_line(
        vmus("train", "chord", "--pack", pack, "-o", tmp_path / "r", "--init", junk), str(junk)
    )
    (tmp_path / "run").mkdir()
    torch.save({"model": {}}, tmp_path / "run" / "state.pt")
    one_line(vmus("train", "chord", "--pack", pack, "-o", tmp_path / "run"), "state.pt")
    one_line(vmus("train", "chord", "--pack", pack, "-o", junk, "--steps", 1), str(junk))
