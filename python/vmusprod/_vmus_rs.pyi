"""The Rust core: numpy arrays in, numpy arrays out, without the GIL in between.

Errors, in every function: `TypeError` if an argument is of another type or dtype than stated
(nothing is cast), `ValueError` if its shape or a value is not as stated. Arrays in C order are
read in place, others are copied.

Notes on the grid are int32 (N, 4): onset, duration, pitch, velocity.
"""

from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "bar_ranges",
    "color_histogram",
    "encode_tokens",
    "quantize",
    "recognize_chords",
    "rgb_difference",
    "skyline",
]

def bar_ranges(query_bars: NDArray[np.int32], source_bars: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return which source tokens each query token may attend to.

    A token sees the previous, the current and the next bar (paper, section 4.2).

    Parameters
    ----------
    query_bars : int32 (T,)
        Bar of each query token, in any order.
    source_bars : int32 (S,)
        Bar of each source token, non-decreasing.

    Returns
    -------
    int32 (T, 2)
        `[start, end)` of the source tokens in bars `q - 1` to `q + 1`; empty where there are none.
    """

def color_histogram(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the RGB-uv histogram of a frame, as in HistoGAN (paper, section 4.1).

    Log ratios of each channel to the other two (red: r/g, r/b; green: g/r, g/b; blue: b/r, b/g),
    spread over 32 bins from -3 to 3 by an inverse-quadratic kernel of width 0.02 and weighted by
    the pixel's intensity. Time grows with the number of pixels: give it a frame of about
    64 x 64 to 150 x 150 pixels.

    Parameters
    ----------
    frame : uint8 (H, W, 3)
        RGB, with at least one pixel.

    Returns
    -------
    float32 (3, 32, 32)
        Channel, u, v; sums to 1.
    """

def quantize(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    step: SupportsFloat,
    phase: SupportsFloat,
    max_duration: SupportsIndex | None = None,
) -> NDArray[np.int32]:
    """Put notes in time onto the grid of 16ths (paper, section 3.2).

    Onsets and offsets go to the nearest grid line, halves up. Notes before line 0 are dropped. Of
    notes with equal onset and pitch one stays, with the longest duration and the loudest velocity;
    a note that still sounds when its pitch comes again ends there.

    Parameters
    ----------
    onset, offset : float64 (N,)
        Start and end in any one unit of time, finite.
    pitch : uint8 (N,)
        0 to 127.
    velocity : uint8 (N,)
        0 to 127; 0 becomes 1.
    step : float
        Length of a 16th in that unit, positive.
    phase : float
        Time of line 0, the downbeat of bar 0.
    max_duration : int, optional
        The longest duration in 16ths, 64 (four bars) if not given; positive.

    Returns
    -------
    int32 (M, 4)
        Notes on the grid, sorted by (onset, pitch), 1 <= duration <= `max_duration`.
    """

def recognize_chords(
    notes: NDArray[np.int32], beats: SupportsIndex, beat: SupportsIndex | None = None
) -> NDArray[np.uint8]:
    """Return one chord a beat, by the algorithm that annotated SymMV (paper, section 3.2).

    It is that of the package chorder 0.1.4: templates scored over each beat and each two beats,
    and a vote between the two. Its half-diminished seventh, none of the ten qualities, becomes the
    diminished triad.

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes in any order, pitch 0 to 127; velocity is not looked at.
    beats : int
        How many beats from time 0 to answer for, at most 2 ** 20.
    beat : int, optional
        Length of a beat in the unit of the notes' times: 4 (16ths) if not given, at most 65536.

    Returns
    -------
    uint8 (beats,)
        root * 10 + quality, C = 0, qualities M m 7 M7 m7 o o7 + sus2 sus4; 120 is no chord.
    """

def rgb_difference(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    """Return the mean absolute difference of two frames (paper, section 4.1).

    Parameters
    ----------
    a, b : uint8 (H, W, 3)
        Frames of one shape, with at least one pixel.

    Returns
    -------
    float
        0 to 255.
    """

def skyline(notes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which notes carry the melody (paper, section 3.2).

    Of the notes that start together the highest is a candidate; a candidate is dropped if a higher
    candidate of an earlier onset still sounds.

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes in any order; velocity is not looked at.

    Returns
    -------
    bool (N,)
        True for the melody's notes.
    """

def encode_tokens(
    bars: SupportsIndex,
    chords: NDArray[np.uint8] | None = None,
    notes: NDArray[np.int32] | None = None,
) -> NDArray[np.int16]:
    """Return the compound tokens of chords, notes or both (`vmusprod.music.tokens.encode`).

    Parameters
    ----------
    bars : int
        Number of bars, 0..65536; what lies outside them is left out.
    chords : uint8 (beats,), optional
        One chord id a beat.
    notes : int32 (N, 4), optional
        Notes on the grid, sorted by onset and pitch.

    Returns
    -------
    int16 (T, 7)
        Type, bar or beat, pitch, duration, velocity, root, quality.
    """
