"""Fit beats and bars to POP909 and write `music/metre_weights.py`.

Run as `python -m vmusprod.dataset.metre_fit POP909`.

POP909's own downbeat marks are a beat or half a bar off in a good part of the songs: where the
beats tracked in the recording (`beat_audio.txt`) coincide with the score's, the recording's
downbeats are the target instead.
"""

from __future__ import annotations

import argparse
import textwrap
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.pop909 import read_beats, read_table, song_folders
from vmusprod.music import metre
from vmusprod.music.beats import readings
from vmusprod.music.pulse import track_pulse
from vmusprod.music.score import read_midi
from vmusprod.music.tracking import CLASSES, PARTS, StrengthModel, event_features

RIDGE = 200.0
LEVEL_RIDGE = 1e-3
STRENGTH_RIDGE = 50.0
Array = NDArray[np.float64]


def targets(folder: Path, beats: Array) -> Array | None:
    """1 at the downbeats, 0 at the other beats of `beat_midi.txt`; None for a song not in 4/4."""
    audio = read_table(folder / "beat_audio.txt", 2)
    near = np.abs(beats[:, :1] - audio[:, 0])
    if (near.min(axis=1) < 0.07).mean() > 0.8:
        downs = near[:, audio[:, 1] == 1]
        return (downs.min(axis=1) < 0.1).astype(np.float64) if downs.shape[1] else None
    bars = np.diff(np.flatnonzero(beats[:, 2] == 1))
    regular = len(bars) and (bars % 4 == 0).mean() >= 0.8
    return (beats[:, 2] == 1).astype(np.float64) if regular else None


def beat_features(folder: Path, beats: Array) -> Array:
    """Context features at the beats of a song: float64 (B, D)."""
    notes = read_midi(folder / f"{folder.name}.mid")
    inside = (notes.onset >= beats[0, 0] - 0.05) & (notes.onset <= beats[-1, 0])
    notes = notes.select(inside)
    index = np.arange(len(beats))
    position = 4 * np.interp(notes.onset, beats[:, 0], index)
    end = 4 * np.interp(notes.offset, beats[:, 0], index)
    features = metre.metre_features(position, end, notes.pitch, 4 * len(beats))
    return metre.context(features)[::4]


def fit(folders: list[Path]) -> Array:
    """Ridge regression over all beats of all songs: float64 (7, 2 * CONTEXT + 1)."""
    size = len(metre.FEATURES) * (2 * metre.CONTEXT + 1)
    gram = RIDGE * np.eye(size + 1)
    moment = np.zeros(size + 1)
    for folder in folders:
        beats = read_beats(folder / "beat_midi.txt")
        target = targets(folder, beats)
        if target is None:
            continue
        rows = np.pad(beat_features(folder, beats), ((0, 0), (0, 1)), constant_values=1.0)
        gram += rows.T @ rows
        moment += rows.T @ target
    solution: Array = np.linalg.solve(gram, moment)[:-1].astype(np.float64)
    return solution.reshape(len(metre.FEATURES), -1)


def fit_strength(folders: list[Path]) -> StrengthModel:
    """Fit strength by ridge regression onto beats, and count where each class of it falls."""
    gram: Array | float = 0.0
    moment: Array | float = 0.0
    songs = []
    for folder in folders:
        beats = read_beats(folder / "beat_midi.txt")[:, 0]
        notes = read_midi(folder / f"{folder.name}.mid")
        time, rows = event_features(notes, float(np.median(np.diff(beats))))
        inside = (time >= beats[0]) & (time < beats[-1])
        rows = rows[inside]
        phase = np.interp(time[inside], beats, np.arange(len(beats)))
        place = np.floor(phase * PARTS + 0.5).astype(np.int64) % PARTS
        gram = gram + rows.T @ rows
        moment = moment + rows.T @ (place == 0)
        songs.append((rows.astype(np.float32), place))
    size = rows.shape[1]
    weights = np.linalg.solve(gram + STRENGTH_RIDGE * np.eye(size), moment).astype(np.float64)
    strength = np.concatenate([rows @ weights for rows, _ in songs])
    edges = np.quantile(strength, np.arange(1, CLASSES) / CLASSES).astype(np.float64)
    places = np.zeros((CLASSES, PARTS))
    at = np.searchsorted(edges, strength)
    np.add.at(places, (at, np.concatenate([place for _, place in songs])), 1.0)
    return StrengthModel(weights, edges, places)


def level_table(folder: Path, weights: Array) -> tuple[Array, int] | None:
    """Features of the readings of a song's pulse (R, 11), and which has the tempo of its beats."""
    beats = read_beats(folder / "beat_midi.txt")[:, 0]
    stretches = track_pulse((notes := read_midi(folder / f"{folder.name}.mid")).onset)
    if not stretches:
        return None
    pulse = max(stretches, key=lambda part: part.fit * (part.end - part.start))
    inside = (notes.onset >= pulse.start - 0.1) & (notes.onset <= pulse.end + 0.1)
    options = readings(notes.select(inside), pulse, weights)
    tempo = 60 / np.median(np.diff(beats))
    right = [k for k, option in enumerate(options) if abs(np.log(option.tempo / tempo)) < 0.03]
    if len(right) != 1:
        return None
    return np.array([option.features() for option in options]), right[0]


def fit_levels(tables: list[tuple[Array, int]]) -> Array:
    """Softmax regression of the right reading among each song's, by Newton's method: (11,)."""
    scale = np.concatenate([rows for rows, _ in tables]).std(axis=0) + 1e-9
    weights = np.zeros(len(scale))
    for _ in range(30):
        gradient = 2 * LEVEL_RIDGE * weights
        hessian = 2 * LEVEL_RIDGE * np.eye(len(weights))
        for rows, right in tables:
            x = rows / scale
            share = np.exp(x @ weights - (x @ weights).max())
            share /= share.sum()
            mean = share @ x
            gradient += (mean - x[right]) / len(tables)
            hessian += ((x - mean).T * share) @ (x - mean) / len(tables)
        weights -= np.linalg.solve(hessian, gradient)
    result: Array = weights / scale
    return result


def source(name: str, values: Array, digits: int) -> str:
    """Python source of a tuple of numbers, or of rows of them, in lines of up to 100 columns."""

    def row(numbers: Array) -> str:
        return "(" + ", ".join(f"{value:.{digits}f}" for value in numbers) + ")"

    body = row(values) if values.ndim == 1 else "(" + ", ".join(map(row, values)) + ",)"
    return "\n".join(textwrap.wrap(f"{name} = {body}", 100, break_long_words=False))


def main() -> None:
    """Fit, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="the POP909 folder")
    parser.add_argument(
        "--every", type=int, default=0, help="leave every n-th song out, for a check on those"
    )
    default = Path(metre.__file__).parent / "metre_weights.py"
    parser.add_argument("-o", "--output", type=Path, default=default)
    args = parser.parse_args()
    folders = song_folders(args.root)
    if args.every:
        folders = [folder for k, folder in enumerate(folders) if k % args.every]
    weights = fit(folders)
    tables = [table for folder in folders if (table := level_table(folder, weights))]
    levels = fit_levels(tables)
    right = np.mean([int(np.argmax(rows @ levels)) == right for rows, right in tables])
    strength = fit_strength(folders)
    text = [
        '"""Weights of the downbeat score, the choice of beat and the beat tracker, from POP909.',
        "",
        "Written by `python -m vmusprod.dataset.metre_fit`. WEIGHTS: a row a feature of",
        "`metre.FEATURES`, a column a sixteenth of context. LEVEL_WEIGHTS: `beats.LEVEL_FEATURES`.",
        "The rest: `tracking.StrengthModel`.",
        '"""',
        "",
        "# fmt: off",
        source("WEIGHTS", 1e3 * weights, 1),
        source("LEVEL_WEIGHTS", levels, 3),
        source("STRENGTH_WEIGHTS", strength.weights, 5),
        source("STRENGTH_EDGES", strength.edges, 5),
        source("PLACES", strength.places, 0),
    ]
    args.output.write_text("\n".join(text) + "\n", encoding="utf-8")
    print(f"{len(tables)} songs; the right beat is chosen in {right:.1%} of those fitted")


if __name__ == "__main__":
    main()
