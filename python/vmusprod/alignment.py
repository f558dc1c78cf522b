"""Bar lines that meet scene cuts: among the tempi near the wanted one, which fits the cuts best.

The last bar ends with the picture, so that the number of 16ths in the video decides the tempo,
where every bar line lies (counted back from the end), and with it the first downbeat. A last bar
cut short would add a second freedom; over MuVi-Sync it brings cuts and bar lines hardly nearer
(0.480 s instead of 0.486 s), and a piece should end on a bar line.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned_steps", "downbeat_distance"]

_BAR, _BEAT = 16, 4
_CANDIDATES = 2000
_CUTS = 500
# In seconds of mean distance: what beginning within a bar, within a beat, another tempo may cost.
_PICKUP, _OFFBEAT, _BENT = 0.01, 0.015, 0.02


def aligned_steps(
    steps: float, duration: float, cuts: NDArray[np.floating], tolerance: float
) -> int | None:
    """How many 16ths the video shall hold, within `tolerance` of `steps`, for bars to meet cuts.

    duration: of the video, cuts: (K,), seconds. None without cuts, or where no whole number of
    16ths lies so near.
    """
    low, high = int(np.ceil(steps * (1 - tolerance))), int(steps * (1 + tolerance))
    if not len(cuts) or high < max(low, 1):
        return None
    wholes = np.arange(max(low, 1), high + 1)
    wholes = wholes[:: -(-len(wholes) // _CANDIDATES)]
    kept = cuts[:: -(-len(cuts) // _CUTS)].astype(np.float64)
    cost = _distances(wholes, duration, kept).mean(axis=1)
    cost += _PICKUP * (wholes % _BAR != 0) + _OFFBEAT * (wholes % _BEAT != 0)
    cost += _BENT * np.abs(wholes / steps - 1) / tolerance
    return int(wholes[np.argmin(cost)])


def downbeat_distance(whole: int, duration: float, cuts: NDArray[np.floating]) -> float:
    """Mean distance from a cut to the nearest bar line, seconds; NaN without cuts.

    whole: 16ths in the video, the last of which ends a bar.
    """
    if not len(cuts):
        return float("nan")
    return float(_distances(np.array([whole]), duration, cuts.astype(np.float64)).mean())


def _distances(
    wholes: NDArray[np.int64], duration: float, cuts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(candidates, cuts): seconds from each cut to the nearest bar line."""
    step = duration / wholes[:, None]
    place = ((duration - cuts) / step) % _BAR
    return np.asarray(np.minimum(place, _BAR - place) * step)
