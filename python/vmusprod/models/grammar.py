"""What may come next: the rules a stream keeps however the dice fall.

They keep a stream well-formed (places move on, chords stand where chords may, notes of an onset
rise), keep the piece from falling silent, and close it: a cadence before the last bar, the tonic in
it, notes that ring to the end.
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
MIN_CLOSING_NOTES, MAX_CLOSING_NOTES = 3, 4
"""Of the accompaniment's last chord."""
LOWEST_TUNE = 55
"""A melody below this pitch (the user's own, say) may have notes above it. Of SymMV's melodies 2 in
100 notes have; left to the dice alone, one piece in ten was a tune under its accompaniment."""


@dataclass(frozen=True)
class Frame:
    """What a piece is written into.

    bars: its length; mode: 0 C major, 1 A minor; first_step: 16ths of bar 0 that lie before the
    video's start, 0..15; silence: most 16ths that may pass without a note, at least 1.
    """

    bars: int
    mode: int
    first_step: int = 0
    silence: int = 16

    @property
    def closing(self) -> int:
        """The 16th of the last chord: the last bar's downbeat.

        In a piece of one or two bars it is that bar's middle, or the video's start if later.
        """
        last = (self.bars - 1) * tk.STEPS_PER_BAR
        return last if self.bars >= 3 else max(last + tk.STEPS_PER_BAR // 2, self.first_step)

    @property
    def steps(self) -> int:
        """Length in 16ths."""
        return self.bars * tk.STEPS_PER_BAR


@dataclass
class Grammar:
    """Follows a stream as it grows; `types`, `mask` say what may come next.

    melody: the finished melody's notes, for the accompaniment, which must stay below what sounds of
    it (unless no key is left) and must sound where it rests too long.
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
        self.struck: dict[int, list[int]] = {}
        self.ceiling = np.full(self.frame.steps + 1, 128)
        for onset, duration, pitch, _ in () if self.melody is None else self.melody.tolist():
            span = slice(max(onset, 0), max(onset + duration, 0))
            self.sounding[span] = True
            self.struck.setdefault(onset, []).append(pitch)
            if pitch >= LOWEST_TUNE:
                self.ceiling[span] = pitch

    @property
    def closing(self) -> int:
        """The 16th at which this stage closes; chords fall on beats."""
        place = self.frame.closing
        return place - place % tk.STEPS_PER_BEAT if self.stage == "chord" else place

    @property
    def place(self) -> int:
        """The current 16th, counted from bar 0."""
        return self.bar * tk.STEPS_PER_BAR + self.step

    def accept(self, token: NDArray[np.int64]) -> None:
        """Move on past a token."""
        barbeat = int(token[tk.BARBEAT])
        if barbeat == 1:
            self.bar, self.step = self.bar + 1, 0
        elif barbeat > 1:
            self.step = barbeat - 2
        if token[tk.TYPE] == tk.NOTE:
            self.sounding[self.place : self.place + int(token[tk.DURATION])] = True
        content = token[tk.TYPE] in (tk.NOTE, tk.CHORD)
        if content and self.place == self.closing:
            self.closing_notes += 1
            enough = MIN_CLOSING_NOTES if self.stage == "accompaniment" else 1
            self.closed = self.closing_notes >= enough
        self.last = token

    def types(self) -> Mask:
        """Return the allowed types, (4,)."""
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
        if self.finished:
            allowed[:] = False
        allowed[tk.END] = self.closed or not allowed.any()
        return allowed

    @property
    def finished(self) -> bool:
        """Nothing but the end may follow."""
        if not self.closed:
            return False
        chordal = self.stage == "accompaniment" and self.closing_notes < MAX_CLOSING_NOTES
        return not (chordal and self.pitches().any())

    def barbeats(self) -> Mask:
        """Return the allowed BARBEAT values, (18,)."""
        allowed = np.zeros(tk.SIZES[tk.BARBEAT], bool)
        if self.bar < 0:
            allowed[1] = True
            return allowed
        final = self.bar == self.frame.bars - 1
        start = self.bar * tk.STEPS_PER_BAR
        opened = self.last[tk.BARBEAT] == 1
        first = 0 if opened and self.stage != "chord" else self.step + 1
        if self.bar == 0:
            first = max(first, min(self.frame.first_step, self.closing))
        stop = self.closing - start + 1 if final else tk.STEPS_PER_BAR
        due = tk.STEPS_PER_BAR
        if self.stage == "accompaniment":
            due = self._latest_onset() - start
            stop = min(stop, due + 1)
        allowed[2 + first : 2 + max(stop, first)] = True
        if self.stage == "chord":
            on_beat = np.zeros_like(allowed)
            on_beat[2 :: tk.STEPS_PER_BEAT] = True
            allowed &= on_beat
        allowed[1] = not final and due >= tk.STEPS_PER_BAR
        return allowed

    def _latest_onset(self) -> int:
        """Return the last 16th at which a note may come without too long a silence before it.

        Looks no further than this bar: the next bar's first 16th if there is no haste.
        """
        frame = self.frame
        place = max(self.place, frame.first_step)
        since = max(place - frame.silence, frame.first_step)
        heard = np.flatnonzero(self.sounding[since:place])
        quiet = place - since - (int(heard[-1]) + 1 if len(heard) else 0)
        end = (self.bar + 1) * tk.STEPS_PER_BAR
        for k in range(place, end):
            if self.sounding[k]:
                quiet = 0
            elif quiet >= frame.silence:
                return k
            else:
                quiet += 1
        return end

    def pitches(self) -> Mask:
        """Return the allowed PITCH values, (129,)."""
        allowed = np.zeros(tk.SIZES[tk.PITCH], bool)
        allowed[1 + 21 : 1 + 109] = True
        if self.last[tk.TYPE] == tk.NOTE:
            allowed[: self.last[tk.PITCH] + 1] = False
        free = allowed.copy()
        free[[1 + pitch for pitch in self.struck.get(self.place, ())]] = False
        free[1 + self.ceiling[self.place] :] = False
        closing = self.place == self.closing
        if closing:
            allowed, free = self._closing_tones(allowed), self._closing_tones(free)
        # A melody given by the user may hold every key that would do: then one is shared.
        needed = self.last[tk.TYPE] != tk.NOTE or (closing and not self.closed)
        return free if free.any() or not needed else allowed

    def _closing_tones(self, allowed: Mask) -> Mask:
        """Return those of the pitches that close the piece and leave room for the notes above."""
        root, quality = TONIC[self.frame.mode]
        pitch_class = np.arange(128) % 12
        tones = allowed.copy()
        tones[1:] &= tk.CHROMA[root + 1, quality + 1, pitch_class] > 0
        if self.stage == "accompaniment":
            above = MIN_CLOSING_NOTES - self.closing_notes - 1
            if above > 0:
                tones[np.flatnonzero(tones)[-above:]] = False
            if self.closing_notes == 0:
                tones[1:] &= pitch_class == root
                tones[1 + BASS_CEILING :] = False
        return tones

    def mask(self, attribute: int, chosen: dict[int, int]) -> Mask | None:
        """Return the allowed values of an attribute given those chosen before; None: all but 0."""
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
        allowed[left if self.place == self.closing else 1 : left + 1] = True
        return allowed

    def _chord(self, attribute: int, chosen: dict[int, int]) -> Mask:
        if self.place >= self.closing:
            pairs = {TONIC[self.frame.mode]}
        elif self.frame.bars >= 3 and self.bar == self.frame.bars - 2:
            pairs = _CADENCE[self.frame.mode]
        else:
            allowed = np.ones(tk.SIZES[attribute], bool)
            allowed[[0, -1]] = False  # some chord always: nothing could be built on none
            return allowed
        allowed = np.zeros(tk.SIZES[attribute], bool)
        for root, quality in pairs:
            if attribute == tk.ROOT:
                allowed[root + 1] = True
            elif root + 1 == chosen[tk.ROOT]:
                allowed[quality + 1] = True
        return allowed
