"""songs.csv, songs.parquet and failed.csv: written row by row, in the order of the songs."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vmusprod.files import atomic_output

__all__ = ["COLUMNS", "Tables", "open_tables", "printable"]

# fmt: off
COLUMNS: dict[str, type] = {
    "path": str, "folder": str, "key": str, "tempo": float, "time_signature": str,
    "duration": float, "first_onset": float, "notes": int, "melody_notes": int,
    "accompaniment_notes": int, "beats": int, "bars": int, "chords": int, "lowest_pitch": int,
    "highest_pitch": int, "tracks": int, "melody_from": str, "chords_from": str, "beats_from": str,
    "beat_fit": float, "windows": int, "windows_that_fit": int, "mean_moved_ms": float,
    "most_moved_ms": float,
}
# fmt: on
_BATCH = 5000  # rows of a Parquet row group


def printable(name: str | os.PathLike[str]) -> str:
    """A file name as text: bytes that are no UTF-8 as a backslash, x and two digits."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


class Tables:
    """Takes songs and failures; see `open_tables`."""

    def __init__(self, songs: Any, failed: Any, parquet: _Parquet, metadata: Sequence[str]) -> None:
        self._columns = [*COLUMNS, *metadata]
        self._metadata = metadata
        self._songs = csv.writer(songs, lineterminator="\n")
        self._failed = csv.writer(failed, lineterminator="\n")
        self._parquet = parquet
        self._songs.writerow(self._columns)
        self._failed.writerow(["path", "reason"])

    def add(self, facts: Mapping[str, Any]) -> None:
        """A song, by what its annotation.json says."""
        extra = facts.get("metadata", {})
        row = [facts.get(name) for name in COLUMNS]
        row += [extra.get(name) for name in self._metadata]
        self._songs.writerow(["" if value is None else value for value in row])
        self._parquet.add(row)

    def fail(self, path: str, reason: str) -> None:
        """A file that is not annotated, and why."""
        self._failed.writerow([path, reason])


class _Parquet:
    """Rows into a Parquet file, some thousand at a time."""

    def __init__(self, path: Path, metadata: Sequence[str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
        fields = [pa.field(name, kinds[kind]) for name, kind in COLUMNS.items()]
        fields += [pa.field(name, pa.string()) for name in metadata]
        self._schema = pa.schema(fields)
        self._writer = pq.ParquetWriter(path, self._schema)
        self._rows: list[list[Any]] = []
        self._pa = pa

    def add(self, row: list[Any]) -> None:
        self._rows.append(row)
        if len(self._rows) == _BATCH:
            self.flush()

    def flush(self) -> None:
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [
            self._column(values, field.type)
            for values, field in zip(columns, self._schema, strict=True)
        ]
        self._writer.write_table(self._pa.Table.from_arrays(arrays, schema=self._schema))
        self._rows.clear()

    def _column(self, values: Sequence[Any], kind: Any) -> Any:
        """An Arrow array from its buffers: `pyarrow.array` takes time to import pandas."""
        buffer = self._pa.py_buffer
        known = np.array([value is not None for value in values])
        mask = None if known.all() else buffer(np.packbits(known, bitorder="little"))
        if kind == self._pa.string():
            texts = [(value or "").encode("utf-8", "replace") for value in values]
            ends = np.cumsum([0, *map(len, texts)], dtype=np.int32)
            buffers = [mask, buffer(ends), buffer(b"".join(texts))]
        else:
            numbers = np.array([value or 0 for value in values])
            buffers = [mask, buffer(numbers.astype(kind.to_pandas_dtype(), casting="safe"))]
        return self._pa.Array.from_buffers(kind, len(values), buffers)

    def close(self) -> None:
        self._writer.close()


@contextmanager
def open_tables(out: Path, metadata: Sequence[str]) -> Iterator[Tables]:
    """Open the three tables of an output folder; they appear when the block ends well.

    `metadata`: further columns. Raises OutputError where they cannot be written.
    """
    for leftover in out.glob(".vmus-*"):  # of a run that was killed
        if leftover.suffix in (".csv", ".parquet"):
            leftover.unlink(missing_ok=True)
    with ExitStack() as stack:
        paths = [
            stack.enter_context(atomic_output(out / name))
            for name in ("songs.csv", "failed.csv", "songs.parquet")
        ]
        texts = [
            stack.enter_context(path.open("w", newline="", encoding="utf-8", errors="replace"))
            for path in paths[:2]
        ]
        parquet = _Parquet(paths[2], metadata)
        stack.callback(parquet.close)
        yield Tables(texts[0], texts[1], parquet, metadata)
        parquet.flush()
