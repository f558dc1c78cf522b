"""Several pieces for one video, of which the one that suits it best is kept (VMCP decides)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from vmusprod.compose import Piece, Progress, Settings
from vmusprod.video.features import VideoFeatures

__all__ = ["Best", "compose_best"]

Judge = Callable[[VideoFeatures, Piece], float]
_SEEDS = 1 << 63


class Composes(Protocol):
    """What `compose.Composer` does."""

    def compose(
        self, features: VideoFeatures, settings: Settings, progress: Progress | None = None
    ) -> Piece:
        """Return the piece for a video."""
        ...


@dataclass(frozen=True)
class Best:
    """The piece, the seed that makes it again, and how each candidate was judged, in order."""

    piece: Piece
    seed: int
    scores: tuple[float, ...]


def compose_best(
    composer: Composes,
    features: VideoFeatures,
    settings: Settings,
    count: int,
    progress: Progress | None = None,
    judge: Judge | None = None,
) -> Best:
    """Compose with `count` seeds, the settings' own and those after it; keep the best.

    judge: how well a piece suits a video, more is better; None: VMCP's similarity. Of equals the
    first is kept. Raises InputError where VMCP's weights cannot be used.
    """
    judge = judge or vmcp_judge
    wanted = [replace(settings, seed=(settings.seed + i) % _SEEDS) for i in range(count)]
    many = getattr(composer, "compose_many", None)
    if many is not None:
        pieces = many([(features, one) for one in wanted], progress)
    else:
        pieces = [composer.compose(features, one, progress) for one in wanted]
    scores = tuple(judge(features, piece) for piece in pieces)
    best = int(np.argmax(scores))
    return Best(pieces[best], wanted[best].seed, scores)


def vmcp_judge(features: VideoFeatures, piece: Piece) -> float:
    """VMCP's similarity of a piece and its video."""
    from vmusprod.vmcp import similarity

    return similarity(features, piece.midi())
