"""The clip that vmus draws itself."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from vmusprod.errors import OutputError
from vmusprod.video.demo import draw_demo
from vmusprod.video.features import extract_features


def test_a_clip_with_scenes_and_motion(tmp_path: Path) -> None:
    draw_demo(tmp_path / "demo.mp4", seconds=8, seed=1)
    found = extract_features(tmp_path / "demo.mp4")
    assert found.duration == pytest.approx(8.0)
    assert found.warnings == ()
    assert len(found.cuts) == 1
    assert found.motion.max() > 2
    assert found.color is not None
    # From scene to scene the colours change.
    assert np.abs(found.color[2] - found.color[6]).sum() > 0.3


def test_moves_fast_and_slow(tmp_path: Path) -> None:
    draw_demo(tmp_path / "demo.mp4", seconds=12)
    found = extract_features(tmp_path / "demo.mp4")
    assert found.duration == pytest.approx(12.0)
    assert len(found.cuts) == 2
    edges = [0, *(found.cuts * 5).astype(int), 60]
    mean = [found.motion[a + 1 : b].mean() for a, b in itertools.pairwise(edges)]
    assert max(mean) > 5 * min(mean)


def test_seed_decides(tmp_path: Path) -> None:
    for name, seed in (("a.mp4", 3), ("b.mp4", 3), ("c.mp4", 4)):
        draw_demo(tmp_path / name, seconds=1, seed=seed)
    first, second, third = (extract_features(tmp_path / f"{n}.mp4") for n in "abc")
    np.testing.assert_array_equal(first.motion, second.motion)
    assert not np.array_equal(first.color, third.color)


@pytest.mark.parametrize("length", [0.04, 0.5, 2.04])
def test_any_length(tmp_path: Path, length: float) -> None:
    draw_demo(tmp_path / "demo.mkv", seconds=length)
    assert extract_features(tmp_path / "demo.mkv").duration == pytest.approx(length, abs=0.03)


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no such folder"):
        draw_demo(tmp_path / "none" / "demo.mp4", seconds=1)
    with pytest.raises(OutputError, match="no video of this kind"):
        draw_demo(tmp_path / "demo.txt", seconds=1)
    with pytest.raises(ValueError, match="seconds"):
        draw_demo(tmp_path / "demo.mp4", seconds=0)
    assert list(tmp_path.iterdir()) == []
