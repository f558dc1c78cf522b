"""`vmus dataset collect` and `vmus dataset shazam`: tables in, tables out, servers faked."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from sounds import chords_sound, write_wav
from video_factory import drift, plain, texture, write_clip
from vmus.app import app
from vmusprod.dataset.collect import plan_entries
from vmusprod.dataset.download import download
from vmusprod.dataset.quality import Rules, faults_of_notes, faults_of_title
from vmusprod.dataset.shazam import fields_of_track
from vmusprod.errors import InputError
from vmusprod.music.score import TimedNotes, read_midi

CHORDS = [[60, 64, 67], [57, 60, 64], [65, 69, 72], [67, 71, 74], [62, 65, 69], [64, 67, 71]]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path_factory.mktemp("cache")))


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def tune(seed: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [
        [*CHORDS[rng.integers(len(CHORDS))], int(rng.choice([72, 74, 76, 77, 79]))]
        for _ in range(44)
    ]


def heard(seconds: float = 44.0, rate: float = 4.0) -> TimedNotes:
    onset = np.arange(0, seconds, 1 / rate)
    pitch = (60 + np.arange(len(onset)) % 12).astype(np.uint8)
    return TimedNotes(onset, onset + 0.3, pitch, np.full(len(onset), 70, np.uint8))


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos and sounds: one pair that belongs together, and all that may be wrong."""
    folder = tmp_path_factory.mktemp("media")
    write_clip(folder / "moving.mp4", (drift(texture(3), 5 * k) for k in range(60)), rate=2)
    write_clip(folder / "brief.mp4", (drift(texture(3), 5 * k) for k in range(20)), rate=2)
    write_clip(folder / "static.mp4", [plain((90, 20, 20))] * 60, rate=2)
    write_wav(folder / "piano.wav", chords_sound(tune(1), 1.0, 11025), 11025)
    intro = np.zeros(3 * 11025)
    official = np.concatenate([intro, chords_sound(tune(1), 1.0, 11025)])
    noise = np.random.default_rng(0).normal(0, 0.01, len(official))
    write_wav(folder / "official.wav", official + noise, 11025)
    write_wav(folder / "other.wav", chords_sound(tune(2), 1.0, 11025), 11025)
    return folder


@pytest.fixture
def transcribed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """No models: the transcription is what `heard` says; which files were asked for."""
    asked: list[Path] = []

    def read(path: Path, *_: Any) -> tuple[TimedNotes, Any]:
        asked.append(path)
        beats = np.stack([np.arange(0, 44, 0.5), np.arange(88) % 4 + 1.0], axis=1)
        return heard(), beats

    monkeypatch.setattr("vmusprod.dataset.collect_entry.read_audio", read)
    monkeypatch.setattr("vmusprod.dataset.collect.check_models", lambda *_: None)
    return asked


def table(path: Path, *rows: dict[str, str]) -> Path:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_pairs_are_kept_thrown_out_or_fail(
    media: Path, tmp_path: Path, transcribed: list[Path]
) -> None:
    good = {"video": "moving.mp4", "piano": "piano.wav", "official": "official.wav"}
    pairs = table(
        media / "pairs.csv",
        {"id": "good", **good, "genre": "Pop"},
        {"id": "still", **good, "video": "static.mp4"},
        {"id": "brief", **good, "video": "brief.mp4"},
        {"id": "lyrics", **good, "title": "A Song (Lyric Video)"},
        {"id": "wrong", **good, "official": "other.wav"},
        {"id": "gone", **good, "piano": "gone.wav"},
        {"id": "web", **good, "piano": "https://example.org/a"},
    )
    done = vmus("dataset", "collect", pairs, "-o", tmp_path / "out", "--json")
    assert done.exit_code == 1
    rows = {row["id"]: row for row in map(json.loads, done.stdout.splitlines())}
    status = {name: row["status"] for name, row in rows.items()}
    assert status == {
        "good": "kept", "still": "rejected", "brief": "rejected", "lyrics": "rejected",
        "wrong": "rejected", "gone": "failed", "web": "failed",
    }  # fmt: skip
    assert "static video" in rows["still"]["reason"]
    assert "short video (10 s for 47 s of music)" in rows["brief"]["reason"]
    assert "lyric" in rows["lyrics"]["reason"].lower()
    assert "not the same piece" in rows["wrong"]["reason"]
    assert "gone.wav: no such file" in done.stderr
    assert "give --download" in done.stderr
    assert "1 kept, 4 thrown out, 2 failed" in done.stderr
    assert transcribed == [media / "piano.wav"]  # the thrown out ones cost no transcription
    (good_row,) = [row for row in read(tmp_path / "out" / "pairs.csv") if row["id"] == "good"]
    assert good_row["genre"] == "Pop"
    assert float(good_row["offset"]) == pytest.approx(3.0, abs=1.0)
    assert float(good_row["drift"]) == pytest.approx(0.0, abs=0.01)
    assert float(good_row["tempo"]) == 120.0
    assert good_row["midi"] == "midi/good.mid"
    written = read_midi(tmp_path / "out" / good_row["midi"])
    np.testing.assert_allclose(written.onset, heard().onset, atol=0.0012)
    beats = (tmp_path / "out" / "entries" / "good" / "beats.txt").read_text().splitlines()
    assert beats[:2] == ["0.000\t1", "0.500\t2"]


def test_a_second_run_goes_on(media: Path, tmp_path: Path, transcribed: list[Path]) -> None:
    row = {"video": "moving.mp4", "piano": "piano.wav", "official": "official.wav"}
    pairs = table(media / "two.csv", {"id": "a", **row}, {"id": "b", **row})
    command = ("dataset", "collect", pairs, "-o", tmp_path / "out")
    assert vmus(*command).exit_code == 0
    first = (tmp_path / "out" / "pairs.csv").read_bytes()
    assert len(transcribed) == 2
    (tmp_path / "out" / "entries" / "b" / "entry.json").unlink()
    assert vmus(*command).exit_code == 0
    assert len(transcribed) == 3
    assert (tmp_path / "out" / "pairs.csv").read_bytes() == first
    # Other rules, another verdict.
    assert vmus(*command, "--min-seconds", 60).exit_code == 0
    assert [row["status"] for row in read(tmp_path / "out" / "pairs.csv")] == ["rejected"] * 2
    assert not list((tmp_path / "out" / "midi").iterdir())


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("video,official\na,b\n", "needs the columns"),
        ("video,piano\n", "no rows"),
        ("id,video,piano\n../x,a,b\n", "cannot name a folder"),
        ("id,video,piano\nx,a,b\nX,a,b\n", "twice"),
        ("", "not a table"),
    ],
)
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError, match=cause):
        plan_entries(tmp_path / "t.csv")


def test_symmvs_columns_are_understood(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("index\tyoutube_url\tpiano_url\n00001\thttps://a\thttps://b\n")
    (entry,) = plan_entries(tmp_path / "t.csv")
    assert entry.id == "00001"
    assert entry.source == {"video": "https://a", "piano": "https://b", "official": ""}


def test_rules_of_notes() -> None:
    rules = Rules()
    assert faults_of_notes(heard(), rules) == []
    assert "short" in faults_of_notes(heard(10), rules)[0]
    assert "near-empty" in faults_of_notes(heard(44, 0.5), rules)[0]
    broken = heard()
    broken = broken.select((broken.onset < 10) | (broken.onset > 30))
    assert faults_of_notes(broken, rules) == ["fragmentary (a pause of 20 s)"]
    assert faults_of_notes(heard().select(slice(0, 0)), rules) == ["no notes"]
    assert faults_of_title("Song (Official Video)") == []
    assert faults_of_title("歌词版") != []


class FakeLoader:
    """yt-dlp's class: writes a file, or fails, by the URL."""

    urls: list[str] = []  # noqa: RUF012

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options

    def __enter__(self) -> FakeLoader:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def extract_info(self, url: str, download: bool) -> None:
        assert download
        self.urls.append(url)
        path = Path(self.options["outtmpl"].replace("%(ext)s", "m4a"))
        path.write_bytes(b"sound")
        if "bad" in url:
            raise ValueError("ERROR: Video unavailable\nsecond line")


def test_downloads_come_whole_and_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", SimpleNamespace(YoutubeDL=FakeLoader))
    FakeLoader.urls.clear()
    for _ in range(2):
        path = download("https://good", tmp_path, "piano", "sound")
        assert path == tmp_path / "piano.m4a"
    assert FakeLoader.urls == ["https://good"]
    with pytest.raises(InputError, match="https://bad: Video unavailable second line"):
        download("https://bad", tmp_path, "video", "picture")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["piano.m4a"]
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    pairs = table(tmp_path / "p.csv", {"video": "https://a", "piano": "https://b"})
    monkeypatch.setattr("vmusprod.dataset.collect.check_models", lambda *_: None)
    done = vmus("dataset", "collect", pairs, "-o", tmp_path / "out", "--download")
    assert done.exit_code == 1
    assert "pip install 'vmusprod[yt-dlp]'" in done.stderr
    assert not (tmp_path / "out").exists()


TRACK = {
    "title": "Song", "subtitle": "Singer", "key": "7", "genres": {"primary": "Pop"},
    "sections": [{"type": "SONG"}, {"type": "LYRICS", "text": ["one", "two"]}],
}  # fmt: skip


class FakeShazam:
    """ShazamIO's class."""

    asked: list[object] = []  # noqa: RUF012

    async def track_about(self, track_id: int) -> dict[str, Any]:
        self.asked.append(track_id)
        if track_id == 13:
            raise ConnectionError("no route to host")
        return {} if track_id == 0 else TRACK

    async def recognize(self, path: str) -> dict[str, Any]:
        self.asked.append(Path(path).name)
        return {"matches": []} if "other" in path else {"track": TRACK}

    async def close(self) -> None:
        pass


def test_shazam_fills_a_table(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shazamio", SimpleNamespace(Shazam=FakeShazam))
    FakeShazam.asked.clear()
    songs = table(
        media / "songs.csv",
        {"id": "a", "shazam_id": "7", "artist": "Given"},
        {"id": "b", "shazam_id": "13"},
        {"id": "c", "official": "official.wav"},
        {"id": "d", "official": "other.wav"},
        {"id": "e", "official": "gone.wav"},
        {"id": "f", "shazam_id": "0"},
    )
    out = tmp_path / "genres.csv"
    from vmusprod.dataset.metadata import complete_table

    genres, errors = complete_table(songs, out, pause=0.0)
    assert genres == 2
    rows = {row["id"]: row for row in read(out)}
    assert rows["a"]["genre"] == "Pop"
    assert rows["a"]["artist"] == "Given"
    assert rows["a"]["lyrics"] == "one\ntwo"
    assert rows["c"]["artist"] == "Singer"
    told = "\n".join(map(str, errors))
    assert "b: Shazam: no route to host" in told
    assert "d: Shazam does not know it" in told
    assert "gone.wav: no such file" in told
    assert "f: Shazam does not know it" in told
    assert FakeShazam.asked == [7, 13, "official.wav", "other.wav", 0]
    # Answers are not asked for again.
    complete_table(songs, out, pause=0.0)
    assert FakeShazam.asked[5:] == [13, "other.wav", 0]


def test_shazam_is_an_extra(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "shazamio", None)
    songs = table(media / "s.csv", {"id": "a", "shazam_id": "7"})
    done = vmus("dataset", "shazam", songs, "-o", tmp_path / "o.csv")
    assert done.exit_code == 1
    assert "pip install 'vmusprod[shazam]'" in done.stderr
    done = vmus("dataset", "shazam", table(media / "n.csv", {"id": "a"}), "-o", tmp_path / "o.csv")
    assert done.exit_code == 1
    assert "no column shazam_id" in done.stderr


@pytest.mark.parametrize(
    "track",
    [None, [], {"genres": "Pop", "sections": {}}, {"genres": {"primary": 3}, "sections": [1, {}]}],
)
def test_strange_answers_are_no_danger(track: Any) -> None:
    assert set(fields_of_track(track)) == {"title", "artist", "genre", "lyrics", "shazam_id"}
