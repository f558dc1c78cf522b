"""Which grid a piece gets: the file's own where its notes fall on it, else one found from them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from vmusprod.errors import InputError
from vmusprod.music.find_grid import FoundGrid, find_grid
from vmusprod.music.midi_beats import MidiBeats, midi_beats, read_midi_beats
from vmusprod.music.score import MidiTrack, TimedNotes, write_midi

Array = NDArray[np.float64]


def notes_at(onset: Array, length: float = 0.2) -> TimedNotes:
    pitch = (60 + np.arange(len(onset)) % 12).astype(np.uint8)
    return TimedNotes(onset, onset + length, pitch, np.full(len(onset), 80, np.uint8))


def in_metre(
    numerator: int, denominator: int, bars: int = 8, tempo: int = 500_000
) -> tuple[TimedNotes, MidiBeats]:
    """Eighths, on the bars of a file."""
    beats = midi_beats(480, [(0, tempo)], [(0, numerator, denominator)], bars * 480 * 4)
    assert beats is not None
    quarters = np.arange(0, bars * 4 * numerator / denominator, 0.5)
    return notes_at(quarters * tempo / 1e6), beats


@pytest.mark.parametrize(
    ("numerator", "denominator", "bar", "beats_a_bar"),
    [
        (3, 4, 1.5, 3),
        (6, 8, 1.5, 2),
        (5, 4, 2.5, 5),
        (7, 8, 1.75, 7),
        (12, 8, 3.0, 4),
        (2, 2, 2.0, 2),
    ],
)
def test_a_files_metre_is_kept(
    numerator: int, denominator: int, bar: float, beats_a_bar: int
) -> None:
    notes, midi = in_metre(numerator, denominator)
    found = find_grid(notes, midi)
    assert found is not None
    assert found.way == "file"
    assert found.time_signature == (numerator, denominator)
    np.testing.assert_allclose(found.downbeats[:8], bar * np.arange(8), atol=1e-9)
    assert found.place[:beats_a_bar].tolist() == list(range(1, beats_a_bar + 1))
    assert found.place[beats_a_bar] == 1
    assert found.concentration > 0.999
    assert found.max_move < 1e-9
    assert (np.diff(found.grid.times) > 0).all()
    assert found.grid.kept[-1] < len(found.grid.times)
    assert len(found.grid.kept) % (4 * found.grid.beats_a_bar) == 0


def test_a_shifted_file_grid_is_moved_to_its_notes() -> None:
    notes, midi = in_metre(3, 4)
    late = notes_at(notes.onset + 0.04)
    found = find_grid(late, midi)
    assert found is not None
    assert found.way == "file"
    assert found.shift == pytest.approx(0.04, abs=1e-6)
    np.testing.assert_allclose(found.downbeats[:4], 0.04 + 1.5 * np.arange(4), atol=1e-6)
    assert found.max_move < 1e-6


def test_a_nominal_grid_is_not_trusted() -> None:
    # 97 bpm in a file that states 120; the chords change every four beats.
    beat = 60 / 97
    rows = []
    for k in range(240):
        chord = ((48, 64, 67), (45, 60, 64), (41, 60, 65), (43, 62, 67))[k // 8 % 4]
        rows += [(k * beat / 2, p) for p in (chord if k % 8 == 0 else chord[1:])]
    onset = np.array([row[0] for row in rows]) + 0.013
    pitch = np.array([row[1] for row in rows], np.uint8)
    notes = TimedNotes(onset, onset + 0.2, pitch, np.full(len(rows), 80, np.uint8))
    midi = midi_beats(220, [(0, 500_000)], [(0, 4, 4)], 220 * 2 * 80)
    found = find_grid(notes, midi)
    assert found is not None
    assert found.way == "tracked"
    assert found.shift == 0.0
    assert min(abs(found.grid.tempo / 97 - r) for r in (0.5, 1.0, 2.0)) < 0.01
    assert found.concentration > 0.99
    assert found.mean_move < 0.01
    alone = find_grid(notes)
    assert alone is not None
    np.testing.assert_array_equal(alone.beats, found.beats)


def test_pieces_too_short_for_a_tempo() -> None:
    assert find_grid(notes_at(np.zeros(0))) is None
    one = find_grid(notes_at(np.array([3.0])))
    assert one is not None
    assert (one.way, one.grid.phase, one.max_move) == ("nominal", 3.0, 0.0)
    midi = midi_beats(480, [(0, 1_000_000)], [(0, 3, 4)], 480 * 12)
    stated = find_grid(notes_at(np.array([3.01])), midi)
    assert stated is not None
    assert (stated.way, stated.time_signature) == ("file", (3, 4))
    assert stated.grid.tempo == pytest.approx(60.0)


def test_bars_that_no_file_means_are_found() -> None:
    rows = [
        (2 * k, 36 + 5 * (k // 2 % 3)) for k in range(48)
    ]  # chords last four beats, from beat 2
    onset = np.array([0.5 * row[0] for row in rows]) + 1.0
    low = TimedNotes(
        onset, onset + 0.4, np.array([r[1] for r in rows], np.uint8), np.full(48, 90, np.uint8)
    )
    melody = notes_at(1.0 + 0.25 * np.arange(190))
    midi = midi_beats(480, [(0, 500_000)], [(0, 1, 4)], 480 * 100)
    found = find_grid(TimedNotes.merge([low, melody]), midi)
    assert found is not None
    assert found.way == "file"
    assert found.time_signature in ((4, 4), (3, 4))


def test_tempo_map_by_hand() -> None:
    beats = midi_beats(100, [(200, 1_000_000)], [(0, 4, 4), (300, 3, 4)], 700)
    assert beats is not None
    np.testing.assert_allclose(beats.times, [0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    np.testing.assert_allclose(beats.bars, [0.0, 3.0, 6.0])
    assert beats.signatures == [(4, 4), (3, 4), (3, 4)]
    np.testing.assert_allclose(beats.quarters(np.array([-0.5, 0.25, 1.5, 8.0])), [-1, 0.5, 2.5, 9])


@pytest.mark.parametrize(
    "arguments",
    [(0, [], [], 100), (480, [(0, 0)], [], 100), (1, [], [], 10**9), (480, [(-5, 10)], [], 100)],
)
def test_numbers_that_make_no_clock(
    arguments: tuple[int, list[tuple[int, int]], list[tuple[int, int, int]], int],
) -> None:
    assert midi_beats(*arguments) is None


def test_beats_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    notes = np.array([(0, 110, 60, 80), (440, 220, 62, 80)])
    write_midi(path, [MidiTrack("p", notes)], 600_000, 880, "")
    beats = read_midi_beats(path)
    assert beats is not None
    np.testing.assert_allclose(beats.times[:3], [0.0, 0.6, 1.2])
    assert beats.is_stated
    (tmp_path / "b.mid").write_bytes(b"nothing")
    with pytest.raises(InputError):
        read_midi_beats(tmp_path / "b.mid")
    with pytest.raises(InputError):
        read_midi_beats(tmp_path / "none.mid")


signature = st.tuples(
    st.integers(0, 9000), st.integers(0, 70), st.sampled_from((0, 1, 2, 3, 4, 8, 16))
)


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.floats(0, 40), st.floats(0.01, 3), st.integers(0, 127)), max_size=60),
    st.integers(1, 960),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 3_000_000)), max_size=4),
    st.lists(signature, max_size=4),
    st.booleans(),
)
def test_any_notes_and_any_clock(
    rows: list[tuple[float, float, int]],
    ticks: int,
    tempos: list[tuple[int, int]],
    signatures: list[tuple[int, int, int]],
    quantised: bool,
) -> None:
    rows = sorted(rows)
    onset = np.array([row[0] for row in rows])
    onset = np.round(2 * onset) / 2 if quantised else onset
    offset = onset + np.array([row[1] for row in rows])
    pitch = np.array([row[2] for row in rows], np.uint8)
    notes = TimedNotes(onset, offset, pitch, np.full(len(rows), 64, np.uint8))
    found = find_grid(notes, midi_beats(ticks, tempos, signatures, 30 * ticks))
    if found is None:
        assert len(rows) == 0
        return
    sound(found)


def sound(found: FoundGrid) -> None:
    grid = found.grid
    assert (np.diff(grid.times) > 0).all()
    assert (np.diff(grid.kept) > 0).all()
    assert 0 <= grid.kept[0] <= grid.kept[-1] < len(grid.times)
    assert len(grid.kept) % (4 * grid.beats_a_bar) == 0
    assert len(found.beats) == len(found.place)
    assert (np.diff(found.beats) > 0).all()
    assert 0 <= found.concentration <= 1
    assert 0 <= found.mean_move <= found.max_move + 1e-12


def test_a_million_notes_and_ten_hours_take_seconds() -> None:
    rng = np.random.default_rng(0)
    onset = np.sort(rng.uniform(0, 36_000, 1_000_000))
    found = find_grid(notes_at(onset))
    assert found is not None
    sound(found)
