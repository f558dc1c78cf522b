"""Loss curves of a training run (needs matplotlib: the extra `plot`)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from vmusprod.errors import InputError, MissingDependencyError
from vmusprod.files import atomic_output

__all__ = ["Curves", "plot_losses", "read_losses"]


@dataclass
class Curves:
    """(tokens seen, nats a token) while training and on held-out songs."""

    train: list[tuple[int, float]] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)


def read_losses(log: Path) -> Curves:
    """Read a run's losses.jsonl; lines that are not whole are left out.

    Raises InputError when the file cannot be read.
    """
    curves = Curves()
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise InputError(log, error) from error
    for line in lines:
        try:
            row = json.loads(line)
            tokens = int(row["tokens"])
            if "train" in row:
                curves.train.append((tokens, float(row["train"])))
            elif row["val"] is not None:
                curves.held_out.append((tokens, float(row["val"])))
        except (ValueError, KeyError, TypeError):
            continue
    return curves


def plot_losses(log: Path, out: Path) -> None:
    """Draw the curves of losses.jsonl into an image (PNG, SVG, ...; by its suffix).

    Raises MissingDependencyError without matplotlib, InputError for an unreadable log, OutputError
    for an image that cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plots need matplotlib: pip install 'vmusprod[plot]'"
        ) from error
    curves = read_losses(log)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for points, style, label in (
        (curves.train, "-", "training"),
        (curves.held_out, "o-", "held out"),
    ):
        if points:
            x, y = zip(*points, strict=True)
            axes.plot([n / 1e6 for n in x], y, style, label=label, linewidth=1, markersize=3)
            axes.legend()
    axes.set_xlabel("million tokens")
    axes.set_ylabel("nats a token")
    with atomic_output(out) as part:
        figure.savefig(part, dpi=120)
