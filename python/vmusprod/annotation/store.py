"""A song's folder in the output: written whole or not at all, and found again."""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmusprod.errors import OutputError

__all__ = ["FACTS", "JAMS", "checksum", "read_facts", "write_song"]

FACTS = "annotation.json"
JAMS = "annotation.jams"
_OPTIONAL = (JAMS,)


def checksum(path: Path) -> str:
    """CRC-32 and length of a file, by which a changed source is known. Raises OSError."""
    crc, size = 0, 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            crc, size = zlib.crc32(block, crc), size + len(block)
    return f"{crc:08x}-{size}"


def read_facts(folder: Path) -> dict[str, Any] | None:
    """What a finished song's annotation.json says; None where there is none that can be read."""
    try:
        facts = json.loads((folder / FACTS).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def write_song(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make the folder of a song: all of its files are there at once.

    Into a folder that exists they are moved one by one, annotation.json last: without that file a
    song counts as not done. Raises OutputError.
    """
    part = folder.with_name(f".vmus-{zlib.crc32(os.fsencode(folder.name)):08x}.part")
    try:
        try:
            part.mkdir()
        except FileNotFoundError:
            folder.parent.mkdir(parents=True, exist_ok=True)
            part.mkdir()
        except FileExistsError:  # of a run that was killed
            shutil.rmtree(part)
            part.mkdir()
        base = os.fspath(part)
        for name, data in files.items():
            handle = os.open(f"{base}/{name}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            try:
                left = memoryview(data)
                while left:
                    left = left[os.write(handle, left) :]
            finally:
                os.close(handle)
        if folder.exists():
            _replace(part, folder, files)
        else:
            part.rename(folder)
    except OSError as error:
        raise OutputError(folder, error) from error
    finally:
        if part.exists():
            shutil.rmtree(part, ignore_errors=True)


def _replace(part: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    (folder / FACTS).unlink(missing_ok=True)
    for name in _OPTIONAL:
        if name not in files:
            (folder / name).unlink(missing_ok=True)
    for name in sorted(files, key=lambda name: name == FACTS):
        (part / name).replace(folder / name)
