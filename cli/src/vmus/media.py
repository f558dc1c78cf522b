"""`vmus features` and `vmus render`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vmus import console
from vmus.console import Console


def features(
    video: Annotated[Path, typer.Argument(metavar="VIDEO")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE.npz")],
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="A picture of them: frames, colour, motion, affect."),
    ] = None,
    clip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="CLIP's weights [those of `vmus models fetch clip`]."),
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute them anew.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Write what the composer sees of a video to a file.

    \b
    vmus features film.mp4 -o film.npz --plot film.png
    vmus generate film.npz -o film.mid

    The arrays: duration (s), motion (every 0.2 s), cuts (s), color (seconds, 3, 32, 32), affect
    (seconds, 2: valence and arousal, -1..1), semantic (seconds, 768) where CLIP is at hand. They
    are kept in the user's cache folder too ($VMUS_CACHE).
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.convert import write_features

        show = Console(quiet)
        with show.progress(video.name) as progress:
            found = write_features(
                video, out, not no_cache, lambda done: progress("looking at the video", done), clip
            )
            if plot is not None:
                from vmusprod.video.plot import plot_features

                progress("drawing", float("nan"))
                plot_features(found, plot, video)
        for warning in found.warnings:
            show.line(f"vmus: {video}: {warning}")
        console.result(str(out))
        if plot is not None:
            console.result(str(plot))


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
