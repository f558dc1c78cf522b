"""The beats that a MIDI file states itself: its ticks, tempo map and time signatures.

`midi_beats` takes them as plain arrays, `read_midi_beats` from a file. Whether they mean anything
is `music.find_grid`'s to say: SymMV's files state 120 bpm throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vmusprod.errors import InputError

__all__ = ["MAX_QUARTERS", "MidiBeats", "Signature", "midi_beats", "read_midi_beats"]

MAX_QUARTERS = 200_000  # ten hours at over 300 a minute
_DEFAULT_MSPQ = 500_000
Signature = tuple[int, int]


@dataclass(frozen=True)
class MidiBeats:
    """Where a file's quarter notes and bars lie.

    `times` float64 (Q,) s of successive quarter notes from tick 0, Q >= 2; `bars` float64 (B,): the
    bars' beginnings in quarter notes, increasing; `signatures`: (numerator, denominator) of each
    bar. `is_stated`: whether the file has a time signature; where it has none, bars are 4/4.
    """

    times: NDArray[np.float64]
    bars: NDArray[np.float64]
    signatures: list[Signature]
    is_stated: bool

    def quarters(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """Quarter notes since tick 0 at times, at the outer tempi outside the file."""
        index = np.arange(len(self.times), dtype=np.float64)
        inside = np.interp(seconds, self.times, index)
        first, last = self.times[1] - self.times[0], self.times[-1] - self.times[-2]
        before = np.minimum(seconds - self.times[0], 0.0) / first
        after = np.maximum(seconds - self.times[-1], 0.0) / last
        result: NDArray[np.float64] = inside + before + after
        return result


def midi_beats(
    ticks_per_quarter: int,
    tempos: ArrayLike,
    signatures: Sequence[tuple[int, int, int]],
    last_tick: int,
) -> MidiBeats | None:
    """Beats of a tempo map.

    Parameters
    ----------
    ticks_per_quarter : int
    tempos : integers (T, 2)
        Tick, microseconds a quarter note; before the first, and where there is none, 120 bpm.
    signatures : (tick, numerator, denominator)
        Each begins a bar. Those of no beats or of denominators that are no power of two up to 64
        are passed over.
    last_tick : int
        Of the notes.

    Returns
    -------
    MidiBeats or None
        None where the numbers make no clock: no ticks, a tempo of 0, over 200,000 quarter notes.
    """
    count = last_tick // ticks_per_quarter + 2 if ticks_per_quarter > 0 else MAX_QUARTERS + 1
    table = np.asarray(tempos, dtype=np.int64).reshape(-1, 2)
    if not 2 <= count <= MAX_QUARTERS or (table[:, 1] <= 0).any() or (table[:, 0] < 0).any():
        return None
    table = table[np.argsort(table[:, 0], kind="stable")]
    tick = np.concatenate([[0], table[:, 0]])
    rate = np.concatenate([[_DEFAULT_MSPQ], table[:, 1]]) / (1e6 * ticks_per_quarter)
    last = np.append(np.diff(tick) > 0, True)  # of changes at one tick the last one holds
    tick, rate = tick[last], rate[last]
    start = np.concatenate([[0.0], np.cumsum(np.diff(tick) * rate[:-1])])
    quarter = np.arange(count, dtype=np.int64) * ticks_per_quarter
    at = np.searchsorted(tick, quarter, side="right") - 1
    times = start[at] + (quarter - tick[at]) * rate[at]
    if not (np.diff(times) > 0).all():
        return None
    known = [
        (max(tick, 0) / ticks_per_quarter, (int(numerator), int(denominator)))
        for tick, numerator, denominator in sorted(signatures, key=lambda item: item[0])
        if 1 <= numerator <= 64 and denominator in (1, 2, 4, 8, 16, 32, 64)
    ]
    bars, each = _bars(known, float(count))
    return MidiBeats(times, bars, each, bool(known))


def _bars(
    known: list[tuple[float, Signature]], end: float
) -> tuple[NDArray[np.float64], list[Signature]]:
    """Beginnings of the bars up to `end`, in quarter notes, and the signature of each."""
    if not known or known[0][0] > 0:
        known = [(0.0, (4, 4)), *known]
    bars, each = [], []
    for k, (start, signature) in enumerate(known):
        stop = min(known[k + 1][0] if k + 1 < len(known) else end, end)
        own = np.arange(start, stop - 1e-6, 4 * signature[0] / signature[1])
        bars.append(own)
        each += [signature] * len(own)
    return np.concatenate(bars), each


def read_midi_beats(path: str | PathLike[str]) -> MidiBeats | None:
    """Beats that a file states; None where it states none that make sense. Raises InputError."""
    from symusic import Score

    try:
        score: Any = Score.from_midi(Path(path).read_bytes())
        tempos = score.tempos.numpy()
        signatures = [(s.time, s.numerator, s.denominator) for s in score.time_signatures]
        notes = [track.notes.numpy() for track in score.tracks if len(track.notes)]
        ticks_per_quarter = int(score.ticks_per_quarter)
    except OSError as error:
        raise InputError(Path(path), error.strerror or str(error)) from error
    except Exception as error:  # symusic raises RuntimeError, ValueError, UnicodeDecodeError, ...
        raise InputError(Path(path), f"not a readable MIDI file ({error})") from error
    last = max((int((n["time"].astype(np.int64) + n["duration"]).max()) for n in notes), default=0)
    table = np.stack([tempos["time"], tempos["mspq"]], axis=1)
    return midi_beats(ticks_per_quarter, table, signatures, last)
