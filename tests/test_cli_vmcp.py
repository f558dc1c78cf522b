"""`vmus vmcp`: train, score and rank as a user runs them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vmcp_world import write_pairs
from vmus.app import app


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["vmcp", *map(str, arguments)])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-four pairs and pixel weights trained on them."""
    folder = tmp_path_factory.mktemp("world")
    table = write_pairs(folder, 24)
    done = run("train", table, "-o", folder / "w.safetensors", "--side", "pixels", "--steps", 3)
    assert done.exit_code == 0, done.output
    return folder


def test_score_prints_the_figures(world: Path) -> None:
    weights = ("--weights", world / "w.safetensors", "--side", "pixels", "-m", 20)
    done = run("score", world / "pairs.csv", *weights, "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)
    assert list(row)[:6] == ["n", "m", "p5", "p10", "p20", "ar"]
    assert (row["n"], row["m"], row["p20"]) == (24, 20, 1.0)
    assert row["p5_interval"][0] <= row["p5"] <= row["p5_interval"][1]
    assert row["p5"] > 0.4
    assert run("score", world / "pairs.csv", *weights, "--json").stdout == done.stdout
    shown = run("score", world / "pairs.csv", *weights).stdout
    assert "P@10" in shown
    assert "n 24, m 20" in shown


def test_two_folders_are_pairs_too(world: Path, tmp_path: Path) -> None:
    for name, kind in (("videos", "v"), ("music", "m")):
        (tmp_path / name).mkdir()
        for seed in range(12):
            copy = tmp_path / name / f"{seed}.npz"
            copy.write_bytes((world / f"{kind}{seed}.npz").read_bytes())
    done = run("score", tmp_path / "videos", tmp_path / "music", "-m", 12, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["n"] == 12


def test_too_few_pairs_say_what_to_do(world: Path) -> None:
    done = run("score", world / "pairs.csv", "--side", "pixels")
    assert done.exit_code == 1
    assert "24 videos, but 70 candidates" in done.stderr
    assert "--candidates 24" in done.stderr
    assert done.stdout == ""


def test_unreadable_pairs_are_named_and_the_rest_scored(world: Path) -> None:
    table = world / "some.csv"
    (world / "bad.npz").write_bytes(b"nothing")
    rows = (world / "pairs.csv").read_text().splitlines()
    table.write_text("\n".join([*rows[:13], "bad.npz,m1.npz", "v2.npz,none.mid"]) + "\n")
    done = run("score", table, "-m", 10, "--side", "pixels", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["n"] == 12
    assert "bad.npz" in done.stderr
    assert "none.mid" in done.stderr
    assert "2 failed" in done.stderr


def test_rank_sorts(world: Path) -> None:
    musics = [world / f"m{seed}.npz" for seed in range(6)]
    weights = ("--weights", world / "w.safetensors", "--side", "pixels")
    done = run("rank", world / "v3.npz", *musics, *weights, "--json")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    scores = [row["similarity"] for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row["music"] for row in rows} == set(map(str, musics))
    assert str(world / "m3.npz") in [row["music"] for row in rows[:3]]
    plain = run("rank", world / "v3.npz", *musics, *weights).stdout.splitlines()
    assert [line.split()[-1] for line in plain] == [row["music"] for row in rows]


def test_rank_goes_on_after_a_broken_file(world: Path) -> None:
    (world / "broken.mid").write_bytes(b"MThd")
    done = run("rank", world / "v3.npz", world / "broken.mid", world / "m3.npz")
    assert done.exit_code == 1
    assert "broken.mid" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_training_cross_validates_and_repeats_itself(world: Path, tmp_path: Path) -> None:
    options = ("--side", "pixels", "--steps", 2, "--folds", 2, "-m", 10, "--json")
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        done = run("train", world / "pairs.csv", "-o", file, *options)
        assert done.exit_code == 0, done.output
        row = json.loads(done.stdout)
        assert (row["pairs"], row["n"], row["m"]) == (24, 24, 10)
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["train", "pairs.csv"], 2, "-o FILE"),
        (["train", "pairs.csv", "-o", "x", "--side", "auto"], 2, "--side clip or pixels"),
        (["train", "none.csv", "-o", "x"], 1, "none.csv"),
        (["train", "pairs.csv", "-o", "x", "--folds", "1"], 2, "--folds"),
        (
            ["train", "pairs.csv", "-o", "no/such/x", "--side", "pixels", "--steps", "0"],
            1,
            "no/such",
        ),
        (["train", "pairs.csv", "-o", "x", "--music", "audio", "--midi", "."], 1, "not for it"),
        (["score", "pairs.csv", "--weights", "none"], 1, "no such file"),
        (["score", "pairs.csv", "--music", "audio"], 1, "no weights of the sides"),
        (["rank", "none.npz", "m1.npz"], 1, "none.npz"),
    ],
)
def test_mistakes_are_told_in_one_line(
    world: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, told: str
) -> None:
    monkeypatch.chdir(world)
    done = run(*arguments)
    assert done.exit_code == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(world.glob(".vmus-*"))
