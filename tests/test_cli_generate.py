"""`vmus generate` as scripts and people meet it: streams, exit codes, batches, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fake_composer import FakeComposer
from video_factory import drift, texture, write_clip
from vmus.app import app

KEYS = ["input", "outputs", "duration", "tempo", "key", "bars", "notes", "seed", "elapsed", "error"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("VMUS_JOBS", "1")  # the composer below is this process's alone


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = texture(2)
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_clip(path, (drift(scene, 2 * k) for k in range(75)))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeComposer:
    composer = FakeComposer()
    monkeypatch.setattr("vmusprod.generate.Composer", lambda *given: composer)
    return composer


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def batch(tmp_path: Path, clip: Path) -> Path:
    """Two good videos of one name, one bad, in a tree."""
    for name in ("in/a.mp4", "in/deep/a.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(clip.read_bytes())
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video")
    return tmp_path / "in"


@pytest.mark.usefixtures("fake")
def test_stdout_has_the_files_and_stderr_the_rest(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mid"
    done = vmus("generate", clip, "-o", out, "--stems", tmp_path / "s")
    assert done.exit_code == 0
    names = ("chords", "melody", "accompaniment")
    assert done.stdout.splitlines() == [
        str(out), *(str(tmp_path / "s" / f"{name}.mid") for name in names),
    ]  # fmt: skip
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vmus: {clip}: ")
    assert "C major" in line
    assert "\x1b" not in done.stderr
    quiet = vmus("generate", clip, "-o", out, "--quiet")
    assert (quiet.stdout, quiet.stderr) == (f"{out}\n", "")


@pytest.mark.usefixtures("fake")
def test_json_is_a_line_a_video_failed_ones_too(batch: Path, tmp_path: Path) -> None:
    done = vmus("generate", batch, "-o", tmp_path / "out", "--json", "--quiet")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [list(row) for row in rows] == [KEYS] * 3
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[0]["outputs"] == [str(tmp_path / "out" / "a.mid")]
    assert rows[2]["outputs"] == [str(tmp_path / "out" / "deep" / "a.mid")]
    assert rows[1]["error"] == f"{batch / 'bad.mp4'}: not a video"
    assert [row["duration"] for row in rows] == [3.0, None, 3.0]
    # Errors are told on stderr, even if quiet.
    assert done.stderr.splitlines() == [
        f"vmus: {batch / 'bad.mp4'}: not a video",
        f"vmus: 1 of 3 failed: {batch / 'bad.mp4'}",
    ]


@pytest.mark.usefixtures("fake")
def test_a_second_run_only_does_what_is_missing(batch: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (batch / "bad.mp4").unlink()
    assert vmus("generate", batch, "-o", out, "--format", "wav").exit_code == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    assert len(before) == 2
    next(iter(before)).unlink()
    done = vmus("generate", batch, "-o", out, "--format", "wav", "--skip-existing")
    assert done.exit_code == 0
    assert done.stderr.count("already there") == 1
    changed = [path for path, time in before.items() if path.stat().st_mtime_ns != time]
    assert changed == [next(iter(before))]


def test_options_reach_the_composer(clip: Path, tmp_path: Path, fake: FakeComposer) -> None:
    done = vmus(
        "generate", clip, "-o", tmp_path / "a.mid", "--seed", 5, "--key", "F#m", "--tempo", "77.5",
        "--temperature", "0.8", "--top-p", "0.7", "--no-cache",
    )  # fmt: skip
    assert done.exit_code == 0
    (asked,) = fake.asked
    assert (asked.seed, asked.key, asked.tempo) == (5, (6, 1), 77.5)
    assert (asked.temperature, asked.top_p) == (0.8, 0.7)
    assert not Path(os.environ["VMUS_CACHE"], "features").exists()


@pytest.mark.usefixtures("fake")
def test_profile_says_where_time_went(clip: Path, tmp_path: Path) -> None:
    done = vmus("generate", clip, "-o", tmp_path / "a.mid", "--profile", "--quiet")
    assert done.exit_code == 0
    head, *lines = done.stderr.splitlines()
    assert head.split() == ["phase", "seconds", "share", "cores", "peak", "MB"]
    phases = [line[:24].strip() for line in lines]
    assert phases[:3] == ["starting", "loading the models", "looking at the video"]
    assert phases[-2:] == ["writing", "all"]
    seconds = [float(line[24:].split()[0]) for line in lines]
    assert sum(seconds[:-1]) == pytest.approx(seconds[-1], abs=0.1)
    assert float(lines[-1].split()[-1]) > 20


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--engine", "abacus"), "auto, rust, torch"),
        (("--engine", "rust", "--device", "cuda"), "CPU"),
    ],
)
def test_engines_that_cannot_be(
    options: tuple[str, ...], words: str, clip: Path, tmp_path: Path
) -> None:
    done = vmus("generate", clip, "-o", tmp_path / "a.mid", *options)
    assert done.exit_code == 2
    assert words in done.stderr


@pytest.mark.usefixtures("fake")
def test_the_demo_needs_no_video(tmp_path: Path) -> None:
    out = tmp_path / "new"
    done = vmus("generate", "--demo", "-o", out, "--format", "mp4")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == f"{out / 'vmus-demo-music.mp4'}\n"
    assert sorted(path.name for path in out.iterdir()) == ["vmus-demo-music.mp4", "vmus-demo.mp4"]


def test_an_internal_error_hints_at_debug(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr("vmusprod.generate.Composer", broken)
    done = vmus("generate", clip, "-o", tmp_path / "a.mid")
    assert done.exit_code == 1
    first, hint = done.stderr.splitlines()
    assert first == f"vmus: {clip}: internal error: LookupError: a bug"
    assert "--debug" in hint
    assert "Traceback" in vmus("--debug", "generate", clip, "-o", tmp_path / "a.mid").stderr


SLOW = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
import vmusprod.generate as g
from fake_composer import FakeComposer
from vmusprod.files import atomic_output

class Slow(FakeComposer):
    def compose(self, *arguments):
        with atomic_output(Path(os.environ["HALF"])) as part:
            part.write_bytes(b"half")
            print("composing", file=sys.stderr, flush=True)
            time.sleep(60)

g.Composer = lambda *given: Slow()
from vmus.app import main
main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_so_and_leaves_nothing(
    clip: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-c", SLOW, "generate", str(clip), "-o", str(tmp_path / "a.wav")]
    environment = {
        **os.environ, "PYTHONPATH": str(Path(__file__).parent), "HALF": str(tmp_path / "half.mid"),
    }  # fmt: skip
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "composing\n"
        began = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert time.monotonic() - began < 20
    assert (process.returncode, out, err) == (130, "", "vmus: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def real(*arguments: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, under these environment variables."""
    return subprocess.run(
        [sys.executable, "-m", "vmus", *map(str, arguments)],
        capture_output=True, text=True, check=False, env={**os.environ, **variables},
    )  # fmt: skip


def test_with_the_weights_of_the_package(clip: Path, tmp_path: Path) -> None:
    first = real("generate", clip, "-o", tmp_path / "a.mid", "--json")
    assert first.returncode == 0, first.stderr
    row = json.loads(first.stdout)
    assert list(row) == KEYS
    assert row["notes"] > 0
    # Same seed, same bytes, in another process with another thread count.
    again = real("generate", clip, "-o", tmp_path / "b.mid", OMP_NUM_THREADS="1")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    other = real("generate", clip, "-o", tmp_path / "c.mid", "--seed", 1)
    assert other.returncode == 0, other.stderr
    assert (tmp_path / "a.mid").read_bytes() != (tmp_path / "c.mid").read_bytes()


def test_a_write_that_the_system_refuses(clip: Path, tmp_path: Path) -> None:
    # A limit on the size of files stands in for a full disk.
    code = (
        "import resource, runpy, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "sys.argv[0] = 'vmus'\n"
        "runpy.run_module('vmus', run_name='__main__')\n"
    )
    out = tmp_path / "a.wav"
    done = subprocess.run(
        [sys.executable, "-c", code, "generate", str(clip), "-o", str(out), "--no-cache"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == f"vmus: {out}: File too large\n"
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_goes_away_is_no_traceback(batch: Path, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "vmus", "generate", str(batch), "-o", str(tmp_path / "o"), "-q"],
        stdout=write, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_names_of_any_bytes_come_through(clip: Path, tmp_path: Path) -> None:
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 [b].mp4"))
    source.write_bytes(clip.read_bytes())
    done = subprocess.run(
        [sys.executable, "-m", "vmus", "generate", source, "-o", tmp_path / "out"],
        capture_output=True, check=False, env={**os.environ, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == os.fsencode(tmp_path) + b"/out/caf\xe9 [b].mid\n"


@pytest.mark.usefixtures("fake")
def test_files_go_to_a_url(batch: Path, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    url = "memory://bucket/music"
    done = vmus("generate", batch, "-o", url, "--stems", "parts", "--json", "--quiet")
    assert done.exit_code == 1
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows[0]["outputs"] == [
        f"{url}/{name}.mid"
        for name in ("a", "parts/a/chords", "parts/a/melody", "parts/a/accompaniment")
    ]
    assert [row["error"] is None for row in rows] == [True, False, True]
    plain = vmus("generate", batch / "a.mp4", "-o", tmp_path / "a.mid")
    assert plain.exit_code == 0
    assert memory.cat_file("/bucket/music/a.mid") == (tmp_path / "a.mid").read_bytes()
    again = vmus("generate", batch / "a.mp4", "-o", f"{url}/a.mid", "--skip-existing")
    assert again.exit_code == 0
    assert again.stdout.splitlines() == [f"{url}/a.mid"]
    assert "already there" in again.stderr
    assert {Path(name).name for name in memory.find("/bucket/music")} == {
        "a.mid", "chords.mid", "melody.mid", "accompaniment.mid",
    }  # fmt: skip


def test_urls_that_cannot_be(batch: Path) -> None:
    pytest.importorskip("fsspec")
    for arguments, told in (
        (("-o", "nonsense://x/y"), "nonsense"),
        (("-o", "memory://x/y", "--stems", "/tmp/s"), "below it"),
    ):
        done = vmus("generate", batch, *arguments)
        assert done.exit_code == 2
        assert told in done.stderr
    assert vmus("generate", "--demo", "-o", "memory://x").exit_code == 2


def test_several_at_once_give_the_same_bytes(batch: Path, tmp_path: Path) -> None:
    """With the weights of the package, in processes of their own."""
    (batch / "bad.mp4").unlink()
    one = vmus("generate", batch, "-o", tmp_path / "one", "--jobs", 1)
    two = vmus("generate", batch, "-o", tmp_path / "two", "--jobs", 2)
    assert one.exit_code == two.exit_code == 0
    assert len(list((tmp_path / "one").rglob("*.mid"))) == 2
    for path in (tmp_path / "one").rglob("*.mid"):
        other = tmp_path / "two" / path.relative_to(tmp_path / "one")
        assert other.read_bytes() == path.read_bytes()
    assert [
        line.replace("two", "one") for line in two.stdout.splitlines()
    ] == one.stdout.splitlines()
