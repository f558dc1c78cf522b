"""What crosses from Python to Rust and back: errors with clear words, no copies, no GIL."""

import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from vmusprod import _vmus_rs

F1 = np.zeros(1)
U1 = np.ones(1, np.uint8)
NOTES = np.array([[0, 4, 60, 64]], np.int32)
FRAME = np.zeros((2, 2, 3), np.uint8)
BARS = np.array([0, 1], np.int32)
ODDS = np.ones((1, 2), np.float32)

GOOD: dict[str, tuple[Any, ...]] = {
    "quantize": (F1, F1, U1, U1, 1.0, 0.0, 64),
    "skyline": (NOTES,),
    "recognize_chords": (NOTES, 2, 4),
    "chord_features": (NOTES, 2),
    "chord_scores": (NOTES, 2),
    "decode_chords": (NOTES, 2),
    "melody_features": (NOTES,),
    "melody_line": (NOTES, np.zeros(1, np.float32)),
    "melody_notes": (NOTES, True),
    "melody_odds": (NOTES, False),
    "rgb_difference": (FRAME, FRAME),
    "color_histogram": (FRAME,),
    "bar_ranges": (BARS, BARS),
}


def with_argument(name: str, place: int, value: object) -> Callable[[], object]:
    """Call `name` with good arguments but for one."""
    arguments = [*GOOD[name][:place], value, *GOOD[name][place + 1 :]]
    return lambda: getattr(_vmus_rs, name)(*arguments)


@pytest.mark.parametrize("name", GOOD)
def test_good_arguments_are_good(name: str) -> None:
    getattr(_vmus_rs, name)(*GOOD[name])


@pytest.mark.parametrize(
    ("name", "place", "value", "error", "words"),
    [
        ("quantize", 0, [0.0], TypeError, "onset must be a float64 array, not list"),
        ("quantize", 0, F1.astype(np.float32), TypeError, "onset .* not an array of float32"),
        ("quantize", 0, F1.astype(">f8"), TypeError, "onset .* not an array of >f8"),
        ("quantize", 1, F1.reshape(1, 1), ValueError, r"offset must have shape \(N,\), not \[1, 1"),
        ("quantize", 1, np.zeros(2), ValueError, "offset has 2 items, but onset has 1"),
        ("quantize", 0, np.array([np.nan]), ValueError, r"onset\[0\] must be finite, not NaN"),
        ("quantize", 1, np.array([-np.inf]), ValueError, r"offset\[0\] must be finite, not -inf"),
        ("quantize", 0, np.array([1e300]), ValueError, r"onset\[0\] must be on a line of the grid"),
        ("quantize", 2, np.array([128], np.uint8), ValueError, r"pitch\[0\] must be at most 127"),
        (
            "quantize",
            3,
            np.array([255], np.uint8),
            ValueError,
            r"velocity\[0\] must be at most 127",
        ),
        ("quantize", 4, 0, ValueError, "step must be a positive finite number, not 0.0"),
        ("quantize", 4, -1e-9, ValueError, "step must be a positive finite number"),
        ("quantize", 4, float("nan"), ValueError, "step must be a positive finite number"),
        ("quantize", 4, 10**400, ValueError, "step must be within float range"),
        ("quantize", 4, "1", TypeError, "step must be a number, not str"),
        ("quantize", 5, float("inf"), ValueError, "phase must be finite"),
        ("quantize", 6, 0, ValueError, "max_duration must be 1 to 2147483647, not 0"),
        ("quantize", 6, 10**30, ValueError, "max_duration must be below 2"),
        ("quantize", 6, 1.5, TypeError, "max_duration must be an integer, not float"),
        ("skyline", 0, NOTES.astype(np.int64), TypeError, "notes .* not an array of int64"),
        ("skyline", 0, NOTES[:, :3], ValueError, r"notes must have shape \(N, 4\), not \[1, 3\]"),
        ("skyline", 0, NOTES[0], ValueError, r"notes must have shape \(N, 4\), not \[4\]"),
        ("recognize_chords", 0, NOTES * 3, ValueError, r"notes\[0\] must be of pitch 0 to 127"),
        ("recognize_chords", 0, -NOTES, ValueError, r"notes\[0\] must be of pitch .* not -60"),
        ("recognize_chords", 1, -1, ValueError, "beats must be 0 to 1048576, not -1"),
        ("recognize_chords", 1, 2**40, ValueError, "beats must be 0 to 1048576"),
        ("recognize_chords", 1, 2**64, ValueError, "beats must be below 2"),
        ("recognize_chords", 1, 2.0, TypeError, "beats must be an integer, not float"),
        ("recognize_chords", 2, 0, ValueError, "beat must be 1 to 65536, not 0"),
        ("decode_chords", 0, NOTES * 3, ValueError, r"notes\[0\] must be of pitch 0 to 127"),
        ("decode_chords", 1, 2**21, ValueError, "beats must be 0 to 1048576"),
        ("melody_notes", 0, -NOTES, ValueError, r"notes\[0\] must be of pitch .* not -60"),
        (
            "melody_line",
            1,
            np.zeros(2, np.float32),
            ValueError,
            "odds has 2 items, but notes has 1",
        ),
        ("melody_line", 1, np.zeros(1), TypeError, "odds must be a float32 array"),
        ("melody_line", 1, ODDS, ValueError, r"odds must have shape \(N,\)"),
        ("melody_line", 1, ODDS[0, :1] * np.inf, ValueError, r"odds\[0\] must be finite, not inf"),
        ("rgb_difference", 1, FRAME[:1], ValueError, r"differ in shape: \[2, 2, 3\] and \[1, 2, 3"),
        ("rgb_difference", 0, FRAME[:, :, :2], ValueError, r"a must have shape \(H, W, 3\)"),
        ("rgb_difference", 1, FRAME.astype(float), TypeError, "b must be a uint8 array"),
        ("color_histogram", 0, FRAME[:0], ValueError, "frame must be at least one pixel"),
        ("color_histogram", 0, FRAME[..., 0], ValueError, r"frame must have shape \(H, W, 3\)"),
        ("color_histogram", 0, None, TypeError, "frame must be a uint8 array, not NoneType"),
        ("bar_ranges", 1, BARS[::-1], ValueError, r"source_bars\[1\] must be no less .* 0 after 1"),
        ("bar_ranges", 0, BARS.astype(np.uint32), TypeError, "query_bars must be an int32 array"),
    ],
)
def test_bad_arguments_say_which_and_why(
    name: str, place: int, value: object, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        with_argument(name, place, value)()
    assert "\n" not in str(caught.value)


anything = st.one_of(
    st.sampled_from([np.uint8, np.int32, np.int64, np.float32, np.float64, np.bool_]).flatmap(
        lambda dtype: arrays(dtype, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
    ),
    arrays(np.int32, st.tuples(st.integers(0, 6), st.just(4))),
    st.none() | st.integers() | st.floats() | st.text(),
)


@given(st.sampled_from(sorted(GOOD)), st.data())
def test_no_input_panics(name: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(GOOD[name]) - 1))
    call = with_argument(name, place, data.draw(anything))
    # A panic of Rust would come as a BaseException, which nothing here catches.
    try:
        call()
    except (TypeError, ValueError) as error:
        assert str(error)  # noqa: PT017


def test_strided_and_unaligned_arrays_are_read_right() -> None:
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 256, (12, 10, 3), np.uint8)
    crop, flipped = frame[2:9:2, 1:8], frame[::-1, ::-1]
    columns = np.asfortranarray(frame)
    for view in (crop, flipped, columns):
        expected = _vmus_rs.color_histogram(view.copy(order="C"))
        np.testing.assert_array_equal(_vmus_rs.color_histogram(view), expected)
        assert _vmus_rs.rgb_difference(view, view.copy(order="C")) == 0.0
    record = np.zeros(3, dtype=[("pitch", "u1"), ("onset", "<f8")])
    record["onset"], record["pitch"] = [0.0, 1.0, 2.0], [60, 61, 62]
    grid = _vmus_rs.quantize(
        record["onset"], record["onset"], record["pitch"], record["pitch"], 1.0, 0.0
    )
    assert grid.tolist() == [[0, 1, 60, 60], [1, 1, 61, 61], [2, 1, 62, 62]]


def test_read_only_and_empty_arrays_are_read() -> None:
    frame = FRAME.copy()
    frame.flags.writeable = False
    assert _vmus_rs.rgb_difference(frame, frame) == 0.0
    empty = np.zeros((0, 4), np.int32)
    assert _vmus_rs.skyline(empty).shape == (0,)
    assert _vmus_rs.recognize_chords(empty, 3).tolist() == [120] * 3
    assert _vmus_rs.bar_ranges(BARS[:0], BARS).shape == (0, 2)
    none = np.zeros(0)
    assert _vmus_rs.quantize(none, none, U1[:0], U1[:0], 1.0, 0.0).shape == (0, 4)


def test_frames_are_not_copied() -> None:
    frame = np.zeros((1000, 1000, 3), np.uint8)
    tracemalloc.start()
    try:
        _vmus_rs.rgb_difference(frame, frame)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        _vmus_rs.rgb_difference(frame[:, 1:], frame[:, 1:])
        _, peak_of_crop = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < frame.nbytes / 10
    assert peak_of_crop > frame.nbytes / 2  # numpy's copies are seen, so the first figure counts


def test_other_threads_run_meanwhile() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (1200, 1200, 3), np.uint8)
    started, span = threading.Event(), []

    def work() -> None:
        started.set()
        begin = time.perf_counter()
        _vmus_rs.color_histogram(frame)
        span.append((begin, time.perf_counter()))

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    ticks = []
    while thread.is_alive():
        ticks.append(time.perf_counter())
        time.sleep(0.002)
    ((begin, end),) = span
    inside = [begin, *[tick for tick in ticks if begin < tick < end], end]
    # With the GIL held the call would be one gap from begin to end.
    assert max(np.diff(inside)) < (end - begin) / 2
