"""Networks that look at pictures: affect, CLIP (a stand-in), and how they join the decoding."""

from __future__ import annotations

import sys
import types
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

import vmusprod.video.cache as cache_module
from video_factory import plain, scenes, write_clip
from vmusprod import downloads
from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.video.affect import AffectNetwork
from vmusprod.video.cache import load_features
from vmusprod.video.clip import ClipNetwork, find_clip
from vmusprod.video.features import VideoFeatures, extract_features
from vmusprod.video.sources import find_networks


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path / "cache"))


def frame(color: tuple[int, int, int], width: int = 64, height: int = 48) -> av.VideoFrame:
    pixels = np.full((height, width, 3), color, np.uint8)
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")


class Brightness:
    """Looks at a picture's mean, slowly counted."""

    name = "affect"
    mark = "brightness1"

    def __init__(self) -> None:
        self.looked = 0

    def prepare(self, frame: av.VideoFrame, reformatter: VideoReformatter) -> NDArray[np.uint8]:
        return frame.to_ndarray(format="rgb24")

    def look(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.looked += 1
        return np.array([picture.mean() / 255, 0], np.float32)


def test_a_picture_a_second(tmp_path: Path) -> None:
    shades = [10, 60, 110, 160, 210] * 5
    pictures = [plain((s, s, s)) for s in shades for _ in range(10)]
    clip = write_clip(tmp_path / "a.mp4", pictures, rate=10)
    network = Brightness()
    found = extract_features(clip, networks=[network])
    assert found.affect is not None
    assert found.affect.shape == (25, 2)
    assert found.semantic is None
    assert np.allclose(found.affect[:, 0] * 255, shades, atol=8)
    # A picture that stands for seconds is looked at once.
    still = write_clip(tmp_path / "b.mp4", [plain((200, 0, 0))] * 2, rate=Fraction(1, 5))
    network = Brightness()
    rows = extract_features(still, networks=[network]).affect
    assert rows is not None
    assert len(rows) == 10
    assert network.looked == 2


class Failing(Brightness):
    def look(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise InputError("weights", "no good")


def test_a_network_that_fails_says_so(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]))
    with pytest.raises(InputError, match="no good"):
        extract_features(clip, networks=[Failing()])


def test_other_networks_are_other_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0]))
    entries = tmp_path / "cache" / "features"
    monkeypatch.setattr(cache_module, "find_networks", lambda clip: ([], ["none here"]))
    first = load_features(clip)
    assert first.affect is None
    assert first.warnings == ("none here",)
    monkeypatch.setattr(cache_module, "find_networks", lambda clip: ([Brightness()], []))
    second = load_features(clip)
    assert second.affect is not None
    assert second.warnings == ()
    assert len(list(entries.iterdir())) == 2


def test_affect_of_the_package(tmp_path: Path) -> None:
    network = AffectNetwork()
    rows = []
    for color in ((0, 0, 0), (250, 220, 120), (20, 20, 60)):
        picture = network.prepare(frame(color), VideoReformatter())
        assert picture.shape == (224, 224, 3)
        row = network.look(picture)
        assert row.dtype == np.float32
        assert row.shape == (2,)
        assert np.abs(row).max() <= 1
        assert np.array_equal(row, network.look(picture))
        assert np.allclose(row * 64, np.round(row * 64))
        ratings = network.ratings(picture)
        assert ratings.min() >= 1
        assert ratings.max() <= 7
        rows.append(row)
    assert not np.array_equal(rows[0], rows[1])
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    light, dark = (
        network.look(
            network.prepare(
                av.VideoFrame.from_ndarray((noise * gain).astype(np.uint8), format="rgb24"),
                VideoReformatter(),
            )
        )
        for gain in (1.0, 0.1)
    )
    assert dark[0] < light[0] - 0.3
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(InputError, match="ONNX"):
        AffectNetwork(tmp_path / "bad.onnx")
    with pytest.raises(InputError, match="No such file"):
        AffectNetwork(tmp_path / "none.onnx")


@pytest.mark.shared
def test_affect_follows_human_ratings(shared: Path) -> None:
    import csv

    network = AffectNetwork()
    table = shared / "data" / "OASIS" / "thumbs.tsv"
    seen, rated = [], []
    with table.open(newline="") as file:
        for row in list(csv.DictReader(file, delimiter="\t"))[::8]:
            with av.open(str(table.parent / "thumbs" / row["file"])) as picture:
                decoded = next(picture.decode(video=0))
            seen.append(network.ratings(network.prepare(decoded, VideoReformatter())))
            rated.append((float(row["valence_mean_1to7"]), float(row["arousal_mean_1to7"])))
    # The thumbnails are blurred pictures of the set that the head was fitted on: far above what
    # it reaches on unseen ones, far below 1 if pixels or order were wrong.
    for column, least in ((0, 0.8), (1, 0.7)):
        r = np.corrcoef(np.array(seen)[:, column], np.array(rated)[:, column])[0, 1]
        assert r > least


def test_without_onnxruntime_the_music_still_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match="pip install onnxruntime"):
        AffectNetwork()
    networks, notes = find_networks()
    assert networks == []
    assert "onnxruntime" in notes[0]
    found = load_features(write_clip(tmp_path / "a.mp4", scenes([1.0])))
    assert found.affect is None
    assert any("onnxruntime" in line for line in found.warnings)


class TinyClip(torch.nn.Module):
    """Tells left from right: its features are of length 5."""

    def encode_image(self, pixels: torch.Tensor) -> torch.Tensor:
        assert pixels.shape == (1, 3, 336, 336)
        row = torch.zeros(1, 768)
        row[0, 0] = 3 + pixels[0, 0, :, :168].mean() * 0
        row[0, 1] = 4 * torch.sign(pixels[0, 0, :, :168].mean() - pixels[0, 0, :, 168:].mean())
        return row


@pytest.fixture
def open_clip(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A stand-in for the package; returns the paths that it was asked to load."""
    asked: list[str] = []

    def load(name: str, precision: str, device: str) -> TinyClip:
        assert (precision, device) == ("fp32", "cpu")
        asked.append(name)
        if Path(name).read_bytes() != b"weights":
            raise RuntimeError("not\nweights")
        return TinyClip()

    package = types.ModuleType("open_clip")
    package.__spec__ = types.SimpleNamespace(name="open_clip")  # type: ignore[assignment]
    inner = types.ModuleType("open_clip.openai")
    inner.load_openai_model = load  # type: ignore[attr-defined]
    package.openai = inner  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "open_clip", package)
    monkeypatch.setitem(sys.modules, "open_clip.openai", inner)
    return asked


def test_clip_sees_the_middle_and_its_features_have_length_one(
    tmp_path: Path, open_clip: list[str]
) -> None:
    weights = tmp_path / "clip.pt"
    weights.write_bytes(b"weights")
    network = ClipNetwork(weights)
    pixels = np.zeros((40, 90, 3), np.uint8)
    pixels[:, 20:45] = 255
    wide = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    picture = network.prepare(wide, VideoReformatter())
    assert picture.shape == (336, 336, 3)
    assert picture[:, :160].mean() > 230  # the white stripe is the left half of the middle square
    assert picture[:, 176:].mean() < 20
    assert open_clip == []  # nothing is loaded before there is a picture to look at
    row = network.look(picture)
    assert row[:2].tolist() == pytest.approx([0.6, 0.8])
    network.look(picture)
    assert open_clip == [str(weights)]
    clip = write_clip(tmp_path / "a.mp4", scenes([1.0, 1.0]))
    found = load_features(clip, clip=weights)
    assert found.semantic is not None
    assert found.semantic.shape == (2, 768)
    assert np.allclose(np.linalg.norm(found.semantic, axis=1), 1)
    found.save(tmp_path / "f.npz")
    assert VideoFeatures.load(tmp_path / "f.npz").semantic is not None


def test_clip_is_found_or_missed(tmp_path: Path, open_clip: list[str]) -> None:
    assert find_clip() == (None, "")
    with pytest.raises(InputError, match="No such file"):
        find_clip(tmp_path / "none.pt")
    place = tmp_path / "cache" / "models" / "ViT-L-14-336px.pt"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"other")
    found, note = find_clip()
    assert found is not None
    assert note == ""
    with pytest.raises(InputError, match=r"cannot be read as ViT-L-14-336 \(not weights\)"):
        found.look(np.zeros((336, 336, 3), np.uint8))


def test_clip_without_open_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmusprod.video.clip.find_spec", lambda name: None)
    weights = tmp_path / "cache" / "models" / "ViT-L-14-336px.pt"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"weights")
    with pytest.raises(MissingDependencyError, match=r"vmusprod\[clip\]"):
        find_clip(weights)
    found, note = find_clip()  # weights in the cache alone are no reason to fail
    assert found is None
    assert "open_clip" in note


def test_fetching(tmp_path: Path) -> None:
    import hashlib

    content = np.random.default_rng(0).bytes(3_000_000)
    source = tmp_path / "source.pt"
    source.write_bytes(content)
    good = downloads.Download(
        "clip", "x.pt", source.as_uri(), hashlib.sha256(content).hexdigest(), len(content)
    )
    assert downloads.fetched(good) is None
    fractions: list[float] = []
    path = downloads.fetch(good, fractions.append)
    assert path.read_bytes() == content
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert downloads.fetched(good) == path
    source.unlink()
    assert downloads.fetch(good) == path  # there already: no network is needed
    path.write_bytes(b"damaged")
    with pytest.raises(downloads.DownloadError, match="without a network bring the file"):
        downloads.fetch(good)
    assert path.read_bytes() == b"damaged"
    source.write_bytes(content[:-1])
    with pytest.raises(downloads.DownloadError, match="damaged on the way"):
        downloads.fetch(good)
    assert [p.name for p in path.parent.iterdir()] == ["x.pt"]  # no litter
