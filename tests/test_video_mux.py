"""The picture is copied to the byte; the music is heard under it at the right level."""

import resource
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from video_factory import (
    drift,
    patch,
    scenes,
    texture,
    tone,
    write_clip,
    write_sound,
)
from vmusprod.errors import InputError, OutputError
from vmusprod.sound import measure, read_sound
from vmusprod.video.features import extract_features
from vmusprod.video.mux import check_container, mux_music

Times = list[tuple[Fraction, Fraction]]


def packets(path: Path) -> tuple[list[bytes], Times]:
    """Content and times (shown, decoded; seconds) of the picture's packets."""
    data: list[bytes] = []
    times: Times = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.size:
                data.append(bytes(packet))
                pts, dts = packet.pts, packet.dts
                shown = Fraction(-1) if pts is None else pts * packet.time_base
                times.append((shown, shown if dts is None else dts * packet.time_base))
    return data, times


def sound_of(path: Path) -> NDArray[np.float32]:
    return np.concatenate([*read_sound(path, 48000)])


def loudness_of(path: Path) -> float:
    return measure(read_sound(path, 48000), 48000).loudness


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """Three seconds that swell and fade."""
    swell = 0.5 - 0.45 * np.cos(np.arange(3 * 44100) / 9000)
    return write_sound(tmp_path / "music.wav", tone(3.0, 440, 0.1) * swell[:, None].astype("f"))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mp4", {"rate": Fraction(30000, 1001)}),
        ("a.mp4", {"options": {"bf": "3", "b-pyramid": "normal"}}),
        ("a.mp4", {"pixels": "yuv420p10le"}),
        ("a.mov", {"codec": "mjpeg", "pixels": "yuvj420p"}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.mp4", {"audio": tone(3.0)}),
    ],
)
def test_same_packets_same_times(
    tmp_path: Path, music: Path, name: str, options: dict[str, object]
) -> None:
    clip = write_clip(tmp_path / name, scenes([1.0, 2.0]), **options)  # type: ignore[arg-type]
    mux_music(clip, music, tmp_path / "out.mp4")
    before, after = packets(clip), packets(tmp_path / "out.mp4")
    assert before[0] == after[0]
    shown = [pts for pts, _ in before[1] if pts >= 0]
    assert [pts for pts, _ in after[1]][: len(shown)] == shown


def test_late_start_moves_to_zero(tmp_path: Path, music: Path) -> None:
    stamps = [7000 + 40 * i for i in range(75)]
    clip = write_clip(tmp_path / "a.mkv", scenes([3.0]), times=stamps, time_base=Fraction(1, 1000))
    mux_music(clip, music, tmp_path / "out.mp4")
    before, after = packets(clip), packets(tmp_path / "out.mp4")
    assert before[0] == after[0]
    assert [pts - 7 for pts, _ in before[1]] == [pts for pts, _ in after[1]]


def test_transport_stream_shows_the_same(tmp_path: Path, music: Path) -> None:
    """Its packets change their framing in .mp4, so the pictures are compared."""
    clip = write_clip(tmp_path / "a.ts", scenes([1.0, 2.0]))
    mux_music(clip, music, tmp_path / "out.mp4")
    before, after = extract_features(clip), extract_features(tmp_path / "out.mp4")
    assert before.duration == after.duration
    np.testing.assert_array_equal(before.motion, after.motion)


def test_trimmed_recording_stays_trimmed(tmp_path: Path, music: Path) -> None:
    """A phone trims by an edit list: the pictures before it are kept, but not shown."""
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0, 2.0]), options={"bf": "0", "g": "250"})

    def trim(data: bytearray) -> None:
        place = data.find(b"elst")
        length = int.from_bytes(data[place + 12 : place + 16], "big")
        data[place + 12 : place + 16] = (length - 700).to_bytes(4, "big")
        data[place + 16 : place + 20] = (512 * 17).to_bytes(4, "big")

    short = patch(clip, trim, tmp_path / "b.mp4")
    mux_music(short, music, tmp_path / "out.mp4")
    before, after = extract_features(short), extract_features(tmp_path / "out.mp4")
    assert before.duration == after.duration == pytest.approx(2.32)
    np.testing.assert_array_equal(before.motion, after.motion)


def test_joined_recordings(tmp_path: Path, music: Path) -> None:
    clip = write_clip(tmp_path / "a.ts", scenes([1.0]))
    clip.write_bytes(clip.read_bytes() * 2)
    mux_music(clip, music, tmp_path / "out.mp4")
    before, after = extract_features(clip), extract_features(tmp_path / "out.mp4")
    assert before.duration == pytest.approx(after.duration, abs=1e-3)
    np.testing.assert_allclose(before.motion, after.motion)


def test_sound_ends_with_the_picture(tmp_path: Path, music: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.8]))
    mux_music(clip, music, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.duration == pytest.approx(1.8e6, abs=100)
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert container.streams.audio[0].codec_context.name == "aac"


def test_music_keeps_its_place(tmp_path: Path) -> None:
    click = np.zeros((3 * 44100, 2), np.float32)
    click[44100 : 44100 + 40] = 0.5
    clip = write_clip(tmp_path / "a.mp4", scenes([3.0]))
    mux_music(clip, write_sound(tmp_path / "c.wav", click), tmp_path / "out.mp4")
    heard = np.abs(sound_of(tmp_path / "out.mp4")[:, 0])
    assert abs(int(heard.argmax()) - 48000) < 60


@pytest.mark.parametrize("target", [-16.0, -23.0])
def test_loudness(tmp_path: Path, music: Path, target: float) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([3.0]))
    mux_music(clip, music, tmp_path / "out.mp4", loudness=target)
    level = measure(read_sound(tmp_path / "out.mp4", 48000), 48000)
    assert level.loudness == pytest.approx(target, abs=0.3)
    assert 20 * np.log10(level.peak.max()) < -1


def test_sharp_music_stays_below_the_ceiling(tmp_path: Path) -> None:
    time = np.arange(3 * 44100) / 44100
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in (131, 165, 196, 262, 330, 392, 523))
    struck = 0.03 * chord * np.exp(-9 * (time % 0.5))
    wav = write_sound(tmp_path / "a.wav", np.stack([struck, struck], axis=1).astype(np.float32))
    clip = write_clip(tmp_path / "a.mp4", scenes([3.0]))
    mux_music(clip, wav, tmp_path / "out.mp4")
    level = measure(read_sound(tmp_path / "out.mp4", 48000), 48000)
    assert level.loudness == pytest.approx(-16, abs=0.5)
    assert 20 * np.log10(level.peak.max()) < -1


def band(sound: NDArray[np.float32], frequency: float, begin: float, end: float) -> float:
    """Level of one frequency between two times, dB."""
    part = sound[int(begin * 48000) : int(end * 48000), 0]
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)))) / len(part) * 4
    return float(20 * np.log10(spectrum[round(frequency * (end - begin))] + 1e-9))


def test_music_goes_down_where_the_original_sounds(tmp_path: Path) -> None:
    speech = tone(6.0, 1000, 0.2)
    speech[: 2 * 44100] = 0
    speech[4 * 44100 :] = 0
    clip = write_clip(tmp_path / "a.mp4", scenes([6.0], rate=5), rate=5, audio=speech)
    wav = write_sound(tmp_path / "m.wav", tone(6.0, 400, 0.1))
    mux_music(clip, wav, tmp_path / "out.mp4", keep_audio=True)
    sound = sound_of(tmp_path / "out.mp4")
    alone, under, after = (band(sound, 400, t, t + 1) for t in (0.5, 2.5, 4.8))
    assert alone - under == pytest.approx(12, abs=0.5)
    assert after == pytest.approx(alone, abs=0.5)
    assert band(sound, 1000, 2.5, 3.5) > under + 6
    assert loudness_of(tmp_path / "out.mp4") == pytest.approx(-16, abs=0.3)
    before, kept = packets(clip), packets(tmp_path / "out.mp4")
    assert before == kept


def test_original_keeps_its_place(tmp_path: Path) -> None:
    """The sound of a clip whose clock begins at five seconds, picture first."""
    click = np.zeros((2 * 44100, 2), np.float32)
    click[44100 : 44100 + 40] = 0.5
    stamps = [450_000 + 3600 * i for i in range(50)]
    clip = write_clip(
        tmp_path / "a.ts",
        scenes([2.0]),
        times=stamps,
        time_base=Fraction(1, 90000),
        audio=click,
    )
    with av.open(str(clip)) as container:
        gap = (
            container.streams.audio[0].start_time * container.streams.audio[0].time_base
            - container.streams.video[0].start_time * container.streams.video[0].time_base
        )
    silent = write_sound(tmp_path / "s.wav", np.zeros((2 * 44100, 2), np.float32))
    mux_music(clip, silent, tmp_path / "out.mp4", keep_audio=True)
    heard = np.abs(sound_of(tmp_path / "out.mp4")[:, 0])
    expected = 1.0 + float(gap)  # the sound was written from 0 s on
    if expected < 0:
        assert heard.max() < 0.01
    else:
        assert abs(int(heard.argmax()) / 48000 - expected) < 0.05


def test_no_original_sound_to_keep(tmp_path: Path, music: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([3.0]))
    mux_music(clip, music, tmp_path / "a_out.mp4", keep_audio=True)
    mux_music(clip, music, tmp_path / "b_out.mp4", keep_audio=False)
    assert (tmp_path / "a_out.mp4").read_bytes() == (tmp_path / "b_out.mp4").read_bytes()


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov", "out.webm"])
def test_same_inputs_same_bytes(tmp_path: Path, music: Path, name: str) -> None:
    webm = name.endswith("webm")
    clip = write_clip(
        tmp_path / ("a.webm" if webm else "a.mp4"),
        scenes([1.0]),
        codec="libvpx" if webm else "libx264",
    )
    mux_music(clip, music, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    mux_music(clip, music, tmp_path / name)
    assert (tmp_path / name).read_bytes() == first
    assert packets(clip)[0] == packets(tmp_path / name)[0]


def test_rotation_and_title_are_kept(tmp_path: Path, music: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]), rotate=90)
    titled = tmp_path / "b.mp4"
    with av.open(str(clip)) as source, av.open(str(titled), "w") as target:
        target.metadata["title"] = "Über"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    mux_music(titled, music, tmp_path / "out.mp4")
    with av.open(str(titled)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        turned = next(before.decode(video=0)).rotation
        assert abs(turned) == 90
        assert next(after.decode(video=0)).rotation == turned
        assert after.metadata["title"] == "Über"


def test_coding_that_the_container_cannot_hold(tmp_path: Path, music: Path) -> None:
    clip = write_clip(tmp_path / "a.webm", scenes([1.0]), codec="libvpx")
    with pytest.raises(OutputError) as caught:
        mux_music(clip, music, tmp_path / "out.mp4")
    assert str(caught.value) == (
        f"{tmp_path / 'out.mp4'}: a .mp4 file cannot hold vp8 pictures: name a .mkv file instead"
    )
    assert not (tmp_path / "out.mp4").exists()
    mux_music(clip, music, tmp_path / "out.mkv")
    assert packets(clip)[0] == packets(tmp_path / "out.mkv")[0]


def test_bad_arguments(tmp_path: Path, music: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]))
    cases: list[tuple[Path, Path, Path, type[Exception], str]] = [
        (clip, music, tmp_path / "out.avi", OutputError, "not one of .mp4"),
        (clip, music, clip, OutputError, "would replace the video"),
        (clip, music, tmp_path / "none" / "out.mp4", OutputError, "no such folder"),
        (tmp_path / "none.mp4", music, tmp_path / "out.mp4", InputError, "No such file"),
        (clip, tmp_path / "none.wav", tmp_path / "out.mp4", InputError, "No such file"),
        (clip, clip, tmp_path / "out.mp4", InputError, "no sound"),
        (music, music, tmp_path / "out.mp4", InputError, "only sound"),
    ]
    for video, wav, out, kind, cause in cases:
        with pytest.raises(kind, match=cause):
            mux_music(video, wav, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "music.wav"]


def test_full_disk(tmp_path: Path, music: Path) -> None:
    noisy = [drift(texture(i, (128, 96)), i) for i in range(50)]
    clip = write_clip(tmp_path / "a.mp4", noisy, options={"crf": "5"})
    out = tmp_path / "out.mp4"
    code = (
        "import sys\nfrom vmusprod.errors import OutputError\n"
        "from vmusprod.video.mux import check_container, mux_music\n"
        "try:\n    mux_music(*sys.argv[1:4])\n"
        "except OutputError as error:\n    print(error)\n"
    )

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [sys.executable, "-c", code, str(clip), str(music), str(out)],
        capture_output=True,
        text=True,
        preexec_fn=limit,
    )
    assert done.stdout == f"{out}: File too large\n", done.stderr
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "music.wav"]


def test_a_container_is_checked_before_anything_is_made(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "in.webm", scenes([1.0]), codec="libvpx")
    check_container(source, tmp_path / "out.mkv")
    with pytest.raises(OutputError, match=r"a \.mp4 file cannot hold vp8 pictures"):
        check_container(source, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["in.webm"]
