"""Fingerprints, `vmus dataset check` and `vmus dataset split`."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from midi_corpus import song
from vmus.app import app
from vmusprod.dataset.check import still_share
from vmusprod.dataset.fingerprint import SAME, fingerprint, groups_of, near_duplicates, similarity
from vmusprod.dataset.split import PARTS, split_items
from vmusprod.music.score import TimedNotes
from vmusprod.video.features import VideoFeatures

Rows = list[tuple[int, int, int]]


def vmus(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def piece(seed: int, length: int = 300) -> Rows:
    """Random walks in two voices."""
    rng = np.random.default_rng(seed)
    top = 72 + np.clip(np.cumsum(rng.integers(-4, 5, length)), -11, 11)
    low = 48 + np.clip(np.cumsum(rng.integers(-5, 6, length)), -11, 11)
    at = np.cumsum(rng.choice([55, 110, 220], length))
    rows = [(int(t), 100, int(p)) for t, p in zip(at, top, strict=True)]
    return rows + [(int(t), 100, int(p)) for t, p in zip(at[::2], low[::2], strict=True)]


def changed(rows: Rows, up: int, tempo: float) -> Rows:
    return [(round(t * tempo), max(1, round(n * tempo)), p + up) for t, n, p in rows]


def timed(rows: Rows) -> TimedNotes:
    table = np.array(sorted(rows, key=lambda row: (row[0], row[2])), np.float64)
    onset = table[:, 0] / 440
    velocity = np.full(len(table), 64, np.uint8)
    return TimedNotes(onset, onset + table[:, 1] / 440, table[:, 2].astype(np.uint8), velocity)


@given(st.integers(0, 1000), st.integers(-12, 12), st.sampled_from([0.5, 0.8, 1.3, 2.0]))
def test_neither_key_nor_tempo_changes_a_fingerprint(seed: int, up: int, tempo: float) -> None:
    rows = piece(seed, 600)  # walks of 300 may stay too long at one edge
    own = fingerprint(timed(rows))
    assert len(own) > 20
    assert similarity(own, fingerprint(timed(changed(rows, up, tempo)))) == 1.0


def test_missing_and_moved_notes_change_little_and_other_music_much() -> None:
    rng = np.random.default_rng(1)
    prints = []
    for seed in range(30):
        rows = piece(seed)
        kept = [row for row in rows if rng.random() > 0.05]
        prints += [fingerprint(timed(rows)), fingerprint(timed(kept))]
    pairs = near_duplicates(prints)
    assert [(a, b) for a, b, _ in pairs] == [(2 * k, 2 * k + 1) for k in range(30)]
    assert all(SAME <= value < 1 for _, _, value in pairs)


def test_what_says_nothing_is_like_nothing() -> None:
    one = timed([(110 * k, 100, 60) for k in range(100)])
    assert len(fingerprint(one)) == 0
    few = fingerprint(timed([(0, 10, 60), (100, 10, 64)]))
    assert similarity(few, few) == 0.0
    assert near_duplicates([few, few, fingerprint(one)]) == []


@given(st.lists(st.lists(st.integers(0, 40), max_size=30), max_size=12))
def test_near_duplicates_are_those_of_all_pairs(sets: list[list[int]]) -> None:
    prints = [np.unique(np.array(own, np.uint64)) for own in sets]
    found = {(a, b): value for a, b, value in near_duplicates(prints, 0.5)}
    firsts = [
        k for k in range(len(sets)) if not any(set(sets[j]) == set(sets[k]) for j in range(k))
    ]
    for a in range(len(sets)):
        for b in range(a + 1, len(sets)):
            one, two = set(sets[a]), set(sets[b])
            value = len(one & two) / max(len(one | two), 1)
            union = sorted(one | two)[: max(len(one), len(two))]
            estimate = sum(x in one and x in two for x in union) / max(len(union), 1)
            if value == 1 and one and a in firsts:
                assert found[a, b] == 1.0
            elif a in firsts and b in firsts and estimate >= 0.5:
                assert found[a, b] == pytest.approx(estimate)


@given(st.integers(1, 30), st.lists(st.tuples(st.integers(0, 29), st.integers(0, 29)), max_size=40))
def test_groups_are_the_connected_parts(count: int, pairs: list[tuple[int, int]]) -> None:
    pairs = [(a % count, b % count) for a, b in pairs]
    group = groups_of(count, pairs)
    slow = list(range(count))
    for _ in range(count):
        for a, b in pairs:
            slow[a] = slow[b] = min(slow[a], slow[b])
    assert group.tolist() == slow


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=60),
    st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(0, 20)).filter(any),
    st.integers(0, 5),
)
def test_a_split_parts_nothing_that_belongs_together(
    videos: list[int], sizes: tuple[int, int, int], seed: int
) -> None:
    names = [f"{k:03}" for k in range(len(videos))]
    labels = [str(video) if video else "" for video in videos]  # no video: on its own
    rows = split_items(names, labels, [], sizes, seed)
    assert [row.name for row in rows] == names
    parts: dict[str, set[str]] = {}
    for row, label in zip(rows, labels, strict=True):
        parts.setdefault(label or row.name, set()).add(row.part)
    assert all(len(part) == 1 for part in parts.values())
    assert rows == split_items(names, labels, [], sizes, seed)
    count = Counter(row.part for row in rows)
    for part, size in zip(PARTS[1:], sizes[1:], strict=True):
        assert count[part] <= int(len(names) * size / sum(sizes) + 0.5)


def test_the_papers_sizes_are_exact() -> None:
    names = [str(k) for k in range(1140)]
    videos = [str(k // 2) if k < 200 else "" for k in range(1140)]
    rows = split_items(names, videos, [(300, 301), (301, 302)])
    assert Counter(row.part for row in rows) == {"train": 1000, "val": 70, "test": 70}
    assert len({rows[k].part for k in (300, 301, 302)}) == 1
    assert rows != split_items(names, videos, [(300, 301), (301, 302)], seed=1)
    # The order of the entries is no matter.
    back = split_items(
        names[::-1], videos[::-1], [(1140 - 301 - k, 1140 - 302 - k) for k in (0, 1)]
    )
    assert {(r.name, r.part) for r in back} == {(r.name, r.part) for r in rows}


def write_set(root: Path, count: int = 20) -> Path:
    """A set in SymMV's shape: two songs of one video, one transposed copy."""
    for name in ("midi", "chord"):
        (root / name).mkdir(parents=True)
    lines = ["index\tyoutube_url\ttonality"]
    for k in range(count):
        rows = piece(k) if k != 7 else changed(piece(3), 5, 1.25)
        (root / f"midi/{k:05}.mid").write_bytes(song(rows))
        (root / f"chord/{k:05}.txt").write_text("0 880 CM\n880 1760 G7\n")
        lines.append(f"{k:05}\thttps://example.org/{k if k != 2 else 1}\tC major")
    (root / "Set.csv").write_text("\n".join(lines) + "\n")
    return root


def table_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_check_finds_each_kind_of_problem(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    done = vmus("dataset", "check", root, "--json")
    assert done.exit_code == 1
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"entry": "00007.mid", "problem": "duplicate", "detail": "of 00003.mid (similarity 1.00)"}
    ]
    (root / "midi/00004.mid").write_bytes(b"nothing")
    (root / "midi/00005.mid").write_bytes(song(piece(5)[:20]))
    (root / "midi/00006.mid").write_bytes(song([*piece(6), (100_000, 100, 60)]))
    (root / "midi/00008.mid").unlink()
    (root / "chord/00009.txt").unlink()
    (root / "chord/00010.txt").write_text("0 880000 CM\n")
    (root / "chord/00011.txt").write_text("")
    (root / "midi/extra.mid").write_bytes(song(piece(99)))
    videos = tmp_path / "videos"
    videos.mkdir()
    for k in range(20):
        motion = np.full(50, 0.0 if k == 12 else 5.0, np.float32)
        if k != 13:
            VideoFeatures(10.0, motion, np.zeros(0, np.float32)).save(videos / f"{k:05}.npz")
    done = vmus("dataset", "check", root, "--videos", videos)
    assert done.exit_code == 1
    found = {(row["entry"], row["problem"]) for row in table_of(done.stdout)}
    assert found == {
        ("00004.mid", "unreadable"), ("00005.mid", "near-empty"), ("00005.mid", "fragment"),
        ("00006.mid", "gap"), ("00007.mid", "duplicate"), ("00008", "missing"),
        ("00009.mid", "missing"), ("00010.mid", "disagrees"), ("00011.mid", "disagrees"),
        ("00012.mid", "static"), ("00013.mid", "missing"), ("extra.mid", "missing"),
    }  # fmt: skip
    assert still_share(np.zeros(5, np.float32), 0.3) == 1
    assert still_share(np.ones(5, np.float32), 0.3) == 0


def test_check_of_an_annotated_set(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(5):
        (tmp_path / f"in/{k}.mid").write_bytes(song(piece(k)))
    out = tmp_path / "out"
    assert vmus("annotate", tmp_path / "in", "-o", out).exit_code == 0
    done = vmus("dataset", "check", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "no problems" in done.stderr
    (out / "0/chord.lab").unlink()
    (out / "1/melody.mid").write_bytes((out / "2/melody.mid").read_bytes())
    (out / "3/annotation.json").write_text("{}")
    (out / "4/chord.lab").write_text("0.0\t9999.0\tC:maj\n")
    rows = table_of(vmus("dataset", "check", out).stdout)
    kinds = {(row["entry"], row["problem"]) for row in rows}
    assert {("0", "missing"), ("1", "disagrees"), ("3", "disagrees"), ("4", "disagrees")} <= kinds


def test_split_of_a_folder_and_of_a_table(tmp_path: Path) -> None:
    root = write_set(tmp_path / "set")
    done = vmus("dataset", "split", root, "--sizes", "10,5,5")
    assert done.exit_code == 0
    rows = {row["path"]: row for row in table_of(done.stdout)}
    assert Counter(row["split"] for row in rows.values()) == {"train": 10, "val": 5, "test": 5}
    assert rows["00002.mid"]["group"] == rows["00001.mid"]["group"] == "00001.mid"
    assert rows["00007.mid"]["group"] == "00003.mid"
    out = tmp_path / "split.csv"
    done = vmus(
        "dataset", "split", root / "Set.csv", "--midi", root, "--sizes", "10,5,5", "-o", out
    )
    assert done.exit_code == 0
    from_table = {row["path"]: row for row in table_of(out.read_text())}
    assert {name[:5]: row["split"] for name, row in rows.items()} == {
        name: row["split"] for name, row in from_table.items()
    }
    # Without the notes, only videos are known.
    alone = table_of(vmus("dataset", "split", root / "Set.csv").stdout)
    assert alone[7]["group"] == "00007"
    assert alone[2]["group"] == "00001"


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (["nowhere"], "nowhere", 1),
        (["t.csv", "--sizes", "1,2"], "three numbers", 2),
        (["t.csv", "--sizes", "0,0,0"], "nor all 0", 2),
        (["t.csv", "--group", "film"], "no column film", 1),
        (["bad.csv"], "stands in several rows", 1),
        (["none.csv"], "no column that names", 1),
        (["empty.csv"], "name the columns", 1),
    ],
)
def test_wrong_usage_of_split_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str, code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("id,video\n1,a\n2,b\n")
    (tmp_path / "bad.csv").write_text("id,video\n1,a\n1,b\n")
    (tmp_path / "none.csv").write_text("genre,video\n1,a\n")
    (tmp_path / "empty.csv").write_text("")
    done = vmus("dataset", "split", *arguments)
    assert done.exit_code == code, done.output
    (line,) = done.stderr.splitlines()
    assert told in line
