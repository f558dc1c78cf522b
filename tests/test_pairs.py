"""MuVi-Sync as training pairs: chords on beats, videos beside them, through a pack and a batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tiny_models import random_song, tiny_config
from tiny_muvi import BEAT, DOWNBEAT, write_muvi, write_oasis
from tiny_training import options, train
from vmusprod.dataset.build import build_pack
from vmusprod.dataset.chord_grid import ChordGrid, beat_chords, chord_changes, fit_chord_grid
from vmusprod.dataset.muvi import ChordSpan, Muvi
from vmusprod.dataset.pack import Pack, write_pack
from vmusprod.dataset.pairs import read_palette
from vmusprod.errors import InputError
from vmusprod.models.stage import Stage
from vmusprod.models.weights import load_stage
from vmusprod.music import tokens as tk
from vmusprod.training.data import StageData
from vmusprod.training.trainer import Trainer, evaluate, forward
from vmusprod.training.video import video_input


@pytest.fixture(scope="module")
def muvi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_muvi(tmp_path_factory.mktemp("muvi") / "m")


@pytest.fixture(scope="module")
def oasis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_oasis(tmp_path_factory.mktemp("oasis") / "o")


@pytest.fixture(scope="module")
def pack(muvi: Path, oasis: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "pairs.npz"
    report = build_pack(path, muvi=muvi, oasis=oasis)
    assert report.kept == {"muvi": 5}
    assert [reason for _, reason in report.skipped] == ["too few chords for a grid"]
    assert report.weak == 0.0
    return path


@pytest.mark.parametrize("tempo", [76.0, 100.0, 131.5])
def test_grid_of_exact_changes(tempo: float) -> None:
    beat = 60 / tempo
    changes = 1.3 + beat * np.array([0, 4, 8, 10, 12, 16, 20, 22, 24, 28, 32, 36, 38, 40, 44, 48])
    grid = fit_chord_grid(changes)
    assert grid is not None
    assert grid.tempo == pytest.approx(tempo, abs=0.1)
    assert grid.fit > 0.95
    distance = (grid.start - 1.3 + grid.bar / 2) % grid.bar - grid.bar / 2
    assert abs(distance) < 0.05


def test_grid_of_no_rhythm_is_known_to_be_weak() -> None:
    assert fit_chord_grid(np.array([1.0, 2.0, 3.0])) is None
    fits = []
    for seed in range(5):
        grid = fit_chord_grid(np.sort(np.random.default_rng(seed).uniform(0, 250, 150)))
        assert grid is not None
        fits.append(grid.fit)
    assert np.median(fits) < 0.35


def test_beats_get_the_chord_that_sounds_longest() -> None:
    spans = [ChordSpan(0.0, 1.1, 0), ChordSpan(1.1, 2.6, 50), ChordSpan(2.6, 4.0, 70)]
    assert chord_changes(spans).tolist() == [1.1, 2.6]
    strong, weak = ChordGrid(60.0, 0.0, 0.9), ChordGrid(60.0, 0.0, 0.1)
    assert beat_chords(spans, strong, 0.0, 6).tolist() == [0, 50, 50, 70, 120, 120]
    assert beat_chords(spans, weak, 0.0, 6).tolist() == [0, 0, 70, 70, 120, 120]
    assert beat_chords(spans, strong, -1.0, 2).tolist() == [120, 0]


def test_packed_pairs(pack: Path, muvi: Path) -> None:
    songs = Pack(pack).songs("all")
    assert [s.split for s in songs] == ["train"] * 2 + ["val"] * 3
    song = songs[0]
    assert song.source == "muvi"
    assert song.tempo == pytest.approx(60 / BEAT, abs=0.1)
    assert not song.has_notes
    chords = tk.decode_chords(song.chord, song.bars)
    # D major is C major here: D A Bm G A becomes C G Am F G, and each begins on its beat.
    assert chords[:16].tolist() == [0] * 4 + [70] * 4 + [91] * 2 + [50] * 2 + [70] * 4
    assert songs[1].mode == 1
    video = song.video
    assert video is not None
    rows = video.rows()
    assert set(rows) == {"semantic", "color", "affect", "motion"}
    assert len(video) == pytest.approx(song.bars * 4 * BEAT, abs=1.5)
    whole = Muvi(muvi).song(0).video
    assert whole.semantic is not None
    first = int(DOWNBEAT)
    near = np.abs(rows["semantic"] - whole.semantic[first : first + len(video)]).max()
    assert near < 0.002
    assert np.allclose(rows["color"].sum(1), 1, atol=0.01)


def test_colours_are_those_of_pictures_of_like_affect(pack: Path, oasis: Path) -> None:
    palette = read_palette(oasis)
    assert np.abs(palette.affect).max() <= 1
    distances, apart = [], []
    for song in Pack(pack).songs("all"):
        assert song.video is not None
        chosen = palette.affect[song.video.color]
        affect = song.video.affect.astype(np.float32)
        distances.append(np.abs(chosen - affect).mean())
        apart.append(np.abs(np.roll(palette.affect, 5, 0)[song.video.color] - affect).mean())
    assert np.mean(distances) < np.mean(apart)
    with pytest.raises(InputError):
        read_palette(oasis / "none")


def test_a_pack_damaged_in_its_videos_is_refused(pack: Path, tmp_path: Path) -> None:
    with np.load(pack) as data:
        arrays = {k: data[k] for k in data.files}
    for name, value in (
        ("video_song", arrays["video_song"] + 9),
        ("video_color", arrays["video_color"] + 999),
        ("video_semantic", arrays["video_semantic"][:, :5]),
        ("video_motion", arrays["video_motion"] * np.float16(np.nan)),
        ("video_offset", arrays["video_offset"][:-1]),
    ):
        np.savez(tmp_path / "bad.npz", **(arrays | {name: value}))
        with pytest.raises(InputError, match="not a training pack"):
            Pack(tmp_path / "bad.npz")
    del arrays["video_palette"]
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(InputError):
        Pack(tmp_path / "bad.npz")


def test_batches_show_each_song_its_video(pack: Path) -> None:
    songs = Pack(pack).songs("all")[:2]
    videos = [songs[0].video, None, songs[1].video]
    seen = video_input(videos, ("semantic", "motion"))
    assert seen is not None
    assert set(seen.rows) == {"semantic", "motion"}
    assert seen.present["motion"] == [True, False, True]
    assert seen.seconds[1] == 1
    assert len(seen.rows["motion"]) == sum(seen.seconds)
    assert videos[2] is not None
    last = seen.rows["motion"][-len(videos[2]) :]
    assert torch.equal(last, torch.from_numpy(videos[2].rows()["motion"]))
    assert video_input([None, None], ("motion",)) is None
    assert video_input(videos, ()) is None
    counts = [0, 0]
    for step in range(60):
        given = video_input(videos, ("semantic", "motion"), np.random.default_rng(step))
        counts[0] += given is None or not given.present.get("motion", [False])[0]
        counts[1] += given is not None and given.present.get("semantic", [False])[0]
    assert 5 < counts[0] < 40  # dropped at random
    assert 10 < counts[1] < 50


def test_training_on_pairs(pack: Path, tmp_path: Path) -> None:
    other = tmp_path / "songs.npz"
    write_pack(other, [random_song(i) for i in range(4)], {})
    joined = Pack.joined([other, pack])
    assert len(joined.songs("train")) == 6
    assert "packs" in joined.about
    run = Trainer(options("chord", steps=12, video_share=0.5), joined, tmp_path / "run")
    assert run.config.sources == ("semantic", "color", "affect", "motion")
    losses = train(run)
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    model, _ = load_stage(tmp_path / "run" / "chord.safetensors", "chord")
    assert model.controller is not None
    before = tiny_config("chord")
    assert any(bool(p.abs().max() > 0) for n, p in model.named_parameters() if "cross_out" in n), (
        before
    )
    less = Trainer(options("chord", without=("semantic", "color")), joined, tmp_path / "less")
    assert less.config.sources == ("affect", "motion")
    notes = StageData(joined.songs("train"), "melody")
    assert len(notes.examples) == 4  # chords alone are no melody


def test_a_song_without_video_is_as_if_there_were_no_controller(pack: Path) -> None:
    torch.manual_seed(0)
    model = Stage(tiny_config("chord")).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    songs = Pack(pack).songs("train")
    blind = StageData(songs, "chord", ())
    both = StageData(songs, "chord")
    alone = evaluate(model, blind, torch.device("cpu"))
    assert evaluate(model, both, torch.device("cpu")) != alone
    model.controller = None
    again = sum(float(v.detach()) for v in forward(model, blind.batch([0, 1])).values())
    assert again / blind.tokens == pytest.approx(alone["nats_per_token"], rel=1e-5)


def test_share_of_videos(pack: Path, tmp_path: Path) -> None:
    write_pack(tmp_path / "o", [random_song(i) for i in range(30)], {})
    songs = Pack.joined([tmp_path / "o", pack]).songs("train")
    data = StageData(songs, "chord", video_share=0.5)
    sizes = [len(e.target) for e in data.examples]
    chosen: set[int] = set()
    for seed in range(40):
        order = [i for batch in data.epoch(200, seed) for i in batch]
        paired = [i for i in order if data.examples[i].video is not None]
        assert len(paired) == 2
        share = sum(sizes[i] for i in paired) / sum(sizes[i] for i in order)
        assert share >= 0.5
        chosen |= set(order)
    assert len(chosen) > 15  # the others take turns
