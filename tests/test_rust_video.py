"""The Rust functions on frames equal their twins."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

import twins
from vmusprod import _vmus_rs

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))
levels = st.integers(0, 255) | st.sampled_from([0, 1, 127, 254, 255])
frames = arrays(np.uint8, shapes, elements=levels)


@given(shapes.flatmap(lambda shape: st.tuples(*[arrays(np.uint8, shape, elements=levels)] * 2)))
def test_rgb_difference_equals_its_twin(
    pair: tuple[NDArray[np.uint8], NDArray[np.uint8]],
) -> None:
    np.testing.assert_allclose(
        _vmus_rs.rgb_difference(*pair), twins.rgb_difference(*pair), rtol=1e-12
    )


def test_rgb_difference_of_a_large_frame_does_not_overflow() -> None:
    black = np.zeros((1080, 1920, 3), np.uint8)
    assert _vmus_rs.rgb_difference(black, ~black) == 255.0
    assert _vmus_rs.rgb_difference(black, black) == 0.0


@given(frames)
def test_color_histogram_equals_its_twin(frame: NDArray[np.uint8]) -> None:
    histogram = _vmus_rs.color_histogram(frame)
    assert histogram.dtype == np.float32
    assert histogram.shape == (3, 32, 32)
    np.testing.assert_allclose(histogram, twins.color_histogram(frame), rtol=2e-5, atol=1e-9)


def test_color_histogram_of_many_pixels_equals_its_twin() -> None:
    # More than the block that is summed in float32, and no multiple of it.
    frame = np.random.default_rng(0).integers(0, 256, (67, 61, 3), np.uint8)
    expected = twins.color_histogram(frame)
    np.testing.assert_allclose(_vmus_rs.color_histogram(frame), expected, rtol=2e-5, atol=1e-9)


@given(frames)
def test_color_histogram_sums_to_one(frame: NDArray[np.uint8]) -> None:
    histogram = _vmus_rs.color_histogram(frame)
    assert (histogram >= 0).all()
    np.testing.assert_allclose(histogram.sum(dtype=np.float64), 1, rtol=1e-5)


@given(frames)
def test_color_histogram_knows_no_places(frame: NDArray[np.uint8]) -> None:
    order = np.random.default_rng(len(frame)).permutation(frame.shape[0] * frame.shape[1])
    shuffled = np.ascontiguousarray(frame.reshape(-1, 3)[order].reshape(frame.shape))
    np.testing.assert_allclose(
        _vmus_rs.color_histogram(shuffled), _vmus_rs.color_histogram(frame), rtol=2e-5, atol=1e-9
    )
