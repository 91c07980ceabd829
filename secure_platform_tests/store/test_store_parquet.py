"""The adapter over Polars' encryption: one pass, authenticated, and silent about values."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from store_support import CANARY, flip, in_clear, table

from secure_platform.errors import DataRefusedError, IntegrityError, SecurePlatformError, UsageError
from secure_platform.store import parquet
from secure_platform.store.digest import BATCH_ROWS
from secure_platform.store.parquet import FileKey

SECRET = FileKey(bytes(range(32)), b"healthcare/patients/raw/0")
TOO_LARGE = """
import resource, signal, sys
import secure_platform
import polars as pl
from pathlib import Path
from secure_platform.errors import SecurePlatformError
from secure_platform.store.parquet import FileKey, write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
frame = pl.LazyFrame({"s": [f"value{i * 7919 % 99991}" for i in range(100_000)]})
try:
    write(Path(sys.argv[1]), frame, FileKey(bytes(32), b"x"), consume=lambda _: None)
except SecurePlatformError as error:
    print(error)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data.parquet"


def ignore(_: pl.DataFrame) -> None:
    pass


def write(path: Path, frame: pl.DataFrame) -> None:
    parquet.write(path, frame.lazy(), SECRET, consume=ignore)


def read(path: Path, secret: FileKey = SECRET) -> pl.DataFrame:
    with parquet.value_free("read"), path.open("rb") as file:
        return parquet.scan(file, secret).collect()


def shown(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_one_pass_writes_consumes_and_observes(path: Path) -> None:
    computed = 0

    def count(series: pl.Series) -> pl.Series:
        nonlocal computed
        computed += len(series)
        return series

    rows = 200_001
    frame = pl.LazyFrame({"n": range(rows)}).with_columns(
        pl.col("n").map_batches(count, return_dtype=pl.Int64, is_elementwise=True)
    )
    batches: list[pl.DataFrame] = []
    observed, whole = parquet.write(
        path,
        frame,
        SECRET,
        consume=batches.append,
        observe=[frame.select(pl.len()), frame.filter(pl.col("n") < 2)],
    )
    assert computed == rows
    assert observed.item() == rows
    assert whole["n"].to_list() == [0, 1]
    assert [batch.height for batch in batches] == [BATCH_ROWS] * 3 + [rows - 3 * BATCH_ROWS]
    assert pl.concat(batches).equals(read(path))
    assert read(path)["n"].to_list() == list(range(rows))


def test_an_empty_table_keeps_its_columns(path: Path) -> None:
    write(path, table().clear())
    assert read(path).equals(table().clear())


def test_the_file_is_private_and_encrypted(path: Path, tmp_path: Path) -> None:
    write(path, table())
    assert path.stat().st_mode & 0o777 == 0o600
    assert in_clear(tmp_path) == []
    table().write_parquet(tmp_path / "plain.parquet")
    assert in_clear(tmp_path) == ["plain.parquet"]


def test_an_existing_file_is_not_overwritten(path: Path) -> None:
    path.write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        write(path, table())
    assert path.read_bytes() == b"kept"


def test_a_file_that_was_not_encrypted_is_refused(path: Path) -> None:
    table().write_parquet(path)
    with pytest.raises(IntegrityError, match="without encrypting"):
        parquet._require_encrypted(path)
    assert not path.exists()


@pytest.mark.parametrize(
    "secret", [FileKey(bytes(32), SECRET.associated), FileKey(SECRET.key, b"healthcare/patients/raw/1")]
)
def test_another_key_or_name_does_not_open_it(path: Path, secret: FileKey) -> None:
    write(path, table())
    with pytest.raises(IntegrityError, match="does not authenticate"):
        read(path, secret)


def test_no_flipped_byte_changes_what_is_read(path: Path) -> None:
    # Some bytes (the magic number, page indexes) are not read at all; the file digest covers those.
    write(path, table(3))
    noticed = 0
    positions = range(0, path.stat().st_size, 5)
    for position in positions:
        flip(path, position)
        try:
            assert read(path).equals(table(3))
        except SecurePlatformError:
            noticed += 1
        flip(path, position)
    assert noticed > len(positions) / 2


def test_what_was_opened_is_what_is_read(path: Path) -> None:
    write(path, table(3))
    with path.open("rb") as file:
        frame = parquet.scan(file, SECRET)
    path.unlink()
    write(path, table(4))
    assert frame.collect().equals(table(3))
    assert read(path).equals(table(4))


def test_bytes_that_change_after_the_opening_do_not_decrypt(path: Path) -> None:
    write(path, table(1000))
    with path.open("rb") as file:
        frame = parquet.scan(file, SECRET)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\x00\xff" * 8)
    with pytest.raises(IntegrityError), parquet.value_free("read"):
        frame.collect()


def test_keys_are_not_shown() -> None:
    assert SECRET.key.hex() not in repr(SECRET)
    assert repr(SECRET.key) not in repr(SECRET)


@pytest.mark.parametrize(
    "failing",
    [
        pl.LazyFrame({"a": ["12", "hidden value"]}).select(pl.col("a").cast(pl.Int64)),
        pl.LazyFrame({"a": ["2020-01-01", "hidden value"]}).select(pl.col("a").str.to_date()),
        pl.LazyFrame({"a": [1]}).select(pl.lit("hidden value").cast(pl.Int8)),
        pl.LazyFrame({"a": [1]}).select("hidden value"),
    ],
)
def test_a_failing_query_does_not_tell_values(path: Path, failing: pl.LazyFrame) -> None:
    with pytest.raises(DataRefusedError) as caught, parquet.value_free("write"):
        parquet.write(path, failing, SECRET, consume=ignore)
    assert "hidden" not in shown(caught.value)


def test_our_own_errors_pass_unchanged(path: Path) -> None:
    def refuse(_: pl.DataFrame) -> None:
        raise UsageError("ours", "kept")

    with pytest.raises(UsageError, match="ours"):
        parquet.write(path, table().lazy(), SECRET, consume=refuse)


def test_a_full_disk_is_told_as_one(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOO_LARGE, path], capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("A query to write a table could not use the disk: File too large.")
    assert "value" not in done.stdout.replace("value_free", "")


def test_the_spill_of_polars_is_closed_in_a_fresh_interpreter() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POLARS_")}
    code = "import secure_platform.store.snapshots, os; print(os.environ['POLARS_OOC_DISK_BUDGET_MB'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


def test_nothing_is_written_while_polars_may_spill(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLARS_OOC_DISK_BUDGET_MB", "100")
    with pytest.raises(IntegrityError, match="POLARS_OOC_DISK_BUDGET_MB"):
        write(path, table())
    assert not path.exists()


def numbers(batches: int) -> Iterator[pl.DataFrame]:
    for batch in range(batches):
        yield pl.DataFrame({"n": range(batch * 1000, batch * 1000 + 1000), "s": "x"})


def arriving(source: Callable[[], Iterator[pl.DataFrame]]) -> pl.LazyFrame:
    return parquet.from_batches(next(numbers(1)).schema, source)


def test_batches_are_read_once_however_many_sinks(path: Path) -> None:
    readings = 0

    def source() -> Iterator[pl.DataFrame]:
        nonlocal readings
        readings += 1
        yield from numbers(150)

    frame = arriving(source)
    (observed,) = parquet.write(
        path, frame, SECRET, consume=ignore, observe=[frame.select(pl.col("n").sum())]
    )
    assert readings == 1
    assert observed.item() == sum(range(150_000))
    assert read(path)["n"].to_list() == list(range(150_000))


def test_a_query_over_batches_may_select_and_filter() -> None:
    frame = arriving(lambda: numbers(3))
    assert frame.filter(pl.col("n") >= 2_990).select("n").head(3).collect()["n"].to_list() == [
        2990,
        2991,
        2992,
    ]
    assert frame.head(1_500).collect().height == 1_500
    assert frame.select("s").collect().columns == ["s"]


def test_a_source_that_changes_its_columns_is_refused(path: Path) -> None:
    def source() -> Iterator[pl.DataFrame]:
        yield from numbers(1)
        yield pl.DataFrame({"other": [1]})

    with pytest.raises(DataRefusedError, match="other columns"):
        parquet.write(path, arriving(source), SECRET, consume=ignore)


def test_the_error_of_a_source_passes_unchanged(path: Path) -> None:
    def source() -> Iterator[pl.DataFrame]:
        yield from numbers(2)
        raise UsageError("the source broke", "mend it")

    with pytest.raises(UsageError, match="the source broke"):
        parquet.write(path, arriving(source), SECRET, consume=ignore)


def test_canary_is_what_the_support_looks_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" + CANARY)
    (tmp_path / "b").write_text(CANARY.hex())
    assert in_clear(tmp_path) == ["a", "b"]
