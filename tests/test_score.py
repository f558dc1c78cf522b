"""MIDI in and out: exact lengths, exact ticks, and one clear line for every broken file."""

import tempfile
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.errors import InputError
from vmusprod.music.score import (
    MidiTrack,
    TimedNotes,
    midi_bytes,
    read_midi,
    read_midi_tracks,
    write_midi,
)

TOTAL = 4000

note_rows = st.lists(
    st.tuples(
        st.integers(0, TOTAL - 200), st.integers(1, 200), st.integers(0, 127), st.integers(1, 127)
    ),
    min_size=1,
    max_size=40,
    # One note a key, so that no note end can be taken for another's.
    unique_by=lambda row: row[2],
)


def table(rows: list[tuple[int, int, int, int]]) -> np.ndarray:
    return np.array(rows, np.int32).reshape(-1, 4)


def chunk(body: bytes) -> bytes:
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def header(kind: int = 1, tracks: int = 1, division: int = 220) -> bytes:
    words = (kind, tracks, division)
    return b"MThd\x00\x00\x00\x06" + b"".join(word.to_bytes(2, "big") for word in words)


NOTE = b"\x00\x90\x3c\x50\x81\x5c\x80\x3c\x00"  # 220 ticks of middle C
END = b"\x00\xff\x2f\x00"


@given(note_rows, st.integers(1, 0xFFFFFF), st.text(max_size=20))
def test_what_is_written_is_what_both_readers_read(
    rows: list[tuple[int, int, int, int]], mspq: int, text: str
) -> None:
    data = midi_bytes([MidiTrack("Melody", table(rows))], mspq, TOTAL, text)
    file = mido.MidiFile(file=BytesReader(data), charset="utf-8")
    assert file.ticks_per_beat == 220
    assert sum(message.time for message in file.tracks[0]) == TOTAL
    found, tick, started = [], 0, {}
    for message in file.tracks[0]:
        tick += message.time
        if message.type == "note_on":
            started[message.note] = (tick, message.velocity)
        elif message.type == "note_off":
            onset, velocity = started.pop(message.note)
            found.append((onset, tick - onset, message.note, velocity))
    assert sorted(found) == sorted(rows)


class BytesReader:
    """The little of a binary file that mido asks for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def read(self, size: int) -> bytes:
        self.at += size
        return self.data[self.at - size : self.at]

    def tell(self) -> int:
        return self.at


@given(note_rows, st.integers(100_000, 2_000_000))
def test_seconds_come_back(rows: list[tuple[int, int, int, int]], mspq: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mid"
        path.write_bytes(midi_bytes([MidiTrack("Melody", table(rows))], mspq, TOTAL, ""))
        notes = read_midi(path)
    expected = table(sorted(rows, key=lambda row: (row[0], row[2]))).astype(np.float64)
    second = mspq / 220e6
    np.testing.assert_allclose(notes.onset, expected[:, 0] * second, rtol=1e-12)
    np.testing.assert_allclose(notes.offset, expected[:, :2].sum(axis=1) * second, rtol=1e-12)
    np.testing.assert_array_equal(notes.pitch, expected[:, 2])
    np.testing.assert_array_equal(notes.velocity, expected[:, 3])


def test_written_file_has_text_key_metre_names_pedal_and_length(tmp_path: Path) -> None:
    path = tmp_path / "out.mid"
    melody = MidiTrack("Melody", table([(0, 220, 72, 90)]), pedal=[(0, 127), (800, 0)])
    empty = MidiTrack("Accompaniment", table([]), program=1)
    write_midi(path, [melody, empty], 600_000, 2201, "made by vmus", key=(3, 0))
    file = mido.MidiFile(path)
    kinds = {message.type: message for message in file.tracks[0] if message.time == 0}
    assert kinds["text"].text == "made by vmus"
    assert kinds["key_signature"].key == "Eb"
    assert (kinds["time_signature"].numerator, kinds["time_signature"].denominator) == (4, 4)
    assert kinds["set_tempo"].tempo == 600_000
    assert [track.name for track in file.tracks] == ["Melody", "Accompaniment"]
    assert [sum(m.time for m in track) for track in file.tracks] == [2201, 2201]
    assert file.length == pytest.approx(2201 / 220 * 0.6)
    assert [m.value for m in file.tracks[0] if m.type == "control_change"] == [127, 0]
    assert path.read_bytes() == midi_bytes(
        [melody, empty], 600_000, 2201, "made by vmus", key=(3, 0)
    )
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("tonic", range(12))
def test_key_signatures_name_their_key(tonic: int, mode: int) -> None:
    data = midi_bytes([MidiTrack("a", table([]))], 500_000, 0, "", key=(tonic, mode))
    file = mido.MidiFile(file=BytesReader(data))
    (key,) = [m.key for m in file.tracks[0] if m.type == "key_signature"]
    assert key.endswith("m") == bool(mode)
    name = key.removesuffix("m")
    classes = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    assert (classes[name[0]] + name.count("#") - name.count("b")) % 12 == tonic


def test_a_key_struck_again_ends_before_it_begins() -> None:
    rows = table([(0, 220, 60, 80), (220, 220, 60, 90)])
    file = mido.MidiFile(file=BytesReader(midi_bytes([MidiTrack("a", rows)], 500_000, 440, "")))
    kinds = [m.type for m in file.tracks[0] if m.type.startswith("note")]
    assert kinds == ["note_on", "note_off", "note_on", "note_off"]


@pytest.mark.parametrize(
    "row",
    [(-1, 10, 60, 80), (0, 0, 60, 80), (3999, 2, 60, 80), (0, 1, 128, 80), (0, 1, 60, 0)],
)
def test_notes_outside_the_file_are_refused(row: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="not within"):
        midi_bytes([MidiTrack("a", table([row]))], 500_000, TOTAL, "")


@pytest.mark.parametrize(
    ("mspq", "ticks", "tracks"),
    [(0, 1, 1), (1 << 24, 1, 1), (1, -1, 1), (1, 1 << 28, 1), (1, 1, 0)],
)
def test_bad_headers_are_refused(mspq: int, ticks: int, tracks: int) -> None:
    with pytest.raises(ValueError, match=r"must be|tracks"):
        midi_bytes([MidiTrack("a", table([]))] * tracks, mspq, ticks, "")


def test_tracks_by_name_without_drums(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    drums = chunk(b"\x00\x99\x24\x50\x10\x89\x24\x00" + END)
    data = midi_bytes(
        [
            MidiTrack("MELODY", table([(0, 10, 70, 80)])),
            MidiTrack("PIANO", table([(5, 10, 50, 60)])),
        ],
        500_000,
        20,
        "",
    )
    path.write_bytes(data[:10] + (3).to_bytes(2, "big") + data[12:] + drums)
    tracks = read_midi_tracks(path)
    assert {name: notes.pitch.tolist() for name, notes in tracks.items()} == {
        "MELODY": [70],
        "PIANO": [50],
    }
    assert read_midi(path).pitch.tolist() == [70, 50]


def test_tempo_changes_move_later_notes_only(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    half = b"\x00\xff\x51\x03" + (250_000).to_bytes(3, "big")
    path.write_bytes(header() + chunk(NOTE + half + NOTE + END))
    notes = read_midi(path)
    np.testing.assert_allclose(notes.onset, [0.0, 0.5])
    np.testing.assert_allclose(notes.offset, [0.5, 0.75])


def test_pedal_holds_notes_until_it_rises_or_the_key_is_struck_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mid"
    rows = table([(0, 100, 60, 80), (10, 100, 64, 80), (500, 50, 60, 80), (900, 50, 67, 80)])
    pedal = [(50, 127), (800, 0)]
    path.write_bytes(midi_bytes([MidiTrack("a", rows, pedal=pedal)], 500_000, 1000, ""))
    ticks = np.round(read_midi(path, pedal=True).offset * 440).astype(int)
    assert ticks.tolist() == [500, 800, 800, 950]
    assert np.round(read_midi(path).offset * 440).astype(int).tolist() == [100, 110, 550, 950]


def test_merge_sorts_by_onset_then_pitch() -> None:
    def notes(onset: float, pitch: int) -> TimedNotes:
        at = np.array([onset])
        return TimedNotes(at, at + 1, np.array([pitch], np.uint8), np.array([80], np.uint8))

    merged = TimedNotes.merge([notes(1.0, 60), notes(0.0, 62), notes(1.0, 55)])
    assert merged.pitch.tolist() == [62, 55, 60]
    assert len(TimedNotes.merge([])) == 0


SLOW = b"\x00\xff\x51\x03\xff\xff\xff"  # 16.8 s a quarter
BROKEN = {
    "empty": (b"", "empty file"),
    "text": (b"hello, this is no music at all", "no MThd"),
    "short header": (header()[:12], "cut short"),
    "type 2": (header(kind=2) + chunk(NOTE + END), "type 2"),
    "SMPTE": (header(division=0xE728) + chunk(NOTE + END), "SMPTE"),
    "no division": (header(division=0) + chunk(NOTE + END), "division of 0"),
    "truncated": (header() + chunk(NOTE + END)[:-8], "not a readable MIDI file"),
    "no tracks": (header(tracks=0), "no notes"),
    "no notes": (header() + chunk(END), "no notes"),
    "only drums": (header() + chunk(b"\x00\x99\x24\x50\x10\x89\x24\x00" + END), "no notes"),
    "tempo 0": (header() + chunk(b"\x00\xff\x51\x03\x00\x00\x00" + NOTE + END), "tempo of 0"),
    "10 hours": (
        header(division=1) + chunk(SLOW + b"\x00\x90\x3c\x50\x8f\x50\x80\x3c\x00" + END),
        "longer than 6 hours",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_give_one_line(name: str, tmp_path: Path) -> None:
    data, cause = BROKEN[name]
    path = tmp_path / "broken.mid"
    path.write_bytes(data)
    with pytest.raises(InputError, match=cause) as caught:
        read_midi(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_folders_and_floods_give_one_line(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mid", tmp_path):
        with pytest.raises(InputError):
            read_midi(path)
    flood = tmp_path / "flood.mid"
    flood.write_bytes(header() + chunk(b"\x00\x90\x3c\x50\x01\x80\x3c\x00" * 500_001 + END))
    with pytest.raises(InputError, match="over 500,000 notes"):
        read_midi(flood)


@given(st.data())
def test_damaged_bytes_are_read_or_refused(data: st.DataObject) -> None:
    rows = table([(10 * k, 15, 40 + k, 64) for k in range(20)])
    whole = bytearray(
        midi_bytes([MidiTrack("a", rows, pedal=[(3, 127), (90, 0)])], 500_000, 400, "x")
    )
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=6)):
        whole[at] = data.draw(st.integers(0, 255))
    whole = whole[: data.draw(st.integers(0, len(whole)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.mid"
        path.write_bytes(whole)
        try:
            notes = read_midi(path, pedal=True)
        except InputError:  # whose message is one line by construction
            return
    assert len(notes) > 0
    assert np.isfinite(notes.offset).all()
    assert (notes.offset > notes.onset).all()
    assert (np.diff(notes.onset) >= 0).all()


@pytest.mark.shared
def test_symusic_agrees_on_a_real_file(shared: Path) -> None:
    from symusic import Score

    path = shared / "data/POP909/001/001.mid"
    tracks = read_midi_tracks(path)
    assert {name: len(notes) for name, notes in tracks.items()} == {
        "MELODY": 264,
        "BRIDGE": 307,
        "PIANO": 985,
    }
    score: Any = Score(path)  # symusic types the object that its factory makes as nothing
    theirs = score.to("second").tracks[0].notes.numpy()["time"]
    np.testing.assert_allclose(tracks["MELODY"].onset, theirs, atol=1e-4)
