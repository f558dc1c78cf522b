"""Genre, artist and lyrics for the rows of a table, by Shazam."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from vmusprod.dataset.shazam import FIELDS, Answer, ask_shazam
from vmusprod.dataset.table import read_table
from vmusprod.errors import InputError
from vmusprod.files import atomic_output

__all__ = ["complete_table", "write_table"]

# Where a row says what to ask for: a track's number, or else a recording.
_NUMBER = "shazam_id"
_RECORDINGS = ("official", "audio", "video", "file", "path")
_NAMES = ("id", "index", "name", *_RECORDINGS)
_SAVED_EVERY = 25

Progress = Callable[[str, float], None]
Row = dict[str, str]


def complete_table(
    table: Path, out: Path, progress: Progress | None = None, pause: float = 1.0
) -> tuple[int, list[InputError]]:
    """Add title, artist, genre and lyrics to a table whose rows name a track or a recording.

    A row is asked for by its `shazam_id`, else by the file in its column official, audio, video,
    file or path (relative to the table's folder). Cells that are filled stay. Rows that `out`
    already has an answer for are not asked again, and answers are saved now and then: what was
    interrupted goes on.

    Returns how many rows have a genre, and the errors of those that could not be asked for.
    Raises InputError for an unusable table, OutputError, MissingDependencyError.
    """
    columns, rows = read_table(table)
    if not {_NUMBER, *_RECORDINGS} & set(columns):
        raise InputError(table, f"no column {_NUMBER}, {', '.join(_RECORDINGS)}")
    columns = [*columns, *(name for name in FIELDS if name not in columns)]
    _fill_from(out, rows)
    open_rows = [row for row in rows if not (row.get("genre") or row.get("title"))]
    errors: list[InputError] = []
    asked: list[Row] = []
    questions: list[Path | int] = []
    for row in open_rows:
        question = _question(row, table)
        if isinstance(question, InputError):
            errors.append(question)
        else:
            asked.append(row)
            questions.append(question)

    def answered(index: int, answer: Answer) -> None:
        if isinstance(answer, InputError):
            errors.append(InputError(_name(asked[index]), answer.cause))
        else:
            _fill(asked[index], answer)
        if progress is not None:
            progress(_name(asked[index]), (index + 1) / len(asked))
        if (index + 1) % _SAVED_EVERY == 0:
            write_table(out, columns, rows)

    try:
        if questions:
            ask_shazam(questions, answered, pause)
    finally:
        write_table(out, columns, rows)
    return sum(bool(row.get("genre")) for row in rows), errors


def write_table(out: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> None:
    """Write a table as CSV (UTF-8), whole or not at all. Raises OutputError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(name, "") for name in columns] for row in rows)
    with atomic_output(out) as part:
        part.write_text(text.getvalue(), encoding="utf-8", errors="replace")


def _question(row: Row, table: Path) -> Path | int | InputError:
    number = row.get(_NUMBER, "").strip()
    if number.isascii() and number.isdigit() and len(number) < 19:
        return int(number)
    for column in _RECORDINGS:
        name = row.get(column, "").strip()
        if name and "://" not in name:
            path = table.parent / name
            return path if path.is_file() else InputError(path, "no such file")
    return InputError(_name(row), "neither a shazam_id nor a file to ask for")


def _fill(row: Row, answer: Mapping[str, str]) -> None:
    for name, value in answer.items():
        if value and not row.get(name):
            row[name] = value


def _fill_from(out: Path, rows: list[Row]) -> None:
    """Take over what an earlier run has found out."""
    if not out.is_file():
        return
    _, earlier = read_table(out)
    known = {_name(row): row for row in earlier}
    for row in rows:
        found = known.get(_name(row), {})
        _fill(row, {name: found.get(name, "") for name in FIELDS})


def _name(row: Mapping[str, str]) -> str:
    return next((row[name] for name in _NAMES if row.get(name)), row.get(_NUMBER, "a row"))
