"""The best of several pieces, pieces without a video, and how `vmus` is asked for them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from fake_seen import features
from tiny_models import save_tiny
from video_factory import drift, scenes, texture, write_clip
from vmus.app import app
from vmusprod import candidates
from vmusprod.candidates import compose_best
from vmusprod.compose import Composer, Piece, Settings
from vmusprod.jobs import OptionError, Options, parse_sources, unconditional_jobs
from vmusprod.models.config import SOURCES
from vmusprod.music.score import read_midi
from vmusprod.unconditional import blank_features, blank_settings
from vmusprod.video.features import VideoFeatures


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("weights"))


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def busiest(seen: VideoFeatures, piece: Piece) -> float:
    return float(piece.note_count)


def test_the_best_of_several_can_be_made_again(weights: Path) -> None:
    composer, clip = Composer(weights), features()
    best = compose_best(composer, clip, Settings(5), 4, judge=busiest)
    assert len(best.scores) == 4
    assert best.piece.note_count == max(best.scores)
    assert best.seed == 5 + int(np.argmax(best.scores))
    again = composer.compose(clip, Settings(best.seed))
    assert again.midi() == best.piece.midi()
    worst = compose_best(composer, clip, Settings(5), 4, judge=lambda v, p: -busiest(v, p))
    assert worst.piece.note_count == min(best.scores)
    equal = compose_best(composer, clip, Settings(5), 3, judge=lambda v, p: 0.0)
    assert equal.seed == 5
    last = compose_best(composer, clip, Settings((1 << 63) - 1), 2, judge=busiest)
    assert last.seed in ((1 << 63) - 1, 0)


def test_candidates_from_the_command_line(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "vmcp_judge", busiest)
    clip = tmp_path / "f.npz"
    features().save(clip)
    made = vmus(
        "generate", clip, "-o", tmp_path / "a.mid", "--weights", weights, "--candidates", 3,
        "--json",
    )  # fmt: skip
    assert made.exit_code == 0, made.output
    row = json.loads(made.stdout)
    assert row["seed"] in (0, 1, 2)
    again = vmus(
        "generate", clip, "-o", tmp_path / "b.mid", "--weights", weights, "--seed", row["seed"]
    )
    assert again.exit_code == 0
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    assert vmus("generate", clip, "-o", tmp_path / "c.mid", "--candidates", 0).exit_code == 2


def test_pieces_without_a_video(weights: Path, tmp_path: Path) -> None:
    arguments = ("generate", "--unconditional", 3, "--weights", weights, "--json", "-o")
    made = vmus(*arguments, tmp_path / "out")
    assert made.exit_code == 0, made.output
    rows = [json.loads(line) for line in made.stdout.splitlines()]
    assert [row["seed"] for row in rows] == [0, 1, 2]
    assert len({row["duration"] for row in rows}) == 3
    for number, row in enumerate(rows, 1):
        path = tmp_path / "out" / f"piece-{number}.mid"
        assert row["outputs"] == [str(path)]
        assert row["input"] == f"piece-{number}"
        assert 40 <= row["bars"] <= 140
        assert len(read_midi(path).onset) == row["notes"]
    assert vmus(*arguments, tmp_path / "again").exit_code == 0
    first, again = (tmp_path / name / "piece-2.mid" for name in ("out", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert vmus(*arguments, tmp_path / "x.mid").exit_code == 2
    assert vmus(*arguments, tmp_path / "x", "--format", "mp4").exit_code == 2
    assert vmus("generate", "a.mp4", "--unconditional", 2, "-o", tmp_path / "x").exit_code == 2


def test_blank_settings_keep_what_the_user_chose() -> None:
    own = blank_settings(Settings(3, key=(4, 1), tempo=100.0))
    assert (own.key, own.tempo, own.without) == ((4, 1), 100.0, SOURCES)
    drawn = [blank_settings(Settings(seed)) for seed in range(60)]
    tempi = [s.tempo for s in drawn if s.tempo is not None]
    assert 66 < np.median(tempi) < 90
    assert 60 <= min(tempi) <= max(tempi) <= 150
    assert 12 < sum(s.key[1] for s in drawn if s.key is not None) < 40
    seen = blank_features(own)
    assert seen.duration * 100 / 240 == pytest.approx(round(seen.duration * 100 / 240))
    with pytest.raises(ValueError, match="tempo"):
        blank_features(Settings())


def test_options_are_checked() -> None:
    assert parse_sources(None) == ()
    assert parse_sources("semantic, color,") == ("semantic", "color")
    with pytest.raises(OptionError, match="unknown source 'colour'"):
        parse_sources("colour")
    for wrong in ({"density": 0}, {"loudness": 9}, {"candidates": 65}):
        with pytest.raises(OptionError, match="not within"):
            Options(**wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="not within"):
        unconditional_jobs(0, Path("x"))


def test_sources_left_out_and_levels_change_the_music(weights: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", (drift(texture(1), 3 * k) for k in range(100)))
    made = {}
    for name, extra in (
        ("plain", ()),
        ("still", ("--without", "motion")),
        ("blind", ("--without", "semantic,color,affect,motion")),
        ("soft", ("--loudness", 1)),
        ("loud", ("--loudness", 8)),
        ("straight", ("--no-align",)),
    ):
        out = tmp_path / f"{name}.mid"
        done = vmus("generate", clip, "-o", out, "--weights", weights, "--key", "C major", *extra)
        assert done.exit_code == 0, done.output
        made[name] = read_midi(out)
    assert made["loud"].velocity.mean() > made["soft"].velocity.mean() + 8
    assert not np.array_equal(made["plain"].onset, made["still"].onset)
    # There is no cut in it: nothing to align.
    assert np.array_equal(made["plain"].onset, made["straight"].onset)


def test_features_can_be_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0, 1.5]))
    done = vmus("features", clip, "-o", tmp_path / "f.npz", "--plot", tmp_path / "f.png")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [str(tmp_path / "f.npz"), str(tmp_path / "f.png")]
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    with np.load(tmp_path / "f.npz") as data:
        assert set(data.files) >= {"duration", "motion", "cuts", "color", "affect"}
        assert data["affect"].shape == (3, 2)
    again = vmus("features", tmp_path / "f.npz", "-o", tmp_path / "g.npz", "--plot",
                 tmp_path / "g.svg")  # fmt: skip
    assert again.exit_code == 0, again.output
    drawn = (tmp_path / "g.svg").read_text()
    assert "valence" in drawn
    bad = vmus("features", clip, "-o", tmp_path / "f.npz", "--plot", tmp_path / "no" / "f.png")
    assert bad.exit_code == 1


def test_models_list_and_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    from vmusprod import downloads

    listed = vmus("models", "list")
    assert listed.exit_code == 0
    assert listed.stdout == "clip: 934 MB, not fetched\ntagger: 3 MB, not fetched\n"
    source = tmp_path / "s.pt"
    source.write_bytes(b"abc")
    here = downloads.Download(
        "clip", "s.pt", source.as_uri(), hashlib.sha256(b"abc").hexdigest(), 3
    )
    monkeypatch.setitem(downloads.MODELS, "clip", here)
    got = vmus("models", "fetch", "clip")
    assert got.exit_code == 0
    path = tmp_path / "cache" / "models" / "s.pt"
    assert got.stdout.strip() == str(path)
    assert path.read_bytes() == b"abc"
    assert vmus("models", "list").stdout.splitlines()[0] == f"clip: {path}"
    assert vmus("models", "fetch", "clop").exit_code == 2
    path.unlink()
    source.unlink()
    failed = vmus("models", "fetch", "clip")
    assert failed.exit_code == 1
    assert "without a network" in failed.stderr


def test_choosing_among_candidates_imports_no_torch(weights: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0, 1.5]))
    code = (
        "import sys\n"
        "from vmus.app import app\n"
        "app(['generate', *sys.argv[1:]], standalone_mode=False)\n"
        "sys.exit('torch was imported' if 'torch' in sys.modules else 0)\n"
    )
    wanted = (clip, "-o", tmp_path / "a.mid", "--weights", weights, "--candidates", 2)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, wanted)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "a.mid").read_bytes().startswith(b"MThd")
