"""`vmus evaluate`."""

from __future__ import annotations

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmus import console
from vmus.console import Console

if TYPE_CHECKING:
    from vmusprod.evaluate import Evaluation


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Searched for .mid files.")],
    reference: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Real music to put beside it.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Describe a folder of MIDI files by the figures of the paper's tables.

    \b
    vmus evaluate music/
    vmus evaluate music/ --reference POP909/

    SC: scale consistency (share of notes in one scale); PE, PCE: entropy of pitches and pitch
    classes, bits; EBR: empty beat rate; IOI: mean inter-onset interval, seconds. Each file counts
    once.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.evaluate import evaluate_folder

        show = Console(quiet)
        names = [folder] if reference is None else [folder, reference]
        found = []
        for name in names:
            with show.progress(str(name)) as progress:
                found.append(evaluate_folder(name, lambda done: progress("measuring", done)))
        for error in [error for part in found for error in part.failed]:
            console.say(f"vmus: {error}")
        if json:
            row: dict[str, object] = dict(found[0].to_dict())
            if reference is not None:
                row["reference"] = found[1].to_dict()
            console.result(jsonlib.dumps(row))
        else:
            _table(names, found)
        if any(part.failed for part in found):
            raise typer.Exit(console.FAILED)


def _table(names: list[Path], found: list[Evaluation]) -> None:
    columns = list(found[0].to_dict())
    console.result("".join(f"{name:>8}" for name in columns))
    for name, part in zip(names, found, strict=True):
        row = part.to_dict().values()
        cells = ["-" if v is None else f"{v:.4f}" if isinstance(v, float) else str(v) for v in row]
        console.result("".join(f"{cell:>8}" for cell in cells) + f"  {name}")
