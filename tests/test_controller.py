"""The video controller: sources may be missing, videos do not mix, both forms agree."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from test_models_parity import Replay, Sheet, pack, shaken  # noqa: F401
from vmusprod.models.config import SOURCES, config
from vmusprod.models.controller import SOURCE_SIZES, Controller, VideoInput, sequence_slots
from vmusprod.models.grammar import Frame
from vmusprod.models.sampling import video_states
from vmusprod.models.stage import Stage
from vmusprod.models.task import Task
from vmusprod.training.data import collate, make_example


def rows(seconds, seed, sources=SOURCES):
    rng = np.random.default_rng(seed)
    return {s: rng.random((seconds, SOURCE_SIZES[s])).astype(np.float32) for s in sources}


def video(*parts):
    names = {name for part in parts for name in part}
    seconds = [len(next(iter(p.values()))) for p in parts]
    filled = {
        name: torch.cat(
            [
                torch.as_tensor(p[name]) if name in p else torch.full((n, SOURCE_SIZES[name]), 9.0)
                for p, n in zip(parts, seconds, strict=True)
            ]
        )
        for name in names
    }
    return VideoInput(filled, seconds, {n: [n in p for p in parts] for n in names})


@pytest.fixture(scope="module")
def controller():
    torch.manual_seed(0)
    made = Controller(config("small", "chord")).eval()
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    return made


@torch.no_grad()
def test_videos_of_a_batch_do_not_mix(controller):
    a, b = rows(7, 0, ("color", "motion")), rows(5, 1, ("motion", "semantic"))
    together, packed = controller(video(a, b))
    alone_a, _ = controller(video(a))
    alone_b, _ = controller(video(b))
    assert packed.lengths == [14, 10]
    torch.testing.assert_close(together, torch.cat([alone_a, alone_b]), atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_counts(controller, source):
    full = rows(6, 0)
    without = {k: v for k, v in full.items() if k != source}
    seen, _ = controller(video(full))
    less, packed = controller(video(without))
    assert packed.lengths == [18]
    assert len(seen) == 24
    other = dict(full) | {source: full[source] + 1}
    moved, _ = controller(video(other))
    assert (moved - seen).abs().max() > 1e-3
    assert torch.isfinite(less).all()


@torch.no_grad()
def test_nothing_to_see(controller):
    assert controller(VideoInput({}, [4], {})) is None
    model = Stage(replace(config("small", "chord"), sources=()))
    assert video_states(model, rows(4, 0)) is None


@torch.no_grad()
def test_step_equals_parallel(pack):  # noqa: F811
    model = shaken("chord")
    songs = [pack.songs("train")[0], pack.songs("val")[0]]
    examples = [make_example("chord", s) for s in songs]
    batch = collate(examples)
    seen = [rows(9, 0), rows(11, 1, ("color", "motion"))]
    memory, where = model.controller(video(*seen))
    packed = batch.decoder.packed
    sequence = torch.repeat_interleave(torch.arange(2), torch.tensor(packed.lengths))
    decoder = replace(batch.decoder, packed=replace(packed, slots=sequence_slots(sequence, 2)))
    hidden = model.heads.norm(model(decoder, memory, where))
    expected = hidden[batch.rows[len(examples[0].target) :]]

    song, example = songs[1], examples[1]
    zeros = np.zeros(song.bars, np.int64)
    sheet = Sheet(
        song.bars, int(example.decoder.context["tempo"][0]), 1 + song.mode, 0, zeros, zeros
    )
    states = video_states(model, seen[1])
    task = Task(Frame(song.bars, 0), sheet, {})
    writer = Replay(model, task, None, states, script=example.target[:-1])
    writer.write()
    torch.testing.assert_close(torch.cat(writer.hidden), expected, atol=3e-4, rtol=1e-3)
