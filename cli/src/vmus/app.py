"""The command `vmus`."""

from __future__ import annotations

from typing import Annotated

import typer

from vmus import console
from vmus.annotate import annotate
from vmus.dataset import dataset_app
from vmus.generate import generate
from vmus.media import features, render
from vmus.models import models_app
from vmus.score import evaluate
from vmus.train import train
from vmus.vmcp import vmcp_app

__all__ = ["app", "main"]

app = typer.Typer(
    name="vmus",
    # Plain help: rich would double the time that --help takes.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        console.result(f"vmus {version('vmus')}")
        raise typer.Exit


@app.callback()
def _common(
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Compose piano music for videos.

    \b
    vmus generate film.mp4 -o film.mid      music for a video
    vmus generate --demo -o demo.mp4        no video at hand: one is drawn first

    Results go to stdout, all else to stderr. The exit code is 0 when everything succeeded, 1 when
    something failed, 2 for wrong usage, 130 when interrupted.
    """  # noqa: D301
    console.set_debug(debug)


app.command()(generate)
app.command()(features)
app.command()(render)
app.command()(annotate)
app.command()(evaluate)
app.command()(train)
app.add_typer(dataset_app, name="dataset")
app.add_typer(models_app, name="models")
app.add_typer(vmcp_app, name="vmcp")


def main() -> None:
    """Run the command line."""
    console.prepare_streams()
    app(prog_name="vmus")
