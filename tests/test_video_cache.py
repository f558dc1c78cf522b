"""Features are kept by content, and never trusted blindly."""

from pathlib import Path

import numpy as np
import pytest

import vmusprod.video.cache as cache_module
from video_factory import plain, scenes, tone, write_clip, write_sound
from vmusprod.errors import InputError
from vmusprod.video.cache import load_features
from vmusprod.video.features import VideoFeatures, extract_features


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every path that was really decoded."""
    seen: list[Path] = []

    def counted(path: Path, progress: object, networks: object) -> VideoFeatures:
        seen.append(path)
        return extract_features(path)

    monkeypatch.setattr(cache_module, "extract_features", counted)
    return seen


def test_second_time_nothing_is_decoded(tmp_path: Path, cache: Path, count: list[Path]) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0, 1.0]))
    first = load_features(clip)
    moved = clip.rename(tmp_path / "other name.mov")
    fractions: list[float] = []
    second = load_features(moved, progress=fractions.append)
    assert len(count) == 1
    assert fractions == [1.0]
    assert first.duration == second.duration
    np.testing.assert_array_equal(first.motion, second.motion)
    np.testing.assert_array_equal(first.cuts, second.cuts)
    np.testing.assert_array_equal(first.color, second.color)
    assert len(list(cache.iterdir())) == 1


def test_another_content_is_another_entry(tmp_path: Path, cache: Path, count: list[Path]) -> None:
    clip = write_clip(tmp_path / "a.mp4", [plain((9, 9, 9))] * 30)
    load_features(clip)
    write_clip(clip, [plain((99, 9, 9))] * 50)
    assert load_features(clip).duration == pytest.approx(2.0)
    assert len(count) == 2
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("junk", [b"", b"junk", None])
def test_damaged_entry_is_computed_again(
    tmp_path: Path, cache: Path, count: list[Path], junk: bytes | None
) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]))
    load_features(clip)
    (entry,) = cache.iterdir()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2] if junk is None else junk)
    assert load_features(clip).duration == pytest.approx(1.0)
    assert len(count) == 2
    assert entry.read_bytes() == whole


def test_without_cache_nothing_is_kept(tmp_path: Path, cache: Path, count: list[Path]) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]))
    load_features(clip, cache=False)
    load_features(clip, cache=False)
    assert len(count) == 2
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_only_mentioned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path / "file"))
    found = load_features(write_clip(tmp_path / "a.mp4", scenes([1.0])))
    assert found.duration == pytest.approx(1.0)
    assert len(found.warnings) == 1
    assert "features were not kept" in found.warnings[0]


def test_warnings_are_kept_too(tmp_path: Path, cache: Path) -> None:
    clip = write_clip(tmp_path / "a.ts", scenes([1.0]))
    clip.write_bytes(clip.read_bytes() * 2)
    first = load_features(clip)
    assert first.warnings
    assert load_features(clip).warnings == first.warnings


def test_feature_file_in_place_of_a_video(tmp_path: Path, cache: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]))
    extract_features(clip).save(tmp_path / "a.NPZ")
    np.testing.assert_array_equal(
        load_features(tmp_path / "a.NPZ").motion, load_features(clip).motion
    )
    (tmp_path / "b.npz").write_bytes(clip.read_bytes())
    with pytest.raises(InputError, match="not a feature file"):
        load_features(tmp_path / "b.npz")


def test_bad_input_is_named(tmp_path: Path, cache: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", tone(0.2))
    for path, cause in (
        (tmp_path / "none.mp4", "No such file"),
        (tmp_path, "is a folder"),
        (sound, "only sound"),
    ):
        with pytest.raises(InputError, match=cause):
            load_features(path)
    assert not cache.exists()
