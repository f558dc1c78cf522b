"""How good the beats and bars are (needs mir_eval).

Run as `python -m vmusprod.dataset.grid_report POP909 [--symmv SymMV]`.

The songs of POP909 that `metre_fit` leaves out (one in twenty) are read without their beats, as
they are and with a drifting tempo laid over them (a random walk and slower phrase ends, 12 ms of
jitter), and held against `beat_midi.txt` (70 ms window); downbeats also against those tracked in
the recording, where its beats coincide with the score's.

Of SymMV it is told how many songs' sixteenths fit: in nine of ten windows of 10 s the onsets have
a concentration above 0.6. Beside it two controls: onsets that were left out when the sixteenths
were found (a fifth at a time), and chords at random times, as many as there are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.drift import drifted, drifting_clock
from vmusprod.dataset.pack import split_of
from vmusprod.dataset.pop909 import read_beats, read_table, song_folders
from vmusprod.dataset.symmv import load_symmv
from vmusprod.music.beats import fit_grid, fit_stretches, main_stretch
from vmusprod.music.grid import concentration
from vmusprod.music.score import TimedNotes, read_midi

Array = NDArray[np.float64]

NAMES = ("beats", "downbeats", "recorded_downbeats", "marks_to_recorded", "tempo", "fit")


def f_measure(truth: Array, found: Array, notes: TimedNotes) -> float:
    """F (70 ms) of the beats from the first to the last onset that the truth covers too."""
    import mir_eval

    low = max(truth[0], notes.onset[0]) - 0.1
    high = min(truth[-1], notes.onset[-1]) + 0.1
    both = [times[(times >= low) & (times <= high)] for times in (truth, found)]
    return float(mir_eval.beat.f_measure(*both))


def song_figures(folder: Path, seed: int, deviation: float, slowing: float) -> dict[str, float]:
    """F of beats and downbeats, whether the tempo is right (1 or 0), and the concentration."""
    beats = read_beats(folder / "beat_midi.txt")
    notes = read_midi(folder / f"{folder.name}.mid")
    audio = read_table(folder / "beat_audio.txt", 2)
    near = np.abs(beats[:, :1] - audio[:, 0]).min(axis=1) < 0.07
    truth, marks = beats[:, 0], beats[beats[:, 2] == 1, 0]
    recorded = audio[audio[:, 1] == 1, 0]
    if deviation:
        clock = drifting_clock(float(notes.onset[-1]), deviation, slowing, seed)
        notes = drifted(notes, clock, seed)
        truth, marks, recorded = clock(truth), clock(marks), clock(recorded)
    stretches = fit_stretches(notes)
    if not stretches:
        return {"beats": 0.0, "downbeats": 0.0, "tempo": 0.0, "fit": 0.0}
    stretch = main_stretch(stretches)
    grid, own = stretch.grid, stretch.notes
    tempo = 60 / float(np.median(np.diff(truth)))
    result = {
        "beats": f_measure(truth, grid.beats, own),
        "downbeats": f_measure(marks, grid.downbeats, own),
        "tempo": float(abs(np.log(grid.tempo / tempo)) < 0.05),
        "fit": grid.concentration,
    }
    if near.mean() > 0.8 and len(recorded):
        result["recorded_downbeats"] = f_measure(recorded, grid.downbeats, own)
        result["marks_to_recorded"] = f_measure(recorded, marks, own)
    return result


def fits(onset: Array, position: Array) -> bool:
    """Whether nine of ten windows of 10 s, of 8 onsets or more, have a concentration above 0.6."""
    window = np.floor((onset - onset[0]) / 10)
    parts = [position[window == k] for k in np.unique(window)]
    good = [concentration(part) > 0.6 for part in parts if len(part) >= 8]
    return len(good) > 0 and float(np.mean(good)) >= 0.9


def events_of(notes: TimedNotes) -> NDArray[np.intp]:
    """The number of the chord, onsets within 30 ms of the one before, of each note: (N,)."""
    return np.cumsum(np.diff(notes.onset, prepend=notes.onset[0]) > 0.03)


def own_fit(notes: TimedNotes) -> bool:
    """Whether the sixteenths found from the notes fit them."""
    grid = fit_grid(notes)
    return grid is not None and fits(notes.onset, grid.position(notes.onset))


def left_out_fit(notes: TimedNotes, seed: int, folds: int = 5) -> bool:
    """Whether sixteenths fit chords that they were found without, a fifth of them at a time."""
    event = events_of(notes)
    fold = np.random.default_rng(seed).permutation(event[-1] + 1)[event] % folds
    position = np.zeros(len(notes))
    for k in range(folds):
        grid = fit_grid(notes.select(fold != k))
        if grid is None:
            return False
        position[fold == k] = grid.position(notes.onset[fold == k])
    return fits(notes.onset, position)


def at_random(notes: TimedNotes, seed: int) -> TimedNotes:
    """The song's chords at random times of its length."""
    event = events_of(notes)
    low, high = notes.onset[0], notes.onset[-1]
    times = np.sort(np.random.default_rng(seed).uniform(low, high, event[-1] + 1))
    first = notes.onset[np.searchsorted(event, np.arange(event[-1] + 1))]
    onset = times[event] + notes.onset - first[event]
    offset = onset + notes.offset - notes.onset
    moved = TimedNotes(onset, offset, notes.pitch, notes.velocity)
    return moved.select(np.argsort(onset, kind="stable"))


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pop909", type=Path)
    parser.add_argument("--symmv", type=Path)
    args = parser.parse_args()
    folders = [f for f in song_folders(args.pop909) if split_of(f"pop909/{f.name}") == "val"]
    for deviation, slowing in ((0.0, 0.0), (0.02, 0.05), (0.04, 0.15), (0.06, 0.25)):
        rows = [song_figures(f, k, deviation, slowing) for k, f in enumerate(folders)]
        print(f"POP909, {len(rows)} songs, tempo deviation {deviation}, slowing {slowing}:")
        for name in NAMES:
            values = [row[name] for row in rows if name in row]
            kept = [row[name] for row in rows if name in row and row["fit"] >= 0.6]
            figures = f"{np.mean(values):.3f} ({len(values)})"
            print(f"  {name:20} {figures}  of fit >= 0.6: {np.mean(kept):.3f}")
    if args.symmv:
        songs, skipped = load_symmv(args.symmv, 0.0)
        found = np.array([song.fit for song in songs])
        print(f"SymMV: {len(songs)} songs gridded, {len(skipped)} not")
        for least in (0.5, 0.6, 0.65, 0.7, 0.8, 0.9):
            print(f"  fit >= {least}: {int((found >= least).sum())}")
        every = [read_midi(path) for path in sorted((args.symmv / "midi").glob("*.mid"))]
        shares = {
            "sixteenths fit": [own_fit(notes) for notes in every],
            "onsets left out": [left_out_fit(notes, k) for k, notes in enumerate(every)],
            "random onsets": [own_fit(at_random(notes, k)) for k, notes in enumerate(every)],
        }
        for name, share in shares.items():
            print(f"  {name:20} {np.mean(share):.3f} ({len(share)})")


if __name__ == "__main__":
    main()
