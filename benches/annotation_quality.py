"""How right melody and chords are on POP909 songs that nothing was fitted to, in ../shared.

`python benches/annotation_quality.py [--songs N]`: melody note F1 (sixteenth and pitch, tracks
merged) and mir_eval's chord scores (against `chord_midi.txt`, in seconds) of the paper's ways and
of ours, on the beats of `beat_midi.txt`.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import mir_eval
import numpy as np
from numpy.typing import NDArray

from vmusprod import _vmus_rs
from vmusprod.dataset.fit_melody import read_song
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import own_downbeats, read_beats, read_spans, song_folders
from vmusprod.music.grid import Grid, grid_from_beats, grid_notes
from vmusprod.music.score import TimedNotes, read_midi_tracks

ROOT = Path(__file__).resolve().parents[1]
PITCHES = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
QUALITIES = ["maj", "min", "7", "maj7", "min7", "dim", "dim7", "aug", "sus2", "sus4"]
Notes = NDArray[np.int32]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=1000, help="at most so many")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args(arguments)
    folders = song_folders(options.shared / "data/POP909")
    unseen = [f for f in folders if split_of(f"pop909/{f.name}") == "val"][: options.songs]
    melody(unseen)
    chords(unseen)


def melody(folders: list[Path]) -> None:
    def flat(notes: Notes) -> Notes:
        return np.column_stack([notes[:, :3], np.full(len(notes), 80)]).astype(np.int32)

    ways: dict[str, Callable[[Notes], NDArray[np.bool_]]] = {
        "skyline": _vmus_rs.skyline,
        "melody_notes": _vmus_rs.melody_notes,
        "  no loudness": lambda notes: _vmus_rs.melody_notes(flat(notes)),
        "  arrangement": lambda notes: _vmus_rs.melody_notes(notes, False),
        "  as a solo": lambda notes: _vmus_rs.melody_notes(notes, True),
    }
    songs = [song for folder in folders if (song := read_song(folder)) is not None]
    for name, way in ways.items():
        counts = np.zeros(3)
        each, spent = [], 0.0
        for song in songs:
            truth = song.roles == 1
            begin = time.process_time()
            found = way(song.notes)
            spent += time.process_time() - begin
            own = np.array([(found & truth).sum(), found.sum(), truth.sum()])
            counts += own
            each.append(2 * own[0] / max(own[1] + own[2], 1))
        hits, all_found, all_true = counts
        print(
            f"{name:16} F1 {2 * hits / (all_found + all_true):.4f}"
            f" (mean of songs {np.mean(each):.4f}), precision {hits / all_found:.4f},"
            f" recall {hits / all_true:.4f}, {len(songs)} songs,"
            f" {1000 * spent / len(songs):.2f} ms a song"
        )


def chords(folders: list[Path]) -> None:
    for name, way in (
        ("recognize_chords", _vmus_rs.recognize_chords),
        ("decode_chords", _vmus_rs.decode_chords),
    ):
        rows, lengths, spent = [], [], 0.0
        for folder in folders:
            placed = on_its_grid(folder)
            if placed is None:
                continue
            notes, grid = placed
            begin = time.process_time()
            ids = way(notes, len(grid.kept) // 4)
            spent += time.process_time() - begin
            scores, length = score(folder, grid, ids)
            rows.append(scores)
            lengths.append(length)
        means = np.average(rows, axis=0, weights=lengths)
        figures = ", ".join(f"{k} {v:.4f}" for k, v in zip(SCORES, means, strict=True))
        print(f"{name:16} {figures}, {len(rows)} songs, {1000 * spent / len(rows):.2f} ms a song")


SCORES = ("root", "majmin", "sevenths", "mirex")


def on_its_grid(folder: Path) -> tuple[Notes, Grid] | None:
    merged = TimedNotes.merge(list(read_midi_tracks(folder / f"{folder.name}.mid").values()))
    beats = read_beats(folder / "beat_midi.txt")
    downbeats = own_downbeats(merged, beats)
    if downbeats is None:
        return None
    end = float(merged.offset.max())
    grid = grid_from_beats(beats[:, 0], downbeats, float(merged.onset[0]), end)
    return grid_notes(merged, grid), grid


def score(folder: Path, grid: Grid, ids: NDArray[np.uint8]) -> tuple[list[float], float]:
    """mir_eval's scores of one song, and its length in seconds."""
    spans = [span for span in read_spans(folder / "chord_midi.txt") if span[1] > span[0]]
    truth = np.array([span[:2] for span in spans])
    labels = [span[2] for span in spans]
    starts = grid.beats[: len(ids)]
    found = np.stack([starts, np.append(starts[1:], starts[-1] + 4 * grid.step)], axis=1)
    names = ["N" if i == 120 else f"{PITCHES[i // 10]}:{QUALITIES[i % 10]}" for i in ids]
    begin, end = float(truth.min()), float(truth.max())
    found, names = mir_eval.util.adjust_intervals(found, names, begin, end, "N", "N")
    merged, labels, names = mir_eval.util.merge_labeled_intervals(truth, labels, found, names)
    spent = merged[:, 1] - merged[:, 0]
    rules = [getattr(mir_eval.chord, key) for key in SCORES]
    weighted = mir_eval.chord.weighted_accuracy
    return [weighted(rule(labels, names), spent) for rule in rules], end - begin


if __name__ == "__main__":
    main()
