"""VMCP learns what there is to learn, no more, and its files are checked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from vmcp_world import pair, rows
from vmusprod.dataset.muvi import Muvi
from vmusprod.errors import InputError, VmusError
from vmusprod.music.score import TimedNotes, read_midi
from vmusprod.video.features import VideoFeatures
from vmusprod.vmcp import load_scorer
from vmusprod.vmcp.config import VmcpConfig
from vmusprod.vmcp.metric import retrieval
from vmusprod.vmcp.model import Views, Vmcp
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.rows import BLOCKS, SEGMENTS
from vmusprod.vmcp.scorer import Scorer
from vmusprod.vmcp.training import FitOptions, PairRows, fit, fit_midi_shift, pair_scores
from vmusprod.vmcp.weights import default_weights, load_vmcp, save_vmcp

CLIP = VmcpConfig("clip", "symbolic", 768, 1, semantic=768, width=16, space=8)
PIXELS = VmcpConfig("pixels", "symbolic", 1, 1, width=16, space=8)
QUICK = FitOptions(components=16, steps=10, crops=1, batch=32)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clip() -> Vmcp:
    return fit(rows(60), CLIP, QUICK)


def _precision(scores: np.ndarray) -> float:
    return retrieval(scores, 40).precision[5].value


@pytest.mark.parametrize("config", [CLIP, PIXELS])
def test_unseen_pairs_find_each_other(clip: Vmcp, config: VmcpConfig) -> None:
    model = clip if config is CLIP else fit(rows(60), config, QUICK)
    scores = pair_scores(model.encoders(), rows(40, first=100))
    assert _precision(scores) > 0.4  # chance 0.125
    shuffled = scores[np.random.default_rng(0).permutation(40)]
    assert _precision(shuffled) < 0.3


def test_nothing_is_learnt_from_pairs_that_do_not_belong(clip: Vmcp) -> None:
    pairs = rows(60)
    mixed = [
        PairRows(a.semantic, a.pixels, b.music)
        for a, b in zip(pairs, pairs[7:] + pairs[:7], strict=True)
    ]
    wrong = fit(mixed, CLIP, QUICK)
    unseen = rows(40, first=100)
    found = retrieval(pair_scores(wrong.encoders(), unseen), 40)
    assert found.precision[5].value < 0.5 * _precision(pair_scores(clip.encoders(), unseen))
    assert abs(found.average_rank.value - 20.5) < 6


def test_random_weights_are_at_chance() -> None:
    # A judge that never learnt: its figure over many such judges is chance.
    unseen = rows(40, first=100)
    values = []
    for seed in range(12):
        torch.manual_seed(seed)
        model = Vmcp(replace(PIXELS, video_columns=unseen[0].pixels.shape[1], music_columns=48))
        values.append(retrieval(pair_scores(model.encoders(), unseen), 40).average_rank.value)
    assert abs(np.mean(values) - 20.5) < 3


def test_infonce_lowers_its_loss_on_what_it_sees() -> None:
    pairs = rows(40)
    told: list[str] = []
    options = replace(QUICK, steps=40, rate=3e-3)
    fit(pairs, replace(CLIP, dropout=0.0), options, lambda what, done: told.append(what))
    losses = [float(line.rsplit(" ", 1)[1]) for line in told if "loss" in line]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:10])


def test_the_loss_is_the_papers() -> None:
    torch.manual_seed(0)
    model = Vmcp(PIXELS)
    video, music = (torch.nn.functional.normalize(torch.randn(3, 8, 4), dim=-1) for _ in "ab")
    temperature = float(model.log_temperature.detach().exp())
    total = 0.0
    for a, b in ((video, music), (music, video)):
        for i in range(3):
            for part in range(8):
                every = torch.stack([a[i, part] @ b[j, k] for j in range(3) for k in range(8)])
                own = a[i, part] @ b[i, part] / temperature
                total -= float(own - torch.logsumexp(every / temperature, 0)) / 24 / 2
    assert float(model.loss(video, music, 1.0).detach()) == pytest.approx(total, rel=1e-5)


def test_vectors_are_of_unit_length_whatever_is_unknown(clip: Vmcp) -> None:
    columns = clip.config.video_columns
    views = Views(torch.full((1, SEGMENTS, columns), torch.nan), torch.zeros(1, BLOCKS, columns))
    assert torch.allclose(clip.video(views).norm(dim=-1), torch.ones(1, SEGMENTS), atol=1e-4)


def test_training_repeats_itself(clip: Vmcp, tmp_path: Path) -> None:
    again = fit(rows(60), CLIP, QUICK)
    for name, model in (("a", clip), ("b", again)):
        save_vmcp(tmp_path / name, model.encoders(), {"pairs": 60})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_gives_the_model_back(clip: Vmcp, tmp_path: Path) -> None:
    save_vmcp(tmp_path / "w", clip.encoders(), {"pairs": 60})
    again, about = load_vmcp(tmp_path / "w")
    assert about == {"pairs": 60}
    unseen = rows(20, first=100)
    assert np.allclose(pair_scores(again, unseen), pair_scores(clip.encoders(), unseen), atol=0.02)


def test_midi_is_taken_for_what_it_is(clip: Vmcp) -> None:
    plain = rows(20, first=200)
    midi = [p.music + np.float32(0.3) for p in plain]
    fit_midi_shift(clip, midi)
    assert float(clip.midi_summary[0, 0]) == pytest.approx(0.3, abs=0.25)
    with pytest.raises(VmusError, match="8 files"):
        fit_midi_shift(clip, midi[:3])
    clip.midi_summary.zero_()
    clip.midi_segments.zero_()


def test_a_scorer_compares_like_the_model(clip: Vmcp) -> None:
    scorer = Scorer(clip.encoders())
    video, music = pair(300)
    other = pair(301)[1]
    both = scorer.scores([video], [music, other])
    assert both.shape == (2, 1)
    assert scorer.similarity(video, music) == pytest.approx(both[0, 0])
    assert -1 <= both.min() <= both.max() <= 1


def test_the_clip_side_wants_clip_features(clip: Vmcp) -> None:
    with pytest.raises(VmusError, match="pixels side"):
        Scorer(clip.encoders()).similarity(*pair(1, semantic=False))
    with pytest.raises(VmusError, match="CLIP features"):
        fit(rows(20, semantic=False), CLIP, QUICK)
    with pytest.raises(VmusError, match="at least 8"):
        fit(rows(3), CLIP, QUICK)


KINDS = [
    "cut", "nan", "shape", "huge", "field", "format", "whole numbers", "beyond float32", "missing",
]  # fmt: skip


def _damaged(path: Path, kind: str) -> None:
    weights = load_file(path)
    header = {"format": "vmus-vmcp-1", "about": {}}
    config = load_vmcp(path)[0].config.to_dict()
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:1000])
        return
    if kind == "nan":
        weights["video.whole.weight"][0, 0] = torch.nan
    elif kind == "shape":
        weights["music.place"] = torch.zeros(3, 3)
    elif kind == "huge":
        config["width"] = 10**9
    elif kind == "whole numbers":
        weights["music.place"] = weights["music.place"].int()
    elif kind == "beyond float32":
        weights["music.place"] = weights["music.place"].double() + 1e300
    elif kind == "missing":
        del weights["log_temperature"]
    elif kind == "field":
        config["more"] = 1
    elif kind == "format":
        header["format"] = "other"
    save_file(weights, path, {"vmcp": json.dumps({**header, "config": config})})


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_weights_are_refused(clip: Vmcp, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "w.safetensors"
    save_vmcp(path, clip.encoders(), {})
    _damaged(path, kind)
    with pytest.raises(InputError, match=r"w\.safetensors"):
        load_vmcp(path)


def test_sides_that_are_not_there(clip: Vmcp, tmp_path: Path) -> None:
    with pytest.raises(VmusError, match="vmcp train"):
        load_scorer("clip", "audio")
    save_vmcp(tmp_path / "w", clip.encoders(), {})
    with pytest.raises(InputError, match="not pixels and symbolic"):
        load_scorer("pixels", weights=tmp_path / "w")
    with pytest.raises(InputError, match="no such file"):
        load_scorer("clip", weights=tmp_path / "none")


@pytest.mark.parametrize("side", ["clip", "pixels"])
def test_the_packages_weights_answer_for_any_length(side: str) -> None:
    assert default_weights(side).stat().st_size < 4 << 20
    scorer = load_scorer(side)
    for duration in (0.4, 2.0, 61.0):
        steps = max(1, int(duration * 5))
        clip = np.ones((max(1, int(np.ceil(duration))), 768), np.float32)
        video = VideoFeatures(
            duration, np.ones(steps, np.float32), np.zeros(0, np.float32), semantic=clip
        )
        assert -1 <= scorer.similarity(video, pair(5)[1]) <= 1


@pytest.mark.shared
@pytest.mark.parametrize(("side", "least"), [("clip", 0.5), ("pixels", 0.3)])
def test_real_music_finds_its_video(shared: Path, side: str, least: float) -> None:
    songs = list(Muvi(shared / "data" / "MuVi-Sync", "val").songs())
    musics = [MusicSeconds(s.music.chords, s.music.density, s.music.loudness) for s in songs]
    scores = load_scorer(side).scores([s.video for s in songs], musics)
    real = retrieval(scores, 70)
    assert real.precision[10].low > 10 / 70
    assert real.precision[10].value > least
    # Shuffled, the figure is chance: the mean over shuffles, and most intervals hold it.
    rng = np.random.default_rng(0)
    shuffled = [retrieval(scores[rng.permutation(75)], 70, seed) for seed in range(20)]
    assert np.mean([s.precision[10].value for s in shuffled]) == pytest.approx(10 / 70, abs=0.03)
    assert sum(s.precision[10].low <= 10 / 70 <= s.precision[10].high for s in shuffled) >= 16


@pytest.mark.shared
def test_transposition_and_tempo_move_the_score_as_they_should(shared: Path) -> None:
    data = shared / "data"
    scorer = load_scorer("clip")
    muvi = Muvi(data / "MuVi-Sync", "val")
    videos = [muvi.song(number).video for number in range(0, 75, 3)]

    def profile(notes: TimedNotes) -> np.ndarray:
        return scorer.scores(videos, [notes])[0]

    other: np.ndarray | None = None
    likeness: dict[str, list[float]] = {"up": [], "fast": [], "other": []}
    for path in sorted((data / "SymMV" / "midi").glob("*.mid"))[10:300:60]:
        notes = read_midi(path, pedal=True)
        plain = profile(notes)
        up = replace(notes, pitch=(notes.pitch + 2).astype(np.uint8))
        fast = replace(notes, onset=notes.onset / 1.25, offset=notes.offset / 1.25)
        likeness["up"].append(np.corrcoef(plain, profile(up))[0, 1])
        likeness["fast"].append(np.corrcoef(plain, profile(fast))[0, 1])
        if other is not None:
            likeness["other"].append(np.corrcoef(plain, other)[0, 1])
        other = plain
    mean = {name: float(np.mean(values)) for name, values in likeness.items()}
    # Another key is the same music, another tempo nearly so, another piece is another.
    assert mean["up"] > 0.9
    assert mean["up"] > mean["fast"] > mean["other"] + 0.2
