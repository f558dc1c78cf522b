"""The numbers behind the figures, as one JSON object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.dataset.statistics.songs import SongFacts
from vmusprod.music import tokens as tk
from vmusprod.music.key import key_name

__all__ = ["CLASS_NAMES", "chord_name", "density", "most_frequent_genres", "statistics"]

CLASS_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_CHORDS = 121
_TEMPI = np.arange(40.0, 221.0)
_GENRES = 5  # whose chords and tempi are shown, as in Figure 3
_GENRE_CHORDS = 10
_FREQUENT = 20  # chords from which those ten are chosen
_TRANSITION_CHORDS = 12
_MIN_SONGS = 3  # of a genre for a curve of its own

Array = NDArray[np.float64]


def chord_name(chord: int) -> str:
    """`CM`, `Am7`, `N`: SymMV's form, with flats."""
    if chord >= tk.NO_CHORD:
        return "N"
    return CLASS_NAMES[chord // 10] + tk.QUALITIES[chord % 10]


def statistics(songs: Sequence[SongFacts]) -> dict[str, Any]:
    """Count everything; `songs` must not be empty.

    Keys: `set`, `genres` (Table 5), `tonality` (Fig. 5), `notes` (Fig. 6), `chords` (Fig. 7),
    `transitions` (Fig. 8), `tempo` (Fig. 3a), `chords_by_genre` (Fig. 3c). Durations are in beats.
    "Normalised" is transposed to C major or A minor.
    """
    by_genre = most_frequent_genres(songs)
    return {
        "set": _summary(songs),
        "genres": _genre_table(songs),
        "tonality": _tonality(songs),
        "notes": _notes(songs),
        "chords": _chords(songs),
        "transitions": _transitions(songs, by_genre),
        "tempo": _tempi(songs, by_genre),
        "chords_by_genre": _chords_by_genre(by_genre),
    }


def most_frequent_genres(songs: Sequence[SongFacts]) -> dict[str, list[SongFacts]]:
    """The songs of the five most frequent genres that have three songs or more, in that order."""
    count = Counter(song.genre for song in songs if song.genre)
    # Of equally frequent ones the alphabet decides.
    names = sorted(count, key=lambda name: (-count[name], name))[:_GENRES]
    return {
        name: [song for song in songs if song.genre == name]
        for name in names
        if count[name] >= _MIN_SONGS
    }


def density(values: Array, at: Array) -> Array:
    """Gaussian kernel density estimate with Scott's bandwidth (the paper's KDE, Fig. 3a).

    `values` (N,), not empty; equal values get a bandwidth of 1.
    """
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    width = spread * len(values) ** -0.2 if spread > 0 else 1.0
    kernel = np.exp(-0.5 * ((at[:, None] - values[None, :]) / width) ** 2)
    return np.asarray(kernel.mean(axis=1) / (width * np.sqrt(2 * np.pi)))


def _summary(songs: Sequence[SongFacts]) -> dict[str, Any]:
    return {
        "songs": len(songs),
        "hours": round(sum(song.seconds for song in songs) / 3600, 3),
        "notes": sum(len(song.pitch) for song in songs),
        "chords": sum(len(song.chords) for song in songs),
        "major": sum(song.key[1] == 0 for song in songs),
        "minor": sum(song.key[1] == 1 for song in songs),
        "with_genre": sum(song.genre is not None for song in songs),
        "with_tempo": sum(song.tempo is not None for song in songs),
    }


def _genre_table(songs: Sequence[SongFacts]) -> list[dict[str, Any]]:
    count = Counter(song.genre for song in songs if song.genre)
    names = sorted(count, key=lambda name: (-count[name], name))
    return [{"genre": name, "songs": count[name]} for name in names]


def _tonality(songs: Sequence[SongFacts]) -> dict[str, int]:
    count = Counter(song.key for song in songs)
    return {key_name(tonic, mode): count[tonic, mode] for mode in (0, 1) for tonic in range(12)}


def _shift(song: SongFacts) -> int:
    """Semitones up to C major or A minor."""
    return ((9 if song.key[1] else 0) - song.key[0]) % 12


def _normalised(song: SongFacts) -> NDArray[np.int64]:
    chords = song.chords.astype(np.int64)
    moved = (chords // 10 + _shift(song)) % 12 * 10 + chords % 10
    return np.where(chords >= tk.NO_CHORD, tk.NO_CHORD, moved)


def _notes(songs: Sequence[SongFacts]) -> dict[str, Any]:
    original, normalised, pitch = np.zeros(12), np.zeros(12), np.zeros(128)
    for song in songs:
        pitch += np.bincount(song.pitch, song.beats, minlength=128)
        classes = song.pitch.astype(np.int64) % 12
        original += np.bincount(classes, song.beats, minlength=12)
        normalised += np.bincount((classes + _shift(song)) % 12, song.beats, minlength=12)
    return {
        "classes": list(CLASS_NAMES),
        "original": _rounded(original),
        "normalised": _rounded(normalised),
        "by_pitch": _rounded(pitch),
    }


def _chords(songs: Sequence[SongFacts]) -> dict[str, dict[str, float]]:
    tables = {"original": np.zeros(_CHORDS), "major": np.zeros(_CHORDS), "minor": np.zeros(_CHORDS)}
    for song in songs:
        tables["original"] += np.bincount(song.chords, song.chord_beats, minlength=_CHORDS)
        moved = np.bincount(_normalised(song), song.chord_beats, minlength=_CHORDS)
        tables["minor" if song.key[1] else "major"] += moved
    return {name: _ranked(table) for name, table in tables.items()}


def _ranked(beats: Array) -> dict[str, float]:
    order = sorted(np.flatnonzero(beats).tolist(), key=lambda chord: (-beats[chord], chord))
    return {chord_name(chord): round(float(beats[chord]), 3) for chord in order}


def _chord_beats(songs: Sequence[SongFacts]) -> Array:
    total = np.zeros(_CHORDS)
    for song in songs:
        total += np.bincount(_normalised(song), song.chord_beats, minlength=_CHORDS)
    total[tk.NO_CHORD] = 0
    return total


def _frequent(beats: Array, count: int) -> list[int]:
    order = sorted(np.flatnonzero(beats).tolist(), key=lambda chord: (-beats[chord], chord))
    return order[:count]


def _transitions(
    songs: Sequence[SongFacts], by_genre: dict[str, list[SongFacts]]
) -> dict[str, Any]:
    """Probability of the next chord among the most common ones, the diagonal left out."""
    names = _frequent(_chord_beats(songs), _TRANSITION_CHORDS)
    groups = {"all": list(songs), **by_genre}
    return {
        "chords": [chord_name(chord) for chord in names],
        "probability": {
            name: [_rounded(row, 5) for row in _transition_matrix(group, names)]
            for name, group in groups.items()
        },
    }


def _transition_matrix(songs: Sequence[SongFacts], names: list[int]) -> Array:
    place = np.full(_CHORDS, -1)
    place[names] = np.arange(len(names))
    counts = np.zeros((len(names), len(names)))
    for song in songs:
        chords = place[_normalised(song)]
        before, after = chords[:-1], chords[1:]
        both = (before >= 0) & (after >= 0) & (before != after)
        np.add.at(counts, (before[both], after[both]), 1)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _tempi(songs: Sequence[SongFacts], by_genre: dict[str, list[SongFacts]]) -> dict[str, Any]:
    result: dict[str, Any] = {"tempo": _TEMPI.tolist(), "density": {}, "quartiles": {}}
    for name, group in {"all": list(songs), **by_genre}.items():
        values = np.array([song.tempo for song in group if song.tempo is not None], np.float64)
        if not len(values):
            continue
        result["density"][name] = _rounded(density(values, _TEMPI), 6)
        result["quartiles"][name] = _rounded(np.quantile(values, (0.25, 0.5, 0.75)), 2)
    return result


def _chords_by_genre(by_genre: dict[str, list[SongFacts]]) -> dict[str, Any]:
    """Ten chords of high frequency whose shares vary most between genres."""
    if not by_genre:
        return {"chords": [], "share": {}}
    beats = {name: _chord_beats(group) for name, group in by_genre.items()}
    shares = {name: total / max(float(total.sum()), 1e-9) for name, total in beats.items()}
    candidates = _frequent(np.sum(list(beats.values()), axis=0), _FREQUENT)
    variance = np.var(list(shares.values()), axis=0)
    chosen = sorted(candidates, key=lambda chord: (-variance[chord], chord))[:_GENRE_CHORDS]
    chosen.sort(key=candidates.index)
    return {
        "chords": [chord_name(chord) for chord in chosen],
        "share": {name: _rounded(share[chosen], 5) for name, share in shares.items()},
    }


def _rounded(values: Array, digits: int = 3) -> list[float]:
    return [round(float(value), digits) for value in values]
