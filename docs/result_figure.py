"""Draws a piece under the video that it was written for: docs/result.png.

python docs/result_figure.py VIDEO docs/result.png
"""

import sys
from pathlib import Path

import av
import matplotlib as mpl
import numpy as np

from vmusprod.compose import Composer, Settings
from vmusprod.music import tokens as tk
from vmusprod.music.key import key_name
from vmusprod.video.cache import load_features

mpl.use("Agg")
import matplotlib.pyplot as plt

FLATS = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
SHARPS = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
FRAMES = 12


def frames(video, count):
    with av.open(str(video)) as file:
        pictures = [
            f.to_ndarray(format="rgb24", width=256, height=144) for f in file.decode(video=0)
        ]
    return [pictures[i] for i in np.linspace(0, len(pictures) - 1, count + 2).astype(int)[1:-1]]


def main(video, out):
    features = load_features(video)
    piece = Composer().compose(features, Settings(seed=0))
    second = 60 / piece.plan.tempo / tk.STEPS_PER_BEAT
    start = piece.plan.pickup

    figure, (strip, motion, roll) = plt.subplots(
        3, 1, figsize=(13, 7), sharex=True, height_ratios=[1.1, 0.6, 4], layout="constrained"
    )
    width = features.duration / FRAMES
    for i, picture in enumerate(frames(video, FRAMES)):
        strip.imshow(picture, extent=(i * width, (i + 1) * width, 0, 1), aspect="auto")
    strip.set(ylim=(0, 1), yticks=[], title=f"{Path(video).name}: {key_name(*piece.key)}, "
              f"{piece.plan.tempo:.0f} bpm, {piece.plan.bars} bars")  # fmt: skip
    motion.fill_between(np.arange(len(features.motion)) * 0.2, features.motion, color="#999")
    motion.vlines(features.cuts, 0, features.motion.max(), color="#c33", lw=1)
    motion.set(yticks=[], ylabel="motion, cuts")
    for notes, color, label in (
        (piece.accompaniment, "#3b6ea5", "accompaniment"),
        (piece.melody, "#d9822b", "melody"),
    ):
        left = np.maximum((notes[:, 0] - start) * second, 0)
        length = notes[:, 1] * second
        roll.barh(notes[:, 2], length, left=left, height=0.9, color=color, label=label)
    for bar in range(piece.plan.bars):
        roll.axvline((bar * tk.STEPS_PER_BAR - start) * second, color="#ddd", lw=0.6, zorder=0)
    tonic, mode = piece.key
    names = SHARPS if (tonic + 3 * mode) % 12 in (2, 4, 7, 9, 11) else FLATS  # D, E, G, A, B
    low = min(piece.accompaniment[:, 2].min(), piece.melody[:, 2].min()) - 5
    for beat, chord in enumerate(piece.chords):
        if (beat and chord == piece.chords[beat - 1]) or chord == tk.NO_CHORD:
            continue
        quality = "" if chord % 10 == 0 else tk.QUALITIES[chord % 10].replace("M", "maj")
        name = names[chord // 10] + quality
        roll.text(max((beat * 4 - start) * second, 0), low, name, fontsize=8)
    roll.set(
        xlim=(0, features.duration), ylim=(low - 1, None), xlabel="seconds", ylabel="MIDI pitch"
    )
    roll.legend(loc="upper left")
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
