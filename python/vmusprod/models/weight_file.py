"""What a weights file says of itself, read without torch: safetensors, its header in JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from safetensors import SafetensorError, safe_open

from vmusprod.errors import InputError
from vmusprod.models.config import StageConfig

FORMAT = "vmus-stage-1"


@contextmanager
def reading_weights(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a weights file into InputError."""
    try:
        yield
    except FileNotFoundError as e:
        raise InputError(path, "no such file") from e
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as e:
        cause = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise InputError(path, f"cannot be read as vmus weights ({cause[:200]})") from e


def read_header(path: Path, stage: str | None = None) -> tuple[StageConfig, dict[str, object]]:
    """Return the configuration and what the file says about its training.

    Raises InputError when the file is missing, damaged, of another program or of another stage.
    """
    with reading_weights(path):
        with safe_open(path, framework="np") as file:
            header = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise InputError(path, "not a vmus weights file")
        config = StageConfig.from_dict(json.loads(header["config"]))
        if stage is not None and config.stage != stage:
            raise InputError(path, f"holds the {config.stage} stage, not {stage}")
        about = json.loads(header.get("about", "{}"))
        if not isinstance(about, dict):
            raise ValueError("its description is not an object")
    return config, about


def default_weights() -> Path:
    """Return the folder of the weights in the package."""
    return Path(str(resources.files("vmusprod"))) / "weights" / "small"
