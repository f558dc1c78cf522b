"""What the command line says of itself, how fast, and how it ends when it is used wrongly."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vmus.app import app

COMMANDS = ["generate", "features", "render", "evaluate", "train", "dataset pack"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_teaches_by_example(command: str) -> None:
    shown = CliRunner().invoke(app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    examples = [line for line in shown.stdout.splitlines() if line.startswith(f"  vmus {command} ")]
    assert len(examples) >= 2 or command in ("features", "dataset pack", "render")
    assert examples


def test_the_help_lists_the_commands_and_the_exit_codes() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert all(command.split()[0] in shown for command in COMMANDS)
    assert "130" in shown
    # Without arguments one wants to know what there is.
    assert "Commands:" in CliRunner().invoke(app, []).output


def test_the_version_is_told() -> None:
    shown = CliRunner().invoke(app, ["--version"])
    assert shown.exit_code == 0
    assert shown.stdout.startswith("vmus 0.")


def test_help_loads_nothing_heavy_and_is_fast() -> None:
    code = (
        "import sys, vmus.app\n"
        "sys.argv = ['vmus', '--help']\n"
        "try:\n    vmus.app.main()\n"
        "finally:\n"
        "    heavy = {'torch', 'numpy', 'av', 'symusic', 'rich', 'vmusprod'} & set(sys.modules)\n"
        "    sys.stderr.write(' '.join(sorted(heavy)))\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr == ""
    assert "generate" in done.stdout
    # 0.15 s on a quiet machine. Not the clock's time: a busy machine has others to serve.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.6


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["generate", "v.mp4", "-o", "a.mid", "--key", "H major"], "unknown key 'H major'"),
        (["generate", "v.mp4", "-o", "a.mid", "--tempo", "19"], "tempo 19 is not within 20..300"),
        (["generate", "v.mp4", "-o", "a.mid", "--tempo", "nan"], "tempo nan"),
        (["generate", "v.mp4", "-o", "a.mid", "--top-p", "2"], "top-p 2"),
        (["generate", "v.mp4", "-o", "a.mid", "--seed", "-1"], "seed -1"),
        (["generate", "v.mp4", "-o", "a.mp3"], "unknown suffix .mp3"),
        (["generate", "v.mp4", "w.mp4", "-o", "a.mid"], "several videos need a folder"),
        (["generate", "v.mp4", "-o", "out", "--format", "ogg"], "unknown format 'ogg'"),
        (["generate", "v.mp4", "-o", "a.mid", "--demo"], "--demo draws its own video"),
        (["generate", "-o", "a.mid"], "no video given"),
        (["train", "chord"], "training needs --pack and -o"),
        (["dataset", "pack", "-o", "a.pack"], "nothing to pack"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("vmus: ")
    assert told in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "v.mp4"],
        ["generate", "v.mp4", "-o", "a.mid", "--seed", "x"],
        ["train", "drums"],
        ["nonsense"],
    ],
)
def test_what_cannot_be_parsed_is_exit_2(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "Error" in done.stderr
    assert done.stdout == ""


def test_a_broken_installation_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vmusprod.jobs", None)
    done = CliRunner().invoke(app, ["generate", "v.mp4", "-o", str(tmp_path / "a.mid")])
    assert done.exit_code == 1
    first, hint = done.stderr.splitlines()
    assert first.startswith("vmus: internal error: ModuleNotFoundError: ")
    assert "--debug" in hint
