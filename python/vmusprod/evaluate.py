"""How good is it: the paper's figures over folders of MIDI files, and a stage's held-out loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vmusprod.errors import InputError, VmusError
from vmusprod.music import metrics
from vmusprod.music.metrics import Metrics
from vmusprod.music.score import read_midi
from vmusprod.music.user_input import read_beat_notes

__all__ = ["Evaluation", "StageLoss", "evaluate_folder", "evaluate_stage", "measure"]

_MIDI_SUFFIXES = (".mid", ".midi")


@dataclass(frozen=True)
class Evaluation:
    """The mean figures of the `files` that could be read (None: of none), and what failed."""

    files: int
    mean: Metrics | None
    failed: tuple[VmusError, ...]

    def to_dict(self) -> dict[str, float | int | None]:
        """Return `files, sc, pe, pce, ebr, ioi`."""
        names = Metrics.__dataclass_fields__
        figures = dict.fromkeys(names) if self.mean is None else self.mean.to_dict()
        return {"files": self.files, **figures}


@dataclass(frozen=True)
class StageLoss:
    """Held-out loss of a stage over `tokens` tokens, beside that of an n-gram; nats a token."""

    stage: str
    tokens: int
    nats_per_token: float
    ngram_nats_per_token: float

    def to_dict(self) -> dict[str, str | int | float]:
        """Return the fields by name."""
        return asdict(self)


def measure(path: str | os.PathLike[str]) -> Metrics:
    """Return SC, PE, PCE, EBR and IOI of a MIDI file. Raises InputError as `read_midi` does."""
    onset = read_midi(path).onset
    notes = read_beat_notes(path)
    return Metrics(
        sc=metrics.scale_consistency(notes.pitch),
        pe=metrics.pitch_entropy(notes.pitch),
        pce=metrics.pitch_class_entropy(notes.pitch),
        ebr=metrics.empty_beat_rate(notes.start, notes.end),
        ioi=metrics.inter_onset_interval(onset),
    )


def evaluate_folder(
    folder: str | os.PathLike[str], progress: Callable[[float], None] | None = None
) -> Evaluation:
    """Return the mean figures, each file counting once, of all MIDI files below a folder.

    A single file is taken too. `progress` is told the fraction done, 0..1. Raises InputError when
    there is no such folder or no MIDI file in it; a file that cannot be read goes to `failed`.
    """
    rows: list[list[float]] = []
    failed: list[VmusError] = []
    paths = _midi_files(Path(folder))
    for number, path in enumerate(paths, 1):
        try:
            rows.append(list(measure(path).to_dict().values()))
        except VmusError as error:
            failed.append(error)
        if progress is not None:
            progress(number / len(paths))
    mean = Metrics(*np.mean(rows, axis=0).tolist()) if rows else None
    return Evaluation(len(rows), mean, tuple(failed))


def evaluate_stage(
    stage: str,
    pack: Path,
    weights: Path | None = None,
    device: str = "cpu",
    without: Sequence[str] = (),
) -> StageLoss:
    """Return the loss of a stage's weights over the songs of a pack that they were not trained on.

    `weights`: a stage's file, or the folder it lies in; None: the weights in the package. The
    n-gram (interpolated Kneser-Ney, order 5) is trained on the pack's other songs, if there are
    any, else on four fifths of the pack at a time, and reads the very same tokens. `without`: what
    the chord stage is not shown of the songs' videos. Raises InputError: no pack, no unseen song in
    it, unusable weights; VmusError for a device that is not there.
    """
    from vmusprod.dataset.pack import Pack, PackedSong, song_mark
    from vmusprod.devices import checked_device
    from vmusprod.models.config import SYSTEMS
    from vmusprod.models.weight_file import default_weights
    from vmusprod.models.weights import load_stage
    from vmusprod.training.data import StageData
    from vmusprod.training.ngram import ngram_loss
    from vmusprod.training.trainer import evaluate

    target = checked_device(device)
    place = default_weights() if weights is None else weights
    model, about = load_stage(place if place.is_file() else place / f"{stage}.safetensors", stage)
    trained_on = set(str(about.get("songs", "")).split())
    seen: list[PackedSong] = []
    unseen: list[PackedSong] = []
    for song in Pack(pack).songs("all"):
        (seen if song_mark(song.id) in trained_on else unseen).append(song)
    if not unseen:
        raise InputError(pack, "holds no song that the weights were not trained on")
    sources = tuple(name for name in model.config.sources if name not in without)
    system = str(about.get("system", SYSTEMS[0]))
    data = StageData(unseen, stage, sources, system=system)
    loss = evaluate(model.to(target), data, target)["nats_per_token"]
    return StageLoss(stage, data.tokens, loss, ngram_loss(seen, unseen, stage, system))


def _midi_files(folder: Path) -> Sequence[Path]:
    if folder.is_file():
        return [folder]
    if not folder.is_dir():
        raise InputError(folder, "no such folder")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _MIDI_SUFFIXES)
    # Hidden files are others' leftovers, such as macOS's `._x.mid`.
    paths = [p for p in paths if not p.name.startswith(".") and not p.is_dir()]
    if not paths:
        raise InputError(folder, "no MIDI files in it")
    return paths
