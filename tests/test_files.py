"""Outputs that appear whole or not at all."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vmusprod.errors import OutputError
from vmusprod.files import atomic_output, cache_dir


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_appears_on_success_only(tmp_path: Path) -> None:
    out = tmp_path / "song.mid"
    with atomic_output(out) as part:
        part.write_bytes(b"whole")
        assert not out.exists()
        assert part.parent == tmp_path
        assert part.suffix == ".mid"
        assert part.name.startswith(".")
    assert out.read_bytes() == b"whole"
    assert names(tmp_path) == ["song.mid"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_older_file(tmp_path: Path, error: type[BaseException]) -> None:
    out = tmp_path / "song.mid"
    out.write_bytes(b"older")

    def write_half() -> None:
        with atomic_output(out) as part:
            part.write_bytes(b"hal")
            raise error

    with pytest.raises(error):
        write_half()
    assert out.read_bytes() == b"older"
    assert names(tmp_path) == ["song.mid"]


def test_os_errors_name_the_output(tmp_path: Path) -> None:
    out = tmp_path / "song.mid"
    with pytest.raises(OutputError) as caught, atomic_output(out):
        raise OSError(28, "No space left on device")
    assert str(caught.value) == f"{out}: No space left on device"
    assert names(tmp_path) == []


def test_missing_folder(tmp_path: Path) -> None:
    out = tmp_path / "none" / "song.mid"
    with pytest.raises(OutputError, match=r"no such folder"), atomic_output(out):
        pass


def test_folder_in_place_of_the_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is a folder"), atomic_output(tmp_path):
        pass
    assert names(tmp_path) == []


def test_device_is_not_replaced() -> None:
    with pytest.raises(OutputError, match="not a regular file"), atomic_output("/dev/null"):
        pass
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_link_is_followed(tmp_path: Path) -> None:
    target = tmp_path / "target.mid"
    target.write_bytes(b"older")
    link = tmp_path / "link.mid"
    link.symlink_to(target)
    with atomic_output(link) as part:
        part.write_bytes(b"newer")
    assert link.is_symlink()
    assert target.read_bytes() == b"newer"


def test_permissions_are_those_of_a_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with atomic_output(tmp_path / "made"):
        pass
    assert (tmp_path / "made").stat().st_mode == plain.stat().st_mode
    plain.chmod(0o640)
    with atomic_output(plain):
        pass
    assert stat.S_IMODE(plain.stat().st_mode) == 0o640


def test_killed_by_a_full_disk(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from vmusprod.files import atomic_output\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "with atomic_output(sys.argv[1]) as part:\n"
        "    part.write_bytes(bytes(5000))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "song.wav")], capture_output=True, text=True
    )
    assert "OutputError" in done.stderr.splitlines()[-1]
    assert "song.wav: File too large" in done.stderr.splitlines()[-1]
    assert names(tmp_path) == []


def test_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path))
    assert cache_dir() == tmp_path
    monkeypatch.delenv("VMUS_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_dir() == tmp_path / ".cache" / "vmus"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_dir() == tmp_path / "x" / "vmus"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == tmp_path / "Library" / "Caches" / "vmus"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_dir() == tmp_path / "local" / "vmus" / "Cache"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing is created
