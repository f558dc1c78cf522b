"""The package as installed: its stub, its types, and what importing it costs."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import vmusprod


def test_version_is_that_of_the_distribution() -> None:
    assert vmusprod.__version__ == version("vmusprod")


def test_import_brings_no_torch() -> None:
    code = "import sys, vmusprod, vmusprod._vmus_rs, vmusprod.errors; print('torch' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


@pytest.mark.slow
def test_stub_matches_the_module() -> None:
    pytest.importorskip("mypy")
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "vmusprod._vmus_rs"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
