"""`vmus vmcp`."""

from __future__ import annotations

import json as jsonlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vmus import console
from vmus.console import Console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmusprod.errors import VmusError
    from vmusprod.vmcp.metric import Retrieval

vmcp_app = typer.Typer(
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Measure how well music and video belong together (video-music CLIP).",
)


class Side(StrEnum):
    """What is looked at of a video."""

    auto = "auto"
    clip = "clip"
    pixels = "pixels"


class Hearing(StrEnum):
    """What is listened to of music."""

    symbolic = "symbolic"
    audio = "audio"


class Split(StrEnum):
    """Parts of MuVi-Sync."""

    train = "train"
    val = "val"


_Pairs = Annotated[
    Path,
    typer.Argument(metavar="PAIRS", help="Table, folder of videos, or MuVi-Sync's folder."),
]
_MusicFolder = Annotated[
    Path | None, typer.Argument(metavar="MUSIC", help="Folder of music named as the videos are.")
]
_SideOption = Annotated[
    Side,
    typer.Option(metavar="auto|clip|pixels", help="auto: clip, if all videos have CLIP features."),
]
_HearingOption = Annotated[
    Hearing, typer.Option("--music", metavar="symbolic|audio", help="audio hears rendered MIDI.")
]
_Weights = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Of vmus vmcp train [those in the package].")
]
_Tagger = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Tagger, for --music audio [that of vmus models fetch]."),
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON line a result.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")]


@vmcp_app.callback()
def _group() -> None:
    """Measure how well music and video belong together (video-music CLIP)."""


@vmcp_app.command()
def score(
    pairs: _Pairs,
    folder: _MusicFolder = None,
    candidates: Annotated[
        int, typer.Option("--candidates", "-m", min=2, help="Videos to rank, the true one among.")
    ] = 70,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals' bootstrap.")] = 0,
    side: _SideOption = Side.auto,
    music: _HearingOption = Hearing.symbolic,
    split: Annotated[
        Split, typer.Option(metavar="train|val", help="Which part of MuVi-Sync.")
    ] = Split.val,
    weights: _Weights = None,
    tagger: _Tagger = None,
    json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Video-music CLIP precision: how often music finds its own video among candidates.

    \b
    vmus vmcp score pairs.csv
    vmus vmcp score videos/ music/ --candidates 20
    vmus vmcp score pairs.csv --side pixels --json
    vmus vmcp score shared/data/MuVi-Sync --split val

    PAIRS is a table with the columns video,music (paths from the table's folder), or two folders
    with files of the same names. A video may be a feature file (.npz, from vmus features).

    n: pieces of music; m: candidates; p5, p10, p20: share of pieces whose video is among the first
    5, 10, 20 by similarity; ar: its mean rank. Chance is 5/m, 10/m, 20/m and (m + 1)/2. Candidates
    are drawn from the other videos of PAIRS, of which there must be m; the draw is averaged out.
    With --json, p5_interval and so on are the 95% interval [low, high] of each figure.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.vmcp import score_pairs
        from vmusprod.vmcp.inputs import pair_source

        show = Console(quiet)
        with show.progress("vmcp") as progress:
            scored = score_pairs(
                pair_source(pairs, folder, split.value), candidates, seed, side.value,
                music.value, weights, tagger, progress,
            )  # fmt: skip
        row = scored.retrieval.to_dict()
        if json:
            console.result(jsonlib.dumps(row))
        else:
            _table(scored.retrieval, f"side {scored.side}, {music.value}")
        _end(scored.failed)


@vmcp_app.command()
def rank(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="Video or feature file.")],
    musics: Annotated[list[Path], typer.Argument(metavar="MUSIC...", help="MIDI or audio files.")],
    side: _SideOption = Side.auto,
    music: _HearingOption = Hearing.symbolic,
    weights: _Weights = None,
    tagger: _Tagger = None,
    json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Sort music by how well it belongs to one video, best first.

    \b
    vmus vmcp rank film.mp4 take1.mid take2.mid take3.mid
    vmus vmcp rank film.npz takes/*.mid --side pixels --json

    The similarity is a mean cosine, -1..1; only its order means something.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.video.cache import load_features
        from vmusprod.vmcp.scorer import load_scorer, rank_music

        show = Console(quiet)
        with show.progress(str(video)) as progress:
            features = load_features(video, progress=lambda done: progress("looking", done))
        chosen = side.value
        if side is Side.auto:
            chosen = "pixels" if features.semantic is None else "clip"
        scorer = load_scorer(chosen, music.value, weights, tagger)
        found, failed = rank_music(scorer, features, musics)
        for similarity, path in found:
            if json:
                line = {"video": str(video), "music": str(path), "similarity": similarity}
                console.result(jsonlib.dumps(line))
            else:
                console.result(f"{similarity:7.4f}  {path}")
        _end(failed)


@vmcp_app.command()
def train(
    pairs: _Pairs,
    folder: _MusicFolder = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Weights to write.")
    ] = None,
    side: Annotated[
        Side, typer.Option(metavar="clip|pixels", help="What is looked at.")
    ] = Side.clip,
    music: _HearingOption = Hearing.symbolic,
    split: Annotated[
        Split, typer.Option(metavar="train|val", help="Which part of MuVi-Sync.")
    ] = Split.train,
    midi: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="MIDI files of the kind to be scored, for their mean."),
    ] = None,
    folds: Annotated[int, typer.Option(min=0, help="Cross-validate first; 0: do not.")] = 0,
    candidates: Annotated[int, typer.Option("--candidates", "-m", min=2, help="For that.")] = 70,
    steps: Annotated[int, typer.Option(min=0, help="Of InfoNCE, after the linear fit.")] = 40,
    rate: Annotated[float, typer.Option(help="Learning rate of the transformers.")] = 5e-4,
    seed: Annotated[int, typer.Option(min=0, help="Of first weights, order, crops, folds.")] = 0,
    tagger: _Tagger = None,
    json: _Json = False,
    quiet: _Quiet = False,
) -> None:
    """Train video-music CLIP on pairs.

    \b
    vmus vmcp train MuVi-Sync/ -o clip.safetensors --midi SymMV/midi --folds 5
    vmus vmcp train pairs.csv -o own.safetensors --side pixels
    vmus vmcp train videos/ music/ -o audio.safetensors --music audio --tagger mtat-musicnn.pth

    The encoders' linear parts are fitted in closed form (canonical correlation), then all of it by
    InfoNCE over segments. Recordings and piano MIDI sound unlike: --midi notes their difference.
    """  # noqa: D301
    with console.report_errors():
        from vmusprod.jobs import OptionError
        from vmusprod.vmcp.inputs import pair_source
        from vmusprod.vmcp.train_file import train_file
        from vmusprod.vmcp.training import FitOptions

        if out is None or side is Side.auto:
            raise OptionError("training needs -o FILE and --side clip or pixels")
        if not 0 <= rate < 1 or folds == 1:
            raise OptionError("--rate must be 0..1, --folds 0 or at least 2")
        show = Console(quiet)
        with show.progress("vmcp") as progress:
            done = train_file(
                pair_source(pairs, folder, split.value), out, side.value, music.value,
                FitOptions(steps=steps, rate=rate, seed=seed), folds, candidates, midi, tagger,
                progress,
            )  # fmt: skip
        held_out = done.held_out
        if json:
            row = {"out": str(out), "pairs": done.pairs}
            console.result(jsonlib.dumps(row | (held_out.to_dict() if held_out else {})))
        else:
            console.result(f"{out}: trained on {done.pairs} pairs")
            if held_out is not None:
                _table(held_out, f"{folds} folds")
        _end(done.failed)


def _table(found: Retrieval, what: str) -> None:
    console.result(f"n {found.n}, m {found.m} ({what})")
    figures = {f"P@{k}": figure for k, figure in found.precision.items()}
    for name, figure in (figures | {"AR": found.average_rank}).items():
        digits = 2 if name == "AR" else 3
        cells = [f"{value:.{digits}f}" for value in (figure.value, figure.low, figure.high)]
        console.result(f"{name:>5}  {cells[0]}  [{cells[1]}, {cells[2]}]")


def _end(failed: Sequence[VmusError]) -> None:
    """Name what failed on stderr, and let the exit code say so."""
    for error in failed:
        console.say(f"vmus: {error}")
    if failed:
        console.say(f"vmus: {len(failed)} failed")
        raise typer.Exit(console.FAILED)
