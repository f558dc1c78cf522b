"""The paper's collection (section 3.1, A.1) on a table of pairs: video, cover, official audio.

For each row: fetch what is a URL (only if told to), transcribe the cover, hold it against the
official recording and the video against the rules. Each row has a folder of its own, whose
`entry.json` is written last, so that a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from vmusprod.convert import make_folder
from vmusprod.dataset.audio import check_models
from vmusprod.dataset.collect_entry import FIGURES, Entry, Options, collect_entry
from vmusprod.dataset.metadata import write_table
from vmusprod.dataset.table import read_table
from vmusprod.errors import InputError, VmusError

__all__ = ["Collection", "collect", "plan_entries"]

COLUMNS = ("id", "status", "reason", "video", "piano", "official", "midi", *FIGURES)
"""Of pairs.csv; the table's other columns follow."""

_ROLES = {
    "video": ("video", "video_url", "youtube_url"),
    "piano": ("piano", "piano_audio", "piano_url", "cover"),
    "official": ("official", "official_audio", "official_url", "audio"),
}
_IDS = ("id", "index")

Progress = Callable[[str, float], None]
Row = dict[str, str]


@dataclass
class Collection:
    """How a collection came out: rows by status, and the errors of the failed ones."""

    rows: list[Row] = field(default_factory=list)
    errors: list[VmusError] = field(default_factory=list)

    def count(self, status: str) -> int:
        """How many rows are `kept`, `rejected` or `failed`."""
        return sum(row["status"] == status for row in self.rows)


def plan_entries(table: Path) -> list[Entry]:
    """Read the table of pairs: an entry a row, named by its column id, else by its number.

    Columns: `video` (or `youtube_url`), `piano`, `official` (empty: the video's own sound), files
    relative to the table's folder, or URLs; any others are kept as they are. Raises InputError: an
    unusable table, no column for video or piano, an id that is none or there twice.
    """
    columns, rows = read_table(table)
    lower = {name.lower(): name for name in columns}
    role = {
        kind: next((lower[name] for name in names if name in lower), None)
        for kind, names in _ROLES.items()
    }
    if role["piano"] is None or role["video"] is None:
        raise InputError(table, "needs the columns video and piano (and official, if there is)")
    id_column = next((lower[name] for name in _IDS if name in lower), None)
    used = {*role.values(), id_column}
    entries: list[Entry] = []
    seen: set[str] = set()
    for number, row in enumerate(rows, 1):
        name = row.get(id_column or "", "").strip() or f"{number:05d}"
        if not re.fullmatch(r"[\w.-]{1,100}", name) or name.startswith("."):
            raise InputError(table, f"row {number}: {name[:40]!r} cannot name a folder")
        # Some systems take names that differ in case for the same.
        if name.casefold() in seen:
            raise InputError(table, f"row {number}: the id {name} is there twice")
        seen.add(name.casefold())
        source = {kind: row.get(column or "", "").strip() for kind, column in role.items()}
        about = {key: value for key, value in row.items() if key not in used and key not in COLUMNS}
        entries.append(Entry(name, table.parent, source, about))
    if not entries:
        raise InputError(table, "no rows in it")
    return entries


def collect(
    table: Path,
    out: Path,
    options: Options,
    progress: Progress | None = None,
    done: Callable[[Row], None] | None = None,
) -> Collection:
    """Collect all rows of a table into `out`, row by row; write `out`/pairs.csv.

    `out`/midi holds the kept pieces (ID.mid, in seconds at a nominal 120 bpm, as SymMV's),
    `out`/entries/ID beats.txt, entry.json and what was downloaded. `done` is told each row of
    pairs.csv. A row that fails does not stop the others; what is done already is not done again,
    unless it or the options changed.

    Raises InputError for an unusable table, OutputError, MissingDependencyError.
    """
    entries = plan_entries(table)
    check_models(options.transcriber, options.beats)
    if options.download:
        from vmusprod.dataset.download import check_downloads

        check_downloads()
    make_folder(out)
    result = Collection()
    others = list(dict.fromkeys(name for entry in entries for name in entry.about))
    for row, error in _rows(entries, out, options, progress or _ignore):
        result.rows.append(row)
        if error is not None:
            result.errors.append(error)
        if done is not None:
            done(row)
    write_table(out / "pairs.csv", [*COLUMNS, *others], result.rows)
    return result


def _rows(
    entries: list[Entry], out: Path, options: Options, progress: Progress
) -> Iterator[tuple[Row, VmusError | None]]:
    for number, entry in enumerate(entries):
        start = number / len(entries)

        def tell(what: str, share: float, entry: Entry = entry, start: float = start) -> None:
            progress(f"{entry.id}: {what}", start + share / len(entries))

        about = {"id": entry.id, **entry.source, **entry.about}
        try:
            facts = collect_entry(entry, out, options, tell)
        except InputError as error:
            yield {**about, "status": "failed", "reason": str(error)}, error
            continue
        yield {**about, **facts}, None


def _ignore(what: str, done: float) -> None:
    del what, done
