"""VMCP's encoders in numpy give what the torch model gives, and scoring needs no torch."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vmcp_world import pair, write_pairs
from vmusprod.music.score import MidiTrack, write_midi
from vmusprod.vmcp.config import VmcpConfig, shares
from vmusprod.vmcp.encoder import Encoders, similarities, video_rows, weight_shapes
from vmusprod.vmcp.model import Views, Vmcp
from vmusprod.vmcp.rows import MUSIC_SIZE, PIXEL_SIZE, music_rows, view
from vmusprod.vmcp.weights import default_weights, load_vmcp

SMALL = VmcpConfig("pixels", "symbolic", PIXEL_SIZE, MUSIC_SIZE, width=16, space=8)
CLIP = replace(SMALL, side="clip", video_columns=20 + PIXEL_SIZE, semantic=20)
CONFIGS = [
    SMALL,
    CLIP,
    replace(SMALL, layers=3, heads=1, space=1),
    replace(CLIP, width=24, heads=8, music="audio", music_columns=200),
]


def random_model(config: VmcpConfig, seed: int) -> Vmcp:
    """A model none of whose weights is zero."""
    torch.manual_seed(seed)
    model = Vmcp(config)
    with torch.no_grad():
        for weight in model.state_dict().values():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval()


def model_of(encoders: Encoders) -> Vmcp:
    model = Vmcp(encoders.config)
    model.load_state_dict({n: torch.as_tensor(w) for n, w in encoders.weights.items()})
    return model.eval()


@torch.no_grad()
def torch_vectors(
    model: Vmcp, semantic: np.ndarray, pixels: np.ndarray, music: np.ndarray, midi: bool
) -> tuple[np.ndarray, np.ndarray]:
    left, right = shares(model.config)
    rows = video_rows(semantic, pixels, model.projection_centre.numpy(), model.projection.numpy())
    found = []
    for encoder, seen in ((model.video, view(rows, left)), (model.music, view(music, right))):
        views = Views(torch.as_tensor(seen.segments)[None], torch.as_tensor(seen.summary)[None])
        if midi and encoder is model.music:
            views = Views(views.segments - model.midi_segments, views.summary - model.midi_summary)
        found.append(encoder(views)[0].numpy())
    return found[0], found[1]


def same(model: Vmcp, encoders: Encoders, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for seconds in (1, 2, 9, 24, 301):
        semantic = rng.normal(size=(seconds, 768)).astype(np.float32)
        pixels = rng.random((seconds, PIXEL_SIZE)).astype(np.float32)
        pixels[:, -7:] = np.nan  # as without affect
        music = rng.random((seconds, model.config.music_columns)).astype(np.float32)
        for midi in (False, True):
            video, heard = torch_vectors(model, semantic, pixels, music, midi)
            np.testing.assert_allclose(encoders.video(semantic, pixels), video, atol=1e-5)
            np.testing.assert_allclose(encoders.music(music, midi), heard, atol=1e-5)


@pytest.mark.parametrize("config", CONFIGS)
def test_numpy_is_torch_for_random_weights(config: VmcpConfig) -> None:
    for seed in range(3):
        model = random_model(config, seed)
        same(model, model.encoders(), seed)


@pytest.mark.parametrize("side", ["clip", "pixels"])
def test_numpy_is_torch_for_the_packages_weights(side: str) -> None:
    encoders, _ = load_vmcp(default_weights(side))
    same(model_of(encoders), encoders, 7)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_shapes_are_the_torch_models(config: VmcpConfig) -> None:
    state = Vmcp(config).state_dict()
    assert weight_shapes(config) == {name: tuple(w.shape) for name, w in state.items()}


def test_encoders_stay_as_they_were_taken() -> None:
    model = random_model(SMALL, 0)
    taken = model.encoders()
    rows = music_rows(pair(1)[1])
    before = taken.music(rows, midi=True)
    model.midi_summary.add_(1.0)
    assert np.array_equal(taken.music(rows, midi=True), before)
    assert not np.allclose(model.encoders().music(rows, midi=True), before)


def test_similarities_are_means_of_cosines() -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, 8, 3)).astype(np.float32) for n in (2, 5))
    assert similarities(a, b).shape == (2, 5)
    assert similarities(a, b)[1, 4] == pytest.approx((a[1] * b[4]).sum(-1).mean(), rel=1e-5)


def _run(code: str, *arguments: object, threads: int = 1) -> str:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(threads))}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_scores_do_not_depend_on_the_number_of_threads(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for number, seconds in enumerate((2, 24, 900)):
        np.savez(
            tmp_path / f"{number}.npz",
            semantic=rng.normal(size=(seconds, 768)).astype(np.float32),
            pixels=rng.random((seconds, PIXEL_SIZE)).astype(np.float32),
            music=rng.random((seconds, MUSIC_SIZE)).astype(np.float32),
        )
    code = (
        "import sys, numpy as np\n"
        "from vmusprod.vmcp.weights import default_weights, load_vmcp\n"
        "for side in ('clip', 'pixels'):\n"
        "    encoders, _ = load_vmcp(default_weights(side))\n"
        "    for path in sys.argv[1:]:\n"
        "        with np.load(path) as d:\n"
        "            video = encoders.video(d['semantic'], d['pixels'])\n"
        "            print(video.tobytes().hex(), encoders.music(d['music']).tobytes().hex())\n"
    )
    paths = sorted(tmp_path.iterdir())
    told = [_run(code, *paths, threads=threads) for threads in (1, 2, 4)]
    assert len(told[0].splitlines()) == 6
    assert told[0] == told[1] == told[2]


def test_ranking_and_scoring_import_no_torch(tmp_path: Path) -> None:
    table = write_pairs(tmp_path, 6)
    notes = np.array([[220 * k, 200, 60 + k % 3 * 4, 80] for k in range(60)])
    write_midi(tmp_path / "a.mid", [MidiTrack("piano", notes)], 500_000, 220 * 60, "")
    code = (
        "import sys\n"
        "from vmus.app import app\n"
        "app(['vmcp', *sys.argv[1:]], standalone_mode=False)\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)\n"
    )
    video, music = tmp_path / "v1.npz", (tmp_path / "m1.npz", tmp_path / "a.mid")
    for side in ("clip", "pixels"):
        ranked = _run(code, "rank", video, *music, "--side", side, "--json")
        assert len(ranked.splitlines()) == 2
    assert "n 6, m 5" in _run(code, "score", table, "-m", 5)
