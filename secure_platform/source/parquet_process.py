"""The process that reads a Parquet file: nothing is decoded before the footer's promises are bounded.

A few bytes of Parquet can promise any number of rows, and a page header can promise any size. So the footer
is checked first: its length, its columns, that no column is nested or encrypted, and that what it promises is
in proportion to the file (`_check_promise`). Then rows come in small batches, counted again as they are, and
what no footer tells (a dictionary of long values, a lying page) meets the memory limit of this process.

Every value becomes the text that a CSV export would hold, spelled as `validate/casts.py` reads it: the
contract decides what it is. A text that is not UTF-8 or holds a NUL makes its row malformed. Who only
searches asks for `anything`: nested values become JSON then, and what CSV has no spelling for is spelled as
Python does.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from secure_platform.confined import serve
from secure_platform.errors import DataRefusedError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_ -]{0,62}")
"""Names that may stand in an error; this process imports no contracts."""
ROW: Final = "row"
RULE: Final = "rule"
RECORD: Final = "record"
COLUMN_LIMIT: Final = 10_000
ROW_GROUP_LIMIT: Final = 100_000
FOOTER_LIMIT: Final = 64 << 20
THRIFT_ITEMS: Final = 1_000_000
BATCH_ROWS: Final = 16_384
BATCH_BYTES: Final = 16 << 20
BATCH_LIMIT: Final = 128 << 20
ALWAYS_ALLOWED: Final = 512 << 20
"""Decoded bytes that any file may hold, however small it is."""
RATIO: Final = 200
"""Decoded bytes for each stored byte beyond that; honest tables stay below 50."""
CELL: Final = 16
"""Bytes that a text cell takes before its first character."""

_TYPES: Final = {
    "float": "float32",
    "double": "float64",
    "halffloat": "float16",
    "bool": "boolean",
    "large_string": "string",
    "string_view": "string",
    "date32[day]": "date",
}
_MAGIC: Final = b"PAR1"
_ENCRYPTED_MAGIC: Final = b"PARE"
_TAIL: Final = 8
_FIX: Final = "Copy it again if it was cut off, or export it anew."
_UTC: Final = (pa.scalar("Z", pa.large_string()), pa.scalar("", pa.large_string()))
_DAMAGED: Final = ("is not a whole Parquet file", _FIX)
_UNREADABLE: Final = ("has a type or an encoding that is not read", "Export it as text, or give it as CSV.")
_TOO_MUCH: Final = ("has rows that unpack to more than can be held", "Give it as CSV.")
_ENCRYPTED: Final = ("is encrypted Parquet", "Decrypt it first; its keys are not known here.")


class _RefusedError(Exception):
    """What is wrong with the file, as the rest of a sentence, and the fix."""


def answer(request: Mapping[str, Any]) -> Iterator[pa.Table]:
    """The file's column names, or its rows with their numbers, rules and records.

    Raises:
        DataRefusedError: If the file is no honest, flat, unencrypted Parquet file.
    """
    pa.set_cpu_count(1)
    try:
        with os.fdopen(request["descriptor"], "rb", closefd=False) as file:
            yield from _read(file, request["wanted"], anything=request["anything"])
    except MemoryError:
        what, fix = _TOO_MUCH
    except pa.ArrowNotImplementedError:
        what, fix = _UNREADABLE
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        what, fix = _ENCRYPTED if "crypt" in str(error) else _DAMAGED
    except _RefusedError as refused:
        what, fix = refused.args
    else:
        return
    raise DataRefusedError(f"The source file {request['name']!r} {what}", fix)


def _read(file: BinaryIO, wanted: str, *, anything: bool) -> Iterator[pa.Table]:
    size = _check_ends(file)
    parquet = pq.ParquetFile(
        file,
        buffer_size=1 << 20,
        thrift_string_size_limit=FOOTER_LIMIT,
        thrift_container_size_limit=THRIFT_ITEMS,
        page_checksum_verification=True,
    )
    width = _check_promise(parquet, size, anything=anything)
    if wanted == "rows":
        yield from _rows(parquet, size, width, anything=anything)
    else:
        flat = [parquet.schema.column(place).name for place in range(parquet.metadata.num_columns)]
        names = parquet.schema_arrow.names if anything else flat
        types = ["" if anything else _type_name(kind) for kind in parquet.schema_arrow.types]
        yield pa.table(
            {"name": pa.array(names, pa.large_string()), "type": pa.array(types, pa.large_string())}
        )


def _type_name(kind: pa.DataType) -> str:
    """As the columns of snapshots are called; what has another name keeps Arrow's."""
    if pa.types.is_dictionary(kind):
        return _type_name(kind.value_type)
    if pa.types.is_timestamp(kind):
        return f"datetime[{kind.unit},{'UTC' if kind.tz else ''}]"
    if pa.types.is_decimal(kind):
        return f"decimal[{kind.precision},{kind.scale}]"
    name = str(kind)
    return _TYPES.get(name, name)


def _check_ends(file: BinaryIO) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(len(_MAGIC))
    file.seek(max(0, size - _TAIL))
    tail = file.read()
    if _ENCRYPTED_MAGIC in (head, tail[4:]):
        raise _RefusedError(*_ENCRYPTED)
    footer = int.from_bytes(tail[:4], "little")
    if head != _MAGIC or tail[4:] != _MAGIC or size < 2 * len(_MAGIC) + _TAIL:
        raise _RefusedError(*_DAMAGED)
    if not 0 < footer <= min(size - len(_MAGIC) - _TAIL, FOOTER_LIMIT):
        raise _RefusedError("has a footer of an impossible length", _FIX)
    file.seek(0)
    return size


def _check_promise(parquet: pq.ParquetFile, size: int, *, anything: bool) -> int:
    """Hold the footer's promises against each other and the file; the mean bytes of a decoded row."""
    metadata = parquet.metadata
    if not 0 < metadata.num_columns <= COLUMN_LIMIT or metadata.num_row_groups > ROW_GROUP_LIMIT:
        raise _RefusedError(
            f"has {metadata.num_columns:,} columns in {metadata.num_row_groups:,} row groups",
            f"Give a file with 1 to {COLUMN_LIMIT:,} columns and at most {ROW_GROUP_LIMIT:,} row groups.",
        )
    nested = [_is_nested(parquet.schema.column(place)) for place in range(metadata.num_columns)]
    if any(nested) and not anything:
        raise _RefusedError(
            f"has a nested column {_named(parquet, nested.index(True))}",
            "Export flat columns, or JSON as text, and describe what is in it in the contract.",
        )
    rows = texts = 0
    for index in range(metadata.num_row_groups):
        group = metadata.row_group(index)
        rows += group.num_rows
        for place in range(group.num_columns):
            texts += _check_chunk(group.column(place), group.num_rows, size, nested=nested[place])
    if rows != metadata.num_rows or rows < 0:
        raise _RefusedError("does not have the rows that it promises", _FIX)
    _check_ratio(rows * (8 + CELL * metadata.num_columns) + texts, size)
    return int(8 + CELL * metadata.num_columns + texts // max(rows, 1))


def _named(parquet: pq.ParquetFile, place: int) -> str:
    """The place of a column, and the name above it if a contract could have it: others may be anything."""
    return _shown(parquet.schema.column(place).path.partition(".")[0], place)


def _shown(name: str, place: int) -> str:
    return f"{place + 1}, {name}" if _NAME.fullmatch(name) else f"{place + 1}"


def _is_nested(column: Any) -> bool:
    return bool(
        column.path != column.name or column.max_repetition_level > 0 or column.max_definition_level > 1
    )


def _check_chunk(chunk: Any, rows: int, size: int, *, nested: bool) -> int:
    """The bytes of a column chunk; none for types of a fixed width, if there is one value in each row."""
    stored, decoded = chunk.total_compressed_size, chunk.total_uncompressed_size
    begins = [offset for offset in (chunk.dictionary_page_offset, chunk.data_page_offset) if offset]
    begin = min(begins, default=0)
    more = chunk.num_values - rows
    if (more and not nested) or min(rows, stored, decoded) < 0 or not 0 < begin <= size - stored:
        raise _RefusedError("has a column that does not lie in it as promised", _FIX)
    texts = int(decoded) if chunk.physical_type in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY") else 0
    return texts + CELL * max(0, int(more))


def _check_ratio(decoded: int, size: int) -> None:
    if decoded > max(ALWAYS_ALLOWED, RATIO * size):
        raise _RefusedError(
            "unpacks to far more than its size allows",
            f"Give it as CSV; of Parquet, {ALWAYS_ALLOWED >> 20} MiB or {RATIO} times the file is read.",
        )


def _rows(parquet: pq.ParquetFile, size: int, width: int, *, anything: bool) -> Iterator[pa.Table]:
    decoded = row = 0
    count = max(1, min(BATCH_ROWS, BATCH_BYTES // width))
    for batch in parquet.iter_batches(batch_size=count, use_threads=False):
        decoded += batch.nbytes
        _check_ratio(decoded, size)
        if batch.nbytes > BATCH_LIMIT:
            raise _RefusedError(*_TOO_MUCH)
        yield _text_rows(batch, row, anything=anything)
        row += batch.num_rows
    if row != parquet.metadata.num_rows:
        raise _RefusedError("does not have the rows that it promises", _FIX)


def _text_rows(batch: pa.RecordBatch, before: int, *, anything: bool) -> pa.Table:
    named = [_shown(name, place) for place, name in enumerate(batch.schema.names)]
    columns = [
        _spelled(column, name) if anything else _plain(column, name)
        for name, column in zip(named, batch.columns, strict=True)
    ]
    rules = _rules(columns, batch.num_rows)
    good = pc.is_null(rules)
    records = pa.array(
        [None if rule is None else _record(columns, row) for row, rule in enumerate(rules.to_pylist())],
        pa.large_binary(),
    )
    texts = [pc.if_else(good, column, None).cast(pa.large_string()) for column in columns]
    numbers = pa.array(range(before + 1, before + batch.num_rows + 1), pa.uint64())
    names = [ROW, RULE, RECORD, *map(str, range(len(texts)))]
    return pa.table([numbers, rules, records, *texts], names=names)


def _spelled(column: pa.Array, named: str) -> pa.Array:
    """Values of any type as text."""
    try:
        return _plain(column, named)
    except (_RefusedError, pa.ArrowNotImplementedError, pa.ArrowInvalid):
        values = (None if value is None else _json(value) for value in column.to_pylist())
        return pa.array(values, pa.large_string())


def _json(value: Any) -> str:
    return (
        json.dumps(value, ensure_ascii=False, default=_foreign)
        if isinstance(value, list | dict)
        else _foreign(value)
    )


def _foreign(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _plain(column: pa.Array, named: str) -> pa.Array:
    """Values as text, still to be proven UTF-8 where they came as bytes."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.dictionary_decode(), named)
    if pa.types.is_timestamp(kind):
        text = pc.replace_substring(column.view(pa.timestamp(kind.unit)).cast(pa.large_string()), " ", "T")
        if kind.unit != "s":
            text = pc.replace_substring_regex(text, r"\.?0*$", "")
        return pc.binary_join_element_wise(text, *_UTC) if kind.tz else text
    if _is_text(kind):
        return column.cast(pa.large_binary())
    if _is_spelled_by_arrow(kind):
        return column.cast(pa.large_string())
    raise _RefusedError(f"has a type that is not read in column {named}", _UNREADABLE[1])


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _is_spelled_by_arrow(kind: pa.DataType) -> bool:
    types = pa.types
    plain = types.is_boolean(kind) or types.is_integer(kind) or types.is_null(kind) or types.is_decimal(kind)
    return bool(plain or types.is_float32(kind) or types.is_float64(kind) or types.is_date32(kind))


def _rules(columns: list[pa.Array], rows: int) -> pa.Array:
    """For each row the rule that it breaks, or null."""
    broken: list[str | None] = [None] * rows
    for column in columns:
        if not pa.types.is_large_binary(column.type):
            continue
        for row in pc.indices_nonzero(pc.match_substring(column, "\0")).to_pylist():
            broken[row] = broken[row] or "nul_byte"
        if not _is_utf8(column):
            for row in range(rows):
                if not _is_utf8(column[row : row + 1]):
                    broken[row] = "encoding"
    return pa.array(broken, pa.large_string())


def _is_utf8(column: pa.Array) -> bool:
    try:
        column.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    return True


def _record(columns: list[pa.Array], row: int) -> bytes:
    return b",".join(column.cast(pa.large_binary())[row].as_py() or b"" for column in columns)


if __name__ == "__main__":
    serve(answer)
