"""`vmus dataset stats`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from vmus import console
from vmus.console import Console


def stats(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="What `vmus annotate` wrote, or SymMV.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", help="A folder for figures and the page."),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Songs and their genres [those annotated]."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Features of the videos, ID.npz, for the t-SNE."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="All numbers, as one JSON line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Count a set of songs as the paper does: keys, notes, chords, tempi, by genre.

    \b
    vmus dataset stats annotated/
    vmus dataset stats annotated/ -o report/ --table genres.csv
    vmus dataset stats SymMV/ -o report/ --features features/

    OUT gets stats.json, each figure as .png and .svg, and index.html with all of them in it
    (pip install 'vmusprod[stats]'). Songs that cannot be read are named, and left out.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.dataset.statistics import describe_set

        show = Console(quiet)
        with show.progress(folder.name) as progress:
            report = describe_set(folder, out, table, features, progress)
        for error in report.failed:
            console.say(f"vmus: {error}")
        if json:
            console.result(jsonlib.dumps(report.numbers))
        else:
            _print(report.numbers)
            for path in report.files:
                if path.suffix in (".html", ".json"):
                    console.result(str(path))
        if report.failed:
            console.say(f"vmus: {len(report.failed)} could not be read")
            raise typer.Exit(console.FAILED)


def _print(numbers: dict[str, Any]) -> None:
    about = numbers["set"]
    console.result(
        f"{about['songs']} songs, {about['hours']:.1f} h, {about['major']} major, "
        f"{about['minor']} minor"
    )
    keys = sorted(numbers["tonality"].items(), key=lambda item: -item[1])[:6]
    console.result("keys: " + ", ".join(f"{name} {count}" for name, count in keys if count))
    for name, title in (("major", "chords in C major"), ("minor", "chords in A minor")):
        table = numbers["chords"][name]
        total = sum(table.values())
        if total:
            best = ", ".join(f"{c} {b / total:.0%}" for c, b in list(table.items())[:8])
            console.result(f"{title}: {best}")
    for name, (low, middle, high) in numbers["tempo"]["quartiles"].items():
        console.result(f"tempo, {name}: {middle:.0f} ({low:.0f} to {high:.0f})")
    for row in numbers["genres"]:
        console.result(f"{row['genre']}: {row['songs']}")
