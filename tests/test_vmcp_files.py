"""The files that VMCP reads: tables and folders of pairs, music features, MIDI, broken ones."""

from pathlib import Path

import numpy as np
import pytest

from vmcp_world import pair
from vmusprod.errors import InputError, VmusError
from vmusprod.music.score import MidiTrack, write_midi
from vmusprod.vmcp.inputs import read_music
from vmusprod.vmcp.music import MusicSeconds
from vmusprod.vmcp.pairs import find_pairs


def _touch(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_a_tables_paths_are_its_folders(tmp_path: Path) -> None:
    table = tmp_path / "pairs.csv"
    table.write_text("\ufeffseed,music,video\n1,a.mid,clips/a.mp4\n\n2,/x/b.wav,b.npz\n")
    found = find_pairs(table)
    assert [p.video for p in found] == [tmp_path / "clips/a.mp4", tmp_path / "b.npz"]
    assert [p.music for p in found] == [tmp_path / "a.mid", Path("/x/b.wav")]


def test_folders_pair_by_stem(tmp_path: Path) -> None:
    videos = _touch(tmp_path / "v", "a.mp4", "a.npz", "b.MOV", "c.mp4", ".d.mp4", "e.txt")
    musics = _touch(tmp_path / "m", "a.mid", "a.wav", "b.mp3", "x.mid", ".d.mid", "e.mid")
    found = find_pairs(videos, musics)
    assert [(p.video.name, p.music.name) for p in found] == [("a.npz", "a.mid"), ("b.MOV", "b.mp3")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "columns video,music"),
        (b"film,sound\na,b\n", "columns video,music"),
        (b"video,music\n", "no pairs"),
        (b"video,music\na.mp4\n", "line 2"),
        (b"video,music\na.mp4,\n", "line 2"),
        (b"video,music\na.mp4,b\0.mid\n", "line 2|not a table"),
        (b"\xff\xfe\x00\x01" * 9, "not a table"),
        (b'video,music\n"' + b"x" * 200_000 + b'",b\n', "not a table"),
    ],
)
def test_a_bad_table_is_refused(tmp_path: Path, body: bytes, told: str) -> None:
    table = tmp_path / "pairs.csv"
    table.write_bytes(body)
    with pytest.raises(InputError, match=told):
        find_pairs(table)


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    videos, musics = _touch(tmp_path / "v", "a.mp4"), _touch(tmp_path / "m", "b.mid")
    with pytest.raises(InputError, match="has the name"):
        find_pairs(videos, musics)
    with pytest.raises(InputError, match="no such folder"):
        find_pairs(videos, tmp_path / "none")
    with pytest.raises(InputError, match="folder of the music"):
        find_pairs(videos)
    with pytest.raises(InputError, match="No such file"):
        find_pairs(tmp_path / "none.csv")


def test_music_features_come_back(tmp_path: Path) -> None:
    music = pair(1)[1]
    music.save(tmp_path / "m.npz")
    again = MusicSeconds.load(tmp_path / "m.npz")
    assert not again.midi
    assert np.array_equal(again.chords, music.chords)
    assert np.array_equal(again.loudness, music.loudness)


@pytest.mark.parametrize(
    "changes",
    [
        {"chords": np.array([130, 1, 1])},
        {"chords": np.zeros((3, 1), np.uint8)},
        {"density": np.array([1.0, np.nan, 1])},
        {"density": np.array([-1.0, 1, 1])},
        {"loudness": np.zeros(4)},
        {"loudness": np.array(["a", "b", "c"])},
        {"midi": np.array(3)},
        {"chords": np.zeros(0, np.uint8)},
        {"density": np.zeros(10**6)},
    ],
)
def test_music_features_out_of_range_are_refused(
    tmp_path: Path, changes: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "m.npz"
    good = {"chords": np.array([1, 2, 120]), "density": np.ones(3), "loudness": np.ones(3) / 9,
            "midi": np.array(False)}  # fmt: skip
    np.savez(path, **good)
    assert len(MusicSeconds.load(path)) == 3
    np.savez(path, **{**good, **changes})
    with pytest.raises(InputError, match=r"m\.npz"):
        MusicSeconds.load(path)


@pytest.mark.parametrize("body", [b"", b"MThd", b"PK\x03\x04" + bytes(60), b"\x93NUMPY" * 9])
@pytest.mark.parametrize("suffix", [".mid", ".npz", ".txt", ".wav"])
def test_what_is_no_music_is_named(tmp_path: Path, body: bytes, suffix: str) -> None:
    path = tmp_path / f"music{suffix}"
    path.write_bytes(body)
    with pytest.raises(InputError, match=f"music\\{suffix}") as caught:
        read_music(path, "symbolic", None)
    assert "\n" not in str(caught.value)


def test_a_midi_file_is_read(tmp_path: Path) -> None:
    notes = np.array([[220 * k, 200, 60 + k % 3 * 4, 80] for k in range(60)])
    path = tmp_path / "a.mid"
    write_midi(path, [MidiTrack("piano", notes)], 500_000, 220 * 60, "")
    rows, is_midi = read_music(path, "symbolic", None)
    assert is_midi
    assert len(rows) == 29
    with pytest.raises(InputError, match=r"[Nn]o such"):
        read_music(tmp_path / "none.mid", "symbolic", None)


def test_the_audio_side_says_where_its_tagger_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path))
    with pytest.raises(VmusError, match="--tagger"):
        read_music(tmp_path / "a.wav", "audio", None)
    (tmp_path / "bad.pth").write_bytes(b"no weights at all")
    with pytest.raises(InputError, match=r"bad\.pth"):
        read_music(tmp_path / "a.wav", "audio", tmp_path / "bad.pth")
    with pytest.raises(InputError, match="no sound"):
        read_music(tmp_path / "a.npz", "audio", tmp_path / "bad.pth")
