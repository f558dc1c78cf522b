"""From a video's features to a piece: bars, then chords, melody, accompaniment (paper Fig. 4)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod._vmus_rs import decode_chords
from vmusprod.alignment import aligned_steps
from vmusprod.control import Control
from vmusprod.levels import as_dense, as_loud
from vmusprod.models.config import STAGES, SYSTEMS
from vmusprod.models.engine import Engine, load_engine
from vmusprod.models.grammar import Frame
from vmusprod.models.task import STYLES, Dice, Sheet, Task, tempo_level
from vmusprod.models.weight_file import default_weights
from vmusprod.music import tokens as tk
from vmusprod.music.form import (
    PHRASE,
    PULL,
    hypermeasures,
    song_form,
    spelled_form,
    where_chords_agree,
)
from vmusprod.music.transpose import from_common_key, moved_notes, transpose_chords
from vmusprod.music.tune import oddity
from vmusprod.piece import Piece, chord_notes
from vmusprod.video.features import VideoFeatures
from vmusprod.video.rows import video_rows

__all__ = [
    "CUE_BARS", "MAX_SILENCE", "TEMPO_RANGE", "TEMPO_TOLERANCE", "Composer", "Piece", "Plan",
    "Progress", "Settings", "chord_notes", "cues", "dice", "motion_tempo", "plan",
]  # fmt: skip

TICKS_PER_STEP = 55
TICKS_PER_BEAT = 220
TEMPO_RANGE = (90.0, 130.0)
MOTION_RANGE = (2.0, 21.0)
"""Mean RGB difference (0..255) that maps onto TEMPO_RANGE: first to 99th percentile of MuVi-Sync's
597 training videos (minimum and maximum, 1.0 and 36.3, would leave most within 10 bpm)."""
CUE_BARS = 96
"""A longer piece is composed as several of about this length, each with an ending of its own."""
TEMPO_TOLERANCE = 0.04
MAX_SILENCE = 3.0
"""Seconds that may pass without a note."""
STYLE = "symmv"
"""Whose way of playing is asked for (models/task.py)."""
TUNE_TRIES = 6
"""How often a melody is written that is unlike any (music/tune.py)."""
NO_NOTES: tk.Notes = np.zeros((0, 4), np.int32)

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Settings:
    """What the user may decide.

    chords: one id a beat from bar 0, melody: grid notes from bar 0, both in the piece's own key;
    they stand in for their stage. density, loudness: levels 1..8 for every bar, None: the video's.
    without: sources of the video that are not looked at. align: bar lines shall meet scene cuts.
    form: letters of the phrases (music/form.py), None: drawn by the seed.
    """

    seed: int = 0
    key: tuple[int, int] | None = None
    tempo: float | None = None
    temperature: float = 1.0
    top_p: float = 0.995
    chords: NDArray[np.uint8] | None = None
    melody: tk.Notes | None = None
    density: int | None = None
    loudness: int | None = None
    without: tuple[str, ...] = ()
    align: bool = True
    form: str | None = None


@dataclass(frozen=True)
class Plan:
    """The time grid.

    tempo in bpm; mspq: microseconds a quarter, as MIDI keeps it; pickup: 16ths of bar 0 that lie
    before the video's start; total_ticks: the video's length. 16th k starts at tick
    55 * (k - pickup).
    """

    tempo: float
    mspq: int
    bars: int
    pickup: int
    total_ticks: int

    def tick(self, step: int) -> int:
        """Tick of a 16th, within the piece."""
        return min(max((step - self.pickup) * TICKS_PER_STEP, 0), self.total_ticks)

    def span(self, first: int, bars: int) -> tuple[float, float]:
        """Start and end of some bars on the video's clock, seconds."""
        ticks = (self.tick(b * tk.STEPS_PER_BAR) for b in (first, first + bars))
        start, end = (t * self.mspq / 1e6 / TICKS_PER_BEAT for t in ticks)
        return start, end

    def bar_ends(self, first: int, bars: int) -> NDArray[np.float64]:
        """When each of some bars ends, seconds on the video's clock: (bars,)."""
        return np.array([self.span(first + i, 1)[1] for i in range(bars)])


def motion_tempo(features: VideoFeatures) -> float:
    """Mean motion mapped linearly to 90..130 bpm (paper section 4.1)."""
    motion = features.motion
    mean = float(motion[1:].mean()) if len(motion) > 1 else 0.0
    low, high = MOTION_RANGE
    share = min(max((mean - low) / (high - low), 0.0), 1.0)
    return TEMPO_RANGE[0] + share * (TEMPO_RANGE[1] - TEMPO_RANGE[0])


def plan(features: VideoFeatures, settings: Settings) -> Plan:
    """Lay out bars that end with the picture.

    The motion's tempo gives way by up to 4% so that bar lines meet scene cuts (alignment.py), or,
    where there are none, so that the video holds whole bars, else whole beats, else whole 16ths;
    what is missing to a whole bar is taken from bar 0. A tempo from the user is kept, and the last
    note rings on for the rest of a 16th. Raises ValueError for a tempo outside 20..300.
    """
    if settings.tempo is not None and not 20 <= settings.tempo <= 300:
        raise ValueError(f"tempo must be 20..300 bpm, not {settings.tempo}")
    wanted = settings.tempo or _wanted_tempo(features, settings)
    steps = features.duration * wanted * tk.STEPS_PER_BEAT / 60
    if settings.tempo is not None:
        # At the tempo as a file has it one more may fit in, after an hour or two.
        written = features.duration * 1e6 / round(60e6 / wanted) * tk.STEPS_PER_BEAT
        whole, tempo = max(int(steps), int(written), 1), wanted
    else:
        whole = _aligned(steps, features, settings) or _whole_steps(steps)
        tempo = whole * 60 / tk.STEPS_PER_BEAT / features.duration
    tempo = min(max(tempo, 20.0), 300.0)
    mspq = round(60e6 / tempo)
    total = round(features.duration * 1e6 / mspq * TICKS_PER_BEAT)
    bars = -(-whole // tk.STEPS_PER_BAR)
    return Plan(tempo, mspq, bars, bars * tk.STEPS_PER_BAR - whole, max(total, 1))


def _wanted_tempo(features: VideoFeatures, settings: Settings) -> float:
    """The motion's tempo; the middle of the range where motion is not looked at (Table 2)."""
    return sum(TEMPO_RANGE) / 2 if "motion" in settings.without else motion_tempo(features)


def _aligned(steps: float, features: VideoFeatures, settings: Settings) -> int | None:
    if not settings.align or "motion" in settings.without:
        return None
    return aligned_steps(steps, features.duration, features.cuts, TEMPO_TOLERANCE)


def _whole_steps(steps: float) -> int:
    for unit in (tk.STEPS_PER_BAR, tk.STEPS_PER_BEAT):
        whole = round(steps / unit) * unit
        if whole and abs(whole / steps - 1) <= TEMPO_TOLERANCE:
            return whole
    return max(round(steps), 1)


class Composer:
    """The three stages with their weights.

    weights: a folder with chord.safetensors, melody.safetensors and accompaniment.safetensors;
    None: the ones in the package. engine: see models/engine.py. Raises InputError when the weights
    cannot be used, VmusError or ValueError where the engine cannot be had.
    """

    def __init__(
        self, weights: Path | None = None, device: str = "cpu", engine: str = "auto"
    ) -> None:
        folder = weights if weights is not None else default_weights()
        self.engine: Engine = load_engine(engine, folder, device)

    @property
    def about(self) -> dict[str, dict[str, object]]:
        """By stage: what its weights file says about its training."""
        return self.engine.about

    def compose(
        self, features: VideoFeatures, settings: Settings, progress: Progress | None = None
    ) -> Piece:
        """Composes for a video. The same features and settings give the same piece."""
        return self.compose_many([(features, settings)], progress)[0]

    def compose_many(
        self,
        wanted: Sequence[tuple[VideoFeatures, Settings]],
        progress: Progress | None = None,
    ) -> list[Piece]:
        """Compose several pieces side by side: each as if alone, all in much less time.

        progress: told the stage and the fraction of all pieces, 0..1.
        """
        system = str(self.about["accompaniment"].get("system", SYSTEMS[0]))
        drafts = [_Draft(features, settings, system) for features, settings in wanted]
        for stage in STAGES:
            cues = [cue for draft in drafts for cue in draft.cues if cue.lacks(stage)]
            tell = None if progress is None else partial(progress, stage)
            written = self.engine.write(stage, [cue.task(stage) for cue in cues], tell)
            for cue, tokens in zip(cues, written, strict=True):
                cue.take(stage, tokens)
            if stage == "melody":
                self._write_better_tunes(cues)
        # Density is followed in part only: a cue far from what its video asks for gets another try.
        again = [cue for draft in drafts for cue in draft.cues if cue.misses()]
        if again:
            tasks = [cue.task("accompaniment") for cue in again]
            written = self.engine.write("accompaniment", tasks, None)
            for cue, tokens in zip(again, written, strict=True):
                cue.take_nearer(tokens)
        return [draft.piece() for draft in drafts]

    def _write_better_tunes(self, cues: Sequence[_Cue]) -> None:
        """Write melodies that are stuck again, and keep the least odd."""
        for trial in range(1, TUNE_TRIES):
            stuck = [cue for cue in cues if oddity(cue.melody, cue.frame.bars)]
            tasks = [cue.task("melody", trial) for cue in stuck]
            written = self.engine.write("melody", tasks, None) if tasks else []
            for cue, tokens in zip(stuck, written, strict=True):
                other = tk.normalise(tk.decode_notes(tokens))
                cue.melody = min(cue.melody, other, key=lambda m: oddity(m, cue.frame.bars))


class _Draft:
    """A piece in the making: its cues, in the common key."""

    def __init__(self, features: VideoFeatures, settings: Settings, system: str) -> None:
        self.system = system
        self.grid = plan(features, settings)
        self.control = Control(features, settings)
        self.key = settings.key or self.control.key
        self.shift = from_common_key(self.key)
        if settings.chords is not None and not len(settings.chords):
            raise ValueError("chords must hold one id a beat, not none")
        self.cues = [
            _Cue(self, features, settings, number, first, bars)
            for number, (first, bars) in enumerate(cues(self.grid.bars))
        ]

    def piece(self) -> Piece:
        """Join the cues, in the piece's key."""
        bars = self.grid.bars
        chords = np.concatenate([transpose_chords(c.chords, self.shift) for c in self.cues])
        melody, rest = (
            tk.normalise(
                np.concatenate([moved_notes(n, c.first, self.shift, bars) for c, n in part])
            )
            for part in ([(c, c.melody) for c in self.cues], [(c, c.rest) for c in self.cues])
        )
        density, loudness = self.control.levels(self.grid.bar_ends(0, bars))
        if density is not None:
            # A cue has fewer groups than bars: no two cues share a number.
            groups = np.concatenate([c.first + c.groups for c in self.cues])
            rest = as_dense(rest, melody, chords, self.grid, density, groups)
        if loudness is not None:
            if "melody" in self.cues[0].given:
                (rest,) = as_loud((rest,), melody, chords, self.grid, loudness)
            else:
                melody, rest = as_loud((melody, rest), NO_NOTES, chords, self.grid, loudness)
        return Piece(self.grid, self.key, chords, melody, rest)


class _Cue:
    """One stretch of bars, written in the common key; the user's own music stands for its stage."""

    def __init__(
        self, draft: _Draft, features: VideoFeatures, settings: Settings,
        number: int, first: int, bars: int,
    ) -> None:  # fmt: skip
        grid, mode = draft.grid, draft.key[1]
        self.settings, self.number, self.first = settings, number, first
        start, end = grid.span(first, bars)
        self.video = video_rows(features, start, end, settings.without)
        quiet = int(MAX_SILENCE * grid.tempo * tk.STEPS_PER_BEAT / 60)
        self.frame = Frame(bars, mode, grid.pickup if first == 0 else 0, max(quiet, 4))
        free = np.zeros(bars, np.int64)
        self.form = _form(settings, number, bars, first, upbeat=self.frame.first_step > 0)
        self.leaning = draft.control.leaning()
        self.groups = hypermeasures(bars, int(self.frame.first_step > 0))
        self.wish = draft.control.wish(start, grid.bar_ends(first, bars), grid.tempo, self.groups)
        tempo, style = tempo_level(grid.tempo), STYLES.index(STYLE)
        self.sheet = Sheet(bars, tempo, mode + 1, style, self.wish.density, self.wish.loudness)
        # Chords hear the video itself; how often they change is no matter of density.
        self.chord_sheet = Sheet(bars, tempo, mode + 1, style, free, free)
        self.chords, self.melody, self.rest = np.zeros(0, np.uint8), NO_NOTES, NO_NOTES
        self.written: set[str] = set()
        if settings.chords is not None:
            beats = slice(first * tk.BEATS_PER_BAR, (first + bars) * tk.BEATS_PER_BAR)
            everything = np.resize(settings.chords, grid.bars * tk.BEATS_PER_BAR)
            self.chords = transpose_chords(everything[beats], -draft.shift)
            self.written.add("chord")
        if settings.melody is not None:
            self.melody = moved_notes(settings.melody, -first, -draft.shift, bars)
            self.written.add("melody")
        self.given = frozenset(self.written)
        self.bare = draft.system == "video2music"
        if draft.system != SYSTEMS[0]:  # one of the reduced ones: the last stage writes it all
            self.written.add("melody")
        if self.bare and "chord" not in self.written:
            self.chords = np.full(bars * tk.BEATS_PER_BAR, tk.NO_CHORD, np.uint8)
            self.written.add("chord")

    def lacks(self, stage: str) -> bool:
        """Whether a stage is still to be written."""
        return stage not in self.written

    def task(self, stage: str, trial: int = 0) -> Task:
        """Return what the stage is to write, once those before it are there."""
        seed = (self.settings.seed, self.number, STAGES.index(stage), trial)
        sheet = self.chord_sheet if stage == "chord" else self.sheet
        mine = Task(
            self.frame, sheet, dice(stage, self.settings), seed, form=self.form, pull=PULL[stage]
        )
        if stage == "chord":
            leaning, hold = self.leaning
            return replace(mine, video=self.video, leaning=leaning, hold=hold)
        form = where_chords_agree(self.form, self.chords)
        melody = self.melody if stage == "accompaniment" else None
        chords = None if self.bare else self.chords
        source = tk.encode(self.frame.bars, chords=chords, notes=NO_NOTES if self.bare else melody)
        return replace(mine, source=source, chords=self.chords, melody=melody, form=form)

    def take(self, stage: str, tokens: tk.Tokens) -> None:
        """Keep what a stage wrote."""
        self.written.add(stage)
        if stage == "chord":
            self.chords = tk.decode_chords(tokens, self.frame.bars)
        elif stage == "melody":
            self.melody = tk.normalise(tk.decode_notes(tokens))
        else:
            self.rest = tk.normalise(tk.decode_notes(tokens))
            if self.bare and "chord" not in self.given:
                self.chords = decode_chords(self.rest, len(self.chords))

    def misses(self) -> bool:
        """Whether the notes are far from as many as wanted; the levels are moved if so."""
        other = self.wish.again(self.wish.ratio(self.melody, self.rest))
        if other is None:
            return False
        self.wish = other
        self.sheet = replace(self.sheet, density=other.density)
        return True

    def take_nearer(self, tokens: tk.Tokens) -> None:
        """Keep another accompaniment if it has more nearly as many notes as wanted."""
        other = tk.normalise(tk.decode_notes(tokens))
        errors = [
            abs(np.log(max(self.wish.ratio(self.melody, rest), 0.01)))
            for rest in (self.rest, other)
        ]
        if errors[1] < errors[0]:
            self.rest = other


def _form(
    settings: Settings, number: int, bars: int, first: int, *, upbeat: bool
) -> NDArray[np.int64]:
    if settings.form is not None:
        return spelled_form(settings.form, bars, int(upbeat), first // PHRASE)
    return song_form(bars, int(upbeat), np.random.default_rng((settings.seed, number, len(STAGES))))


def dice(stage: str, settings: Settings) -> dict[str, Dice]:
    """Temperature and nucleus by attribute; the user's temperature scales them all."""
    warmth = {"type": 1.0, "barbeat": 1.0, "pitch": 1.0, "duration": 0.9, "velocity": 0.9}
    if stage == "chord":
        warmth = {"type": 1.0, "barbeat": 1.0, "root": 1.1, "quality": 1.0}
    return {name: Dice(t * settings.temperature, settings.top_p) for name, t in warmth.items()}


def cues(bars: int) -> list[tuple[int, int]]:
    """(first bar, bars) of the cues of a piece: near equal, each beginning at a multiple of 8."""
    count = max(round(bars / CUE_BARS), 1)
    edges = [round(bars * i / count / 8) * 8 for i in range(count)] + [bars]
    return [(a, b - a) for a, b in itertools.pairwise(edges)]
