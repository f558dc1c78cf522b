"""Basic Pitch (Bittner et al., ICASSP 2022) on onnxruntime alone.

Its own package imports librosa, resampy and pretty_midi, and asks for an old tensorflow; the model
in its wheel needs none of them. The notes are read from the activations as there, but for its last
step, which adds notes without an onset: a piano has none.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.audio.decode import Sound, windows
from vmusprod.dataset.audio.velocity import Levels, velocities
from vmusprod.errors import MissingDependencyError
from vmusprod.music.score import TimedNotes

__all__ = ["load_model", "note_events", "transcribe"]

Activations = NDArray[np.float32]

RATE = 22050
_HOP = 256
_WINDOW = 43844  # samples the network hears at once
_EDGE = 15  # frames at either end of it that are left out
_KEPT = 142  # frames that stay
_CORE, _MARGIN = 60 * RATE, 10 * RATE
_LOWEST = 21

_ONSET, _FRAME = 0.5, 0.3
_SHORTEST = 5  # frames (58 ms); the package's 11 lose a piano's short notes
_PATIENCE = 11  # frames below the threshold that end a note


def load_model() -> Any:
    """Return the network as a session of onnxruntime. Raises MissingDependencyError."""
    try:
        runtime = importlib.import_module("onnxruntime")
        # Not imported: that would log a line for each backend it does not find.
        spec = importlib.util.find_spec("basic_pitch")
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("no basic_pitch")
        folder = Path(next(iter(spec.submodule_search_locations)))
        model = folder / "saved_models" / "icassp_2022" / "nmp.onnx"
        if not model.is_file():
            raise ImportError(f"no {model}")
    except ImportError as error:
        raise MissingDependencyError(
            "the transcriber basic-pitch is missing: pip install --no-deps basic-pitch && pip "
            "install onnxruntime"
        ) from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def transcribe(sound: Sound, tell: Callable[[float], None]) -> TimedNotes:
    """All notes of a piece; `tell` is told the fraction done."""
    session = load_model()
    parts = []
    for window in windows(sound, RATE, _CORE, _MARGIN):
        times, frames, onsets = _activations(session, window.samples)
        start, stop, key = note_events(frames, onsets)
        onset, offset = times[start], times[stop]
        pitch = (key + _LOWEST).astype(np.uint8)
        velocity = velocities(Levels(window.samples, RATE), onset, pitch)
        begin = window.start / RATE
        notes = TimedNotes(begin + onset, begin + offset, pitch, velocity)
        first, last = window.first / RATE, window.last / RATE
        own = (notes.onset >= first) & (notes.onset < last) & (notes.offset > notes.onset)
        parts.append(notes.select(own))
        tell(min(1.0, last / sound.seconds))
    return TimedNotes.merge(parts)


def _activations(
    session: Any, samples: NDArray[np.float32]
) -> tuple[NDArray[np.float64], Activations, Activations]:
    """Times (frames,) in seconds, and activations (frames, 88) of sounding and of starting."""
    step = _WINDOW - 2 * _EDGE * _HOP
    lead = _EDGE * _HOP
    count = max(1, -(-len(samples) // step))
    padded = np.pad(samples, (lead, count * step + _WINDOW))
    times, frames, onsets = [], [], []
    names = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]
    for number in range(count):
        heard = padded[number * step : number * step + _WINDOW]
        note, onset = session.run(names, {"serving_default_input_2:0": heard[None, :, None]})
        kept = slice(_EDGE, _EDGE + _KEPT)
        frames.append(note[0, kept])
        onsets.append(onset[0, kept])
        times.append((number * step - lead + np.arange(_EDGE, _EDGE + _KEPT) * _HOP) / RATE)
    return np.maximum(np.concatenate(times), 0.0), np.concatenate(frames), np.concatenate(onsets)


def note_events(
    frames: Activations, onsets: Activations
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Read first frames, last frames and keys (N,) of notes from the activations (frames, 88).

    A note starts where the onset activation has a peak of 0.5, and ends where the other stays below
    0.3 for 11 frames. From the last note to the first each takes its frames, and those of the keys
    beside it, away from earlier ones.
    """
    onsets = _with_rises(onsets, frames)
    # A sound may begin with its first note.
    around = np.pad(onsets, ((1, 1), (0, 0)))
    peak = (onsets > around[:-2]) & (onsets > around[2:])
    rest = frames.copy()
    length = len(frames)
    notes = []
    for start, key in np.argwhere(peak & (onsets >= _ONSET))[::-1].tolist():
        quiet = rest[start + 1 : length - 1, key] < _FRAME
        stop = start + 1 + _first_run(quiet, _PATIENCE)
        if stop - start <= _SHORTEST:
            continue
        rest[start:stop, max(0, key - 1) : key + 2] = 0
        notes.append((start, stop, key))
    table = np.array(sorted(notes), np.intp).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _first_run(flags: NDArray[np.bool_], length: int) -> int:
    """Where the first `length` trues in a row begin; else where the trues at the end do."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start >= length or stop == len(flags):
            return int(start)
    return len(flags)


def _with_rises(onsets: Activations, frames: Activations) -> Activations:
    """The onsets, or the rise of the other activation over two frames where that is greater."""
    rise = np.zeros_like(frames)
    if len(frames) > 2:
        rise[2:] = np.minimum(frames[2:] - frames[1:-1], frames[2:] - frames[:-2])
    rise = np.maximum(rise, 0)
    highest = float(rise.max(initial=0.0))
    if highest > 0:
        rise *= float(onsets.max()) / highest
    return np.maximum(onsets, rise)
