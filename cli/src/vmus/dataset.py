"""`vmus dataset`."""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from vmus import console
from vmus.console import Console
from vmus.dataset_check import check, split
from vmus.dataset_collect import collect, shazam
from vmus.dataset_stats import stats

dataset_app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Check, split and pack sets of songs."
)


@dataset_app.callback()
def _group() -> None:
    """Check, split and pack sets of songs."""


@dataset_app.command()
def pack(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="PACK", help="The file to write.")],
    symmv: Annotated[
        Path | None, typer.Option(metavar="DIR", help="SymMV, with midi/ and SymMV.csv in it.")
    ] = None,
    pop909: Annotated[
        Path | None, typer.Option(metavar="DIR", help="POP909, with 001/, 002/, ... in it.")
    ] = None,
    midi: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Any folder of piano MIDI files.")
    ] = None,
    muvi: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="MuVi-Sync: chords with what was seen to them."),
    ] = None,
    oasis: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="OASIS, whose colours MuVi-Sync's videos borrow."),
    ] = None,
    min_fit: Annotated[
        float, typer.Option(help="Leave out songs whose onsets fit a grid less, 0 to 1.")
    ] = 0.6,
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Turn songs into the tokens that training reads.

    \b
    vmus dataset pack -o songs.pack --symmv SymMV/ --pop909 POP909/
    vmus dataset pack -o mine.pack --midi my-midi-files/
    vmus dataset pack -o pairs.pack --muvi MuVi-Sync/ --oasis OASIS/

    Every song is put on a grid of its own, 16ths in 4/4; those that fit none are left out, but for
    MuVi-Sync's, whose chords are in seconds and are laid on the beats that they fit best. Prints
    how many songs of each kind were kept, and how well they fit (1: exactly).
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.dataset.build import build_pack
        from vmusprod.jobs import OptionError

        if all(given is None for given in (symmv, pop909, midi, muvi)):
            raise OptionError("nothing to pack: give --symmv, --pop909, --muvi or --midi")
        show = Console(quiet)
        with show.progress(out.name) as progress:
            report = build_pack(
                out, symmv=symmv, pop909=pop909, midi=midi, muvi=muvi, oasis=oasis,
                min_fit=min_fit,
                progress=lambda song: progress(song, float("nan")),
            )  # fmt: skip
        reasons = Counter(reason.partition(" (")[0] for _, reason in report.skipped)
        for reason, count in reasons.most_common():
            show.line(f"vmus: left out {count}: {reason}")
        if json:
            row = {"kept": report.kept, "fit": report.fit, "left_out": len(report.skipped)}
            if muvi is not None:
                row["weak"] = report.weak
            console.result(jsonlib.dumps(row))
            return
        for source, count in report.kept.items():
            console.result(f"{source}: {count} songs, mean fit {report.fit[source]:.3f}")
        if muvi is not None:
            console.result(f"muvi: {report.weak:.0%} of the songs fit no beat well")
        console.result(f"{sum(report.kept.values())} kept, {len(report.skipped)} left out: {out}")


dataset_app.command()(check)
dataset_app.command()(split)
dataset_app.command()(collect)
dataset_app.command()(shazam)
dataset_app.command()(stats)
