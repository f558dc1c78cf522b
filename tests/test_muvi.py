"""MuVi-Sync's reader, on a data set of two videos made here and, where it is, on the real one."""

from pathlib import Path

import numpy as np
import pytest

from vmusprod.dataset.muvi import Muvi, mood_affect, step_motion
from vmusprod.errors import InputError
from vmusprod.video.features import VideoFeatures

LENGTHS = (7, 5)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two videos, 7 and 5 seconds, in each split; CLIP features in shards of 8 and 4 rows."""
    rng = np.random.default_rng(0)
    rows = sum(LENGTHS)
    np.savez(
        tmp_path / "semantic_scale.npz",
        mean=np.full(768, 0.1, np.float32),
        scale=np.full(768, 0.01, np.float32),
    )
    (tmp_path / "chord").mkdir()
    for name in ("001", "002"):
        lines = "0.000 1.600 N\n1.600 3.700 F:min\n3.700 6.900 Bb:min7\n"
        (tmp_path / "chord" / f"{name}.lab").write_text(lines)
    for split in ("train", "val"):
        quantised = rng.integers(-100, 100, (rows, 768)).astype(np.int8)
        np.save(tmp_path / f"{split}_semantic_0.npy", quantised[:8])
        np.save(tmp_path / f"{split}_semantic_1.npy", quantised[8:])
        np.savez(
            tmp_path / f"{split}_tracks.npz",
            id=np.array(["001", "002"]),
            offset=np.array([0, 7, 12]),
            emotion6=rng.dirichlet(np.ones(6), rows).astype(np.float16),
            motion=rng.uniform(0, 60, (rows, 1)).astype(np.float16),
            scene=np.array([0, 1, 0, 1, 2, 0, 0, 0, 1, 2, 3, 0], np.float16)[:, None],
            loudness=rng.uniform(0, 0.4, (rows, 1)).astype(np.float16),
            note_density=rng.integers(0, 20, (rows, 1)).astype(np.float16),
        )
        table = 'id\tyoutube_id\ttitle\tkey\n001\tx\tOne\tD# major\n002\ty\tTwo "x\tA minor\n'
        (tmp_path / f"{split}.tsv").write_text(table)
    return tmp_path


def test_a_song_holds_its_own_rows(root: Path) -> None:
    muvi = Muvi(root)
    first, second = muvi.songs()
    assert (first.id, first.title, first.music.key) == ("001", "One", (3, 0))
    assert second.music.key == (9, 1)
    assert [len(song.music.density) for song in (first, second)] == list(LENGTHS)
    assert first.video.cuts.tolist() == [2, 5, 6]
    assert second.video.cuts.tolist() == [4]
    # Each second the chord that fills most of it: N, then F minor, then Bb minor 7th.
    assert first.music.chords.tolist() == [120, 120, 51, 51, 104, 104, 104]
    assert first.music.spans[1].chord == 51


def test_semantic_rows_are_dequantised_over_the_shards(root: Path) -> None:
    muvi = Muvi(root, "val")
    whole = np.concatenate([np.load(root / f"val_semantic_{i}.npy") for i in (0, 1)])
    wanted = whole.astype(np.float64) * 0.01 + 0.1
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    found = [song.video.semantic for song in muvi.songs()]
    assert np.allclose(np.concatenate([x for x in found if x is not None]), wanted, atol=1e-6)


def test_features_stand_wherever_a_video_may(root: Path, tmp_path: Path) -> None:
    video = Muvi(root).song(0).video
    video.save(tmp_path / "f.npz")
    again = VideoFeatures.load(tmp_path / "f.npz")
    assert again.duration == 7
    assert np.array_equal(again.motion, video.motion)


def test_affect_is_ranked_within_train(root: Path) -> None:
    rows = np.concatenate(
        [s.video.affect for s in Muvi(root).songs() if s.video.affect is not None]
    )
    assert np.allclose(np.sort(rows[:, 0]), (2 * np.arange(12) + 1) / 12 - 1, atol=1e-6)
    moods = np.concatenate([song.moods for song in Muvi(root).songs()])
    order = np.argsort(mood_affect(moods)[:, 1])
    assert np.all(np.diff(rows[order, 1]) > 0)


def test_moods_point_where_they_should() -> None:
    excited, afraid, tense, sad, calm, plain = mood_affect(np.eye(6, dtype=np.float32))
    assert excited.tolist() == [1, 1]
    assert afraid.tolist() == tense.tolist() == [-1, 1]
    assert (sad.tolist(), calm.tolist(), plain.tolist()) == ([-1, -1], [1, -1], [0, 0])


def test_step_motion_rises_and_stays_in_range() -> None:
    motion = step_motion(np.linspace(0, 255, 512, dtype=np.float32))
    assert np.all(np.diff(motion) > 0)
    assert motion[0] == 0
    assert motion[-1] <= 256


def _keep(path: Path, **changes: np.ndarray) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    np.savez(path, **{**arrays, **changes})


@pytest.mark.parametrize("name", ["train_tracks.npz", "train_semantic_1.npy", "train.tsv",
                                  "semantic_scale.npz", "chord/001.lab"])  # fmt: skip
@pytest.mark.parametrize("body", [None, b"", b"\x00\xff" * 50, b"PK\x03\x04 not a zip"], ids=str)
def test_a_damaged_file_is_named(root: Path, name: str, body: bytes | None) -> None:
    path = root / name
    if body is None:
        path.unlink()
    elif body:
        path.write_bytes(body)
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with pytest.raises(InputError) as caught:
        list(Muvi(root).songs())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"offset": np.array([0, 7, 7])},
        {"offset": np.array([0, 7])},
        {"motion": np.full((12, 1), np.nan)},
        {"loudness": np.zeros((11, 1))},
        {"emotion6": np.zeros((12, 5))},
    ],
)
def test_tracks_that_do_not_fit_are_refused(root: Path, changes: dict[str, np.ndarray]) -> None:
    _keep(root / "train_tracks.npz", **changes)
    with pytest.raises(InputError, match="tracks"):
        Muvi(root)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        Muvi(tmp_path)


@pytest.mark.shared
def test_the_real_data_set(shared: Path) -> None:
    muvi = Muvi(shared / "data" / "MuVi-Sync", "val")
    assert len(muvi) == 75
    song = muvi.song(3)
    assert song.video.semantic is not None
    assert np.allclose(np.linalg.norm(song.video.semantic, axis=1), 1, atol=1e-5)
    assert len(song.music.chords) == len(song.music.density) == song.video.duration
    train = Muvi(shared / "data" / "MuVi-Sync")
    spoken = [train.song(k) for k in range(0, 597, 60)]
    # Keys as labelled agree with the chords: the tonic triad is among the commonest roots.
    agree = 0
    for each in spoken:
        heard = each.music.chords[each.music.chords < 120] // 10
        order = np.argsort(-np.bincount(heard, minlength=12))
        agree += each.music.key[0] in order[:4]
    assert agree >= 7
