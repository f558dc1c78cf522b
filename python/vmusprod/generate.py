"""The main job: a video in, a piece out, as .mid, .wav or .mp4; and one video after another.

A failed video is a result like any other, with its error in it, so that a batch goes on. Only
KeyboardInterrupt passes through; files appear whole or not at all (`files.atomic_output`).
"""

from __future__ import annotations

import json
import math
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from vmusprod import __version__
from vmusprod.candidates import compose_best
from vmusprod.compose import Composer, Piece, Plan, Settings, plan
from vmusprod.convert import make_folder
from vmusprod.errors import InputError, MissingDependencyError, OutputError, VmusError
from vmusprod.files import atomic_output
from vmusprod.jobs import Job, Options
from vmusprod.music.key import key_name
from vmusprod.music.user_input import (
    TEMPO_LIMITS,
    BeatGrid,
    Melody,
    SpanChords,
    UserChords,
    read_chords,
    read_melody,
    user_key,
)
from vmusprod.unconditional import blank_features, blank_settings
from vmusprod.video.cache import load_features
from vmusprod.video.decode import open_video
from vmusprod.video.features import VideoFeatures

__all__ = ["Generator", "Progress", "Result"]

Progress = Callable[[str, float], None]

_STAGE_WORDS = {"chord": "chords", "melody": "melody", "accompaniment": "accompaniment"}


@dataclass(frozen=True)
class Result:
    """What became of one video; the first ten fields are those that scripts rely on.

    `duration` and `elapsed` in seconds, `tempo` in quarter notes a minute, `key` a name as in
    `C major`; None where a video failed before it was known, or was skipped. `error` is one line,
    None of a success. `trace` is the traceback of an error that should not have happened.
    """

    input: str
    outputs: tuple[str, ...]
    duration: float | None
    tempo: float | None
    key: str | None
    bars: int | None
    notes: int | None
    seed: int
    elapsed: float
    error: str | None
    warnings: tuple[str, ...] = ()
    skipped: bool = False
    trace: str | None = None

    def to_dict(self) -> dict[str, object]:
        """Return `input, outputs, duration, tempo, key, bars, notes, seed, elapsed, error`."""
        names = list(Result.__dataclass_fields__)
        return {name: getattr(self, name) for name in names[: names.index("error") + 1]}


class ComposerLike(Protocol):
    """What `compose.Composer` does."""

    def compose(
        self, features: VideoFeatures, settings: Settings, progress: Progress | None = None
    ) -> Piece:
        """Return the piece for a video."""
        ...


@dataclass
class _Work:
    """A result in the making."""

    outputs: list[Path] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    features: VideoFeatures | None = None
    piece: Piece | None = None
    seed: int | None = None
    skipped: bool = False


class Generator:
    """Makes music for videos, with one set of options and the models loaded once.

    Parameters
    ----------
    options : Options
        For every video.
    inputs : sequence of Path, optional
        All videos of the batch: no output may replace one of them, nor what the options name.
    load : callable, optional
        Loads the composer, when first needed.
    """

    def __init__(
        self,
        options: Options,
        inputs: Sequence[Path] = (),
        load: Callable[[], ComposerLike] | None = None,
    ) -> None:
        self.options = options
        own = (options.chords, options.melody, options.soundfont)
        self._inputs = [*inputs, *(path for path in own if path is not None)]
        self._load = load or self._load_composer

    def run_all(self, jobs: Iterable[Job], progress: Progress | None = None) -> Iterator[Result]:
        """Yield the result of each job, in order."""
        for job in jobs:
            yield self.run(job, progress)

    def run(self, job: Job, progress: Progress | None = None) -> Result:
        """Make one video's files.

        `progress` is told what is being done and the fraction of it, 0..1, nan where unknown.
        Never raises for a fault of the video, the options or the system: see `Result.error`.
        """
        began = time.monotonic()
        work = _Work()
        error = trace = None
        try:
            self._make(job, work, progress or _silent)
        except (InputError, OutputError) as caught:
            error = str(caught)
        except VmusError as caught:
            error = f"{job.source}: {caught}"
        except Exception as caught:  # one video's bad luck is not the batch's
            error = str(InputError(job.source, f"internal error: {_told(caught)}"))
            trace = traceback.format_exc()
        grid = None if work.piece is None else work.piece.plan
        return Result(
            input=str(job.source),
            outputs=tuple(map(str, work.outputs)),
            duration=None if work.features is None else round(work.features.duration, 6),
            tempo=None if grid is None else round(60e6 / grid.mspq, 3),
            key=None if work.piece is None else key_name(*work.piece.key),
            bars=None if grid is None else grid.bars,
            notes=None if work.piece is None else work.piece.note_count,
            seed=self.options.seed if work.seed is None else work.seed,
            elapsed=round(time.monotonic() - began, 3),
            error=error,
            warnings=tuple(work.warnings),
            skipped=work.skipped,
            trace=trace,
        )

    def _make(self, job: Job, work: _Work, progress: Progress) -> None:
        files = (job.output, *job.stem_files)
        if self.options.skip_existing and all(path.is_file() for path in files):
            work.outputs, work.skipped = list(files), True
            return
        # All that can be known to fail fails before the long work.
        _check_source(job)
        for path in files:
            self._check_output(path, job)
        if job.format == "mp4":
            from vmusprod.video.mux import check_container

            check_container(job.source, job.output)
        chords, melody = self._own_chords, self._own_melody
        progress("loading the models", math.nan)
        composer = self._composer
        if job.blank:
            settings = blank_settings(replace(self._plain, seed=self._plain.seed + job.blank - 1))
            features = blank_features(settings)
        else:
            features = load_features(
                job.source,
                self.options.cache,
                lambda done: progress("looking at the video", done),
                self.options.clip,
            )
            work.warnings += features.warnings
            settings = self._settings(features, chords, melody, work.warnings)
        work.features = features

        def tell(stage: str, done: float) -> None:
            progress(_STAGE_WORDS.get(stage, stage), done)

        if self.options.candidates > 1:
            best = compose_best(composer, features, settings, self.options.candidates, tell)
            work.piece, work.seed = best.piece, best.seed
        else:
            work.piece, work.seed = composer.compose(features, settings, tell), settings.seed
        self._write(job, work, work.piece, progress)

    @cached_property
    def _own_chords(self) -> UserChords | SpanChords | None:
        return None if self.options.chords is None else read_chords(self.options.chords)

    @cached_property
    def _own_melody(self) -> Melody | None:
        path = self.options.melody
        if path is None:
            return None
        melody = read_melody(path)
        low, high = TEMPO_LIMITS
        if self.options.tempo is None and not low <= melody.tempo <= high:
            raise InputError(
                path, f"its tempo {melody.tempo:.6g} is not within {low:g}..{high:g}: give --tempo"
            )
        return melody

    @cached_property
    def _composer(self) -> ComposerLike:
        return self._load()

    def _load_composer(self) -> ComposerLike:
        if self.options.device != "cpu":
            from vmusprod.devices import checked_device

            checked_device(self.options.device)
        return Composer(self.options.weights, self.options.device, self.options.engine)

    @property
    def _plain(self) -> Settings:
        """The options as the composer takes them, without the user's own music."""
        options = self.options
        return Settings(
            options.seed, options.key, options.tempo, options.temperature, options.top_p,
            density=options.density, loudness=options.loudness, without=options.without,
            align=options.align, form=options.form,
        )  # fmt: skip

    def _settings(
        self,
        features: VideoFeatures,
        own_chords: UserChords | SpanChords | None,
        own_melody: Melody | None,
        warnings: list[str],
    ) -> Settings:
        """Return the options as the composer takes them, the user's own music laid on the bars."""
        options = self.options
        settings = self._plain
        if settings.tempo is None and own_melody is not None:
            settings = replace(settings, tempo=own_melody.tempo)
        grid = plan(features, settings)
        chords = melody = None
        if own_chords is not None:
            chords = own_chords.place(_beat_grid(grid))
            if isinstance(own_chords, SpanChords):
                warnings += _short(own_chords, features)
        if own_melody is not None:
            melody = own_melody.place(grid.bars, grid.pickup)
            left_out = len(own_melody.notes) - len(melody)
            if options.melody is not None and not len(melody):
                raise InputError(options.melody, "its first note comes after the video's end")
            if left_out:
                warnings.append(f"the melody is longer than the video: {left_out} notes left out")
        key = options.key or user_key(chords, melody)
        return replace(settings, key=key, chords=chords, melody=melody)

    def _check_output(self, path: Path, job: Job) -> None:
        """Raise now what `atomic_output` would raise later, once the folders are made."""
        for given in self._inputs:
            if given.exists() and path.exists() and given.samefile(path):
                raise OutputError(path, f"would replace the input {given}")
        if job.make_folders or path in job.stem_files:
            make_folder(path.parent)
        try:
            with atomic_output(path):
                raise _NotYet
        except _NotYet:
            pass

    def _write(self, job: Job, work: _Work, piece: Piece, progress: Progress) -> None:
        progress("writing", math.nan)
        text = _about(self.options, piece, work.seed)
        midi = piece.midi("all", text)
        if job.format == "mid":
            _write_bytes(job.output, midi, work)
        else:
            try:
                self._render(job, midi, progress)
            except MissingDependencyError as error:
                beside = job.output.with_suffix(".mid")
                self._check_output(beside, job)
                _write_bytes(beside, midi, work)
                raise MissingDependencyError(f"{error}; wrote {beside} instead") from error
            work.outputs.append(job.output)
        for path in job.stem_files:
            _write_bytes(path, piece.midi(path.stem, text), work)

    def _render(self, job: Job, midi: bytes, progress: Progress) -> None:
        from vmusprod.music.render import render_wav
        from vmusprod.video.mux import mux_music

        progress("playing", math.nan)
        with _folder_beside(job.output) as folder:
            score, sound = folder / "music.mid", folder / "music.wav"
            score.write_bytes(midi)
            if job.format == "wav":
                render_wav(score, job.output, self.options.soundfont)
                return
            render_wav(score, sound, self.options.soundfont)
            progress("adding the sound", math.nan)
            mux_music(job.source, sound, job.output, self.options.keep_audio)


class _NotYet(Exception):  # noqa: N818
    """Leaves `atomic_output` without writing."""


def _silent(what: str, done: float) -> None:
    del what, done


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _check_source(job: Job) -> None:
    """Raise InputError for what can be told at once to be no video, or none for this format."""
    if job.blank:
        return
    if job.source.is_dir():
        raise InputError(job.source, "no video in this folder")
    if job.source.suffix.lower() != ".npz":
        open_video(job.source)[0].close()
    elif job.format == "mp4":
        raise InputError(job.source, "a feature file has no picture to put the music under")


def _beat_grid(grid: Plan) -> BeatGrid:
    seconds = grid.mspq / 1e6
    return BeatGrid(
        beats=4 * grid.bars,
        first=4 if grid.pickup else 0,
        seconds=seconds,
        start=-grid.pickup * seconds / 4,
    )


def _short(chords: SpanChords, features: VideoFeatures) -> list[str]:
    end = float(chords.end[-1])
    if end > features.duration - 4.0:
        return []
    return [f"the chords end at {end:.1f} s, the video at {features.duration:.1f} s"]


def _about(options: Options, piece: Piece, seed: int | None) -> str:
    """Return the seed and all that was decided, as compact JSON for the MIDI's text event."""
    facts = {
        "vmus": __version__,
        "seed": seed,
        "key": key_name(*piece.key),
        "tempo": round(60e6 / piece.plan.mspq, 3),
        "temperature": options.temperature,
        "top_p": options.top_p,
        "pickup": piece.plan.pickup,
        "density": options.density,
        "loudness": options.loudness,
        "without": list(options.without),
        "align": options.align,
        "form": options.form,
        "chords": None if options.chords is None else options.chords.name,
        "melody": None if options.melody is None else options.melody.name,
        "weights": None if options.weights is None else options.weights.name,
    }
    return json.dumps(facts, separators=(",", ":"))


def _write_bytes(path: Path, data: bytes, work: _Work) -> None:
    with atomic_output(path) as part:
        part.write_bytes(data)
    work.outputs.append(path)


@contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """Yield a passing hidden folder: two hours of sound are 1.3 GB, too much for many a /tmp."""
    try:
        with tempfile.TemporaryDirectory(prefix=".vmus-", dir=output.parent) as folder:
            yield Path(folder)
    except OutputError as error:
        # The user knows nothing of files in between.
        raise OutputError(output, error.cause) from error
    except OSError as error:
        raise OutputError(output, error) from error
