"""Motion and colour against a slow twin, and feature files whatever is in them."""

import io
import itertools
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from video_factory import drift, plain, scenes, texture, write_clip
from vmusprod._vmus_rs import color_histogram
from vmusprod.errors import InputError, OutputError
from vmusprod.video.decode import VideoReader
from vmusprod.video.features import VideoFeatures, extract_features, motion_steps, seconds

LOSSLESS = {"codec": "ffv1", "pixels": "bgr0"}


def slow_motion(pictures: list[NDArray[Any]], times: list[float], length: float) -> list[float]:
    """The definition, one step after the other."""
    shown = []
    step = 0
    while step * 0.2 < length - 1.5e-3:
        shown.append(max(i for i, time in enumerate(times) if time <= step * 0.2 + 1.5e-3))
        step += 1
    return [0.0] + [
        float(np.abs(pictures[b].astype(int) - pictures[a].astype(int)).mean())
        for a, b in itertools.pairwise(shown)
    ]


@pytest.mark.parametrize("rate", [25, 10, 4, 1, Fraction(30000, 1001), 60])
def test_motion_is_the_definition(tmp_path: Path, rate: Fraction | int) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(31)]
    clip = write_clip(tmp_path / "a.mkv", pictures, rate=rate, **LOSSLESS)
    found = extract_features(clip)
    with VideoReader(clip) as reader:  # Matroska rounds to milliseconds
        times = [picture.start for picture in reader]
    wanted = slow_motion(pictures, times, reader.duration)
    assert len(found.motion) == motion_steps(reader.duration) == len(wanted)
    np.testing.assert_allclose(found.motion, wanted, rtol=1e-6)


def test_motion_of_an_uneven_rate(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    pictures = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(5)]
    stamps = [0, 90, 1130, 1250, 3000]
    clip = write_clip(
        tmp_path / "a.mkv", pictures, times=stamps, time_base=Fraction(1, 1000), **LOSSLESS
    )
    found = extract_features(clip)
    wanted = slow_motion(pictures, [t / 1000 for t in stamps], found.duration)
    np.testing.assert_allclose(found.motion, wanted, rtol=1e-6)
    assert found.color is not None
    np.testing.assert_array_equal(found.color[0], color_histogram(pictures[0]))
    np.testing.assert_array_equal(found.color[1], color_histogram(pictures[1]))
    np.testing.assert_array_equal(found.color[2], color_histogram(pictures[3]))
    np.testing.assert_array_equal(found.color[3], color_histogram(pictures[4]))


def test_color_is_that_of_each_full_second(tmp_path: Path) -> None:
    pictures = [plain((40 * (i // 10), 200 - 30 * (i // 10), 90)) for i in range(35)]
    found = extract_features(write_clip(tmp_path / "a.mkv", pictures, rate=10, **LOSSLESS))
    assert found.color is not None
    assert found.color.shape == (4, 3, 32, 32)
    assert found.color.dtype == np.float32
    for second in range(4):
        np.testing.assert_allclose(
            found.color[second], color_histogram(pictures[10 * second]), atol=1e-6
        )


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (300, 1), (3, 5), (1920, 4)])
def test_pictures_of_any_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    pictures = [plain((10 * i, 100, 50), size) for i in range(12)]
    found = extract_features(
        write_clip(tmp_path / "a.avi", pictures, rate=10, codec="png", pixels="rgb24")
    )
    assert found.duration == pytest.approx(1.2)
    np.testing.assert_allclose(found.motion, [0, *[20 / 3] * 5], rtol=1e-5)
    assert found.color is not None
    np.testing.assert_allclose(found.color.sum(axis=(1, 2, 3)), 1, atol=1e-5)


def test_size_that_changes_on_the_way(tmp_path: Path) -> None:
    big = write_clip(tmp_path / "a.ts", scenes([1.0], size=(128, 96)))
    small = write_clip(tmp_path / "b.ts", scenes([1.0], size=(64, 48)))
    both = tmp_path / "c.ts"
    both.write_bytes(big.read_bytes() + small.read_bytes())
    assert extract_features(both).duration == pytest.approx(2.0, abs=0.05)


def test_one_picture_shown_for_a_second(tmp_path: Path) -> None:
    found = extract_features(write_clip(tmp_path / "a.mp4", [texture(0)], rate=1))
    assert found.duration == pytest.approx(1.0)
    np.testing.assert_array_equal(found.motion, np.zeros(5, np.float32))
    assert found.color is not None
    assert len(found.color) == 1
    assert found.cuts.tolist() == []


def test_same_file_same_features_even_if_damaged(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", [drift(texture(i), i) for i in range(75)])
    data = bytearray(clip.read_bytes())
    data[4000:7000] = np.random.default_rng(0).bytes(3000)
    clip.write_bytes(data)
    first = extract_features(clip)
    assert first.warnings
    for _ in range(3):
        again = extract_features(clip)
        np.testing.assert_array_equal(first.motion, again.motion)
        np.testing.assert_array_equal(first.color, again.color)


@pytest.mark.parametrize(
    ("duration", "steps", "rows"),
    [(2.0, 10, 2), (2.04, 11, 3), (0.01, 1, 1), (5.005, 26, 6), (29.99999999, 150, 30)],
)
def test_lengths(duration: float, steps: int, rows: int) -> None:
    assert motion_steps(duration) == steps
    assert seconds(duration) == rows


@pytest.mark.shared
@pytest.mark.parametrize("name", ["flower.mp4", "friday.mp4"])
def test_reduced_motion_agrees_with_full_pictures(shared: Path, name: str) -> None:
    clip = shared / "data" / "videos" / name
    with VideoReader(clip) as reader:
        shown = [(p.frame.to_ndarray(format="rgb24"), p.start) for p in reader]
    full = slow_motion([p for p, _ in shown], [t for _, t in shown], reader.duration)
    found = extract_features(clip).motion
    assert np.abs(found - full).max() < 0.25
    assert np.corrcoef(found[1:], full[1:])[0, 1] > 0.9995


def features(length: float = 2.5) -> VideoFeatures:
    rng = np.random.default_rng(0)
    rows = seconds(length)
    color = rng.random((rows, 3, 32, 32), dtype=np.float32)
    return VideoFeatures(
        length,
        rng.random(motion_steps(length), dtype=np.float32) * 20,
        np.array([0.5, 1.7], np.float32),
        color / color.sum(axis=(1, 2, 3), keepdims=True),
        rng.standard_normal((rows, 2)).astype(np.float32),
        rng.standard_normal((rows, 768)).astype(np.float32),
        ("damaged: 1 picture could not be decoded whole",),
    )


def test_save_and_load(tmp_path: Path) -> None:
    saved = features()
    saved.save(tmp_path / "a.npz")
    loaded = VideoFeatures.load(tmp_path / "a.npz")
    assert loaded.duration == saved.duration
    assert loaded.warnings == saved.warnings
    for name in ("motion", "cuts", "color", "affect", "semantic"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(saved, name))
    saved.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_absent_source_is_an_absent_key(tmp_path: Path) -> None:
    VideoFeatures(1.0, np.zeros(5, np.float32), np.zeros(0, np.float32)).save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        assert sorted(file) == ["cuts", "duration", "motion"]
        assert file["duration"].shape == ()
    loaded = VideoFeatures.load(tmp_path / "a.npz")
    assert loaded.color is loaded.affect is loaded.semantic is None


def test_save_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        features().save(tmp_path / "none" / "a.npz")


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda a: a.pop("motion"), "no 'motion' in it"),
        (lambda a: a.pop("duration"), "no 'duration' in it"),
        (lambda a: a.update(colour=a["color"]), "unknown key 'colour.npy'"),
        (lambda a: a.update(duration=np.array(np.nan)), "'duration' is nan"),
        (lambda a: a.update(duration=np.array(-1.0)), "'duration' is -1.0"),
        (lambda a: a.update(duration=np.array(1e9)), "'duration' is 1000000000.0"),
        (lambda a: a.update(duration=np.ones(2)), "'duration' is float64 (2,), not ()"),
        (lambda a: a.update(motion=a["motion"][:-1]), "'motion' is float32 (12,), not (13)"),
        (lambda a: a["motion"].__setitem__(3, np.inf), "'motion' holds a value that is not finite"),
        (lambda a: a["motion"].__setitem__(3, -1), "'motion' holds a value outside 0..255"),
        (lambda a: a["cuts"].__setitem__(1, 9), "'cuts' holds a value outside 0..2.5"),
        (lambda a: a["cuts"].__setitem__(1, 0.1), "'cuts' do not rise"),
        (lambda a: a.update(cuts=a["cuts"].astype(object)), "'cuts' is object"),
        (lambda a: a.update(cuts=a["cuts"].astype("U9")), "'cuts' is <U9"),
        (lambda a: a.update(color=a["color"][:, :, :8]), "'color' is float32 (3, 3, 8, 32)"),
        (lambda a: a["color"].__imul__(-1), "'color' holds a value outside"),
        (lambda a: a["semantic"].__setitem__((0, 0), np.nan), "'semantic' holds a value that is"),
        (lambda a: a.update(affect=a["affect"][1:]), "'affect' is float32 (2, 2), not (3, 2)"),
    ],
)
def test_odd_feature_files(tmp_path: Path, change: Change, cause: str) -> None:
    features().save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz") as file:
        arrays = dict(file)
    change(arrays)
    np.savez(tmp_path / "b.npz", **arrays)
    with pytest.raises(InputError) as caught:
        VideoFeatures.load(tmp_path / "b.npz")
    assert str(caught.value).startswith(f"{tmp_path / 'b.npz'}: ")
    assert cause in str(caught.value)


def test_feature_file_of_other_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", duration=2, motion=np.arange(10), cuts=np.zeros(0, np.float64))
    loaded = VideoFeatures.load(tmp_path / "a.npz")
    assert loaded.motion.dtype == np.float32
    assert loaded.duration == 2.0


def test_file_that_claims_to_be_huge(tmp_path: Path) -> None:
    """A header of a few bytes that promises terabytes must not be believed."""
    features().save(tmp_path / "a.npz")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    with (
        zipfile.ZipFile(tmp_path / "a.npz") as whole,
        zipfile.ZipFile(tmp_path / "b.npz", "w") as bomb,
    ):
        for name in whole.namelist():
            bomb.writestr(name, header.getvalue() if name == "cuts.npy" else whole.read(name))
    with pytest.raises(InputError, match="'cuts' is float32"):
        VideoFeatures.load(tmp_path / "b.npz")


def test_damaged_feature_files(tmp_path: Path) -> None:
    features().save(tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    rng = np.random.default_rng(0)
    bad = tmp_path / "b.npz"
    for data in (b"", b"PK\x03\x04", whole[: len(whole) // 2], bytes(1000)):
        bad.write_bytes(data)
        with pytest.raises(InputError, match="not a feature file"):
            VideoFeatures.load(bad)
    for turn in range(300):
        broken = bytearray(whole)
        # Every other time the damage is all in the directory and the headers.
        start = len(whole) - 1000 if turn % 2 else 0
        for place in rng.integers(start, len(whole), 20):
            broken[place] ^= int(rng.integers(1, 256))
        bad.write_bytes(broken)
        with pytest.raises(InputError):
            VideoFeatures.load(bad)
    with pytest.raises(InputError, match="No such file"):
        VideoFeatures.load(tmp_path / "none.npz")
    with pytest.raises(InputError, match="Is a directory"):
        VideoFeatures.load(tmp_path)
