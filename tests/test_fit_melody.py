"""Fitting the melody's network: what is written is what was fitted, and it learns."""

import numpy as np
import pytest
import torch

import melody_twin
from vmusprod.dataset import fit_melody, melody_net
from vmusprod.dataset.covers import ACCOMPANIMENT, MELODY
from vmusprod.dataset.fit_melody import Song
from vmusprod.dataset.melody_net import Batch, Network, Piece


def tune(seed: int, bars: int = 12) -> Song:
    """A wandering tune over broken chords."""
    rng = np.random.default_rng(seed)
    rows = []
    for bar in range(bars):
        root = int(rng.integers(36, 48))
        rows += [
            (16 * bar + 2 * i, 2, root + (0, 7, 12, 16)[i % 4], 60, ACCOMPANIMENT) for i in range(8)
        ]
        pitch = 72
        for i in range(4):
            pitch = int(np.clip(pitch + rng.integers(-3, 4), 66, 84))
            rows.append((16 * bar + 4 * i, 4, pitch, 80, MELODY))
    table = np.array(sorted(rows, key=lambda row: (row[0], row[2])))
    return Song(np.ascontiguousarray(table[:, :4], np.int32), table[:, 4].astype(np.int64))


def open_sieve() -> fit_melody.Whole:
    """Lets every note through."""
    return np.ones(sum(melody_net.SIZES), np.int16)


def piece(song: Song, solo: float = 0.0) -> Piece:
    result = fit_melody.piece_of(song, open_sieve(), solo)
    assert result is not None
    return result


@torch.no_grad()
def test_what_is_written_is_what_was_fitted() -> None:
    torch.manual_seed(3)
    network = Network().eval()
    for parameter in network.parameters():
        parameter.copy_(parameter.to(torch.bfloat16))
    song = tune(1)
    written = fit_melody.table(open_sieve(), network)
    again = Network()
    np.testing.assert_array_equal(fit_melody.read_table(written, again), open_sieve())
    assert fit_melody.table(open_sieve(), again) == written
    twin = melody_twin.Model(written)
    for solo in (-1.0, 0.0, 1.0):
        odds = melody_net.odds(network(Batch.of([piece(song, solo)]))[0][-1]).clamp(-8, 8)
        expected = twin.odds([tuple(row) for row in song.notes.tolist()], solo)
        np.testing.assert_allclose(odds, expected, atol=1e-3)
    assert np.ptp(odds.numpy()) > 0.01


@torch.no_grad()
def test_pieces_side_by_side_do_not_touch() -> None:
    torch.manual_seed(4)
    network = Network().eval()
    pieces = [piece(tune(seed, bars)) for seed, bars in ((1, 12), (2, 7), (3, 20))]
    together = network(Batch.of(pieces))[0][-1]
    alone = torch.cat([network(Batch.of([p]))[0][-1] for p in pieces])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_it_learns_to_tell_a_tune_from_chords(capsys: pytest.CaptureFixture[str]) -> None:
    songs = [tune(seed) for seed in range(24)]
    sieve = fit_melody.fit_sieve(songs)
    learnt = fit_melody.Learnt.of(songs, songs[:3], sieve)
    kept = sum(len(p.roles) for p in learnt.pieces) / sum(len(s.roles) for s in songs)
    assert 0.3 < kept < 0.6  # a third is melody
    others = fit_melody.pieces_of([tune(99)], sieve, 0)
    torch.manual_seed(0)
    network = Network()
    fit_melody.fit(network, learnt, {"left out": others}, epochs=6, rate=3e-3, seed=0)
    assert fit_melody.f1(network, others) > 0.95
    assert "left out" in capsys.readouterr().out


def test_flat_and_transposed_pieces() -> None:
    own = piece(tune(5))
    flat = own.without_loudness().rows - melody_net.FIRST_ROWS
    assert (flat[:, -4:] == melody_net.NO_LOUDNESS).all()
    moved = own.transposed(3).rows - own.rows
    assert (moved[:, 0] == 3).all()
    assert (moved[:, 1:] == 0).all()
    loud = tune(5)
    loud.notes[:, 3] = 77
    np.testing.assert_array_equal(piece(loud).rows, own.without_loudness().rows)


def test_a_part_is_a_piece() -> None:
    own = piece(tune(6))
    part = own.part(10, 50)
    assert len(part.roles) == len(part.rows) == len(part.notes) == 40
    assert part.cell[0] == part.group[0] == 0
    np.testing.assert_array_equal(np.diff(part.cell), np.diff(own.cell[10:50]))


def test_long_rests_are_cut() -> None:
    onsets = np.array([-9, -8, 0, 7, 8, 1000, 1001], np.int32)
    assert melody_net.cells(onsets).tolist() == [0, 1, 2, 2, 3, 7, 7]
