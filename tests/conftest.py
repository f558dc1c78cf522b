"""Fixtures and settings that every test may use."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"

# Examples may be slow on a busy machine, which is no failure. CI repeats the same examples, so
# that a red run is the change's doing.
settings.register_profile("vmus", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("vmus")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with the real data beside the repository, or skip the test."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no data in {SHARED}")
    return SHARED
