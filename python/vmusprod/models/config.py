"""Sizes of the three stages (paper Table 7) and of the shipped small ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

STAGES = ("chord", "melody", "accompaniment")
SYSTEMS = ("v-musprod", "video2chord2music", "video2music")
"""The paper's system, and its reduced ones (Table 2): without a melody stage; with one stage."""
SOURCES = ("semantic", "color", "affect", "motion")
"""What the video controller can look at."""
MAX_SIZE = 8192
MAX_SHIFT = 4
"""The padding between packed sequences (layers.MIN_PADDING) keeps so short a convolution apart."""


@dataclass(frozen=True)
class StageConfig:
    """One transformer stage. Sizes are widths of vectors unless they say otherwise."""

    stage: str
    width: int = 512
    feed_forward: int = 2048
    heads: int = 8
    decoder_layers: int = 6
    encoder_layers: int = 4
    """0 for the chord stage: its keys and values come from the video controller."""
    dropout: float = 0.1
    decoder_sizes: tuple[int, ...] = (32, 128, 512, 128, 32, 128, 64)
    """Embedding width of type, barbeat, pitch, duration, velocity, root, quality; 0: unused."""
    encoder_sizes: tuple[int, ...] = (32, 128, 512, 128, 32, 0, 0)
    chroma_size: int = 128
    timing_size: int = 256
    head_size: int = 512
    max_bars: int = 256
    shift: int = 0
    """Taps of the short causal convolution before self-attention (0: none). Ours."""
    recall: bool = False
    """Feed back what stood here some bars ago (music/recall.py). Ours."""
    aligned: bool = False
    """Feed the decoder the encoder's output at its own place, beside cross-attention. Ours."""
    sources: tuple[str, ...] = ()
    """Video sources that the chord stage was made for; without any it has no cross-attention."""
    controller_width: int = 512
    controller_layers: int = 2
    fusion_layers: int = 2

    def to_dict(self) -> dict[str, object]:
        """Plain values, for the header of a weights file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: object) -> StageConfig:
        """Undo `to_dict`. Raises ValueError on unknown, missing, ill-typed or absurd values."""
        kinds = {f.name: type(f.default) for f in dataclasses.fields(cls) if f.name != "stage"}
        if not isinstance(values, dict) or set(values) - set(kinds) != {"stage"}:
            raise ValueError("unknown fields in the model configuration")
        if values["stage"] not in STAGES:
            raise ValueError(f"unknown stage {values['stage']!r}")
        kwargs: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        sources = kwargs.pop("sources", ())
        if not isinstance(sources, tuple) or not set(sources) <= set(SOURCES):
            raise ValueError("unknown video source in the model configuration")
        for name, kind in kinds.items():
            if name in kwargs and not _fits(kwargs[name], kind):
                raise ValueError(f"bad value of {name} in the model configuration")
        config = cls(**kwargs, sources=sources)
        config._check()
        return config

    def _check(self) -> None:
        chord = self.stage == "chord"
        source = self.controller_width if chord else sum(self.encoder_sizes) + self.chroma_size
        sizes = (self.width, self.heads, self.feed_forward, self.head_size, self.max_bars)
        if min(*sizes, sum(self.decoder_sizes), source, self.timing_size) < 1:
            raise ValueError("model sizes out of range")
        if chord != (self.encoder_layers == 0) or not 0 <= self.dropout < 1:
            raise ValueError("the model configuration contradicts itself")
        widths = (self.width, self.controller_width if self.sources else 0)
        if any(width % self.heads for width in widths) or self.timing_size % 2:
            raise ValueError("model sizes do not divide")
        if self.shift == 1 or self.shift > MAX_SHIFT:
            raise ValueError("convolution out of range")


def _fits(value: object, kind: type) -> bool:
    """Whether a field's value is of its kind and, if a size, within reason."""
    if kind is tuple:
        sizes = value if isinstance(value, tuple) else ()
        return len(sizes) == 7 and all(_fits(size, int) for size in sizes)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE
    return isinstance(value, kind)


_CHORD_SIZES = (32, 128, 0, 0, 0, 128, 64)
_NOTE_SIZES = (32, 128, 512, 128, 32, 0, 0)


def _paper(stage: str) -> StageConfig:
    if stage == "chord":
        return StageConfig(
            stage, decoder_layers=4, encoder_layers=0,
            decoder_sizes=_CHORD_SIZES, encoder_sizes=(0,) * 7, sources=("semantic", "color"),
        )  # fmt: skip
    encoder = (32, 128, 0, 0, 0, 0, 0) if stage == "melody" else _NOTE_SIZES
    return StageConfig(stage, decoder_sizes=_NOTE_SIZES, encoder_sizes=encoder)


def _small(stage: str) -> StageConfig:
    chord = stage == "chord"
    return dataclasses.replace(
        _paper(stage),
        width=256,
        feed_forward=1024,
        head_size=192,
        decoder_layers=3 if chord else 4,
        encoder_layers=0 if chord else 2,
        decoder_sizes=(16, 64, 0, 0, 0, 64, 32) if chord else (16, 64, 128, 64, 16, 0, 0),
        encoder_sizes={
            "chord": (0,) * 7,
            "melody": (16, 64, 0, 0, 0, 0, 0),
            "accompaniment": (16, 64, 128, 64, 16, 0, 0),
        }[stage],
        chroma_size=64,
        timing_size=256,
        shift=4,
        recall=True,
        aligned=not chord,
        sources=SOURCES if chord else (),
        controller_width=128,
        controller_layers=1,
        fusion_layers=2,
    )


def config(name: str, stage: str) -> StageConfig:
    """Return the named configuration, `paper` (Table 7) or `small`, of a stage.

    Raises ValueError for an unknown name or stage.
    """
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: one of {', '.join(STAGES)}")
    if name == "paper":
        return _paper(stage)
    if name == "small":
        return _small(stage)
    raise ValueError(f"unknown configuration {name!r}: paper or small")
