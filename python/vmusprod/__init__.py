"""Piano music for a video: the method of V-MusProd (ICCV 2023) as a library.

`video` reads pictures, `music` reads and writes scores, `models` holds the transformers,
`training` trains them, `dataset` reads the corpora and `vmcp` scores music against video.
Nothing here imports torch before a model that needs it runs.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("vmusprod")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
