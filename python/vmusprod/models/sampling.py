"""Writing a stream token by token: recurrent decoding, temperature and nucleus sampling."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vmusprod.models import attention as att
from vmusprod.models.controller import VideoInput
from vmusprod.models.embeddings import Context
from vmusprod.models.grammar import Grammar
from vmusprod.models.heads import CHAINS
from vmusprod.models.layers import Packed
from vmusprod.models.stage import SourceInput, Stage
from vmusprod.models.task import Dice, Sheet, Task
from vmusprod.music import recall as rc
from vmusprod.music import tokens as tk

MAX_BAR_TOKENS = 160
"""A bar may not grow past this, so that a piece's length is bounded whatever the weights say."""


class Source:
    """An encoded source stream: its vectors, and what cross-attention reads in each layer and bar.

    tokens: the stream over `sheet.bars` bars; chords: one id a beat.
    """

    def __init__(
        self, model: Stage, tokens: tk.Tokens, chords: NDArray[np.uint8], sheet: Sheet
    ) -> None:
        bar, step = tk.places(tokens)
        root, quality = tk.chord_attributes(chords)
        beat = np.minimum(bar * tk.BEATS_PER_BAR + step // tk.STEPS_PER_BEAT, len(chords) - 1)
        sounding = np.stack([root[beat], quality[beat]], 1).astype(np.int64)
        device = model.heads.norm.weight.device
        slots = att.bar_slots(_integers(bar, device), sheet.bars)
        valid = torch.ones(len(tokens), device=device)
        packed = Packed([len(tokens)], valid, slots)
        self.tokens = tokens
        self.keys = tk.stream_keys(tokens).tolist()
        self.memory = model.encode(
            SourceInput(
                _integers(tokens, device), _integers(sounding, device),
                _context(sheet, bar, step, device), packed,
            )
        )  # fmt: skip
        self.states = [
            att.bar_states(*layer.memory(self.memory, valid), slots) for layer in model.layers()
        ]


def video_states(model: Stage, rows: dict[str, NDArray[np.float32]]) -> list[Tensor] | None:
    """What each layer's cross-attention reads of one video; None if the model sees nothing of it.

    rows: source to (S, size), one row a second.
    """
    seen = None
    if model.controller is not None and rows:
        device = model.heads.norm.weight.device
        tensors = {name: torch.as_tensor(r, device=device) for name, r in rows.items()}
        seconds = [len(next(iter(rows.values())))]
        seen = model.controller(VideoInput(tensors, seconds, {name: [True] for name in rows}))
    if seen is None:
        return None
    memory, packed = seen
    return [
        att.bar_states(*layer.memory(memory, packed.valid), packed.slots)[1:2]
        for layer in model.layers()
    ]


class Past:
    """The stream so far as recall needs it (music/recall.py, one token at a time).

    form: the free slot's lag by bar, where it is not the likest's.
    """

    def __init__(
        self, bars: int, source: tk.Tokens | None, form: NDArray[np.int64] | None = None
    ) -> None:
        self.tokens: list[NDArray[np.int64]] = []
        self.keys: list[int] = []
        self.hints = np.full(rc.SLOTS, -1, np.int64)
        self.runs = np.zeros(rc.SLOTS, np.int64)
        self.marks = np.zeros((bars, rc.BINS), np.float32)
        self.own = np.zeros((bars, bars), np.float32)
        self.given = rc.likeness(rc.bar_marks(source, bars)) if source is not None else None
        self.free = 0
        self.form = np.zeros(bars, np.int64)
        if form is not None:
            self.form[: len(form)] = form

    def add(self, token: NDArray[np.int64], bar: int, step: int) -> None:
        """Append a token that stands at (bar, step)."""
        for slot, hint in enumerate(self.hints):
            hit = hint >= 0 and (self.tokens[hint][rc.COMPARED] == token[rc.COMPARED]).all()
            self.runs[slot] = self.runs[slot] + 1 if hit else 0
        if token[tk.BARBEAT] == 1:
            if bar:
                self._close(bar - 1)
            planned = int(self.form[bar])
            self.free = planned or (rc.likest_lag(self.own, self.given, bar) if bar else 0)
        else:
            self.marks[bar, rc.mark(token, step)] = 1
        key = tk.token_key(token, bar, step)
        self.tokens.append(token)
        self.keys.append(key)
        for slot, lag in enumerate((*rc.LAGS, self.free)):
            known = 0 < lag <= bar
            self.hints[slot] = bisect_right(self.keys, key - lag * tk.KEY_BAR) if known else -1

    def recalled(self, bar: int) -> NDArray[np.int64] | None:
        """Return the token that came next in the bar that the form says is to be heard again."""
        hint = self.hints[-1]
        return self.tokens[hint] if self.form[bar] and hint >= 0 else None

    def _close(self, bar: int) -> None:
        shared = self.marks[: bar + 1] @ self.marks[bar]
        size = self.marks[: bar + 1].sum(1)
        self.own[bar, : bar + 1] = shared / np.maximum(np.maximum(size, size[bar]), 1)


class Writer:
    """Writes the stream of a task with one stage.

    source: what melody and accompaniment read; memory: per decoder layer a state (1, H, D, D + 1)
    that the chord stage reads, if it has one.
    """

    def __init__(
        self, model: Stage, task: Task, source: Source | None, memory: list[Tensor] | None = None
    ) -> None:
        self.model, self.task, self.sheet, self.source = model, task, task.sheet, source
        self.grammar = Grammar(model.config.stage, task.frame, task.melody)
        self.memory = memory
        given = source.tokens if source is not None else None
        self.past = Past(self.sheet.bars, given, task.form)
        like = model.heads.norm.weight
        self.device = like.device
        self.states = [layer.start(1, like) for layer in model.layers()]
        self.embedded: list[Tensor] = []
        self.key = -1

    def _hidden(self, token: NDArray[np.int64]) -> Tensor:
        """Feed a token; return the normed hidden state (1, width) that predicts the next."""
        model = self.model
        vector = model.attributes(_integers(token[None], self.device))
        if self.key >= 0:
            self.embedded.append(vector)
        bar, step = max(self.grammar.bar, 0), self.grammar.step
        context = _context(self.sheet, np.array([bar]), np.array([step]), self.device)
        hints = np.full((1, rc.SLOTS), -1)
        table = vector[:0]
        known = [(s, int(h)) for s, h in enumerate(self.past.hints) if h >= 0]
        if known:
            table = torch.cat([self.embedded[h] for _, h in known])
            for row, (slot, _) in enumerate(known):
                hints[0, slot] = row
        runs = _integers(np.array([[rc.run_level(int(r)) for r in self.past.runs]]), self.device)
        aligned = memory = None
        if self.source is not None:
            after = bisect_right(self.source.keys, self.key)
            rows = [after - 1, after if after < len(self.source.keys) else -1]
            aligned, memory = _integers(np.array([rows]), self.device), self.source.memory
        x = model.embed(
            vector, context, table, _integers(hints, self.device), runs, memory, aligned
        )
        for i, layer in enumerate(model.layers()):
            cross = None
            if self.source is not None:
                cross = self.source.states[i][bar : bar + 1]
            elif self.memory is not None:
                cross = self.memory[i]
            x, self.states[i] = layer.step(x, self.states[i], cross)
        return torch.as_tensor(model.heads.norm(x))

    def write(self, progress: Callable[[float], None] | None = None) -> tk.Tokens:
        """Return the whole stream, without start and end token.

        progress is told the fraction done, 0..1.
        """
        dice, rng = self.task.dice, self.task.random
        token = np.zeros(7, np.int64)
        in_bar = 0
        while True:
            h = self._hidden(token)
            token = self._next(h, dice, rng, crowded=in_bar >= MAX_BAR_TOKENS)
            if token[tk.TYPE] == tk.END:
                return np.array(self.past.tokens, np.int16).reshape(-1, 7)
            self.grammar.accept(token)
            bar, step = self.grammar.bar, self.grammar.step
            in_bar = 0 if token[tk.BARBEAT] == 1 else in_bar + 1
            self.past.add(token, bar, step)
            self.key = self.past.keys[-1]
            if progress is not None and token[tk.BARBEAT] == 1:
                progress(bar / self.sheet.bars)

    def _next(
        self, h: Tensor, dice: dict[str, Dice], rng: np.random.Generator, *, crowded: bool
    ) -> NDArray[np.int64]:
        heads = self.model.heads
        types = self.grammar.types()
        if crowded and types[tk.RHYTHM]:
            types[:] = False
            types[tk.RHYTHM] = True
        token = np.zeros(7, np.int64)
        hint = self.past.recalled(max(self.grammar.bar, 0))
        kinds = self._pulled(_array(heads.kind(h)), None if hint is None else hint[tk.TYPE])
        kind = token[tk.TYPE] = dice["type"].draw(kinds, types, rng)
        if kind == tk.END:
            return token
        given: list[Tensor] = []
        chosen: dict[int, int] = {}
        for a in CHAINS[int(kind)]:
            name = tk.ATTRIBUTES[a]
            logits = self._leaning(a, chosen, _array(heads.attribute(name, h, given)))
            alike = hint is not None and all(hint[b] == token[b] for b in (tk.TYPE, *chosen))
            if alike and a != tk.VELOCITY:  # how loud it is, is the video's
                logits = self._pulled(logits, None if hint is None else hint[a])
            allowed = self.grammar.mask(a, chosen)
            if allowed is None:
                allowed = np.arange(len(logits)) > 0
            if crowded and a == tk.BARBEAT and allowed[1]:
                allowed[2:] = False
            token[a] = chosen[a] = dice[name].draw(logits, allowed, rng)
            given.append(_integers(token[a : a + 1], self.device))
        return token

    def _pulled(self, logits: NDArray[np.float64], value: np.int64 | None) -> NDArray[np.float64]:
        if value is not None:
            logits[value] = np.float32(logits[value]) + np.float32(self.task.pull)
        return logits

    def _leaning(
        self, attribute: int, chosen: dict[int, int], logits: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Logits with what the task leans to: some chords, and holding them or changing them."""
        task, last = self.task, self.past.tokens[-1:]
        if len(task.leaning) and attribute == tk.ROOT:
            logits[1:13] = logits[1:13].astype(np.float32) + task.leaning[:, 0]
        elif len(task.leaning) and attribute == tk.QUALITY and chosen[tk.ROOT] <= 12:
            row = task.leaning[chosen[tk.ROOT] - 1]
            logits[1:11] = logits[1:11].astype(np.float32) + row[1:]
        held = None
        if attribute == tk.BARBEAT and last and last[0][tk.TYPE] == tk.CHORD:
            held = 1  # no other chord within this bar
        elif attribute == tk.ROOT and self.grammar.step == 0:
            # The chord that a bar begins with is told anew, held or not.
            told = (int(t[tk.ROOT]) for t in reversed(self.past.tokens) if t[tk.TYPE] == tk.CHORD)
            held = next(told, None)
        if task.hold and held is not None:
            logits[held] = np.float32(logits[held]) + np.float32(task.hold)
        return logits


def write_task(
    model: Stage, task: Task, progress: Callable[[float], None] | None = None
) -> tk.Tokens:
    """Return the stream that a task asks for; progress is told the fraction done, 0..1."""
    encoded = seen = None
    if task.source is not None and task.chords is not None:
        encoded = Source(model, task.source, task.chords, task.sheet)
    else:
        seen = video_states(model, task.video)
    return Writer(model, task, encoded, seen).write(progress)


def _context(
    sheet: Sheet, bar: NDArray[np.integer], step: NDArray[np.integer], device: torch.device
) -> Context:
    places = sheet.context(bar, step)
    return Context(**{name: _integers(values, device) for name, values in places.items()})


def _array(logits: Tensor) -> NDArray[np.float64]:
    return logits[0].double().cpu().numpy()


def _integers(values: NDArray[np.generic], device: torch.device) -> Tensor:
    return torch.as_tensor(np.asarray(values, np.int64), device=device)
