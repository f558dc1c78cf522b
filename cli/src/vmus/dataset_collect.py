"""`vmus dataset collect` and `vmus dataset shazam`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmus import console
from vmus.console import Console

if TYPE_CHECKING:
    from vmusprod.dataset.collect import Collection


def collect(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A CSV file with the columns below.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="OUT", help="A folder.")],
    download: Annotated[
        bool, typer.Option("--download", help="Download what is a URL (yt-dlp).")
    ] = False,
    transcriber: Annotated[
        str, typer.Option(metavar="madmom|basic-pitch", help="From sound to notes.")
    ] = "madmom",
    beats: Annotated[
        str, typer.Option(metavar="auto|madmom|notes", help="Beats of the sound, or of its notes.")
    ] = "auto",
    min_confidence: Annotated[
        float | None, typer.Option(help="Of the alignment with the official recording, 0 to 1.")
    ] = None,
    min_seconds: Annotated[float | None, typer.Option(help="Shortest piece.")] = None,
    max_pause: Annotated[float | None, typer.Option(help="Longest silence, seconds.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a row.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Collect pairs of video and piano music as the paper did.

    \b
    vmus dataset collect pairs.csv -o collected/
    vmus dataset collect pairs.csv -o collected/ --download
    vmus annotate collected/midi -o annotated/ --table collected/pairs.csv

    TABLE has a row a pair: video, piano (a cover's sound), official (the recording; empty: the
    video's own sound), each a file (relative to the table) or a URL; id names the row, and other
    columns are kept. The cover is transcribed (OUT/midi/ID.mid) and aligned with the recording.
    Thrown out, with the reason in OUT/pairs.csv, are static, lyric and short videos, other pieces
    than the recording, and covers that are short, near-empty or fragmentary.

    The same command goes on with what was interrupted. Rows that are thrown out are no failure;
    rows whose files cannot be used are.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.dataset.audio import BEATS, TRANSCRIBERS
        from vmusprod.dataset.collect import collect as run
        from vmusprod.dataset.collect_entry import Options
        from vmusprod.dataset.quality import Rules
        from vmusprod.jobs import OptionError

        if transcriber not in TRANSCRIBERS:
            raise OptionError(f"--transcriber: one of {', '.join(TRANSCRIBERS)}")
        if beats not in BEATS:
            raise OptionError(f"--beats: one of {', '.join(BEATS)}")
        chosen = {
            "min_confidence": min_confidence, "min_seconds": min_seconds, "max_pause": max_pause,
        }  # fmt: skip
        rules = Rules(**{name: value for name, value in chosen.items() if value is not None})
        show = Console(quiet)

        def done(row: dict[str, str]) -> None:
            if json:
                console.result(jsonlib.dumps(row))
            else:
                reason = f": {row['reason']}" if row["reason"] else ""
                console.result(f"{row['id']}: {row['status']}{reason}")

        with show.progress(table.name) as progress:
            options = Options(download, transcriber, beats, rules)
            found = run(table, out, options, progress, done)
        _end(found, out, show)


def _end(found: Collection, out: Path, show: Console) -> None:
    for error in found.errors:
        console.say(f"vmus: {error}")
    show.line(
        f"vmus: {found.count('kept')} kept, {found.count('rejected')} thrown out, "
        f"{found.count('failed')} failed: {out / 'pairs.csv'}"
    )
    if found.errors:
        raise typer.Exit(console.FAILED)


def shazam(
    table: Annotated[Path, typer.Argument(metavar="TABLE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", metavar="OUT.csv", help="The table with answers.")
    ],
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Ask Shazam for title, artist, genre and lyrics of a table's songs.

    \b
    vmus dataset shazam SymMV/SymMV.csv -o genres.csv
    vmus dataset shazam pairs.csv -o pairs-with-genres.csv
    vmus dataset stats SymMV/ --table genres.csv

    A row is asked for by its shazam_id, else by the file in its column official, audio, video, file
    or path. This is the one command that speaks to Shazam (pip install 'vmusprod[shazam]'), once a
    second; the same command goes on with what was interrupted.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.dataset.metadata import complete_table

        with Console(quiet).progress(table.name) as progress:
            genres, errors = complete_table(table, out, progress)
        for error in errors:
            console.say(f"vmus: {error}")
        if json:
            console.result(jsonlib.dumps({"genres": genres, "failed": len(errors)}))
        else:
            console.result(f"{genres} rows with a genre: {out}")
        if errors:
            console.say(f"vmus: {len(errors)} rows without an answer")
            raise typer.Exit(console.FAILED)
