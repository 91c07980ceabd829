"""The content digest names what a table says, not how it is stored.

HMAC-SHA-256 over a canonical stream of rows and types. It does not depend on how the rows arrive (batches,
slices, chunks), on the Parquet layout or on the encryption; it does depend on every cell, on null against
empty, on the names, types and order of the columns, and on the order of the rows. It is keyed because the
unkeyed digest of a small table can be confirmed by guessing the table.

The stream, version 1 (all integers little-endian, unsigned):

    header   "secure-platform content digest 1" 0x00, u32 number of columns,
             per column: u32 length and UTF-8 of the name, u32 length and ASCII of the type name
    body     per batch of 65,536 rows (the last one may be shorter): u32 rows,
             then per column:
                 0x00 when no cell is null, else 0x01 and one bit per row (1 = not null, least bit first)
                 boolean            one bit per row, least bit first
                 integer, date, …   the two's complement at its own width
                 float              IEEE 754 binary, every NaN as the one quiet NaN; -0.0 differs from 0.0
                 decimal            the unscaled value as 128-bit two's complement
                 string, binary     u32 byte length per row, then all bytes
             a null cell counts as zero or empty in these
    trailer  u32 0, u64 number of rows
"""

import hashlib
import hmac
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl

from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.keys.material import DigestKey

BATCH_ROWS: Final = 65_536
_DIGEST: Final = re.compile(r"hmac-sha256:([1-9][0-9]{0,8}):[0-9a-f]{64}")
_Bytes: TypeAlias = bytes | memoryview
_MAGIC: Final = b"secure-platform content digest 1\x00"
_SIMPLE: Final[Mapping[type[pl.DataType], str]] = {
    pl.Boolean: "boolean",
    pl.Int8: "int8",
    pl.Int16: "int16",
    pl.Int32: "int32",
    pl.Int64: "int64",
    pl.UInt8: "uint8",
    pl.UInt16: "uint16",
    pl.UInt32: "uint32",
    pl.UInt64: "uint64",
    pl.Float32: "float32",
    pl.Float64: "float64",
    pl.String: "string",
    pl.Binary: "binary",
    pl.Date: "date",
    pl.Time: "time[ns]",
}


class ContentDigest:
    """Absorbs a table batch by batch.

    Args:
        key: The HMAC key; the digest says its version, so that it is verified under the same.
        schema: Names and types of the columns, in order.

    Raises:
        DataRefusedError: If a type has no canonical form (nested, categorical, unsized decimal).
    """

    def __init__(self, key: DigestKey, schema: Mapping[str, pl.DataType]) -> None:
        self._version = key.version
        self._schema = pl.Schema(schema)
        self._mac = hmac.new(key.key, digestmod=hashlib.sha256)
        self._rest = pl.DataFrame(schema=self._schema)
        self._rows = 0
        self._mac.update(_MAGIC + struct.pack("<I", len(self._schema)))
        for name, dtype in self._schema.items():
            for text in (name.encode(), type_name(dtype, column=name).encode()):
                self._mac.update(struct.pack("<I", len(text)) + text)

    def update(self, frame: pl.DataFrame) -> None:
        """Absorb the next rows, however many.

        Raises:
            DataRefusedError: If the columns are not those of the schema.
        """
        if frame.schema != self._schema:
            raise DataRefusedError(
                "A batch has other columns than the table it belongs to", "Read the source again."
            )
        if self._rest.height:
            frame = pl.concat([self._rest, frame], rechunk=False)
        whole = frame.height - frame.height % BATCH_ROWS
        for start in range(0, whole, BATCH_ROWS):
            self._absorb(frame.slice(start, BATCH_ROWS))
        self._rest = frame.slice(whole)

    def finish(self) -> str:
        """The digest of everything absorbed, `hmac-sha256:<key version>:<64 hex digits>`. Call it once."""
        if self._rest.height:
            self._absorb(self._rest)
            self._rest = self._rest.clear()
        self._mac.update(struct.pack("<IQ", 0, self._rows))
        return f"hmac-sha256:{self._version}:{self._mac.hexdigest()}"

    @property
    def rows(self) -> int:
        """Rows absorbed so far."""
        return self._rows + self._rest.height

    def _absorb(self, batch: pl.DataFrame) -> None:
        self._rows += batch.height
        self._mac.update(struct.pack("<I", batch.height))
        for column in batch.iter_columns():
            for part in _canonical(column):
                self._mac.update(part)


def key_version(digest: str) -> int:
    """The version of the key that a digest was made with.

    Raises:
        IntegrityError: If it is no content digest.
    """
    parsed = _DIGEST.fullmatch(digest)
    if parsed is None:
        raise IntegrityError("A content digest is malformed", "Restore what holds it from a copy.")
    return int(parsed[1])


def content_digest(key: DigestKey, frame: pl.LazyFrame) -> str:
    """The digest of a whole table, in bounded memory."""
    digest = ContentDigest(key, frame.collect_schema())
    for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
        digest.update(batch)
    return digest.finish()


def type_name(dtype: pl.DataType, *, column: str) -> str:
    """The stable name of a type, e.g. `int64`, `datetime[us,UTC]`, `decimal[18,2]`.

    Raises:
        DataRefusedError: If the type has no canonical form.
    """
    simple = _SIMPLE.get(dtype.base_type())
    if simple is not None:
        return simple
    if isinstance(dtype, pl.Datetime):
        return f"datetime[{dtype.time_unit},{dtype.time_zone or ''}]"
    if isinstance(dtype, pl.Duration):
        return f"duration[{dtype.time_unit}]"
    if isinstance(dtype, pl.Decimal) and dtype.precision is not None:
        return f"decimal[{dtype.precision},{dtype.scale}]"
    raise DataRefusedError(
        f"Column {column} has the type {dtype.base_type().__name__}, which a snapshot cannot hold",
        "Cast it to a string, number, boolean, date, time or timestamp.",
    )


def _canonical(column: pl.Series) -> Iterator[_Bytes]:
    yield _validity(column)
    dtype = column.dtype
    if dtype in (pl.String, pl.Binary):
        yield from _variable_width(column)
    elif dtype == pl.Boolean:
        yield _bits(column.fill_null(value=False))
    elif isinstance(dtype, pl.Decimal):
        yield _decimal(column)
    else:
        yield _fixed_width(column)


def _validity(column: pl.Series) -> bytes:
    return b"\x01" + _bits(column.is_not_null()) if column.null_count() else b"\x00"


def _bits(column: pl.Series) -> bytes:
    return np.packbits(column.to_numpy(), bitorder="little").tobytes()


def _fixed_width(column: pl.Series) -> _Bytes:
    if column.dtype.is_float():
        column = column.fill_nan(float("nan"))
    values = column.to_physical().fill_null(0).to_numpy()
    return np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<")).view(np.uint8).data


def _variable_width(column: pl.Series) -> Iterator[_Bytes]:
    # What lies under a null is not part of the content, so it is overwritten before the buffers are read.
    array = _arrow(column.fill_null("" if column.dtype == pl.String else b""))
    _, offsets, data = array.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[array.offset : array.offset + len(array) + 1]
    yield np.diff(bounds).astype("<u4").view(np.uint8).data
    if data is not None:
        yield memoryview(data)[bounds[0] : bounds[-1]]


def _decimal(column: pl.Series) -> _Bytes:
    array = _arrow(column.fill_null(0))
    width = 16
    return memoryview(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]


def _arrow(column: pl.Series) -> Any:
    return column.to_arrow(compat_level=pl.CompatLevel.oldest())
