"""What a picture makes one feel: valence and arousal, from EfficientNet-Lite0 and OASIS's ratings.

The network is a file in the package (dataset/fit_affect.py made it); onnxruntime runs it. It saw
few dark pictures (15 of OASIS's 308 thumbnails are darker than a quarter) and hardly minds
darkness, so that a term of its own lowers the valence of dark pictures. People rate them lower too, by a
quarter of the spread; how much lower here is a habit of film, not of the data.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.video.networks import Pixels, resized

__all__ = ["AffectNetwork", "affect_weights"]

SIZE = 224
_DARK, _GLOOM = 0.30, 1.0  # brightness below which valence falls; how far at black
_LUMA = np.array([0.299, 0.587, 0.114])
_STEP = 64  # results are rounded to 1/64, so that the last bits of a machine do not matter


class AffectNetwork:
    """Valence and arousal of a picture, ranked -1..1 as among OASIS's pictures.

    path: another file than the package's. Raises MissingDependencyError without onnxruntime,
    InputError for a file that is missing or no such network.
    """

    name = "affect"
    mark = "affect2"

    def __init__(self, path: Path | None = None) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise MissingDependencyError(
                "the picture's mood needs onnxruntime: pip install onnxruntime"
            ) from error
        file = affect_weights() if path is None else path
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors only: it warns about machines it does not know
        try:
            content = file.read_bytes()
            self._session: Any = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            names = {found.name for found in self._session.get_outputs()}
            if names != {"affect", "ratings"}:
                raise InputError(file, "not vmus's network for the picture's mood")
        except OSError as error:
            raise InputError(file, error) from error
        except InputError:
            raise
        except Exception as error:  # onnxruntime has a class of its own for every mishap
            raise InputError(file, "cannot be read as an ONNX network") from error

    def prepare(self, frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
        """The whole picture, squeezed into a square, as OASIS's pictures were."""
        return resized(frame, reformatter, SIZE, SIZE)

    def look(self, picture: Pixels) -> NDArray[np.float32]:
        """Valence and arousal, float32 (2,), of uint8 (224, 224, 3)."""
        seen = self._run("affect", picture)
        light = float((picture.reshape(-1, 3).mean(axis=0) @ _LUMA) / 255)
        seen[0] -= round(_GLOOM * max(0.0, 1 - light / _DARK) * _STEP) / _STEP
        return np.clip(seen, -1, 1)

    def ratings(self, picture: Pixels) -> NDArray[np.float32]:
        """Valence and arousal as people would rate them, 1..7."""
        return self._run("ratings", picture)

    def _run(self, output: str, picture: Pixels) -> NDArray[np.float32]:
        found = self._session.run([output], {"pictures": picture[None]})[0][0]
        return np.asarray(np.round(found * _STEP) / _STEP, np.float32)


def affect_weights() -> Path:
    """Return the network in the package."""
    return Path(str(resources.files("vmusprod"))) / "weights" / "affect" / "affect.onnx"
