"""Where a song's beats are: in its file, in what was heard, or in the notes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.sources import Source
from vmusprod.dataset.pop909 import own_downbeats
from vmusprod.errors import VmusError
from vmusprod.music.beats import fit_grid
from vmusprod.music.grid import concentration, grid_from_beats
from vmusprod.music.meter import (
    Meter,
    meter_of_beats,
    meter_of_file,
    meter_of_grid,
    sixteenth_shift,
)
from vmusprod.music.midi_file import MidiFile

__all__ = ["UnusableSongError", "find_meter"]

_USUAL_TEMPI = (20.0, 400.0)
_NO_BARS = ("1/4", "2/4")
_CLEARLY = 1.05  # other sixteenths than the file's beats must have so much more weight
# A file's own sixteenths are the song's from this concentration on (of notes that know nothing of
# them it is below 0.1), or where so many onsets lie within a tenth of one from sixteenths and
# triplets.
_FITS = 0.6
_TRUSTED = 0.85
_NEAR = 0.1
_PLACES = np.array([0.0, 1.0, 4 / 3, 2.0, 8 / 3, 3.0, 4.0])


class UnusableSongError(VmusError):
    """A song that can be read and not annotated as asked."""


def find_meter(source: Source, options: AnnotateOptions) -> tuple[Meter, str]:
    """The song's beats, and where they are from.

    `file`: its own ticks; `tracked`; `audio`: heard in a recording; `nominal`: its own ticks, as
    there are too few notes to track. Raises UnusableSongError where there are none.
    """
    if source.beats is not None and len(source.beats) >= 2 and options.beats != "track":
        return meter_of_beats(source.beats, source.notes), "audio"
    file = source.file
    if options.beats == "file" or options.chords == "published":
        nominal = options.chords == "published"
        meter = None
        if file is not None:
            meter = meter_of_file(file, quarters=nominal, shifted=not nominal)
        if meter is None:
            raise UnusableSongError("its own beats are too many to make sense")
        return meter, "file"
    if options.beats == "auto" and file is not None:
        meter = _trusted(file)
        if meter is not None:
            return meter, "file"
    grid = fit_grid(source.notes)
    if grid is not None:
        return meter_of_grid(grid, source.notes), "tracked"
    meter = meter_of_file(file) if file is not None else None
    if meter is None:
        raise UnusableSongError("too few notes to find beats in")
    return meter, "nominal"


def _trusted(file: MidiFile) -> Meter | None:
    """The file's own beats if the notes fall on its sixteenths, wherever those are as a whole.

    Beats are the one sixteenth in four that the longest notes begin on (right for 99.6 % of
    POP909's songs, whose files begin anywhere in a beat). If those are the file's own, and it says
    of a time signature with three beats or more, its bars are the song's; else the notes tell.
    """
    tick = file.ticks_per_quarter / 4
    position = np.asarray(file.start / tick, np.float64)
    follows = concentration(position) >= _FITS
    shift = sixteenth_shift(position) if follows else 0.0
    if not follows and _share_on(position) < _TRUSTED:
        return None
    meter = meter_of_file(file)
    if meter is None or not _USUAL_TEMPI[0] <= meter.tempo <= _USUAL_TEMPI[1]:
        return None
    line = np.floor(position - shift + 0.5).astype(np.int64)
    length = np.clip((file.stop - file.start) / tick, 0.25, 16.0)
    weight = np.bincount(line % 4, weights=length, minlength=4)
    phase = int(weight.argmax())
    if weight[phase] <= _CLEARLY * weight[0]:
        phase = 0
    if phase == 0 and file.signatures and meter.time_signature not in _NO_BARS:
        return meter
    times = meter.lines[phase::4]
    marks = np.column_stack([times, np.zeros(len(times)), np.zeros(len(times))])
    downbeats = own_downbeats(file.notes, marks)
    if downbeats is None:
        return meter if phase == 0 else None
    first, end = float(file.notes.onset[0]), float(file.notes.offset.max())
    return meter_of_grid(grid_from_beats(times, downbeats, first, end), file.notes)


def _share_on(position: NDArray[np.float64]) -> float:
    """Share of onsets (in sixteenths) near sixteenths or thirds of a beat; of any at all 0.3."""
    distance = np.abs(position % 4 - _PLACES[:, None]).min(axis=0)
    return float((distance < _NEAR).mean())
