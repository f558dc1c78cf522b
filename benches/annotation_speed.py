"""How fast `vmus annotate` is, beside chorder alone, in one run, on the data in ../shared.

`python benches/annotation_speed.py [--songs N] [--chorder N]`: CPU time a song on one thread, step
by step and as a whole with all files written, of chorder 0.1.4 on the same songs, and the time on
the clock for all of SymMV on all cores.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmusprod._vmus_rs import annotate_song
from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.run import annotate_folder
from vmusprod.annotation.song import annotate, to_json
from vmusprod.annotation.sources import read_source
from vmusprod.annotation.store import write_song
from vmusprod.annotation.timing import find_meter
from vmusprod.music.key import estimate_key

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))


class Clock:
    """CPU seconds by step."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def time(self, step: str, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        begin = time.process_time()
        result = work(*given, **named)
        self.spent[step] += time.process_time() - begin
        return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=200, help="for the steps")
    parser.add_argument("--chorder", type=int, default=10, help="for chorder, which is slow")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args(arguments)
    every = sorted((options.shared / "data/SymMV/midi").glob("*.mid"))
    with tempfile.TemporaryDirectory() as name:
        whole = steps(every[:: max(1, len(every) // options.songs)], Path(name))
        slow = chorder(every[:: max(1, len(every) // options.chorder)])
        print(
            f"chorder alone: {1000 * slow:.1f} ms a song;"
            f" annotation {slow / whole:.0f} times as fast"
        )
        cores = len(os.sched_getaffinity(0))
        begin = time.perf_counter()
        summary = annotate_folder([every[0].parent], Path(name) / "all", AnnotateOptions())
        spent = time.perf_counter() - begin
        busy = os.getloadavg()[0]
        print(
            f"all {summary.done} songs of SymMV: {spent:.2f} s on {cores} cores (load {busy:.1f})"
        )


def steps(paths: list[Path], out: Path) -> float:
    """Print the milliseconds of each step; return the seconds a song of the whole."""
    options = AnnotateOptions()
    annotate(read_source(paths[0], options), options)  # tables are read once
    clock = Clock()
    for path in paths:
        source = clock.time("read", read_source, path, options)
        notes = source.notes
        meter, _ = clock.time("beats", find_meter, source, options)
        clock.time("key", estimate_key, notes.pitch, notes.offset - notes.onset)
        given = (notes.onset, notes.offset, notes.pitch, notes.velocity)
        given += (meter.lines, meter.beats, meter.places)
        none = np.full(len(meter.places), 120, np.uint8)
        plain = {"melody": np.zeros(len(notes), bool), "chords": none, "key": (0, 0)}
        clock.time("grid and files", annotate_song, *given, **plain)
        clock.time("and melody", annotate_song, *given, **{**plain, "melody": "learned"})
        clock.time("and chords", annotate_song, *given, **{**plain, "chords": "hmm"})

        def all_of_it(path: Path = path) -> None:
            song = annotate(read_source(path, options), options)
            write_song(out / path.stem, {**song.files, "annotation.json": to_json(song.facts)})

        clock.time("the whole, written", all_of_it)
    for step in ("and melody", "and chords"):
        clock.spent[step] -= clock.spent["grid and files"]
    for step, seconds in clock.spent.items():
        print(f"{step:20} {1000 * seconds / len(paths):7.3f} ms a song")
    return clock.spent["the whole, written"] / len(paths)


def chorder(paths: list[Path]) -> float:
    """Seconds a song of chorder's `Dechorder.dechord`."""
    from test_rust_chorder import chorder_ids, read_notes, span_in_beats

    clock = Clock()
    for path in paths:
        notes = read_notes(path)
        clock.time("chorder", chorder_ids, notes, span_in_beats(notes, 220), 220)
    return clock.spent["chorder"] / len(paths)


if __name__ == "__main__":
    main()
