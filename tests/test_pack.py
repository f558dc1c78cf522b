"""Packs: songs in the common key, what was written comes back, broken files are one line."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from music_strategies import assert_grid, chord_ids, grid_notes
from tiny_models import random_song, tiny_pack
from vmusprod import _vmus_rs
from vmusprod.dataset.build import build_pack
from vmusprod.dataset.pack import (
    Pack,
    even_velocity,
    pack_song,
    split_of,
    to_common_key,
    write_pack,
)
from vmusprod.errors import InputError, OutputError
from vmusprod.music import tokens as tk
from vmusprod.music.score import MidiTrack, write_midi

BARS = 4
keys = st.tuples(st.integers(0, 11), st.integers(0, 1))


@given(grid_notes(BARS), chord_ids(BARS), keys)
def test_common_key(notes: tk.Notes, chords: NDArray[np.uint8], key: tuple[int, int]) -> None:
    moved, moved_chords = to_common_key(notes, chords, key)
    home = 9 if key[1] else 0
    shift = (moved[:, 2] - notes[:, 2]) % 12
    assert set(shift.tolist()) <= {(home - key[0]) % 12}
    assert (np.abs(moved[:, 2] - notes[:, 2]) <= 12 + 6).all()
    middle = (notes[:, 2] >= 6) & (notes[:, 2] <= 121)
    assert (np.abs(moved[middle, 2] - notes[middle, 2]) <= 6).all()
    assert ((moved[:, 2] >= 0) & (moved[:, 2] <= 127)).all()
    known = chords < 120
    assert np.array_equal(moved_chords[~known], chords[~known])
    assert np.array_equal(moved_chords[known] % 10, chords[known] % 10)
    roots = (moved_chords[known] // 10).astype(int) - chords[known] // 10
    assert set((roots % 12).tolist()) <= {(home - key[0]) % 12}


@given(st.lists(st.integers(1, 127), min_size=1, max_size=50))
def test_even_velocity(velocity: list[int]) -> None:
    even = even_velocity(np.array(velocity, np.int32))
    assert even.dtype == np.int32
    assert even.min() >= 1
    assert even.max() <= 127
    order = np.argsort(velocity, kind="stable")
    assert (np.diff(even[order]) >= 0).all()
    if len(set(velocity)) == 1:
        assert set(even.tolist()) == {66}


@settings(max_examples=40)
@given(grid_notes(BARS).filter(len), chord_ids(BARS), keys, st.data())
def test_a_song_keeps_its_notes(
    notes: tk.Notes, chords: NDArray[np.uint8], key: tuple[int, int], data: st.DataObject
) -> None:
    melody = np.array(data.draw(st.lists(st.booleans(), min_size=len(notes), max_size=len(notes))))
    song = pack_song(
        id="x", source="symmv", notes=notes, melody=melody, chords=chords, key=key, tempo=120
    )
    bars = int(notes[:, 0].max()) // 16 + 1
    assert song["bars"] == bars
    moved, moved_chords = to_common_key(notes, chords, key)
    parts = {"melody": moved[melody], "accompaniment": moved[~melody]}
    for name, part in parts.items():
        decoded = tk.decode_notes(np.asarray(song[name]))
        assert_grid(decoded)
        wanted = tk.normalise(part)
        assert np.array_equal(decoded[:, :3], wanted[:, :3])
    stream = np.asarray(song["chord"])
    assert np.array_equal(tk.decode_chords(stream, bars), moved_chords[: bars * 4])


def test_a_song_without_notes() -> None:
    with pytest.raises(ValueError, match="no notes"):
        pack_song(
            id="x", source="symmv", notes=np.zeros((0, 4), np.int32), melody=np.zeros(0, bool),
            chords=np.zeros(0, np.uint8), key=(0, 0), tempo=120,
        )  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    entries = [random_song(i, split="val" if i == 2 else "train") for i in range(4)]
    path = tmp_path / "songs.pack"
    assert write_pack(path, entries, {"kept": 4}) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["songs.pack"]
    pack = Pack(path)
    assert pack.about == {"kept": 4}
    assert [s.id for s in pack.songs("train")] == ["song0", "song1", "song3"]
    assert [s.id for s in pack.songs("val")] == ["song2"]
    for entry, song in zip(entries, pack.songs("all"), strict=True):
        for name in ("chord", "melody", "accompaniment"):
            assert np.array_equal(getattr(song, name), np.asarray(entry[name]))
            for levels in (song.density[name], song.loudness[name]):
                assert levels.shape == (song.bars,)
                assert levels.min() >= 0
                assert levels.max() <= 8
        assert (song.tempo, song.mode) == (entry["tempo"], entry["mode"])
        assert not song.loudness["chord"].any()  # chords have no velocity


def test_levels_follow_what_they_measure(tmp_path: Path) -> None:
    """The second half of a song twice as dense and much louder."""
    rows = [[2 * i, 2, 60, 40] for i in range(8 * 8)]
    rows += [[128 + i, 1, 60, 100] for i in range(8 * 16)]
    notes = np.array(rows, np.int32)
    song = pack_song(
        id="x", source="symmv", notes=notes, melody=np.zeros(len(notes), bool),
        chords=np.zeros(64, np.uint8), key=(0, 0), tempo=100, split="train",
    )  # fmt: skip
    write_pack(tmp_path / "p", [song], {})
    read = Pack(tmp_path / "p").songs("train")[0]
    for levels in (read.density["accompaniment"], read.loudness["accompaniment"]):
        assert levels[:6].max() < levels[10:].min()
    assert not read.loudness["melody"].any()


def test_the_split_is_stable_and_about_one_in_twenty() -> None:
    names = [f"pop909/{i:03}" for i in range(2000)]
    held_out = [n for n in names if split_of(n) == "val"]
    assert 60 < len(held_out) < 140
    assert held_out[0] == "pop909/036"
    assert split_of("pop909/001") == "train"


def refused(path: Path, *words: str) -> None:
    with pytest.raises(InputError) as caught:
        Pack(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert "\n" not in text
    for word in words:
        assert word in text


class TestBroken:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        tiny_pack(tmp_path / "songs.pack", 3)
        return tmp_path / "songs.pack"

    def rewrite(self, path: Path, header: object = None, **arrays: NDArray[np.generic]) -> None:
        with np.load(path) as data:
            held = {k: data[k] for k in data.files}
        if header is not None:
            old = json.loads(bytes(held["header"]))
            text = json.dumps({**old, **header} if isinstance(header, dict) else header)
            held["header"] = np.frombuffer(text.encode(), np.uint8)
        held |= arrays
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **held)
        path.write_bytes(buffer.getvalue())

    def test_missing(self, tmp_path: Path) -> None:
        refused(tmp_path / "no", "No such file")

    def test_folder(self, tmp_path: Path) -> None:
        refused(tmp_path)

    @pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04" + bytes(50), b"\x93NUMPY"])
    def test_foreign(self, content: bytes, tmp_path: Path) -> None:
        path = tmp_path / "x"
        path.write_bytes(content)
        refused(path, "not a training pack")

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
    def test_truncated(self, share: float, path: Path) -> None:
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        refused(path, "not a training pack")

    def test_damaged_inside(self, path: Path) -> None:
        data = bytearray(path.read_bytes())
        middle = len(data) // 3
        data[middle : middle + 400] = bytes(400)
        path.write_bytes(data)
        refused(path, "not a training pack")

    def test_an_npz_of_something_else(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npz"
        np.savez(path, a=np.zeros(3))
        refused(path, "not a training pack")

    def test_objects_are_not_unpickled(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npz"
        np.savez(path, allow_pickle=True, header=np.array([{"a": 1}], object))
        refused(path, "not a training pack")

    def test_huge_claims(self, tmp_path: Path) -> None:
        path = tmp_path / "x.npz"
        header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000,), }\n"
        member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("header.npy", member)
        refused(path, "not a training pack")

    def test_another_version(self, path: Path) -> None:
        self.rewrite(path, {"version": 9})
        refused(path, "pack version 9, expected 1")

    @pytest.mark.parametrize("header", [[1], 3, {"songs": 3}, {"songs": [{}] * 3}, {"about": 1}])
    def test_headers_that_make_no_sense(self, header: object, path: Path) -> None:
        self.rewrite(path, header)
        refused(path, "not a training pack")

    @pytest.mark.parametrize(
        ("field", "value"),
        [("bars", 10**15), ("bars", 0), ("bars", 5), ("bars", -1), ("tempo", 0), ("tempo", "nan"),
         ("mode", 2), ("bars", "many")],
    )  # fmt: skip
    def test_songs_that_make_no_sense(self, field: str, value: object, path: Path) -> None:
        with np.load(path) as data:
            songs = json.loads(bytes(data["header"]))["songs"]
        songs[1][field] = value
        self.rewrite(path, {"songs": songs})
        refused(path, "not a training pack")

    @pytest.mark.parametrize("name", ["chord", "melody", "accompaniment"])
    def test_tokens_that_make_no_sense(self, name: str, path: Path) -> None:
        with np.load(path) as data:
            tokens, offset = data[f"{name}_tokens"], data[f"{name}_offset"]
        high = tokens.copy()
        high[5] = 200
        swapped = tokens.copy()
        swapped[[1, 2, 3, 4]] = swapped[[4, 3, 2, 1]]
        ended = tokens.copy()
        ended[3] = 0
        for wrong in (high, swapped, ended, tokens[:-1], tokens[:, :5], tokens.astype(np.int64)):
            self.rewrite(path, **{f"{name}_tokens": wrong})
            refused(path, "not a training pack")
        self.rewrite(path, **{f"{name}_tokens": tokens})
        Pack(path)
        for moved in (offset + 1, offset[::-1], offset[:2], offset * 0):
            self.rewrite(path, **{f"{name}_offset": moved})
            refused(path, "not a training pack")


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_pack(tmp_path / "no" / "x", [random_song(0)], {})


class TestBuild:
    def song(self, path: Path, seed: int, late: float = 0.0) -> None:
        """A steady 8th-note song at 110 bpm with chords on the downbeats."""
        rng = np.random.default_rng(seed)
        chords = [(48, 52, 55), (45, 48, 52), (41, 45, 48), (43, 47, 50)]
        rows = []
        for bar in range(24):
            rows += [[bar * 880, 800, p, 70] for p in chords[bar % 4]]
            tune = [(bar * 880 + i * 110, 100, int(p), 90)
                    for i, p in enumerate(rng.choice([60, 64, 67, 69, 72], 8))]  # fmt: skip
            rows += [list(t) for t in tune]
        notes = np.array(rows)
        notes[:, 0] = np.clip(notes[:, 0] + rng.normal(0, late, len(notes)), 0, None)
        total = int((notes[:, 0] + notes[:, 1]).max())
        write_midi(path, [MidiTrack("p", notes)], 545_455, total, "")

    def test_a_folder_of_midi(self, tmp_path: Path) -> None:
        folder = tmp_path / "songs"
        (folder / "deep").mkdir(parents=True)
        self.song(folder / "a.mid", 1)
        self.song(folder / "deep" / "b.MID", 2)
        self.song(folder / "loose.mid", 3, late=60)
        (folder / "broken.mid").write_bytes(b"MThd")
        (folder / "notes.txt").write_text("no music")
        told: list[str] = []
        report = build_pack(tmp_path / "p", midi=folder, progress=told.append)
        assert report.kept == {"midi": 2}
        assert report.fit["midi"] > 0.9
        assert {p.name for p, _ in report.skipped} == {"broken.mid", "loose.mid"}
        assert told == ["a", "deep/b"]
        songs = Pack(tmp_path / "p").songs("all")
        assert [s.id for s in songs] == ["midi/a", "midi/deep/b"]
        for song in songs:
            ratio = 110 / song.tempo  # eighths may be taken for 16ths
            assert ratio == pytest.approx(round(ratio), rel=0.01)
            assert abs(song.bars * round(ratio) - 24) <= 2
            assert len(tk.decode_notes(song.melody)) > 100

    def test_nothing_usable(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        with pytest.raises(InputError, match="no song could be packed"):
            build_pack(tmp_path / "p", midi=tmp_path / "in")
        assert not (tmp_path / "p").exists()


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["POP909", "SymMV"])
def test_real_songs_round_trip(shared: Path, corpus: str) -> None:
    """Every song of the shared data: notes to tokens and back, exact on the grid."""
    from vmusprod.music.score import read_midi

    seen = 0
    for path in sorted((shared / "data" / corpus).rglob("*.mid")):
        timed = read_midi(path)
        start = float(timed.onset.min()) if len(timed.onset) else 0.0
        # At 120 bpm, as SymMV is written: no beats are needed to have real notes on a grid.
        notes = _vmus_rs.quantize(
            timed.onset, timed.offset, timed.pitch, timed.velocity, 0.125, start
        )
        notes = notes[notes[:, 0] < 4096]
        bars = int(notes[:, 0].max(initial=0)) // 16 + 1
        decoded = tk.decode_notes(tk.encode(bars, notes=notes))
        assert np.array_equal(decoded[:, :3], notes[:, :3])
        seen += 1
    assert seen > 500
