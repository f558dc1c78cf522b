"""How well the recognised chords agree with others' answers, on the data in ../shared.

`python benches/chord_agreement.py [--songs N]` prints one line a comparison. Beats are those of
SymMV's files (nominal, half a second each), chords are equal if root and quality are.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from test_rust_chorder import (  # noqa: E402
    TICKS_PER_BEAT,
    chorder_ids,
    read_chords,
    read_notes,
    span_in_beats,
)
from vmusprod._vmus_rs import recognize_chords  # noqa: E402

FLAT_ROOTS = (3, 10)
"""Eb and Bb: the published files lack every chord on them, so they can never agree."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--songs", type=int, default=100, help="for chorder, which is slow")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args(arguments)
    symmv = options.shared / "data/SymMV"
    songs = sorted((symmv / "chord").glob("*.txt"))
    if not songs:
        sys.exit(f"{symmv}: no chord files")

    step = max(1, len(songs) // max(1, options.songs))
    print_chorder([symmv / f"midi/{path.stem}.mid" for path in songs[::step]])
    print_published(symmv, songs)


def print_chorder(songs: list[Path]) -> None:
    """Compare with chorder itself."""
    same = []
    for path in songs:
        notes = read_notes(path)
        beats = span_in_beats(notes, TICKS_PER_BEAT)
        ids = recognize_chords(notes, beats, TICKS_PER_BEAT)
        same.append(ids == np.array(chorder_ids(notes, beats, TICKS_PER_BEAT)))
    print_share(f"chorder 0.1.4, {len(songs)} songs", np.concatenate(same))


def print_published(symmv: Path, songs: list[Path]) -> None:
    """Compare with the published chord files."""
    found, published = [], []
    for path in songs:
        chords = read_chords(path)
        notes = read_notes(symmv / f"midi/{path.stem}.mid")
        ids = recognize_chords(notes, max(chords) + 1, TICKS_PER_BEAT)
        found += [ids[beat] for beat in chords]
        published += list(chords.values())
    ids, truth = np.array(found), np.array(published)
    comparable = ~np.isin(ids // 10, FLAT_ROOTS)
    print_share(f"published, {len(songs)} songs", ids == truth)
    print_share("  not counting Eb and Bb", (ids == truth)[comparable])
    print_share("  of these, the root alone", (ids // 10 == truth // 10)[comparable])


def print_share(label: str, same: np.ndarray) -> None:
    print(f"{label:32} {same.mean():.4f} of {len(same)} beats")


if __name__ == "__main__":
    main()
