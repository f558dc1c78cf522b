"""`vmus annotate`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmus import console
from vmus.console import Console
from vmus.many import Ray

_NAMED = 20  # failures that are told; the table has all

if TYPE_CHECKING:
    from vmusprod.annotation.run import Outcome


def annotate(
    songs: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders, or files, of MIDI and audio.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", help="[default: DIR-annotated, in this folder]"),
    ] = None,
    melody: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="auto: the track named melody or vocals, else learned; skyline: the paper's; "
            "tracks: the named track or nothing; learned: a network, whatever tracks are called.",
        ),
    ] = "auto",
    chords: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="hmm: with the song in view; chorder: SymMV's way on the song's beats; "
            "published: SymMV's on the file's nominal beats, as its published files are.",
        ),
    ] = "hmm",
    beats: Annotated[
        str,
        typer.Option(
            metavar="WAY",
            help="auto: the file's own where the notes fall on them, else tracked; file; track.",
        ),
    ] = "auto",
    transcriber: Annotated[
        str, typer.Option(metavar="NAME", help="For audio: madmom or basic-pitch.")
    ] = "madmom",
    table: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="Genre, artist, lyrics, ...: a table with a column file or id."
        ),
    ] = None,
    jams: Annotated[bool, typer.Option("--jams", help="Write annotation.jams, too.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Annotate again what is done.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, max=512, help="[default: all cores]")
    ] = None,
    ray: Ray = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a song.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Annotate songs: melody, chords, key, tempo, beats.

    \b
    vmus annotate my-midi/ -o annotated/
    vmus annotate SymMV/midi --table SymMV/SymMV.csv --chords published
    vmus annotate song.mid recordings/ --jams --json | jq .key

    For DIR/a/b.mid there is the folder OUT/a/b with melody.mid, accompaniment.mid (both on the
    song's own beats), chord.lab (seconds), chord.txt (ticks of the two MIDI files), beats.txt
    (seconds, place in the bar) and annotation.json; for all of them OUT/songs.csv and
    OUT/songs.parquet, and OUT/failed.csv with the reasons.

    A song that is done is left as it is, unless it or the options changed: what was interrupted is
    gone on with by the same command.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.annotation.options import AnnotateOptions
        from vmusprod.annotation.run import annotate_folder

        options = AnnotateOptions(melody, chords, beats, transcriber, jams)
        place = out if out is not None else Path(f"{songs[0].resolve().stem}-annotated")
        show = Console(quiet)
        with show.progress(str(songs[0])) as progress:

            def report(outcome: Outcome, done: float) -> None:
                progress("annotating", done)
                if json:
                    console.result(jsonlib.dumps(outcome.to_dict()))

            summary = annotate_folder(
                songs, place, options, table=table, overwrite=overwrite, jobs=jobs, ray=ray,
                report=report,
            )  # fmt: skip
        for path, reason in summary.failed[:_NAMED]:
            console.say(f"vmus: {path}: {reason}")
        if len(summary.failed) > _NAMED:
            console.say(
                f"vmus: ... and {len(summary.failed) - _NAMED} more: {place / 'failed.csv'}"
            )
        kept = f", {summary.kept} done before" if summary.kept else ""
        show.line(f"vmus: {summary.done} annotated{kept}, {len(summary.failed)} failed: {place}")
        if summary.failed:
            raise typer.Exit(console.FAILED)
