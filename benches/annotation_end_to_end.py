"""How right `vmus annotate` is, from files to files, on the data in ../shared, and how fast.

`python benches/annotation_end_to_end.py [--songs N] [--jobs N]` writes POP909's held-out songs
(those that nothing was fitted to) with their tracks merged into one, as they are and at a nominal
120 bpm as SymMV's are, annotates them and SymMV, and holds what was written against what is known.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import mir_eval
import numpy as np
from numpy.typing import NDArray

from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.run import annotate_folder
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import read_beats, read_spans, song_folders
from vmusprod.dataset.symmv import read_labels
from vmusprod.music.chord_names import chord_id
from vmusprod.music.key import parse_key
from vmusprod.music.score import MidiTrack, TimedNotes, midi_bytes, read_midi, read_midi_tracks

ROOT = Path(__file__).resolve().parents[1]
Array = NDArray[np.float64]
FLAT_ROOTS = (3, 10)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=2000, help="at most so many of each set")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sets", default="pop909,symmv")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if "pop909" in options.sets:
            pop909(options.shared / "data/POP909", options.songs, options.jobs, work)
        if "symmv" in options.sets:
            symmv(options.shared / "data/SymMV", options.songs, options.jobs, work)


def run(source: Path, out: Path, options: AnnotateOptions, jobs: int) -> float:
    """Annotate a folder; seconds."""
    begin = time.perf_counter()
    summary = annotate_folder([source], out, options, jobs=jobs)
    spent = time.perf_counter() - begin
    if summary.failed:
        print("failed:", summary.failed[:3])
    return spent


def merged(folder: Path, nominal: bool) -> bytes:
    """The tracks of a POP909 song as one; with `nominal`, its seconds as ticks at 120 bpm."""
    import symusic

    if nominal:
        notes = read_midi(folder / f"{folder.name}.mid")
        start, stop = (np.round(440 * t).astype(np.int64) for t in (notes.onset, notes.offset))
        table = np.column_stack([start, np.maximum(stop - start, 1), notes.pitch, notes.velocity])
        end = int((table[:, 0] + table[:, 1]).max())
        return midi_bytes([MidiTrack("piano", table)], 500_000, end, "")
    score = symusic.Score(folder / f"{folder.name}.mid")
    one = score.tracks[0]
    for track in list(score.tracks)[1:]:
        one.notes.extend(track.notes)
    one.notes.sort()
    one.name = "piano"
    while len(score.tracks) > 1:
        score.tracks.pop()
    return bytes(score.dumps_midi())


def pop909(root: Path, most: int, jobs: int, work: Path) -> None:
    folders = [f for f in song_folders(root) if split_of(f"pop909/{f.name}") == "val"][:most]
    for label, nominal in (("tracks merged", False), ("merged, nominal 120 bpm", True)):
        source = work / f"pop909-{nominal}"
        source.mkdir()
        for folder in folders:
            (source / f"{folder.name}.mid").write_bytes(merged(folder, nominal))
        for melody, chords in (("auto", "hmm"), ("skyline", "chorder")):
            out = work / "out"
            spent = run(source, out, AnnotateOptions(melody=melody, chords=chords), jobs)
            rows = [figures(folder, out / folder.name) for folder in folders]
            print(f"POP909 {label}, --melody {melody} --chords {chords}, {len(rows)} songs"
                  f" ({1000 * spent / len(rows):.1f} ms each):")  # fmt: skip
            for name in rows[0]:
                values = [row[name] for row in rows if not np.isnan(row[name])]
                print(f"  {name:12} {np.mean(values):.4f} ({len(values)})")
            shutil.rmtree(out)


def figures(folder: Path, found: Path) -> dict[str, float]:
    facts = json.loads((found / "annotation.json").read_text())
    beats = read_beats(folder / "beat_midi.txt")
    tracks = read_midi_tracks(folder / f"{folder.name}.mid")
    everything = TimedNotes.merge(list(tracks.values()))
    times, places = mir_eval.io.load_labeled_events(str(found / "beats.txt"))
    places = np.array(places, float)
    key = longest(read_spans(folder / "key_audio.txt"))
    own_key = parse_key(facts["key"])
    return {
        "melody F1": melody_f1(tracks.get("MELODY"), read_midi(found / "melody.mid"), beats),
        **chord_scores(folder, found),
        "key": float(key == own_key) if key else np.nan,
        "beats F": beat_f(beats[:, 0], times, everything),
        "downbeats F": beat_f(beats[beats[:, 2] == 1, 0], times[places == 1], everything),
        **recorded(folder, beats, times[places == 1], everything),
        "on the file's": float(facts["beats_from"] == "file"),
    }


def recorded(folder: Path, beats: Array, found: Array, notes: TimedNotes) -> dict[str, float]:
    """Downbeats against those tracked in the recording, where its beats are the score's."""
    audio = np.array(
        [[float(x) for x in line.split()] for line in
         (folder / "beat_audio.txt").read_text().splitlines() if line.strip()]
    )  # fmt: skip
    near = np.abs(beats[:, :1] - audio[:, 0]).min(axis=1) < 0.07
    truth = audio[audio[:, 1] == 1, 0]
    value = beat_f(truth, found, notes) if near.mean() > 0.8 and len(truth) else np.nan
    return {"recorded F": value}


def melody_f1(truth: TimedNotes | None, found: TimedNotes, beats: Array) -> float:
    """F1 of notes by sixteenth (of the known beats) and pitch."""
    if truth is None:
        return np.nan
    first, last = (float(np.median(np.diff(part))) for part in (beats[:9, 0], beats[-9:, 0]))
    times = np.concatenate(
        [beats[0, 0] - first * np.arange(400, 0, -1), beats[:, 0],
         beats[-1, 0] + last * np.arange(1, 401)]
    )  # fmt: skip

    def places(notes: TimedNotes) -> set[tuple[int, int]]:
        line = np.round(4 * np.interp(notes.onset, times, np.arange(len(times)))).astype(int)
        return set(zip(line.tolist(), notes.pitch.tolist(), strict=True))

    a, b = places(truth), places(found)
    return 2 * len(a & b) / max(len(a) + len(b), 1)


def chord_scores(folder: Path, found: Path) -> dict[str, float]:
    spans = [span for span in read_spans(folder / "chord_midi.txt") if span[1] > span[0]]
    truth, names = np.array([span[:2] for span in spans]), [span[2] for span in spans]
    own, labels = mir_eval.io.load_labeled_intervals(str(found / "chord.lab"))
    own, labels = mir_eval.util.adjust_intervals(
        own, labels, float(truth.min()), float(truth.max()), "N", "N"
    )
    joined, names, labels = mir_eval.util.merge_labeled_intervals(truth, names, own, labels)
    spent = joined[:, 1] - joined[:, 0]
    rules = ("root", "majmin", "sevenths")
    score = mir_eval.chord.weighted_accuracy
    return {rule: score(getattr(mir_eval.chord, rule)(names, labels), spent) for rule in rules}


def longest(spans: list[tuple[float, float, str]]) -> tuple[int, int] | None:
    total: dict[tuple[int, int], float] = {}
    for start, end, name in spans:
        total[parse_key(name)] = total.get(parse_key(name), 0.0) + end - start
    return max(total, key=lambda key: total[key]) if total else None


def beat_f(truth: Array, found: Array, notes: TimedNotes) -> float:
    low = max(truth[0], notes.onset[0]) - 0.1
    high = min(truth[-1], notes.onset[-1]) + 0.1
    both = [times[(times >= low) & (times <= high)] for times in (truth, found)]
    return float(mir_eval.beat.f_measure(*both))


def symmv(root: Path, most: int, jobs: int, work: Path) -> None:
    source = work / "symmv"
    source.mkdir()
    for path in sorted((root / "midi").glob("*.mid"))[:most]:
        shutil.copy(path, source)
    out = work / "out"
    spent = run(source, out, AnnotateOptions(chords="published"), jobs)
    same, comparable, flats = [], [], 0
    folders = sorted(path.parent for path in out.glob("*/annotation.json"))
    for folder in folders:
        own = nominal_chords(folder / "chord.txt")
        flats += sum(own[beat] // 10 in FLAT_ROOTS for beat in own)
        for beat, ident in nominal_chords(root / f"chord/{folder.name}.txt").items():
            same.append(own.get(beat) == ident)
            comparable.append(own.get(beat, 120) // 10 not in FLAT_ROOTS)
    print(f"SymMV --chords published, {len(folders)} songs, {spent:.2f} s:")
    print(f"  agreement with the published beats {np.mean(same):.4f} of {len(same)};"
          f" not counting those found on Eb and Bb {np.mean(np.array(same)[comparable]):.4f};"
          f" beats on Eb and Bb {flats}")  # fmt: skip
    shutil.rmtree(out)
    spent = run(source, out, AnnotateOptions(), jobs)
    keys = read_labels(root / "SymMV.csv")
    facts = {f.name: json.loads((f / "annotation.json").read_text()) for f in folders}
    right = [parse_key(fact["key"]) == keys[name] for name, fact in facts.items() if name in keys]
    fit = [f["windows_that_fit"] >= 0.9 * f["windows"] for f in facts.values() if f["windows"]]
    print(f"SymMV, {len(folders)} songs, {jobs} jobs, {spent:.2f} s:")
    print(f"  key {np.mean(right):.4f}; on a grid that fits in 9 windows of 10: {np.mean(fit):.4f};"
          f" mean move {np.mean([f['mean_moved_ms'] for f in facts.values()]):.1f} ms")  # fmt: skip


def nominal_chords(path: Path) -> dict[int, int]:
    """Beat to chord of one of SymMV's files, at 220 ticks a beat."""
    chords = {}
    for line in path.read_text().splitlines():
        start, end, name = line.split()
        for beat in range(int(start) // 220, int(end) // 220):
            chords[beat] = chord_id(name)
    return chords


if __name__ == "__main__":
    main()
