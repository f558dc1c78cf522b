"""Bad files of every kind, and what `vmus annotate` makes of them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midi_corpus import CORPUS, END, chunk, header, million
from vmusprod.annotation.options import AnnotateOptions
from vmusprod.annotation.run import Outcome, annotate_folder
from vmusprod.annotation.song import FILES
from vmusprod.annotation.tables import COLUMNS, open_tables

ALL = {*FILES, "annotation.json"}


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Outcome]]:
    """The corpus of bad files, annotated once."""
    folder = tmp_path_factory.mktemp("corpus")
    for name, (data, _) in CORPUS.items():
        (folder / f"{name}.mid").write_bytes(data)
    (folder / "million.mid").write_bytes(million())
    out = tmp_path_factory.mktemp("out")
    found: dict[str, Outcome] = {}

    def keep(outcome: Outcome, done: float) -> None:
        found[Path(outcome.path).stem] = outcome
        assert 0 < done <= 1

    annotate_folder([folder], out, AnnotateOptions(), report=keep)
    return out, found


@pytest.mark.parametrize("name", [*CORPUS, "million"])
def test_every_bad_file_is_annotated_or_refused_with_the_reason(
    name: str, corpus: tuple[Path, dict[str, Outcome]]
) -> None:
    out, found = corpus
    expected = "over 500,000 notes" if name == "million" else CORPUS[name][1]
    outcome = found[name]
    if expected is not None:
        assert outcome.facts is None
        assert any(part in str(outcome.reason) for part in expected.split("|")), outcome.reason
        assert not (out / name).exists()
        assert f"{name}.mid" in [row["path"] for row in rows_of(out / "failed.csv")]
        return
    assert outcome.reason is None, outcome.reason
    mir_eval = pytest.importorskip("mir_eval")
    folder = out / name
    assert {path.name for path in folder.iterdir()} == ALL
    intervals, labels = mir_eval.io.load_labeled_intervals(str(folder / "chord.lab"))
    mir_eval.util.validate_intervals(intervals)
    for label in labels:
        mir_eval.chord.validate_chord_label(label)
    times, _ = mir_eval.io.load_labeled_events(str(folder / "beats.txt"))
    assert (np.diff(times) >= 0).all()
    facts = json.loads((folder / "annotation.json").read_text())
    assert facts["melody_notes"] + facts["accompaniment_notes"] <= facts["notes"]
    notes = 0
    for part in FILES[:2]:
        file = mido.MidiFile(folder / part)
        notes += sum(m.type == "note_on" for m in file.tracks[0])
    assert notes == facts["melody_notes"] + facts["accompaniment_notes"]


def test_tables_hold_the_same_as_the_folders(corpus: tuple[Path, dict[str, Outcome]]) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    out, found = corpus
    rows = rows_of(out / "songs.csv")
    table = pq.read_table(out / "songs.parquet").to_pylist()
    assert list(rows[0]) == list(COLUMNS) == list(table[0])
    assert [row["path"] for row in rows] == [row["path"] for row in table]
    assert len(rows) == sum(outcome.facts is not None for outcome in found.values())
    for row, typed in zip(rows, table, strict=True):
        facts = json.loads((out / row["folder"] / "annotation.json").read_text())
        assert {name: facts[name] for name in COLUMNS} == typed
        assert row["key"] == facts["key"]
        assert float(row["tempo"]) == facts["tempo"]


def test_what_is_not_known_is_null_in_the_tables(tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    songs: list[dict[str, Any]] = [
        {"path": "é.mid", "tempo": 90.5, "notes": 3, "metadata": {"genre": "ポップ"}},
        {"path": "b.mid", "tempo": None, "notes": None, "metadata": {"genre": ""}},
        {"path": "c.mid", "tempo": 0.0, "notes": 0},
    ]
    with open_tables(tmp_path, ["genre"]) as tables:
        for song in songs:
            tables.add(song)
    table = pq.read_table(tmp_path / "songs.parquet").to_pylist()
    wanted = [
        (s["path"], s["tempo"], s["notes"], s.get("metadata", {}).get("genre")) for s in songs
    ]
    assert [(r["path"], r["tempo"], r["notes"], r["genre"]) for r in table] == wanted
    assert table[0]["key"] is None


@settings(max_examples=60)
@given(st.data())
def test_files_that_were_damaged_are_read_or_refused(data: st.DataObject) -> None:
    whole = bytearray(CORPUS["signature-7-8"][0])
    for _ in range(data.draw(st.integers(1, 12))):
        whole[data.draw(st.integers(14, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(30, len(whole)))
    body = bytes(whole[22:cut])
    if data.draw(st.booleans()):  # a length that is right lets more of the damage through
        body = header(1, 1, 1 + data.draw(st.integers(0, 0x7FFE))) + chunk(body + END)
    else:
        body = bytes(whole[:cut])
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "a.mid"
        path.write_bytes(body)
        for beats in ("auto", "file"):
            summary = annotate_folder([path], Path(name) / beats, AnnotateOptions(beats=beats))
            if summary.failed:
                assert "internal" not in summary.failed[0][1], summary.failed
            else:
                parts = (Path(name) / beats / "a" / part for part in FILES[:2])
                assert all(mido.MidiFile(file=io.BytesIO(p.read_bytes())) for p in parts)
