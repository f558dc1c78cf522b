"""From packed songs to batches of the three stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmusprod.dataset.pack import PackedSong
from vmusprod.dataset.pack_video import PairedVideo
from vmusprod.models.attention import CHUNK, bar_slots
from vmusprod.models.config import SOURCES, SYSTEMS
from vmusprod.models.controller import VideoInput
from vmusprod.models.embeddings import Context
from vmusprod.models.layers import MIN_PADDING, Packed
from vmusprod.models.stage import DecoderInput, SourceInput
from vmusprod.models.task import STYLES, tempo_level
from vmusprod.music import recall as rc
from vmusprod.music import tokens as tk
from vmusprod.training.video import video_input

Array = NDArray[np.int64]


@dataclass(frozen=True)
class Stream:
    """One token sequence and the place of each token; `context` by the names of `Context`."""

    tokens: Array
    context: dict[str, NDArray[np.float64]]
    chord: Array


@dataclass(frozen=True)
class Example:
    """One song for one stage: decoder opens with the start token, target (T, 7) ends with the end.

    hint, run, aligned: as in `DecoderInput`, indices into this song alone.
    """

    decoder: Stream
    target: Array
    hint: Array
    run: Array
    aligned: Array
    source: Stream | None
    video: PairedVideo | None = None


def stage_streams(
    stage: str, song: PackedSong, system: str = SYSTEMS[0]
) -> tuple[tk.Tokens, tk.Tokens | None]:
    """Return what a stage writes and what it reads (None for chords).

    In the reduced systems (paper section 6.4) the accompaniment stage writes all notes: in
    `video2chord2music` from the chords, in `video2music` from empty bars.
    """
    if stage == "accompaniment" and system != SYSTEMS[0]:
        parts = [tk.decode_notes(part) for part in (song.melody, song.accompaniment)]
        everything = tk.encode(song.bars, notes=tk.normalise(np.concatenate(parts)))
        bare = tk.encode(song.bars, notes=np.zeros((0, 4), np.int32))
        return everything, song.chord if system == "video2chord2music" else bare
    if stage == "chord":
        return song.chord, None
    if stage == "melody":
        return song.melody, song.chord
    chords = tk.decode_chords(song.chord, song.bars)
    return song.accompaniment, tk.encode(
        song.bars, chords=chords, notes=tk.decode_notes(song.melody)
    )


def make_example(stage: str, song: PackedSong, system: str = SYSTEMS[0]) -> Example:
    """Make the arrays of one song for one stage."""
    written, read = stage_streams(stage, song, system)
    start = np.zeros((1, 7), np.int16)
    recall = rc.recall(written, read)
    hint = np.where(recall.hint >= 0, recall.hint + 1, -1)
    none = np.full((1, rc.SLOTS), -1)
    aligned = np.full((len(written) + 1, 2), -1)
    if read is not None:
        aligned = align(np.r_[-1, tk.stream_keys(written)], tk.stream_keys(read))
    return Example(
        decoder=_stream(np.concatenate([start, written]), song, stage),
        target=np.concatenate([written, start]).astype(np.int64),
        hint=np.concatenate([none, hint]).astype(np.int64),
        run=np.concatenate([np.zeros((1, rc.SLOTS)), recall.run]).astype(np.int64),
        aligned=aligned.astype(np.int64),
        source=None if read is None else _stream(read, song, stage),
        video=song.video if stage == "chord" else None,
    )


def align(decoder_keys: NDArray[np.int64], source_keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """(T, 2): source tokens last at or before, and next after, each decoder token's place."""
    after = np.searchsorted(source_keys, decoder_keys, side="right")
    return np.stack([after - 1, np.where(after < len(source_keys), after, -1)], 1)


def _stream(tokens: tk.Tokens, song: PackedSong, stage: str) -> Stream:
    bar, step = tk.places(tokens)
    chords = tk.decode_chords(song.chord, song.bars)
    root, quality = tk.chord_attributes(chords)
    beat = np.minimum(bar * tk.BEATS_PER_BAR + step // tk.STEPS_PER_BEAT, len(chords) - 1)
    context = {
        "bar": bar,
        "step": step,
        "timing": np.floor(100.0 * (bar + step / tk.STEPS_PER_BAR) / song.bars),
        "tempo": np.full(len(bar), tempo_level(song.tempo)),
        "mode": np.full(len(bar), 1 + song.mode),
        "style": np.full(len(bar), STYLES.index(song.source) if song.source in STYLES else 0),
        "density": song.density[stage][bar],
        "loudness": song.loudness[stage][bar],
    }
    return Stream(
        tokens.astype(np.int64),
        {k: v.astype(np.float64) for k, v in context.items()},
        np.stack([root[beat], quality[beat]], 1).astype(np.int64),
    )


@dataclass(frozen=True)
class Batch:
    """Packed songs; target: (N, 7) of the real tokens, rows: (N,) their places in the decoder.

    video: what the chord stage may see, None where no song of the batch has a video.
    """

    decoder: DecoderInput
    source: SourceInput | None
    target: Tensor
    rows: Tensor
    video: VideoInput | None = None

    def to(self, device: torch.device) -> Batch:
        """Return the same batch on a device."""
        moved: Batch = _move(self, device)
        return moved


def _move(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: _move(v, device) for name, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_move(v, device) for v in value))
    if hasattr(value, "__dataclass_fields__"):
        moved = {f.name: _move(getattr(value, f.name), device) for f in fields(value)}
        return type(value)(**moved)
    return value


def collate(
    examples: list[Example],
    rng: np.random.Generator | None = None,
    sources: Sequence[str] = SOURCES,
) -> Batch:
    """Pack songs end to end, of their videos the `sources` named.

    With `rng` (training) controls are dropped song by song, so that the model also works where they
    are unknown, and sources of the videos too; without it (evaluation) density, loudness and style
    are unknown.
    """
    keep = [_kept_controls(rng) for _ in examples]
    decoder, offsets = _pack([e.decoder for e in examples], keep)
    source_offsets = np.zeros(len(examples), np.int64)
    source = None
    if examples[0].source is not None:
        packed, source_offsets = _pack([e.source for e in examples if e.source], keep)
        tokens, chord, context, layout = packed
        source = SourceInput(tokens, chord, context, layout)
    tokens, _, context, layout = decoder

    def spread(name: str, offset: Array, width: int, empty: int) -> Tensor:
        out = np.full((len(tokens), width), empty, np.int64)
        for e, o, place in zip(examples, offset, offsets, strict=True):
            value = getattr(e, name)
            moved = np.where(value >= 0, value + o, -1) if empty < 0 else value
            out[place : place + len(value)] = moved
        return torch.from_numpy(out)

    rows = [o + np.arange(len(e.target)) for e, o in zip(examples, offsets, strict=True)]
    return Batch(
        DecoderInput(
            tokens, context, layout,
            spread("hint", offsets, rc.SLOTS, -1),
            spread("run", offsets, rc.SLOTS, 0),
            spread("aligned", source_offsets, 2, -1) if source is not None else None,
        ),
        source,
        torch.from_numpy(np.concatenate([e.target for e in examples])),
        torch.from_numpy(np.concatenate(rows)),
        video_input([e.video for e in examples], sources, rng),
    )  # fmt: skip


def _kept_controls(rng: np.random.Generator | None) -> dict[str, bool]:
    if rng is None:
        return {"density": False, "loudness": False, "style": False}
    return {
        "density": rng.random() < 0.5,
        "loudness": rng.random() < 0.5,
        "style": rng.random() < 0.7,
        "mode": rng.random() < 0.9,
    }


def _pack(
    streams: list[Stream], keep: list[dict[str, bool]]
) -> tuple[tuple[Tensor, Tensor, Context, Packed], Array]:
    lengths = [-(-(len(s.tokens) + MIN_PADDING) // CHUNK) * CHUNK for s in streams]
    offsets = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    total = sum(lengths)
    tokens = np.zeros((total, 7), np.int64)
    chord = np.zeros((total, 2), np.int64)
    valid = np.zeros(total, np.float32)
    bars = np.zeros(total, np.int64)
    context = {f.name: np.zeros(total) for f in fields(Context)}
    first_bar = 1
    for s, o, length, kept in zip(streams, offsets, lengths, keep, strict=True):
        n = len(s.tokens)
        here = slice(o, o + n)
        tokens[here], chord[here], valid[here] = s.tokens, s.chord, 1
        for name, values in s.context.items():
            if kept.get(name, True):
                context[name][here] = values
        count = int(s.context["bar"][-1]) + 1
        bars[here] = first_bar + s.context["bar"]
        bars[o + n : o + length] = first_bar + np.arange(length - n) % count
        first_bar += count + 2
    return (
        torch.from_numpy(tokens),
        torch.from_numpy(chord),
        Context(**{
            k: torch.from_numpy(v.astype(np.int64)) for k, v in context.items()
        }),
        Packed(lengths, torch.from_numpy(valid), bar_slots(torch.from_numpy(bars), first_bar)),
    ), offsets  # fmt: skip


class StageData:
    """Songs as examples of one stage; made once, kept in memory.

    Songs without notes are for the chord stage alone. video_share: of an epoch's tokens those of
    songs with a video, if there are songs of both kinds (None: every song once); the others take
    turns. sources: what is shown of the videos. system: see `stage_streams`.
    """

    def __init__(
        self,
        songs: Sequence[PackedSong],
        stage: str,
        sources: Sequence[str] = SOURCES,
        video_share: float | None = None,
        system: str = SYSTEMS[0],
    ) -> None:
        self.stage = stage
        self.sources = sources
        self.video_share = video_share
        kept = [song for song in songs if stage == "chord" or song.has_notes]
        self.examples = [make_example(stage, song, system) for song in kept]
        self.tokens = sum(len(e.target) for e in self.examples)

    def batch(self, chosen: Sequence[int], rng: np.random.Generator | None = None) -> Batch:
        """Return some songs as a batch, see `collate`."""
        return collate([self.examples[i] for i in chosen], rng, self.sources)

    def _order(self, seed: int) -> Array:
        order = np.random.default_rng(seed).permutation(len(self.examples))
        seen = np.array([e.video is not None for e in self.examples], bool)[order]
        if self.video_share is None or seen.all() or not seen.any():
            return order
        sizes = np.array([len(e.target) for e in self.examples])[order]
        room = sizes[seen].sum() * (1 - self.video_share) / max(self.video_share, 1e-6)
        return np.asarray(order[seen | (np.cumsum(np.where(seen, 0, sizes)) <= room)])

    def epoch(self, batch_tokens: int, seed: int) -> list[list[int]]:
        """Shuffled song indices, filled up to about `batch_tokens` decoder tokens a batch."""
        order = self._order(seed)
        batches: list[list[int]] = [[]]
        held = 0
        for i in order:
            size = len(self.examples[i].target)
            if batches[-1] and held + size > batch_tokens:
                batches.append([])
                held = 0
            batches[-1].append(int(i))
            held += size
        return batches

    def evaluation(self, batch_tokens: int) -> Iterator[Batch]:
        """Every song once, controls unknown."""
        held: list[Example] = []
        for e in self.examples:
            if held and sum(len(h.target) for h in held) + len(e.target) > batch_tokens:
                yield collate(held, None, self.sources)
                held = []
            held.append(e)
        if held:
            yield collate(held, None, self.sources)
