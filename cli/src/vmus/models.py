"""`vmus models`."""

from __future__ import annotations

from typing import Annotated

import typer

from vmus import console
from vmus.console import Console

models_app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Networks that are too large for the package."
)


@models_app.callback()
def _group() -> None:
    """Networks that are too large for the package."""


@models_app.command()
def fetch(
    names: Annotated[list[str], typer.Argument(metavar="NAME", help="clip, tagger.")],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Fetch a network into the cache folder ($VMUS_CACHE), checked by its SHA-256.

    \b
    vmus models fetch clip

    clip: CLIP ViT-L/14@336 of OpenAI (934 MB, MIT), for what is in a picture; it needs
    pip install 'vmusprod[clip]' too. tagger: the music tagger musicnn of MagnaTagATune (3 MB,
    MIT), for vmus vmcp --music audio. Nothing is ever fetched unasked. Prints the files.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.downloads import MODELS, fetch
        from vmusprod.jobs import OptionError

        for name in names:
            if name not in MODELS:
                raise OptionError(f"unknown network {name!r}: one of {', '.join(MODELS)}")
        for name in names:
            with Console(quiet).progress(name) as progress:
                path = fetch(MODELS[name], lambda done: progress("fetching", done))
            console.result(str(path))


@models_app.command("list")
def list_models() -> None:
    """Say which networks there are, and where each one lies if it was fetched."""
    with console.report_errors():
        from vmusprod.downloads import MODELS, fetched

        for model in MODELS.values():
            path = fetched(model)
            there = f"{model.size / 1e6:.0f} MB, not fetched" if path is None else str(path)
            console.result(f"{model.name}: {there}")
