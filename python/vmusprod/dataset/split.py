"""Seeded splits of a set into train, val and test, as the paper's 1000/70/70.

Entries of one video, and near-duplicates, stay together.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vmusprod.dataset.fingerprint import fingerprint, groups_of, near_duplicates
from vmusprod.dataset.layout import Entry, find_entries, kind_of, read_facts_of, read_notes
from vmusprod.dataset.table import read_table
from vmusprod.errors import InputError
from vmusprod.jobs import OptionError

__all__ = ["DEFAULT_SIZES", "PARTS", "SplitRow", "split_items", "split_set"]

PARTS = ("train", "val", "test")
DEFAULT_SIZES = (1000, 70, 70)
_NAMES = ("path", "file", "filename", "midi", "music", "song", "id", "index", "name")
_VIDEOS = ("video", "youtube_url", "youtube_id", "video_url", "video_id", "url")


@dataclass(frozen=True)
class SplitRow:
    """An entry, its part, and the first entry of those it must stay with."""

    name: str
    part: str
    group: str


def split_set(
    source: Path,
    *,
    sizes: tuple[int, int, int] = DEFAULT_SIZES,
    seed: int = 0,
    group: str | None = None,
    midi: Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> list[SplitRow]:
    """Split the entries of a folder or of a table's rows.

    Parameters
    ----------
    source : Path
        A folder as `dataset check` takes it, or a table with a column that names the song.
    sizes : (int, int, int)
        Entries in train, val and test; where there is another number of them, in proportion.
    seed : int
        The same entries and seed give the same split.
    group : str, optional
        Column of the table, or of an annotated set's metadata, whose equal values stay together:
        the video. If not given, the first of `video`, `youtube_url`, ... that is there.
    midi : Path, optional
        Of a table: where the songs are, as in a folder; near-duplicates are found in them.

    Raises
    ------
    InputError
        Nothing to split, an unusable table, a column that is not there.
    OptionError
        Sizes that mean nothing.
    """
    if min(sizes) < 0 or not sum(sizes):
        raise OptionError(f"sizes {sizes}: none may be negative, nor all 0")
    names, videos, entries = _items(source, group, midi)
    doubles = _doubles(names, entries, progress)
    return split_items(names, videos, doubles, sizes, seed)


def split_items(
    names: Sequence[str],
    videos: Sequence[str],
    doubles: Sequence[tuple[int, int]],
    sizes: tuple[int, int, int] = DEFAULT_SIZES,
    seed: int = 0,
) -> list[SplitRow]:
    """Split entries; `videos`: equal ones stay together, but for empty ones, as do `doubles`.

    Groups are dealt in random order: to test and val while they fit, else to train. So val and test
    are exact unless a group is large.
    """
    pairs = list(doubles)
    first: dict[str, int] = {}
    for k, video in enumerate(videos):
        if video:
            pairs.append((first.setdefault(video, k), k))
    group = groups_of(len(names), pairs)
    members: dict[int, list[int]] = defaultdict(list)
    for k, own in enumerate(group.tolist()):
        members[own].append(k)
    # By name, so that the order of rows does not matter.
    order = sorted(members, key=lambda own: min(names[k] for k in members[own]))
    random.Random(seed).shuffle(order)
    room = dict(zip(PARTS, _exact(len(names), sizes), strict=True))
    part_of: dict[int, str] = {}
    for own in order:
        size = len(members[own])
        part = next((p for p in ("test", "val") if size <= room[p]), "train")
        room[part] -= size
        part_of[own] = part
    owners = zip(names, group.tolist(), strict=True)
    return [SplitRow(name, part_of[own], names[own]) for name, own in owners]


def _exact(count: int, sizes: tuple[int, int, int]) -> tuple[int, int, int]:
    """The sizes in proportion, val and test rounded, train the rest."""
    total = sum(sizes)
    val, test = (int(count * size / total + 0.5) for size in sizes[1:])
    return max(count - val - test, 0), val, test


def _items(
    source: Path, group: str | None, midi: Path | None
) -> tuple[list[str], list[str], list[Entry | None]]:
    """Names, videos ('' where unknown), and where the notes are."""
    if not source.is_dir():
        return _table_items(source, group, midi)
    entries = find_entries(source)
    names = [entry.name for entry in entries]
    if kind_of(source) == "annotated":
        facts = [read_facts_of(entry).get("metadata", {}) for entry in entries]
        columns = sorted({name for row in facts for name in row})
        column = _column(source, columns, group, _VIDEOS)
        videos = [str(row.get(column, "")) if column else "" for row in facts]
        return names, videos, list(entries)
    tables = sorted(source.glob("*.csv")) if kind_of(source) == "symmv" else []
    if not tables and group is not None:
        raise InputError(source, f"no table in it, so no column {group}")
    known: dict[str, str] = {}
    for path in tables[:1]:
        row_names, row_videos, _ = _table_items(path, group, None)
        known = dict(zip((Path(name).stem for name in row_names), row_videos, strict=True))
    return names, [known.get(Path(name).stem, "") for name in names], list(entries)


def _table_items(
    path: Path, group: str | None, midi: Path | None
) -> tuple[list[str], list[str], list[Entry | None]]:
    columns, rows = read_table(path)
    key = _column(path, columns, None, _NAMES)
    if key is None:
        raise InputError(path, f"no column that names the song ({', '.join(_NAMES)})")
    column = _column(path, columns, group, _VIDEOS)
    names = [row.get(key, "").strip() for row in rows]
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled or "" in names or not names:
        told = f"{doubled[0]!r} stands in several rows" if doubled else "rows without a name"
        raise InputError(path, f"column {key}: {told if names else 'no rows'}")
    videos = [row.get(column, "").strip() if column else "" for row in rows]
    there: dict[str, Entry] = {}
    if midi is not None:
        for entry in find_entries(midi):
            for name in (Path(entry.name).stem, entry.name):
                there[name] = entry
    return names, videos, [there.get(name) or there.get(Path(name).stem) for name in names]


def _column(
    path: Path, columns: Sequence[str], asked: str | None, usual: Sequence[str]
) -> str | None:
    if asked is not None:
        if asked not in columns:
            raise InputError(path, f"no column {asked} (there are: {', '.join(columns)})")
        return asked
    return next((name for want in usual for name in columns if name.lower() == want), None)


def _doubles(
    names: Sequence[str],
    entries: Sequence[Entry | None],
    progress: Callable[[str, float], None] | None,
) -> list[tuple[int, int]]:
    prints = []
    for number, (name, entry) in enumerate(zip(names, entries, strict=True)):
        if progress is not None:
            progress(name, number / len(names))
        try:
            if entry is None:
                raise InputError(name, "no notes")
            prints.append(fingerprint(read_notes(entry)))
        except InputError:  # what cannot be read has no double that one could know of
            prints.append(np.zeros(0, np.uint64))
    return [(a, b) for a, b, _ in near_duplicates(prints)]
