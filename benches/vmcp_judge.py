"""A second judge of video and music, of another kind than VMCP, that no training of vmus sees.

    python benches/vmcp_judge.py MUVI [--split val] [--music DIR] [--candidates 70] [--without-clip]

MUVI: MuVi-Sync's folder. The judge is one linear map a side: ridge canonical correlation between
whole videos and whole songs of train, no segments, no time, no network. It has features of its own:
of a video the mean and spread of CLIP's features, means of moods, motion and cuts; of music the
steps between chords, chord types, quantiles of density and loudness. What is judged is standardised
by its own set, so that a set of piano pieces is compared within itself; its scores mean nothing for
a single piece.

--music DIR: pieces to judge, DIR/ID.mid (or ID.npz, vmusprod.vmcp.music) for videos of the split;
without it the real music. Prints a JSON line with the figures of vmus vmcp score, and one for the
same music shuffled among the videos, which is chance.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from vmusprod.dataset.muvi import Muvi
from vmusprod.vmcp.metric import retrieval
from vmusprod.vmcp.midi import midi_seconds
from vmusprod.vmcp.music import MusicSeconds

RIDGES = (10.0, 1.0)  # of video and music; cross-validated within train
SIZE = 12
QUANTILES = (5, 20, 35, 50, 65, 80, 95)


def video_features(song, clip):
    """(D,): CLIP's mean and spread, moods, motion, cuts."""
    motion = np.log1p(song.video.motion[::5])
    shots = np.diff(np.concatenate([[0], song.video.cuts, [song.video.duration]]))
    plain = [song.moods.mean(0), song.moods.std(0), np.percentile(motion, QUANTILES),
             np.percentile(np.log1p(shots), QUANTILES)]  # fmt: skip
    semantic = song.video.semantic
    return np.concatenate([semantic.mean(0), semantic.std(0), *plain] if clip else plain)


def music_features(music):
    """(D,): chord types, steps between chords, how long they last, density, loudness."""
    chords = music.chords.astype(int)
    sounding = chords[chords < 120]
    kinds = np.bincount(sounding % 10, minlength=10) / max(len(sounding), 1)
    changes = chords[1:] != chords[:-1]
    pairs = [(a, b) for a, b in zip(chords[:-1][changes], chords[1:][changes], strict=True)
             if max(a, b) < 120]  # fmt: skip
    steps = np.zeros((2, 12))
    for a, b in pairs:
        steps[int(b % 10 in (1, 4, 5, 6)), (b // 10 - a // 10) % 12] += 1
    variety = np.log(len(np.unique(sounding)) + 1)
    density = np.log1p(music.density)
    loudness = np.log(music.loudness + 3e-3)
    return np.concatenate([
        np.sqrt(kinds), np.sqrt(steps.ravel() / max(len(pairs), 1)),
        [variety, np.sqrt(changes.mean() if len(changes) else 0), np.mean(chords == 120)],
        np.percentile(density, QUANTILES), np.percentile(loudness, QUANTILES),
        [np.abs(np.diff(x, prepend=x[:1])).mean() for x in (density, loudness)],
    ])  # fmt: skip


def standard(rows):
    spread = rows.std(0)
    return (rows - rows.mean(0)) / np.where(spread > 1e-6, spread, np.inf)


def whitening(rows, ridge):
    _, values, vectors = np.linalg.svd(rows / np.sqrt(len(rows)), full_matrices=False)
    return vectors.T / np.sqrt(values**2 + ridge)


def judge(video, music):
    """Maps of standardised rows of pairs into one space."""
    left, right = whitening(video, RIDGES[0]), whitening(music, RIDGES[1])
    u, correlation, v = np.linalg.svd((video @ left).T @ (music @ right) / len(video))
    weight = correlation[:SIZE]
    return left @ u[:, :SIZE] * weight, right @ v[:SIZE].T * weight


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def real(song):
    return MusicSeconds(song.music.chords, song.music.density, song.music.loudness)


def given(folder, name):
    if (folder / f"{name}.mid").is_file():
        return midi_seconds(folder / f"{name}.mid")
    return MusicSeconds.load(folder / f"{name}.npz") if (folder / f"{name}.npz").is_file() else None


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("muvi", type=Path)
    options.add_argument("--split", default="val", choices=("train", "val"))
    options.add_argument("--music", type=Path)
    options.add_argument("--candidates", type=int, default=70)
    options.add_argument("--without-clip", action="store_true")
    chosen = options.parse_args()
    clip = not chosen.without_clip

    train = list(Muvi(chosen.muvi).songs())
    video = np.stack([video_features(song, clip) for song in train])
    music = np.stack([music_features(real(song)) for song in train])
    maps = judge(standard(video), standard(music))

    songs = train if chosen.split == "train" else list(Muvi(chosen.muvi, "val").songs())
    pieces = [real(s) if chosen.music is None else given(chosen.music, s.id) for s in songs]
    there = [k for k, piece in enumerate(pieces) if piece is not None]
    seen = standard(np.stack([video_features(song, clip) for song in songs])) @ maps[0]
    heard = standard(np.stack([music_features(pieces[k]) for k in there])) @ maps[1]
    scores = unit(heard) @ unit(seen).T
    own = np.array(there)
    print(json.dumps(retrieval(scores, chosen.candidates, own=own).to_dict()))
    shuffled = scores[np.random.default_rng(0).permutation(len(scores))]
    print(json.dumps({"shuffled": retrieval(shuffled, chosen.candidates, own=own).to_dict()}))


if __name__ == "__main__":
    main()
