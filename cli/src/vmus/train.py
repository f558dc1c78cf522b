"""`vmus train`."""

from __future__ import annotations

import json as jsonlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from vmus import console
from vmus.console import Console


class Stage(StrEnum):
    """The three transformers."""

    chord = "chord"
    melody = "melody"
    accompaniment = "accompaniment"


class Size(StrEnum):
    """The named configurations."""

    small = "small"
    paper = "paper"


class System(StrEnum):
    """The paper's system and its reduced ones."""

    v_musprod = "v-musprod"
    video2chord2music = "video2chord2music"
    video2music = "video2music"


class Backend(StrEnum):
    """What computes linear attention."""

    auto = "auto"
    rust = "rust"
    torch = "torch"
    fast_transformers = "fast-transformers"


class Precision(StrEnum):
    """What training multiplies in."""

    auto = "auto"
    bf16 = "bf16"
    f32 = "f32"


def train(
    stage: Annotated[Stage, typer.Argument(metavar="chord|melody|accompaniment")],
    pack: Annotated[
        list[Path] | None,
        typer.Option(metavar="PACK", help="Songs, from vmus dataset pack; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="The run's folder.")
    ] = None,
    config: Annotated[
        Size, typer.Option(metavar="small|paper", help="Size; paper: its Table 7.")
    ] = Size.small,
    minutes: Annotated[
        float | None, typer.Option(help="Train for so long (this time) [ten epochs].")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Train for so many steps in all.")] = None,
    batch_tokens: Annotated[int, typer.Option(help="Tokens a step.")] = 4096,
    lr: Annotated[float, typer.Option(help="Learning rate of vectors and embeddings.")] = 2e-3,
    matrix_lr: Annotated[float, typer.Option(help="Learning rate of matrices.")] = 0.02,
    warmup: Annotated[int, typer.Option(help="Steps until the full rate.")] = 100,
    cooldown: Annotated[float, typer.Option(help="Last share of the run, falling to 0.")] = 0.3,
    ema: Annotated[float, typer.Option(help="Decay of the averaged weights.")] = 0.998,
    dropout: Annotated[float | None, typer.Option(help="Other than the configuration's.")] = None,
    seed: Annotated[int, typer.Option(help="Of the first weights and the order.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps.")] = "cpu",
    init: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Start from these weights.")
    ] = None,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCES", help="Sources of the video to leave out: 'semantic,color,...'."
        ),
    ] = None,
    system: Annotated[
        System,
        typer.Option(
            metavar="NAME",
            help="For the accompaniment: v-musprod; video2chord2music (no melody stage) or "
            "video2music (one stage), which write all notes.",
        ),
    ] = System.v_musprod,
    video_share: Annotated[
        float | None,
        typer.Option(help="Share of songs with a video, 0 to 1, where PACKs hold both kinds."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a run found in DIR.")
    ] = True,
    evaluate_minutes: Annotated[
        float, typer.Option(help="Measure on the held-out songs so often.")
    ] = 10.0,
    attention: Annotated[
        Backend,
        typer.Option(
            metavar="auto|rust|torch|fast-transformers",
            help="What computes linear attention; auto: rust on a CPU, else torch.",
        ),
    ] = Backend.auto,
    precision: Annotated[
        Precision,
        typer.Option(
            metavar="auto|bf16|f32",
            help="Of matrix products; auto: bf16 where the machine has instructions for it.",
        ),
    ] = Precision.auto,
    evaluate: Annotated[
        Path | None,
        typer.Option(metavar="PACK", help="Only measure: held-out loss, and an n-gram's."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Measure these [those in the package].")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON line.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Errors only.")] = False,
) -> None:
    """Train one of the three transformers, or measure how well it predicts unseen songs.

    \b
    vmus train melody --pack songs.pack -o runs/melody --minutes 60
    vmus train melody --pack songs.pack -o runs/melody --minutes 60 --device cuda
    vmus train melody --evaluate songs.pack --weights runs/melody --json
    vmus train chord --pack songs.pack --pack pairs.pack --init chord.safetensors -o runs/chord
    vmus train accompaniment --system video2music --pack songs.pack -o runs/one-stage
    torchrun --nproc-per-node 2 -m vmus train melody --pack songs.pack -o runs/melody

    DIR holds state.pt to go on from, losses.jsonl and its plot, and the weights,
    STAGE.safetensors. Losses are in nats a token.
    """  # noqa: D301
    with console.report_errors():
        if evaluate is not None:
            _evaluate(stage, evaluate, weights, device, without, json)
            return
        from vmusprod.jobs import OptionError, parse_sources

        if not pack or out is None:
            raise OptionError("training needs --pack and -o, measuring needs --evaluate")
        from vmusprod.dataset.pack import Pack
        from vmusprod.devices import checked_device
        from vmusprod.training.trainer import Trainer, TrainOptions

        options = TrainOptions(
            stage=stage.value, config=config.value, steps=steps, minutes=minutes,
            batch_tokens=batch_tokens, lr=lr, matrix_lr=matrix_lr, warmup=warmup,
            cooldown=cooldown, ema=ema, dropout=dropout, seed=seed,
            device=str(checked_device(device)), init=init, attention=attention.value,
            precision=precision.value,
            without=parse_sources(without), video_share=_share(video_share),
            system=system.value,
            evaluate_minutes=evaluate_minutes,
        )  # fmt: skip
        show = Console(quiet)
        trainer = Trainer(options, Pack.joined(pack), out)
        if resume and trainer.resume():
            show.line(f"vmus: going on from step {trainer.step}")
        with show.progress(f"{stage.value} {config.value}") as progress:
            last = trainer.run(
                lambda row: progress(
                    f"step {row['step']:.0f}, loss {row['loss']:.3f}", row["progress"]
                )
            )
        if trainer.rank:
            return  # under torchrun the first process speaks for all
        if json:
            console.result(jsonlib.dumps({"stage": stage.value, "steps": trainer.step, **last}))
        else:
            loss = last.get("nats_per_token")
            told = "no held-out songs" if loss is None else f"{loss:.4f} nats a token held out"
            console.result(f"{out}: {trainer.step} steps, {told}")


def _share(share: float | None) -> float | None:
    from vmusprod.jobs import OptionError

    if share is not None and not 0 < share <= 1:
        raise OptionError(f"video share {share:g} is not above 0, at most 1")
    return share


def _evaluate(
    stage: Stage,
    pack: Path,
    weights: Path | None,
    device: str,
    without: str | None,
    json: bool,
) -> None:
    from vmusprod.evaluate import evaluate_stage
    from vmusprod.jobs import parse_sources

    loss = evaluate_stage(stage.value, pack, weights, device, parse_sources(without))
    if json:
        console.result(jsonlib.dumps(loss.to_dict()))
    else:
        console.result(
            f"{loss.stage}: {loss.nats_per_token:.4f} nats a token over {loss.tokens} tokens "
            f"(5-gram: {loss.ngram_nats_per_token:.4f})"
        )
