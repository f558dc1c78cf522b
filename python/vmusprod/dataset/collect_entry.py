"""One row of a collection: from its files to a transcription and a verdict."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.convert import make_folder
from vmusprod.dataset import quality
from vmusprod.dataset.align import Alignment, align
from vmusprod.dataset.audio import read_audio
from vmusprod.dataset.audio.chroma import CHROMA_RATE, sound_chroma
from vmusprod.dataset.audio.decode import Sound, survey
from vmusprod.dataset.download import download, is_url
from vmusprod.errors import InputError, OutputError
from vmusprod.files import atomic_output
from vmusprod.music.score import MidiTrack, TimedNotes, write_midi
from vmusprod.video.cache import load_features

__all__ = ["FIGURES", "Entry", "Options", "collect_entry"]

FIGURES = (
    "seconds", "notes", "tempo", "offset", "drift", "wander", "transposition", "similarity",
    "confidence", "video_seconds",
)  # fmt: skip
_VERSION = 1
_TICKS_A_SECOND = 440  # 220 a beat at the nominal 120 bpm
_MARK_BYTES = 1 << 16

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Entry:
    """A row: its name, the folder its files are relative to, its three sources, other columns.

    `source`: `video`, `piano`, `official`, each a file or a URL; the last may be empty.
    """

    id: str
    base: Path
    source: dict[str, str]
    about: dict[str, str]


@dataclass(frozen=True)
class Options:
    """How to collect.

    Attributes
    ----------
    download : bool
        Whether URLs may be downloaded; else a row with one fails.
    transcriber, beats : str
        As in `dataset.audio.read_audio`.
    rules : Rules
        What to throw out.
    """

    download: bool = False
    transcriber: str = "madmom"
    beats: str = "auto"
    rules: quality.Rules = field(default_factory=quality.Rules)


def collect_entry(entry: Entry, out: Path, options: Options, tell: Tell) -> dict[str, str]:
    """Collect one row into `out`/entries/ID, unless that is done; its cells of pairs.csv.

    What is kept goes to `out`/midi/ID.mid.

    `status` is `kept` or `rejected` (then `reason` says why, rule by rule). Raises InputError for
    files that cannot be used, OutputError.
    """
    folder = out / "entries" / entry.id
    midi = out / "midi" / f"{entry.id}.mid"
    make_folder(folder)
    make_folder(midi.parent)
    files = _sources(entry, folder, options.download, tell)
    mark = _mark(files, entry, options)
    done = _done(folder, midi, mark)
    if done is None:
        done = {"mark": mark, **_collect(entry, folder, midi, files, options, tell)}
        text = json.dumps(done, indent=1, ensure_ascii=False) + "\n"
        with atomic_output(folder / "entry.json") as part:
            part.write_text(text, encoding="utf-8", errors="replace")
    return _cells(entry.id, done)


def _collect(
    entry: Entry, folder: Path, midi: Path, files: dict[str, Path], options: Options, tell: Tell
) -> dict[str, Any]:
    _remove(midi)  # an earlier verdict's
    # The cheap tests first: a video that is thrown out spares the transcription's minute.
    tell("video", 0.0)
    features = load_features(files["video"], True, lambda share: tell("video", 0.2 * share))
    faults = quality.faults_of_title(f"{entry.about.get('title', '')} {Path(files['video']).stem}")
    official = survey(files["official"])
    faults += quality.faults_of_video(features, official.seconds, options.rules)
    facts: dict[str, Any] = {"video_seconds": round(features.duration, 3)}
    tell("alignment", 0.2)
    found = _align(survey(files["piano"]), official)
    if found is None:
        faults.append("too short to be aligned")
    else:
        faults += quality.faults_of_alignment(found, options.rules)
        facts.update({name: round(value, 4) for name, value in asdict(found).items()})
    if not faults:
        notes, beats = read_audio(
            files["piano"], options.transcriber, options.beats,
            lambda share: tell("transcription", 0.3 + 0.7 * share),
        )  # fmt: skip
        faults = quality.faults_of_notes(notes, options.rules)
        step = float(np.median(np.diff(beats[:, 0]))) if len(beats) > 1 else None
        facts["seconds"] = round(float(notes.offset.max()), 3)
        facts["notes"] = len(notes)
        facts["tempo"] = None if step is None else round(60 / step, 3)
        if not faults:
            _write(midi, folder / "beats.txt", notes, beats)
    return {"status": "rejected" if faults else "kept", "reason": "; ".join(faults), **facts}


def _align(piano: Sound, official: Sound) -> Alignment | None:
    try:
        return align(sound_chroma(piano), sound_chroma(official), CHROMA_RATE)
    except ValueError:
        return None


def _write(midi: Path, table: Path, notes: TimedNotes, beats: NDArray[np.float64]) -> None:
    onset = np.rint(notes.onset * _TICKS_A_SECOND).astype(np.int64)
    offset = np.maximum(np.rint(notes.offset * _TICKS_A_SECOND).astype(np.int64), onset + 1)
    rows = np.stack([onset, offset - onset, notes.pitch, notes.velocity], axis=1)
    write_midi(midi, [MidiTrack("Piano", rows)], 500_000, int(offset.max()), "")
    lines = "".join(f"{time:.3f}\t{place:.0f}\n" for time, place in beats.tolist())
    with atomic_output(table) as part:
        part.write_text(lines, encoding="utf-8")


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(path, error) from error


def _sources(entry: Entry, folder: Path, may_download: bool, tell: Tell) -> dict[str, Path]:
    """The three files, downloaded where they are URLs."""
    files: dict[str, Path] = {}
    for role in ("video", "piano", "official"):
        # A music video's own sound is the official recording.
        text = entry.source[role] or (entry.source["video"] if role == "official" else "")
        if not text:
            raise InputError(entry.id, f"no {role} given")
        if not is_url(text):
            path = entry.base / text
            if not path.is_file():
                raise InputError(path, "no such file")
            files[role] = path
        elif may_download:
            tell(f"downloading the {role}", 0.0)
            kind = "picture" if role == "video" else "sound"
            files[role] = download(text, folder, role, kind)
        else:
            raise InputError(text, "a URL: give --download to have it downloaded")
    return files


def _mark(files: dict[str, Path], entry: Entry, options: Options) -> str:
    """What the result rests on: the options, the title, the files' lengths and beginnings."""
    digest = hashlib.sha256(json.dumps([_VERSION, asdict(options), entry.about]).encode())
    for role, path in files.items():
        try:
            with path.open("rb") as file:
                start = file.read(_MARK_BYTES)
            digest.update(f"{role} {path.stat().st_size} ".encode() + start)
        except OSError as error:
            raise InputError(path, error) from error
    return digest.hexdigest()[:16]


def _done(folder: Path, midi: Path, mark: str) -> dict[str, Any] | None:
    try:
        facts = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("mark") != mark:
        return None
    return facts if facts.get("status") != "kept" or midi.is_file() else None


def _cells(name: str, facts: dict[str, Any]) -> dict[str, str]:
    cells = {key: facts.get(key) for key in ("status", "reason", *FIGURES)}
    row = {key: "" if value is None else str(value) for key, value in cells.items()}
    row["midi"] = f"midi/{name}.mid" if facts.get("status") == "kept" else ""
    return row
