"""Work for the tests of batches: must be importable by other processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from vmusprod.batch.work import Progress
from vmusprod.files import atomic_output


@dataclass(frozen=True)
class Deeds:
    """Does what an item says; `folder` is where it leaves marks."""

    folder: Path

    def __call__(self, item: str, progress: Progress) -> str:
        deed, _, rest = item.partition(" ")
        progress(deed, 0.5)
        if deed == "sleep":
            time.sleep(float(rest))
        elif deed == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif deed == "die-once" and self.is_first(rest):
            os._exit(7)
        elif deed == "raise":
            raise ValueError(rest)
        elif deed == "write":
            with atomic_output(self.folder / rest) as part:
                (self.folder / "begun").touch()
                part.write_text("half")
                time.sleep(60)
        return f"{item} done"

    def is_first(self, name: str) -> bool:
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def lost(self, item: str, cause: str) -> str:
        return f"{item} lost: {cause}"
