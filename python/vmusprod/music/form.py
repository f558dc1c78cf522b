"""Form: which phrases of a piece are heard again, and when.

Songs come back to what they began with: of POP909's four-bar groups more than half are alike to
an earlier one, a quarter nearly note for note, most of them 8, 16, 24, 32 or 40 bars later. The
stages hear of it by recall (music/recall.py) and by a pull towards what stood there. (Ours: the
paper's limitations name the lack of repetition.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vmusprod.music import tokens as tk

PHRASE = 8
"""Bars."""
_HYPERMEASURE = 4
"""Bars that a figure of the accompaniment usually lasts."""
PULL = {"chord": 2.0, "melody": 1.5, "accompaniment": 0.8}
"""Nats by which what is to be heard again is likelier, by stage: phrases then come back about as
often, and as exactly, as in POP909 and SymMV."""
NO_FORM = "none"
_NEW = 0.55
"""Share of the phrases after the first that are new."""
_HALVES = 0.4
"""Share of the new phrases whose halves begin alike."""
_FOLLOWS = 2.0
"""How much likelier the phrase is that came next before."""
_OPEN_END = 2
"""A phrase's last bars go on to what comes next, which is another phrase than before."""
_LIKE = 3
"""Beats of a bar that must have the same chord, so that its notes can be heard again."""


def song_form(bars: int, first: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each bar how many bars ago is what is to be heard again, int64 (bars,); 0: nothing.

    Phrases begin at bar `first`. One that is heard again is likely to be what followed when the
    phrase before it was heard last (A B ... A B); the second half of a new one may begin like its
    first.
    """
    lags = np.zeros(bars, np.int64)
    letters: list[int] = []
    for i, start in enumerate(range(first, bars, PHRASE)):
        end = max(start, min(start + PHRASE, bars) - _OPEN_END)
        half = start + PHRASE // 2
        if not i or rng.random() < _NEW:
            letters.append(i)
            if rng.random() < _HALVES:
                lags[half : max(half, end)] = PHRASE // 2
            continue
        follows = [0.0] + [_FOLLOWS * (letters[j - 1] == letters[-1]) for j in range(1, i)]
        weights = 1.0 + np.array(follows)
        origin = int(rng.choice(i, p=weights / weights.sum()))
        lags[start:end] = (i - origin) * PHRASE
        letters.append(letters[origin])
    return lags


def hypermeasures(bars: int, first: int) -> NDArray[np.int64]:
    """Number of the four-bar group that each bar is in, int64 (bars,); the first begins at `first`.

    An upbeat bar belongs to the first.
    """
    return np.maximum(np.arange(bars) - first, 0) // _HYPERMEASURE


def group_means(values: NDArray[Any], groups: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows of (bars, ...), each replaced by the mean of its group."""
    flat = values.reshape(len(values), -1).astype(np.float64)
    sums = np.zeros((int(groups.max(initial=0)) + 1, flat.shape[1]))
    np.add.at(sums, groups, flat)
    means = sums / np.maximum(np.bincount(groups, minlength=len(sums)), 1)[:, None]
    return np.asarray(means[groups].reshape(values.shape))


def figure(notes: tk.Notes, bar: int) -> bytes:
    """Places and pitches of the notes of a bar: equal where its figure is."""
    return (notes[:, [0, 2]] - np.array([bar * tk.STEPS_PER_BAR, 0], np.int32)).tobytes()


def spelled_form(letters: str, bars: int, first: int, phrase: int = 0) -> NDArray[np.int64]:
    """As `song_form`, by the letters of the phrases: AABA. They begin again where they end.

    phrase: number of the first phrase, of a stretch that does not begin the piece. `NO_FORM`:
    nothing is heard again.
    """
    lags = np.zeros(bars, np.int64)
    if letters.lower() == NO_FORM:
        return lags
    last: dict[str, int] = {}
    for i, start in enumerate(range(first, bars, PHRASE)):
        letter = letters[(phrase + i) % len(letters)]
        end = max(start, min(start + PHRASE, bars) - _OPEN_END)
        lags[start:end] = start - last.get(letter, start)
        last[letter] = start
    return lags


def where_chords_agree(form: NDArray[np.int64], chords: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the form without the bars whose chords, (beats,), are others than those recalled."""
    bars = chords[: len(form) * tk.BEATS_PER_BAR].reshape(-1, tk.BEATS_PER_BAR)
    alike = (bars == bars[np.arange(len(bars)) - form]).sum(1) >= _LIKE
    return np.where(alike, form, 0)
