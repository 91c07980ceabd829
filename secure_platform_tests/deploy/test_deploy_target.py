import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from deploy_support import CANARY, DEPLOYER, Home, made_up, new_home, open_home

from secure_platform import canonical
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import (
    DataRefusedError,
    GateRefusedError,
    IntegrityError,
    SecurePlatformError,
    UsageError,
)
from secure_platform.release.layout import file_key, key_context
from secure_platform.store import parquet


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path / "home")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three releases, 1 and 2 of which were in production one after the other."""
    home = new_home(tmp_path_factory.mktemp("target") / "home")
    digests = [home.release(number) for number in (1, 2, 3)]
    home.publish(1, None)
    home.publish(2, digests[0])
    return home.root


@pytest.fixture
def deployed(template: Path, tmp_path: Path) -> Home:
    return open_home(shutil.copytree(template, tmp_path / "home"))


def databases(home: Home) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in home.warehouse.glob("*.duckdb"))


def rows(home: Home) -> tuple[int, int]:
    """What readers get: the release number in one table and the row count of the other."""
    number = home.target.query("healthcare", "SELECT release FROM counts", limit=9, actor="a").item()
    count = home.target.query("healthcare", "SELECT count(*) FROM patients", limit=9, actor="a").item()
    return number, count


def test_the_first_publication(home: Home) -> None:
    assert home.target.current("healthcare") is None
    assert home.target.base("healthcare") is None
    assert home.target.history("healthcare") == []
    assert not home.warehouse.exists()
    digest = home.release(1)
    production = home.publish(1, None)
    assert production == home.target.current("healthcare")
    assert (production.release, production.number, production.previous) == (digest, 1, None)
    assert (production.rows, production.sequence) == ({"patients": 11, "counts": 1}, 1)
    assert home.target.base("healthcare") == digest
    assert rows(home) == (1, 11)
    with home.verified(1) as release:
        home.target.verify("healthcare", release.manifest)


def test_what_lies_in_the_warehouse_is_private_and_encrypted(deployed: Home) -> None:
    files = [path for path in deployed.warehouse.rglob("*") if path.is_file()]
    assert {path.name for path in files if not path.name.endswith(".duckdb")} == {
        ".lock",
        "CURRENT",
        "000000001.json",
        "000000002.json",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not [path for path in files if CANARY.encode() in path.read_bytes()]
    assert not [path for path in files if b"patients" in path.read_bytes() and path.suffix == ".duckdb"]
    assert [path.name for path in (deployed.root / "tmp").iterdir()] == ["claims.lock"]


def test_every_type_and_the_order_of_rows_survive(home: Home) -> None:
    count = 150_000
    numbers = pl.int_range(count, eager=True)
    home.release(
        1,
        everything=pl.DataFrame(
            {
                "text": [
                    None if n % 7 == 0 else "" if n % 5 == 0 else f"é\x00'{n * 7919 % count}"
                    for n in range(count)
                ],
                "int64": numbers.reverse() - 2**62,
                "int8": (numbers % 100).cast(pl.Int8),
                "uint64": numbers.cast(pl.UInt64) + 2**63,
                "double": [
                    float("nan") if n % 3 == 0 else -0.0 if n % 3 == 1 else n / 3 for n in range(count)
                ],
                "float": (numbers / 7).cast(pl.Float32),
                "flag": [None if n % 11 == 0 else n % 2 == 0 for n in range(count)],
                "day": pl.Series([date(1850, 1, 1)] * count),
                "seen": pl.Series(
                    [datetime(1850, 1, 1, 0, 0, 0, 123456, UTC)] * count, dtype=pl.Datetime("us", "UTC")
                ),
                "naive": pl.Series([datetime(2999, 1, 1)] * count, dtype=pl.Datetime("us")),  # noqa: DTZ001 - a type of its own
                "money": pl.Series([Decimal(n) / 100 for n in range(count)], dtype=pl.Decimal(38, 2)),
                "bytes": pl.Series([bytes([n % 256]) for n in range(count)], dtype=pl.Binary),
                'na"me; --': numbers,
            }
        ),
        empty=pl.DataFrame(schema={"a": pl.String, "b": pl.Float64}),
    )
    assert home.publish(1, None).rows == {"everything": count, "empty": 0}


@pytest.mark.parametrize(
    "dtype", [pl.Duration("us"), pl.Time(), pl.Datetime("ns"), pl.Datetime("us", "Europe/Vienna")]
)
def test_a_type_that_production_cannot_hold_is_refused(home: Home, dtype: pl.DataType) -> None:
    home.release(1, spans=pl.DataFrame({"span": pl.Series([1, 2]).cast(dtype)}))
    with pytest.raises(DataRefusedError, match="Column span of spans has the type"):
        home.publish(1, None)
    assert home.target.current("healthcare") is None


def test_publishing_again_changes_nothing(deployed: Home) -> None:
    before = {path: path.stat().st_mtime_ns for path in deployed.warehouse.rglob("*")}
    again = deployed.publish(2, deployed.digest(1))
    assert again == deployed.target.current("healthcare")
    assert again.sequence == 2
    assert {path: path.stat().st_mtime_ns for path in deployed.warehouse.rglob("*")} == before


@pytest.mark.parametrize("base", [None, "sha256:" + "0" * 64, 1, 3])
def test_a_release_that_was_approved_against_another_base_is_refused(
    deployed: Home, base: str | int | None
) -> None:
    expected = deployed.digest(base) if isinstance(base, int) else base
    with pytest.raises(GateRefusedError, match="approved against"):
        deployed.publish(3, expected)
    assert rows(deployed) == (2, 12)
    last = [entry.body for entry in deployed.audit.tail(9) if entry.body["action"] == "deploy.publish"][-1]
    assert (last["phase"], last["detail"]) == ("failed", {"error": "GateRefusedError"})


def test_an_older_release_is_not_published(deployed: Home) -> None:
    with pytest.raises(GateRefusedError, match="newer"):
        deployed.publish(1, deployed.digest(2))


def test_databases_are_kept_but_not_for_ever(home: Home) -> None:
    base = None
    for number in range(1, 6):
        home.release(number)
        base = home.publish(number, base).release
    assert databases(home) == [3, 4, 5]
    assert [state.number for state in home.target.history("healthcare")] == [5, 4, 3, 2, 1]
    home.rollback(4, base)
    home.rollback(3, home.digest(4))
    production = home.rollback(2, home.digest(3))
    assert (production.number, production.previous, rows(home)) == (2, home.digest(1), (2, 12))
    home.release(6)
    home.publish(6, production.release)
    assert {2, 6} <= set(databases(home))
    assert rows(home) == (6, 16)


def test_the_database_to_go_back_to_is_kept_however_old(deployed: Home) -> None:
    deployed.publish(3, deployed.digest(2))
    deployed.rollback(2, deployed.digest(3))
    deployed.release(4)
    deployed.publish(4, deployed.digest(2))
    assert databases(deployed) == [1, 2, 3, 4]


def test_fewer_than_three_databases_cannot_be_kept(home: Home) -> None:
    with pytest.raises(UsageError):
        DuckDBTarget(home.root / "warehouse", home.root / "tmp", home.keys, home.audit, keep=2)


def test_a_rollback_goes_back_one_by_one_and_reuses_the_database(deployed: Home) -> None:
    deployed.publish(3, deployed.digest(2))
    file = next(deployed.warehouse.glob("2-*"))
    before = file.stat().st_ino
    second = deployed.rollback(2, deployed.digest(3))
    assert (second.number, second.previous, second.sequence) == (2, deployed.digest(1), 4)
    assert file.stat().st_ino == before
    first = deployed.rollback(1, second.release)
    assert (first.number, first.previous, first.sequence) == (1, None, 5)
    assert rows(deployed) == (1, 11)
    assert deployed.publish(3, first.release).previous == first.release
    actions = [entry.body["action"] for entry in deployed.audit.entries() if entry.body["phase"] == "done"]
    assert actions.count("deploy.rollback") == 2


def test_a_rollback_builds_a_lost_or_damaged_database_anew(deployed: Home) -> None:
    file = next(deployed.warehouse.glob("1-*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert deployed.rollback(1, deployed.digest(2)).number == 1
    assert rows(deployed) == (1, 11)
    next(deployed.warehouse.glob("2-*")).unlink()
    assert deployed.rollback(2, deployed.digest(1)).number == 2
    assert rows(deployed) == (2, 12)


def test_rollbacks_that_are_not_rollbacks_are_refused(deployed: Home) -> None:
    with pytest.raises(GateRefusedError, match="never in production"):
        deployed.rollback(3, deployed.digest(2))
    with pytest.raises(GateRefusedError, match="approved against"):
        deployed.rollback(1, deployed.digest(3))
    with deployed.verified(1) as release, pytest.raises(GateRefusedError, match="not of finance"):
        deployed.target.rollback("finance", release, expected_base=None, actor=DEPLOYER)
    assert rows(deployed) == (2, 12)


def test_two_deployers_at_once_end_with_one_of_the_releases(deployed: Home) -> None:
    deployed.release(4)
    base = deployed.digest(2)

    def publish(number: int) -> int | None:
        try:
            return deployed.publish(number, base).number
        except GateRefusedError:
            return None

    with ThreadPoolExecutor() as pool:
        done = list(pool.map(publish, [3, 4, 3, 4]))
    won = {number for number in done if number}
    assert won == {rows(deployed)[0]}
    assert [state.sequence for state in deployed.target.history("healthcare")] == [3, 2, 1]


def test_a_query_is_read_only_limited_and_recorded_without_its_text(deployed: Home) -> None:
    result = deployed.target.query("healthcare", "SELECT token FROM patients", limit=3, actor="ann")
    assert result.height == 3
    for sql in (
        "DELETE FROM patients",
        "SELECT 1; SELECT 2",
        "ATTACH '/etc/passwd' AS x",
        "COPY patients TO '/tmp/x'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT nothing FROM patients",
        "SELECT CAST(token AS INTEGER) FROM patients",
    ):
        with pytest.raises(UsageError) as caught:
            deployed.target.query("healthcare", sql, limit=3, actor="ann")
        assert f"{CANARY}-1" not in str(caught.value)
    log = [canonical.dumps(dict(entry.body)) for entry in deployed.audit.entries()]
    runs = [entry for entry in log if b"query.run" in entry]
    assert len(runs) == 2 * 8
    assert not [entry for entry in log if CANARY.encode() in entry or b"SELECT" in entry or b"ann" in entry]
    assert rows(deployed) == (2, 12)


def test_queries_of_nothing_are_refused(home: Home) -> None:
    with pytest.raises(UsageError, match="Nothing of healthcare is in production"):
        home.target.query("healthcare", "SELECT 1", limit=1, actor="a")
    with pytest.raises(UsageError, match="cannot name a product"):
        home.target.query("../healthcare", "SELECT 1", limit=1, actor="a")
    assert not (home.root / "warehouse/healthcare").exists()


def test_a_release_that_duckdb_cannot_build_leaves_production_alone(deployed: Home) -> None:
    with deployed.verified(3) as release:
        shutil.rmtree(release.directory / "payload")
        with pytest.raises(SecurePlatformError):
            deployed.target.publish(release, expected_base=deployed.digest(2), actor=DEPLOYER)
    assert rows(deployed) == (2, 12)


def test_what_is_loaded_must_be_what_was_verified(deployed: Home) -> None:
    """Even the private copy is not believed twice: the database is read back against the manifest."""
    with deployed.verified(3) as release:
        path = release.directory / "payload/patients.parquet"
        context = key_context("healthcare", 3)
        key = deployed.keys.open_data_key(release.contents.payload_key, context)
        path.unlink()
        other = made_up(3)["patients"].with_columns(token=pl.lit("x")).lazy()
        parquet.write(path, other, file_key(key, "healthcare", 3, "patients"), consume=lambda _: None)
        with pytest.raises(IntegrityError, match="holds other rows"):
            deployed.target.publish(release, expected_base=deployed.digest(2), actor=DEPLOYER)
    assert rows(deployed) == (2, 12)
