"""From features to a piece: the plan's arithmetic, and whole pieces by tiny random models."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from streams import longest_silence
from tiny_models import save_tiny
from vmusprod.compose import (
    CUE_BARS,
    MAX_SILENCE,
    TEMPO_RANGE,
    TEMPO_TOLERANCE,
    Composer,
    Settings,
    chord_notes,
    cues,
    motion_tempo,
    plan,
)
from vmusprod.errors import InputError
from vmusprod.models.task import Task
from vmusprod.music import tokens as tk
from vmusprod.music.midi_events import read_events
from vmusprod.music.score import read_midi
from vmusprod.video.features import VideoFeatures, motion_steps, seconds
from vmusprod.video.rows import video_rows

durations = st.one_of(
    st.floats(2, 60), st.floats(60, 7200), st.integers(2, 7200).map(float),
    st.integers(60, 216_000).map(lambda n: n * 1001 / 30_000),
)  # fmt: skip
HOURS = st.floats(2, 7200)


def features(duration: float, motion: float = 8.0, color: bool = False) -> VideoFeatures:
    rows = np.full((seconds(duration), 3, 32, 32), 1 / 3072, np.float32)
    return VideoFeatures(
        duration,
        np.full(motion_steps(duration), motion, np.float32),
        np.zeros(0, np.float32),
        rows if color else None,
    )


class TestPlan:
    @settings(max_examples=100)
    @given(durations, st.floats(0, 60))
    def test_length_and_tempo(self, duration: float, motion: float) -> None:
        video = features(duration, motion)
        p = plan(video, Settings())
        tick = p.mspq / 1e6 / 220
        assert abs(p.total_ticks * tick - duration) <= tick
        wanted = motion_tempo(video)
        assert TEMPO_RANGE[0] <= wanted <= TEMPO_RANGE[1]
        steps = duration * wanted * 4 / 60
        assert abs(p.tempo / wanted - 1) <= max(TEMPO_TOLERANCE, 0.5 / steps) + 1e-9
        assert p.tempo == pytest.approx(60e6 / p.mspq, rel=2e-6)
        # the last bar line falls on the last frame, to within mspq's rounding
        whole = p.bars * 16 - p.pickup
        assert 0 <= p.pickup < 16
        assert whole >= 1
        assert abs(whole * 55 - p.total_ticks) <= 1 + p.total_ticks * 0.5 / p.mspq

    @settings(max_examples=60)
    @example(7199.0, 175.791015625)
    @given(durations, st.floats(40, 240))
    def test_own_tempo_is_kept(self, duration: float, tempo: float) -> None:
        p = plan(features(duration), Settings(tempo=tempo))
        tick = p.mspq / 1e6 / 220
        assert p.tempo == tempo
        assert abs(p.total_ticks * tick - duration) <= tick
        # the music's last 16th lies within the video, and at most a 16th before its end
        end = (p.bars * 16 - p.pickup) * 55
        assert p.total_ticks - 55 - 2 <= end <= p.total_ticks + 1 + p.total_ticks / p.mspq
        assert 0 <= p.pickup < 16

    def test_motion_sets_the_tempo(self) -> None:
        tempi = [plan(features(600, m), Settings()).tempo for m in (0, 2, 8, 14, 21, 99)]
        assert tempi == sorted(tempi)
        assert tempi[0] == pytest.approx(90, rel=0.01)
        assert tempi[-1] == pytest.approx(130, rel=0.01)
        assert 95 < tempi[2] < tempi[3] < 125

    def test_ticks_stay_within_the_piece(self) -> None:
        p = plan(features(10.3), Settings(tempo=100.0))
        steps = range(-3, p.bars * 16 + 5)
        ticks = [p.tick(k) for k in steps]
        assert ticks == sorted(ticks)
        assert ticks[0] == 0
        assert ticks[-1] == p.total_ticks
        assert p.tick(p.pickup) == 0
        assert p.tick(p.pickup + 1) == 55

    @given(durations, st.floats(0, 60))
    def test_every_source_is_seen_to_the_end(self, duration: float, motion: float) -> None:
        video = features(min(duration, 300), motion, color=True)
        p = plan(video, Settings())
        for first, bars in cues(p.bars):
            rows = video_rows(video, *p.span(first, bars))
            assert set(rows) == {"motion", "color"}
            assert len({len(r) for r in rows.values()}) == 1


@given(st.integers(1, 6000))
def test_cues_cover_the_bars(bars: int) -> None:
    parts = cues(bars)
    assert parts[0][0] == 0
    assert sum(count for _, count in parts) == bars
    for (first, count), (following, _) in itertools.pairwise(parts):
        assert first + count == following
        assert following % 8 == 0
    assert max(count for _, count in parts) <= 1.5 * CUE_BARS + 8
    assert min(count for _, count in parts) >= min(bars, CUE_BARS // 2)


@pytest.fixture(scope="module", params=["rust", "torch"])
def composer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Composer:
    weights = save_tiny(tmp_path_factory.mktemp("weights"), 5)
    return Composer(weights=weights, engine=str(request.param))


def midi_ticks(data: bytes, path: Path) -> tuple[int, set[int]]:
    """Return the file's length and the ends of its notes, in ticks."""
    path.write_bytes(data)
    mspq = int.from_bytes(data[data.index(b"\xff\x51\x03") + 3 :][:3], "big")
    _, length = read_events(path, 1_000_000)
    ends = np.round(read_midi(path).offset * 220e6 / mspq).astype(int)
    return round(length * 220 / mspq), set(ends.tolist())


@pytest.mark.parametrize(
    ("duration", "tempo"), [(2.0, None), (2.0, 40.0), (7.77, None), (12.4, 131.0)]
)
def test_a_piece_is_as_long_as_the_video(
    duration: float, tempo: float | None, composer: Composer, tmp_path: Path
) -> None:
    video = features(duration, color=True)
    piece = composer.compose(video, Settings(seed=3, tempo=tempo))
    p = piece.plan
    length, ends = midi_ticks(piece.midi(), tmp_path / "a.mid")
    assert length == p.total_ticks
    assert abs(length * p.mspq / 220e6 - duration) <= p.mspq / 220e6
    assert max(ends) == length  # the last chord rings to the last frame
    assert len(piece.chords) == p.bars * 4
    assert piece.chords[-1] == piece.key[0] * 10 + piece.key[1]
    both = np.concatenate([piece.melody, piece.accompaniment])
    quiet = longest_silence(both, p.pickup, p.bars * 16)
    assert quiet <= max(MAX_SILENCE * p.tempo * 4 / 60, 4)
    assert piece.note_count == len(both)


def test_same_seed_same_bytes(composer: Composer) -> None:
    video = features(9.0)
    threads = torch.get_num_threads()
    made = []
    try:
        for seed, count in ((1, 1), (1, 2), (2, 1)):
            torch.set_num_threads(count)
            torch.manual_seed(count)  # nothing may depend on torch's own dice
            made.append(composer.compose(video, Settings(seed=seed)).midi(text="x"))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_settings_are_followed(composer: Composer) -> None:
    video = features(9.0)
    for key in ((0, 0), (6, 0), (3, 1)):
        piece = composer.compose(video, Settings(key=key))
        assert piece.key == key
        assert piece.chords[-1] == key[0] * 10 + key[1]
        last = piece.melody[-1, 2] % 12
        assert (last - key[0]) % 12 in ((0, 4, 7) if key[1] == 0 else (0, 3, 7))
    cold, colder = (
        composer.compose(video, Settings(seed=s, key=(0, 0), temperature=0)) for s in (1, 2)
    )
    assert cold.midi() == colder.midi()


def test_own_chords_and_melody_are_kept(composer: Composer) -> None:
    video = features(9.0)
    free = composer.compose(video, Settings(key=(2, 0)))
    beats = 4 * free.plan.bars
    chords = np.resize(np.array([20, 20, 90, 120], np.uint8), beats)
    melody = np.array([[4 * i, 3, 62 + i % 5, 80] for i in range(4 * free.plan.bars)], np.int32)
    piece = composer.compose(video, Settings(key=(2, 0), chords=chords))
    assert np.array_equal(piece.chords, chords)
    assert not np.array_equal(piece.melody, free.melody)  # the melody hears the chords
    piece = composer.compose(video, Settings(key=(2, 0), melody=melody))
    assert np.array_equal(piece.melody, melody)
    assert np.array_equal(piece.chords, free.chords)
    assert not np.array_equal(piece.accompaniment, free.accompaniment)


def test_long_pieces_are_written_cue_by_cue(
    composer: Composer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmusprod.compose.CUE_BARS", 8)
    told: list[tuple[str, float]] = []
    video = features(42.0)
    piece = composer.compose(video, Settings(), lambda stage, x: told.append((stage, x)))
    assert piece.plan.bars > 12
    length, ends = midi_ticks(piece.midi(), tmp_path / "a.mid")
    assert length == piece.plan.total_ticks == max(ends)
    assert len(piece.chords) == piece.plan.bars * 4
    both = np.concatenate([piece.melody, piece.accompaniment])
    quiet = longest_silence(both, piece.plan.pickup, piece.plan.bars * 16)
    assert quiet <= MAX_SILENCE * piece.plan.tempo * 4 / 60
    assert {stage for stage, _ in told} == {"chord", "melody", "accompaniment"}
    assert all(0 <= x <= 1 for _, x in told)


def test_stems(composer: Composer) -> None:
    piece = composer.compose(features(5.0), Settings())
    names = {which: [t.name for t in piece.tracks(which)] for which in ("all", "melody", "chords")}
    assert names["all"] == ["Melody", "Accompaniment"]
    assert names["melody"] == ["Melody"]
    assert names["chords"] == ["Chords"]
    for which in ("all", "melody", "chords", "accompaniment"):
        assert piece.midi(which, "seed 1").startswith(b"MThd")
    assert b"seed 1" in piece.midi("all", "seed 1")


def test_chords_as_notes() -> None:
    chords = np.array([0, 0, 91, 120], np.uint8)
    notes = chord_notes(chords)
    assert {tuple(n) for n in notes[:, :3].tolist()} == {
        (0, 8, 36), (0, 8, 60), (0, 8, 64), (0, 8, 67),
        (8, 4, 45), (8, 4, 60), (8, 4, 64), (8, 4, 69),
    }  # fmt: skip
    assert len(chord_notes(np.full(4, 120, np.uint8))) == 0


def test_the_controls_reach_the_models(composer: Composer, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[Task] = []
    original = composer.engine.write

    def spy(stage: str, asked: list[Task], progress: object) -> list[tk.Tokens]:
        tasks.extend(asked)
        return original(stage, asked, None)

    monkeypatch.setattr(composer.engine, "write", spy)
    composer.compose(features(4.0), Settings(key=(0, 1), tempo=120.0))
    assert len(tasks) >= 3  # more where a melody is written again
    for task in tasks:
        assert (task.sheet.mode, task.sheet.tempo) == (2, 16)


def test_many_at_once_are_the_same_pieces(composer: Composer) -> None:
    wanted = [
        (features(4.0), Settings(seed=1)),
        (features(9.0, 12.0, color=True), Settings(seed=2)),
        (features(4.0), Settings(seed=3, chords=np.array([0, 70], np.uint8))),
        (features(5.0), Settings(seed=1, melody=np.array([[0, 4, 60, 80]], np.int32))),
    ]
    told: list[tuple[str, float]] = []
    together = composer.compose_many(wanted, lambda stage, x: told.append((stage, x)))
    alone = [composer.compose(*one) for one in wanted]
    assert [piece.midi() for piece in together] == [piece.midi() for piece in alone]
    assert [x for stage, x in told if stage == "melody"][-1] == 1
    assert composer.compose_many([]) == []


def test_missing_and_mixed_up_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"chord\.safetensors: no such file"):
        Composer(weights=tmp_path)
    folder = save_tiny(tmp_path)
    (folder / "melody.safetensors").replace(folder / "accompaniment.safetensors")
    save = folder / "chord.safetensors"
    (folder / "melody.safetensors").write_bytes(save.read_bytes())
    with pytest.raises(InputError, match="holds the chord stage, not melody"):
        Composer(weights=folder)


def test_pedal_ends_with_the_piece(composer: Composer) -> None:
    piece = composer.compose(features(8.0), Settings())
    pedal = list(piece.tracks("melody")[0].pedal)
    ticks: NDArray[np.int64] = np.array([t for t, _ in pedal])
    assert (np.diff(ticks) > 0).all()
    values = [v for _, v in pedal]
    assert all(a != b for a, b in itertools.pairwise(values))
    assert pedal[-1] == (piece.plan.total_ticks, 0)
    assert values[0] > 0
    assert tk.BEATS_PER_BAR * piece.plan.bars == len(piece.chords)
