"""Generated pieces beside held-out songs: the table of docs/results.md.

    python benches/music_quality.py PACK [--pieces 20] [--weights DIR] [--out DIR]

Prints one line each for POP909, SymMV and the generated pieces: SC, PE, PCE, EBR, IOI; the
longest silence (s) and the longest loop of one bar; self-similarity at lags of 1, 2, 4, 8, 16
bars; the share of bars (six onsets or more) copied whole from a training song; notes a bar of
melody and accompaniment.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from vmusprod.compose import Composer, Settings
from vmusprod.dataset.pack import Pack
from vmusprod.music import tokens as tk
from vmusprod.training import judge
from vmusprod.video.features import VideoFeatures

COPIES = 30  # held-out songs a source


def whole(melody, accompaniment):
    return tk.normalise(np.concatenate([melody, accompaniment]))


def describe(name, pieces, known):
    """pieces: (melody, accompaniment, tempo)."""
    notes = [(whole(m, a), tempo) for m, a, tempo in pieces]
    rows = [judge.piece_metrics(n, tempo).to_dict() for n, tempo in notes]
    bars = [judge.bar_contents(n) for n, _ in notes]
    profiles = [judge.lag_profile(judge.self_similarity(b)) for b in bars]
    cells = [f"{k} {np.mean([r[k] for r in rows]):.3f}" for k in rows[0]]
    cells.append(f"silence {max(judge.longest_silence(n, tempo) for n, tempo in notes):.1f}")
    cells.append(f"loop {max(map(judge.longest_loop, bars))}")
    lags = [f"{k}:{np.mean([p[k] for p in profiles]):.2f}" for k in judge.LAGS]
    cells.append("similar " + " ".join(lags))
    cells.append(f"copied {np.mean([judge.copied_share(b, known) for b in bars]):.4f}")
    per_bar = [
        (len(m) / len(b), len(a) / len(b)) for (m, a, _), b in zip(pieces, bars, strict=True)
    ]
    cells.append("notes a bar {:.1f} + {:.1f}".format(*np.mean(per_bar, axis=0)))
    print(f"{name:10s}", "  ".join(cells), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--pieces", type=int, default=20)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-p", type=float, default=0.995)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    pack = Pack(options.pack)
    known = Counter()
    for song in pack.songs("train"):
        both = whole(tk.decode_notes(song.melody), tk.decode_notes(song.accompaniment))
        known.update(judge.bar_contents(both))
    for source in ("pop909", "symmv"):
        songs = [s for s in pack.songs("val") if s.source == source][:COPIES]
        describe(
            source,
            [(tk.decode_notes(s.melody), tk.decode_notes(s.accompaniment), s.tempo) for s in songs],
            known,
        )
    composer = Composer(options.weights)
    pieces = []
    for seed in range(options.pieces):
        duration = 40.0 + 15 * (seed % 8)
        motion = np.full(int(duration * 5), 4 + 2 * (seed % 8), np.float32)
        features = VideoFeatures(duration=duration, motion=motion, cuts=np.zeros(0, np.float32))
        settings = Settings(
            seed=seed,
            key=((0, 0), (9, 1))[seed % 2],  # the pack's keys, so that copies would show
            temperature=options.temperature,
            top_p=options.top_p,
        )
        piece = composer.compose(features, settings)
        pieces.append((piece.melody, piece.accompaniment, piece.plan.tempo))
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{seed:02d}.mid").write_bytes(piece.midi())
    describe("generated", pieces, known)


if __name__ == "__main__":
    main()
