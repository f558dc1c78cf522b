"""Variants of arrangements are music, and keep each part's notes in order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmusprod.dataset.covers import ACCOMPANIMENT, MELODY, SECOND
from vmusprod.dataset.variants import make_variant

songs = st.dictionaries(
    st.tuples(st.integers(0, 200), st.integers(21, 108)),
    st.tuples(st.integers(1, 64), st.integers(1, 127), st.sampled_from((0, 1, 2))),
    min_size=1,
)


@given(songs, st.integers(0, 2**20))
def test_a_variant_is_music(places: dict[tuple[int, int], tuple[int, int, int]], seed: int) -> None:
    rows = [(o, d, p, v, role) for (o, p), (d, v, role) in sorted(places.items())]
    table = np.array(rows)
    notes, roles = np.ascontiguousarray(table[:, :4], np.int32), table[:, 4].astype(np.int64)
    found, own = make_variant(notes, roles, np.random.default_rng(seed))
    assert found.dtype == np.int32
    assert found.shape == (len(own), 4)
    assert set(own.tolist()) <= {ACCOMPANIMENT, MELODY, SECOND}
    onset_and_pitch = [(o, p) for o, _, p, _ in found.tolist()]
    assert onset_and_pitch == sorted(set(onset_and_pitch))
    # Later than a bar behind only at twice as many beats, where every second sixteenth is empty.
    is_doubled = len(set(found[:, 0] % 2)) == 1
    latest = 2 * int(notes[:, 0].max()) + 15 if is_doubled else 215
    assert ((found >= [0, 1, 21, 1]) & (found <= [latest, 64, 108, 127])).all()
    assert (own == MELODY).any() == (roles == MELODY).any()
    assert len(found) <= len(notes)


def test_variants_differ() -> None:
    notes = np.array([(4 * i, 4, 60 + i % 12, 80) for i in range(200)], np.int32)
    roles = np.arange(200) % 3
    found = {make_variant(notes, roles, np.random.default_rng(i))[0].tobytes() for i in range(8)}
    assert len(found) == 8
