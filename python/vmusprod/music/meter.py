"""A piece's sixteenths in seconds from its very beginning, its beats, and their places in bars.

`Grid` keeps whole bars of one length, for the models; an annotation tells of the whole piece, of
upbeats, odd bars and changes of metre too. Beats come from a grid that was tracked, from times
that are known, or from the file's own ticks and time signatures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.grid import Grid, median_step
from vmusprod.music.midi_file import MidiFile
from vmusprod.music.score import TimedNotes

__all__ = [
    "MAX_LINES",
    "Meter",
    "meter_of_beats",
    "meter_of_file",
    "meter_of_grid",
    "sixteenth_shift",
]

MAX_LINES = 1 << 20
_FOLLOWED = 0.6  # concentration from which onsets follow a grid at all
_AT_ONCE = 0.02  # seconds: a beat this little after 0 is one at 0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Meter:
    """Sixteenths, beats and bars.

    Attributes
    ----------
    lines : float64 (K,)
        Seconds of successive sixteenths, increasing, from time 0 (up to three of them before it)
        to the end of the bar in which the last note ends.
    beats : int32 (B + 1,)
        The line of each beat, the first at line 0, and the line where the last one ends.
    places : uint8 (B,)
        Place of each beat in its bar, from 1.
    time_signature : str
        Of most of the piece.
    """

    lines: Array
    beats: NDArray[np.int32]
    places: NDArray[np.uint8]
    time_signature: str

    @property
    def tempo(self) -> float:
        """Quarter notes a minute, by the median sixteenth."""
        return 15.0 / median_step(self.lines)


def meter_of_grid(grid: Grid, notes: TimedNotes) -> Meter:
    """The meter of a grid, from time 0 to the end of the notes, at least one.

    What lies between the grid's bars, beats of bars with an odd length, is taken as short bars.
    """
    size = grid.beats_a_bar
    bar = 4 * size
    starts = grid.kept[::bar]
    beats = [(starts[:, None] + 4 * np.arange(size)).ravel()]
    places = [np.tile(np.arange(1, size + 1), len(starts))]
    for k in np.flatnonzero(np.diff(starts) > bar).tolist():
        odd = np.arange(starts[k] + bar, starts[k + 1] - 1, 4)
        beats.append(odd)
        places.append(np.arange(len(odd)) % size + 1)
    beat, place = np.concatenate(beats), np.concatenate(places)
    if len(beats) > 1:
        order = np.argsort(beat)
        beat, place = beat[order], place[order]
    stop = int(starts[-1]) + bar
    return _whole(grid.times, beat, place, stop, size, notes, f"{size}/4")


def meter_of_beats(beats: Array, notes: TimedNotes) -> Meter:
    """The meter of known beats, from time 0 to the end of the notes, at least one.

    `beats`: float64 (B, 2), seconds, increasing, and place in the bar from 1; B at least 2.
    """
    count = len(beats)
    times = np.interp(np.arange(4 * count - 3) / 4, np.arange(count), beats[:, 0])
    place = np.clip(beats[:-1, 1], 1, 255).astype(np.intp)
    lengths = np.diff(np.flatnonzero(place == 1))
    size = int(np.bincount(lengths).argmax()) if len(lengths) else 4
    index = 4 * np.arange(count - 1)
    return _whole(times, index, place, 4 * (count - 1), size, notes, f"{size}/4")


def _whole(
    times: Array,
    beat: NDArray[np.intp],
    place: NDArray[np.intp],
    stop: int,
    size: int,
    notes: TimedNotes,
    signature: str,
) -> Meter:
    """Continue beats (indices of `times`; the last ends at `stop`) at their tempo both ways.

    The last bar is the one in which the last note ends.
    """
    low = int(beat[0])
    span = min(4 * size, len(times) - 1)
    head = float(times[min(low + span, len(times) - 1)] - times[min(low, len(times) - 1 - span)])
    head /= span
    missing = int(np.ceil(max(0.0, float(times[0])) / head - 1e-9))
    before = low + missing + -(low + missing) % 4
    added = before - low
    tail = float(times[-1] - times[-1 - span]) / span
    end = _needed(notes, tail)
    if stop < len(times) and end <= times[stop]:
        last = stop
    elif end <= times[-1]:
        last = int(np.searchsorted(times, end))
    else:
        last = len(times) - 1 + int(np.ceil((end - float(times[-1])) / tail))
    last = stop + -(-max(0, last - stop) // (4 * size)) * 4 * size
    extra = max(0, last + 1 - len(times))
    lines = np.concatenate(
        [
            times[0] - head * np.arange(added, 0, -1),
            times[: last + 1],
            times[-1] + tail * np.arange(1, extra + 1),
        ]
    )
    leading, following = np.arange(-(before // 4), 0), np.arange((last - stop) // 4)
    beat = np.concatenate([low + 4 * leading, beat, stop + 4 * following, [last]]) + added
    place = np.concatenate([(leading + place[0] - 1) % size + 1, place, following % size + 1])
    bars = np.flatnonzero(place == 1)
    behind = bars[np.searchsorted(lines[beat[bars]], end) :]
    if len(behind):
        beat, place = beat[: behind[0] + 1], place[: behind[0]]
    return _from_zero(lines, beat, place, float(notes.onset[0]), signature)


def _needed(notes: TimedNotes, step: float) -> float:
    """Until when there must be sixteenths: the last onset may be moved, and lasts for one."""
    return max(float(notes.offset.max()), float(notes.onset[-1]) + 1.51 * step)


def _from_zero(
    lines: Array, beat: NDArray[np.intp], place: NDArray[np.intp], first: float, signature: str
) -> Meter:
    """Begin with the last beat before time 0, or the next one if that is nearer and no note is."""
    at = lines[beat]
    start = max(0, int(np.searchsorted(at, _AT_ONCE, side="right")) - 1)
    if start + 2 < len(at):
        step = float(at[start + 1] - at[start])
        if at[start + 1] < 0.5 * step and first > at[start + 1] + 0.5 * step:
            start += 1
    origin = beat[start]
    lines = lines[origin : beat[-1] + 1].copy()
    lines[0] = min(lines[0], 0.0) if lines[0] < -1e-9 else 0.0
    return Meter(
        lines,
        (beat[start:] - origin).astype(np.int32),
        place[start:].astype(np.uint8),
        signature,
    )


def meter_of_file(file: MidiFile, *, quarters: bool = False, shifted: bool = True) -> Meter | None:
    """The meter that a file's ticks and time signatures state; None for too many sixteenths.

    Beats are quarter notes, in compound metres (6/8, 9/16) three units, in 5/8 and 7/8 two and
    three. With `quarters` all beats are quarter notes: where a bar has no whole number of them
    it counts as 4/4. Time signatures that make no sense count as 4/4 too. With `shifted`, where
    the onsets lie beside the sixteenths, all of them equally, the sixteenths are moved to them
    (POP909's files are off by up to half of one).
    """
    tick = file.ticks_per_quarter / 4  # of a sixteenth
    shift = sixteenth_shift(np.asarray(file.start / tick, np.float64)) if shifted else 0.0
    # The last onset may be moved by half a sixteenth, and lasts for one.
    end = max(int(file.stop.max()) / tick, int(file.start[-1]) / tick + 1.51) - shift
    lines = int(np.ceil(end - 1e-9)) + 1
    if lines > MAX_LINES - 1024:
        return None
    beats: list[NDArray[np.intp]] = []
    places: list[NDArray[np.intp]] = []
    held: dict[str, int] = {}
    changes = _changes(file, quarters, tick)
    for k, (begin, name, lengths) in enumerate(changes):
        bar = sum(lengths)
        # The last bar is a whole one; one that another signature cuts short is not.
        last = begin + max(1, -(-(lines - 1 - begin) // bar)) * bar
        stop = changes[k + 1][0] if k + 1 < len(changes) else last
        bars = -(-(stop - begin) // bar)
        offset = np.cumsum([0, *lengths[:-1]])
        own = (begin + bar * np.arange(bars)[:, None] + offset).ravel()
        own = own[own < stop]
        beats.append(own)
        places.append(np.tile(np.arange(1, len(lengths) + 1), bars)[: len(own)])
        held[name] = held.get(name, 0) + stop - begin
    beat = np.append(np.concatenate(beats), last)
    seconds = file.clock.seconds((np.arange(last + 1, dtype=np.float64) + shift) * tick)
    if shift > 0:
        seconds[0] = 0.0
    return Meter(
        seconds,
        beat.astype(np.int32),
        np.concatenate(places).astype(np.uint8),
        max(held, key=lambda name: held[name]),
    )


def sixteenth_shift(position: Array) -> float:
    """By how much of a sixteenth onsets are late as a whole, -0.5..0.5; 0 if they follow none.

    `position`: float64 (N,), in sixteenths.
    """
    mean = complex(np.exp(2j * np.pi * position).mean())
    return float(np.angle(mean)) / (2 * np.pi) if abs(mean) >= _FOLLOWED else 0.0


def _changes(file: MidiFile, quarters: bool, tick: float) -> list[tuple[int, str, tuple[int, ...]]]:
    """First line, name and beats in sixteenths of each time signature up to the last note."""
    last = int(file.stop.max()) / tick
    found: list[tuple[int, str, tuple[int, ...]]] = [(0, "4/4", (4, 4, 4, 4))]
    for at, number, unit in file.signatures:
        line = int(at / tick + 0.5)
        lengths = _beats_of(number, unit, quarters)
        name = f"{number}/{unit}" if lengths else "4/4"
        if line >= last and line > 0:
            break
        if line == found[-1][0]:
            found.pop()
        if not found or name != found[-1][1]:
            found.append((line if found else 0, name, lengths or (4, 4, 4, 4)))
    return found


def _beats_of(number: int, unit: int, quarters: bool) -> tuple[int, ...]:
    """Sixteenths of each beat of a bar; empty where the signature makes no sense on sixteenths."""
    if not (1 <= number <= 64 and unit in (1, 2, 4, 8, 16, 32, 64)) or number * 16 % unit:
        return ()
    total = number * 16 // unit
    if total > 256:
        return ()
    if unit <= 4:
        return (4,) * (total // 4)
    if quarters:
        return ()
    if unit == 8 and number % 3 == 0:
        return (6,) * (number // 3)
    if unit == 16 and number % 3 == 0 and number > 3:
        return (3,) * (number // 3)
    if unit == 8 and number % 2 and number > 1:
        return (4,) * (number // 2 - 1) + (6,)
    rest = total % 4
    return (4,) * (total // 4) + ((rest,) if rest else ())
