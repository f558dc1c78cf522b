"""The three transformers of the music generator (paper section 4.2, Table 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from vmusprod.models.config import StageConfig
from vmusprod.models.controller import Controller
from vmusprod.models.embeddings import Attributes, Context, Places, RecallInput, lookup
from vmusprod.models.heads import Heads
from vmusprod.models.layers import DecoderLayer, EncoderLayer, Packed


@dataclass
class SourceInput:
    """The encoder's side, packed. tokens: (S, 7); chord: (S, 2), root, quality sounding there."""

    tokens: Tensor
    chord: Tensor
    context: Context
    packed: Packed


@dataclass
class DecoderInput:
    """The decoder's side, packed; every sequence opens with the all-zero start token.

    tokens: (T, 7); hint, run: (T, SLOTS), hints as indices into the packed tokens; aligned: (T, 2),
    the source tokens last before and next after each token's place, as indices into the packed
    source, -1 where there is none.
    """

    tokens: Tensor
    context: Context
    packed: Packed
    hint: Tensor
    run: Tensor
    aligned: Tensor | None


class Stage(nn.Module):
    """Chord, melody or accompaniment transformer.

    The chord stage has no encoder of its own: its source is the video controller's output, if it
    was made for any video source.
    """

    def __init__(self, config: StageConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.attributes = Attributes(config.decoder_sizes, 0, width)
        self.places = Places(config)
        self.recall = RecallInput(width) if config.recall else None
        self.has_encoder = config.encoder_layers > 0
        self.controller = Controller(config) if config.sources else None
        memory_width = config.controller_width if self.controller else 0
        if self.has_encoder:
            memory_width = width
            self.source_attributes = Attributes(config.encoder_sizes, config.chroma_size, width)
            self.source_places = Places(config)
            self.encoder = nn.ModuleList(
                EncoderLayer(width, config.heads, config.feed_forward, config.dropout)
                for _ in range(config.encoder_layers)
            )
            self.encoder_norm = nn.LayerNorm(width)
        self.aligned = nn.Linear(2 * width, width, bias=False) if config.aligned else None
        if self.aligned is not None:
            nn.init.normal_(self.aligned.weight, std=0.3 * width**-0.5)
        self.decoder = nn.ModuleList(
            DecoderLayer(config, memory_width) for _ in range(config.decoder_layers)
        )
        self.heads = Heads(config)
        self.drop = nn.Dropout(config.dropout)

    def encode(self, source: SourceInput) -> Tensor:
        """Return the encoder's output, (S, width)."""
        x = self.source_attributes(source.tokens, source.chord) + self.source_places(source.context)
        x = self.drop(x)
        for layer in self.encoder:
            x = layer(x, source.packed)
        return torch.as_tensor(self.encoder_norm(x))

    def embed(
        self,
        embedded: Tensor,
        context: Context,
        everything: Tensor,
        hint: Tensor,
        run: Tensor,
        memory: Tensor | None,
        aligned: Tensor | None,
    ) -> Tensor:
        """Return the decoder's input, (T, width), of tokens whose attributes are `embedded`.

        Hints point into `everything`, aligned tokens into `memory`.
        """
        x = embedded + self.places(context)
        if self.recall is not None:
            x = x + self.recall(everything, hint, run)
        if self.aligned is not None and memory is not None and aligned is not None:
            x = x + self.aligned(lookup(memory, aligned).flatten(-2))
        return torch.as_tensor(x)

    def layers(self) -> list[DecoderLayer]:
        """The decoder's layers, first to last."""
        return [cast(DecoderLayer, layer) for layer in self.decoder]

    def forward(
        self, decoder: DecoderInput, memory: Tensor | None = None, where: Packed | None = None
    ) -> Tensor:
        """Hidden states (T, width); memory: the source's vectors, of `encode` or the controller."""
        embedded = self.attributes(decoder.tokens)
        x = self.embed(
            embedded, decoder.context, embedded, decoder.hint, decoder.run, memory, decoder.aligned
        )
        x = self.drop(x)
        for layer in self.decoder:
            x = layer(x, decoder.packed, memory, where)
        return torch.as_tensor(x)
