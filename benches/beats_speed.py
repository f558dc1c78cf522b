"""Beats, bars and key of songs, beside chorder alone, in one run.

    python benches/beats_speed.py [--songs 20] [--shared DIR]

CPU seconds a song on one core (best of three for ours) for SymMV's and POP909's files: pulse alone,
tempo + beats + bars, key; and chorder's chords of the same SymMV songs, which the paper's pipeline
spends most of its time on.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from test_rust_chorder import (  # noqa: E402
    TICKS_PER_BEAT,
    chorder_ids,
    read_notes,
    span_in_beats,
)
from vmusprod import _vmus_rs  # noqa: E402
from vmusprod.music.beats import fit_grid  # noqa: E402
from vmusprod.music.key import estimate_key  # noqa: E402
from vmusprod.music.score import TimedNotes, read_midi  # noqa: E402


def seconds_a_song(work: Callable[[TimedNotes], object], songs: Sequence[TimedNotes]) -> float:
    best = np.inf
    for _ in range(3):
        begin = time.process_time()
        for notes in songs:
            work(notes)
        best = min(best, time.process_time() - begin)
    return best / len(songs)


def chorder_seconds(paths: Sequence[Path]) -> float:
    songs = [read_notes(path) for path in paths]
    begin = time.process_time()
    for notes in songs:
        chorder_ids(notes, span_in_beats(notes, TICKS_PER_BEAT), TICKS_PER_BEAT)
    return (time.process_time() - begin) / len(songs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=20)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    symmv = sorted((options.shared / "data/SymMV/midi").glob("*.mid"))[:: -(-1068 // options.songs)]
    pop909 = sorted((options.shared / "data/POP909").glob("???/???.mid"))[
        :: -(-818 // options.songs)
    ]
    ways: dict[str, Callable[[TimedNotes], object]] = {
        "pulse": lambda n: _vmus_rs.find_pulses(n.onset),
        "tempo, beats, bars": lambda n: _vmus_rs.find_beats(n.onset, n.offset, n.pitch, n.velocity),
        "fit_grid": fit_grid,
        "key": lambda n: estimate_key(n.pitch, n.offset - n.onset),
    }
    spent = {}
    for name, paths in (("SymMV", symmv), ("POP909", pop909)):
        songs = [read_midi(path) for path in paths]
        notes = np.mean([len(song) for song in songs])
        for way, work in ways.items():
            spent[way] = seconds_a_song(work, songs)
            print(
                f"{name} ({len(songs)} songs, {notes:.0f} notes): {way} {1000 * spent[way]:.2f} ms"
            )
        if name == "SymMV":
            whole = spent["fit_grid"] + spent["key"]
            chorder = chorder_seconds(paths)
            times = chorder / whole
            print(f"SymMV: chorder alone {1000 * chorder:.0f} ms, {times:.0f} times as long")


if __name__ == "__main__":
    main()
