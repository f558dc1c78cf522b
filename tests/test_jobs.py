"""Which video becomes which file, and what options may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmusprod.jobs import Job, OptionError, Options, demo_job, plan_jobs


def touch(root: Path, *names: str) -> list[Path]:
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def outputs(jobs: list[Job], out: Path) -> list[str]:
    return [job.output.relative_to(out).as_posix() for job in jobs]


@pytest.mark.parametrize("name", ["a.mid", "a.midi", "a.wav", "a.mp4", "a.MKV", "a.b.webm"])
def test_one_video_goes_to_a_file(tmp_path: Path, name: str) -> None:
    video, out = tmp_path / "v.mp4", tmp_path / name
    assert plan_jobs([video], out) == [Job(video, out)]


@pytest.mark.parametrize(("name", "kind"), [("a.mid", "mid"), ("a.WAV", "wav"), ("a.webm", "mp4")])
def test_the_suffix_is_the_format(name: str, kind: str) -> None:
    assert Job(Path("v"), Path(name)).format == kind


def test_videos_go_to_a_folder_under_their_own_names(tmp_path: Path) -> None:
    out = tmp_path / "out"
    videos = touch(tmp_path, "a.mp4", "b.c.mov", "d.npz")
    jobs = plan_jobs(videos, out)
    assert outputs(jobs, out) == ["a.mid", "b.c.mid", "d.mid"]
    assert all(job.make_folders for job in jobs)
    assert outputs(plan_jobs(videos[:1], out, "wav"), out) == ["a.wav"]


def test_a_folder_is_walked_and_its_tree_is_kept(tmp_path: Path) -> None:
    touch(
        tmp_path / "in", "b.mp4", "a.MOV", "x/a.mp4", "x/y/c.webm", "notes.txt", "x/.hidden.mp4",
        ".cache/d.mp4",
    )  # fmt: skip
    out = tmp_path / "out"
    jobs = plan_jobs([tmp_path / "in"], out, "mp4")
    assert outputs(jobs, out) == ["a.mp4", "b.mp4", "x/a.mp4", "x/y/c.mp4"]
    stems = tmp_path / "stems"
    parts = plan_jobs([tmp_path / "in"], out, stems=stems)[2]
    assert parts.stem_files[0] == stems / "x" / "a" / "chords.mid"


def test_the_output_folder_is_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "out/a.mp4", "out/deep/b.mp4")
    jobs = plan_jobs([tmp_path], tmp_path / "out", "mp4")
    assert [job.source for job in jobs] == [tmp_path / "a.mp4"]


def test_names_that_would_clash_keep_their_folders(tmp_path: Path) -> None:
    out = tmp_path / "out"
    videos = touch(tmp_path, "one/x.mp4", "two/x.mp4", "two/y.mp4", "two/X.mov")
    assert outputs(plan_jobs(videos, out), out) == [
        "one/x.mid",
        "two/x.mp4.mid",
        "y.mid",
        "two/X.mov.mid",
    ]
    walked = plan_jobs([tmp_path / "one", tmp_path / "two"], out)
    assert len({str(job.output).casefold() for job in walked}) == 4


def test_names_that_only_differ_in_the_suffix_keep_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    videos = touch(tmp_path, "a.mp4", "a.mov", "a.mov.mp4")
    names = outputs(plan_jobs(videos, out), out)
    assert names == ["a.mp4.mid", "a.mov.mid", "a.mov-2.mid"]


def test_a_video_that_is_given_twice_is_done_once(tmp_path: Path) -> None:
    (video,) = touch(tmp_path, "a.mp4")
    out = tmp_path / "out"
    assert len(plan_jobs([video, tmp_path / "x" / ".." / "a.mp4", tmp_path], out)) == 1
    # A link is another name, and may be wanted under it.
    link = tmp_path / "b.mp4"
    link.symlink_to(video)
    assert outputs(plan_jobs([video, link], out), out) == ["a.mid", "b.mid"]


def test_a_folder_without_videos_stays_a_job(tmp_path: Path) -> None:
    (video,) = touch(tmp_path, "a.mp4")
    (tmp_path / "empty").mkdir()
    jobs = plan_jobs([tmp_path / "empty", video], tmp_path / "out")
    assert [job.source for job in jobs] == [tmp_path / "empty", video]


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    videos = touch(tmp_path, "in/a.mp4", "in/b.mp4")
    for wrong in (
        lambda: plan_jobs([], tmp_path / "a.mid"),
        lambda: plan_jobs(videos, tmp_path / "a.mid"),
        lambda: plan_jobs([tmp_path / "in"], tmp_path / "a.mid"),
        lambda: plan_jobs(videos[:1], tmp_path / "a.mp3"),
        lambda: plan_jobs(videos[:1], tmp_path / "a.wav", "mid"),
        lambda: plan_jobs(videos, tmp_path / "out", "ogg"),
        lambda: demo_job(tmp_path / "vmus-demo.mp4"),
    ):
        with pytest.raises(OptionError):
            wrong()
    assert plan_jobs(videos[:1], tmp_path / "a.wav", "wav")
    # A dot in its name makes a folder no file, once it is there.
    (tmp_path / "v1.2").mkdir()
    assert plan_jobs(videos[:1], tmp_path / "v1.2")[0].output == tmp_path / "v1.2" / "a.mid"


def test_the_demo_clip_lies_beside_what_is_made_of_it(tmp_path: Path) -> None:
    assert demo_job(tmp_path / "x.wav") == Job(tmp_path / "vmus-demo.mp4", tmp_path / "x.wav")
    job = demo_job(tmp_path / "out", "mp4", tmp_path / "stems")
    assert job.source == tmp_path / "out" / "vmus-demo.mp4"
    assert job.output == tmp_path / "out" / "vmus-demo-music.mp4"
    assert job.stems is not None


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1}, {"seed": 1 << 63}, {"tempo": 19.9}, {"tempo": 301.0},
        {"tempo": float("nan")}, {"temperature": 0.0}, {"temperature": float("inf")},
        {"form": ""}, {"form": "A-B"},
        {"temperature": float("nan")}, {"top_p": 0.0}, {"top_p": 1.1}, {"top_p": float("nan")},
    ],
)  # fmt: skip
def test_options_out_of_range_are_refused(wrong: dict[str, float | str]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong)).replace("_", "-")):
        Options(**wrong)  # type: ignore[arg-type]


def test_options_at_the_edge_are_taken() -> None:
    assert Options(seed=(1 << 63) - 1, tempo=20.0, temperature=5.0, top_p=1.0).tempo == 20.0
