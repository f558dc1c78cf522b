"""From a video to its files: what is written, what is refused, and that failures stay their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from symusic import Score

from fake_composer import FakeComposer
from video_factory import drift, plain, texture, tone, write_clip, write_sound
from vmusprod.convert import render_file, write_features
from vmusprod.errors import InputError, MissingDependencyError, OutputError
from vmusprod.generate import Generator, Result
from vmusprod.jobs import Job, Options, plan_jobs
from vmusprod.music import tokens as tk
from vmusprod.music.chord_names import chord_id
from vmusprod.music.score import MidiTrack, midi_bytes, read_midi_tracks
from vmusprod.video.features import VideoFeatures

SECONDS = 4.0


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMUS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = texture(1)
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    return write_clip(
        path, (drift(scene, k) for k in range(int(25 * SECONDS))), audio=tone(SECONDS)
    )


def run(
    source: Path, output: Path, composer: FakeComposer | None = None, stems: Path | None = None,
    **options: object,
) -> Result:  # fmt: skip
    composer = composer or FakeComposer()
    generator = Generator(Options(**options), [source], lambda: composer)  # type: ignore[arg-type]
    return generator.run(Job(source, output, stems))


def test_a_midi_file_as_long_as_the_video(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mid"
    made = run(clip, out, seed=3, key=(9, 1))
    assert made.error is None
    assert made.tempo is not None
    score: Any = Score.from_midi(out.read_bytes())
    assert score.tempos.numpy()["mspq"].tolist() == [round(60e6 / made.tempo)]
    data = out.read_bytes()
    ticks = SECONDS * made.tempo / 60 * 220
    # All tracks end with the picture, to a tick.
    assert [abs(track.end() - ticks) <= 1 for track in score.tracks] == [True, True]
    about = json.JSONDecoder().raw_decode(data[data.index(b'{"vmus"') :].decode("latin-1"))[0]
    assert (about["seed"], about["key"], about["temperature"]) == (3, "a minor", 1.0)
    assert about["tempo"] == made.tempo


def test_the_result_has_exactly_the_promised_keys(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mid"
    row = run(clip, out).to_dict()
    assert list(row) == [
        "input", "outputs", "duration", "tempo", "key", "bars", "notes", "seed", "elapsed", "error",
    ]  # fmt: skip
    assert row["input"] == str(clip)
    assert row["outputs"] == (str(out),)
    assert row["duration"] == SECONDS
    assert row["key"] == "C major"
    assert row["error"] is None
    assert json.loads(json.dumps(row))["outputs"] == [str(out)]
    failed = run(tmp_path / "missing.mp4", tmp_path / "b.mid").to_dict()
    assert list(failed) == list(row)
    assert failed["error"] == f"{tmp_path / 'missing.mp4'}: No such file or directory"
    assert (failed["duration"], failed["outputs"], failed["seed"]) == (None, (), 0)


def test_the_same_seed_gives_the_same_bytes_whatever_the_order(clip: Path, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.mp4", (plain((k, 0, 0)) for k in range(60)))
    for name, videos in (("one", [clip, other]), ("two", [other, clip])):
        jobs = plan_jobs(videos, tmp_path / name)
        results = list(Generator(Options(), videos, FakeComposer).run_all(jobs))
        assert [result.error for result in results] == [None, None]
    for name in ("clip.mid", "other.mid"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert run(clip, tmp_path / "seed.mid", seed=1).error is None
    assert (tmp_path / "seed.mid").read_bytes() != (tmp_path / "one" / "clip.mid").read_bytes()


def test_wav_and_mp4_are_as_long_as_the_video(clip: Path, tmp_path: Path) -> None:
    assert run(clip, tmp_path / "a.wav").error is None
    assert run(clip, tmp_path / "a.mp4", keep_audio=True).error is None
    for name in ("a.wav", "a.mp4"):
        with av.open(str(tmp_path / name)) as container:
            assert container.duration is not None
            assert container.duration / av.time_base == pytest.approx(SECONDS, abs=0.03)
            assert len(container.streams.audio) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "a.wav"]


def test_stems_stand_beside_the_whole(clip: Path, tmp_path: Path) -> None:
    made = run(clip, tmp_path / "a.mid", stems=tmp_path / "new" / "stems")
    names = ["chords.mid", "melody.mid", "accompaniment.mid"]
    assert list(made.outputs) == [
        str(tmp_path / "a.mid"), *(str(tmp_path / "new" / "stems" / name) for name in names),
    ]  # fmt: skip
    whole = read_midi_tracks(tmp_path / "a.mid")
    melody = read_midi_tracks(tmp_path / "new" / "stems" / "melody.mid")
    assert list(melody) == ["Melody"]
    assert np.array_equal(melody["Melody"].onset, whole["Melody"].onset)


def test_own_chords_reach_the_composer_on_their_beats(clip: Path, tmp_path: Path) -> None:
    chart = tmp_path / "chords.txt"
    chart.write_text("D | A7 | Bm | G", encoding="utf-8")
    composer = FakeComposer()
    made = run(clip, tmp_path / "a.mid", composer, chords=chart, tempo=120.0)
    assert made.error is None
    (asked,) = composer.asked
    assert asked.chords is not None
    assert asked.chords.tolist() == [chord_id("D")] * 4 + [chord_id("A7")] * 4
    # The key is the chords' own, unless the user says so.
    assert made.key == "D major"
    assert run(clip, tmp_path / "b.mid", chords=chart, key=(11, 1)).key == "b minor"


def test_an_own_melody_brings_its_tempo(clip: Path, tmp_path: Path) -> None:
    melody = tmp_path / "m.mid"
    notes = np.array([(0, 220, 69, 80), (220, 220, 71, 80), (220 * 40, 220, 72, 80)])
    melody.write_bytes(midi_bytes([MidiTrack("m", notes)], 500_000, 220 * 41, ""))
    composer = FakeComposer()
    made = run(clip, tmp_path / "a.mid", composer, melody=melody)
    assert made.tempo == 120.0
    assert composer.asked[0].melody is not None
    assert composer.asked[0].melody[:, 2].tolist() == [69, 71]
    assert made.warnings == ("the melody is longer than the video: 1 notes left out",)
    assert run(clip, tmp_path / "b.mid", melody=melody, tempo=90.0).tempo == 90.0


def test_a_melody_stem_given_back_is_the_same_melody(clip: Path, tmp_path: Path) -> None:
    # 4 s at 110 bpm are 7.33 beats: an upbeat of 3 16ths is missing.
    first = run(clip, tmp_path / "a.mid", stems=tmp_path / "stems", tempo=110.0)
    assert first.error is None
    again = run(clip, tmp_path / "b.mid", melody=tmp_path / "stems" / "melody.mid")
    assert again.tempo == first.tempo
    a, b = (read_midi_tracks(tmp_path / name)["Melody"] for name in ("a.mid", "b.mid"))
    assert np.array_equal(a.pitch, b.pitch)
    assert np.array_equal(a.onset, b.onset)


def test_existing_files_are_kept_only_if_all_are_there(clip: Path, tmp_path: Path) -> None:
    out, stems = tmp_path / "a.mid", tmp_path / "stems"
    out.write_bytes(b"mine")
    made = run(clip, out, skip_existing=True)
    assert (made.skipped, made.error, made.outputs) == (True, None, (str(out),))
    assert out.read_bytes() == b"mine"
    assert run(clip, out, stems=stems, skip_existing=True).skipped is False
    assert out.read_bytes() != b"mine"
    assert run(clip, out, stems=stems, skip_existing=True).skipped is True


def test_no_input_is_ever_replaced(clip: Path, tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(clip.read_bytes())
    (tmp_path / "link.mp4").symlink_to(video)
    melody = tmp_path / "m.mid"
    melody.write_bytes(midi_bytes([MidiTrack("m", np.array([(0, 220, 69, 80)]))], 500_000, 880, ""))
    before = video.read_bytes(), melody.read_bytes()
    for output in (video, tmp_path / "link.mp4"):
        made = run(video, output)
        assert made.error == f"{output}: would replace the input {video}"
    assert "would replace the input" in str(run(video, melody, melody=melody).error)
    # Another video of the same batch is an input, too.
    other = tmp_path / "w.mp4"
    other.write_bytes(before[0])
    generator = Generator(Options(), [video, other], FakeComposer)
    assert "would replace the input" in str(generator.run(Job(other, video)).error)
    assert (video.read_bytes(), melody.read_bytes()) == before


def test_where_fluidsynth_is_missing_the_midi_is_written(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise MissingDependencyError("FluidSynth is missing: apt install libfluidsynth3")

    monkeypatch.setattr("vmusprod.music.render._fluidsynth", missing)
    for name in ("a.wav", "b.mp4"):
        made = run(clip, tmp_path / name)
        beside = (tmp_path / name).with_suffix(".mid")
        assert made.outputs == (str(beside),)
        assert made.error == (
            f"{clip}: FluidSynth is missing: apt install libfluidsynth3; wrote {beside} instead"
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mid", "b.mid"]


def test_a_bug_fails_its_video_only(clip: Path, tmp_path: Path) -> None:
    class Broken(FakeComposer):
        def compose(self, *arguments: object) -> None:  # type: ignore[override]
            raise ZeroDivisionError("one\nand two")

    made = run(clip, tmp_path / "a.mid", Broken())
    assert made.error == f"{clip}: internal error: ZeroDivisionError: one and two"
    assert made.trace is not None
    assert "compose" in made.trace
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.mid", "a.wav", "a.mp4"])
def test_an_interruption_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)  # the last step of writing
    with pytest.raises(KeyboardInterrupt):
        run(clip, tmp_path / name, cache=False)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(path))

    def full_wave(*arguments: object) -> None:
        raise OutputError(arguments[1], "No space left on device")  # type: ignore[arg-type]

    out = tmp_path / "a.mid"
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        assert run(clip, out).error == f"{out}: No space left on device"
        out = tmp_path / "a.wav"
        assert run(clip, out).error == f"{out}: No space left on device"
    # The sound of an .mp4 lies in a file in between, which is nobody's business.
    monkeypatch.setattr("vmusprod.music.render.render_wav", full_wave)
    out = tmp_path / "a.mp4"
    assert run(clip, out).error == f"{out}: No space left on device"
    assert list(tmp_path.iterdir()) == []


def test_bad_outputs_are_found_before_the_work(clip: Path, tmp_path: Path) -> None:
    composer = FakeComposer()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder.mid").mkdir()
    for output, cause in (
        (tmp_path / "no" / "a.mid", "no such folder"),
        (tmp_path / "folder.mid", "is a folder"),
        (tmp_path / "file" / "a.mid", "no such folder"),
        (Path("/dev/full"), "not a regular file"),
    ):
        made = run(clip, output, composer)
        assert made.error is not None
        assert made.error.startswith(f"{output}: ")
        assert cause in made.error
    made = run(clip, tmp_path / "a.mid", composer, stems=tmp_path / "file")
    assert made.error == f"{tmp_path / 'file'}: is no folder"
    assert composer.asked == []


def test_bad_inputs_are_one_line_each(clip: Path, tmp_path: Path) -> None:
    files = {
        "empty.mp4": b"",
        "text.mp4": b"This is not a video.\n" * 50,
        "cut.mp4": clip.read_bytes()[: len(clip.read_bytes()) // 3],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    write_sound(tmp_path / "sound.wav", tone(1.0))
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    for name in ("missing.mp4", *files, "sound.wav", "folder", "bad.npz"):
        source, composer = tmp_path / name, FakeComposer()
        made = run(source, tmp_path / "out.mid", composer)
        assert made.error is not None
        assert made.error.startswith(f"{source}: ")
        assert len(made.error.splitlines()) == 1
        assert made.trace is None
        assert composer.asked == []
        assert not (tmp_path / "out.mid").exists()


def test_a_feature_file_does_for_a_video_but_has_no_picture(clip: Path, tmp_path: Path) -> None:
    features = tmp_path / "f.npz"
    write_features(clip, features)
    assert VideoFeatures.load(features).duration == SECONDS
    assert run(features, tmp_path / "a.mid").error is None
    assert run(clip, tmp_path / "b.mid").error is None
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    assert "no picture" in str(run(features, tmp_path / "a.mp4").error)


def test_features_and_sound_go_to_files_named_so(clip: Path, tmp_path: Path) -> None:
    before = clip.read_bytes()
    with pytest.raises(OutputError, match=r"must end in \.npz"):
        write_features(clip, clip)
    assert clip.read_bytes() == before
    features = tmp_path / "f.npz"
    write_features(clip, features)
    with pytest.raises(OutputError, match="made from"):
        write_features(features, features)
    with pytest.raises(OutputError, match=r"must end in \.wav"):
        render_file(tmp_path / "a.mid", tmp_path / "a.mid")
    with pytest.raises(InputError, match="No such file"):
        render_file(tmp_path / "a.mid", tmp_path / "a.wav")


def test_chords_that_end_early_are_told(clip: Path, tmp_path: Path) -> None:
    long = write_clip(tmp_path / "long.mp4", (plain((k, 9, 9)) for k in range(250)))
    lab = tmp_path / "c.lab"
    lab.write_text("0 2 C:maj\n", encoding="utf-8")
    made = run(long, tmp_path / "a.mid", chords=lab)
    assert made.warnings == ("the chords end at 2.0 s, the video at 10.0 s",)
    assert run(clip, tmp_path / "b.mid", chords=lab).warnings == ()


@pytest.mark.parametrize("option", ["chords", "melody"])
def test_broken_files_of_the_user_name_themselves(clip: Path, tmp_path: Path, option: str) -> None:
    broken = tmp_path / "broken.mid"
    broken.write_bytes(b"\xff\xfe\x00")
    own: dict[str, Any] = {option: broken}
    made = run(clip, tmp_path / "a.mid", **own)
    assert made.error is not None
    assert made.error.startswith(f"{broken}: ")


def test_a_melody_outside_the_video_or_the_tempi_is_refused(clip: Path, tmp_path: Path) -> None:
    late, slow = tmp_path / "late.mid", tmp_path / "slow.mid"
    notes = [MidiTrack("m", np.array([(220 * 90, 220, 69, 80)]))]
    late.write_bytes(midi_bytes(notes, 500_000, 220 * 91, ""))
    slow.write_bytes(midi_bytes(notes, 6_000_000, 220 * 91, ""))
    assert "after the video's end" in str(run(clip, tmp_path / "a.mid", melody=late).error)
    error = str(run(clip, tmp_path / "a.mid", melody=slow).error)
    assert error == f"{slow}: its tempo 10 is not within 20..300: give --tempo"


def test_a_device_that_is_not_there_is_one_line(clip: Path, tmp_path: Path) -> None:
    generator = Generator(Options(device="nonsense"), [clip])
    error = generator.run(Job(clip, tmp_path / "a.mid")).error
    assert error is not None
    assert error.startswith(f"{clip}: device 'nonsense' cannot be used here")
    assert len(error.splitlines()) == 1


def test_foreign_weights_are_one_line(clip: Path, tmp_path: Path) -> None:
    for name, data in (("a", b""), ("b", b"\x08\0\0\0\0\0\0\0{}      "), ("c", None)):
        folder = tmp_path / name
        folder.mkdir()
        if data is not None:
            (folder / "chord.safetensors").write_bytes(data)
        made = Generator(Options(weights=folder), [clip]).run(Job(clip, tmp_path / "a.mid"))
        assert made.error is not None
        assert made.error.startswith(f"{folder / 'chord.safetensors'}: ")
        assert len(made.error.splitlines()) == 1
        assert made.trace is None


def test_progress_names_what_is_done(clip: Path, tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    generator = Generator(Options(cache=False), [clip], FakeComposer)
    generator.run(Job(clip, tmp_path / "a.wav"), lambda what, done: told.append((what, done)))
    assert list(dict.fromkeys(what for what, _ in told)) == [
        "loading the models", "looking at the video", "chords", "melody", "accompaniment",
        "writing", "playing",
    ]  # fmt: skip
    unknown = ("loading the models", "writing", "playing")
    assert all(0.0 <= done <= 1.0 for what, done in told if what not in unknown)


def test_silence_is_a_key_of_its_own(clip: Path, tmp_path: Path) -> None:
    chart = tmp_path / "c.txt"
    chart.write_text("N | N", encoding="utf-8")
    composer = FakeComposer()
    assert run(clip, tmp_path / "a.mid", composer, chords=chart).error is None
    assert composer.asked[0].key is None
    assert composer.asked[0].chords is not None
    assert set(composer.asked[0].chords.tolist()) == {tk.NO_CHORD}
