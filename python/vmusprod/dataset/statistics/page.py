"""One HTML page with all figures in it: nothing else is needed to look at it."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

__all__ = ["html_page"]

_TITLES = {
    "table5_genres": "Genres (Table 5)",
    "fig3a_tempo": "Tempo by genre (Figure 3a)",
    "fig3b_visual": "Visual features by genre, t-SNE (Figure 3b)",
    "fig3c_chords_by_genre": "Chords by genre, in C major or A minor (Figure 3c)",
    "fig5_tonality": "Tonality (Figure 5)",
    "fig6_notes": "Notes (Figure 6)",
    "fig7_chords": "Chords (Figure 7)",
    "fig8_transitions": "Chord transitions, in C major or A minor (Figure 8)",
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "img{max-width:100%}table{border-collapse:collapse}"
    "td,th{padding:.15rem .8rem .15rem 0;text-align:left}td+td{text-align:right}"
    "h2{margin-top:2.5rem}"
)


def html_page(name: str, numbers: dict[str, Any], figures: dict[str, dict[str, bytes]]) -> str:
    """Write the page of the set called `name`, its figures embedded as SVG."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>{escape(name)}: statistics</title><style>{_STYLE}</style>",
        f"<h1>{escape(name)}</h1>",
        _table([(key.replace("_", " "), value) for key, value in numbers["set"].items()]),
    ]
    if numbers["failed"]:
        parts.append(f"<p>{len(numbers['failed'])} songs could not be read.</p>")
    for key, forms in figures.items():
        data = base64.b64encode(forms["svg"]).decode("ascii")
        title = escape(_TITLES[key])
        parts.append(f"<h2>{title}</h2>")
        parts.append(f'<img alt="{title}" src="data:image/svg+xml;base64,{data}">')
        if key == "table5_genres":
            parts.append(_table([(row["genre"], row["songs"]) for row in numbers["genres"]]))
    return "\n".join(parts) + "\n</html>\n"


def _table(rows: list[tuple[str, Any]]) -> str:
    cells = "".join(
        f"<tr><td>{escape(str(name))}</td><td>{escape(f'{value:,}')}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"
