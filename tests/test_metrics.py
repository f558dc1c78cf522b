"""The paper's figures: by hand, against slow twins, and against the paper's own Real rows."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.errors import InputError
from vmusprod.evaluate import evaluate_folder, measure
from vmusprod.music import metrics
from vmusprod.music.score import MidiTrack, midi_bytes

SCALES = [
    {(root + degree) % 12 for degree in degrees}
    for degrees in ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
    for root in range(12)
]

pitches = st.lists(st.integers(0, 127), min_size=1, max_size=60)
# Whole and halved beats, so that ends fall on beats as often as not.
times = st.lists(
    st.tuples(st.integers(0, 80), st.integers(0, 20)).map(lambda t: (t[0] / 2, (t[0] + t[1]) / 2)),
    min_size=1,
    max_size=40,
)


def slow_entropy(values: list[int]) -> float:
    shares = [values.count(value) / len(values) for value in set(values)]
    return -sum(share * math.log2(share) for share in shares)


def slow_empty_beats(notes: list[tuple[float, float]]) -> float:
    beats = int(max(end for _, end in notes)) + 1
    sounding = [
        any(int(start) <= beat <= int(end) for start, end in notes) for beat in range(beats)
    ]
    return sounding.count(False) / beats


@given(pitches)
def test_scale_consistency_is_the_best_of_the_24_scales(values: list[int]) -> None:
    best = max(sum(value % 12 in scale for value in values) / len(values) for scale in SCALES)
    assert metrics.scale_consistency(np.array(values)) == pytest.approx(best)


@given(pitches)
def test_entropies_follow_their_definition(values: list[int]) -> None:
    array = np.array(values, np.uint8)
    assert metrics.pitch_entropy(array) == pytest.approx(slow_entropy(values), abs=1e-9)
    classes = slow_entropy([value % 12 for value in values])
    assert metrics.pitch_class_entropy(array) == pytest.approx(classes, abs=1e-9)


@given(times)
def test_empty_beats_are_those_in_which_nothing_sounds(notes: list[tuple[float, float]]) -> None:
    start, end = (np.array(column) for column in zip(*notes, strict=True))
    assert metrics.empty_beat_rate(start, end) == pytest.approx(slow_empty_beats(notes))


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=40))
def test_inter_onset_interval_is_the_mean_difference(onsets: list[float]) -> None:
    expected = float(np.mean(np.diff(np.sort(onsets))))
    assert metrics.inter_onset_interval(np.array(onsets)) == pytest.approx(expected, abs=1e-9)


def test_figures_worked_out_by_hand() -> None:
    # C4 E4 G4 C5 and one F#: 4 of 5 in C major, but all of C E G C F# in G major.
    assert metrics.scale_consistency(np.array([60, 64, 67, 72, 66])) == 1.0
    # Of four neighbours on the keyboard a scale holds three at most.
    assert metrics.scale_consistency(np.array([60, 61, 62, 63])) == 0.75
    assert metrics.pitch_entropy(np.array([60, 72])) == 1.0
    assert metrics.pitch_class_entropy(np.array([60, 72])) == 0.0
    # Beats 0 and 3 sound; the second note ends on beat 4, which then counts: 1 and 2 are empty.
    assert metrics.empty_beat_rate(np.array([0.0, 3.0]), np.array([0.5, 4.0])) == 0.4
    # A chord of two and a note a second later: gaps of 0 and 1.
    assert metrics.inter_onset_interval(np.array([1.0, 0.0, 0.0])) == 0.5
    assert metrics.inter_onset_interval(np.array([3.0])) == 0.0


@pytest.mark.parametrize(
    "bad",
    [
        np.array([], np.uint8),
        np.array([128]),
        np.array([-1]),
        np.array([60.0]),
        np.zeros((2, 2), int),
    ],
)
def test_pitches_are_checked(bad: np.ndarray) -> None:
    for figure in (metrics.scale_consistency, metrics.pitch_entropy, metrics.pitch_class_entropy):
        with pytest.raises(ValueError, match="pitch"):
            figure(bad)


def test_times_are_checked() -> None:
    for start, end in (
        ([], []),
        ([1.0], [0.5]),
        ([-1.0], [0.0]),
        ([0.0], [math.inf]),
        ([0.0], [1, 2]),
    ):
        with pytest.raises(ValueError, match=r"needed|finite"):
            metrics.empty_beat_rate(np.array(start), np.array(end))
    for onset in ([], [math.nan]):
        with pytest.raises(ValueError, match="onset"):
            metrics.inter_onset_interval(np.array(onset))


def write_piece(path: Path, pitches: list[int]) -> None:
    """Quarter notes at 60 bpm, half a beat long."""
    notes = np.array([(220 * k, 110, pitch, 80) for k, pitch in enumerate(pitches)])
    path.write_bytes(midi_bytes([MidiTrack("t", notes)], 1_000_000, 220 * len(pitches), ""))


def test_a_file_is_measured_in_its_own_beats_and_seconds(tmp_path: Path) -> None:
    write_piece(tmp_path / "a.mid", [60, 62, 64, 60])
    found = measure(tmp_path / "a.mid")
    assert found.to_dict() == pytest.approx(
        {"sc": 1.0, "pe": 1.5, "pce": 1.5, "ebr": 0.0, "ioi": 1.0}
    )


def test_a_folder_counts_each_file_once_and_names_the_broken_ones(tmp_path: Path) -> None:
    write_piece(tmp_path / "a.mid", [60, 62])
    (tmp_path / "deep").mkdir()
    write_piece(tmp_path / "deep" / "b.MID", [60, 60, 60, 60])
    (tmp_path / "deep" / "c.mid").write_bytes(b"MThd")
    (tmp_path / "._a.mid").write_bytes(b"a leftover")
    fractions: list[float] = []
    found = evaluate_folder(tmp_path, fractions.append)
    assert found.files == 2
    assert list(found.to_dict()) == ["files", "sc", "pe", "pce", "ebr", "ioi"]
    assert found.mean is not None
    assert found.mean.pe == pytest.approx(0.5)
    assert [str(error) for error in found.failed] == [
        f"{tmp_path / 'deep' / 'c.mid'}: MIDI header cut short"
    ]
    assert fractions[-1] == 1.0
    assert json.dumps(found.to_dict())


def test_a_folder_without_music_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no MIDI files"):
        evaluate_folder(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        evaluate_folder(tmp_path / "missing")
    (tmp_path / "x.mid").write_bytes(b"")
    found = evaluate_folder(tmp_path)
    assert (found.files, found.to_dict()["sc"]) == (0, None)


# design.md's rows are means over the whole sets; a few per cent of each are held out.
@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "row"),
    [
        ("POP909", (0.965, 4.456, 2.817, 0.0085, 0.150)),
        ("SymMV/midi", (0.975, 4.330, 2.705, 0.021, 0.182)),
    ],
)
def test_the_published_rows_come_out(shared: Path, folder: str, row: tuple[float, ...]) -> None:
    found = evaluate_folder(shared / "data" / folder)
    assert not found.failed
    assert found.files > 800
    assert found.mean is not None
    tolerance = (0.002, 0.01, 0.005, 0.0005, 0.001)
    names = ("sc", "pe", "pce", "ebr", "ioi")
    for name, got, wanted, near in zip(
        names, found.mean.to_dict().values(), row, tolerance, strict=True
    ):
        assert got == pytest.approx(wanted, abs=near), name
