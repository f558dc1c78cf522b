"""The figures, drawn from the numbers alone: the same numbers give the same files."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from vmusprod.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "draw_figures"]

FORMATS = ("png", "svg")

_BLUE = "#3b6ea5"
_ORANGE = "#d9822b"
_SETTINGS: Any = {  # matplotlib types each name of a setting
    "svg.hashsalt": "vmus",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    # A title with a dollar sign is no formula.
    "text.parse_math": False,
}
_SHOWN_CHORDS = 24


def draw_figures(numbers: dict[str, Any]) -> dict[str, dict[str, bytes]]:
    """Draw every figure that there are numbers for: name to format (`png`, `svg`) to bytes.

    Raises MissingDependencyError without matplotlib.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "figures need matplotlib: pip install 'vmusprod[stats]'"
        ) from error
    result = {}
    with mpl.rc_context(_SETTINGS):
        for name, (is_there, size, draw) in _FIGURES.items():
            if not is_there(numbers):
                continue
            figure = Figure(figsize=size, layout="constrained")
            draw(figure, numbers)
            result[name] = {form: _saved(figure, form) for form in FORMATS}
    return result


def _saved(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    # Neither the time nor matplotlib's version belongs into the file.
    dates: dict[str, None] = {"Date": None} if form == "svg" else {"Software": None}
    figure.savefig(buffer, format=form, dpi=120, metadata=dates)
    return buffer.getvalue()


def _genres(figure: Figure, numbers: dict[str, Any]) -> None:
    rows = numbers["genres"][:20]
    axes = figure.subplots()
    axes.barh([_short(row["genre"]) for row in rows], [row["songs"] for row in rows], color=_BLUE)
    axes.invert_yaxis()
    axes.set_xlabel("songs")


def _tonality(figure: Figure, numbers: dict[str, Any]) -> None:
    names, counts = list(numbers["tonality"]), list(numbers["tonality"].values())
    axes = figure.subplots()
    axes.bar(range(24), counts, color=[_BLUE] * 12 + [_ORANGE] * 12)
    axes.set_xticks(range(24), [name.replace("-", "b", 1) for name in names], rotation=90)
    axes.set_ylabel("songs")


def _notes(figure: Figure, numbers: dict[str, Any]) -> None:
    notes = numbers["notes"]
    upper, lower = figure.subplots(1, 2, sharey=True)
    for axes, name, title in (
        (upper, "original", "(a) original key"),
        (lower, "normalised", "(b) in C major or A minor"),
    ):
        axes.bar(notes["classes"], notes[name], color=_BLUE)
        axes.set_title(title)
    upper.set_ylabel("beats")


def _chords(figure: Figure, numbers: dict[str, Any]) -> None:
    rows = figure.subplots(3, 1)
    for axes, name, title in zip(
        rows,
        ("original", "major", "minor"),
        ("(a) original key", "(b) major keys, in C major", "(c) minor keys, in A minor"),
        strict=True,
    ):
        table = list(numbers["chords"][name].items())[:_SHOWN_CHORDS]
        axes.bar([chord for chord, _ in table], [beats for _, beats in table], color=_BLUE)
        axes.tick_params("x", rotation=90)
        axes.set_title(title)
        axes.set_ylabel("beats")


def _transitions(figure: Figure, numbers: dict[str, Any]) -> None:
    chords = numbers["transitions"]["chords"]
    tables = list(numbers["transitions"]["probability"].items())
    columns = min(3, len(tables))
    rows = -(-len(tables) // columns)
    figure.set_size_inches(3.7 * columns + 1.2, 3.9 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(tables) :]:
        axes.axis("off")
    image = None
    for axes, (name, table) in zip(grid, tables, strict=False):
        image = axes.imshow(np.array(table), cmap="viridis", vmin=0, vmax=0.6)
        axes.set_xticks(range(len(chords)), chords, rotation=90)
        axes.set_yticks(range(len(chords)), chords)
        axes.set_title(_short(name))
    if image is not None:
        figure.colorbar(image, ax=grid.tolist(), label="probability of the next chord", shrink=0.8)


def _tempo(figure: Figure, numbers: dict[str, Any]) -> None:
    tempo = numbers["tempo"]
    axes: Axes = figure.subplots()
    for name, values in tempo["density"].items():
        look = "k:" if name == "all" else "-"
        axes.plot(tempo["tempo"], values, look, label=_short(name))
    axes.set_xlabel("beats a minute")
    axes.set_ylabel("density")
    axes.legend()


def _chords_by_genre(figure: Figure, numbers: dict[str, Any]) -> None:
    table = numbers["chords_by_genre"]
    axes = figure.subplots()
    place = np.arange(len(table["chords"]), dtype=np.float64)
    width = 0.8 / len(table["share"])
    for number, (name, shares) in enumerate(table["share"].items()):
        axes.bar(place + (number + 0.5) * width - 0.4, shares, width, label=_short(name))
    axes.set_xticks(place, table["chords"])
    axes.set_ylabel("share of beats")
    axes.legend()


def _visual(figure: Figure, numbers: dict[str, Any]) -> None:
    points = numbers["visual"]
    axes = figure.subplots()
    for genre in dict.fromkeys(points["genre"]):
        index = [k for k, name in enumerate(points["genre"]) if name == genre]
        x, y = ([points[axis][k] for k in index] for axis in "xy")
        axes.scatter(x, y, s=14, label=_short(genre))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend()


def _short(text: str) -> str:
    """A label of the user's: one line of printable characters, not too long."""
    line = "".join(sign if sign.isprintable() else " " for sign in text)
    return line if len(line) <= 24 else line[:23] + "…"


_Draw = Callable[["Figure", dict[str, Any]], None]
_FIGURES: dict[str, tuple[Callable[[dict[str, Any]], Any], tuple[float, float], _Draw]] = {
    "table5_genres": (lambda n: n["genres"], (6, 4), _genres),
    "fig3a_tempo": (lambda n: n["tempo"]["density"], (7, 4), _tempo),
    "fig3b_visual": (lambda n: n.get("visual"), (6, 5), _visual),
    "fig3c_chords_by_genre": (lambda n: n["chords_by_genre"]["chords"], (8, 4), _chords_by_genre),
    "fig5_tonality": (lambda n: n["tonality"], (8, 3.5), _tonality),
    "fig6_notes": (lambda n: n["set"]["notes"], (9, 3.5), _notes),
    "fig7_chords": (lambda n: n["set"]["chords"], (8, 9), _chords),
    "fig8_transitions": (lambda n: n["transitions"]["chords"], (12, 8), _transitions),
}
