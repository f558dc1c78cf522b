"""Scene cuts: where they are, and where there is none though much changes."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from av.video.frame import VideoFrame

from video_factory import Picture, drift, plain, scenes, texture
from vmusprod.video.cuts import CutDetector
from vmusprod.video.features import extract_features


def cuts(pictures: Sequence[Picture], rate: float = 25) -> list[float]:
    detector = CutDetector()
    for index, picture in enumerate(pictures):
        detector.add(VideoFrame.from_ndarray(picture, format="rgb24"), index / rate)
    found = detector.cuts()
    assert found.dtype == np.float32
    return [round(float(time), 3) for time in found]


def test_cuts_between_scenes() -> None:
    assert cuts(scenes([2.0, 1.0, 3.0])) == [2.0, 3.0]


def test_cuts_between_plain_colours() -> None:
    red, blue, grey = plain((200, 30, 30)), plain((30, 30, 200)), plain((90, 90, 90))
    assert cuts([red] * 30 + [blue] * 30 + [grey] * 30) == [1.2, 2.4]


def test_cuts_in_black_and_white() -> None:
    grey = [
        picture.mean(axis=2, keepdims=True).repeat(3, 2).astype(np.uint8)
        for picture in scenes([1.0, 1.0, 1.0])
    ]
    assert cuts(grey) == [1.0, 2.0]


@pytest.mark.parametrize("rate", [5, 12.5, 24, 60])
def test_any_frame_rate(rate: float) -> None:
    each = round(2 * rate)
    pictures = [drift(texture(i // each), int(i * 20 / rate)) for i in range(3 * each)]
    assert cuts(pictures, rate) == pytest.approx([each / rate, 2 * each / rate], abs=1e-3)


def test_slides_of_a_second_are_all_cuts() -> None:
    assert cuts([texture(i) for i in range(5)], rate=1) == [1.0, 2.0, 3.0, 4.0]


def test_no_cut_in_stillness_movement_fades_and_noise() -> None:
    rng = np.random.default_rng(0)
    scene = texture(0)
    assert cuts([scene] * 60) == []
    assert cuts([drift(scene, 2 * i) for i in range(60)]) == []
    assert cuts([(scene * (i / 60)).astype(np.uint8) for i in range(60)]) == []
    noise = [rng.integers(0, 256, scene.shape, dtype=np.uint8) for _ in range(60)]
    assert cuts(noise) == []


def test_a_flash_is_no_cut() -> None:
    scene = texture(0) // 2
    lit = scene + 120
    assert cuts([scene] * 30 + [lit] * 2 + [scene] * 30) == []


def test_at_least_half_a_second_apart() -> None:
    pictures = [texture(i // 5) for i in range(100)]  # five cuts a second
    found = cuts(pictures)
    assert all(b - a >= 0.5 for a, b in itertools.pairwise(found))


def test_nothing_seen() -> None:
    assert CutDetector().cuts().shape == (0,)
    assert cuts([texture(0)]) == []


# Found by looking at the pictures around every place where anything changes.
TEARS_OF_STEEL = (
    "2.167 5.083 6.583 9.208 12.875 29.792 32.833 36.333 37.542 41.125 46.958 48.208 50.125 51.417"
    " 51.917 53.5 56.042 57.417 59.583 61.333 63.542 65.458 67.417 68.75 70.375"
)


@pytest.mark.shared
def test_real_films(shared: Path) -> None:
    """All 25 cuts of a battle with whip pans, muzzle flashes and an explosion; no other."""
    films = shared / "data" / "videos"
    found = extract_features(films / "tears-of-steel-battle.webm").cuts
    np.testing.assert_allclose(found, [float(t) for t in TEARS_OF_STEEL.split()], atol=2e-3)
    bunny = extract_features(films / "big-buck-bunny-30s.mp4").cuts
    np.testing.assert_allclose(bunny, [11.875, 15.75, 23.042], atol=2e-3)
    for name in ("flower.mp4", "friday.mp4", "car-detection.mp4"):
        assert extract_features(films / name).cuts.tolist() == []
