"""The Rust core: numpy arrays in, numpy arrays out, without the GIL in between.

Errors, in every function: `TypeError` if an argument is of another type or dtype than stated
(nothing is cast), `ValueError` if its shape or a value is not as stated. Arrays in C order are
read in place, others are copied.

Notes on the grid are int32 (N, 4): onset, duration, pitch, velocity.
"""

from collections.abc import Callable, Sequence
from typing import Self, SupportsFloat, SupportsIndex, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from vmusprod.models.task import Task

__all__ = [
    "SongAnnotation",
    "StageEngine",
    "annotate_song",
    "bar_ranges",
    "beat_features",
    "beat_readings",
    "causal_attention",
    "causal_attention_backward",
    "chord_features",
    "chord_scores",
    "color_histogram",
    "decode_chords",
    "downbeat_odds",
    "encode_tokens",
    "event_features",
    "find_beats",
    "find_downbeats",
    "find_pulses",
    "melody_features",
    "melody_line",
    "melody_notes",
    "melody_odds",
    "quantize",
    "recognize_chords",
    "rgb_difference",
    "skyline",
]

_Number = TypeVar("_Number", np.float32, np.uint16)

def causal_attention(
    qkv: NDArray[np.float32] | NDArray[np.uint16],
    valid: NDArray[np.float32],
    lengths: list[int],
    heads: int,
    threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Causal linear attention over packed sequences (paper, section 4.3).

    The same bits on any number of threads and at every SIMD level; sums are in float32.

    Parameters
    ----------
    qkv : (T, 3 * heads * depth) float32, or uint16: the bits of bfloat16
        Queries, keys and values, before the feature map elu + 1.
    valid : (T,) float32
        1 or, at padding, 0.
    lengths : list of int
        Of the sequences that lie end to end; they add up to T.

    Returns
    -------
    (T, heads * depth) float32, the output, and (T, heads) float32, one over what each query's
    weights add up to; `causal_attention_backward` wants both.

    Raises
    ------
    TypeError, ValueError
        An argument of another type; sizes that do not fit together.
    """

def causal_attention_backward(
    qkv: NDArray[_Number],
    valid: NDArray[np.float32],
    lengths: list[int],
    heads: int,
    grad: NDArray[_Number],
    out: NDArray[np.float32],
    weight: NDArray[np.float32],
    threads: int,
) -> NDArray[_Number]:
    """The gradient of `causal_attention` with respect to `qkv`, in its type.

    grad : (T, heads * depth), with respect to the output, in the type of `qkv`; out, weight: what
    `causal_attention` returned; the rest as there, and so are the errors.
    """

@final
class StageEngine:
    """A stage with its weights, ready to write on the CPU (paper, section 4.2).

    Parameters
    ----------
    data : bytes
        A safetensors file with the weights of `vmusprod.models.stage.Stage`.
    config : str
        The JSON of `StageConfig.to_dict`.
    precision : str
        How to keep the large matrices: `f32`, `f16` or `int8` (a byte a weight, a scale a row).
    level : str, optional
        One of `levels()`; the first unless given. The results are the same.

    Raises ValueError where the file, the configuration or a name is wrong.
    """

    def __new__(
        cls, data: bytes, config: str, precision: str = "f16", level: str | None = None
    ) -> Self: ...
    @property
    def level(self) -> str:
        """The SIMD level in use."""

    @staticmethod
    def levels() -> list[str]:
        """Names of this machine's SIMD levels, the fastest first."""

    def write(
        self,
        tasks: Sequence[Task],
        progress: Callable[[float], object] | None = None,
        threads: int | None = None,
        together: int = 8,
    ) -> list[NDArray[np.int16]]:
        """Write the streams of some tasks, each (T, 7), without start and end token.

        Parameters
        ----------
        tasks : sequence of Task
            What to write.
        progress : callable, optional
            Told the share that is done, 0..1, now and then; what it raises ends the writing.
        threads, together : int
            Threads (the machine's unless given) and streams that each writes side by side. The
            streams are the same whatever they are.

        Raises FloatingPointError where the weights predict nothing finite, ValueError and TypeError
        for tasks that make no sense.
        """

    def logits(self, task: Task, tokens: NDArray[np.int16]) -> dict[str, NDArray[np.float32]]:
        """Return the logits of a given stream (T, 7), each given what stands before it.

        By attribute (rows, size): of the type T + 1 rows, the last for the end; of the others one
        for each token that has it.
        """

@final
class SongAnnotation:
    """What `annotate_song` finds.

    Attributes
    ----------
    notes : int32 (N, 4)
        Notes on the sixteenths of the meter, sorted by onset and pitch.
    is_melody : bool (N,)
        Which of them are the melody.
    chords : uint8 (beats,)
        Ids as of `recognize_chords`; 120 before the first note's bar.
    first_beat : int
        The beat that begins the bar of the first note.
    concentration : float
        |mean exp(2 pi i position)| of the onsets, in sixteenths: 1 on the grid.
    windows, good_windows : int
        Windows of 10 s with 8 onsets or more, and those whose concentration is above 0.6.
    mean_moved, most_moved : float
        Seconds between the onsets and their sixteenths.
    melody_midi, accompaniment_midi : bytes
        MIDI files of 220 ticks a quarter, with the meter's tempi and bars.
    chord_lab, chord_txt, beats_txt : bytes
        Text: chords in seconds as mir_eval reads them, in ticks as SymMV's are; beats in seconds
        with their place in the bar.
    """

    notes: NDArray[np.int32]
    is_melody: NDArray[np.bool_]
    chords: NDArray[np.uint8]
    first_beat: int
    concentration: float
    windows: int
    good_windows: int
    mean_moved: float
    most_moved: float
    melody_midi: bytes
    accompaniment_midi: bytes
    chord_lab: bytes
    chord_txt: bytes
    beats_txt: bytes

def annotate_song(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    lines: NDArray[np.float64],
    beats: NDArray[np.int32],
    places: NDArray[np.uint8],
    *,
    melody: str | NDArray[np.bool_],
    chords: str | NDArray[np.uint8],
    key: tuple[int, int],
) -> SongAnnotation:
    """Annotate notes in time on their beats: melody, chords, fit, and the files that tell of them.

    Parameters
    ----------
    onset, offset : float64 (N,)
        Seconds, sorted by onset.
    pitch, velocity : uint8 (N,)
        0 to 127.
    lines : float64 (K,)
        Seconds of successive sixteenths, increasing, at most 2 ** 20; those before 0, if any, are
        squeezed into the first milliseconds of the files.
    beats : int32 (B + 1,)
        The line of each beat, the first being 0, and of the end of the last one. Notes start before
        that end; those that sound on are cut there.
    places : uint8 (B,)
        Place of each beat in its bar, from 1, at which a bar begins.
    melody : str or bool (N,)
        `skyline`; `learned`, `solo` or `arrangement` (`melody_notes` with `solo` None, True or
        False); or which notes are the melody.
    chords : str or uint8 (B,)
        `hmm` (`decode_chords`), `chorder` (`recognize_chords`), or the ids.
    key : (int, int)
        Tonic and mode, for the MIDI files.
    """

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

def beat_features(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    beats: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return what the notes do at each beat: what `find_downbeats` goes by.

    Parameters
    ----------
    onset, offset, pitch, velocity
        Notes in time as of `find_beats`.
    beats : float64 (B,)
        Seconds, increasing; at least two.

    Returns
    -------
    float32 (B, 47)
        Eight columns a sixteenth, the outer pitches, twelve changes of harmony, the first beat.
    """

def beat_readings(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    times: NDArray[np.float64],
    count: NDArray[np.float64],
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return all readings of a pulse at 40 to 180 beats a minute, and what describes each.

    Parameters
    ----------
    onset, offset, pitch, velocity
        Notes in time as of `find_beats`.
    times, count : float64 (K,)
        The pulse: seconds, and pulses at them, both increasing; K >= 2.

    Returns
    -------
    readings : int32 (R, 2)
        Pulses a beat, and the pulse that a beat falls on, modulo those.
    features : float32 (R, 134)
    """

def chord_features(notes: NDArray[np.int32], beats: SupportsIndex) -> NDArray[np.float32]:
    """Return what each beat sounds like: what the network of `decode_chords` hears.

    Eleven chromas, a number a pitch class: the square root of the beats that it sounds within the
    beat. Low (below pitch 52), middle, high (from 67 on), bass (the lowest note, sixteenth by
    sixteenth); all and bass of the beat before; of the beat after; all of the second before, and
    after; the song's mean.

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes on the grid in any order, pitch 0 to 127; longer ones count as 64 sixteenths.
    beats : int
        How many beats of four sixteenths from time 0, at most 2 ** 20.

    Returns
    -------
    float32 (beats, 11, 12)
        Beat, chroma, pitch class from C.
    """

def chord_scores(notes: NDArray[np.int32], beats: SupportsIndex) -> NDArray[np.float32]:
    """Return how well each chord fits each beat, before `decode_chords` seeks a path.

    Parameters
    ----------
    notes, beats
        As of `chord_features`; beat 0 is a downbeat.

    Returns
    -------
    float32 (beats, 121)
        Log probabilities up to a constant a beat, by chord id.
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

def decode_chords(notes: NDArray[np.int32], beats: SupportsIndex) -> NDArray[np.uint8]:
    """Return one chord a beat, found with the whole song in view.

    A small network scores all chords in each beat, the twelve roots alike; a hidden Markov model
    knows where in the bar chords change, and to what. Fitted on POP909 alone
    (`vmusprod.dataset.fit_chords`); the paper used `recognize_chords` (section 3.2).

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes on the grid in any order, pitch 0 to 127; velocity is not looked at.
    beats : int
        How many beats of four sixteenths to answer for, at most 2 ** 20; beat 0 is a downbeat.

    Returns
    -------
    uint8 (beats,)
        Ids as of `recognize_chords`.
    """

def melody_features(notes: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return what each note looks like among its neighbours, which `melody_notes` goes by.

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes on the grid in any order, pitch 0 to 127.

    Returns
    -------
    uint8 (N, 34)
        Pitch, length, place in the bar, what else starts and sounds, neighbouring onsets,
        repetition, pitch among those within 8, 32 and 128 sixteenths and of the song, density,
        place in the song; the last four tell of loudness, and are 0, 12, 12, 8 where all notes are
        equally loud.
    """

def melody_line(notes: NDArray[np.int32], odds: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the one-voiced line of highest score, by dynamic programming.

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes on the grid in any order, pitch 0 to 127.
    odds : float32 (N,)
        Log odds of each note being in the line, finite.

    Returns
    -------
    bool (N,)
        True for the line's notes: one an onset at most, none where no note is likely.
    """

def melody_notes(notes: NDArray[np.int32], solo: bool | None = None) -> NDArray[np.bool_]:
    """Return which notes carry the melody.

    A small network judges each note by what it looks like among its neighbours and by what its half
    bar knows of the song; the melody is the one-voiced line of highest score, with rests. Fitted on
    POP909 alone (`vmusprod.dataset.fit_melody`); the paper used `skyline` (section 3.2).

    Parameters
    ----------
    notes : int32 (N, 4)
        Notes on the grid in any order, pitch 0 to 127.
    solo : bool, optional
        True: the piece is for one player, with the melody on top and a lead in instrumental
        passages, as a piano cover is. False: it is an arrangement, in which the melody may lie
        anywhere, and rest for long. Not given: the network tells by the notes.

    Returns
    -------
    bool (N,)
        True for the melody's notes: one an onset at most.
    """

def melody_odds(notes: NDArray[np.int32], solo: bool | None = None) -> NDArray[np.float32]:
    """Return how likely each note is melody: what `melody_notes` rests on.

    Parameters
    ----------
    notes, solo
        As of `melody_notes`.

    Returns
    -------
    float32 (N,)
        Log odds within -8 to 8; -8 for notes that a linear score sorts out beforehand.
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

def downbeat_odds(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    beats: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the log odds of each beat beginning a bar, before bars are made of them.

    Parameters
    ----------
    onset, offset, pitch, velocity, beats
        As of `beat_features`.

    Returns
    -------
    float32 (B,)
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

def event_features(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    beat: SupportsFloat,
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return the events (notes within 30 ms of each other) and what decides their strength.

    Parameters
    ----------
    onset, offset, pitch, velocity
        Notes in time as of `find_beats`.
    beat : float
        The usual beat, in seconds.

    Returns
    -------
    time : float64 (E,)
        Seconds.
    features : float32 (E, 99)
    """

def find_beats(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
) -> list[tuple[int, int, NDArray[np.float64], NDArray[np.int64], float, int]]:
    """Find tempo, beats and bars of each stretch of one tempo (`vmusprod.music.beats`).

    Parameters
    ----------
    onset, offset : float64 (N,)
        Seconds, finite; onsets do not decrease and span two days at most.
    pitch, velocity : uint8 (N,)
        0 to 127.

    Returns
    -------
    list of (first, stop, times, kept, concentration, beats_a_bar)
        In order; none under 16 events or 6 seconds. The notes `first` to `stop` (exclusive) start
        in the stretch; `times` float64 (K,) seconds of its sixteenths, increasing; `kept` int64
        (M,) indices of those in whole bars; 0..1, how closely the onsets follow; 4 or 3.
    """

def find_downbeats(
    onset: NDArray[np.float64],
    offset: NDArray[np.float64],
    pitch: NDArray[np.uint8],
    velocity: NDArray[np.uint8],
    beats: NDArray[np.float64],
) -> tuple[NDArray[np.int64], int]:
    """Return which of known beats begin a bar, and how many beats a bar has.

    Parameters
    ----------
    onset, offset, pitch, velocity, beats
        As of `beat_features`.

    Returns
    -------
    starts : int64 (M,)
        Indices of beats, increasing.
    beats_a_bar : int
        4, or 3.
    """

def find_pulses(
    onset: NDArray[np.float64],
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float, float, float]]:
    """Return the pulses that onsets follow, before beats are made of them.

    Parameters
    ----------
    onset : float64 (N,)
        As of `find_beats`.

    Returns
    -------
    list of (times, count, start, end, fit)
        A stretch each: float64 (K,) seconds and pulses at them (K = 2 at a constant rate); seconds
        of its first and last event; -1..1, how well each event's phase is foretold by those around.
    """
