"""Beats of a piece whose tempo drifts: the likeliest path of beats through its events.

Each event (a chord or a note) gets a strength, a linear score of what it is: how many notes, how
low, how long, whether the harmony changes with it, what lies a quarter, half and whole beat away.
Events of each class of strength fall on the places of a beat with known frequencies (POP909's). The
beats are those that make the events likeliest, where a change of the beat's length costs by its
square: a semi-Markov form of the bar pointer model (Whiteley et al. 2006), exact by dynamic
programming.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vmusprod.music.metre_weights import PLACES, STRENGTH_EDGES, STRENGTH_WEIGHTS
from vmusprod.music.pulse import group_events
from vmusprod.music.score import TimedNotes

__all__ = ["CLASSES", "PARTS", "StrengthModel", "event_features", "fitted_model", "track_beats"]

Array = NDArray[np.float64]

PARTS = 24  # places in a beat: 16ths and triplets both fall on them
CLASSES = 8  # of strength
_FRAMES = 32  # a beat, of the time axis
_SHORTEST, _LONGEST = 0.65, 1.5  # of the usual beat
_CHANGE_COST = 150.0  # a squared log ratio of neighbouring beats
_DISTANCE_COST = 1.0  # a squared log ratio to the usual beat
_FLOOR = 0.15  # of the events lie anywhere: ornaments, mistakes
_LOW_SHARE = 0.3  # of the notes, by pitch
_NEIGHBOUR = 9  # features that neighbours lend


@dataclass(frozen=True)
class StrengthModel:
    """How strong an event is, and where in a beat events of each strength fall.

    `weights` (F,) of `event_features`; `edges` (CLASSES - 1,) between the classes; `places`
    (CLASSES, PARTS): counts of events.
    """

    weights: Array
    edges: Array
    places: Array


def fitted_model() -> StrengthModel:
    """The model fitted to POP909 (`vmusprod.dataset.metre_fit`)."""
    return StrengthModel(
        np.asarray(STRENGTH_WEIGHTS), np.asarray(STRENGTH_EDGES), np.asarray(PLACES, np.float64)
    )


def event_features(notes: TimedNotes, beat: float) -> tuple[Array, Array]:
    """Times of the events and what they are, standardised over the piece: float64 (E,) and (E, F).

    `beat`: seconds a beat, roughly; durations and distances are measured in it.
    """
    group, time = group_events(notes.onset)
    size = len(time)
    low = notes.pitch <= np.quantile(notes.pitch, _LOW_SHARE)
    duration = np.minimum((notes.offset - notes.onset) / beat, 4.0)
    number = np.bincount(group, minlength=size).astype(np.float64)
    bass = np.bincount(group, weights=low, minlength=size)
    loudness = _most(group, notes.velocity.astype(np.float64), size)
    gap = np.log(np.clip(np.diff(time) / beat, 0.0, 2.0) + 0.1)
    columns = [
        np.sqrt(number),
        (bass > 0).astype(np.float64),
        np.sqrt(bass),
        -_most(group, -notes.pitch.astype(np.float64), size),
        _most(group, notes.pitch.astype(np.float64), size),
        _most(group, duration, size),
        _most(group, np.where(low, duration, 0.0), size),
        loudness - np.convolve(np.pad(loudness, 8, mode="edge"), np.full(17, 1 / 17), "valid"),
        np.append(gap, 0.1),
        np.insert(gap, 0, 0.1),
    ]
    for part in (np.ones(len(group), bool), low):
        total = np.zeros((size + 1, 12))
        held = np.minimum(duration[part], 2.0)
        np.add.at(total, (group[part] + 1, notes.pitch[part] % 12), held)
        total = np.cumsum(total, axis=0)
        columns += [_change(time, total, span * beat) for span in (1, 2, 4)]
    table = np.column_stack(columns)
    table = (table - table.mean(axis=0)) / (table.std(axis=0) + 1e-9)
    blocks = [table, np.maximum(table, 0.5)]
    for distance in (0.25, 0.5, 1.0):
        for sign in (-1, 1):
            aim = time + sign * distance * beat
            at = np.clip(np.searchsorted(time, aim - 0.06), 0, size - 1)
            hit = (np.abs(time[at] - aim) < 0.06)[:, None]
            blocks += [np.where(hit, table[at, :_NEIGHBOUR], 0.0), hit]
    return time, np.column_stack([*blocks, np.ones(size)])


def _most(group: NDArray[np.intp], value: Array, size: int) -> Array:
    result = np.full(size, -np.inf)
    np.maximum.at(result, group, value)
    return result


def _change(time: Array, total: Array, span: float) -> Array:
    """1 - cosine between the pitch classes struck in `span` seconds before and after each event."""
    index = np.arange(len(time))
    behind = total[index] - total[np.searchsorted(time, time - span - 0.02)]
    ahead = total[np.searchsorted(time, time + span - 0.02)] - total[index]
    norm = np.linalg.norm(behind, axis=1) * np.linalg.norm(ahead, axis=1)
    cosine = (behind * ahead).sum(axis=1) / np.maximum(norm, 1e-9)
    result: Array = np.where(norm > 0, 1 - cosine, 0.5)
    return result


def _evidence(places: Array) -> Array:
    """Log of how much likelier than chance each class is at each place: (CLASSES, PARTS)."""
    share = places / places.sum(axis=1, keepdims=True)
    blur = np.exp(-0.5 * np.arange(-4, 5) ** 2)
    blur /= blur.sum()  # players miss a place by about a 24th of a beat
    spread = np.zeros_like(share)
    for shift, weight in zip(range(-4, 5), blur, strict=True):
        spread += weight * np.roll(share, shift, axis=1)
    result: Array = np.log(((1 - _FLOOR) * spread + _FLOOR / PARTS) * PARTS)
    return result


def track_beats(notes: TimedNotes, beat: float, model: StrengthModel | None = None) -> Array:
    """Find the beats, from one before the first note to one behind the last: float64 (B,) s.

    `notes`: sorted, at least one. `beat`: the usual length of a beat in seconds; beats of 0.65 to
    1.5 times it are found.
    """
    model = model or fitted_model()
    time, features = event_features(notes, beat)
    strength = np.searchsorted(model.edges, features @ model.weights)
    frame = beat / _FRAMES
    lengths = np.arange(int(_FRAMES * _SHORTEST), int(_FRAMES * _LONGEST) + 1)
    longest = int(lengths[-1])
    start = float(time[0]) - 1.5 * beat
    size = int((time[-1] - start) / frame) + 2 * _FRAMES
    at = ((time - start) / frame + 0.5).astype(np.int64)
    gain = _gains(at, strength, size, lengths, _evidence(model.places))
    log_length = np.log(lengths / _FRAMES)
    gain -= (_DISTANCE_COST * log_length**2).astype(np.float32)
    change = -_CHANGE_COST * (log_length[:, None] - log_length) ** 2
    # best[t % longest, l]: the best path whose last beat ends at t and is l long; the first may
    # begin anywhere.
    best = np.zeros((longest, len(lengths)))
    back = np.zeros((size, len(lengths)), np.int8)
    index = np.arange(len(lengths))
    for t in range(longest, size):
        options = best[(t - lengths) % longest] + change
        choice = np.argmax(options, axis=1)
        back[t] = choice
        best[t % longest] = options[index, choice] + gain[t]
    # The last beat ends within a longest beat of the end of time.
    ends = np.arange(size - longest, size)
    scores = best[ends % longest]
    place, k = np.unravel_index(int(np.argmax(scores)), scores.shape)
    t = int(ends[place])
    path = [t]
    while t >= longest:
        t, k = t - int(lengths[k]), back[t, k]
        path.append(t)
    return start + frame * np.array(path[::-1])


def _gains(
    at: NDArray[np.int64],
    strength: NDArray[np.intp],
    size: int,
    lengths: NDArray[np.int64],
    evidence: Array,
) -> NDArray[np.float32]:
    """Sum the evidence of events in beats that end at frame t: float32 (size, lengths).

    `at`, `strength` (E,): frame and class of each event.
    """
    gain = np.zeros((size, len(lengths)), np.float32)
    for k, length in enumerate(lengths.tolist()):
        place = np.arange(length) / length * PARTS
        left = place.astype(np.int64)
        part = place - left
        kernel = evidence[:, left] * (1 - part) + evidence[:, (left + 1) % PARTS] * part
        # An event i frames into a beat lies in the beat that ends length - i frames later.
        ends = at[:, None] + np.arange(length, 0, -1)
        gain[:, k] = np.bincount(ends.ravel(), kernel[strength].ravel(), minlength=size)[:size]
    return gain
