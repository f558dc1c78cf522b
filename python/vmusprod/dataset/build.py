"""Builds training packs from SymMV, POP909, MuVi-Sync and folders of MIDI files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vmusprod import _vmus_rs
from vmusprod.dataset.pack import pack_song, write_pack
from vmusprod.dataset.pairs import iter_pairs, read_palette, weak_share
from vmusprod.dataset.pop909 import iter_pop909
from vmusprod.dataset.songs import Song, trim_bars
from vmusprod.dataset.symmv import iter_symmv
from vmusprod.errors import InputError, VmusError
from vmusprod.music import tokens as tk
from vmusprod.music.beats import fit_stretches, main_stretch
from vmusprod.music.grid import grid_notes
from vmusprod.music.key import estimate_key
from vmusprod.music.score import read_midi

MIN_NOTES = 32
Skipped = list[tuple[Path, str]]


@dataclass
class PackReport:
    """How a pack came out: songs kept and mean grid fit by source, files left out and why.

    weak: of MuVi-Sync's songs, the share whose chord changes fit no beat well.
    """

    kept: dict[str, int] = field(default_factory=dict)
    fit: dict[str, float] = field(default_factory=dict)
    skipped: Skipped = field(default_factory=list)
    weak: float = 0.0


def iter_midi_folder(root: Path, skipped: Skipped, min_fit: float) -> Iterator[Song]:
    """Read the MIDI files of a folder, each put on the grid that its onsets fit.

    What cannot be read, or fits a grid worse than `min_fit`, is added to `skipped`.
    """
    for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in (".mid", ".midi")):
        try:
            stretches = fit_stretches(read_midi(path))
            if not stretches:
                skipped.append((path, "too few notes for a grid"))
                continue
            stretch = main_stretch(stretches)
            timed, grid = stretch.notes, stretch.grid
            if grid.concentration < min_fit:
                skipped.append((path, f"no steady pulse (concentration {grid.concentration:.2f})"))
                continue
            if grid.beats_a_bar != tk.BEATS_PER_BAR:
                skipped.append((path, "not in 4/4"))
                continue
            notes, _ = trim_bars(grid_notes(timed, grid))
            key = estimate_key(notes[:, 2], notes[:, 1])
            name = path.relative_to(root).with_suffix("").as_posix()
            yield Song(name, "midi", notes, None, key, None, grid.tempo, grid.concentration)
        except VmusError as e:
            skipped.append((path, str(e)))


def build_pack(
    out: Path,
    *,
    symmv: Path | None = None,
    pop909: Path | None = None,
    midi: Path | None = None,
    muvi: Path | None = None,
    oasis: Path | None = None,
    min_fit: float = 0.6,
    progress: Callable[[str], None] | None = None,
) -> PackReport:
    """Write a pack of everything given; `progress` is told each song's name.

    muvi: MuVi-Sync, chords with their videos, whose colours are those of oasis's pictures (OASIS)
    of like affect; without oasis they have none.

    Raises InputError when nothing could be used, OutputError when `out` cannot be written.
    """
    report = PackReport()
    songs: list[Iterator[Song]] = []
    if pop909 is not None:
        songs.append(iter_pop909(pop909, report.skipped))
    if symmv is not None:
        songs.append(iter_symmv(symmv, report.skipped, min_fit=min_fit))
    if midi is not None:
        songs.append(iter_midi_folder(midi, report.skipped, min_fit))
    entries = []
    fits: dict[str, list[float]] = {}
    for stream in songs:
        for song in stream:
            if progress is not None:
                progress(song.id)
            if len(song.notes) < MIN_NOTES:
                report.skipped.append((Path(song.id), f"fewer than {MIN_NOTES} notes"))
                continue
            entries.append(_entry(song))
            fits.setdefault(song.source, []).append(song.fit)
    if muvi is not None:
        found: list[float] = []
        palette = None if oasis is None else read_palette(oasis)
        for entry in iter_pairs(muvi, palette, report.skipped, found):
            if progress is not None:
                progress(str(entry["id"]))
            entries.append(entry)
        fits["muvi"] = found
        report.weak = weak_share(found)
    if not entries:
        raise InputError(out, "no song could be packed")
    fits = {k: v for k, v in fits.items() if v}
    report.kept = {k: len(v) for k, v in fits.items()}
    report.fit = {k: float(np.mean(v)) for k, v in fits.items()}
    write_pack(out, entries, {"kept": report.kept, "mean_fit": report.fit, "min_fit": min_fit})
    return report


def _entry(song: Song) -> dict[str, object]:
    notes = np.ascontiguousarray(song.notes)
    beats = (int(notes[:, 0].max()) // tk.STEPS_PER_BAR + 1) * tk.BEATS_PER_BAR
    # SymMV's pieces, and most of those in a folder of piano music, are for one player.
    melody = song.melody if song.melody is not None else _vmus_rs.melody_notes(notes, solo=True)
    chords = song.chords if song.chords is not None else _vmus_rs.decode_chords(notes, beats)
    return pack_song(
        id=f"{song.source}/{song.id}", source=song.source, notes=notes, melody=melody,
        chords=chords, key=song.key, tempo=song.tempo,
    )  # fmt: skip
