"""`vmus features` and `vmus render`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from vmus import console
from vmus.console import Console
from vmus.many import Jobs, Ray, run_batch


def features(
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO...", help="Videos, or folders of videos.")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT", help="A .npz file, or a folder for many.")
    ],
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="PLOT",
            help="A picture of them (.png; a folder for many): frames, colour, motion, affect.",
        ),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CLIP's weights [those of `vmus models fetch clip`]."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute them anew.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave out videos whose files are there.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="One JSON line a video, failed ones too.")
    ] = False,
    at_once: Jobs = None,
    ray: Ray = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Write what the composer sees of videos to files.

    \b
    vmus features film.mp4 -o film.npz --plot film.png
    vmus features clips/ -o features/ --skip-existing
    vmus generate film.npz -o film.mid

    The arrays: duration (s), motion (every 0.2 s), cuts (s), color (seconds, 3, 32, 32), affect
    (seconds, 2: valence and arousal, -1..1), semantic (seconds, 768) where CLIP is at hand. They
    are kept in the user's cache folder too ($VMUS_CACHE).
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.batch.features import FeatureWork, plan_features

        show = Console(quiet)
        jobs = plan_features(videos, out, plot)
        is_many = jobs[0].output != out
        work = FeatureWork(not no_cache, clip, skip_existing, make_folders=is_many)
        failed = []
        names = [job.source.name for job in jobs]
        for made in run_batch(show, work, jobs, names, at_once, ray):
            for warning in made.warnings:
                show.line(f"vmus: {made.input}: {warning}")
            if made.error is not None:
                console.say(f"vmus: {made.error}")
                failed.append(made.input)
            elif made.skipped:
                show.line(f"vmus: {made.input}: already there")
            if json:
                console.result(jsonlib.dumps(made.to_dict()))
            else:
                for path in made.outputs:
                    console.result(path)
        console.end_batch(failed, len(jobs))


def render(
    midi: Annotated[Path, typer.Argument(metavar="IN.mid")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT.wav")],
    soundfont: Annotated[
        Path | None, typer.Option(metavar="FILE.sf2", help="Another sound than the piano.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Play a MIDI file into a WAV file, through FluidSynth.

    \b
    vmus render film.mid -o film.wav
    vmus render film.mid -o film.wav --soundfont grand.sf2
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.convert import render_file

        with Console(quiet).progress(midi.name) as progress:
            progress("playing", float("nan"))
            render_file(midi, out, soundfont)
        console.result(str(out))
