"""`vmus annotate`: folders of good, bad and hostile files, and what is written of them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from midi_corpus import TUNE, header, meta, song, tune
from vmus.app import app
from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.run import annotate_folder
from vmusprod.annotation.song import FILES
from vmusprod.errors import InputError, VmusError
from vmusprod.jobs import OptionError
from vmusprod.music.midi_file import read_midi_file
from vmusprod.music.score import read_midi

ALL = {*FILES, "annotation.json"}


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_what_is_said_of_a_song_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/b.mid").write_bytes(song(TUNE, [(0, meta(0x58, bytes([4, 2, 24, 8])))]))
    done = vmus("annotate", tmp_path / "in", "-o", tmp_path / "out", "--json", "--beats", "file")
    assert done.exit_code == 0
    (line,) = done.stdout.splitlines()
    facts = json.loads(line)
    assert facts["path"] == "a/b.mid"
    assert facts["error"] is None
    folder = tmp_path / "out/a/b"
    assert facts["output"] == str(folder)
    assert (facts["key"], facts["tempo"], facts["time_signature"]) == ("C major", 120.0, "4/4")
    assert (facts["notes"], facts["beats"], facts["bars"]) == (144, 48, 12)
    assert facts["beat_fit"] == 1.0
    assert facts["most_moved_ms"] == 0.0
    chords = (folder / "chord.txt").read_text().splitlines()
    assert chords[:4] == ["0 880 CM", "880 1760 GM", "1760 2640 AM", "2640 3520 FM"]
    lab = (folder / "chord.lab").read_text().splitlines()
    assert lab[:2] == ["0.0000\t2.0000\tC:maj", "2.0000\t4.0000\tG:maj"]
    beats = (folder / "beats.txt").read_text().splitlines()
    assert beats[:5] == ["0.0000\t1", "0.5000\t2", "1.0000\t3", "1.5000\t4", "2.0000\t1"]
    both = [read_midi_file(folder / name) for name in FILES[:2]]
    ticks = sorted(
        (t, p) for part in both for t, p in zip(part.start, part.notes.pitch, strict=True)
    )
    assert ticks == sorted((t, p) for t, _, p in TUNE)
    assert sum(p > 66 for p in both[0].notes.pitch.tolist()) > 60  # of 96 in the tune


def test_tracked_beats_keep_the_time_of_the_notes(tmp_path: Path) -> None:
    # 97 bpm written at a nominal 120: no note is on the file's own grid.
    step = 110 * 120 / 97
    notes = [(round(t / 110 * step) + 301, round(n / 110 * step), p) for t, n, p in tune(24)]
    (tmp_path / "a.mid").write_bytes(song(notes))
    assert vmus("annotate", tmp_path / "a.mid", "-o", tmp_path / "out").exit_code == 0
    facts = json.loads((tmp_path / "out/a/annotation.json").read_text())
    assert facts["beats_from"] == "tracked"
    assert min(abs(facts["tempo"] - 97 * k) for k in (0.5, 0.75, 1, 1.5, 2)) < 0.5
    assert facts["beat_fit"] > 0.95
    truth = read_midi(tmp_path / "a.mid").onset
    parts = [read_midi(tmp_path / "out/a" / name).onset for name in FILES[:2]]
    assert np.abs(np.sort(np.concatenate(parts)) - truth).max() < 0.02
    assert 1000 * np.abs(np.sort(np.concatenate(parts)) - truth).mean() < facts["mean_moved_ms"] + 1


def two_tracks(name: bytes) -> bytes:
    top = [note for note in TUNE if note[2] >= 67]
    rest = [note for note in TUNE if note[2] < 67]
    tracks = [song(top[:40], [(0, meta(3, name))]), song(rest + top[40:])]
    return header(1, 2) + b"".join(data[22:][:0] + data[14:] for data in tracks)


@pytest.mark.parametrize("name", ["MELODY", "Lead Vocals", "主旋律", "voice 1"])
def test_a_named_melody_track_is_the_melody(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.mid").write_bytes(two_tracks(name.encode()))
    assert vmus("annotate", tmp_path / "a.mid", "-o", tmp_path / "out").exit_code == 0
    facts = json.loads((tmp_path / "out/a/annotation.json").read_text())
    assert (facts["melody_from"], facts["melody_notes"], facts["tracks"]) == ("track", 40, 2)
    done = vmus("annotate", tmp_path / "a.mid", "-o", tmp_path / "out", "--melody", "skyline")
    assert done.exit_code == 0
    facts = json.loads((tmp_path / "out/a/annotation.json").read_text())
    assert facts["melody_from"] == "skyline"
    assert facts["melody_notes"] > 80


def test_a_melody_track_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(two_tracks(b"unmelodious piano"))
    done = vmus("annotate", tmp_path / "a.mid", "-o", tmp_path / "out", "--melody", "tracks")
    assert done.exit_code == 1
    assert "no track with a name" in done.stderr


def test_what_is_done_is_kept_and_what_changed_is_not(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.mid").write_bytes(song(tune(8 + ord(name) % 4)))
    first = annotate_folder([folder], out, AnnotateOptions())
    assert (first.done, first.kept) == (3, 0)
    before = tree(out)
    again = annotate_folder([folder], out, AnnotateOptions())
    assert (again.done, again.kept) == (0, 3)
    assert tree(out) == before
    (folder / "b.mid").write_bytes(song(tune(5)))
    changed = annotate_folder([folder], out, AnnotateOptions())
    assert (changed.done, changed.kept) == (1, 2)
    assert annotate_folder([folder], out, AnnotateOptions(chords="chorder")).done == 3
    assert (
        annotate_folder([folder], out, AnnotateOptions(chords="chorder"), overwrite=True).done == 3
    )
    # A song that lost its mark is not done; what else lies in its folder is nobody's business.
    (out / "a/annotation.json").unlink()
    (out / "a/mine.txt").write_text("kept")
    assert annotate_folder([folder], out, AnnotateOptions(chords="chorder")).done == 1
    assert (out / "a/mine.txt").read_text() == "kept"


def test_any_number_of_threads_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(12):
        (folder / f"{k}.mid").write_bytes(song(tune(4 + k, 100 + k)))
    (folder / "bad.mid").write_bytes(b"MThd")
    for jobs in (1, 5):
        annotate_folder([folder], tmp_path / str(jobs), AnnotateOptions(jams=True), jobs=jobs)
    assert tree(tmp_path / "1") == tree(tmp_path / "5")


def _songs_done(out: Path) -> int:
    """Count the whole songs. No glob: it raises when a part is renamed under it."""
    if not out.exists():
        return 0
    return sum((song / "annotation.json").exists() for song in out.iterdir())


@pytest.mark.slow
def test_killed_and_started_again_it_ends_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(60):
        (folder / f"{k:03}.mid").write_bytes(song(tune(40 + k, 100 + k % 7)))
    command = [sys.executable, "-m", "vmus", "annotate", str(folder), "-q", "-j", "2", "-o"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True)
    for end in (signal.SIGKILL, signal.SIGINT):
        enough = _songs_done(tmp_path / "cut") + 5
        with subprocess.Popen(
            [*command, str(tmp_path / "cut")], stderr=subprocess.DEVNULL
        ) as process:
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and _songs_done(tmp_path / "cut") < enough:
                time.sleep(0.005)
            process.send_signal(end)
            assert process.wait(30) in (-signal.SIGKILL, 130, 0)
        for facts in (tmp_path / "cut").glob("[0-9]*/annotation.json"):
            assert {path.name for path in facts.parent.iterdir()} == ALL
        if end == signal.SIGINT:
            assert not list((tmp_path / "cut").rglob(".vmus*"))
    subprocess.run([*command, str(tmp_path / "cut")], check=True)
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_names_that_collide_or_are_paths(tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "in/out"
    (folder / "a").mkdir(parents=True)
    names = ["a.mid", "a.midi", "A.mid", "songs.csv.mid", "b .mid", "-o.mid", "line\nbreak.mid",
             "%s$(x).mid", "a/b.mid", "a/chord.lab.mid"]  # fmt: skip
    for name in names:
        (folder / name).write_bytes(song([(0, 220, 60)]))
    raw = os.fsencode(folder) + b"/caf\xe9.mid"
    Path(os.fsdecode(raw)).write_bytes(song([(0, 220, 60)]))
    (folder / ".hidden.mid").write_bytes(b"not looked at")
    (folder / "loop").symlink_to(folder)
    (folder / "a/up").symlink_to(folder / "a")
    (folder / "self").symlink_to("self")
    (folder / "gone.mid").symlink_to("nowhere.mid")
    for _ in range(2):  # the second time the output is there, inside the input
        done = vmus("annotate", folder, "-o", out)
        assert done.exit_code == 0, done.stderr
        rows = rows_of(out / "songs.csv")
        assert len(rows) == len({row["folder"].casefold() for row in rows}) == len(names) + 1
    made = {row["path"]: row["folder"] for row in rows}
    assert made["a.midi"] == "a.midi"
    assert made["a/b.mid"] == "a/b"
    assert made["songs.csv.mid"] == "songs.csv.mid"
    assert made["caf\\xe9.mid"] == "caf\\xe9"
    assert Path(os.fsdecode(os.fsencode(out) + b"/caf\xe9/melody.mid")).exists()
    # An annotated folder that is annotated in its turn holds no new songs.
    with pytest.raises(InputError, match="no MIDI files"):
        annotate_folder([out], tmp_path / "third", AnnotateOptions())


def test_several_inputs_do_not_mix(tmp_path: Path) -> None:
    for name in ("x/songs/a.mid", "y/songs/a.mid", "a.mid"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(song([(0, 220, 60)]))
    inputs = [tmp_path / "x/songs", tmp_path / "y/songs", tmp_path / "a.mid"]
    assert annotate_folder(inputs, tmp_path / "out", AnnotateOptions()).done == 3
    folders = [row["folder"] for row in rows_of(tmp_path / "out/songs.csv")]
    assert folders == ["songs/a", "songs-2/a", "a"]


def test_an_error_leaves_no_litter_and_names_the_output(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.mid").write_bytes(song(TUNE))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").write_text("a file where a folder should be")
    done = vmus("annotate", tmp_path / "in", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "a.mid" in done.stderr
    assert not list((tmp_path / "out").glob(".vmus*"))
    assert rows_of(tmp_path / "out/failed.csv")[0]["path"] == "a.mid"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no such file"),
        (["."], "no MIDI files"),
        (["a.mid", "--melody", "loud"], "--melody loud"),
        (["a.mid", "--chords", "published", "--beats", "track"], "file's own beats"),
        (["a.mid", "--table", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_wrong_usage_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "a.mid" in arguments:
        (tmp_path / "a.mid").write_bytes(song(TUNE))
    done = vmus("annotate", *arguments, "-o", "out")
    assert done.exit_code in (1, 2)
    (line,) = done.stderr.splitlines()
    assert told in line


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="beats"):
        AnnotateOptions(beats="never")


def test_metadata_is_joined(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("00001", "00002", "other"):
        (tmp_path / f"in/{name}.mid").write_bytes(song(TUNE))
    (tmp_path / "t.csv").write_bytes(
        "genre\tindex\tkey\tartist\nPop\t00001\tZ\tSängerin\nRock\t00002.mid\tY\t\n".encode(
            "latin-1"
        )
    )
    out = tmp_path / "out"
    summary = annotate_folder([tmp_path / "in"], out, AnnotateOptions(), table=tmp_path / "t.csv")
    assert summary.done == 3
    rows = rows_of(out / "songs.csv")
    assert [row["genre"] for row in rows] == ["Pop", "Rock", ""]
    assert [row["artist"] for row in rows] == ["Sängerin", "", ""]
    assert rows[0]["table_key"] == "Z"
    assert json.loads((out / "00001/annotation.json").read_text())["metadata"]["genre"] == "Pop"
    # Another table is a change.
    assert annotate_folder([tmp_path / "in"], out, AnnotateOptions()).done == 2
    (tmp_path / "bad.csv").write_text("genre,artist\nPop,X\n")
    with pytest.raises(VmusError, match="no column that names the song"):
        annotate_folder([tmp_path / "in"], out, AnnotateOptions(), table=tmp_path / "bad.csv")


def test_jams_is_what_its_schema_says(tmp_path: Path) -> None:
    (tmp_path / "a.mid").write_bytes(song(TUNE))
    (tmp_path / "t.csv").write_text("file,title,artist\na.mid,Song,Me\n")
    options = AnnotateOptions(jams=True)
    annotate_folder([tmp_path / "a.mid"], tmp_path / "out", options, table=tmp_path / "t.csv")
    path = tmp_path / "out/a/annotation.jams"
    document = json.loads(path.read_text())
    assert document["file_metadata"]["title"] == "Song"
    assert [a["namespace"] for a in document["annotations"]] == [
        "chord", "beat", "key_mode", "tempo", "note_midi",
    ]  # fmt: skip
    check = (
        "import sys, warnings, jams\n"
        "document = jams.load(sys.argv[1], validate=True, strict=True)\n"
        "assert document.validate()\n"
        "print([len(a.data) for a in document.annotations])\n"
    )
    pytest.importorskip("jams")  # in a process of its own: it warns on import
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", check, str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert min(json.loads(done.stdout)) >= 1
    # Without the option, an older file does not stay.
    annotate_folder([tmp_path / "a.mid"], tmp_path / "out", AnnotateOptions())
    assert not path.exists()


def test_published_chords_stand_on_nominal_beats(tmp_path: Path) -> None:
    notes = [(t + 37, n - 40, p) for t, n, p in TUNE]
    (tmp_path / "a.mid").write_bytes(song(notes, [(0, meta(0x58, bytes([6, 3, 24, 8])))]))
    options = AnnotateOptions(chords="published")
    annotate_folder([tmp_path / "a.mid"], tmp_path / "out", options)
    rows = [line.split() for line in (tmp_path / "out/a/chord.txt").read_text().splitlines()]
    assert rows
    assert all(int(start) % 220 == int(stop) % 220 == 0 for start, stop, _ in rows)
    facts = json.loads((tmp_path / "out/a/annotation.json").read_text())
    assert (facts["beats_from"], facts["chords_from"]) == ("file", "published")
