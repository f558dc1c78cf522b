"""What is in a picture: CLIP ViT-L/14@336 through open_clip, where its weights are at hand.

The paper's semantic features come from CLIP; MuVi-Sync's are those of this very network. It is
never fetched unasked (`vmus models fetch clip`, vmusprod/downloads.py).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from vmusprod.downloads import CLIP, fetched
from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.video.networks import Pixels, resized

__all__ = ["ClipNetwork", "find_clip"]

MODEL = "ViT-L-14-336"
FEATURES = 768
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
_INSTALL = "pip install 'vmusprod[clip]'"


class ClipNetwork:
    """CLIP's image encoder.

    path: OpenAI's weights (ViT-L-14-336px.pt), or the same in a form that open_clip reads. Raises
    MissingDependencyError without open_clip, InputError for weights that are missing or others.
    """

    name = "semantic"

    def __init__(self, path: Path) -> None:
        if find_spec("open_clip") is None:
            raise MissingDependencyError(f"looking with CLIP needs open_clip: {_INSTALL}")
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(path, error) from error
        self._path = path
        self.mark = f"clip{status.st_size:x}.{status.st_mtime_ns:x}"
        self._model: Any = None

    def prepare(self, frame: VideoFrame, reformatter: VideoReformatter) -> Pixels:
        """The middle of the picture, its shorter side scaled to 336, as CLIP was trained."""
        size = 336
        scale = size / min(frame.width, frame.height)
        width = max(size, round(frame.width * scale))
        height = max(size, round(frame.height * scale))
        whole = resized(frame, reformatter, width, height, smooth=True)
        top, left = (height - size) // 2, (width - size) // 2
        return np.ascontiguousarray(whole[top : top + size, left : left + size])

    def look(self, picture: Pixels) -> NDArray[np.float32]:
        """The picture's features, float32 (768,), of length 1."""
        import torch

        if self._model is None:
            # Loaded here: a video in the feature cache needs no network.
            self._model = self._load()
        pixels = (picture.astype(np.float32) / 255 - _MEAN) / _STD
        tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
        with torch.inference_mode():
            row = self._model.encode_image(tensor)[0].float().numpy()
        if row.shape != (FEATURES,) or not np.isfinite(row).all():
            raise InputError(self._path, f"not the weights of {MODEL}")
        return np.asarray(row / max(float(np.linalg.norm(row)), 1e-6), np.float32)

    def _load(self) -> Any:
        import open_clip

        try:
            if self._path.suffix == ".pt":
                from open_clip.openai import load_openai_model

                model = load_openai_model(str(self._path), precision="fp32", device="cpu")
            else:
                # OpenAI's networks have the quick form of GELU; a conversion does not say so.
                model = open_clip.create_model(
                    MODEL, pretrained=str(self._path), force_quick_gelu=True
                )
        except Exception as error:  # torch and open_clip raise what they like
            cause = " ".join(str(error).split())[:160] or type(error).__name__
            raise InputError(self._path, f"cannot be read as {MODEL} ({cause})") from error
        return model.eval()


def find_clip(path: Path | None = None) -> tuple[ClipNetwork | None, str]:
    """CLIP, if it can look, and a line on what is missing where its weights are there.

    path: its weights; None: those in the cache. Raises InputError and MissingDependencyError for a
    `path` that cannot be used.
    """
    if path is not None:
        return ClipNetwork(path), ""
    weights = fetched(CLIP)
    if weights is None:
        return None, ""
    try:
        return ClipNetwork(weights), ""
    except MissingDependencyError as error:
        return None, str(error)
