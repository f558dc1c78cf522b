"""Names of chords, as data sets and people write them, as SymMV's 12 roots x 10 qualities.

Basses and extensions are dropped, a sixth keeps its triad, a ninth is a seventh, a half-diminished
seventh a diminished triad, a minor triad with a major seventh a minor one.
"""

from __future__ import annotations

import re

from vmusprod.music import tokens as tk

__all__ = ["chord_id"]

_ROOTS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_NO_CHORD_NAMES = ("N", "X", "NC", "N.C.")
_QUALITY = {name: index for index, name in enumerate(tk.QUALITIES)}

_NAME = re.compile(r"([A-G])([#b♯♭]*):?(.*)")
_BASS = re.compile(r"/(?:[A-G][#b♯♭]*|[#b]*(?:[1-9]|1[0-3]))$")
_MINOR = ("minor", "min", "mi", "m", "-")
_SYMBOLS = {"ø": "hdim", "°": "dim", "Δ": "maj7", "^": "maj7", "77": "7", "♯": "#", "♭": "b"}
_SUFFIX = re.compile(
    r"(?P<kind>hdim|dim|o|aug|\+|minor|min|mi|m|-|)"
    r"(?P<major>major|maj|Maj|ma|M|j|)"
    r"(?P<number>13|11|9|7|6/?9|[12456]|)"
    r"(?P<sus>sus[24]?|)"
    r"(?P<changes>(?:(?:add|omit|no|maj|[b#+*-]+)1?[0-9]|alt)*)"
)


def chord_id(name: str) -> int:
    """Return 0..119 (root * 10 + quality, SymMV's order) of a chord's name, 120 for no chord.

    Understands mir_eval's labels (`A:min7/b3`, `N`), SymMV's (`F#m7`, `Bo7`) and lead-sheet
    symbols (`G/B`, `Bbmaj7`, `Dm7b5`, `Csus4`, `N.C.`). Raises ValueError on what is none.
    """
    if name in _NO_CHORD_NAMES:
        return tk.NO_CHORD
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"unknown chord {name[:24]!r}")
    shift = sum(1 if sign in "#♯" else -1 for sign in match[2])
    root = _ROOTS[match[1]] + shift
    quality = _quality(match[3])
    if quality is None:
        raise ValueError(f"unknown chord {name[:24]!r}")
    return root % 12 * 10 + _QUALITY[quality]


def _quality(suffix: str) -> str | None:
    """Return SymMV's name of what follows a root, None when it is no quality."""
    if suffix not in ("69", "6/9"):
        suffix = _BASS.sub("", suffix)
    for symbol, plain in _SYMBOLS.items():
        suffix = suffix.replace(symbol, plain)
    # Notes in brackets are added ones: `maj(9)` has no seventh.
    suffix = re.sub(r"[(,](?=\d)", "add", suffix)
    match = _SUFFIX.fullmatch(re.sub(r"[(),]", "", suffix))
    if match is None:
        return None
    kind, number, changes = match["kind"], match["number"], match["changes"]
    seventh = number in ("7", "9", "11", "13") or "alt" in changes
    if match["sus"] or number in ("2", "4"):
        return "sus2" if "2" in (match["sus"][3:], number) else "sus4"
    if kind == "hdim" or (kind in _MINOR and "b5" in changes):
        return "o"
    if kind in ("dim", "o"):
        return "o7" if number == "7" and not match["major"] else "o"
    if kind in ("aug", "+"):
        return "+"
    if kind in _MINOR:
        return "m7" if seventh and not match["major"] else "m"
    if seventh:
        return "M7" if match["major"] else "7"
    return "+" if re.search(r"[#+]5", changes) else "M"
