"""Sources and production are looked at when nobody pulls or deploys, and told before something fails."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import dagster as dg
import polars as pl
import pytest
from built_home import Built
from contract_body import contract_body as contract
from small_product import product_context, prop
from sqlalchemy import delete, update

from secure_platform.access.principals import Principal
from secure_platform.access.resources import ProductResource
from secure_platform.control.database import utc_now
from secure_platform.control.tables import profile
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import AccessDeniedError, GateRefusedError, IntegrityError, ServiceError
from secure_platform.monitor.anomaly import HISTORY
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Incident
from secure_platform.orchestration.home import open_instance
from secure_platform.orchestration.lookouts import recount_job, source_schemas_job
from secure_platform.orchestration.steps import recount as recount_step
from secure_platform.orchestration.steps import source_schema
from secure_platform.orchestration.steps.context import StepContext
from secure_platform.orchestration.steps.deploy import one_at_a_time
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.orchestration.steps.production import go_live
from secure_platform.orchestration.steps.pull import pull
from secure_platform.orchestration.steps.recount import recount
from secure_platform.orchestration.steps.source_schema import Look, look_at_sources
from secure_platform.services import Services
from secure_platform.settings import load_settings

STAYS = [
    prop("id", "integer", "confidential", primaryKey=True, infoType="RECORD_ID"),
    prop("cost", "integer", protect="keep"),
]
FRAME = pl.DataFrame({"id": range(1, 21), "cost": range(20)}, schema={"id": pl.Int64, "cost": pl.Int64})


class Place:
    """A product with one source, as its settings name it."""

    def __init__(self, folder: Path, **custom: Any) -> None:
        body = contract("stays", STAYS, **custom)
        self._context = product_context(folder, "gdpr_pseudonymous", [body], {"stays": FRAME})
        settings = load_settings(home=folder / "home", sources={"small": folder / "source"})
        self.services = Services(settings)
        self._csv, self._parquet = (folder / "source" / f"stays.{kind}" for kind in ("csv", "parquet"))

    @property
    def context(self) -> StepContext:
        return replace(self._context, services=self.services)

    def write(self, frame: pl.DataFrame) -> None:
        self._csv.unlink(missing_ok=True)
        frame.write_parquet(self._parquet)

    def remove(self) -> None:
        for each in (self._csv, self._parquet):
            each.unlink(missing_ok=True)

    def look(self) -> Look:
        (found,) = look_at_sources(self.services, self.context.product)
        return found

    def open_incidents(self) -> list[Incident]:
        return [each for each in self.services.incidents.all("small") if each.unsettled]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_source_as_its_contract_says_is_no_news(place: Place) -> None:
    for _ in range(2):
        assert (place.look().state, place.look().notes) == (None, ())
    pull(place.context, "stays")
    assert place.look().state is None
    assert place.open_incidents() == []


def test_a_lost_column_is_told_before_the_pull_and_over_when_it_is_back(place: Place) -> None:
    place.look()
    place.write(FRAME.drop("cost"))
    for _ in range(2):
        assert place.look().notes == ("cost: breaking, string → gone",)
    (incident,) = place.open_incidents()
    (signal,) = incident.signals
    assert (incident.kind, signal.title, signal.state, signal.times) == (
        "data",
        "source_schema of raw/stays",
        "fail",
        1,
    )
    place.write(FRAME)
    assert place.look().state is None
    assert place.open_incidents() == []


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        (pl.Int64, pl.Int32, "warn"),
        (pl.Int32, pl.Int64, None),
        (pl.Int64, pl.Boolean, "fail"),
        (pl.Int64, pl.String, None),
    ],
)
def test_types_are_compared_with_those_that_were_there(
    place: Place, before: pl.DataType, after: pl.DataType, state: str | None
) -> None:
    place.write(FRAME.with_columns(pl.col("cost").clip(0, 1).cast(before)))
    assert place.look().state is None
    place.write(FRAME.with_columns(pl.col("cost").clip(0, 1).cast(after)))
    for _ in range(2):
        assert place.look().state == state


def test_what_somebody_settled_is_the_usual_from_then_on(place: Place) -> None:
    place.write(FRAME)
    place.look()
    place.write(FRAME.cast(pl.Int32))
    place.look()
    (incident,) = place.open_incidents()
    assert "narrowing" in incident.signals[0].metrics[0]
    services = place.services
    engineer = services.principals.add("dana", kind="user", roles=("data_engineer",), actor="admin")
    resource = ProductResource("small", services.settings.environment, 1)
    services.incidents.settle(engineer, resource, incident, "resolve", note="agreed with the source")
    place.look()
    assert place.open_incidents() == []
    assert place.look().notes == ()
    place.write(FRAME.cast(pl.Int16))
    assert place.look().state == "warn"
    assert len(place.open_incidents()) == 1


def test_what_was_settled_and_returns_is_told_again(place: Place) -> None:
    services = place.services
    engineer = services.principals.add("dana", kind="user", roles=("data_engineer",), actor="admin")
    resource = ProductResource("small", services.settings.environment, 1)
    place.write(FRAME)
    place.look()
    for _ in range(2):
        place.write(FRAME.drop("cost"))
        place.look()
        (incident,) = place.open_incidents()
        services.incidents.settle(engineer, resource, incident, "resolve", note="agreed with the source")
        for _ in range(3):
            place.look()
            assert place.open_incidents() == [], "it was settled, and is as it was"
        place.write(FRAME)
        place.look()
        assert place.open_incidents() == []


def test_a_source_that_changed_more_often_than_the_history_is_read_is_still_recorded(tmp_path: Path) -> None:
    place = Place(tmp_path, extraColumns="keep_raw")
    history = place.services.metrics
    for count in range(HISTORY):
        history.add(Record("small", "stays", "source", f"s{count}", numbers={}))
    for name in ("a", "b", "a", "b"):
        place.write(FRAME.with_columns(pl.lit("x").alias(name)))
        place.look()
    assert len(history.arrivals("small", "stays", "source", limit=None)) == HISTORY + 4


@pytest.mark.parametrize(("kept", "state"), [("refuse", "fail"), ("keep_raw", None)])
def test_a_new_column_is_told_without_its_name(tmp_path: Path, kept: str, state: str | None) -> None:
    place = Place(tmp_path, extraColumns=kept)
    place.look()
    place.write(FRAME.with_columns(pl.lit("x").alias("Jane Roe 999-12-3456")))
    assert place.look().state == state
    kept_records = place.services.metrics.before("small", "stays", "source")
    assert "Jane" not in repr((place.services.incidents.all(), kept_records))


def test_who_cannot_look_says_so(place: Place) -> None:
    place.remove()
    assert place.look().state == "fail"
    assert "There is no source file" in place.open_incidents()[0].signals[0].metrics[0]


def settle(services: Services, product: str, resource: ProductResource) -> None:
    (incident,) = [each for each in services.incidents.all(product) if each.unsettled]
    engineer = Principal("dana", "user", frozenset({"data_engineer"}), active=True)
    services.incidents.settle(engineer, resource, incident, "resolve", note="it was put right")


def on_day(monkeypatch: pytest.MonkeyPatch, module: ModuleType, day: int) -> None:
    monkeypatch.setattr(module, "utc_now", lambda: datetime(2026, 5, day, 4, tzinfo=UTC))


def test_who_cannot_look_again_after_it_was_settled_says_so_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_day(monkeypatch, source_schema, 1)
    place.remove()
    place.look()
    settle(place.services, "small", ProductResource("small", place.services.settings.environment, 1))
    place.look()
    assert place.open_incidents() == []
    on_day(monkeypatch, source_schema, 2)
    place.write(FRAME)
    assert place.look().state is None
    place.remove()
    on_day(monkeypatch, source_schema, 3)
    for _ in range(2):
        place.look()
    (incident,) = place.open_incidents()
    assert (incident.severity, incident.revision) == ("fail", 1)


def test_a_product_whose_source_is_named_with_each_run_is_not_looked_at(tmp_path: Path) -> None:
    context = product_context(tmp_path, "gdpr_pseudonymous", [contract("stays", STAYS)], {"stays": FRAME})
    assert look_at_sources(context.services, context.product) == []


def busy(place: Place, day: int, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """What the comparison of a day says while somebody holds the lock of deployments."""
    on_day(monkeypatch, recount_step, day)
    monkeypatch.setattr(recount_step, "TURN_SECONDS", 0.05)
    with one_at_a_time(place.services, "small"):
        return recount(place.services, place.context.product)


def test_production_that_is_being_changed_is_left_out_for_one_day_only(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (1, 11):
        on_day(monkeypatch, recount_step, first)
        assert recount(place.services, place.context.product) == "Nothing of small is in production."
        assert busy(place, first, monkeypatch) is None
        assert busy(place, first + 1, monkeypatch) is None
        for later in (first + 2, first + 5):
            with pytest.raises(ServiceError, match=f"not been compared since 2026-05-{first:02}"):
                busy(place, later, monkeypatch)


def test_a_deployment_compares_as_well(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,) = place.context.product.models
    deployed = Record(
        "small", table, "production", "p1", numbers={}, recorded_at=datetime(2026, 5, 7, tzinfo=UTC)
    )
    place.services.metrics.add(deployed)
    assert busy(place, 8, monkeypatch) is None
    with pytest.raises(ServiceError, match="since 2026-05-07"):
        busy(place, 9, monkeypatch)


def test_what_was_never_compared_is_left_out_only_while_nothing_is_in_production(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert busy(place, 1, monkeypatch) is None
    monkeypatch.setattr(DuckDBTarget, "base", lambda _target, _product: "sha256:1")
    for _ in range(2):
        assert busy(place, 1, monkeypatch) is None, "of a home of an earlier version nothing is known"
    for day in (2, 4):
        with pytest.raises(ServiceError, match="never been compared"):
            busy(place, day, monkeypatch)


def test_an_old_deployment_of_an_earlier_version_says_nothing_of_the_days_since(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (table,) = place.context.product.models
    deployed = datetime(2026, 4, 1, tzinfo=UTC)
    place.services.metrics.add(Record("small", table, "production", "p1", numbers={}, recorded_at=deployed))
    assert busy(place, 7, monkeypatch) is None
    with pytest.raises(ServiceError, match="not been compared since 2026-04-01"):
        busy(place, 8, monkeypatch)


@pytest.mark.parametrize("day", [datetime(2026, 5, 8, tzinfo=UTC), None])
def test_nobody_says_beside_the_history_that_production_was_compared(
    place: Place, monkeypatch: pytest.MonkeyPatch, day: datetime | None
) -> None:
    on_day(monkeypatch, recount_step, 1)
    recount(place.services, place.context.product)
    mine = profile.c.zone == recount_step.COMPARED
    with place.services.database.write() as connection:
        edited = delete(profile) if day is None else update(profile).values(recorded_at=day)
        connection.execute(edited.where(mine))
    with pytest.raises(IntegrityError):
        busy(place, 9, monkeypatch)


@pytest.fixture
def instance(built: Built) -> Iterator[dg.DagsterInstance]:
    with open_instance(built.services.settings) as opened:
        yield opened


@pytest.mark.slow
def test_production_that_was_changed_is_found_on_schedule_and_blocks(built: Built) -> None:
    services, product = built.services, built.product
    assert recount(services, product) == "Nothing of healthcare is in production."
    built.approve()
    go_live(services, product)
    assert recount(services, product) == "Production of healthcare is what was released."
    assert services.incidents.all("healthcare") == []
    production = services.target.current("healthcare")
    assert production is not None
    content = bytearray(production.file.read_bytes())
    content[len(content) // 2] ^= 1
    production.file.chmod(0o600)
    production.file.write_bytes(content)
    for _ in range(2):
        recount(services, product)
    (incident,) = services.incidents.all("healthcare")
    assert (incident.kind, incident.blocking, incident.revision) == ("production", True, 1)
    assert incident.release == production.release
    with pytest.raises(GateRefusedError):
        services.gate.deployable(
            built.newest().digest, base=services.target.base("healthcare"), deployer=services.deployer()
        )


@pytest.mark.slow
def test_production_that_differs_again_after_it_was_settled_is_told_again_and_blocks(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    services, product = built.services, built.product
    built.approve()
    go_live(services, product)
    production = services.target.current("healthcare")
    assert production is not None
    right = production.file.read_bytes()
    wrong = bytearray(right)
    wrong[len(wrong) // 2] ^= 1
    production.file.chmod(0o600)
    production.file.write_bytes(wrong)
    on_day(monkeypatch, recount_step, 1)
    recount(services, product)
    settle(services, "healthcare", named_resource(services, "healthcare"))
    recount(services, product)
    assert not services.incidents.blocks("healthcare")
    for day, content, blocks in ((2, right, False), (3, wrong, True)):
        production.file.write_bytes(content)
        on_day(monkeypatch, recount_step, day)
        recount(services, product)
        assert services.incidents.blocks("healthcare") == blocks
    assert [each.unsettled for each in services.incidents.all("healthcare")] == [False, True]


def out_of_reach(_target: DuckDBTarget, product: str) -> str | None:
    if product == "healthcare":
        raise ConnectionError
    return None


@pytest.mark.slow
def test_a_product_that_could_not_be_looked_at_has_an_incident_until_it_can(
    built: Built, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(built.home))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(DuckDBTarget, "base", out_of_reach)
        failed = recount_job.execute_in_process(instance=instance, raise_on_error=False)
    assert not failed.success
    (incident,) = built.services.incidents.all()
    (signal,) = incident.signals
    assert (incident.product, incident.kind, incident.state) == ("healthcare", "run", "open")
    assert (signal.title, signal.state, signal.snapshots) == ("recount of run", "fail", (failed.run_id,))
    with monkeypatch.context() as patch, one_at_a_time(built.services, "healthcare"):
        patch.setattr(recount_step, "TURN_SECONDS", 0.1)
        assert recount(built.services, built.product) is None
        busy = recount_job.execute_in_process(instance=instance)
    assert any("is left for tomorrow" in entry.message for entry in instance.all_logs(busy.run_id))
    assert [each.state for each in built.services.incidents.all()] == ["open"], "nothing was found out"
    assert recount_job.execute_in_process(instance=instance).success
    (after,) = built.services.incidents.all()
    assert (after.incident_id, after.state) == (incident.incident_id, "resolved")
    with monkeypatch.context() as patch, one_at_a_time(built.services, "healthcare"):
        patch.setattr(recount_step, "TURN_SECONDS", 0.1)
        patch.setattr(recount_step, "utc_now", lambda: utc_now() + timedelta(days=2))
        assert not recount_job.execute_in_process(instance=instance, raise_on_error=False).success
    (_, held) = built.services.incidents.all()
    assert (held.product, held.kind, held.severity) == ("healthcare", "run", "fail")


@pytest.mark.slow
@pytest.mark.parametrize("job", [recount_job, source_schemas_job])
def test_the_jobs_are_the_schedules_alone(
    built: Built, instance: dg.DagsterInstance, job: dg.JobDefinition, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECURE_PLATFORM_HOME", str(built.home))
    monkeypatch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
    assert job.execute_in_process(instance=instance).success
    monkeypatch.setenv("SECURE_PLATFORM_TOKEN_FILE", str(built.home / "keys" / "admin.token"))
    with pytest.raises(AccessDeniedError):
        job.execute_in_process(instance=instance)
