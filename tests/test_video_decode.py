"""Times of pictures in files of every kind, and plain words for those that are none."""

import io
import itertools
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from video_factory import (
    drift,
    patch,
    plain,
    scenes,
    set_header_duration,
    texture,
    tone,
    write_clip,
    write_sound,
)
from vmusprod.errors import InputError
from vmusprod.video.decode import VideoReader, open_video


def read(path: Path) -> tuple[list[tuple[float, float]], VideoReader]:
    """Start and end of every picture, and the reader after that."""
    with VideoReader(path) as reader:
        times = [(picture.start, picture.end) for picture in reader]
    return times, reader


def contiguous(times: list[tuple[float, float]]) -> bool:
    return times[0][0] == 0 and all(
        one[1] == other[0] and one[1] > one[0] for one, other in itertools.pairwise(times)
    )


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mkv", "libx264", "yuv444p"),
        ("webm", "libvpx", "yuv420p"),
        ("ts", "libx264", "yuv420p"),
        ("avi", "mpeg4", "yuv420p"),
        ("h264", "libx264", "yuv420p"),  # no header at all
        ("flv", "flv", "yuv420p"),
        ("mpg", "mpeg2video", "yuv420p"),
        ("mov", "mjpeg", "yuvj420p"),
        ("mkv", "ffv1", "yuv420p10le"),
        ("mkv", "ffv1", "gray"),
        ("gif", "gif", "rgb8"),
    ],
)
def test_every_container(tmp_path: Path, suffix: str, codec: str, pixels: str) -> None:
    clip = write_clip(tmp_path / f"a.{suffix}", scenes([1.0, 0.6]), codec=codec, pixels=pixels)
    times, reader = read(clip)
    assert len(times) == 40
    assert contiguous(times)
    assert reader.duration == pytest.approx(1.6, abs=1e-3)
    assert reader.warnings == ()


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(17, 3), 1, 120, 10])
def test_odd_frame_rates(tmp_path: Path, rate: Fraction | int) -> None:
    clip = write_clip(tmp_path / "a.mp4", [plain((i, 0, 0)) for i in range(12)], rate=rate)
    times, reader = read(clip)
    assert contiguous(times)
    assert reader.duration == pytest.approx(12 / Fraction(rate), abs=1e-4)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_uneven_rate(tmp_path: Path, suffix: str) -> None:
    stamps = [0, 40, 80, 1500, 1510, 3000]
    clip = write_clip(
        tmp_path / f"a.{suffix}",
        [texture(i) for i in range(6)],
        times=stamps,
        time_base=Fraction(1, 1000),
    )
    times, reader = read(clip)
    assert [round(start * 1000) for start, _ in times] == stamps
    assert reader.duration > 3.0


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_late_start_counts_from_the_first_picture(tmp_path: Path, suffix: str) -> None:
    stamps = [700_000 + 3600 * i for i in range(30)]
    clip = write_clip(
        tmp_path / f"a.{suffix}", scenes([1.2]), times=stamps, time_base=Fraction(1, 90000)
    )
    times, reader = read(clip)
    assert times[0][0] == 0
    assert reader.duration == pytest.approx(1.2, abs=2e-3)


def test_longer_sound_does_not_lengthen_the_picture(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]), audio=tone(2.5))
    assert read(clip)[1].duration == pytest.approx(1.0)


def test_lying_header(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([2.0]))
    for factor in (0.1, 10):
        lie = patch(clip, lambda data, f=factor: set_header_duration(data, f), tmp_path / "b.mp4")
        assert read(lie)[1].duration == pytest.approx(2.0)


def test_no_duration_in_the_header(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.mp4",
        scenes([2.0]),
        container_options={"movflags": "frag_keyframe+empty_moov"},
        options={"g": "10"},
    )
    assert read(clip)[1].duration == pytest.approx(2.0)


def test_vertical_and_rotated(tmp_path: Path) -> None:
    tall = write_clip(tmp_path / "tall.mp4", scenes([1.0], size=(36, 64)))
    turned = write_clip(tmp_path / "turned.mp4", scenes([1.0]), rotate=90)
    assert read(tall)[1].duration == read(turned)[1].duration == pytest.approx(1.0)


def test_joined_recordings_follow_each_other(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.ts", scenes([1.0, 1.0]))
    double = tmp_path / "double.ts"
    double.write_bytes(clip.read_bytes() * 2)
    times, reader = read(double)
    assert contiguous(times)
    assert reader.duration == pytest.approx(4.0, abs=0.05)
    assert reader.warnings == ("timestamps jump: the pictures are taken to follow each other",)


def test_an_absurd_timestamp_is_no_picture_of_a_day(tmp_path: Path) -> None:
    stamps = [*range(0, 1000, 40), *range(80_000_000, 80_001_000, 40)]
    clip = write_clip(
        tmp_path / "a.mkv",
        scenes([2.0]),
        times=stamps,
        time_base=Fraction(1, 1000),
        container_options={"live": "1"},  # no duration in the header to back the gap
    )
    assert read(clip)[1].duration == pytest.approx(2.0, abs=0.05)


def test_too_long(tmp_path: Path) -> None:
    clip = write_clip(
        tmp_path / "a.mp4", [texture(0), texture(1)], times=[0, 50_000], time_base=Fraction(1, 1)
    )
    with pytest.raises(InputError, match="longer than 12 hours"):
        read(clip)


def test_progress_rises_to_one(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.h264"):
        seen: list[float] = []
        with VideoReader(write_clip(tmp_path / name, scenes([3.0])), seen.append) as reader:
            for _ in reader:
                pass
        assert len(seen) > 10
        assert seen == sorted(seen)
        assert 0 <= seen[0] < 0.2
        assert seen[-1] == 1.0


def test_cut_off_behind_its_index(tmp_path: Path) -> None:
    noisy = [drift(texture(i), i) for i in range(75)]
    clip = write_clip(tmp_path / "a.mp4", noisy, container_options={"movflags": "faststart"})
    short = tmp_path / "short.mp4"
    short.write_bytes(clip.read_bytes()[: clip.stat().st_size * 6 // 10])
    times, reader = read(short)
    assert contiguous(times)
    assert 0.5 < reader.duration < 2.5
    assert len(reader.warnings) == 1
    assert reader.warnings[0].startswith("cut off: pictures for ")


def test_damaged_in_the_middle(tmp_path: Path) -> None:
    noisy = [drift(texture(i), i) for i in range(75)]
    clip = write_clip(tmp_path / "a.mp4", noisy, container_options={"movflags": "faststart"})
    size = clip.stat().st_size
    junk = np.random.default_rng(1).bytes(size // 8)

    def damage(data: bytearray) -> None:
        data[size // 2 : size // 2 + len(junk)] = junk

    times, reader = read(patch(clip, damage, tmp_path / "b.mp4"))
    assert contiguous(times)
    assert reader.duration == pytest.approx(3.0)
    assert any(line.startswith("damaged: ") for line in reader.warnings)


def one_line(error: InputError, path: Path) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    return one_line(caught.value, path)


def test_what_is_no_video(tmp_path: Path) -> None:
    def made(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    clip = write_clip(tmp_path / "whole.mp4", scenes([1.0])).read_bytes()
    still = io.BytesIO()
    av.VideoFrame.from_ndarray(texture(0), format="rgb24").to_image().save(still, "png")
    assert refused(tmp_path / "none.mp4") == "No such file or directory"
    assert refused(tmp_path) == "is a folder, not a video"
    assert refused(Path("/dev/zero")) == "not a regular file"
    assert refused(made("empty.mp4", b"")) == "empty file"
    assert refused(made("text.mp4", b"not a video at all\n" * 100)) == "not a video"
    assert refused(made("text.txt", b"not a video at all\n" * 100)) == "not a video"
    assert refused(made("zeros.mp4", bytes(9000))) == "not a video"
    assert refused(made("list.m3u8", b"#EXTM3U\n#EXTINF:3,\nwhole.mp4\n")) == "not a video"
    assert refused(made("a.png", still.getvalue())) == "a still picture, not a video"
    assert "index (moov) is missing" in refused(made("half.mp4", clip[: len(clip) // 2]))
    assert refused(write_sound(tmp_path / "a.wav", tone(0.2))) == "only sound, no picture"
    assert refused(write_sound(tmp_path / "a.m4a", tone(0.2), "aac")) == "only sound, no picture"


def test_zero_pictures(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.avi", "a.mkv"):
        with av.open(str(tmp_path / name), "w") as out:
            stream = out.add_stream("mpeg4", rate=25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            out.start_encoding()
        assert refused(tmp_path / name) in {
            "no picture",
            "no picture stream",
            "cut off: it ends before the first picture",
        }


def test_cover_picture_is_no_video(tmp_path: Path) -> None:
    cover = io.BytesIO()
    av.VideoFrame.from_ndarray(texture(0), format="rgb24").to_image().save(cover, "png")
    sound = write_sound(tmp_path / "plain.mp3", tone(1.0), "libmp3lame").read_bytes()
    picture = b"\x00image/png\x00\x03\x00" + cover.getvalue()

    def syncsafe(size: int) -> bytes:
        return bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))

    frame = b"APIC" + syncsafe(len(picture)) + b"\x00\x00" + picture
    song = tmp_path / "song.mp3"
    song.write_bytes(b"ID3\x04\x00\x00" + syncsafe(len(frame)) + frame + sound)
    assert refused(song) == "sound with a cover picture, not a video"


def test_unknown_coding(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([0.4]))

    def rename(data: bytearray) -> None:
        place = data.find(b"avc1", data.find(b"stsd"))
        data[place : place + 4] = b"zzzz"

    assert "cannot be decoded here" in refused(patch(clip, rename, tmp_path / "b.mp4"))


@pytest.mark.parametrize("name", ["12:30.mp4", "%d {x} ü.mp4", "-f.mp4", "a b\u2028c.mp4"])
def test_names_that_mean_something_to_ffmpeg(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([0.4]))
    assert read(clip.rename(tmp_path / name))[1].duration == pytest.approx(0.4)


def test_damage_is_silent_on_stderr(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [drift(texture(i), i) for i in range(75)])
    data = bytearray(clip.read_bytes())
    data[3000:5000] = np.random.default_rng(0).bytes(2000)
    clip.write_bytes(data)
    code = (
        "import sys\nfrom pathlib import Path\nfrom vmusprod.video.decode import VideoReader\n"
        "with VideoReader(Path(sys.argv[1])) as reader:\n    n = sum(1 for _ in reader)\nprint(n)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 10
    assert done.stderr == ""


def test_open_video_closes_what_it_refuses(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(0.2))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(InputError):
            open_video(sound)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.shared
def test_real_videos(shared: Path) -> None:
    lengths = {
        "big-buck-bunny-30s.mp4": 30.0,
        "car-detection.mp4": 30.16,
        "flower.mp4": 5.005,
        "friday.mp4": 6.1667,
        "tears-of-steel-battle.webm": 70.458,
    }
    for name, length in lengths.items():
        times, reader = read(shared / "data" / "videos" / name)
        assert contiguous(times)
        assert reader.duration == pytest.approx(length, abs=1e-3)
        assert reader.warnings == ()
    times, reader = read(shared / "data" / "videos" / "bad-corrupted.mp4")
    assert reader.duration == pytest.approx(5.0)
    assert reader.warnings == ("damaged: 2 pictures could not be decoded whole",)
