"""The one place that knows Polars' Parquet encryption, which Polars calls unstable.

A file is written and read only under a key and an associated-data prefix that names it: another file under
the same name, an older one, or one with a changed byte does not open. Whatever Polars says when a query fails
may quote data, so its text never leaves this module.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, BinaryIO, Final

import polars as pl
from polars.io.plugins import register_io_source

from secure_platform.errors import DataRefusedError, IntegrityError, SecurePlatformError, StorageError
from secure_platform.files import write_private
from secure_platform.keys.material import NotPickled
from secure_platform.store.digest import BATCH_ROWS

ZSTD_LEVEL: Final = 1
"""Tokens are as small as at Polars' level 3 and compress in less than half the time; other text loses 1 %."""
_ENCRYPTED_FOOTER: Final = b"PARE"
_SPILL: Final = "POLARS_OOC_DISK_BUDGET_MB"
_AUTHENTICATION: Final = "Encryption error"
_SYSTEM_ERROR: Final = re.compile(r"\(os error ([0-9]{1,3})\)")


@dataclass(frozen=True)
class FileKey(NotPickled):
    """What opens one file.

    Attributes:
        key: 32 bytes, AES-256-GCM, used for this file only.
        associated: The file's name in the world; authenticated with every part of the file, not stored in it.
    """

    key: bytes = field(repr=False)
    associated: bytes


def write(
    path: Path,
    frame: pl.LazyFrame,
    secret: FileKey,
    *,
    consume: Callable[[pl.DataFrame], None] | None = None,
    observe: Sequence[pl.LazyFrame] = (),
) -> list[pl.DataFrame]:
    """Run one streaming pass that writes the frame encrypted, then hand on what is in the file.

    Args:
        path: The file to create.
        frame: What to write.
        secret: Its key and name.
        consume: Gets every row of the file in order, in batches of 65,536 (the last may be shorter).
        observe: Further queries, usually aggregates of the frame; shared parts are computed once.

    Returns:
        The results of `observe`.

    Raises:
        DataRefusedError: If the query fails.
        IntegrityError: If the query reads a file that does not authenticate.
    """
    if os.environ.get(_SPILL) != "0":
        raise IntegrityError(
            f"{_SPILL} is not 0, so Polars could write plaintext to the disk", "Do not change it at run time."
        )
    write_private(path, b"")
    properties = pl.ParquetEncryptionProperties(footer_key=secret.key, aad_prefix=secret.associated)
    sink = frame.sink_parquet(
        path, compression_level=ZSTD_LEVEL, encryption=properties, maintain_order=True, lazy=True
    )
    with value_free("write a table"):
        results = pl.collect_all([*observe, sink], engine="streaming")
    _require_encrypted(path)
    if consume is not None:
        # As a second sink of the same query it would get the rows through a buffer without a limit.
        with path.open("rb") as file, value_free("read a table"):
            scan(file, secret).sink_batches(
                consume, chunk_size=BATCH_ROWS, maintain_order=True, engine="streaming"
            )
    return results[: len(observe)]


def scan(file: BinaryIO, secret: FileKey) -> pl.LazyFrame:
    """Read an encrypted file lazily.

    Polars keeps a descriptor of its own: what is read is this very file, whatever its path names later, and
    the file may be closed after the call.
    """
    properties = pl.ParquetDecryptionProperties(footer_key=secret.key, aad_prefix=secret.associated)
    return pl.scan_parquet(file, decryption=properties)


def scan_parts(files: list[IO[bytes]], secret: FileKey, schema: pl.Schema) -> pl.LazyFrame:
    """Read encrypted files of one key lazily, one after the other; null where one lacks a column.

    One scan of many files reads ahead by a little; a scan for each of them would read a part of all at once.
    """
    properties = pl.ParquetDecryptionProperties(footer_key=secret.key, aad_prefix=secret.associated)
    return pl.scan_parquet(
        files, decryption=properties, schema=schema, missing_columns="insert", extra_columns="ignore"
    )


def from_batches(schema: pl.Schema, batches: Callable[[], Iterable[pl.DataFrame]]) -> pl.LazyFrame:
    """A lazy frame over rows that arrive in batches; a query over it reads them once, in bounded memory.

    Args:
        schema: What every batch looks like.
        batches: Begins a reading.
    """

    def read(
        columns: list[str] | None, predicate: pl.Expr | None, rows: int | None, _: int | None
    ) -> Iterator[pl.DataFrame]:
        left = rows
        for batch in batches():
            if batch.schema != schema:
                raise DataRefusedError("A batch has other columns than the first", "Read the source again.")
            taken = batch if left is None else batch.head(left)
            left = None if left is None else left - taken.height
            chosen = taken if predicate is None else taken.filter(predicate)
            yield chosen if columns is None else chosen.select(columns)
            if left == 0:
                return

    # Without the cache every sink of one query would begin a reading of its own.
    return register_io_source(read, schema=schema).cache()


@contextmanager
def value_free(doing: str) -> Iterator[None]:
    """Replace a Polars error by one of ours that holds no data.

    Args:
        doing: What the query was for, after "to".
    """
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise _without_text(error, doing) from None


def _without_text(error: BaseException, doing: str) -> SecurePlatformError:
    text = str(error)
    if _AUTHENTICATION in text:
        return IntegrityError(
            "A stored table does not authenticate", "Restore it from a copy, or build it again."
        )
    system = _SYSTEM_ERROR.search(text)
    number = error.errno if isinstance(error, OSError) else int(system[1]) if system else None
    if number is not None:
        return StorageError.of(f"A query to {doing}", os.strerror(number))
    return DataRefusedError(
        f"A query to {doing} failed ({type(error).__name__})",
        "Its text is withheld because it may contain data; try it on data you may look at.",
    )


def _require_encrypted(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(len(_ENCRYPTED_FOOTER))
        file.seek(-len(_ENCRYPTED_FOOTER), os.SEEK_END)
        tail = file.read()
    if head != _ENCRYPTED_FOOTER or tail != _ENCRYPTED_FOOTER:
        path.unlink()
        raise IntegrityError(
            "Polars wrote a table without encrypting it", "Install the version of Polars that is pinned."
        )
