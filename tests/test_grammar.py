"""The rules hold against dice of every kind: even, one-sided, and stubborn ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from music_strategies import grid_notes
from streams import (
    assert_accompaniment,
    assert_chords,
    assert_melody,
    longest_silence,
    tonic_tones,
)
from vmusprod.models.config import STAGES
from vmusprod.models.grammar import Frame, Grammar
from vmusprod.models.heads import CHAINS
from vmusprod.music import tokens as tk

frames = st.builds(
    Frame, st.integers(1, 6), st.integers(0, 1), st.integers(0, 15), st.integers(1, 26)
)
styles = st.sampled_from(["even", "lowest", "highest", "stubborn", "lazy"])


class Hand:
    """Chooses among what is allowed, after a fashion."""

    def __init__(self, style: str, seed: int) -> None:
        self.style = style
        self.rng = np.random.default_rng(seed)
        self.taste = [self.rng.permutation(n) for n in tk.SIZES]  # stubborn: always the same

    def choose(self, attribute: int, allowed: NDArray[np.bool_]) -> int:
        values = np.flatnonzero(allowed)
        assert len(values), "nothing is allowed"
        if self.style == "lowest":
            return int(values[0])
        if self.style == "highest":
            return int(values[-1])
        if self.style == "stubborn":
            return int(values[np.argmax(self.taste[attribute][values])])
        if self.style == "lazy" and attribute == tk.BARBEAT and allowed[1]:
            return 1  # writes no note that it need not
        return int(self.rng.choice(values))


def write(grammar: Grammar, hand: Hand) -> tk.Tokens:
    rows: list[NDArray[np.int64]] = []
    for _ in range(grammar.frame.bars * 16 * 100):
        token = np.zeros(7, np.int64)
        kind = token[tk.TYPE] = hand.choose(tk.TYPE, grammar.types())
        if kind == tk.END:
            return np.array(rows, np.int16).reshape(-1, 7)
        chosen: dict[int, int] = {}
        for a in CHAINS[int(kind)]:
            mask = grammar.mask(a, chosen)
            if mask is None:
                mask = np.arange(tk.SIZES[a]) > 0
            token[a] = chosen[a] = hand.choose(a, mask)
        grammar.accept(token)
        rows.append(token)
    raise AssertionError("no end in sight")


@settings(max_examples=150)
@given(frames, styles, st.integers(0, 10**6))
def test_chords(frame: Frame, style: str, seed: int) -> None:
    assert_chords(write(Grammar("chord", frame), Hand(style, seed)), frame)


@settings(max_examples=150)
@given(frames, styles, st.integers(0, 10**6))
def test_melody(frame: Frame, style: str, seed: int) -> None:
    assert_melody(write(Grammar("melody", frame), Hand(style, seed)), frame)


@settings(max_examples=80)
@given(frames, styles, styles, st.integers(0, 10**6))
def test_accompaniment(frame: Frame, above: str, style: str, seed: int) -> None:
    melody = tk.decode_notes(write(Grammar("melody", frame), Hand(above, seed + 1)))
    tokens = write(Grammar("accompaniment", frame, melody), Hand(style, seed))
    assert_accompaniment(tokens, frame, melody)
    struck = {(o, p) for o, _, p, _ in melody.tolist()}
    assert not struck & {(o, p) for o, _, p, _ in tk.decode_notes(tokens).tolist()}


@settings(max_examples=40)
@given(frames, grid_notes(6, 60), styles, st.integers(0, 10**6))
def test_accompaniment_of_any_melody(frame: Frame, melody: tk.Notes, style: str, seed: int) -> None:
    """A user's melody may begin late, end early, be dense, or go on past the end."""
    tokens = write(Grammar("accompaniment", frame, melody), Hand(style, seed))
    assert_accompaniment(tokens, frame, melody)


@pytest.mark.parametrize("style", ["even", "highest", "stubborn"])
@pytest.mark.parametrize(("pitch", "most"), [(67, 66), (55, 54), (54, 108)])
def test_accompaniment_stays_below_a_melody_that_is_no_bass(
    pitch: int, most: int, style: str
) -> None:
    melody = np.array([[k, 4, pitch, 80] for k in range(0, 64, 8)], np.int32)
    tokens = write(Grammar("accompaniment", Frame(4, 0), melody), Hand(style, 0))
    notes = tk.decode_notes(tokens)
    under = notes[notes[:, 0] % 8 < 4]
    assert under[:, 2].max() <= most
    if style == "highest" and most == 108:
        assert under[:, 2].max() > pitch
    if style == "highest":
        assert notes[notes[:, 0] % 8 >= 4][:, 2].max() > pitch  # free where the melody rests


@pytest.mark.parametrize("mode", [0, 1])
@pytest.mark.parametrize("style", ["even", "lowest", "highest"])
def test_a_melody_that_holds_every_key_is_shared(mode: int, style: str) -> None:
    frame = Frame(3, mode)
    every = [[o, 2, p, 80] for o in (0, frame.closing) for p in range(128)]
    melody = np.array(every, np.int32)
    tokens = write(Grammar("accompaniment", frame, melody), Hand(style, 0))
    assert_accompaniment(tokens, frame, melody)


def test_a_lazy_hand_writes_only_against_silence() -> None:
    frame = Frame(16, 0, silence=20)
    tokens = write(Grammar("accompaniment", frame), Hand("lazy", 3))
    onsets = np.unique(tk.decode_notes(tokens)[:, 0])
    assert len(onsets) > 2
    assert longest_silence(tk.decode_notes(tokens), 0, frame.steps) <= 20
    covered = np.array([[o, 64, 60, 80] for o in range(0, 256, 64)], np.int32)
    tokens = write(Grammar("accompaniment", frame, covered), Hand("lazy", 3))
    assert set(tk.decode_notes(tokens)[:, 0].tolist()) == {frame.closing}


@pytest.mark.parametrize(
    ("bars", "first_step", "closing"),
    [(1, 0, 8), (1, 8, 8), (1, 15, 15), (2, 0, 24), (2, 15, 24), (3, 0, 32), (96, 9, 1520)],
)
def test_closing_place(bars: int, first_step: int, closing: int) -> None:
    frame = Frame(bars, 0, first_step)
    assert frame.closing == closing
    assert frame.steps == 16 * bars


@pytest.mark.parametrize("stage", STAGES)
def test_every_piece_of_one_bar(stage: str) -> None:
    """All pickups, both modes, all hands: the shortest pieces have the least room."""
    for first_step in range(16):
        for mode in (0, 1):
            for style in ("even", "lowest", "highest", "stubborn", "lazy"):
                frame = Frame(1, mode, first_step, 4)
                tokens = write(Grammar(stage, frame), Hand(style, first_step))
                if stage == "chord":
                    assert_chords(tokens, frame)
                elif stage == "melody":
                    assert_melody(tokens, frame)
                else:
                    assert_accompaniment(tokens, frame, np.zeros((0, 4), np.int32))


def test_the_tonic_is_c_major_or_a_minor() -> None:
    for mode, name in ((0, 0), (1, 91)):
        frame = Frame(4, mode)
        chords = tk.decode_chords(write(Grammar("chord", frame), Hand("even", 0)), 4)
        assert chords[-1] == name
        root, quality = tk.chord_attributes(chords[-1:])
        tones = np.flatnonzero(tk.CHROMA[root[0], quality[0]])
        assert set(tones.tolist()) == tonic_tones(mode)


def test_the_last_chord_has_three_or_four_notes() -> None:
    sizes = set()
    for seed in range(40):
        tokens = write(Grammar("accompaniment", Frame(3, 0)), Hand("even", seed))
        sizes.add(int((tk.decode_notes(tokens)[:, 0] == 32).sum()))
    assert sizes == {3, 4}
