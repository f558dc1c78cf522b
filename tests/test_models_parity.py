"""The parallel form that trains and the step form that decodes are the same model."""

import numpy as np
import pytest
import torch

from vmusprod.dataset.pack import Pack, pack_song, write_pack
from vmusprod.models.config import STAGES, config
from vmusprod.models.grammar import Frame
from vmusprod.models.sampling import Source, Writer
from vmusprod.models.stage import Stage
from vmusprod.models.task import Sheet, Task
from vmusprod.music import tokens as tk
from vmusprod.training.data import StageData, collate, make_example


def random_song(seed, bars=12):
    rng = np.random.default_rng(seed)
    count = bars * 9
    notes = np.stack(
        [
            rng.integers(0, bars * 16, count),
            rng.integers(1, 12, count),
            rng.integers(40, 80, count),
            rng.integers(30, 110, count),
        ],
        1,
    )
    half = bars // 2 * 16  # the second half repeats the first, so that recall has something to find
    again = notes[notes[:, 0] < half] + [half, 0, 0, 0]
    notes = tk.normalise(np.concatenate([notes[notes[:, 0] < half], again]).astype(np.int32))
    chords = np.resize(rng.integers(0, 121, bars * 2).astype(np.uint8), bars * 4)
    return pack_song(
        id=f"song{seed}",
        source="pop909",
        notes=notes,
        melody=notes[:, 2] > 70,
        chords=chords,
        key=(0, 0),
        tempo=100,
        split="train" if seed else "val",
    )


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    path = tmp_path_factory.mktemp("pack") / "songs.npz"
    write_pack(path, [random_song(i) for i in range(3)], {})
    return Pack(path)


def shaken(stage, name="small"):
    """A model all of whose weights matter (the zero-initialised ones too)."""
    torch.manual_seed(1)
    settings = config(name, stage)
    model = Stage(settings).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(torch.randn_like(p) * 0.03)
    return model


class Replay(Writer):
    """A writer that is told what to write and keeps the hidden states."""

    def __init__(self, *args, script, **kwargs):
        super().__init__(*args, **kwargs)
        self.script = [*script.astype(np.int64), np.zeros(7, np.int64)]
        self.hidden = []

    def _next(self, h, dice, rng, *, crowded):
        self.hidden.append(h)
        return self.script[len(self.hidden) - 1]


@pytest.mark.parametrize("name", ["small", "paper"])
@pytest.mark.parametrize("stage", STAGES)
@torch.no_grad()
def test_step_equals_parallel(stage, name, pack):
    song = pack.songs("val")[0]
    model = shaken(stage, name)
    example = make_example(stage, song)
    other = make_example(stage, pack.songs("train")[0])
    batch = collate([other, example])  # the song second: packing must not leak into it
    memory = where = None
    if batch.source is not None:
        memory, where = model.encode(batch.source), batch.source.packed
    parallel = model.heads.norm(model(batch.decoder, memory, where))
    expected = parallel[batch.rows[len(other.target) :]]

    zeros = np.zeros(song.bars, np.int64)
    context = example.decoder.context
    sheet = Sheet(song.bars, int(context["tempo"][0]), 1 + song.mode, 0, zeros, zeros)
    source = None
    if example.source is not None:
        chords = tk.decode_chords(song.chord, song.bars)
        source = Source(model, example.source.tokens.astype(np.int16), chords, sheet)
    task = Task(Frame(song.bars, 0), sheet, {})
    written = (writer := Replay(model, task, source, script=example.target[:-1])).write()
    assert np.array_equal(written, example.target[:-1])
    actual = torch.cat(writer.hidden)
    torch.testing.assert_close(actual, expected, atol=2e-4, rtol=1e-3)


def test_data_drops_controls_only_in_training(pack):
    data = StageData(pack.songs("train"), "melody")
    held = next(iter(data.evaluation(10**6)))
    assert not held.decoder.context.density.any()
    kept = [
        collate(data.examples, np.random.default_rng(i)).decoder.context.density.any()
        for i in range(8)
    ]
    assert any(kept)
