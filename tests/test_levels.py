"""How dense and loud bars are: as VMCP hears the finished MIDI, and as the video asks for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tiny_models import save_tiny
from vmusprod.compose import Composer, Plan, Settings, plan
from vmusprod.levels import as_dense, as_loud, bar_levels, louder, velocity_gains
from vmusprod.music import tokens as tk
from vmusprod.music.form import hypermeasures
from vmusprod.music.pedal import pedal_lifts, pedalled
from vmusprod.music.score import read_midi
from vmusprod.piece import Piece
from vmusprod.video.features import VideoFeatures
from vmusprod.vmcp.midi import FAINT, midi_seconds

ROWS = st.lists(
    st.tuples(st.integers(0, 62), st.integers(1, 30), st.integers(40, 80), st.integers(1, 127)),
    min_size=1,
    max_size=30,
)
CHORDS = st.lists(st.integers(0, 2), min_size=16, max_size=16)


def grid() -> Plan:
    still = VideoFeatures(8.0, np.full(40, 21.0, np.float32), np.zeros(0, np.float32))
    return plan(still, Settings(tempo=120.0))


@given(ROWS, CHORDS)
def test_the_pedal_is_that_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, ...]], chords: list[int]
) -> None:
    notes = tk.normalise(np.array(rows, np.int32))
    notes = notes[notes[:, 0] + notes[:, 1] <= 64]
    if not len(notes):
        return
    piece = Piece(grid(), (0, 0), np.array(chords, np.uint8), notes[:0], notes)
    path = tmp_path_factory.mktemp("pedal") / "p.mid"
    path.write_bytes(piece.midi())
    heard = read_midi(path, pedal=True)
    held = pedalled(notes, piece.chords)
    order = np.lexsort((held[:, 2], held[:, 0]))
    assert heard.pitch.tolist() == held[order, 2].tolist()
    ends = (held[:, 0] + held[:, 1])[order] * 0.125
    assert heard.offset == pytest.approx(ends, abs=0.01)
    assert 0 in pedal_lifts(piece.chords)


def test_bars_are_as_vmcp_hears_them(tmp_path: Path) -> None:
    motion = np.full(100, 12, np.float32)
    video = VideoFeatures(20.0, motion, np.zeros(0, np.float32))
    piece = Composer(save_tiny(tmp_path)).compose(video, Settings(3, (2, 0), tempo=120.0))
    path = tmp_path / "p.mid"
    path.write_bytes(piece.midi())
    heard = midi_seconds(path)
    notes = tk.normalise(np.concatenate([piece.melody, piece.accompaniment]))
    bars = bar_levels(notes, piece.chords, piece.plan)
    seconds = np.stack([np.log1p(heard.density), np.log(heard.loudness + FAINT)], 1)
    pairs = seconds.reshape(-1, 2, 2).mean(1)  # two seconds a bar
    assert bars == pytest.approx(pairs, abs=0.25)
    assert np.abs(bars - pairs).mean() < 0.05


def test_bars_become_as_loud_as_wanted() -> None:
    rows = [[4 * i, 4, 60 + i % 5, 40 + i % 3] for i in range(32)]
    notes, chords = np.array(rows, np.int32), np.zeros(32, np.uint8)
    video = VideoFeatures(16.0, np.full(80, 21.0, np.float32), np.zeros(0, np.float32))
    layout = plan(video, Settings(tempo=120.0))
    wanted = np.linspace(-3.0, -1.8, 8)
    before = bar_levels(notes, chords, layout)[:, 1]
    moved, none = as_loud((notes, notes[:0]), notes[:0], chords, layout, wanted)
    after = bar_levels(moved, chords, layout)[:, 1]
    assert np.abs(after - wanted).max() < 0.15 < np.abs(before - wanted).max()
    assert np.array_equal(moved[:, :3], notes[:, :3])
    assert not len(none)
    # What is fixed is heard: beside it less is missing.
    beside = notes + np.array([0, 0, 12, 30], np.int32)
    (less,) = as_loud((notes,), beside, chords, layout, wanted)
    assert (less[:, 3] < moved[:, 3]).all()


@given(st.lists(st.floats(-9, 3), min_size=1, max_size=9), ROWS)
def test_velocities_stay_playable(wanted: list[float], rows: list[tuple[int, ...]]) -> None:
    notes = tk.normalise(np.array(rows, np.int32))
    gains = velocity_gains(np.full(len(wanted), -2.0), np.array(wanted))
    assert np.abs(gains).max() <= 0.7
    moved = louder(notes, gains)[:, 3]
    assert moved.min() >= min(22, notes[:, 3].min())
    assert moved.max() <= max(118, notes[:, 3].max())
    assert np.array_equal(louder(notes, np.zeros(1)), notes)


def test_figures_stay_figures_where_notes_are_added_or_taken() -> None:
    video = VideoFeatures(32.0, np.full(160, 21.0, np.float32), np.zeros(0, np.float32))
    layout = plan(video, Settings(tempo=120.0))
    figures = [
        [(0, 48), (4, 55), (8, 60), (12, 55)],
        [(0, 48), (0, 55), (6, 64), (8, 55), (12, 60)],
    ]
    rows = [[16 * b + s, 4, p, 60] for b in range(16) for s, p in figures[b // 2 % 2]]
    notes, chords = tk.normalise(np.array(rows, np.int32)), np.zeros(64, np.uint8)
    tune = np.array([[8 * i, 8, 76 + 3 * (i % 3), 80] for i in range(32)], np.int32)
    groups = hypermeasures(16, 0)
    before = bar_levels(tk.normalise(np.concatenate([notes, tune])), chords, layout)[:, 0]
    uneven = np.linspace(-0.12, 0.12, 16)
    for more in (-0.35, 0.0, 0.35):
        mended = as_dense(notes, tune, chords, layout, before + more + uneven, groups)
        after = bar_levels(tk.normalise(np.concatenate([mended, tune])), chords, layout)[:, 0]
        moved = (after - before)[1:-1].mean()
        assert abs(moved - more) < 0.2
        bars = [mended[mended[:, 0] // 16 == b] - [16 * b, 0, 0, 0] for b in range(15)]
        for figure in ((0, 1, 4, 5, 8, 9, 12, 13), (2, 3, 6, 7, 10, 11, 14)):
            heard = {bars[b][:, [0, 2]].tobytes() for b in figure}
            assert len(heard) <= 2
    assert np.array_equal(as_dense(notes, tune, chords, layout, before, groups), notes)
