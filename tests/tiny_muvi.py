"""A data set in MuVi-Sync's form, small, whose chords change on beats of a known tempo."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SECONDS = 48
BEAT = 0.6  # seconds: 100 bpm
DOWNBEAT = 1.5


def write_muvi(root: Path, songs: int = 3) -> Path:
    """Songs of 48 s in each split; the last of train has one chord only."""
    rng = np.random.default_rng(0)
    (root / "chord").mkdir(parents=True)
    np.savez(
        root / "semantic_scale.npz",
        mean=np.full(768, 0.1, np.float32),
        scale=np.full(768, 0.01, np.float32),
    )
    for first, split in ((1, "train"), (101, "val")):
        names = [f"{first + i:03d}" for i in range(songs)]
        rows = SECONDS * songs
        quantised = rng.integers(-100, 100, (rows, 768)).astype(np.int8)
        np.save(root / f"{split}_semantic_0.npy", quantised)
        np.savez(
            root / f"{split}_tracks.npz",
            id=np.array(names),
            offset=np.arange(songs + 1) * SECONDS,
            emotion6=rng.dirichlet(np.ones(6), rows).astype(np.float16),
            motion=rng.uniform(0, 60, (rows, 1)).astype(np.float16),
            scene=(np.arange(rows) % SECONDS % 7).astype(np.float16)[:, None],
            loudness=rng.uniform(0, 0.4, (rows, 1)).astype(np.float16),
            note_density=rng.integers(0, 20, (rows, 1)).astype(np.float16),
        )
        table = "id\tyoutube_id\ttitle\tkey\n"
        for i, name in enumerate(names):
            table += f"{name}\tx\tSong {i}\t{('D major', 'A minor')[i % 2]}\n"
            single = split == "train" and i == songs - 1
            (root / "chord" / f"{name}.lab").write_text(_chords(single))
        (root / f"{split}.tsv").write_text(table)
    return root


def _chords(single: bool) -> str:
    """Bars of D, A, B minor (half a bar) and G, from the first downbeat on; N before."""
    if single:
        return f"0.000 {SECONDS}.000 D\n"
    lines = [f"0.000 {DOWNBEAT:.3f} N"]
    time, number = DOWNBEAT, 0
    names = (("D", 4), ("A", 4), ("B:min", 2), ("G", 2), ("A", 4))
    while time < SECONDS - 6:
        name, beats = names[number % len(names)]
        lines.append(f"{time:.3f} {time + beats * BEAT:.3f} {name}")
        time += beats * BEAT
        number += 1
    lines.append(f"{time:.3f} {SECONDS}.000 N")
    return "\n".join(lines) + "\n"


def write_oasis(root: Path, pictures: int = 16) -> Path:
    """Plain pictures from blue (sad) to yellow (glad)."""
    import av

    (root / "thumbs").mkdir(parents=True)
    table = "file\tcategory\tvalence_mean_1to7\tarousal_mean_1to7\n"
    for i in range(pictures):
        share = i / (pictures - 1)
        pixels = np.full((48, 64, 3), (255 * share, 255 * share, 255 * (1 - share)), np.uint8)
        with av.open(str(root / "thumbs" / f"p{i}.png"), "w", format="image2") as out:
            stream = out.add_stream("png", rate=1)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
        table += f"p{i}.png\tx\t{1 + 6 * share}\t{7 - 6 * share}\n"
    (root / "thumbs.tsv").write_text(table)
    return root
