import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from monitor_support import contract, records
from sqlalchemy import Connection, delete, insert, select, text, update

from secure_platform.control.tables import profile
from secure_platform.errors import DataRefusedError, IntegrityError
from secure_platform.homes import initialise
from secure_platform.keys.material import DigestKey
from secure_platform.monitor.anomaly import HISTORY
from secure_platform.monitor.history import (
    REFERENCE,
    REPEATS,
    SAME_CONTENT,
    MetricsHistory,
    Record,
    arrival,
    delivered,
)
from secure_platform.monitor.profile import SMALLEST, Measures, Profiler
from secure_platform.services import Services
from secure_platform.settings import load_settings

KEY = DigestKey(1, bytes(range(32)))
STAYS = pl.DataFrame(
    {
        "id": [f"{index:04d}" for index in range(400)],
        "days": [float(index % 20) for index in range(400)],
        "ward": ["east"] * 300 + ["west"] * 95 + ["rare"] * 5,
        "note": [None, "ok"] * 200,
    }
)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history") / "home"
    initialise(load_settings(home=folder))
    return folder


@pytest.fixture
def services(fresh: Path, tmp_path: Path) -> Services:
    return Services(load_settings(home=Path(shutil.copytree(fresh, tmp_path / "home"))))


@pytest.fixture
def history(services: Services) -> MetricsHistory:
    return services.metrics


def measured(frame: pl.DataFrame, values: tuple[str, ...] = ("days", "ward"), **monitor: object) -> Measures:
    profiler = Profiler(contract(**monitor), KEY, values)
    return profiler.measures(pl.collect_all(profiler.queries(frame.lazy()), engine="streaming"))


def test_a_record_comes_back_as_it_was_kept_and_only_once(history: MetricsHistory) -> None:
    (record,) = records(1, sketches={"days": {"3": 20}}, findings={"note": {"EMAIL": 2}})
    history.add(record)
    history.add(replace(record, numbers={"rows": 9.0}))
    assert history.find(record.snapshot_id) == record
    assert history.find("another") is None


def test_history_is_oldest_first_of_one_dataset_without_the_snapshot_under_test(
    history: MetricsHistory,
) -> None:
    kept = records(5)
    for record in (*kept, replace(kept[0], snapshot_id="other", dataset="other")):
        history.add(record)
    found = history.before("p", "stays", "raw", snapshot_id=kept[3].snapshot_id)
    assert [record.snapshot_id for record in found] == [kept[place].snapshot_id for place in (0, 1, 2, 4)]


def test_old_records_come_without_their_sketches_and_very_old_ones_not_at_all(
    history: MetricsHistory,
) -> None:
    for record in records(HISTORY + 2, sketches={"days": {"3": 20}}):
        history.add(record)
    found = history.before("p", "stays", "raw")
    assert len(found) == HISTORY
    assert [bool(record.sketches) for record in found] == [False] * (HISTORY - REFERENCE) + [True] * REFERENCE


def test_the_days_chances_are_those_that_were_judged(history: MetricsHistory) -> None:
    said = {
        "rows": {"state": "pass", "chance": 0.5},
        "mean:days": {"state": "learning", "chance": 1.0},
    }
    early, late = records(2, verdicts=said)
    history.add(early)
    history.add(late)
    assert history.chances("p", late.recorded_at) == [0.5]
    assert history.chances("another", early.recorded_at) == []


def test_raw_data_give_counts_only() -> None:
    found = measured(STAYS, values=())
    assert found.sketches == {}
    assert {name.partition(":")[0] for name in found.numbers} == {"rows", "null_rate", "distinct_rate"}
    assert found.numbers["rows"] == 400
    assert found.numbers["null_rate:note"] == 0.5
    assert found.numbers["distinct_rate:ward"] == pytest.approx(3 / 400, abs=0.001)


def test_protected_data_give_means_quantiles_and_sketches_of_the_named_columns() -> None:
    found = measured(STAYS)
    assert found.numbers["mean:days"] == pytest.approx(9.5)
    assert found.numbers["p50:days"] == pytest.approx(9.5, rel=0.1)
    assert sum(found.sketches["days"].values()) == 400
    assert set(found.sketches) == {"days", "ward"}


def test_neither_a_mean_nor_a_metric_of_the_contract_is_a_value() -> None:
    paid = STAYS.with_columns(days=pl.lit(918273.64))
    numbers = measured(paid, metrics={"most": "max(days)"}).numbers
    assert numbers["mean:days"] == numbers["custom:most"] == 918300.0
    assert not any(value == pytest.approx(918273.64, rel=1e-6) for value in numbers.values())


def test_labels_are_keyed_and_small_cells_left_out() -> None:
    found = measured(STAYS)
    assert sorted(found.sketches["ward"].values()) == [95, 300]
    text = repr(found)
    assert not any(label in text for label in ("east", "west", "rare"))
    other = Profiler(contract(), DigestKey(2, bytes(32)), ("ward",))
    results = pl.collect_all(other.queries(STAYS.lazy()), engine="streaming")
    assert not set(other.measures(results).sketches["ward"]) & set(found.sketches["ward"])


def test_fewer_rows_than_a_cell_give_no_number_of_a_value() -> None:
    found = measured(STAYS.head(SMALLEST - 1))
    assert not any(name.startswith(("mean", "p0", "p5", "p9", "share")) for name in found.numbers)
    assert found.sketches == {}


def test_an_empty_table_is_measured_too() -> None:
    found = measured(STAYS.clear())
    assert found.numbers == {"rows": 0.0}


def test_numbers_that_are_none_are_left_out() -> None:
    wild = [float("nan"), float("inf"), float("-inf"), None]
    days = pl.Series("days", [*wild, *STAYS["days"].to_list()[len(wild) :]])
    found = measured(STAYS.with_columns(days))
    assert sum(found.sketches["days"].values()) == 400 - len(wild)
    assert all(math.isfinite(value) for value in found.numbers.values())


def test_the_contracts_own_metric_is_computed_in_the_same_pass() -> None:
    found = measured(STAYS, metrics={"long_stays": "AVG(CASE WHEN days > 15 THEN 1 ELSE 0 END)"})
    assert found.numbers["custom:long_stays"] == pytest.approx(0.2)


def test_a_metric_over_a_column_that_protection_dropped_is_refused() -> None:
    with pytest.raises(DataRefusedError, match="long_stays"):
        measured(STAYS.drop("days"), metrics={"long_stays": "AVG(days)"})


def test_the_lateness_of_a_record_is_in_its_time(history: MetricsHistory) -> None:
    first, second = records(2)
    assert second.recorded_at - first.recorded_at == timedelta(days=1)
    assert history.before("p", "stays", "raw") == []


def sketched(count: int) -> list[Record]:
    return records(count, sketches={"days": {"3": 20}}, verdicts={"rows": {"state": "pass", "chance": 0.5}})


def read_all(history: MetricsHistory) -> None:
    """All that judging a snapshot reads."""
    (first, *_) = sketched(1)
    history.require_whole("p", "stays", "raw")
    history.before("p", "stays", "raw")
    history.chances("p", first.recorded_at)


def copied(connection: Connection) -> None:
    """A record made up from one that is genuine."""
    row = connection.execute(select(profile).order_by(profile.c.sequence.desc()).limit(1)).one()._asdict()
    connection.execute(insert(profile).values({**row, "snapshot_id": "made up", "sequence": 99}))


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.execute(update(profile).where(profile.c.sequence == 2).values(numbers={"rows": 1.0})),
        lambda c: c.execute(update(profile).where(profile.c.sequence == 5).values(verdicts={})),
        lambda c: c.execute(
            update(profile).where(profile.c.sequence == 5).values(sketches={"days": {"3": 21}})
        ),
        lambda c: c.execute(
            update(profile).where(profile.c.sequence == 3).values(recorded_at=sketched(1)[0].recorded_at)
        ),
        lambda c: c.execute(update(profile).where(profile.c.sequence == 1).values(seal=None)),
        lambda c: c.execute(delete(profile).where(profile.c.sequence == 1)),
        lambda c: c.execute(delete(profile).where(profile.c.sequence == 3)),
        lambda c: c.execute(delete(profile).where(profile.c.sequence >= 4)),
        lambda c: c.execute(delete(profile)),
        copied,
    ],
    ids=[
        *("a number", "a verdict", "a sketch", "a time", "a seal"),
        *("the first", "one of them", "the end", "all", "one more"),
    ],
)
def test_nobody_edits_the_past(
    services: Services, history: MetricsHistory, edit: Callable[[Connection], object]
) -> None:
    for record in sketched(5):
        history.add(record)
    read_all(history)
    with services.database.write() as connection:
        edit(connection)
    with pytest.raises(IntegrityError, match="metrics history of p/raw/stays"):
        read_all(services.metrics)


def forged(connection: Connection) -> None:
    """Deliveries in time, of which the log and the seals know nothing."""
    connection.execute(text("DROP TRIGGER profile_only_sealed"))
    row = connection.execute(select(profile).order_by(profile.c.sequence)).first()
    assert row is not None
    for day in range(1, 4):
        new = {"snapshot_id": f"forged {day}", "recorded_at": row.recorded_at - timedelta(days=day)}
        connection.execute(insert(profile).values({**row._asdict(), **new, "sequence": None, "seal": None}))


@pytest.mark.parametrize(
    "edit",
    [
        forged,
        copied,
        lambda c: c.execute(
            update(profile).where(profile.c.sequence == 3).values(recorded_at=sketched(1)[0].recorded_at)
        ),
        lambda c: c.execute(delete(profile).where(profile.c.sequence == 1)),
        lambda c: c.execute(delete(profile).where(profile.c.sequence == 5)),
        lambda c: c.execute(delete(profile)),
    ],
    ids=["without seals", "copied", "a time", "the first is gone", "the end is gone", "all are gone"],
)
def test_nobody_edits_when_it_came(
    services: Services, history: MetricsHistory, edit: Callable[[Connection], object]
) -> None:
    for record in sketched(5):
        history.add(record)
    assert len(history.arrivals("p", "stays", "raw", limit=None)) == 5
    with services.database.write() as connection:
        edit(connection)
    with pytest.raises(IntegrityError, match="metrics history of p/raw/stays"):
        services.metrics.arrivals("p", "stays", "raw", limit=None)


@pytest.mark.parametrize("limit", [HISTORY, 3, None])
def test_what_was_there_before_is_no_delivery(history: MetricsHistory, limit: int | None) -> None:
    numbers = [
        {SAME_CONTENT: 0.0},
        {},
        {SAME_CONTENT: 1.0},
        {SAME_CONTENT: 1.0, REPEATS: 1.0},
        {REPEATS: 1.0},
    ]
    given = records(5, numbers)
    for record in given:
        history.add(record)
    came = history.arrivals("p", "stays", "raw", limit=limit)
    assert [each.snapshot_id for each in came] == ["s0", "s1", "s2", "s3", "s4"][-(limit or 5) :]
    right = [given[2]] if limit == 3 else given[:2]
    assert delivered(came) == [each.recorded_at for each in right]
    assert came == [*map(arrival, given)][-len(came) :]
    assert delivered([]) == []


def test_what_has_no_seal_is_no_arrival(services: Services, history: MetricsHistory) -> None:
    for record in sketched(5):
        history.add(record)
    with services.database.write() as connection:
        forged(connection)
    with pytest.raises(IntegrityError, match="metrics history of p/raw/stays"):
        history.arrivals("p", "stays", "raw")


def test_an_end_that_was_put_back_is_refused(services: Services, history: MetricsHistory) -> None:
    first, second, third = sketched(3)
    history.add(first)
    history.add(second)
    with services.database.read() as connection:
        before = [row._asdict() for row in connection.execute(select(profile))]
    history.add(third)
    with services.database.write() as connection:
        connection.execute(delete(profile))
        connection.execute(insert(profile), before)
    with pytest.raises(IntegrityError, match="metrics history"):
        read_all(history)


def test_who_dies_before_the_log_knows_of_the_record_goes_on(
    services: Services, history: MetricsHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third, fourth = sketched(4)
    history.add(first)
    append = services.audit._append

    def dies(action: str, actor: str, subject: str, phase: str, members: object) -> object:
        if phase == "done":
            raise KeyboardInterrupt
        return append(action, actor, subject, phase, members)  # type: ignore[arg-type]

    for record in (second, third):
        with monkeypatch.context() as patch:
            patch.setattr(services.audit, "_append", dies)
            with pytest.raises(KeyboardInterrupt):
                history.add(record)
    read_all(history)
    history.add(second)
    history.add(fourth)
    read_all(history)
    assert [each.snapshot_id for each in history.before("p", "stays", "raw")] == ["s0", "s1", "s2", "s3"]


def test_records_of_before_there_were_seals_are_sealed_once(
    services: Services, history: MetricsHistory
) -> None:
    for record in sketched(3):
        history.add(record)
    with services.database.write() as connection:
        nothing = dict.fromkeys(("sequence", "previous", "content", "seal"))
        connection.execute(update(profile).values(**nothing))
    with pytest.raises(IntegrityError):
        read_all(history)
    assert history.adopt() == 3
    read_all(history)
    assert [each.snapshot_id for each in history.before("p", "stays", "raw")] == ["s0", "s1", "s2"]
