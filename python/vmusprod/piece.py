"""A finished piece and its MIDI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk
from vmusprod.music.pedal import pedal_events
from vmusprod.music.score import MidiTrack, midi_bytes

if TYPE_CHECKING:
    from vmusprod.compose import Plan

__all__ = ["Piece", "chord_notes"]


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
