"""Levels that are met without clipping, and sound that stays in its place."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.signal import resample_poly

from video_factory import scenes, tone, write_clip, write_sound
from vmusprod.errors import InputError
from vmusprod.sound import Curve, Level, levelling, measure, read_sound

RATE = 44100
Sound = NDArray[np.float32]


def pieces(sound: Sound, size: int = 3001) -> Iterator[Sound]:
    for begin in range(0, len(sound), size):
        yield sound[begin : begin + size]


def levelled(sound: Sound, loudness: float = -16.0) -> Sound:
    curve = levelling(measure(pieces(sound), RATE), loudness)
    return np.concatenate([sound[:0], *curve.apply(pieces(sound))])


def true_peak(sound: Sound) -> float:
    """In dB, from 16 times the samples."""
    return float(20 * np.log10(np.abs(resample_poly(sound.astype(float), 16, 1)).max()))


def plucked(seconds: float, decay: float) -> Sound:
    """Noise struck twice a second: sharp peaks over a lower level, as a piano has."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * RATE)) / RATE
    noise = rng.standard_normal((len(time), 2)) * np.exp(-decay * (time % 0.5))[:, None]
    return (0.05 * noise).astype(np.float32)


def test_loudness_of_the_standard_tone() -> None:
    # EBU Tech 3341, case 1: a 1 kHz stereo sine, peaks at -23 dB, measures -23 LUFS.
    level = measure(pieces(tone(5, 1000, 10 ** (-23 / 20))), RATE)
    assert level.loudness == pytest.approx(-23, abs=0.1)
    assert 20 * np.log10(level.peak.max()) == pytest.approx(-23, abs=0.05)
    assert level.energy[100] == pytest.approx(10 ** (-23 / 10) / 2, rel=0.05)


def test_peak_between_the_samples() -> None:
    time = np.arange(RATE)
    wave = (0.5 * np.sin(np.pi / 2 * time + np.pi / 4)).astype(np.float32)  # samples at 0.354
    level = measure([np.stack([wave, wave], axis=1)], RATE)
    assert np.median(level.peak) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("decay", [0.0, 6.0, 12.0])
def test_level_is_met_and_peaks_stay_below(decay: float) -> None:
    loud = levelled(plucked(8, decay))
    assert measure(pieces(loud), RATE).loudness == pytest.approx(-16, abs=0.2)
    assert true_peak(loud) < -1


def test_no_limit_no_change_but_the_gain() -> None:
    quiet = tone(4, 500, 0.02)
    loud = levelled(quiet)
    ratio = loud[1000:-1000, 0] / quiet[1000:-1000, 0]
    strong = np.abs(quiet[1000:-1000, 0]) > 0.01
    assert np.ptp(ratio[strong]) < 1e-4


def test_all_peaks_keep_below_the_ceiling() -> None:
    clicks = np.zeros((4 * RATE, 2), np.float32)
    clicks[::11025] = 0.5
    assert true_peak(levelled(clicks)) < -1


@pytest.mark.parametrize("samples", [0, 1, 50, 1000, RATE])
def test_silence_and_sounds_too_short_to_measure(samples: int) -> None:
    silence = np.zeros((samples, 2), np.float32)
    np.testing.assert_array_equal(levelled(silence), silence)
    assert len(levelled(silence + 0.1)) == samples


def test_blocks_make_no_difference() -> None:
    sound = plucked(2, 9)
    level = measure([sound], RATE)
    other = measure(pieces(sound, 777), RATE)
    assert level.loudness == other.loudness
    np.testing.assert_array_equal(level.peak, other.peak)
    curve = levelling(level, -10)
    np.testing.assert_allclose(
        np.concatenate([*curve.apply([sound])]),
        np.concatenate([*curve.apply(pieces(sound, 500))]),
        atol=1e-6,
    )


def test_curve_goes_straight_from_cell_to_cell() -> None:
    curve = Curve(np.array([0.0, 1.0, 1.0, 0.5]), cell=10)
    (block,) = curve.apply([np.ones((45, 2), np.float32)])
    assert block[4, 0] == 0
    assert block[15, 0] == 1
    assert block[9, 0] == pytest.approx(0.45)
    assert block[30, 1] == pytest.approx(0.725)
    assert block[44, 1] == 0.5  # past the last cell


def test_level_of_another_target() -> None:
    level = Level(-20.0, np.full(100, 0.1), np.full(100, 0.01), 88)
    np.testing.assert_allclose(levelling(level, -26).cells, 10 ** (-6 / 20))
    # No more than 40 dB, however quiet.
    quiet = Level(-68.0, np.full(100, 1e-4), np.full(100, 1e-8), 88)
    np.testing.assert_allclose(levelling(quiet, -16).cells, 100)


@pytest.mark.parametrize(("suffix", "codec"), [("wav", "pcm_s16le"), ("m4a", "aac")])
def test_read_back_in_place(tmp_path: Path, suffix: str, codec: str) -> None:
    sound = tone(1.3)
    sound[20000:] = 0
    path = write_sound(tmp_path / f"a.{suffix}", sound, codec)
    back = np.concatenate([*read_sound(path, RATE)])
    assert abs(len(back) - len(sound)) <= 1024  # an AAC frame
    size = min(len(back), len(sound))
    assert np.abs(back[:size] - sound[:size]).max() < (1e-4 if suffix == "wav" else 0.03)


def test_another_rate(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tone(1.0, 1000))
    back = np.concatenate([*read_sound(path, 48000)])
    assert abs(len(back) - 48000) < 50
    spectrum = np.abs(np.fft.rfft(back[:48000, 0]))
    assert int(spectrum.argmax()) == 1000


def test_start_cuts_and_late_sound_waits(tmp_path: Path) -> None:
    sound = np.zeros((RATE, 2), np.float32)
    sound[22050] = 0.9
    path = write_sound(tmp_path / "a.wav", sound)

    def place(start: float) -> int:
        return int(np.concatenate([*read_sound(path, RATE, start=start)])[:, 0].argmax())

    assert place(0.0) == 22050
    assert place(0.25) == 11025
    assert place(-0.25) == 33075


def test_no_sound(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([0.4]))
    for path, cause in ((clip, "no sound"), (tmp_path / "none.wav", "No such file")):
        with pytest.raises(InputError, match=cause):
            list(read_sound(path, RATE))
