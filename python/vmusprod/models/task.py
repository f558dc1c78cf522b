"""What a stage is asked to write, whichever engine writes it. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vmusprod.errors import VmusError
from vmusprod.models.grammar import Frame
from vmusprod.music import tokens as tk

TEMPO_LOW, TEMPO_STEP, TEMPO_LEVELS = 40.0, 5.0, 41
STYLES = ("unknown", "pop909", "symmv", "muvi")
ENGINES = ("auto", "rust", "torch")
"""What can write: see models/engine.py."""
MIN_TEMPERATURE = 1e-6
NO_LEANING = np.zeros((0, 11), np.float32)
UNUSABLE = "the model's predictions are not finite: its weights are unusable"


def tempo_level(bpm: float) -> int:
    """Tempo in beats a minute to its embedding index (5 bpm a level)."""
    return min(max(round((bpm - TEMPO_LOW) / TEMPO_STEP), 0), TEMPO_LEVELS - 1)


@dataclass(frozen=True)
class Dice:
    """Temperature (0: always the likeliest) and nucleus of an attribute."""

    temperature: float = 1.0
    top_p: float = 1.0

    def draw(
        self,
        logits: NDArray[np.float64],
        allowed: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> int:
        """Draw one of the allowed indices. Works in float64 so that seeds reproduce.

        The nucleus holds the likeliest values that together reach `top_p`, the one that reaches it
        included. Raises VmusError on logits that are not finite, ValueError if nothing is allowed.
        """
        candidates = np.flatnonzero(allowed)
        if not len(candidates):
            raise ValueError("nothing is allowed")
        scaled = logits[candidates]
        if not np.isfinite(scaled).all():
            raise VmusError(UNUSABLE)
        if self.temperature <= 0:
            return int(candidates[np.argmax(scaled)])
        p = np.exp((scaled - scaled.max()) / max(self.temperature, MIN_TEMPERATURE))
        p /= p.sum()
        order = np.argsort(-p, kind="stable")
        total = np.cumsum(p[order])
        kept = order[: int(np.searchsorted(total, self.top_p)) + 1]
        ladder = np.cumsum(p[kept])
        rung = int(np.searchsorted(ladder, rng.random() * ladder[-1], side="right"))
        return int(candidates[kept[min(rung, len(kept) - 1)]])


@dataclass(frozen=True)
class Sheet:
    """The controls of a stream.

    tempo: level; mode: 1 major, 2 minor; style: see STYLES; density, loudness: levels by bar
    (0: let the model choose).
    """

    bars: int
    tempo: int
    mode: int
    style: int
    density: NDArray[np.int64]
    loudness: NDArray[np.int64]

    def context(
        self, bar: NDArray[np.integer], step: NDArray[np.integer]
    ) -> dict[str, NDArray[np.int64]]:
        """Return the places of tokens as the model is told them, by `embeddings.Context`'s names.

        bar: absolute, step: 16th in the bar, (T,) each.
        """
        bar = np.minimum(bar, self.bars - 1).astype(np.int64)
        timing = np.floor(100.0 * (bar + step / tk.STEPS_PER_BAR) / self.bars)
        same = np.ones(len(bar), np.int64)
        return {
            "bar": bar, "step": step.astype(np.int64), "timing": timing.astype(np.int64),
            "tempo": same * self.tempo, "mode": same * self.mode, "style": same * self.style,
            "density": self.density[bar], "loudness": self.loudness[bar],
        }  # fmt: skip


@dataclass(frozen=True)
class Task:
    """One stream to be written.

    dice: by attribute; seed: what the draws depend on. source: what melody and accompaniment read,
    a stream over `sheet.bars` bars, and `chords`, one id a beat; melody: the finished one, for the
    accompaniment's grammar. video: rows a second of each source at hand, (S, size), which the chord
    stage sees. form: for each bar, (bars,), how many bars ago is what is to be heard again (0:
    nothing; music/form.py); pull: nats by which what was heard there is likelier. leaning: float32
    (12, 11), nats that are added to each root and, beside it, to each of its qualities, or no rows;
    hold: nats by which holding the chord is likelier. Both are of the chord stage.
    """

    frame: Frame
    sheet: Sheet
    dice: dict[str, Dice]
    seed: tuple[int, ...] = (0,)
    source: tk.Tokens | None = None
    chords: NDArray[np.uint8] | None = None
    melody: tk.Notes | None = None
    video: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    form: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    pull: float = 0.0
    leaning: NDArray[np.float32] = field(default_factory=lambda: NO_LEANING)
    hold: float = 0.0

    @property
    def random(self) -> np.random.Generator:
        """A new generator: the same draws every time."""
        return np.random.default_rng(self.seed)

    @property
    def random_state(self) -> tuple[int, int, int, int]:
        """State and increment of `random`, high and low half each."""
        held = self.random.bit_generator.state["state"]
        state, increment = held["state"], held["inc"]
        half = (1 << 64) - 1
        return state >> 64, state & half, increment >> 64, increment & half
