"""The Rust engine: the same logits as torch, the same streams however the work is shared out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from engine_oracle import shaken, song_task, stage_engine, torch_logits, video_logits
from streams import assert_accompaniment, assert_chords, assert_melody
from test_models_parity import random_song
from tiny_models import save_tiny, tiny_stage
from vmusprod._vmus_rs import StageEngine
from vmusprod.dataset.pack import Pack, PackedSong, write_pack
from vmusprod.errors import InputError, VmusError
from vmusprod.models.config import SOURCES, STAGES
from vmusprod.models.controller import SOURCE_SIZES
from vmusprod.models.engine import RustEngine, load_engine
from vmusprod.models.grammar import Frame, Grammar
from vmusprod.models.heads import CHAINS
from vmusprod.models.sampling import write_task
from vmusprod.models.task import Dice, Sheet, Task
from vmusprod.models.weight_file import default_weights
from vmusprod.models.weights import load_stage
from vmusprod.music import tokens as tk

LEVELS = StageEngine.levels()
MODELS = {stage: tiny_stage(stage, 1) for stage in STAGES}
ENGINES = {stage: stage_engine(model) for stage, model in MODELS.items()}


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> PackedSong:
    path = tmp_path_factory.mktemp("pack") / "songs.npz"
    write_pack(path, [random_song(1, bars=6)], {})
    return Pack(path).songs("train")[0]


def assert_close(model: torch.nn.Module, song: PackedSong, engine: StageEngine) -> None:
    task, tokens = song_task(str(model.config.stage), song)
    found, wanted = engine.logits(task, tokens), torch_logits(model, song)
    assert set(found) == set(wanted)
    for name, logits in wanted.items():
        scale = max(1.0, float(np.abs(logits).max()) / 10)
        np.testing.assert_allclose(found[name], logits, atol=1e-4 * scale, rtol=0, err_msg=name)


@pytest.mark.parametrize("name", ["small", "paper"])
@pytest.mark.parametrize("stage", STAGES)
def test_logits_are_torchs(stage: str, name: str, song: PackedSong) -> None:
    model = shaken(stage, name)
    assert_close(model, song, stage_engine(model))


@pytest.mark.parametrize("stage", STAGES)
def test_logits_of_the_weights_in_the_package(stage: str, song: PackedSong) -> None:
    path = default_weights() / f"{stage}.safetensors"
    model, _ = load_stage(path, stage)
    assert_close(model, song, RustEngine(path.parent, precision="f16").stages[stage])


@pytest.mark.parametrize("names", [SOURCES, ("motion", "color"), ("semantic",)])
def test_the_chord_stage_sees_the_video(names: tuple[str, ...], song: PackedSong) -> None:
    model = shaken("chord", "small")
    rng = np.random.default_rng(0)
    video = {s: rng.random((9, SOURCE_SIZES[s])).astype(np.float32) for s in names}
    task, tokens = song_task("chord", song)
    engine = stage_engine(model)
    found = engine.logits(replace(task, video=video), tokens)
    for name, logits in video_logits(model, song, video).items():
        np.testing.assert_allclose(found[name], logits, atol=1e-4, rtol=0, err_msg=name)
    blind = engine.logits(task, tokens)
    assert np.abs(blind["root"] - found["root"]).max() > 1e-2


@pytest.mark.parametrize("precision", ["f32", "f16", "int8"])
@pytest.mark.parametrize("stage", STAGES)
def test_every_simd_level_gives_the_same_bits(stage: str, precision: str, song: PackedSong) -> None:
    task, tokens = song_task(stage, song)
    made = [
        stage_engine(MODELS[stage], precision, level).logits(task, tokens[:60]) for level in LEVELS
    ]
    for other in made[1:]:
        for name, logits in made[0].items():
            assert logits.tobytes() == other[name].tobytes()


@pytest.mark.parametrize("stage", STAGES)
def test_bytes_cost_little(stage: str, song: PackedSong) -> None:
    model, _ = load_stage(default_weights() / f"{stage}.safetensors", stage)
    task, tokens = song_task(stage, song)
    exact, coarse = (
        stage_engine(model, precision).logits(task, tokens) for precision in ("f32", "int8")
    )
    for name, logits in exact.items():
        assert 0 < np.abs(coarse[name] - logits).mean() < 0.02 * np.abs(logits).mean()


def make_task(
    stage: str, frame: Frame, seed: int, temperature: float = 1.0, top_p: float = 0.98
) -> Task:
    rng = np.random.default_rng(seed)
    free = np.zeros(frame.bars, np.int64)
    sheet = Sheet(frame.bars, 15, 1 + frame.mode, 1, free, free)
    dice = dict.fromkeys(tk.ATTRIBUTES, Dice(temperature, top_p))
    task = Task(frame, sheet, dice, (seed, 0, 1))
    if stage == "chord":
        return task
    chords = rng.integers(0, 120, 4 * frame.bars).astype(np.uint8)
    melody = None
    if stage == "accompaniment":
        count = 3 * frame.bars
        columns = (frame.bars * 16, 8), (12, 1), (40, 50), (90, 30)
        rows = np.stack([rng.integers(low, low + n, count) for n, low in columns], 1)
        melody = tk.normalise(rows.astype(np.int32))
    source = tk.encode(frame.bars, chords=chords, notes=melody)
    return replace(task, source=source, chords=chords, melody=melody)


frames = st.builds(
    Frame, st.integers(1, 5), st.integers(0, 1), st.integers(0, 15), st.integers(4, 26)
)


def assert_allowed(stage: str, task: Task, tokens: tk.Tokens) -> None:
    """Every token is one that the Python grammar allows, and the end comes where it may."""
    grammar = Grammar(stage, task.frame, task.melody)
    for token in tokens.astype(np.int64):
        assert grammar.types()[token[tk.TYPE]]
        chosen: dict[int, int] = {}
        for a in CHAINS[int(token[tk.TYPE])]:
            mask = grammar.mask(a, chosen)
            assert token[a] > 0 if mask is None else mask[token[a]]
            chosen[a] = int(token[a])
        grammar.accept(token)
    assert grammar.types()[tk.END]


@settings(max_examples=25)
@given(st.sampled_from(STAGES), frames, st.integers(0, 10**6), st.sampled_from([0.0, 1.0, 4.0]))
def test_streams_are_well_formed(stage: str, frame: Frame, seed: int, temperature: float) -> None:
    task = make_task(stage, frame, seed, temperature)
    tokens = ENGINES[stage].write([task])[0]
    assert_allowed(stage, task, tokens)
    if stage == "chord":
        assert_chords(tokens, frame)
    elif stage == "melody":
        assert_melody(tokens, frame)
    elif task.melody is not None:
        assert_accompaniment(tokens, frame, task.melody)


@pytest.mark.parametrize("stage", STAGES)
def test_streams_are_torchs(stage: str) -> None:
    """The sums differ in the last digits, so that a draw may fall otherwise: rarely."""
    same = 0
    for seed in range(8):
        task = make_task(stage, Frame(1 + seed % 5, seed % 2, seed), seed, 0.5 + 0.4 * seed)
        with torch.inference_mode():
            wanted = write_task(MODELS[stage], task)
        same += np.array_equal(ENGINES[stage].write([task])[0], wanted)
    assert same >= 7


@settings(max_examples=10)
@given(
    st.sampled_from(STAGES), st.lists(frames, max_size=7), st.integers(1, 3), st.integers(1, 9),
    st.sampled_from(LEVELS), st.sampled_from(["f32", "int8"]),
)  # fmt: skip
def test_sharing_changes_nothing(
    stage: str, wanted: list[Frame], threads: int, together: int, level: str, precision: str
) -> None:
    tasks = [make_task(stage, frame, seed) for seed, frame in enumerate(wanted)]
    engine = stage_engine(MODELS[stage], precision)
    alone = [engine.write([task], threads=1)[0] for task in tasks]
    other = stage_engine(MODELS[stage], precision, level)
    shared = other.write(tasks, threads=threads, together=together)
    assert [t.tobytes() for t in alone] == [t.tobytes() for t in shared]


def test_progress_and_stopping() -> None:
    told: list[float] = []
    tasks = [make_task("melody", Frame(4, 0), seed) for seed in range(3)]
    ENGINES["melody"].write(tasks, told.append)
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)

    def stop(share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ENGINES["melody"].write(tasks, stop)


def test_a_bar_cannot_grow_without_end() -> None:
    model = tiny_stage("accompaniment", 0)
    with torch.no_grad():
        model.heads.kind.bias[tk.NOTE] += 1e4
        for a in (tk.BARBEAT, tk.PITCH):
            head = model.heads.attributes[tk.ATTRIBUTES[a]]
            head.logits.bias.sub_(1e3 * torch.arange(tk.SIZES[a]))
            if a == tk.BARBEAT:
                head.logits.bias[1] = -1e8
    task = make_task("accompaniment", Frame(3, 0, silence=99), 0)
    tokens = stage_engine(model).write([task])[0]
    held = np.bincount(tk.places(tokens)[0])
    assert held.max() <= 162
    assert (held[:2] >= 160).all()


def test_weights_that_give_nothing_finite(tmp_path: Path) -> None:
    model = tiny_stage("chord")
    with torch.no_grad():
        model.heads.kind.weight.fill_(3e38)
    with pytest.raises(FloatingPointError):
        stage_engine(model).write([make_task("chord", Frame(2, 0), 0)])
    engine = RustEngine(save_tiny(tmp_path))
    engine.stages["chord"] = stage_engine(model)
    with pytest.raises(VmusError, match="unusable"):
        engine.write("chord", [make_task("chord", Frame(2, 0), 0)])


@pytest.mark.parametrize(
    "change",
    [
        {"width": 128}, {"heads": 3}, {"heads": 0}, {"max_bars": 10**9}, {"stage": "drums"},
        {"decoder_layers": 2}, {"recall": False}, {"shift": 9}, {"width": -1}, {"width": "x"},
        {"timing_size": 15}, {"encoder_layers": 0},
    ],
    ids=str,
)  # fmt: skip
def test_configurations_of_other_models(change: dict[str, object]) -> None:
    model = MODELS["melody"]
    weights = save({k: v.contiguous() for k, v in model.state_dict().items()})
    with pytest.raises(ValueError, match=r"\S"):
        StageEngine(weights, json.dumps({**model.config.to_dict(), **change}))


@settings(max_examples=60)
@given(st.binary(max_size=64), st.integers(0, 400), st.integers(0, 255))
def test_broken_files(junk: bytes, place: int, byte: int) -> None:
    config = json.dumps(MODELS["chord"].config.to_dict())
    with pytest.raises(ValueError, match=r"\S"):
        StageEngine(junk, config)
    good = save({k: v.contiguous() for k, v in MODELS["chord"].state_dict().items()})
    bad = good[:place] + bytes([byte]) + good[place + 1 :]
    try:
        StageEngine(bad, config)
    except ValueError:
        assert bad != good


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"frame": Frame(0, 0)}, ValueError),
        ({"frame": Frame(10**9, 0)}, ValueError),
        ({"frame": Frame(-1, 0)}, (OverflowError, TypeError)),
        ({"frame": Frame(2, 0, 16)}, ValueError),
        ({"source": None}, ValueError),
        ({"chords": np.zeros(0, np.uint8)}, ValueError),
        ({"source": np.full((4, 7), 999, np.int16)}, ValueError),
        ({"source": np.full((4, 7), -1, np.int16)}, ValueError),
        ({"source": np.zeros((4, 6), np.int16)}, ValueError),
        ({"source": np.zeros((4, 7), np.int64)}, TypeError),
        ({"video": {"smell": np.zeros((4, 2), np.float32)}}, ValueError),
        ({"video": {"motion": np.zeros((4, 3), np.float32)}}, ValueError),
        ({"video": {"motion": np.full((4, 2), np.nan, np.float32)}}, ValueError),
        ({"dice": None}, TypeError),
    ],
    ids=str,
)
def test_tasks_that_make_no_sense(change: dict[str, object], error: type[Exception]) -> None:
    task = make_task("melody", Frame(2, 0), 0)
    with pytest.raises(error):
        ENGINES["melody"].write([replace(task, **change)])  # type: ignore[arg-type]


def test_an_empty_source_is_written_to() -> None:
    task = replace(make_task("melody", Frame(2, 0), 0), source=np.zeros((0, 7), np.int16))
    assert_melody(ENGINES["melody"].write([task])[0], task.frame)


def test_names() -> None:
    weights = save({k: v.contiguous() for k, v in MODELS["chord"].state_dict().items()})
    config = json.dumps(MODELS["chord"].config.to_dict())
    for precision, level in (("f8", None), ("f32", "mmx")):
        with pytest.raises(ValueError, match="must be"):
            StageEngine(weights, config, precision, level)
    assert StageEngine(weights, config).level == LEVELS[0]


def test_which_engine(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path)
    assert isinstance(load_engine("auto", folder), RustEngine)
    assert not isinstance(load_engine("torch", folder), RustEngine)
    with pytest.raises(VmusError, match="not on cuda"):
        load_engine("rust", folder, "cuda")
    with pytest.raises(ValueError, match="unknown engine"):
        load_engine("abacus", folder)
    (folder / "melody.safetensors").write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be read as vmus weights"):
        load_engine("rust", folder)


def test_torch_is_not_needed() -> None:
    """The cold start of a short clip is dominated by imports."""
    code = (
        "import sys, numpy as np\n"
        "from vmusprod.compose import Composer, Settings\n"
        "from vmusprod.video.features import VideoFeatures\n"
        "video = VideoFeatures(4.0, np.zeros(20, np.float32), np.zeros(0, np.float32), None)\n"
        "assert Composer().compose(video, Settings()).note_count\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
