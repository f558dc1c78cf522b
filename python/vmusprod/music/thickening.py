"""More notes in a bar: chords doubled where they are struck, broken where there is room.

What is added are tones of the chord that sounds, between the bass and the melody, where a hand is
already. Like thinning it goes by place and chord, so that a figure that is thickened in one bar is
thickened alike in the next.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk
from vmusprod.music.form import figure

__all__ = ["thicken"]

_LOW, _HIGH = 48, 81
"""Pitches that are added."""
_NEAREST = 3
_MUD = ((55, 7), (60, 4), (128, _NEAREST))
"""Under a pitch, least semitones to the notes that sound beside it."""
_REACH = 12
"""Semitones from an added note to another under the same hand."""
_FULL, _CHORD = 3, 5
"""Notes that the accompaniment strikes at once, before new places are struck, and at most."""
_SOFT = 0.88
"""Velocity of what is added, of the notes beside it."""
_EIGHTHS = np.array([0, 8, 4, 12, 6, 14, 2, 10])
"""Places of a bar, those first that bear another note best."""


def thicken(
    notes: tk.Notes, melody: tk.Notes, chords: NDArray[np.uint8], wanted: NDArray[np.floating]
) -> tk.Notes:
    """Grid notes (N, 4), sorted, with up to `wanted` (bars,) of them in each bar, as far as fits.

    melody: what is played above them; chords: one id a beat. Bars without notes stay so.
    """
    bar = notes[:, 0] // tk.STEPS_PER_BAR
    added: list[list[int]] = []
    seen: dict[tuple[bytes, bytes], list[list[int]]] = {}
    for number in np.unique(bar[bar < len(wanted)]).tolist():
        start = number * tk.STEPS_PER_BAR
        mine = notes[bar == number]
        lack = int(wanted[number]) - len(mine)
        if lack > 0:
            over = _Bar(start, mine, _sounding(notes, start), _sounding(melody, start), chords)
            harmony = chords[number * tk.BEATS_PER_BAR : (number + 1) * tk.BEATS_PER_BAR]
            heard = figure(mine, number), harmony.tobytes()
            more = over.fill(lack, seen.get(heard, []))
            seen[heard] = [[n[0] - start, *n[1:]] for n in more]
            added += more
    if not added:
        return notes
    return tk.normalise(np.concatenate([notes, np.array(added, np.int32)]))


def _sounding(notes: tk.Notes, start: int) -> tk.Notes:
    """Those that sound within the bar that begins at a 16th."""
    here = (notes[:, 0] < start + tk.STEPS_PER_BAR) & (notes[:, 0] + notes[:, 1] > start)
    return notes[here]


class _Bar:
    """One bar being filled: who sounds when."""

    def __init__(
        self, start: int, mine: tk.Notes, rest: tk.Notes, melody: tk.Notes,
        chords: NDArray[np.uint8],
    ) -> None:  # fmt: skip
        self.start = start
        self.mine: list[list[int]] = mine.tolist()
        self.rest: list[list[int]] = rest.tolist()
        self.melody: list[list[int]] = melody.tolist()
        self.chords = chords

    def fill(self, lack: int, before: list[list[int]]) -> list[list[int]]:
        """Add up to `lack` notes, one a place in turn; returns what was added.

        before: what was added to the same figure last time, from the bar's start; it comes first.
        """
        added: list[list[int]] = []
        for place, *what in before[:lack]:
            again = [self.start + place, *what]
            if self._fits(again):
                self._add(again, added)
        struck = {note[0] - self.start for note in self.mine}
        empty = [int(place) for place in _EIGHTHS if place not in struck]
        # What is struck is struck fuller, which leaves the rhythm alone; then chords are broken off
        # the beat; then both.
        by_weight = sorted(struck, key=_weight)
        rounds = [
            *[[p for p in by_weight if self._struck(p) < full] for full in range(2, _FULL + 1)],
            [p for p in empty if p > min(struck)],
            *[sorted(struck | set(empty[: 4 * i]), key=_weight) for i in range(3)],
        ]
        for places in rounds:
            for place in places:
                if len(added) >= lack:
                    return added
                note = self._note(self.start + place)
                if note is not None:
                    self._add(note, added)
        return added

    def _add(self, note: list[int], added: list[list[int]]) -> None:
        for notes in (added, self.mine, self.rest):
            notes.append(note)

    def _fits(self, note: list[int]) -> bool:
        """Whether a note stays clear of what sounds with it, and of the melody."""
        step, length, pitch, _ = note
        gap = next(least for under, least in _MUD if pitch < under)
        with_it = [n for n in self.rest if n[0] < step + length and step < n[0] + n[1]]
        over = [n for n in self.melody if n[0] < step + length and step < n[0] + n[1]]
        clear = all(abs(pitch - n[2]) >= (gap if n[0] <= step else _NEAREST) for n in with_it)
        return clear and all(n[2] - pitch >= _NEAREST for n in over)

    def _struck(self, place: int) -> int:
        return sum(n[0] == self.start + place for n in self.mine)

    def _note(self, step: int) -> list[int] | None:
        """The chord's tone that fits best at a 16th, if one does."""
        beat = min(step // tk.STEPS_PER_BEAT, len(self.chords) - 1)
        chord = int(self.chords[beat])
        if chord >= tk.NO_CHORD:
            return None
        here = [n for n in self.rest if n[0] <= step < n[0] + n[1]]
        together = [n for n in here if n[0] == step]
        above = [n[2] for n in self.melody if n[0] <= step < n[0] + n[1]]
        top = min([_HIGH, *(p - _NEAREST for p in above)])
        near = sorted(self.rest, key=lambda n: (abs(n[0] - step), -n[2]))[:4]
        if len(together) >= _CHORD or not near:
            return None
        bass = min(n[2] for n in [*here, *near])
        tones = tk.CHROMA[chord // 10 + 1, chord % 10 + 1]
        taken = [n[2] for n in here] + above
        best: tuple[float, int] | None = None
        last = near[0][2]
        for pitch in range(max(_LOW, bass + 7), top + 1):
            gap = next(least for under, least in _MUD if pitch < under)
            fits = tones[pitch % 12] and all(abs(pitch - p) >= gap for p in taken)
            hands = [n[2] for n in together or near] + above
            if not fits or min(abs(pitch - p) for p in hands) > _REACH:
                continue
            # A tone that is not there yet, about the middle, not the one struck before.
            doubled = any((pitch - p) % 12 == 0 for p in taken)
            cost = 3.0 * doubled + abs(pitch - 64) / 6 + 2.0 * (pitch == last)
            if best is None or cost < best[0]:
                best = cost, pitch
        if best is None:
            return None
        velocity = max(round(_SOFT * sum(n[3] for n in near) / len(near)), 1)
        return [step, self._length(step, together, best[1]), best[1], velocity]

    def _length(self, step: int, together: list[list[int]], pitch: int) -> int:
        """As long as what is struck with it, or to the next stroke.

        Not past the next chord, nor into a note too near, nor under a melody that comes down to it.
        """
        later = [n[0] for n in self.mine if n[0] > step]
        long = max((n[1] for n in together), default=min(later, default=step + 4) - step)
        end = min(step + long, self.start + tk.STEPS_PER_BAR)
        near = [n[0] for n in self.rest if n[0] > step and abs(n[2] - pitch) < _NEAREST]
        near += [n[0] for n in self.melody if n[0] > step and n[2] - pitch < _NEAREST]
        end = min([end, *near])
        chord = self.chords[min(step // tk.STEPS_PER_BEAT, len(self.chords) - 1)]
        for beat in range(step // tk.STEPS_PER_BEAT + 1, len(self.chords)):
            if beat * tk.STEPS_PER_BEAT >= end:
                break
            if self.chords[beat] != chord:
                end = beat * tk.STEPS_PER_BEAT
                break
        return max(end - step, 1)


def _weight(place: int) -> float:
    """Order in which places are struck fuller: strong ones first."""
    return float(np.flatnonzero(place == _EIGHTHS)[0]) if place % 2 == 0 else 8.0 + place
