"""Tables that users bring: any of the usual separators, any of the usual encodings."""

from __future__ import annotations

import csv
from pathlib import Path

from vmusprod.errors import InputError

__all__ = ["read_table"]


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a table with a header, commas, semicolons or tabs between the cells.

    Raises InputError: unreadable, no header, a column named twice.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(path, error) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin-1")
    header = text.partition("\n")[0]
    delimiter = max("\t;,", key=header.count)
    try:
        lines = list(csv.reader(text.splitlines(), delimiter=delimiter))
    except csv.Error as error:
        raise InputError(path, f"not a table ({error})") from error
    columns = [name.strip() for name in lines[0]] if lines else []
    if not columns or len(set(columns)) < len(columns) or "" in columns:
        raise InputError(path, "not a table: its first line must name the columns, each once")
    rows = [dict(zip(columns, line, strict=False)) for line in lines[1:] if line]
    return columns, rows
