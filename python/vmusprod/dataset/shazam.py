"""Genre, artist and lyrics of songs from Shazam (paper, section A.1), by ShazamIO.

Nothing here runs unless a user asks for it: it sends fingerprints of sound, or track numbers, to
a server. The answers of one song never stop the others.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from vmusprod.errors import InputError, MissingDependencyError

__all__ = ["FIELDS", "ask_shazam", "fields_of_track"]

FIELDS = ("title", "artist", "genre", "lyrics", "shazam_id")

_PAUSE_SECONDS = 1.0  # between two questions, as a courtesy
_TIMEOUT_SECONDS = 60.0
_MAX_TEXT = 20_000

Question = Path | int
Answer = dict[str, str] | InputError


def ask_shazam(
    questions: Sequence[Question],
    answered: Callable[[int, Answer], None],
    pause: float = _PAUSE_SECONDS,
) -> None:
    """Ask for every recording (a path) or track number (an int), one after another.

    `answered` is told the index and FIELDS (absent ones empty), or the error of that one: not
    recognised, no connection, refused. Raises MissingDependencyError.
    """
    module = _load()

    async def run() -> None:
        shazam = module.Shazam()
        try:
            for index, question in enumerate(questions):
                if index:
                    await asyncio.sleep(pause)
                answered(index, await _ask(shazam, question))
        finally:
            close = getattr(shazam, "close", None)  # older versions hold nothing open
            if close is not None:
                await close()

    asyncio.run(run())


def fields_of_track(track: Any) -> dict[str, str]:
    """FIELDS of what Shazam says of a track; what is not there, or no text, is empty."""
    if not isinstance(track, dict):
        track = {}
    genres = track.get("genres")
    lyrics = ""
    sections = track.get("sections")
    for section in sections if isinstance(sections, list) else []:
        if isinstance(section, dict) and section.get("type") == "LYRICS":
            lines = section.get("text")
            lyrics = "\n".join(map(str, lines)) if isinstance(lines, list) else ""
    return {
        "title": _text(track.get("title")),
        "artist": _text(track.get("subtitle")),
        "genre": _text(genres.get("primary") if isinstance(genres, dict) else None),
        "lyrics": _text(lyrics),
        "shazam_id": _text(track.get("key")),
    }


def _load() -> ModuleType:
    try:
        return importlib.import_module("shazamio")
    except ImportError as error:
        raise MissingDependencyError(
            "asking Shazam needs ShazamIO: pip install 'vmusprod[shazam]'"
        ) from error


async def _ask(shazam: Any, question: Question) -> Answer:
    name = str(question)
    try:
        if isinstance(question, int):
            call = shazam.track_about(track_id=question)
            track = await asyncio.wait_for(call, _TIMEOUT_SECONDS)
        else:
            call = shazam.recognize(str(question))
            found = await asyncio.wait_for(call, _TIMEOUT_SECONDS)
            track = found.get("track") if isinstance(found, dict) else None
    except TimeoutError:
        return InputError(name, "Shazam does not answer")
    # aiohttp, the recogniser in Rust and the package itself each have errors of their own.
    except Exception as error:
        return InputError(name, f"Shazam: {str(error)[:120] or type(error).__name__}")
    if not isinstance(track, dict) or not track:
        return InputError(name, "Shazam does not know it")
    return fields_of_track(track)


def _text(value: Any) -> str:
    return str(value)[:_MAX_TEXT] if isinstance(value, str | int) else ""
