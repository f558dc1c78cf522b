"""MIDI to sound: exact length, events in their place, and what is said when it cannot be done."""

import importlib.util
import subprocess
import sys
import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vmusprod.errors import InputError, MissingDependencyError, OutputError
from vmusprod.music.midi_events import read_events
from vmusprod.music.render import check_fluidsynth, render_wav
from vmusprod.sound import measure, read_sound

Event = tuple[int, bytes]  # tick, message


@pytest.fixture
def fluidsynth() -> None:
    try:
        check_fluidsynth()
    except MissingDependencyError as error:
        pytest.skip(str(error))


def number(value: int) -> bytes:
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))


def track(events: Sequence[Event], end: int) -> bytes:
    body, now = b"", 0
    for tick, message in events:
        body += number(tick - now) + message
        now = tick
    body += number(end - now) + b"\xff\x2f\x00"
    return b"MTrk" + len(body).to_bytes(4, "big") + body


def midi(tracks: Sequence[bytes], kind: int = 1, division: int = 220) -> bytes:
    head = b"".join(n.to_bytes(2, "big") for n in (kind, len(tracks), division))
    return b"MThd\x00\x00\x00\x06" + head + b"".join(tracks)


def tempo(microseconds: int) -> bytes:
    return b"\xff\x51\x03" + microseconds.to_bytes(3, "big")


def on(pitch: int, velocity: int = 80, channel: int = 0) -> bytes:
    return bytes([0x90 | channel, pitch, velocity])


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes([0x80 | channel, pitch, 0])


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def chord(path: Path, end: int = 1760) -> Path:
    """Two seconds of rest, a chord, then silence to the end of the track (220 ticks: 0.5 s)."""
    events = [(880, on(p)) for p in (60, 64, 67)] + [(1320, off(p)) for p in (60, 64, 67)]
    return write(path, midi([track([(0, tempo(500_000))], 0), track(events, end)]))


def samples(path: Path) -> NDArray[np.int16]:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)


@pytest.mark.usefixtures("fluidsynth")
@pytest.mark.parametrize("rate", [44100, 48000, 22050])
def test_length_is_that_of_the_file_to_the_sample(tmp_path: Path, rate: int) -> None:
    for end in (1760, 1763, 2):
        path = write(tmp_path / "a.mid", midi([track([(0, tempo(476_191)), (0, on(60))], end)]))
        render_wav(path, tmp_path / "a.wav", sample_rate=rate)
        exact = end * 476_191 * rate / (220 * 1_000_000)
        assert len(samples(tmp_path / "a.wav")) == round(exact)


@pytest.mark.usefixtures("fluidsynth")
def test_sound_starts_with_the_note_and_rings_out(tmp_path: Path) -> None:
    render_wav(chord(tmp_path / "a.mid"), tmp_path / "a.wav")
    level = np.abs(samples(tmp_path / "a.wav").astype(int)).max(axis=1)
    first = int(np.flatnonzero(level > 300)[0])
    assert 0 <= first - 2 * 44100 < 0.03 * 44100
    # Released at 3 s, it rings on, and ends in nothing at 4 s.
    assert level[int(3.05 * 44100) : int(3.2 * 44100)].max() > 50
    assert level[-1] <= 1
    assert level[-44:].max() <= level[-4410:-2205].max()


@pytest.mark.usefixtures("fluidsynth")
def test_last_chord_is_faded_not_cut(tmp_path: Path) -> None:
    held = midi([track([(0, on(48, 120)), (0, on(55, 120))], 440)])
    render_wav(write(tmp_path / "a.mid", held), tmp_path / "a.wav")
    level = np.abs(samples(tmp_path / "a.wav").astype(int)).max(axis=1)
    assert level[-4000:-2300].max() > 1000
    assert level[-50:].max() < 20
    assert level[-1200:-1000].max() < level[-4000:-2300].max()


@pytest.mark.usefixtures("fluidsynth")
def test_loudness_and_peaks(tmp_path: Path) -> None:
    notes = [(110 * i, on(48 + (7 * i) % 36, 40 + (13 * i) % 80)) for i in range(80)]
    path = write(tmp_path / "a.mid", midi([track(notes, 8800)]))
    for target in (-16.0, -23.0):
        render_wav(path, tmp_path / "a.wav", loudness=target)
        level = measure(read_sound(tmp_path / "a.wav", 44100), 44100)
        assert level.loudness == pytest.approx(target, abs=0.3)
        assert 20 * np.log10(level.peak.max()) < -1


@pytest.mark.usefixtures("fluidsynth")
def test_pedal_holds_and_velocity_counts(tmp_path: Path) -> None:
    def energy(extra: list[Event], velocity: int = 80) -> float:
        # A second, steady note keeps the levelling from making all alike.
        events = [*extra, (0, on(60, velocity)), (110, off(60)), (880, on(84, 90)), (1100, off(84))]
        render_wav(write(tmp_path / "a.mid", midi([track(events, 1320)])), tmp_path / "a.wav")
        sound = samples(tmp_path / "a.wav").astype(float)
        tail = np.square(sound[int(1.0 * 44100) : int(1.9 * 44100)]).mean()
        return float(tail / np.square(sound[2 * 44100 :]).mean())

    assert energy([(0, bytes([0xB0, 64, 127]))]) > 20 * energy([])
    assert energy([(0, bytes([0xB0, 64, 127]))]) > 3 * energy([(0, bytes([0xB0, 64, 127]))], 40)


@pytest.mark.usefixtures("fluidsynth")
def test_same_bytes_in_every_process(tmp_path: Path) -> None:
    path = chord(tmp_path / "a.mid")
    render_wav(path, tmp_path / "a.wav")
    code = (
        "import sys\nfrom vmusprod.music.render import render_wav\n"
        "render_wav(sys.argv[1], sys.argv[2])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), str(tmp_path / "b.wav")],
        capture_output=True,
        text=True,
        env={"CI": "true", "PATH": "/usr/bin:/bin"},
        check=True,
    )
    assert done.stdout == done.stderr == ""
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.usefixtures("fluidsynth")
def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    from vmusprod.music import render

    song = chord(tmp_path / "a.mid")
    junk = write(tmp_path / "junk.sf2", b"RIFF not a soundfont at all" * 20)
    with pytest.raises(InputError, match=r"junk\.sf2: not a soundfont"):
        render_wav(song, tmp_path / "a.wav", soundfont=junk)
    with pytest.raises(InputError, match=r"none\.sf2: No such file"):
        render_wav(song, tmp_path / "a.wav", soundfont=tmp_path / "none.sf2")
    packed = Path(render.__file__).parent / "soundfont" / render.SOUNDFONT
    cut = write(tmp_path / "cut.sf3", packed.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"cut\.sf3: the soundfont is cut short"):
        render_wav(song, tmp_path / "a.wav", soundfont=cut)
    with pytest.raises(OutputError, match="no such folder"):
        render_wav(song, tmp_path / "none" / "a.wav")
    with pytest.raises(ValueError, match="sample_rate"):
        render_wav(song, tmp_path / "a.wav", sample_rate=100)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mid", "cut.sf3", "junk.sf2"]


@pytest.mark.usefixtures("fluidsynth")
def test_own_soundfont(tmp_path: Path) -> None:
    from vmusprod.music import render

    package = Path(render.__file__).parent / "soundfont"
    assert "MIT license" in (package / "COPYRIGHT").read_text(encoding="utf-8")
    copy = write(tmp_path / "mine.sf3", (package / render.SOUNDFONT).read_bytes())
    song = chord(tmp_path / "a.mid")
    render_wav(song, tmp_path / "a.wav")
    render_wav(song, tmp_path / "b.wav", soundfont=copy)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_missing_library_is_one_line(tmp_path: Path) -> None:
    """As on a machine where only pyfluidsynth is installed, and where not even that is."""
    song = chord(tmp_path / "a.mid")
    render = (
        "from vmusprod.errors import MissingDependencyError\n"
        "from vmusprod.music.render import render_wav\n"
        "try:\n    render_wav(sys.argv[1], sys.argv[2])\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    if importlib.util.find_spec("fluidsynth"):
        hidden = "import sys, ctypes.util\nctypes.util.find_library = lambda name: None\n"
        done = run(hidden + render, song, tmp_path)
        for how in ("apt install libfluidsynth3", "brew install fluid-synth", "Windows"):
            assert how in done
        assert done.count("\n") == 1
    assert run("import sys\nsys.modules['fluidsynth'] = None\n" + render, song, tmp_path) == (
        "pyfluidsynth is missing: pip install pyfluidsynth\n"
    )
    assert not (tmp_path / "a.wav").exists()


def run(code: str, song: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(song), str(folder / "a.wav")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def test_events_on_the_sample_clock(tmp_path: Path) -> None:
    one = track([(0, tempo(500_000)), (440, tempo(1_000_000)), (660, tempo(250_000))], 660)
    two = track(
        [
            (0, bytes([0xC3, 5])),
            (220, on(60, channel=3)),
            (220, bytes([64, 0])),  # running status; velocity 0
            (330, b"\xf0\x03\x01\x02\xf7"),
            (440, bytes([0xE3, 0, 64])),
            (550, bytes([0xB3, 64, 127])),
            (770, bytes([0xA3, 60, 9])),
            (770, bytes([0xD3, 9])),
        ],
        880,
    )
    events, length = read_events(write(tmp_path / "a.mid", midi([one, two])), 1000)
    assert events == [
        (0, 0xC3, 5, 0),
        (500, 0x93, 60, 80),
        (500, 0x93, 64, 0),
        (1000, 0xE3, 0, 64),
        (1500, 0xB3, 64, 127),
    ]
    assert length == 2250


def test_no_drift_in_ten_hours(tmp_path: Path) -> None:
    ticks = 220 * 60_000
    path = write(tmp_path / "a.mid", midi([track([(0, tempo(600_001))], ticks)]))
    assert read_events(path, 44100)[1] == round(60_000 * 0.600001 * 44100)


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "empty file"),
        (b"RIFF" + bytes(100), "not a MIDI file"),
        (b"MThd\x00\x00", "MIDI header cut short"),
        (midi([track([], 10)], kind=2), "type 2"),
        (midi([track([], 10)], division=0), "no ticks"),
        (midi([track([], 10)], division=0xE728), "no ticks"),
        (midi([]), "no track"),
        (midi([track([], 0)]), "lasts no time"),
        (midi([track([(0, on(60))], 100)])[:-4], "cut off"),
        (midi([b"MTrk\x00\x00\x00\x02\x00\x90"]), "cut off in the middle"),
        (midi([b"MTrk\x00\x00\x00\x03\x00\x40\x40"]), "without a status byte"),
        (midi([b"MTrk\x00\x00\x00\x05\xff\xff\xff\xff\x00"]), "more than four bytes"),
        (midi([b"MTrk\x00\x00\x00\x04\x00\xff\x51\x09"]), "cut off in the middle"),
        (midi([track([(0, tempo(16_000_000))], 1 << 27)]), "longer than 12 hours"),
    ],
)
def test_broken_midi(tmp_path: Path, data: bytes, cause: str) -> None:
    path = write(tmp_path / "a.mid", data)
    with pytest.raises(InputError) as caught:
        read_events(path, 44100)
    assert str(caught.value).startswith(f"{path}: ")
    assert cause in str(caught.value)


def test_random_damage_is_never_a_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole = chord(tmp_path / "a.mid").read_bytes()
    for _ in range(500):
        data = bytearray(whole)
        for place in rng.integers(0, len(data), 4):
            data[place] = int(rng.integers(0, 256))
        try:
            events, length = read_events(write(tmp_path / "b.mid", bytes(data)), 8000)
        except InputError:
            continue
        assert length > 0
        assert events == sorted(events, key=lambda event: event[0])
