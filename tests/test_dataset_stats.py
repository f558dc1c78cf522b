"""`vmus dataset stats`: the numbers by hand, the files byte by byte."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import gaussian_kde
from typer.testing import CliRunner, Result

from vmus.app import app
from vmusprod.dataset.statistics import describe_set
from vmusprod.dataset.statistics.counts import density, statistics
from vmusprod.dataset.statistics.figures import draw_figures
from vmusprod.dataset.statistics.songs import SongFacts, read_chord_spans
from vmusprod.errors import InputError
from vmusprod.music.chord_names import chord_id
from vmusprod.music.score import MidiTrack, midi_bytes
from vmusprod.video.features import VideoFeatures


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def midi(*notes: tuple[int, int, int]) -> bytes:
    """Notes (start, duration, pitch) in beats."""
    rows = [(220 * start, 220 * length, pitch, 80) for start, length, pitch in notes]
    end = max(row[0] + row[1] for row in rows)
    return midi_bytes([MidiTrack("Piano", np.array(rows))], 500_000, end, "")


def annotated(folder: Path, key: str, tempo: float, genre: str | None, chords: str) -> None:
    """A song as `vmus annotate` writes it; `chords`: names, four beats each."""
    folder.mkdir(parents=True)
    facts: dict[str, Any] = {
        "key": key, "tempo": tempo, "duration": 36.0, "melody_notes": 2, "accompaniment_notes": 1,
    }  # fmt: skip
    if genre is not None:
        facts["metadata"] = {"genre": genre, "artist": "A <b>"}
    (folder / "annotation.json").write_text(json.dumps(facts))
    (folder / "melody.mid").write_bytes(midi((0, 1, 72), (1, 2, 74)))
    (folder / "accompaniment.mid").write_bytes(midi((0, 4, 48)))
    lines = [f"{880 * k}\t{880 * (k + 1)}\t{name}" for k, name in enumerate(chords.split())]
    (folder / "chord.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    for k in range(4):
        annotated(root / "pop" / str(k), "C major", 100 + k, "Pop", "CM FM GM CM")
        annotated(root / "rnb" / str(k), "D major", 80 + 3 * k, "R&B/Soul", "DM7 Em7 DM7 Bm7")
    annotated(root / "one", "a minor", 70.0, None, "Am Dm N Am")
    return root


def test_the_numbers_are_right(songs: Path) -> None:
    numbers = describe_set(songs).numbers
    assert numbers["set"] == {
        "songs": 9, "hours": 0.09, "notes": 27, "chords": 36, "major": 8, "minor": 1,
        "with_genre": 8, "with_tempo": 9,
    }  # fmt: skip
    assert numbers["genres"] == [{"genre": "Pop", "songs": 4}, {"genre": "R&B/Soul", "songs": 4}]
    assert numbers["tonality"]["C major"] == 4
    assert numbers["tonality"]["D major"] == 4
    assert numbers["tonality"]["a minor"] == 1
    assert sum(numbers["tonality"].values()) == 9
    # Each song: C for five beats (one and four), D for two. Down two semitones from D major.
    original, moved = numbers["notes"]["original"], numbers["notes"]["normalised"]
    assert (original[0], original[2], sum(original)) == (45.0, 18.0, 63.0)
    assert (moved[0], moved[2], moved[10]) == (4 * 5 + 5 + 4 * 2, 4 * 2 + 2, 4 * 5)
    assert numbers["notes"]["by_pitch"][48] == 36.0
    assert numbers["chords"]["major"]["CM"] == 32.0
    assert numbers["chords"]["major"]["CM7"] == 32.0
    assert numbers["chords"]["original"]["DM7"] == 32.0
    assert numbers["chords"]["minor"] == {"Am": 8.0, "Dm": 4.0, "N": 4.0}
    names = numbers["transitions"]["chords"]
    pop = np.array(numbers["transitions"]["probability"]["Pop"])
    assert pop[names.index("CM"), names.index("FM")] == 1.0
    assert pop[names.index("GM"), names.index("CM")] == 1.0
    assert pop[names.index("CM7")].sum() == 0
    assert not np.diag(pop).any()
    assert numbers["tempo"]["quartiles"]["Pop"][1] == 101.5
    shares = numbers["chords_by_genre"]
    share = dict(zip(shares["chords"], shares["share"]["R&B/Soul"], strict=True))
    assert share["CM7"] == 0.5
    assert share["CM"] == 0.0


def test_density_is_scipys() -> None:
    values = np.random.default_rng(0).normal(100, 20, 50)
    at = np.arange(40.0, 200.0)
    np.testing.assert_allclose(density(values, at), gaussian_kde(values)(at), rtol=1e-9)
    alone = density(np.array([100.0]), at)
    assert at[alone.argmax()] == 100.0
    assert alone.sum() == pytest.approx(1.0, abs=1e-6)


def test_a_report_is_whole_and_the_same_again(songs: Path, tmp_path: Path) -> None:
    done = vmus("dataset", "stats", songs, "-o", tmp_path / "a")
    assert done.exit_code == 0, done.output
    assert "9 songs" in done.stdout
    assert str(tmp_path / "a" / "index.html") in done.stdout
    shutil.copytree(songs, tmp_path / "copy" / songs.name)
    assert (
        vmus("dataset", "stats", tmp_path / "copy" / songs.name, "-o", tmp_path / "b").exit_code
        == 0
    )
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    figures = {name.partition(".")[0] for name in names} - {"index", "stats"}
    assert figures == {
        "table5_genres", "fig3a_tempo", "fig3c_chords_by_genre", "fig5_tonality", "fig6_notes",
        "fig7_chords", "fig8_transitions",
    }  # fmt: skip
    for name in names:
        first, second = ((tmp_path / side / name).read_bytes() for side in "ab")
        assert first == second, name
        if name.endswith(".png"):
            assert first.startswith(b"\x89PNG")
    page = (tmp_path / "a" / "index.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 7
    assert "R&amp;B/Soul" in page
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is loaded from elsewhere
    assert json.loads((tmp_path / "a" / "stats.json").read_text())["set"]["songs"] == 9


def test_a_table_brings_genres(songs: Path, tmp_path: Path) -> None:
    table = tmp_path / "genres.csv"
    table.write_text("id;Genre\none;Chanson\npop/0;Chanson\n", encoding="utf-16")
    done = vmus("dataset", "stats", songs, "--table", table, "--json")
    assert done.exit_code == 0, done.output
    genres = json.loads(done.stdout)["genres"]
    assert genres[0] == {"genre": "R&B/Soul", "songs": 4}
    assert {"genre": "Chanson", "songs": 2} in genres
    table.write_text("id,artist\none,x\n")
    done = vmus("dataset", "stats", songs, "--table", table)
    assert done.exit_code == 1
    assert "no column 'genre'" in done.stderr


def test_broken_songs_are_named(songs: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    shutil.copytree(songs, root)
    (root / "one" / "chord.txt").write_text("0 880 Hm\n")
    (root / "pop" / "0" / "annotation.json").write_text("[")
    (root / "pop" / "1" / "annotation.json").write_text('{"key": "C major", "tempo": 0}')
    (root / "pop" / "2" / "melody.mid").write_bytes(b"MThd")
    done = vmus("dataset", "stats", root, "--json")
    assert done.exit_code == 1
    numbers = json.loads(done.stdout)
    assert numbers["set"]["songs"] == 5
    assert {row["path"] for row in numbers["failed"]} == {
        "one/chord.txt", "pop/0/annotation.json", "pop/1/annotation.json", "pop/2/melody.mid",
    }  # fmt: skip
    assert "4 could not be read" in done.stderr


def test_no_set_no_figures(tmp_path: Path, songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, cause in ((tmp_path / "no", "no such folder"), (tmp_path, "neither annotated")):
        with pytest.raises(InputError, match=cause):
            describe_set(folder)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = vmus("dataset", "stats", songs, "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "pip install 'vmusprod[stats]'" in done.stderr
    assert not (tmp_path / "out").exists()
    assert vmus("dataset", "stats", songs).exit_code == 0  # numbers need no figures


@pytest.mark.parametrize(
    "text", ["0 880", "a b CM", "880 0 CM", "0 880 H", "0 880 CM x", "\ufffd" * 5]
)
def test_what_is_no_chord_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.txt").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="start tick"):
        read_chord_spans(tmp_path / "c.txt")


def test_chords_that_go_on_are_joined(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("0 220 CM\n220 440 CM\n660 880 CM\n880 1100 Ebm7\n")
    ids, beats = read_chord_spans(tmp_path / "c.txt")
    assert ids.tolist() == [chord_id("C"), chord_id("C"), chord_id("Eb:min7")]
    assert beats.tolist() == [2.0, 1.0, 1.0]


def test_strange_genres_are_drawn() -> None:
    one = SongFacts(
        "x", "\n$x^2 " + "Ж" * 90, (0, 0), 100.0, 60.0, np.array([60], np.uint8), np.ones(1),
        np.array([0], np.uint8), np.ones(1),
    )  # fmt: skip
    figures = draw_figures(statistics([one, one, one]))
    assert figures["table5_genres"]["png"].startswith(b"\x89PNG")


def test_videos_are_laid_out_by_genre(songs: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    centre = {"rnb": rng.normal(size=768), "jazz": rng.normal(size=768)}
    root = tmp_path / "set"
    shutil.copytree(songs, root)
    for k in range(4):
        annotated(root / "jazz" / str(k), "F major", 120.0 + k, "Jazz", "FM7 Gm7")
    for group in centre:
        for k in range(4):
            path = tmp_path / "features" / group / f"{k}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            semantic = (centre[group] + 0.05 * rng.normal(size=(2, 768))).astype(np.float32)
            motion = np.zeros(10, np.float32)
            VideoFeatures(2.0, motion, motion[:0], semantic=semantic).save(path)
    found = describe_set(root, features=tmp_path / "features").numbers["visual"]
    assert found["source"] == "semantic"
    assert found == describe_set(root, features=tmp_path / "features").numbers["visual"]
    place = np.array([found["x"], found["y"]]).T
    genre = np.array(found["genre"])
    assert set(genre.tolist()) == {"Jazz", "R&B/Soul"}
    middle = {name: place[genre == name].mean(axis=0) for name in set(genre.tolist())}
    for point, own in zip(place, genre.tolist(), strict=True):
        nearest = min(middle, key=lambda name: float(np.linalg.norm(point - middle[name])))
        assert nearest == own


@pytest.mark.shared
def test_symmv_as_published(shared: Path, tmp_path: Path) -> None:
    data = shared / "data" / "SymMV"
    (tmp_path / "midi").mkdir()
    (tmp_path / "chord").mkdir()
    shutil.copy(data / "SymMV.csv", tmp_path)
    for path in sorted((data / "midi").glob("*.mid"))[:6]:
        shutil.copy(path, tmp_path / "midi")
        shutil.copy(data / "chord" / f"{path.stem}.txt", tmp_path / "chord")
    numbers = describe_set(tmp_path).numbers
    assert numbers["set"]["songs"] == 6
    assert 0.2 < numbers["set"]["hours"] < 0.6
    # chorder spells Eb and Bb with flats, and the published files have none of them.
    assert not any(name.startswith(("Eb", "Bb")) for name in numbers["chords"]["original"])
    assert numbers["genres"] == []
