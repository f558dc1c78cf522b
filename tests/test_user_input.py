"""Chords and melodies that users bring along: every form, and how they break."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.errors import InputError
from vmusprod.music import tokens as tk
from vmusprod.music.chord_names import chord_id
from vmusprod.music.score import MidiTrack, midi_bytes
from vmusprod.music.user_input import (
    BeatGrid,
    SpanChords,
    UserChords,
    read_beat_notes,
    read_chords,
    read_melody,
    user_key,
)

ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


def name(chord: int) -> str:
    """SymMV's own spelling of a chord id."""
    return "N" if chord == tk.NO_CHORD else ROOTS[chord // 10] + tk.QUALITIES[chord % 10]


def names(ids: np.ndarray) -> list[str]:
    return [name(int(chord)) for chord in ids]


def grid(bars: int, first: int = 0, seconds: float = 0.5, start: float = 0.0) -> BeatGrid:
    return BeatGrid(4 * bars, first, seconds, start)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("chord", range(121))
def test_every_name_of_symmv_is_read(chord: int) -> None:
    assert chord_id(name(chord)) == chord


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("A:min7/b3", "Am7"), ("Bb:maj", "A#M"), ("C:hdim7", "Co"), ("C:minmaj7", "Cm"),
        ("C:maj(9)", "CM"), ("C:sus4(b7,9)", "Csus4"), ("Eb:maj6(9)/5", "D#M"), ("C:9", "C7"),
        ("C:1", "CM"), ("X", "N"), ("G/B", "GM"), ("F", "FM"), ("Bbmaj7", "A#M7"), ("Dm7b5", "Do"),
        ("Cø7", "Co"), ("C°7", "Co7"), ("C6/9", "CM"), ("Cadd9", "CM"), ("CΔ", "CM7"),
        ("C-7", "Cm7"), ("Caug7", "C+"), ("C7#5", "C7"), ("C7alt", "C7"), ("Csus", "Csus4"),
        ("C2", "Csus2"), ("Cm(maj7)", "Cm"), ("N.C.", "N"), ("Cb", "BM"), ("F##", "GM"),
        ("E♭m", "D#m"), ("Cmaj9", "CM7"), ("C13", "C7"), ("Cm11", "Cm7"), ("D/F#", "DM"),
    ],
)  # fmt: skip
def test_names_are_reduced_to_the_ten_qualities(written: str, meant: str) -> None:
    assert name(chord_id(written)) == meant


@pytest.mark.parametrize(
    "written", ["", "H", "am", "Chello", "C/", "C:foo", "|", "C77x", "5", "C//"]
)
def test_what_is_no_chord_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="unknown chord"):
        chord_id(written)


@given(st.text(max_size=12))
def test_any_text_is_a_chord_or_refused(written: str) -> None:
    try:
        assert 0 <= chord_id(written) <= tk.NO_CHORD
    except ValueError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@pytest.mark.shared
def test_every_name_in_the_data_is_read(shared: Path) -> None:
    patterns = ("POP909/*/chord_*.txt", "SymMV/chord/0*.txt", "MuVi-Sync/chord/*.lab")
    paths = [path for pattern in patterns for path in sorted((shared / "data").glob(pattern))]
    written = {
        line.split()[2] for path in paths for line in path.read_text().splitlines() if line.strip()
    }
    assert len(written) > 1000
    assert all(0 <= chord_id(each) <= tk.NO_CHORD for each in written)


def test_a_chart_divides_its_bars(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "# verse\n| C | G/B | Am7 F |\n| % | Dm . G | C Am . / |\n")
    chords = read_chords(path)
    assert isinstance(chords, UserChords)
    assert names(chords.ids) == (
        ["CM"] * 4 + ["GM"] * 4 + ["Am7"] * 2 + ["FM"] * 2  # the last bar again:
        + ["Am7"] * 2 + ["FM"] * 2 + ["Dm", "Dm", "Dm", "GM"] + ["CM", "Am", "Am", "Am"]
    )  # fmt: skip


def test_a_chart_is_repeated_from_the_first_whole_bar_on(tmp_path: Path) -> None:
    chords = read_chords(write(tmp_path / "a.txt", "C | G"))
    assert names(chords.place(grid(3))) == ["CM"] * 4 + ["GM"] * 4 + ["CM"] * 4
    upbeat = chords.place(grid(3, first=4, start=-0.5))
    assert names(upbeat) == ["CM"] * 8 + ["GM"] * 4
    assert names(chords.place(grid(1, first=4))) == ["CM"] * 4
    assert upbeat.dtype == np.uint8


def test_ticks_are_beats_with_gaps(tmp_path: Path) -> None:
    chords = read_chords(write(tmp_path / "a.txt", "220 880 Am\n880 1100 F#m7\n1320 1540 G#M\n"))
    assert isinstance(chords, UserChords)
    assert names(chords.ids) == ["N", "Am", "Am", "Am", "F#m7", "N", "G#M"]
    # Seven beats are two bars, the last chord held.
    placed = names(chords.place(grid(4)))
    assert placed[7] == "G#M"
    assert placed[8:] == placed[:8]


def test_seconds_are_laid_on_the_beats_by_their_middle(tmp_path: Path) -> None:
    text = "0.0 1.1 C\n1.1\t2.0\tA:min/b3\n2.5 4.0 N\n4.0 6.0 G:7\n"
    chords = read_chords(write(tmp_path / "a.lab", text))
    assert isinstance(chords, SpanChords)
    expected = ["CM"] * 2 + ["Am"] * 2 + ["N"] * 4 + ["G7"] * 4
    assert names(chords.place(grid(3))) == expected
    # Half a second of the first bar lies before the video: everything comes a beat later.
    assert names(chords.place(grid(3, first=4, start=-0.5))) == ["CM", *expected[:-1]]


def test_a_last_chord_is_held_for_less_than_a_bar(tmp_path: Path) -> None:
    chords = read_chords(write(tmp_path / "a.lab", "0 2.6 C\n"))
    assert names(chords.place(grid(2))) == ["CM"] * 8
    assert names(chords.place(grid(3))) == ["CM"] * 5 + ["N"] * 7


def test_whole_seconds_in_a_lab_file_are_seconds(tmp_path: Path) -> None:
    assert isinstance(read_chords(write(tmp_path / "a.lab", "0 220 C\n")), SpanChords)
    assert isinstance(read_chords(write(tmp_path / "a.txt", "0 220 C\n")), UserChords)
    assert isinstance(read_chords(write(tmp_path / "b.txt", "0 2.5 C\n")), SpanChords)


@pytest.mark.parametrize(
    ("file", "text", "cause"),
    [
        ("a.txt", "", "no chords"),
        ("a.txt", "\n# nothing\n||\n", "no chords"),
        ("a.txt", "C | Hm", "line 1: unknown chord 'Hm'"),
        ("a.txt", "C\n\nC D E F G", "line 3: 5 chords in a bar"),
        ("a.txt", "% | C", "line 1: % repeats a bar"),
        ("a.txt", ". C", "line 1: '.' holds a chord"),
        ("a.txt", "0 220 C\n0.5 G\n", "line 2: not 'start end chord'"),
        ("a.lab", "C | G", "line 1: not 'start end chord'"),
        ("a.lab", "0 1 C\n2 1 G", "line 2: bad times"),
        ("a.lab", "0 1 C\n1 1 G", "line 2: bad times"),
        ("a.lab", "-1 1 C", "line 1: bad times"),
        ("a.lab", "nan 1 C", "line 1: bad times"),
        ("a.lab", "0 inf C", "line 1: bad times"),
        ("a.lab", "0 2 C\n1 3 G", "line 2: begins before"),
        ("a.lab", "0 2 Q:maj", "line 1: unknown chord"),
        ("a.lab", "0 1e9 C", "twelve hours"),
        ("a.txt", "0 99999999999 C", "twelve hours"),
        ("a.txt", "C\0|", "not a text file"),
    ],
)
def test_broken_chord_files_name_the_line(tmp_path: Path, file: str, text: str, cause: str) -> None:
    path = write(tmp_path / file, text)
    with pytest.raises(InputError) as caught:
        read_chords(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert cause in str(caught.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.lab"
    path.write_bytes(b"MThd\x00\x00\xff\xfe")
    with pytest.raises(InputError, match="not a text file"):
        read_chords(path)
    with pytest.raises(InputError, match="No such file"):
        read_chords(tmp_path / "missing.lab")
    with pytest.raises(InputError, match="directory"):
        read_chords(tmp_path)
    path.write_bytes(b"C |" * 500_000)
    with pytest.raises(InputError, match="1 MB"):
        read_chords(path)


@given(st.binary(max_size=80), st.sampled_from(["a.lab", "a.txt"]))
def test_any_bytes_are_chords_or_an_input_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, file: str
) -> None:
    path = tmp_path_factory.getbasetemp() / file
    path.write_bytes(data)
    try:
        placed = read_chords(path).place(grid(2))
    except InputError:
        return
    assert placed.shape == (8,)
    assert placed.max() <= tk.NO_CHORD


def midi(tmp_path: Path, *tracks: MidiTrack, mspq: int = 500_000, text: str = "") -> Path:
    path = tmp_path / "melody.mid"
    path.write_bytes(midi_bytes(list(tracks), mspq, 220 * 64, text))
    return path


def track(name: str, *notes: tuple[int, int, int, int]) -> MidiTrack:
    return MidiTrack(name, np.array(notes))


def test_a_melody_keeps_its_beats_and_brings_its_tempo(tmp_path: Path) -> None:
    # 3 ticks early and 2 late: onto the 16ths all the same.
    path = midi(tmp_path, track("x", (217, 110, 60, 70), (442, 215, 64, 80)), mspq=750_000)
    melody = read_melody(path)
    assert melody.notes.tolist() == [[4, 2, 60, 70], [8, 4, 64, 80]]
    assert melody.notes.dtype == np.int32
    assert melody.tempo == 80.0


def line(path: Path) -> list[int]:
    return [int(pitch) for pitch in read_melody(path).notes[:, 2]]


def test_the_track_called_melody_is_it_else_the_skyline(tmp_path: Path) -> None:
    low, high = (0, 880, 48, 60), (220, 220, 72, 60)
    assert line(midi(tmp_path, track("Melody", low), track("Piano", high))) == [48]
    chord = track("a", low, (0, 440, 67, 60), (220, 220, 64, 60))
    # E lies under the G that still sounds; C2 is the chord's bass.
    assert line(midi(tmp_path, chord, track("b", (440, 220, 72, 60)))) == [67, 72]


def test_a_line_played_legato_is_kept_whole(tmp_path: Path) -> None:
    # Each note is held into the next and lower one.
    falling = [(220 * k, 300, 72 - k, 60) for k in range(5)]
    assert line(midi(tmp_path, track("x", *falling))) == [72, 71, 70, 69, 68]
    doubled = [*falling, (0, 220, 60, 60)]
    assert line(midi(tmp_path, track("melody", *doubled))) == [72, 71, 70, 69, 68]


def test_a_melody_starts_with_the_first_whole_bar_and_ends_with_the_piece(tmp_path: Path) -> None:
    melody = read_melody(midi(tmp_path, track("m", (0, 220, 60, 70), (880 + 660, 880, 64, 70))))
    assert melody.place(2, 0).tolist() == [[0, 4, 60, 70], [28, 4, 64, 70]]
    assert melody.place(2, 3).tolist() == [[16, 4, 60, 70]]
    assert melody.place(3, 3).tolist() == [[16, 4, 60, 70], [44, 4, 64, 70]]
    assert melody.place(1, 3).shape == (0, 4)


def test_a_melody_by_vmus_returns_to_its_place(tmp_path: Path) -> None:
    # The 16th k of a piece lies at tick 55 * (k - pickup).
    text = json.dumps({"vmus": "0.1.0", "pickup": 3}, separators=(",", ":"))
    melody = read_melody(midi(tmp_path, track("Melody", (55, 55, 60, 70)), text=text))
    assert melody.place(4, 3).tolist() == [[4, 1, 60, 70]]
    # Under another video with another pickup it is a melody like any other.
    assert melody.place(4, 5).tolist() == [[17, 1, 60, 70]]
    for broken in ('{"vmus":', '{"vmus":1,"pickup":99}', '{"vmus":1,"pickup":"x"}', '{"vmus":1}'):
        plain = read_melody(midi(tmp_path, track("m", (55, 55, 60, 70)), text=broken))
        assert plain.pickup is None


def test_the_tempo_is_the_one_that_holds_longest(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    track = (
        b"\x00\xff\x51\x03\x07\xa1\x20"  # 120 bpm, for a beat
        b"\x00\x90\x3c\x50\x83\x60\x80\x3c\x00"
        b"\x00\xff\x51\x03\x0f\x42\x40"  # 60 bpm, for two
        b"\x00\x90\x3e\x50\x87\x40\x80\x3e\x00\x00\xff\x2f\x00"
    )
    head = b"MThd" + (6).to_bytes(4, "big") + bytes([0, 0, 0, 1, 1, 0xE0])
    path.write_bytes(head + b"MTrk" + len(track).to_bytes(4, "big") + track)
    found = read_beat_notes(path)
    assert found.tempo == 60.0
    assert found.start.tolist() == [0.0, 1.0]
    assert found.end.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    "data", [b"", b"MThd", b"RIFF....", b"MThd\x00\x00\x00\x06\x00\x01\x00\x01"]
)
def test_broken_melodies_are_input_errors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "m.mid"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_melody(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_melody_without_notes_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "m.mid"
    path.write_bytes(midi_bytes([MidiTrack("m", np.zeros((0, 4), int))], 500_000, 220, ""))
    with pytest.raises(InputError, match="no notes"):
        read_melody(path)


def test_the_key_of_the_users_own_music() -> None:
    chords = np.repeat([chord_id(c) for c in ("D", "A7", "Bm", "G", "Em", "A", "D")], 4)
    assert user_key(chords.astype(np.uint8), None) == (2, 0)
    scale = np.array(
        [[4 * k, 4, pitch, 70] for k, pitch in enumerate((69, 71, 72, 74, 76, 68, 69))]
    )
    assert user_key(None, scale.astype(np.int32)) == (9, 1)
    assert user_key(None, None) is None
    assert user_key(np.full(4, tk.NO_CHORD, np.uint8), np.zeros((0, 4), np.int32)) is None
