"""The audio side: MIDI is rendered, tagged, and paired with videos."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from vmcp_world import pair
from vmus.app import app
from vmusprod.errors import MissingDependencyError, VmusError
from vmusprod.music.render import check_fluidsynth, render_wav
from vmusprod.music.score import MidiTrack, write_midi


@pytest.fixture(scope="module")
def tagger(shared: Path) -> Path:
    try:
        check_fluidsynth()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    return shared / "models" / "music_tagging" / "mtat-musicnn.pth"


def _midi(path: Path, step: int, pitch: int, beats: int = 12) -> Path:
    ticks = range(0, 220 * beats, step)
    notes = np.array([[t, step, pitch + t // step % 3 * 4, 90] for t in ticks])
    write_midi(path, [MidiTrack("piano", notes)], 500_000, 220 * beats, "")
    return path


@pytest.mark.shared
def test_rendered_midi_and_its_sound_are_heard_alike(tagger: Path, tmp_path: Path) -> None:
    from vmusprod.vmcp.tagger import Tagger

    midi = _midi(tmp_path / "a.mid", 110, 60)
    render_wav(midi, tmp_path / "a.wav")
    ear = Tagger(tagger)
    rendered, sounding = ear.rows(midi), ear.rows(tmp_path / "a.wav")
    assert rendered.shape == sounding.shape == (6, 200)
    # The tagger flushes denormal numbers to zero, and leaves them as they were.
    assert np.float32(1e-40) * np.float32(0.5) > 0
    # Rendered at 16 kHz or down from 44.1: the same piece.
    assert np.corrcoef(rendered.mean(0), sounding.mean(0))[0, 1] > 0.9
    # A tagger knows a piano when it hears one: tag 9 of MagnaTagATune's 50 is piano, 7 rock.
    import torch

    weights = torch.load(tagger, map_location="cpu", weights_only=True)
    tags = weights["dense2.weight"] @ torch.as_tensor(rendered.mean(0)) + weights["dense2.bias"]
    assert float(tags[9]) > float(tags[7])


@pytest.mark.shared
def test_the_tagger_is_found_where_it_was_fetched(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmusprod import downloads
    from vmusprod.vmcp.tagger import Tagger, find_tagger

    monkeypatch.setenv("VMUS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(VmusError, match="vmus models fetch tagger"):
        find_tagger(None)
    assert not (tmp_path / "cache").exists()  # nothing is fetched unasked
    file = shared / "models" / "music_tagging" / "mtat-musicnn.pth"
    here = replace(downloads.TAGGER, url=file.as_uri())
    monkeypatch.setitem(downloads.MODELS, "tagger", here)
    done = CliRunner().invoke(app, ["models", "fetch", "tagger"])
    assert done.exit_code == 0, done.output  # the file is the one of the checksum
    kept = find_tagger(None)
    assert done.stdout.strip() == str(kept)
    assert Tagger(kept)
    assert find_tagger(file) == file


@pytest.mark.shared
def test_the_audio_side_trains_and_scores(tagger: Path, tmp_path: Path) -> None:
    lines = ["video,music"]
    for seed in range(8):
        pair(seed)[0].save(tmp_path / f"v{seed}.npz")
        _midi(tmp_path / f"m{seed}.mid", 55 if seed % 2 else 220, 40 + 4 * seed, beats=6)
        lines.append(f"v{seed}.npz,m{seed}.mid")
    table = tmp_path / "pairs.csv"
    table.write_text("\n".join(lines) + "\n")
    weights = tmp_path / "audio.safetensors"
    common = [str(table), "--side", "pixels", "--music", "audio", "--tagger", str(tagger)]
    run = CliRunner().invoke
    done = run(app, ["vmcp", "train", *common, "-o", str(weights), "--steps", "2"])
    assert done.exit_code == 0, done.output
    done = run(app, ["vmcp", "score", *common, "--weights", str(weights), "-m", "8", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["p5"] > 5 / 8
