"""`vmus generate`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmus import console
from vmus.console import Console
from vmus.many import Jobs, Ray, run_batch

if TYPE_CHECKING:
    from vmusprod.generate import Result
    from vmusprod.music.key import Key


def generate(
    videos: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="VIDEO",
            help="Videos, folders of videos, or feature files (.npz).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str,
        typer.Option(
            "-o",
            "--out",
            metavar="OUT",
            help="A .mid, .wav or .mp4 file, or a folder for many; a URL (s3://...), too.",
        ),
    ] = ...,  # type: ignore[assignment]
    format: Annotated[
        str | None, typer.Option(metavar="mid|wav|mp4", help="Kind of the files in a folder [mid].")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Draw a short clip beside OUT and use it.")
    ] = False,
    unconditional: Annotated[
        int, typer.Option(metavar="N", help="No video: N pieces such as it learnt from, into OUT.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Another seed, another piece.")] = 0,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="'C major', 'a minor', 'F#m', 'Eb'.")
    ] = None,
    tempo: Annotated[
        float | None,
        typer.Option(metavar="BPM", help="20 to 300 [from the motion in the video]."),
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="Below 1 plainer, above 1 wilder; up to 5.")
    ] = 1.0,
    top_p: Annotated[
        float, typer.Option("--top-p", help="Choose among the likeliest, up to this share.")
    ] = 0.995,
    chords: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your chords: .lab, SymMV's .txt, or 'C | G/B | Am7'."),
    ] = None,
    melody: Annotated[
        Path | None,
        typer.Option(metavar="FILE.mid", help="Your melody; its tempo becomes the piece's."),
    ] = None,
    density: Annotated[
        int | None, typer.Option(help="1 sparse to 8 dense [from the video, bar by bar].")
    ] = None,
    loudness: Annotated[
        int | None, typer.Option(help="1 soft to 8 loud [from the video, bar by bar].")
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(metavar="LETTERS", help="One for eight bars, AABA; or none [from the seed]."),
    ] = None,
    align: Annotated[
        bool, typer.Option("--align/--no-align", help="Move bar lines towards scene cuts.")
    ] = True,
    without: Annotated[
        str | None,
        typer.Option(metavar="SOURCES", help="Do not look at these: semantic,color,affect,motion."),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CLIP's weights [those of `vmus models fetch clip`]."),
    ] = None,
    candidates: Annotated[
        int, typer.Option(help="Make so many pieces, keep the one that suits the video best.")
    ] = 1,
    stems: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write chords.mid, melody.mid and accompaniment.mid there too."
        ),
    ] = None,
    soundfont: Annotated[
        Path | None, typer.Option(metavar="FILE.sf2", help="For .wav and .mp4 [a piano].")
    ] = None,
    keep_audio: Annotated[
        bool, typer.Option("--keep-audio", help=".mp4: put the music under the original sound.")
    ] = False,
    weights: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Other weights than those in the package.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    engine: Annotated[
        str, typer.Option(metavar="auto|rust|torch", help="auto: Rust on the CPU, else torch.")
    ] = "auto",
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out videos whose files are there.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep no features of the videos for next time.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON line a video, failed ones too.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say where time and memory went.")
    ] = False,
    at_once: Jobs = None,
    ray: Ray = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Compose piano music for videos.

    \b
    vmus generate film.mp4 -o film.mid
    vmus generate film.mp4 -o film-with-music.mp4 --keep-audio
    vmus generate clips/ more.mov -o music/ --format wav --skip-existing
    vmus generate film.mp4 -o film.mid --seed 7 --key "a minor" --stems parts/
    vmus generate film.mp4 -o film.mid --candidates 8 --density 3 --form AABA
    vmus generate --demo -o demo.mp4
    vmus generate --unconditional 20 -o pieces/

    The same video, seed and options give the same file. Music and picture end together. Bar 1 of
    your own chords or melody is the first whole bar; chords without times are repeated to the end.
    Prints the files written.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.batch.music import Destination, MusicWork
        from vmusprod.convert import draw_demo_clip
        from vmusprod.jobs import (
            OptionError,
            Options,
            demo_job,
            parse_sources,
            plan_jobs,
            unconditional_jobs,
        )
        from vmusprod.profile import Profile

        show = Console(quiet)
        options = Options(
            seed, _key(key), tempo, temperature, top_p, device, weights, chords, melody,
            soundfont, keep_audio, skip_existing, not no_cache, engine, density, loudness,
            parse_sources(without), align, clip, candidates, form,
        )  # fmt: skip
        there = Destination(out, stems)
        if unconditional:
            if videos or demo:
                raise OptionError("give videos or --unconditional, not both")
            jobs = unconditional_jobs(unconditional, there.out, format, there.stems)
        elif not demo:
            jobs = plan_jobs(videos or [], there.out, format, there.stems)
        elif videos or there.url is not None:
            raise OptionError("--demo draws its own video, into a folder of this machine")
        else:
            jobs = [demo_job(there.out, format, there.stems)]
            draw_demo_clip(jobs[0].source)
            show.line(f"vmus: drew {jobs[0].source}")
        work = there.around(MusicWork(options, [job.source for job in jobs]))
        failed = []
        names = [job.source.name for job in jobs]
        watch = Profile()
        heard = watch.listen if profile else None
        for made in run_batch(show, work, jobs, names, at_once, ray, device, heard):
            _print(made, show, json, debug=console.debugging())
            if made.error is not None:
                failed.append(made.input)
        if profile:
            for line in watch.table():
                console.say(line)
        console.end_batch(failed, len(jobs))


def _key(name: str | None) -> Key | None:
    from vmusprod.jobs import OptionError
    from vmusprod.music.key import parse_key

    try:
        return None if name is None else parse_key(name)
    except ValueError as error:
        raise OptionError(str(error)) from error


def _print(made: Result, show: Console, json: bool, debug: bool) -> None:
    for warning in made.warnings:
        show.line(f"vmus: {made.input}: {warning}")
    if made.error is not None:
        console.say(f"vmus: {made.error}")
        if made.trace is not None and debug:
            console.say(made.trace)
        elif made.trace is not None:
            console.say("vmus: this should not happen; `vmus --debug generate ...` shows where")
    elif made.skipped:
        show.line(f"vmus: {made.input}: already there")
    else:
        show.line(
            f"vmus: {made.input}: {made.bars} bars, {made.notes} notes, {made.key}, "
            f"{made.tempo:.0f} bpm, in {made.elapsed:.1f} s"
        )
    if json:
        console.result(jsonlib.dumps(made.to_dict()))
    else:
        for path in made.outputs:
            console.result(path)
