"""From a video's features to a piece: bars, then chords, melody, accompaniment (paper Fig. 4)."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk
from vmusprod.music.pedal import pedal_events
from vmusprod.music.score import MidiTrack, midi_bytes
from vmusprod.video.features import VideoFeatures

if TYPE_CHECKING:
    from vmusprod.models.sampling import Dice
    from vmusprod.models.stage import Stage

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
STYLE = "pop909"
"""Whose way of playing is asked for (models/embeddings.py)."""

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Settings:
    """What the user may decide.

    chords: one id a beat from bar 0, melody: grid notes from bar 0, both in the piece's own key;
    they stand in for their stage.
    """

    seed: int = 0
    key: tuple[int, int] | None = None
    tempo: float | None = None
    temperature: float = 1.0
    top_p: float = 0.995
    chords: NDArray[np.uint8] | None = None
    melody: tk.Notes | None = None


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


def motion_tempo(features: VideoFeatures) -> float:
    """Mean motion mapped linearly to 90..130 bpm (paper section 4.1)."""
    motion = features.motion
    mean = float(motion[1:].mean()) if len(motion) > 1 else 0.0
    low, high = MOTION_RANGE
    share = min(max((mean - low) / (high - low), 0.0), 1.0)
    return TEMPO_RANGE[0] + share * (TEMPO_RANGE[1] - TEMPO_RANGE[0])


def plan(features: VideoFeatures, settings: Settings) -> Plan:
    """Lay out bars that end with the picture.

    The motion's tempo gives way by up to 4% so that the video holds whole bars, else whole beats,
    else whole 16ths; what is missing to a whole bar is taken from bar 0. A tempo from the user is
    kept, and the last note rings on for the rest of a 16th. Raises ValueError for a tempo outside
    20..300.
    """
    if settings.tempo is not None and not 20 <= settings.tempo <= 300:
        raise ValueError(f"tempo must be 20..300 bpm, not {settings.tempo}")
    wanted = settings.tempo or motion_tempo(features)
    steps = features.duration * wanted * tk.STEPS_PER_BEAT / 60
    if settings.tempo is not None:
        whole, tempo = max(int(steps), 1), wanted
    else:
        whole = _whole_steps(steps)
        tempo = whole * 60 / tk.STEPS_PER_BEAT / features.duration
    tempo = min(max(tempo, 20.0), 300.0)
    mspq = round(60e6 / tempo)
    total = round(features.duration * 1e6 / mspq * TICKS_PER_BEAT)
    bars = -(-whole // tk.STEPS_PER_BAR)
    return Plan(tempo, mspq, bars, bars * tk.STEPS_PER_BAR - whole, max(total, 1))


def _whole_steps(steps: float) -> int:
    for unit in (tk.STEPS_PER_BAR, tk.STEPS_PER_BEAT):
        whole = round(steps / unit) * unit
        if whole and abs(whole / steps - 1) <= TEMPO_TOLERANCE:
            return whole
    return max(round(steps), 1)


@dataclass(frozen=True)
class Piece:
    """A finished piece. Notes are grid notes from bar 0 in `key`; chords one id a beat."""

    plan: Plan
    key: tuple[int, int]
    chords: NDArray[np.uint8]
    melody: tk.Notes
    accompaniment: tk.Notes

    @property
    def note_count(self) -> int:
        """Notes of melody and accompaniment."""
        return len(self.melody) + len(self.accompaniment)

    def tracks(self, which: str = "all") -> list[MidiTrack]:
        """MIDI tracks: `all` (melody and accompaniment), or `chords`, `melody`, `accompaniment`."""
        pedal = pedal_events(self.chords, self.plan.tick)
        parts = {
            "melody": lambda: MidiTrack("Melody", self._ticks(self.melody), pedal=pedal),
            "accompaniment": lambda: MidiTrack(
                "Accompaniment", self._ticks(self.accompaniment), pedal=pedal
            ),
            "chords": lambda: MidiTrack("Chords", self._ticks(chord_notes(self.chords))),
        }
        names = ("melody", "accompaniment") if which == "all" else (which,)
        return [parts[name]() for name in names]

    def midi(self, which: str = "all", text: str = "") -> bytes:
        """The bytes of a MIDI file, exactly as long as the video."""
        p = self.plan
        return midi_bytes(self.tracks(which), p.mspq, p.total_ticks, text, key=self.key)

    def _ticks(self, notes: tk.Notes) -> NDArray[np.int64]:
        """(N, 4): tick, ticks, pitch, velocity; what rings at the end rings to the last tick."""
        last = self.plan.bars * tk.STEPS_PER_BAR
        rows = []
        for onset, duration, pitch, velocity in notes.tolist():
            end = onset + duration
            start = self.plan.tick(onset)
            stop = self.plan.total_ticks if end >= last else self.plan.tick(end)
            if stop > start and end > self.plan.pickup:
                rows.append((start, stop - start, pitch, velocity))
        return np.array(rows, np.int64).reshape(-1, 4)


def chord_notes(chords: NDArray[np.uint8]) -> tk.Notes:
    """Chords as block chords around middle C, the root an octave below."""
    rows = []
    start = 0
    for beat in range(1, len(chords) + 1):
        if beat < len(chords) and chords[beat] == chords[start]:
            continue
        if chords[start] < tk.NO_CHORD:
            root, quality = tk.chord_attributes(chords[start : start + 1])
            tones = np.flatnonzero(tk.CHROMA[root[0], quality[0]])
            low = 48 + int(chords[start]) // 10 - 12
            at, length = start * tk.STEPS_PER_BEAT, (beat - start) * tk.STEPS_PER_BEAT
            rows += [(at, length, pitch, 72) for pitch in [low, *(60 + tones)]]
        start = beat
    return np.array(rows, np.int32).reshape(-1, 4)


class Composer:
    """The three stages with their weights.

    weights: a folder with chord.safetensors, melody.safetensors and accompaniment.safetensors;
    None: the ones in the package. Raises InputError when they cannot be used.
    """

    def __init__(self, weights: Path | None = None, device: str = "cpu") -> None:
        from vmusprod.models.config import STAGES
        from vmusprod.models.weights import default_weights, load_stage

        folder = weights if weights is not None else default_weights()
        self.models: dict[str, Stage] = {}
        self.about: dict[str, dict[str, object]] = {}
        for stage in STAGES:
            model, self.about[stage] = load_stage(folder / f"{stage}.safetensors", stage)
            self.models[stage] = model.to(device)

    def compose(
        self, features: VideoFeatures, settings: Settings, progress: Progress | None = None
    ) -> Piece:
        """Composes for a video. The same features and settings give the same piece."""
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # sums must not depend on the machine's thread count
        try:
            with torch.inference_mode():
                return self._compose(features, settings, progress)
        finally:
            torch.set_num_threads(threads)

    def _compose(
        self, features: VideoFeatures, settings: Settings, progress: Progress | None
    ) -> Piece:
        grid = plan(features, settings)
        key = settings.key or _choose_key(features, settings.seed)
        shift = _from_common_key(key)
        chords, melody, accompaniment = [], [], []
        for number, (first, bars) in enumerate(cues(grid.bars)):
            video = video_rows(features, *grid.span(first, bars))
            cue = _Cue(self.models, settings, grid, key[1], first, bars, number, video, progress)
            beats = slice(first * tk.BEATS_PER_BAR, (first + bars) * tk.BEATS_PER_BAR)
            own_chords = own_melody = None
            if settings.chords is not None:
                if not len(settings.chords):
                    raise ValueError("chords must hold one id a beat, not none")
                everything = np.resize(settings.chords, grid.bars * tk.BEATS_PER_BAR)
                own_chords = _transpose_chords(everything[beats], -shift)
            if settings.melody is not None:
                own_melody = _moved(settings.melody, -first, -shift, bars)
            written = cue.write_all(own_chords, own_melody)
            chords.append(_transpose_chords(written[0], shift))
            melody.append(_moved(written[1], first, shift, grid.bars))
            accompaniment.append(_moved(written[2], first, shift, grid.bars))
        joined = [tk.normalise(np.concatenate(part)) for part in (melody, accompaniment)]
        return Piece(grid, key, np.concatenate(chords), *joined)


class _Cue:
    """One stretch of bars, written in the common key."""

    def __init__(
        self,
        models: dict[str, Stage],
        settings: Settings,
        grid: Plan,
        mode: int,
        first: int,
        bars: int,
        number: int,
        video: dict[str, NDArray[np.float32]],
        progress: Progress | None,
    ) -> None:
        from vmusprod.models.embeddings import STYLES, tempo_level
        from vmusprod.models.grammar import Frame
        from vmusprod.models.sampling import Sheet

        self.models, self.settings, self.number, self.video = models, settings, number, video
        quiet = int(MAX_SILENCE * grid.tempo * tk.STEPS_PER_BEAT / 60)
        self.frame = Frame(bars, mode, grid.pickup if first == 0 else 0, max(quiet, 4))
        free = np.zeros(bars, np.int64)
        self.sheet = Sheet(bars, tempo_level(grid.tempo), mode + 1, STYLES.index(STYLE), free, free)

        def report(stage: str, share: float) -> None:
            if progress is not None:
                progress(stage, (first + share * bars) / grid.bars)

        self.report = report

    def write_all(
        self, chords: NDArray[np.uint8] | None, melody: tk.Notes | None
    ) -> tuple[NDArray[np.uint8], tk.Notes, tk.Notes]:
        """Chords, melody and accompaniment; what is given stands for its stage."""
        bars = self.frame.bars
        if chords is None:
            chords = tk.decode_chords(self._write("chord"), bars)
        if melody is None:
            source = tk.encode(bars, chords=chords)
            melody = tk.normalise(tk.decode_notes(self._write("melody", source, chords)))
        source = tk.encode(bars, chords=chords, notes=melody)
        rest = self._write("accompaniment", source, chords, melody)
        return chords, melody, tk.normalise(tk.decode_notes(rest))

    def _write(
        self,
        stage: str,
        source: tk.Tokens | None = None,
        chords: NDArray[np.uint8] | None = None,
        melody: tk.Notes | None = None,
    ) -> tk.Tokens:
        from vmusprod.models.config import STAGES
        from vmusprod.models.grammar import Grammar
        from vmusprod.models.sampling import Source, Writer, video_states

        model = self.models[stage]
        encoded = seen = None
        if source is not None and chords is not None:
            encoded = Source(model, source, chords, self.sheet)
        else:
            seen = video_states(model, self.video)
        writer = Writer(model, self.sheet, Grammar(stage, self.frame, melody), encoded, seen)
        rng = np.random.default_rng([self.settings.seed, self.number, STAGES.index(stage)])
        return writer.write(
            dice(stage, self.settings), rng, lambda share: self.report(stage, share)
        )


def _choose_key(features: VideoFeatures, seed: int) -> tuple[int, int]:
    """A tonic and a mode by the dice, others for another video; two pieces in five are in minor."""
    rng = np.random.default_rng([seed, zlib.crc32(features.motion.tobytes())])
    return int(rng.integers(12)), int(rng.random() < 0.4)


def _from_common_key(key: tuple[int, int]) -> int:
    """Semitones from C major or A minor to the key, -6..5."""
    return (key[0] - (9 if key[1] else 0) + 6) % 12 - 6


def dice(stage: str, settings: Settings) -> dict[str, Dice]:
    """Temperature and nucleus by attribute; the user's temperature scales them all."""
    from vmusprod.models.sampling import Dice

    warmth = {"type": 1.0, "barbeat": 1.0, "pitch": 1.0, "duration": 0.9, "velocity": 0.9}
    if stage == "chord":
        warmth = {"type": 1.0, "barbeat": 1.0, "root": 1.1, "quality": 1.0}
    return {name: Dice(t * settings.temperature, settings.top_p) for name, t in warmth.items()}


def video_rows(features: VideoFeatures, start: float, end: float) -> dict[str, NDArray[np.float32]]:
    """The rows a second, (S, size), of each source at hand from `start` to `end` seconds.

    Motion is the mean of the second's steps, beside it whether a cut falls into the second.
    """
    steps = np.pad(features.motion, (0, -len(features.motion) % 5), mode="edge")
    motion = np.stack([steps.reshape(-1, 5).mean(1)] * 2, 1).astype(np.float32)
    cut = np.bincount(features.cuts.astype(np.int64), minlength=len(motion))[: len(motion)]
    motion[:, 1] = cut > 0
    sources = {
        "motion": motion,
        "color": features.color,
        "affect": features.affect,
        "semantic": features.semantic,
    }
    here = {name: rows for name, rows in sources.items() if rows is not None}
    # MIDI's tempo is in whole microseconds, so that the last bar may end a hair after the video.
    first = min(int(start), min(map(len, here.values())) - 1)
    last = min(max(int(np.ceil(end)), first + 1), min(map(len, here.values())))
    return {
        name: np.asarray(rows[first:last], np.float32).reshape(last - first, -1)
        for name, rows in here.items()
    }


def cues(bars: int) -> list[tuple[int, int]]:
    """(first bar, bars) of the cues of a piece: near equal, each beginning at a multiple of 8."""
    count = max(round(bars / CUE_BARS), 1)
    edges = [round(bars * i / count / 8) * 8 for i in range(count)] + [bars]
    return [(a, b - a) for a, b in itertools.pairwise(edges)]


def _transpose_chords(chords: NDArray[np.uint8], shift: int) -> NDArray[np.uint8]:
    ids = chords.astype(np.int64)
    moved = (ids // 10 + shift) % 12 * 10 + ids % 10
    return np.where(ids >= tk.NO_CHORD, tk.NO_CHORD, moved).astype(np.uint8)


def _moved(notes: tk.Notes, bars: int, semitones: int, length: int) -> tk.Notes:
    """Notes moved in time and pitch; those that leave the `length` bars or 0..127 fall away."""
    moved = notes + np.array([bars * tk.STEPS_PER_BAR, 0, semitones, 0], np.int32)
    inside = (moved[:, 0] >= 0) & (moved[:, 0] < length * tk.STEPS_PER_BAR)
    return tk.normalise(moved[inside & (moved[:, 2] >= 0) & (moved[:, 2] <= 127)])
