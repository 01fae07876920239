"""Rows of a scan: JSON Lines, CSV and Parquet in and out, streamed; also one JSON document in, which is read whole."""

import csv
import gzip
import itertools
import lzma
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from guard.errors import DatasetError

__all__ = ["BadRow", "batched", "count_rows", "kind_of", "read_rows", "write_rows"]

T = TypeVar("T")
Row = dict[str, Any]
SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.xz", ".csv", ".parquet")
WHOLE = ".json"
"""Of a file that is read where it is named; in a folder it is as likely a report, and no result is written so."""
COMPRESSED = (".gz", ".xz")
PARQUET_BATCH = 1_024


class BadRow(msgspec.Struct, frozen=True):
    """A line that is no row: kept in its place, with what is wrong."""

    line: int
    message: str
    fields: dict[str, Any] = {}


def kind_of(path: Path) -> str:
    """The file's format by its suffix; raises DatasetError for another."""
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise DatasetError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    return "jsonl" if name.endswith((".jsonl", ".ndjson", *COMPRESSED)) else path.suffix.lower()[1:]


def _source_kind(path: Path) -> str:
    """As `kind_of`, for a file that is read."""
    return "json" if path.suffix.lower() == WHOLE else kind_of(path)


def _opened(path: Path) -> gzip.GzipFile | lzma.LZMAFile | BufferedReader:
    match path.suffix.lower():
        case ".gz":
            return gzip.open(path)
        case ".xz":
            return lzma.open(path)
    return path.open("rb")


def count_rows(path: Path) -> int | None:
    """How many rows a file has, for the progress bar; None where counting would mean reading it all twice."""
    match _source_kind(path):
        case "jsonl":
            if path.suffix.lower() in COMPRESSED:
                return None
            with path.open("rb") as file:
                return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        case "parquet":
            count: int = _parquet_file(path).metadata.num_rows
            return count
    return None


def read_rows(path: Path) -> Iterator[Row | BadRow]:
    """The rows of a file in order. Blank lines of JSON Lines are no rows; a JSON document is a list of rows, or an
    object of such lists.

    Raises:
        DatasetError: the file cannot be read at all.
    """
    kind = _source_kind(path)
    try:
        if kind == "jsonl":
            yield from _jsonl(path)
        elif kind == "json":
            yield from _json(path)
        elif kind == "csv":
            yield from _csv(path)
        else:
            yield from _parquet(path)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, csv.Error) as exc:
        raise DatasetError(f"{path} cannot be read: {exc}") from exc


def _parquet(path: Path) -> Iterator[Row]:
    for batch in _parquet_file(path).iter_batches(PARQUET_BATCH):
        yield from batch.to_pylist()


def _parquet_file(path: Path) -> Any:
    parquet, arrow = _pyarrow_parquet(), _pyarrow()
    try:
        return parquet.ParquetFile(path)
    except arrow.ArrowException as exc:
        raise DatasetError(f"{path} is no Parquet file: {exc}") from exc


def _jsonl(path: Path) -> Iterator[Row | BadRow]:
    decoder = msgspec.json.Decoder()
    with _opened(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as exc:
                yield BadRow(number, f"line {number} is no valid JSON: {exc}")
                continue
            yield row if isinstance(row, dict) else BadRow(number, f"line {number} is no JSON object")


def _json(path: Path) -> Iterator[Row | BadRow]:
    try:
        document = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise DatasetError(f"{path} is no valid JSON: {exc}") from exc
    lists = list(document.values()) if isinstance(document, dict) else [document]
    if not all(isinstance(rows, list) for rows in lists):
        raise DatasetError(f"{path}: expected a list of rows, or an object of such lists")
    for number, row in enumerate(itertools.chain.from_iterable(lists), 1):
        yield row if isinstance(row, dict) else BadRow(0, f"row {number} is no JSON object")


def _csv(path: Path) -> Iterator[Row | BadRow]:
    # Fields longer than 128 KiB are texts like any other.
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            extra = row.pop(None, None)
            if extra is not None:
                yield BadRow(0, "the row has more fields than the header", dict(row))
            else:
                yield dict(row)


def write_rows(rows: Callable[[], Iterable[Row]], path: Path) -> None:
    """Writes finished rows as CSV or Parquet; values that are no plain text become JSON.

    `rows` is called twice: the columns are the union of all rows' keys, in the order in which they
    first appear. A Parquet column whose values are all numbers or all booleans keeps that type.
    """
    columns = _columns(rows())
    if kind_of(path) == "csv":
        _write_csv(rows(), list(columns), path)
    else:
        _write_parquet(rows(), columns, path)


def _columns(rows: Iterable[Row]) -> dict[str, type]:
    """Each column's type: int, float or bool where every value is one, else str."""
    columns: dict[str, type] = {}
    for row in rows:
        for key, value in row.items():
            kind = type(value) if type(value) in (int, float, bool) else str
            if key not in columns:
                columns[key] = kind if value is not None else type(None)
            elif value is not None and columns[key] is not kind:
                both = {columns[key], kind}
                columns[key] = kind if type(None) in both else float if both == {int, float} else str
    return columns


def _write_csv(rows: Iterable[Row], columns: list[str], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _flat(value) for key, value in row.items()})


def _write_parquet(rows: Iterable[Row], columns: dict[str, type], path: Path) -> None:
    parquet, arrow = _pyarrow_parquet(), _pyarrow()
    kinds = {int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    schema = arrow.schema([(name, kinds.get(kind, arrow.string())) for name, kind in columns.items()])
    with parquet.ParquetWriter(path, schema) as writer:
        for batch in batched(rows, PARQUET_BATCH):
            table = {
                name: [row.get(name) if kind in kinds else _flat(row.get(name)) for row in batch]
                for name, kind in columns.items()
            }
            writer.write_table(arrow.table(table, schema=schema))


def batched(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """The rows in lists of `size`; the last may be shorter. (Python 3.11 has no itertools.batched.)"""
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


def _flat(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as exc:
        raise DatasetError("Parquet needs pyarrow: pip install 'guard-moderation[parquet]'") from exc
    return pyarrow


def _pyarrow_parquet() -> Any:
    _pyarrow()
    import pyarrow.parquet

    return pyarrow.parquet
