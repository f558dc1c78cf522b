"""VMCP of real piano covers: does it find a music video by MIDI that a person played of its song?

    python benches/vmcp_covers.py MUVI SYMMV [--side clip|pixels] [--folds 5] [--candidates 70]

Of SymMV's piano covers 64 are of songs whose videos are in MuVi-Sync's train split (the same
YouTube video). Each is ranked among the videos of its fold by a model that was trained on the other
folds' videos and their recordings, and that knows MIDI's mean from other covers. Prints JSON lines:
the covers, the same without MIDI's mean, and the recordings of the same songs.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch

from vmusprod.dataset.muvi import Muvi
from vmusprod.vmcp.config import VmcpConfig
from vmusprod.vmcp.encoder import similarities
from vmusprod.vmcp.metric import retrieval
from vmusprod.vmcp.midi import midi_seconds
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.rows import music_rows, pixel_rows
from vmusprod.vmcp.scorer import Scorer
from vmusprod.vmcp.training import FitOptions, PairRows, fit, fit_midi_shift

OTHERS = 100  # covers of other songs, for MIDI's mean


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("muvi", type=Path)
    options.add_argument("symmv", type=Path)
    options.add_argument("--side", default="clip", choices=("clip", "pixels"))
    options.add_argument("--folds", type=int, default=5)
    options.add_argument("--candidates", type=int, default=70)
    chosen = options.parse_args()
    torch.set_num_threads(1)

    cover = {
        row["youtube_url"].strip()[-11:]: row["index"] for row in table(chosen.symmv / "SymMV.csv")
    }
    youtube = {row["id"]: row["youtube_id"] for row in table(chosen.muvi / "train.tsv")}
    songs = list(Muvi(chosen.muvi).songs())
    files = {}
    for number, song in enumerate(songs):
        path = chosen.symmv / "midi" / f"{cover.get(youtube[song.id])}.mid"
        if path.is_file():
            files[number] = path
    covers = {number: midi_seconds(path) for number, path in files.items()}
    rest = sorted(set((chosen.symmv / "midi").glob("*.mid")) - set(files.values()))
    others = [music_rows(midi_seconds(p)) for p in rest[:: max(1, len(rest) // OTHERS)][:OTHERS]]
    recordings = [MusicSeconds(s.music.chords, s.music.density, s.music.loudness) for s in songs]
    pairs = [
        PairRows(
            s.video.semantic.astype(np.float16) if chosen.side == "clip" else None,
            pixel_rows(s.video), music_rows(recording),
        )
        for s, recording in zip(songs, recordings, strict=True)
    ]  # fmt: skip

    order = np.random.default_rng(0).permutation(len(songs))
    config = VmcpConfig(chosen.side, "symbolic", 768, 1, semantic=768 * (chosen.side == "clip"))
    kinds = ("covers", "covers without MIDI's mean", "recordings")
    beaten = {kind: [] for kind in kinds}
    for fold in range(chosen.folds):
        part = np.sort(order[fold :: chosen.folds])
        model = fit([pairs[i] for i in np.setdiff1d(order, part)], config, FitOptions())
        for kind in kinds[::-1]:
            if kind == "covers":
                fit_midi_shift(model, others)
            scorer = Scorer(model.encoders())
            videos = np.stack([scorer.video_vectors(songs[i].video) for i in part])
            for place, number in enumerate(part):
                if number in covers:
                    music = recordings[number] if kind == "recordings" else covers[number]
                    scores = similarities(scorer.music_vectors(music)[None], videos)[0]
                    # One pool for all folds: how the own video stands against the others.
                    others_first = np.delete(scores, place)[: len(order) // chosen.folds - 1]
                    beaten[kind].append(np.append(others_first, scores[place]))
    for kind in kinds:
        scores = np.array(beaten[kind])
        own = np.full(len(scores), scores.shape[1] - 1)
        found = retrieval(scores, chosen.candidates, own=own).to_dict()
        print(json.dumps({"what": kind, **{k: v for k, v in found.items() if "interval" not in k}}))


if __name__ == "__main__":
    main()
