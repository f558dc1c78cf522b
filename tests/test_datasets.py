"""SymMV and POP909 as songs on a grid; songs that cannot be used are named, and stop nothing."""

from pathlib import Path

import numpy as np
import pytest

from vmusprod.dataset.pop909 import (
    NO_CHORD,
    chord_id,
    iter_pop909,
    load_pop909,
    own_downbeats,
    read_beats,
    read_spans,
)
from vmusprod.dataset.songs import Song, trim_bars
from vmusprod.dataset.symmv import iter_symmv, load_symmv, read_labels
from vmusprod.errors import InputError
from vmusprod.music.score import MidiTrack, midi_bytes

TICK = 500_000 / 220e6
STEP = 55  # ticks a sixteenth


def check_notes(notes: np.ndarray) -> None:
    """What the contract says of grid notes."""
    assert notes.dtype == np.int32
    assert notes.flags.c_contiguous
    onset, duration, pitch, velocity = notes.T
    assert (np.lexsort((pitch, onset)) == np.arange(len(notes))).all()
    assert len({(a, b) for a, b in zip(onset, pitch, strict=True)}) == len(notes)
    assert duration.min() >= 1
    assert duration.max() <= 64
    assert velocity.min() >= 1
    assert 0 <= onset[0] < 16
    for key in np.unique(pitch):
        own = notes[pitch == key]
        assert (own[1:, 0] >= own[:-1, 0] + own[:-1, 1]).all()


def pop_rows(bars: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Melody and piano in sixteenths."""
    roots = (36, 45, 41, 43)
    melody = [
        (16 * b + 4 * k + k % 2, 3, 72 + (b + k) % 5, 90) for b in range(bars) for k in range(4)
    ]
    piano = []
    for b in range(bars):
        root = roots[b % 4]
        piano.append((16 * b, 16, root, 70))
        for at in (0, 4, 8, 12):
            piano += [(16 * b + at, 4, root + 12 + third, 60) for third in (0, 4, 7)]
    return np.array(melody), np.array(piano)


def ticks(rows: np.ndarray, start: int) -> np.ndarray:
    table: np.ndarray = rows * np.array([STEP, STEP, 1, 1]) + np.array([start, 0, 0, 0])
    return table


def write_pop(folder: Path, *, start: int = 3 * 880 + 20, melody_name: str = "MELODY") -> None:
    """A song whose first bar begins three bars and 20 ticks in."""
    folder.mkdir(parents=True)
    melody, piano = pop_rows()
    tracks = [MidiTrack(melody_name, ticks(melody, start)), MidiTrack("PIANO", ticks(piano, start))]
    data = midi_bytes(tracks, 500_000, start + 24 * 880 + 880, "")
    (folder / f"{folder.name}.mid").write_bytes(data)
    beats = TICK * (20 + 220 * np.arange(4 * 28))
    lines = [f"{t} {float(k % 2 == 0)} {float(k % 4 == 0)}" for k, t in enumerate(beats)]
    (folder / "beat_midi.txt").write_text("\n".join(lines))
    names = ("C:maj", "A:min7/b3", "F:sus4(b7)", "G:7")
    chords = [f"{beats[0]} {beats[12]} N"]
    chords += [f"{beats[12 + 4 * b]} {beats[16 + 4 * b]} {names[b % 4]}" for b in range(24)]
    (folder / "chord_midi.txt").write_text("\n".join(chords))
    (folder / "key_audio.txt").write_text("0 2 A:min\n2 50 C:maj\n")


def test_a_pop909_song(tmp_path: Path) -> None:
    write_pop(tmp_path / "001")
    skipped: list[tuple[Path, str]] = []
    (song,) = iter_pop909(tmp_path, skipped)
    assert skipped == []
    assert (song.id, song.source, song.key) == ("001", "pop909", (0, 0))
    assert song.tempo == pytest.approx(120.0)
    assert song.fit > 0.99
    check_notes(song.notes)
    melody, piano = pop_rows()
    expected = {(a, c) for a, _, c, _ in np.concatenate([melody, piano]).tolist()}
    assert {(a, c) for a, _, c, _ in song.notes.tolist()} == expected
    assert song.melody is not None
    assert {(a, c) for a, _, c, _ in song.notes[song.melody].tolist()} == {
        (a, c) for a, _, c, _ in melody.tolist()
    }
    assert song.chords is not None
    assert song.chords.dtype == np.uint8
    assert len(song.chords) == 4 * 24
    ids = [chord_id(name) for name in ("C:maj", "A:min7", "F:sus4", "G:7")]
    assert song.chords.tolist() == np.tile(np.repeat(ids, 4), 6).tolist()


def test_unusable_pop909_songs_are_named(tmp_path: Path) -> None:
    write_pop(tmp_path / "001")
    write_pop(tmp_path / "002", melody_name="LEAD")
    for number in ("003", "004", "005", "006", "007"):
        write_pop(tmp_path / number)
    (tmp_path / "003/003.mid").write_bytes(b"MThd nothing")
    (tmp_path / "004/beat_midi.txt").unlink()
    (tmp_path / "005/beat_midi.txt").write_text("0.5 1\n")
    (tmp_path / "006/chord_midi.txt").write_text("0 9 H:maj\n")
    (tmp_path / "007/beat_midi.txt").write_text("\n".join(f"{k * 0.31} 0 0" for k in range(150)))
    songs, skipped = load_pop909(tmp_path)
    assert [song.id for song in songs] == ["001"]
    reasons = {path.name: reason for path, reason in skipped}
    assert set(reasons) == {"002", "003", "004", "005", "006", "007"}
    assert reasons["002"] == "no MELODY track"
    assert "No such file" in reasons["004"]
    assert reasons["005"] == "not 3 numbers a line"
    assert "unknown chord 'H:maj'" in reasons["006"]


def test_no_songs_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no POP909 songs"):
        load_pop909(tmp_path)
    with pytest.raises(InputError, match="No such file"):
        load_symmv(tmp_path)


def write_symmv(root: Path) -> None:
    (root / "midi").mkdir(parents=True)
    rows = [
        "index\tyoutube_url\ttonality\tshazam_id",
        "00001\tu\tE- major\t",
        "00002\tu\ta minor\t7",
    ]
    (root / "SymMV.csv").write_text("\n".join(rows) + "\n")
    rng = np.random.default_rng(0)
    melody, piano = pop_rows()
    both = ticks(np.concatenate([melody, piano]), 1500)
    both[:, 0] = both[:, 0] * 1.2 + rng.integers(-2, 3, len(both))  # on no grid of the file's own
    track = MidiTrack("", both[np.lexsort((both[:, 2], both[:, 0]))])
    for number in ("00001", "00003"):
        (root / f"midi/{number}.mid").write_bytes(midi_bytes([track], 500_000, 32_000, ""))
    noise = np.column_stack(
        [
            np.sort(rng.integers(0, 40_000, 400)),
            rng.integers(20, 200, 400),
            rng.integers(40, 90, 400),
            np.full(400, 70),
        ]
    )
    data = midi_bytes([MidiTrack("", noise)], 500_000, 41_000, "")
    (root / "midi/00002.mid").write_bytes(data)
    (root / "midi/00004.mid").write_bytes(b"")


def test_symmv_songs(tmp_path: Path) -> None:
    write_symmv(tmp_path)
    with (tmp_path / "SymMV.csv").open("a") as file:
        file.write("00004\tu\tC major\t\n")
    skipped: list[tuple[Path, str]] = []
    (song,) = iter_symmv(tmp_path, skipped)
    assert (song.id, song.source, song.key) == ("00001", "symmv", (3, 0))
    assert song.melody is None
    assert song.chords is None
    # Nothing in it says whether its chords come on every beat or twice a beat.
    assert min(abs(song.tempo - tempo) for tempo in (50.0, 100.0)) < 0.5
    assert song.fit > 0.9
    check_notes(song.notes)
    reasons = {path.name: reason for path, reason in skipped}
    assert set(reasons) == {"00002.mid", "00003.mid", "00004.mid"}
    assert reasons["00002.mid"].startswith("no steady pulse")
    assert reasons["00003.mid"] == "no key in SymMV.csv"
    assert reasons["00004.mid"] == "empty file"


@pytest.mark.parametrize("text", ["", "index\turl\n1\tx\n", "index\ttonality\n1\tH major\n"])
def test_a_broken_table_is_an_input_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "SymMV.csv"
    path.write_text(text)
    if text:
        with pytest.raises(InputError, match="not SymMV's table"):
            read_labels(path)
    else:
        assert read_labels(path) == {}


@pytest.mark.parametrize(
    ("name", "root", "quality"),
    [
        ("C:maj", 0, 0),
        ("Bb:min", 10, 1),
        ("F#:7/b7", 6, 2),
        ("Gb:maj7/3", 6, 3),
        ("A:min7/5", 9, 4),
        ("B:dim", 11, 5),
        ("B:hdim7", 11, 5),
        ("D:dim7", 2, 6),
        ("E:aug", 4, 7),
        ("Cb:sus2", 11, 8),
        ("E#:sus4(b7)", 5, 9),
        ("D:maj6", 2, 0),
        ("G", 7, 0),
        ("G/3", 7, 0),
    ],
)
def test_chord_labels(name: str, root: int, quality: int) -> None:
    assert chord_id(name) == root * 10 + quality


def test_no_chord_and_no_such_chord() -> None:
    assert chord_id("N") == chord_id("X") == NO_CHORD
    for name in ("", "H:maj", "C:what", "Cx:min", ":maj"):
        with pytest.raises(ValueError, match="unknown chord"):
            chord_id(name)


def test_tables_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    for text in ("0 1\n", "0 1 x y\n", "a b c\n"):
        path.write_text(text)
        with pytest.raises(InputError):
            read_beats(path)
    path.write_text("0 1\n")
    with pytest.raises(InputError):
        read_spans(path)


def test_leading_bars_are_trimmed() -> None:
    notes = np.array([[35, 2, 60, 80], [40, 2, 62, 80]], np.int32)
    trimmed, bars = trim_bars(notes)
    assert bars == 2
    assert trimmed[:, 0].tolist() == [3, 8]
    assert notes[0, 0] == 35
    assert trim_bars(np.zeros((0, 4), np.int32))[1] == 0


@pytest.fixture(scope="module")
def few(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Song]:
    """Every fortieth song of both sets."""
    root = tmp_path_factory.mktemp("few")
    for name in ("POP909", "SymMV/midi"):
        (root / name).mkdir(parents=True)
    for folder in sorted((shared / "data/POP909").glob("[0-9]*"))[::40]:
        (root / "POP909" / folder.name).symlink_to(folder)
    for path in sorted((shared / "data/SymMV/midi").glob("*.mid"))[::40]:
        (root / "SymMV/midi" / path.name).symlink_to(path)
    (root / "SymMV/SymMV.csv").symlink_to(shared / "data/SymMV/SymMV.csv")
    pop, pop_skipped = load_pop909(root / "POP909")
    symmv, symmv_skipped = load_symmv(root / "SymMV")
    assert len(pop) + len(pop_skipped) == 21
    assert len(symmv) + len(symmv_skipped) == 27
    assert len(pop) >= 17
    assert len(symmv) >= 18
    return [*pop, *symmv]


@pytest.mark.shared
def test_real_songs_keep_the_contract(few: list[Song]) -> None:
    for song in few:
        check_notes(song.notes)
        assert 0.6 <= song.fit <= 1
        assert 40 <= song.tempo <= 200
        if song.source == "pop909":
            assert song.melody is not None
            assert song.chords is not None
            assert 0.05 < song.melody.mean() < 0.6
            assert song.chords.max() <= NO_CHORD
            end = int((song.notes[:, 0] + song.notes[:, 1]).max())
            assert len(song.chords) == -(-end // 4)


@pytest.mark.shared
def test_real_songs_begin_bars_with_more_notes_than_offbeats(few: list[Song]) -> None:
    for source in ("pop909", "symmv"):
        place = np.concatenate([s.notes[:, 0] % 16 for s in few if s.source == source])
        share = np.bincount(place, minlength=16) / len(place)
        assert share[0] == share.max()
        assert share[[0, 4, 8, 12]].sum() > share[[2, 6, 10, 14]].sum() > share[1::4].sum()


@pytest.mark.shared
def test_downbeats_by_the_notes_lie_on_marked_beats(shared: Path) -> None:
    from vmusprod.music.score import read_midi

    folder = shared / "data/POP909/003"
    beats = read_beats(folder / "beat_midi.txt")
    downs = own_downbeats(read_midi(folder / "003.mid"), beats)
    assert downs is not None
    assert (downs & (beats[:, 2] == 1)).sum() > 0.9 * downs.sum()
