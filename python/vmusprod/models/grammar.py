"""What may come next: the rules a stream keeps however the dice fall.

They keep a stream well-formed (places move on, chords stand where chords may, notes of an onset rise) and
close the piece: a cadence before the last bar, the tonic in it, notes that ring to the end.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

Mask = NDArray[np.bool_]

TONIC = ((0, 0), (9, 1))
"""Root and quality of the closing chord in C major and A minor."""
_CADENCE = (
    {(5, 0), (5, 3), (7, 0), (7, 2), (7, 9), (2, 1), (2, 4)},
    {(4, 0), (4, 2), (7, 0), (7, 2), (2, 1), (2, 4), (5, 0), (5, 3)},
)
BASS_CEILING = 52
MIN_CLOSING_NOTES = 3


@dataclass(frozen=True)
class Frame:
    """What a piece is written into. first_step: 16ths of bar 0 that lie before the video's start;
    closing: the 16th at which the last chord falls; silence: most 16ths that may pass without a note."""

    bars: int
    mode: int
    first_step: int = 0
    silence: int = 16

    @property
    def closing(self) -> int:
        """The last bar's downbeat; in a piece of one or two bars, its middle."""
        last = (self.bars - 1) * tk.STEPS_PER_BAR
        return last if self.bars >= 3 else last + tk.STEPS_PER_BAR // 2

    @property
    def steps(self) -> int:
        """Length in 16ths."""
        return self.bars * tk.STEPS_PER_BAR


@dataclass
class Grammar:
    """Follows a stream as it grows; `types`, `mask` say what may come next.

    melody: the finished melody's notes, for the accompaniment, which must not strike the same key at the
    same time and must sound where the melody rests too long.
    """

    stage: str
    frame: Frame
    melody: tk.Notes | None = None
    bar: int = -1
    step: int = 0
    last: NDArray[np.int64] = field(default_factory=lambda: np.zeros(7, np.int64))
    closed: bool = False
    closing_notes: int = 0

    def __post_init__(self) -> None:
        self.sounding = np.zeros(self.frame.steps + 1, bool)
        self.struck: set[tuple[int, int]] = set()
        for onset, duration, pitch, _ in () if self.melody is None else self.melody:
            self.sounding[max(onset, 0) : onset + duration] = True
            self.struck.add((int(onset), int(pitch)))

    @property
    def place(self) -> int:
        """The current 16th, counted from bar 0."""
        return self.bar * tk.STEPS_PER_BAR + self.step

    def accept(self, token: NDArray[np.int64]) -> None:
        """Moves on past a token."""
        barbeat = int(token[tk.BARBEAT])
        if barbeat == 1:
            self.bar, self.step = self.bar + 1, 0
        elif barbeat > 1:
            self.step = barbeat - 2
        if token[tk.TYPE] == tk.NOTE:
            self.sounding[self.place : self.place + int(token[tk.DURATION])] = True
        content = token[tk.TYPE] in (tk.NOTE, tk.CHORD)
        if content and self.place == self.frame.closing:
            self.closing_notes += 1
            enough = MIN_CLOSING_NOTES if self.stage == "accompaniment" else 1
            self.closed = self.closing_notes >= enough
        self.last = token

    def types(self) -> Mask:
        """Allowed types, (4,)."""
        allowed = np.zeros(4, bool)
        kind, barbeat = int(self.last[tk.TYPE]), int(self.last[tk.BARBEAT])
        if self.bar < 0:
            allowed[tk.RHYTHM] = True
        elif self.stage == "chord":
            allowed[tk.CHORD] = kind == tk.RHYTHM
            allowed[tk.RHYTHM] = kind == tk.CHORD and self.barbeats().any()
        elif kind == tk.RHYTHM and barbeat > 1:
            allowed[tk.NOTE] = True
        else:
            allowed[tk.RHYTHM] = self.barbeats().any()
            chordal = self.stage == "accompaniment" and kind == tk.NOTE
            allowed[tk.NOTE] = chordal and self.pitches().any()
        if not allowed.any() or self.finished:
            allowed[:] = False
            allowed[tk.END] = True
        return allowed

    @property
    def finished(self) -> bool:
        """Nothing but the end may follow."""
        if self.bar < self.frame.bars - 1 or not self.closed:
            return False
        chordal = self.stage == "accompaniment" and self.closing_notes < 6
        return not (chordal and self.pitches().any())

    def barbeats(self) -> Mask:
        """Allowed BARBEAT values, (18,)."""
        allowed = np.zeros(tk.SIZES[tk.BARBEAT], bool)
        if self.bar < 0:
            allowed[1] = True
            return allowed
        final = self.bar == self.frame.bars - 1
        start = self.bar * tk.STEPS_PER_BAR
        opened = self.last[tk.BARBEAT] == 1
        first = 0 if opened and self.stage != "chord" else self.step + 1
        if self.bar == 0:
            first = max(first, self.frame.first_step)
        stop = tk.STEPS_PER_BAR
        if final:
            stop = self.frame.closing - start + 1
        elif self.stage == "accompaniment":
            stop = min(stop, self._latest_onset() - start + 1)
        allowed[2 + first : 2 + max(stop, first)] = True
        if self.stage == "chord":
            on_beat = np.zeros_like(allowed)
            on_beat[2 :: tk.STEPS_PER_BEAT] = True
            allowed &= on_beat
            if final and start == self.frame.closing:
                allowed[:] = False
        late = self.stage == "accompaniment" and self._latest_onset() < start + tk.STEPS_PER_BAR
        allowed[1] = not final and not late
        if not allowed.any() and not final:
            allowed[1] = True
        return allowed

    def _latest_onset(self) -> int:
        """The last 16th at which the next note may come without too long a silence before it."""
        quiet = 0
        for k in range(max(self.place, self.frame.first_step), self.frame.steps):
            quiet = 0 if self.sounding[k] else quiet + 1
            if quiet > self.frame.silence:
                return k
        return self.frame.steps

    def pitches(self) -> Mask:
        """Allowed PITCH values, (129,)."""
        allowed = np.zeros(tk.SIZES[tk.PITCH], bool)
        allowed[1 + 21 : 1 + 109] = True
        if self.last[tk.TYPE] == tk.NOTE:
            allowed[: self.last[tk.PITCH] + 1] = False
        if self.place == self.frame.closing:
            root, quality = TONIC[self.frame.mode]
            tones = tk.CHROMA[root + 1, quality + 1] > 0
            allowed[1:] &= tones[np.arange(128) % 12]
            if self.stage == "accompaniment" and self.closing_notes == 0:
                allowed[1:] &= np.arange(128) % 12 == root
                allowed[1 + BASS_CEILING :] = False
        for onset, pitch in self.struck:
            if onset == self.place:
                allowed[1 + pitch] = False
        return allowed

    def mask(self, attribute: int, chosen: dict[int, int]) -> Mask | None:
        """Allowed values of an attribute given those chosen before it; None: all but 0."""
        if attribute == tk.BARBEAT:
            return self.barbeats()
        if attribute == tk.PITCH:
            return self.pitches()
        if attribute == tk.DURATION:
            return self._durations()
        if attribute in (tk.ROOT, tk.QUALITY):
            return self._chord(attribute, chosen)
        return None

    def _durations(self) -> Mask:
        allowed = np.zeros(tk.SIZES[tk.DURATION], bool)
        left = min(self.frame.steps - self.place, tk.MAX_DURATION)
        allowed[left if self.place == self.frame.closing else 1 : left + 1] = True
        return allowed

    def _chord(self, attribute: int, chosen: dict[int, int]) -> Mask | None:
        if self.place >= self.frame.closing:
            pairs = {TONIC[self.frame.mode]}
        elif self.frame.bars >= 3 and self.bar == self.frame.bars - 2:
            pairs = _CADENCE[self.frame.mode]
        else:
            return None
        allowed = np.zeros(tk.SIZES[attribute], bool)
        for root, quality in pairs:
            if attribute == tk.ROOT:
                allowed[root + 1] = True
            elif root + 1 == chosen[tk.ROOT]:
                allowed[quality + 1] = True
        return allowed
