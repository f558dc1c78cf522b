"""`vmus dataset check` and `vmus dataset split`."""

from __future__ import annotations

import csv
import io
import json as jsonlib
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from vmus import console
from vmus.console import Console

__all__ = ["check", "split"]


def check(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Annotated, or of MIDI files.")],
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Videos or feature files, called as the songs are."),
    ] = None,
    min_notes: Annotated[int, typer.Option(help="Fewer notes are near-empty.")] = 100,
    min_seconds: Annotated[float, typer.Option(help="Less music is a fragment.")] = 30.0,
    json: Annotated[bool, typer.Option("--json", help="One JSON line a problem.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Find what is wrong with a set of songs.

    \b
    vmus dataset check annotated/
    vmus dataset check SymMV/ --videos features/ > problems.csv

    Finds files that cannot be read, near-empty ones, fragments and gaps, duplicates (transposed or
    at another tempo, too), entries whose files are missing or disagree, and videos that stand
    still. DIR is what vmus annotate wrote, or has SymMV's shape (a table, midi/, chord/), or is
    any folder of MIDI files. Prints a table: entry, problem, detail. The exit code is 1 if there
    are problems.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.dataset.check import Limits, check_set

        limits = Limits(notes=min_notes, seconds=min_seconds)
        show = Console(quiet)
        with show.progress(str(folder)) as progress:
            problems = check_set(folder, videos, limits, progress)
        names = ("entry", "problem", "detail")
        rows = [problem.to_row() for problem in problems]
        if json:
            for row in rows:
                console.result(jsonlib.dumps(dict(zip(names, row, strict=True))))
        elif rows:
            console.result(_csv([names, *rows]))
        counts = Counter(problem.kind for problem in problems)
        told = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
        show.line(f"vmus: {told or 'no problems'}: {folder}")
        if problems:
            raise typer.Exit(console.FAILED)


def split(
    source: Annotated[
        Path, typer.Argument(metavar="TABLE_OR_DIR", help="A table of songs, or their folder.")
    ],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="CSV", help="[default: standard output]")
    ] = None,
    sizes: Annotated[
        str, typer.Option(metavar="A,B,C", help="Train, val, test; other totals in proportion.")
    ] = "1000,70,70",
    seed: Annotated[int, typer.Option(help="The same seed gives the same split.")] = 0,
    group: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The video's column [default: video, youtube_url, ..]"),
    ] = None,
    midi: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Of a table: where the songs are.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Split a set into train, val and test.

    \b
    vmus dataset split SymMV/ -o split.csv
    vmus dataset split pairs.csv --group video --midi midi/ --sizes 80,10,10 > split.csv

    Entries of one video are never parted, nor are near-duplicates (transposed or at another tempo,
    too). Prints a table: path, split, group (the first of the entries that belong together).
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.dataset.split import split_set
        from vmusprod.files import atomic_output
        from vmusprod.jobs import OptionError

        try:
            a, b, c = (int(part) for part in sizes.split(","))
        except ValueError:
            raise OptionError(f"--sizes {sizes}: give three numbers, as in 1000,70,70") from None
        show = Console(quiet)
        with show.progress(str(source)) as progress:
            rows = split_set(
                source, sizes=(a, b, c), seed=seed, group=group, midi=midi, progress=progress
            )
        table = _csv([("path", "split", "group"), *((r.name, r.part, r.group) for r in rows)])
        if out is None:
            console.result(table)
        else:
            with atomic_output(out) as part:
                part.write_text(table + "\n", encoding="utf-8", newline="\n")
        counts = Counter(row.part for row in rows)
        told = ", ".join(f"{counts[name]} {name}" for name in ("train", "val", "test"))
        show.line(f"vmus: {told}; {len({row.group for row in rows})} groups")


def _csv(rows: list[tuple[str, str, str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().removesuffix("\n")
