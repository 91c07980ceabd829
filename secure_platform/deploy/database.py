"""A production database contains exactly a release's tables, row for row, and nothing else.

It is written once from a verified release and then read back: what readers will get must have the content
digests that the manifest states. The order of rows is part of that; DuckDB keeps the order of insertion.
"""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow as pa

from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.files import PRIVATE_FILE, sync_file
from secure_platform.keys.ring import KeyRing
from secure_platform.release.layout import CONTENT_DIGEST
from secure_platform.release.manifest import Manifest, Table
from secure_platform.release.verify import VerifiedRelease, scan_table
from secure_platform.store import duckdb, parquet
from secure_platform.store.digest import BATCH_ROWS, ContentDigest, key_version, type_name

_FIX: Final = "Deploy the release again: its database is built anew from its package."
# What DuckDB gives back exactly as it got it; it stores times to the microsecond and every zone as UTC.
_STORABLE: Final = re.compile(
    r"boolean|u?int(8|16|32|64)|float(32|64)|string|binary|date|datetime\[us,(UTC)?\]|decimal\[[0-9]+,[0-9]+\]"
)
_RELATIONS: Final = """
    SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = $1
    UNION ALL
    SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = $1 AND NOT internal
"""


def build(release: VerifiedRelease, keys: KeyRing, path: Path, key: bytes, spill: Path) -> None:
    """Write the release's tables into a new encrypted database and flush it to the disk.

    Args:
        release: Its private copy is what is read.
        keys: Open the release's data key.
        path: The new file.
        key: The file's own key, 32 bytes.
        spill: Private directory for encrypted spill files.

    Raises:
        DataRefusedError: If DuckDB cannot hold a table as it is.
        IntegrityError: If DuckDB left a write-ahead log behind.
    """
    _require_storable(release.contents)
    doing = f"build the database of release {release.contents.product}/{release.contents.number}"
    with (
        parquet.value_free(doing),
        duckdb.value_free(doing),
        closing(duckdb.connect(path, key, read_only=False, temp_directory=spill)) as database,
    ):
        for table in release.contents.tables:
            database.register("arriving", _reader(scan_table(release, table, keys)))
            database.execute(
                f"CREATE TABLE {duckdb.quote_identifier(table)} AS SELECT * FROM arriving"  # noqa: S608 - quoted
            )
            database.unregister("arriving")
        database.execute("CHECKPOINT")
    if path.with_name(f"{path.name}.wal").exists():
        raise IntegrityError(f"DuckDB could not finish the database {path.name}", "Try again.")
    path.chmod(PRIVATE_FILE)
    sync_file(path)


def check(path: Path, key: bytes, manifest: Manifest, keys: KeyRing, spill: Path) -> None:
    """Read every table back and compare it with the manifest.

    Args:
        path: The database.
        key: Its key.
        manifest: What it must hold.
        keys: Hold the key of content digests.
        spill: Private directory for encrypted spill files.

    Raises:
        IntegrityError: If a table is missing, added, or differs in columns, rows or content.
    """
    title = f"The database of {manifest.product}/{manifest.number}"
    doing = "read a production database"
    with (
        parquet.value_free(doing),
        duckdb.value_free(doing),
        closing(duckdb.connect(path, key, read_only=True, temp_directory=spill)) as database,
    ):
        found = database.execute(_RELATIONS, [duckdb.CATALOG]).fetchall()
        if sorted(found) != [("main", name) for name in sorted(manifest.tables)]:
            raise IntegrityError(f"{title} does not hold exactly the released tables", _FIX)
        for name, table in manifest.tables.items():
            _check_table(database, f"Table {name} in production of {manifest.product}", name, table, keys)


def _check_table(database: Any, title: str, name: str, table: Table, keys: KeyRing) -> None:
    select = f"SELECT * FROM {duckdb.quote_identifier(name)}"  # noqa: S608 - the name is quoted
    reader = database.execute(select).to_arrow_reader(BATCH_ROWS)
    schema = pl.DataFrame(reader.schema.empty_table()).schema
    columns = [(column, type_name(dtype, column=column)) for column, dtype in schema.items()]
    if columns != [(column.name, column.type) for column in table.columns]:
        raise IntegrityError(f"{title} has other columns than the release", _FIX)
    digest = ContentDigest(keys.digest_key(CONTENT_DIGEST, key_version(table.content_digest)), schema)
    for batch in reader:
        digest.update(pl.DataFrame(batch))
    if (digest.rows, digest.finish()) != (table.rows, table.content_digest):
        raise IntegrityError(f"{title} holds other rows than the release", _FIX)


def _require_storable(manifest: Manifest) -> None:
    for name, table in manifest.tables.items():
        for column in table.columns:
            if not _STORABLE.fullmatch(column.type):
                raise DataRefusedError(
                    f"Column {column.name} of {name} has the type {column.type}, which DuckDB changes",
                    "Cast it in the model, for example to a string or to a timestamp in UTC.",
                )


def _reader(frame: pl.LazyFrame) -> Any:
    """The rows as a stream of Arrow batches, in their order and in bounded memory."""
    oldest = pl.CompatLevel.oldest()
    schema = frame.collect_schema().to_frame().to_arrow(compat_level=oldest).schema

    def batches() -> Iterator[Any]:
        for batch in frame.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True):
            yield from batch.to_arrow(compat_level=oldest).to_batches()

    return pa.RecordBatchReader.from_batches(schema, batches())
