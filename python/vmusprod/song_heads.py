"""What a whole song for a video is like: how dense, loud and lively it is, and which chords it has.

Linear in the video's summary (video/summary.py), one map a source, fitted together by ridge
regression (dataset/fit_heads.py): a source that is missing counts as an average one. Chords are
told in the common key, C major or A minor, as the square roots of their shares of the time; the
maps give them by a few components (reduced-rank regression).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk
from vmusprod.video.rows import product
from vmusprod.video.summary import SUMMARY_SIZES

__all__ = ["NUMBERS", "SongGuess", "SongHeads"]

Array = NDArray[np.float64]

NUMBERS = ("density", "loudness", "density spread", "loudness spread", "change")
"""Density and loudness as ranks, -1..1, and how far they stray within the song; the root of how
often the chord is another one than a second ago."""
_FAR = 3.0
"""Spreads beyond which a number of the summary counts no more: films are not all music videos."""
_USUAL = 1.3
"""Spread of a source's summary that a tenth of music videos exceed; everyday films are at 1.4 to
2.5 in motion and affect. The farther beyond it, the less the summary says of the music."""
_FAINT = 0.0003
"""Added to shares: what is hardly heard in any song says nothing."""
_LEANING, _HOLD = 2.0, 1.0
"""Exponents of the shares, chosen on MuVi-Sync's val split; a guess by regression is too near the
average by what it does not know."""
_MOST = 3.0
"""Nats that a chord may gain or lose."""


@dataclass(frozen=True)
class SongGuess:
    """numbers: (5,) by `NUMBERS`, usual: their averages; shares, usual_shares: (120,) of chords."""

    numbers: Array
    usual: Array
    shares: Array
    usual_shares: Array

    @property
    def level(self) -> Array:
        """(2,): density and loudness of the whole, as ranks."""
        return self.numbers[:2]

    @property
    def liveliness(self) -> Array:
        """(2,): how far density and loudness stray, beside the average song."""
        return np.asarray(np.clip(self.numbers[2:4] / self.usual[2:4], 0.3, 3.0))

    def leaning(self) -> NDArray[np.float32]:
        """Nats of each root and of its qualities, (12, 11), as `models.task.Task` has them."""
        here, usual = ((x + _FAINT).reshape(12, 10) for x in (self.shares, self.usual_shares))
        roots = np.log(here.sum(1) / usual.sum(1))
        qualities = np.log(here / usual) - roots[:, None]
        both = np.concatenate([roots[:, None], qualities], axis=1)
        return np.clip(_LEANING * both, -_MOST, _MOST).astype(np.float32)

    def hold(self) -> float:
        """Nats by which holding a chord is likelier."""
        share, usual = (np.clip(x[4], 0.2, 0.9) ** 2 for x in (self.numbers, self.usual))
        odds = np.log(share / (1 - share)) - np.log(usual / (1 - usual))
        return float(np.clip(-_HOLD * odds, -_MOST, _MOST))


@dataclass(frozen=True)
class SongHeads:
    """centre, scale: (D,) of each source's summary; maps: (D, 5 + R) of what is left, by source.

    average: (5 + R,); components: (R, 120), of the square roots of chord shares, about their
    average roots (120,).
    """

    centre: dict[str, Array]
    scale: dict[str, Array]
    maps: dict[str, Array]
    average: Array
    components: Array
    roots: Array

    def guess(self, summary: dict[str, Array]) -> SongGuess:
        """What the song for a video is like; summary: by source, any of them missing."""
        said = self.average.copy()
        for name, values in summary.items():
            z = np.clip((values - self.centre[name]) / self.scale[name], -_FAR, _FAR)
            spread = float(np.sqrt(np.mean(z**2)))
            near = min(1.0, (_USUAL / max(spread, 1e-6)) ** 2)
            said += product(z * near, self.maps[name])
        count = len(NUMBERS)
        return SongGuess(
            said[:count], self.average[:count],
            self._shares(said[count:]), self._shares(self.average[count:]),
        )  # fmt: skip

    def _shares(self, along: Array) -> Array:
        shares = np.maximum(self.roots + product(along, self.components), 0.1 * self.roots) ** 2
        return np.asarray(shares / shares.sum())

    def arrays(self) -> dict[str, Array]:
        """Everything by name, as `of` reads it."""
        out = {"song_average": self.average, "song_components": self.components}
        out["song_roots"] = self.roots
        for name in SUMMARY_SIZES:
            out[f"song_{name}_centre"] = self.centre[name]
            out[f"song_{name}_scale"] = self.scale[name]
            out[f"song_{name}_map"] = self.maps[name]
        return out

    @classmethod
    def of(cls, held: dict[str, Array]) -> SongHeads:
        """From `arrays`. Raises KeyError where one is missing, ValueError for a wrong shape."""
        average, components = held["song_average"], held["song_components"]

        def part(what: str, *shape: int) -> dict[str, Array]:
            found = {name: held[f"song_{name}_{what}"] for name in SUMMARY_SIZES}
            if any(found[name].shape != (size, *shape) for name, size in SUMMARY_SIZES.items()):
                raise ValueError(f"heads of songs: {what} has a wrong shape")
            return found

        if components.shape != (len(average) - len(NUMBERS), tk.NO_CHORD):
            raise ValueError("heads of songs: components have a wrong shape")
        maps = part("map", len(average))
        return cls(part("centre"), part("scale"), maps, average, components, held["song_roots"])
