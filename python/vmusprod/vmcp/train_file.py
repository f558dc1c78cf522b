"""From pairs on disk to a weight file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from vmusprod.errors import InputError, VmusError
from vmusprod.vmcp.config import VmcpConfig
from vmusprod.vmcp.inputs import PairSource, read_music
from vmusprod.vmcp.metric import Retrieval
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.pairs import MIDI_SUFFIXES
from vmusprod.vmcp.rows import Rows, music_rows, pixel_rows
from vmusprod.vmcp.training import FitOptions, PairRows, cross_validate, fit, fit_midi_shift
from vmusprod.vmcp.weights import save_vmcp

__all__ = ["Trained", "train_file"]

MAX_MIDI = 200  # files for the mean of MIDI
Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Trained:
    """Pairs that were learned from, the figures of pairs left out, what could not be read."""

    pairs: int
    held_out: Retrieval | None
    failed: tuple[VmusError, ...]


def train_file(
    pairs: PairSource,
    out: Path,
    side: str = "clip",
    music: str = "symbolic",
    options: FitOptions | None = None,
    folds: int = 0,
    candidates: int = 70,
    midi: Path | None = None,
    tagger: Path | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Train one model on `pairs` and write it to `out`.

    folds: cross-validate first, 0 for not; candidates: of its figures. midi: a folder of MIDI files
    of the kind that will be scored, whose mean is noted (`fit_midi_shift`; at most 200 are read).
    Raises InputError, OutputError; VmusError: too few pairs, no CLIP features for the clip side,
    `midi` with the audio side.
    """
    if midi is not None and music == "audio":
        raise VmusError("the audio side renders MIDI before it hears it: MIDI's mean is not for it")
    options = options or FitOptions()
    # The data set the numbers of columns (`fit`); these only have to be possible.
    config = VmcpConfig(side, music, 768, 1, semantic=768 if side == "clip" else 0)
    failed: list[VmusError] = []
    rows = _read(pairs, side, music, tagger, failed, progress)
    held_out = None
    if folds:
        held_out = cross_validate(rows, config, options, folds, candidates, progress)
    model = fit(rows, config, options, progress)
    if midi is not None:
        fit_midi_shift(model, _midi_rows(midi, failed, progress))
    about: dict[str, object] = {
        "pairs": len(rows),
        "options": asdict(options),
        "midi": midi is not None,
        "held_out": None if held_out is None else held_out.to_dict(),
    }
    save_vmcp(out, model.encoders(), about)
    return Trained(len(rows), held_out, tuple(failed))


def _read(
    pairs: PairSource, side: str, music: str, tagger: Path | None,
    failed: list[VmusError], progress: Progress | None,
) -> list[PairRows]:  # fmt: skip
    rows = []
    for number, pair in enumerate(pairs.inputs(failed), 1):
        if progress is not None:
            progress(f"reading pair {number}", number / len(pairs))
        semantic = pair.features.semantic if side == "clip" else None
        if isinstance(pair.music, MusicSeconds):
            if music == "audio":
                raise VmusError("MuVi-Sync holds no sound: the audio side needs files of music")
            heard = music_rows(pair.music)
        else:
            try:
                heard, _ = read_music(pair.music, music, tagger)
            except InputError as error:
                failed.append(error)
                continue
        if side == "clip" and semantic is None:
            failed.append(InputError(pair.video, "no CLIP features, which the clip side needs"))
            continue
        kept = None if semantic is None else semantic.astype(np.float16)
        rows.append(PairRows(kept, pixel_rows(pair.features), heard))
    return rows


def _midi_rows(folder: Path, failed: list[VmusError], progress: Progress | None) -> list[Rows]:
    if not folder.is_dir():
        raise InputError(folder, "no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in MIDI_SUFFIXES)
    if not paths:
        raise InputError(folder, "no MIDI files in it")
    # Evenly over the folder, whose order may mean something.
    chosen = np.unique(
        np.linspace(0, len(paths) - 1, min(MAX_MIDI, len(paths))).round().astype(int)
    )
    rows = []
    for number, place in enumerate(chosen, 1):
        try:
            rows.append(read_music(paths[place], "symbolic", None)[0])
        except InputError as error:
            failed.append(error)
        if progress is not None:
            progress(f"MIDI file {number}", number / len(chosen))
    return rows
