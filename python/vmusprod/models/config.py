"""Sizes of the three stages (paper Table 7) and of the shipped small ones."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

STAGES = ("chord", "melody", "accompaniment")


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
    controller_width: int = 512
    controller_layers: int = 2
    fusion_layers: int = 2

    def to_dict(self) -> dict[str, object]:
        """Plain values, for the header of a weights file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, object]) -> StageConfig:
        """The inverse of `to_dict`. Raises ValueError on unknown or ill-typed fields."""
        fields = {f.name: f for f in dataclasses.fields(cls)}
        if not isinstance(values, dict) or set(values) - set(fields):
            raise ValueError("unknown fields in the model configuration")
        kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        config = cls(**kwargs)  # type: ignore[arg-type]
        if config.stage not in STAGES:
            raise ValueError(f"unknown stage {config.stage!r}")
        sizes = (config.width, config.heads, config.feed_forward, config.head_size)
        if not all(isinstance(n, int) and 0 < n <= 8192 for n in sizes):
            raise ValueError("model sizes out of range")
        if config.width % config.heads:
            raise ValueError("width is not a multiple of heads")
        return config


_CHORD_SIZES = (32, 128, 0, 0, 0, 128, 64)
_NOTE_SIZES = (32, 128, 512, 128, 32, 0, 0)


def _paper(stage: str) -> StageConfig:
    if stage == "chord":
        return StageConfig(
            stage, decoder_layers=4, encoder_layers=0,
            decoder_sizes=_CHORD_SIZES, encoder_sizes=(0,) * 7,
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
        controller_width=128,
        controller_layers=2,
        fusion_layers=2,
    )


def config(name: str, stage: str) -> StageConfig:
    """The named configuration (`paper` or `small`) of a stage."""
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: one of {', '.join(STAGES)}")
    if name == "paper":
        return _paper(stage)
    if name == "small":
        return _small(stage)
    raise ValueError(f"unknown configuration {name!r}: paper or small")
