"""The annotation of a song in Rust, against slow code that says the same in Python."""

from __future__ import annotations

import io
import itertools
from dataclasses import dataclass
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import twins
from vmusprod._vmus_rs import SongAnnotation, annotate_song, decode_chords, melody_notes

SYMMV_ROOTS = ["C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"]
ROOTS = ["C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B"]
KINDS = ["maj", "min", "7", "maj7", "min7", "dim", "dim7", "aug", "sus2", "sus4"]


@dataclass
class Case:
    """A meter and notes on it, as the function takes them."""

    lines: NDArray[np.float64]
    beats: NDArray[np.int32]
    places: NDArray[np.uint8]
    onset: NDArray[np.float64]
    offset: NDArray[np.float64]
    pitch: NDArray[np.uint8]
    velocity: NDArray[np.uint8]
    ids: NDArray[np.uint8]

    def annotate(self, **options: Any) -> SongAnnotation:
        given = {"melody": "skyline", "chords": self.ids, "key": (0, 0), **options}
        return annotate_song(
            self.onset, self.offset, self.pitch, self.velocity, self.lines, self.beats,
            self.places, **given,
        )  # fmt: skip


@st.composite
def cases(draw: st.DrawFn) -> Case:
    bars = draw(st.lists(st.sampled_from([(4,) * 4, (4,) * 3, (6, 6), (4, 4, 6), (2,)]), min_size=1,
                         max_size=5))  # fmt: skip
    lengths = [length for bar in bars for length in bar]
    places = [place for bar in bars for place in range(1, len(bar) + 1)]
    beats = np.cumsum([0, *lengths])
    steps = draw(
        arrays(np.float64, int(beats[-1]), elements=st.floats(0.02, 0.5), fill=st.just(0.1))
    )
    early = draw(st.sampled_from([0.0, 0.9])) * float(steps[0])
    lines = np.cumsum([-early, *steps])
    end = float(lines[-1])
    count = draw(st.integers(1, 20))
    start = np.sort(draw(arrays(np.float64, count, elements=st.floats(0.0, 0.95))))
    length = draw(arrays(np.float64, count, elements=st.floats(0.01, 1.0)))
    onset = np.maximum(start * end - float(steps[-1]) / 2, 0.0)
    assume(np.interp(onset, lines, np.arange(len(lines))).max() < beats[-1] - 0.5)
    ids = draw(arrays(np.uint8, len(places), elements=st.sampled_from([0, 11, 32, 75, 104, 120])))
    return Case(
        lines,
        beats.astype(np.int32),
        np.array(places, np.uint8),
        onset,
        onset + length,
        draw(arrays(np.uint8, count, elements=st.integers(40, 80))),
        draw(arrays(np.uint8, count, elements=st.integers(1, 127))),
        ids,
    )


def clock(case: Case) -> NDArray[np.float64]:
    """Seconds of the lines in the files: time begins at 0."""
    seconds = case.lines.copy()
    if seconds[0] < 0:
        seconds = np.maximum(seconds, 0.001 * np.arange(len(seconds)))
    seconds[0] = 0.0
    return seconds


def slow_notes(case: Case) -> list[twins.Row]:
    last = int(case.beats[-1])
    position = [
        np.interp(times, case.lines, np.arange(len(case.lines)))
        + np.maximum(times - case.lines[-1], 0) / (case.lines[-1] - case.lines[-2])
        for times in (case.onset, case.offset)
    ]
    timed = list(zip(*(x.tolist() for x in (*position, case.pitch, case.velocity)), strict=True))
    rows = twins.quantize(timed, 1.0, 0.0, 2**31 - 1)
    return [(o, min(d, last - o), p, v) for o, d, p, v in rows]


def heard(data: bytes) -> tuple[list[tuple[float, float, int, int]], mido.MidiFile]:
    """Notes of a file as onset and offset in seconds, pitch, velocity."""
    file = mido.MidiFile(file=io.BytesIO(data))
    assert file.ticks_per_beat == 220
    rows, now, sounding = [], 0.0, {}
    for message in file:  # its times are seconds, by the tempo map
        now += message.time
        if message.type == "note_on" and message.velocity:
            sounding[message.note] = (now, message.velocity)
        elif message.type in ("note_off", "note_on"):
            start, velocity = sounding.pop(message.note)
            rows.append((start, now, message.note, velocity))
    assert not sounding
    return sorted(rows, key=lambda row: (round(row[0], 3), row[2])), file


@given(cases())
def test_notes_and_their_files(case: Case) -> None:
    found = case.annotate()
    rows = slow_notes(case)
    assert found.notes.tolist() == [list(row) for row in rows]
    assert found.is_melody.tolist() == twins.skyline(rows)
    seconds = clock(case)
    for data, wanted in ((found.melody_midi, True), (found.accompaniment_midi, False)):
        notes, file = heard(data)
        own = [row[2:] for row, mine in zip(rows, found.is_melody, strict=True) if mine == wanted]
        assert sorted(row[2:] for row in notes) == sorted(own)
        assert file.length == pytest.approx(seconds[case.beats[-1]], abs=2e-3)


@given(cases())
def test_notes_on_beats_sound_when_the_beats_do(case: Case) -> None:
    at = case.beats[:-1]
    onset = np.maximum(case.lines[at], 0.0)
    even = Case(
        case.lines, case.beats, case.places, onset, onset + 0.01,
        np.arange(len(at), dtype=np.uint8), np.full(len(at), 64, np.uint8), case.ids,
    )  # fmt: skip
    found = even.annotate(melody=np.ones(len(at), bool))
    notes, _ = heard(found.melody_midi)
    if case.lines[0] >= 0:
        assert [row[2] for row in notes] == list(range(len(at)))
        np.testing.assert_allclose([row[0] for row in notes], clock(case)[at], atol=3e-4)
    assert found.most_moved <= max(0.0, -float(case.lines[0])) + 1e-9


@given(cases())
def test_chord_files(case: Case) -> None:
    found = case.annotate()
    seconds, end = clock(case), float(case.offset.max())
    assert found.chords.tolist() == case.ids.tolist()
    ticks = []
    for start, stop, name in (line.split() for line in found.chord_txt.decode().splitlines()):
        root = name[:2] if name[1:2] in ("#", "b") else name[:1]
        ident = 10 * SYMMV_ROOTS.index(root) + twins.QUALITIES.index(name[len(root) :])
        ticks.append((int(start), int(stop), ident))
    runs: list[tuple[int, int, int]] = []
    for beat, ident in enumerate(case.ids.tolist()):
        start, stop = 55 * int(case.beats[beat]), 55 * int(case.beats[beat + 1])
        if runs and runs[-1][2] == ident:
            runs[-1] = (runs[-1][0], stop, ident)
        else:
            runs.append((start, stop, ident))
    assert ticks == [run for run in runs if run[2] != 120]
    lab = [line.split("\t") for line in found.chord_lab.decode().splitlines()]
    for (start, stop, label), run in zip(lab, runs, strict=False):
        name = "N" if run[2] == 120 else f"{ROOTS[run[2] // 10]}:{KINDS[run[2] % 10]}"
        assert label == name
        assert float(start) == pytest.approx(seconds[run[0] // 55], abs=1e-4)
        assert float(stop) <= max(end, seconds[run[1] // 55]) + 1e-3
    assert float(lab[0][0]) == 0.0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(lab))
    assert float(lab[-1][1]) == pytest.approx(min(end, seconds[case.beats[-1]]), abs=1e-3)


@given(cases())
def test_beats_and_fit(case: Case) -> None:
    found = case.annotate()
    rows = [line.split("\t") for line in found.beats_txt.decode().splitlines()]
    first = found.first_beat
    assert first == 0 or case.places[first] == 1
    assert case.beats[first] <= found.notes[0, 0]
    end = float(case.offset.max())
    raw = case.lines[case.beats[:-1]]
    own = [
        (t, p) for t, p in zip(raw[first:], case.places[first:], strict=True) if -0.02 < t <= end
    ]
    assert [int(place) for _, place in rows] == [p for _, p in own]
    np.testing.assert_allclose([float(t) for t, _ in rows], [max(t, 0) for t, _ in own], atol=1e-4)
    position = np.interp(case.onset, case.lines, np.arange(len(case.lines)))
    expected = abs(np.exp(2j * np.pi * position).mean())
    assert found.concentration == pytest.approx(expected, abs=1e-6)
    assert 0 <= found.good_windows <= found.windows


def test_chords_and_melody_are_those_of_the_other_functions() -> None:
    rng = np.random.default_rng(3)
    onset = np.sort(rng.integers(0, 15 * 16, 300)) * 0.1
    count = len(onset)
    case = Case(
        0.1 * np.arange(16 * 16 + 1), np.arange(0, 16 * 16 + 1, 4).astype(np.int32),
        np.tile(np.arange(1, 5), 16).astype(np.uint8), onset, onset + 0.3,
        rng.integers(40, 80, count).astype(np.uint8), np.full(count, 80, np.uint8),
        np.zeros(64, np.uint8),
    )  # fmt: skip
    found = case.annotate(melody="solo", chords="hmm")
    assert found.first_beat == 0
    np.testing.assert_array_equal(found.chords, decode_chords(found.notes, 64))
    np.testing.assert_array_equal(found.is_melody, melody_notes(found.notes, True))
    # The same in three-four time sees the bars, not every fourth beat.
    waltz = Case(
        case.lines, case.beats, np.array([1 + b % 3 for b in range(64)], np.uint8), case.onset,
        case.offset, case.pitch, case.velocity, case.ids,
    )  # fmt: skip
    assert (waltz.annotate(melody="solo", chords="hmm").chords != found.chords).any()


BAD: dict[str, dict[str, Any]] = {
    "melody": {"melody": "loud"},
    "melody-length": {"melody": np.ones(7, bool)},
    "melody-type": {"melody": 3},
    "chords": {"chords": "jazz"},
    "chords-value": {"chords": np.full(8, 121, np.uint8)},
    "chords-length": {"chords": np.zeros(3, np.uint8)},
    "key": {"key": (12, 0)},
    "mode": {"key": (0, 2)},
}


@pytest.mark.parametrize("name", BAD)
def test_bad_options_are_named(name: str) -> None:
    case = Case(
        0.1 * np.arange(33), np.arange(0, 33, 4).astype(np.int32),
        np.tile(np.arange(1, 5), 2).astype(np.uint8), np.zeros(2), np.ones(2),
        np.array([60, 64], np.uint8), np.array([64, 64], np.uint8), np.zeros(8, np.uint8),
    )  # fmt: skip
    assert case.annotate().chords.tolist() == [0] * 8
    with pytest.raises(
        (ValueError, TypeError), match=name.partition("-")[0].replace("mode", "key")
    ):
        case.annotate(**BAD[name])


numbers = st.one_of(st.floats(), st.floats(-10, 100))


@given(
    arrays(np.float64, st.integers(0, 12), elements=numbers),
    arrays(np.float64, st.integers(0, 12), elements=numbers),
    arrays(np.uint8, st.integers(0, 12)),
    arrays(np.float64, st.integers(0, 12), elements=numbers),
    arrays(
        np.int32, st.integers(0, 6), elements=st.integers(-5, 12) | st.integers(-(2**31), 2**31 - 1)
    ),
    st.sampled_from(["skyline", "learned", "solo"]),
    st.sampled_from(["hmm", "chorder"]),
    st.booleans(),
)
def test_nothing_panics(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    lines: NDArray[np.float64],
    beats: NDArray[np.int32],
    melody: str,
    chords: str,
    tidy: bool,
) -> None:
    size = min(len(onset), len(offset), len(pitch))
    if tidy:  # so that many get past the checks
        onset, offset, pitch = np.abs(onset[:size]), offset[:size], pitch[:size] & 127
        lines = np.arange(25) * 0.25
        beats = np.unique(np.append(np.clip(beats, 0, 24), [0, 24])).astype(np.int32)
    places = np.ones(max(len(beats) - 1, 0), np.uint8)
    try:
        found = annotate_song(
            onset, offset, pitch, pitch, lines, beats, places,
            melody=melody, chords=chords, key=(3, 1),
        )  # fmt: skip
    except ValueError:
        return
    assert len(found.chords) == len(places)
    heard(found.melody_midi)
