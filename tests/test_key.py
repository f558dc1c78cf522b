"""Keys: SymMV's names, users' spellings, and the estimate behind SymMV's labels."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.music.key import estimate_key, key_name, key_scores, parse_key
from vmusprod.music.score import read_midi

KEYS = [(tonic, mode) for mode in (0, 1) for tonic in range(12)]


@pytest.mark.parametrize(("tonic", "mode"), KEYS)
def test_names_come_back(tonic: int, mode: int) -> None:
    assert parse_key(key_name(tonic, mode)) == (tonic, mode)


def test_names_are_symmvs() -> None:
    assert key_name(0, 0) == "C major"
    assert key_name(9, 1) == "a minor"
    assert key_name(3, 0) == "E- major"
    assert key_name(8, 1) == "g# minor"
    assert len({key_name(*key) for key in KEYS}) == 24


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Am", (9, 1)),
        ("F# minor", (6, 1)),
        ("Eb major", (3, 0)),
        ("eb", (3, 1)),
        ("E-", (3, 0)),
        ("b", (11, 1)),
        ("bb", (10, 1)),
        ("Bb", (10, 0)),
        ("B-:min", (10, 1)),
        ("Gb:maj", (6, 0)),
        ("Cb", (11, 0)),
        ("c sharp minor", (1, 1)),
        ("D♭ MAJOR", (1, 0)),
        ("  G  ", (7, 0)),
        ("CM", (0, 0)),
        ("Cm", (0, 1)),
        ("a major", (9, 0)),
    ],
)
def test_users_spellings(text: str, key: tuple[int, int]) -> None:
    assert parse_key(text) == key


@pytest.mark.parametrize("text", ["", "H", "C dorian", "Cmajorr", "12", "C##", "major"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unknown key"):
        parse_key(text)


@pytest.mark.parametrize(("tonic", "mode"), [(12, 0), (-1, 1), (0, 2)])
def test_no_such_key(tonic: int, mode: int) -> None:
    with pytest.raises(ValueError, match="no key"):
        key_name(tonic, mode)


@given(
    st.lists(st.tuples(st.integers(0, 11), st.floats(0.1, 10)), min_size=1, max_size=30),
    st.integers(0, 11),
)
def test_transposition_moves_the_scores(notes: list[tuple[int, float]], shift: int) -> None:
    pitch, duration = (np.array(column) for column in zip(*notes, strict=True))
    here = key_scores(pitch + 60, duration)
    there = key_scores(pitch + 60 + shift, 3 * duration)
    np.testing.assert_allclose(np.roll(here, shift, axis=1), there, atol=1e-9)


def test_scales_and_cadences_have_their_key() -> None:
    major = [60, 62, 64, 65, 67, 69, 71, 72, 60, 64, 67, 72]
    minor = [57, 59, 60, 62, 64, 65, 68, 69, 57, 60, 64, 69]
    assert estimate_key(major, np.ones(12)) == (0, 0)
    assert estimate_key(minor, np.ones(12)) == (9, 1)


def test_degenerate_input() -> None:
    assert estimate_key([], []) == (0, 0)
    assert estimate_key(range(12), np.ones(12)) == (0, 0)
    with pytest.raises(ValueError, match="values"):
        estimate_key([60, 62], [1.0])
    with pytest.raises(ValueError, match="finite"):
        estimate_key([60], [np.nan])


@pytest.mark.shared
def test_symmvs_labels_are_found(shared: Path) -> None:
    with (shared / "data/SymMV/SymMV.csv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))[::5]
    right = []
    for row in rows:
        path = shared / f"data/SymMV/midi/{row['index']}.mid"
        if path.exists():
            notes = read_midi(path)
            key = estimate_key(notes.pitch, notes.offset - notes.onset)
            right.append(key == parse_key(row["tonality"]))
            assert key_name(*parse_key(row["tonality"])) == row["tonality"]
    assert len(right) > 150
    assert np.mean(right) > 0.97
