"""The music side of VMCP, a second a row: chords, note density, loudness; its file form."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.files import atomic_output
from vmusprod.music.tokens import NO_CHORD

__all__ = ["MAX_SECONDS", "MusicSeconds"]

MAX_SECONDS = 12 * 3600
_KEYS = ("chords", "density", "loudness")
_MOST = {"chords": NO_CHORD, "density": 1e6, "loudness": 4.0}


@dataclass(frozen=True)
class MusicSeconds:
    """Music as MuVi-Sync describes it, S >= 1 seconds.

    Attributes
    ----------
    chords : uint8 (S,)
        The chord that sounds longest within each second, 120 for none.
    density : float32 (S,)
        Notes that sound within each second.
    loudness : float32 (S,)
        RMS within each second, 1 being full scale.
    midi : bool
        Whether it describes MIDI and not a recording.
    """

    chords: NDArray[np.uint8]
    density: NDArray[np.float32]
    loudness: NDArray[np.float32]
    midi: bool = False

    def __len__(self) -> int:
        return len(self.chords)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a .npz file with the attributes as keys. Raises OutputError."""
        arrays = {key: getattr(self, key) for key in _KEYS}
        with atomic_output(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, midi=np.array(self.midi))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> MusicSeconds:
        """Read what `save` wrote.

        Raises InputError: not such a file, keys missing or unlike in length, values out of range.
        """
        path = Path(path)
        arrays = {}
        try:
            with path.open("rb") as file, zipfile.ZipFile(file) as archive:
                for key in (*_KEYS, "midi"):
                    if archive.getinfo(f"{key}.npy").file_size > MAX_SECONDS * 8 + 4096:
                        raise InputError(path, f"{key!r} is longer than 12 hours")
                    with archive.open(f"{key}.npy") as member:
                        arrays[key] = np.lib.format.read_array(member, allow_pickle=False)
        except InputError:
            raise
        except KeyError as error:
            raise InputError(path, "not music features (no chords, loudness, ...)") from error
        except OSError as error:
            raise InputError(path, error) from error
        except Exception as error:  # damaged zip, zlib and header text raise what they like
            raise InputError(path, f"not a file of music features ({error})") from error
        midi = arrays.pop("midi")
        if midi.shape != () or midi.dtype.kind != "b":
            raise InputError(path, "'midi' is neither true nor false")
        _check(path, arrays)
        return cls(
            arrays["chords"].astype(np.uint8),
            arrays["density"].astype(np.float32),
            arrays["loudness"].astype(np.float32),
            bool(midi),
        )


def _check(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    shape = arrays["chords"].shape
    if len(shape) != 1 or not 1 <= shape[0] <= MAX_SECONDS:
        raise InputError(path, "'chords' is not one number a second")
    for key, array in arrays.items():
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise InputError(path, f"{key!r} is not one number for each chord")
        values = array.astype(np.float64)
        if not np.isfinite(values).all() or values.min() < 0 or values.max() > _MOST[key]:
            raise InputError(path, f"{key!r} holds a value outside 0..{_MOST[key]:g}")
