"""Genre, artist, lyrics and what else a table knows of songs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vmusprod.annotation.tables import COLUMNS, printable
from vmusprod.dataset.table import read_table
from vmusprod.errors import InputError

__all__ = ["Metadata", "load_metadata"]

_KEYS = ("path", "file", "filename", "midi", "music", "song", "id", "index", "name")


class Metadata:
    """Rows of a table, found by a song's path, file name or name without suffix.

    `columns`: the table's, without the one that names the song; one that is called as a column of
    songs.csv is has `table_` before it.
    """

    def __init__(self, columns: list[str], rows: dict[str, dict[str, str]]) -> None:
        self.columns = columns
        self._rows = rows

    def of(self, path: str) -> dict[str, str]:
        """What the table says of the song at a path below the annotated folder."""
        for name in _names(printable(path)):
            if name in self._rows:
                return self._rows[name]
        return {}


def _names(path: str) -> Iterator[str]:
    pure = PurePosixPath(path)
    yield path
    yield str(pure.with_suffix("")) if pure.name else path
    yield pure.name
    yield pure.stem


def load_metadata(path: Path | None) -> Metadata:
    """Read a table, its first column of a name such as `file`, `id`, `index` naming the song.

    Raises InputError: unreadable, no such column.
    """
    if path is None:
        return Metadata([], {})
    columns, table = read_table(path)
    key = next((name for name in columns if name.lower() in _KEYS), None)
    if key is None:
        raise InputError(path, f"no column that names the song ({', '.join(_KEYS)})")
    named = {name: f"table_{name}" if name in COLUMNS else name for name in columns if name != key}
    rows: dict[str, dict[str, str]] = {}
    for row in table:
        about = {new: row[old] for old, new in named.items() if row.get(old)}
        rows.setdefault(row.get(key, "").strip().replace("\\", "/").removeprefix("./"), about)
    rows.pop("", None)
    return Metadata(list(named.values()), rows)
