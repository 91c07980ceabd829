"""Marts and production have a history; what fails after a deployment is taken back and stops the next."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest
from built_home import PRODUCT, Built, built_release

from secure_platform.contract.product import Product
from secure_platform.deploy.duckdb_target import DuckDBTarget
from secure_platform.errors import DataRefusedError, GateRefusedError, IntegrityError
from secure_platform.gate.states import ReleaseState
from secure_platform.monitor.history import Record
from secure_platform.monitor.incident import Incident
from secure_platform.orchestration.steps.production import go_live, production_record
from secure_platform.orchestration.steps.protect import product_resource

pytestmark = pytest.mark.slow


def record(built: Built, table: str, zone: str) -> Record:
    (found,) = built.services.metrics.before(PRODUCT, table, zone)
    return found


def strict(product: Product) -> Product:
    """The product whose contracts say that what is unusual stops what comes after."""
    contracts: Mapping[str, object] = {
        name: replace(contract, monitor=replace(contract.monitor, severity="error"))
        for name, contract in product.contracts.items()
    }
    return replace(product, contracts=contracts)  # type: ignore[arg-type]


def earlier(built: Built, **factors: float) -> None:
    """Production of the twelve days before, which had other numbers."""
    for table in built.product.models:
        now = record(built, table, "production")
        for day in range(1, 13):
            numbers = {name: value * factors.get(name, 1) for name, value in now.numbers.items()}
            at = now.recorded_at - timedelta(days=day)
            built.services.metrics.add(
                replace(now, snapshot_id=f"{table}{day}", numbers=numbers, recorded_at=at)
            )


def incident(built: Built) -> Incident:
    (found,) = (each for each in built.services.incidents.all(PRODUCT) if each.kind == "production")
    return found


def test_marts_are_measured_when_they_are_written(built: Built) -> None:
    for model in built.product.models:
        mart = record(built, model, "marts")
        assert mart.numbers["rows"] > 0
        assert {"bytes", "seconds", "null_rate:" + next(iter(mart.columns))} <= set(mart.numbers)
        assert {"rows", "schema", "freshness"} <= set(mart.verdicts)
    facts = record(built, "encounter_facts", "marts")
    assert facts.sketches["total_claim_cost"]
    assert "mean:total_claim_cost" in facts.numbers
    assert not any(metric.startswith(("mean:patient_id", "share:patient_id")) for metric in facts.numbers)


def test_production_has_the_numbers_of_what_was_deployed_once_per_release(built: Built) -> None:
    built.approve()
    live = go_live(built.services, built.product)
    assert set(live.checks) == set(built.product.models)
    for table, checks in live.checks.items():
        mart, there = (record(built, table, zone) for zone in ("marts", "production"))
        assert there.snapshot_id == production_record(built.newest().digest, table)
        assert there.numbers["rows"] == live.deployed.production.rows[table] == mart.numbers["rows"]
        assert there.sketches == mart.sketches
        names = [check.name for check in checks]
        assert names == ["matches_release", "volume", "freshness", "quality", "distribution", "schema"]
        assert all(check.passed for check in checks)
    again = go_live(built.services, built.product)
    assert again.deployed.reused
    assert record(built, "encounter_facts", "production").numbers["seconds"] > 0
    assert built.services.incidents.all() == []


def test_what_is_unusual_in_production_is_told_and_stays_unless_a_contract_says_error(built: Built) -> None:
    built.approve()
    go_live(built.services, built.product)
    earlier(built, rows=9)
    second = built_release(built, "second")
    built.approve()
    assert go_live(built.services, built.product).deployed.record.digest == second.digest
    assert (incident(built).blocking, incident(built).release) == (False, second.digest)
    assert not built.services.incidents.blocks(PRODUCT)


def test_what_fails_after_a_deployment_is_taken_back_and_stops_the_next_until_it_is_acknowledged(
    built: Built,
) -> None:
    services, product = built.services, strict(built.product)
    built.approve()
    first = go_live(services, product).deployed.record
    earlier(built, rows=9)
    second = built_release(built, "second")
    built.approve()
    with pytest.raises(
        DataRefusedError, match=r"volume of .*; Release 1 of healthcare is back in production"
    ):
        go_live(services, product)
    assert services.target.base(PRODUCT) == first.digest
    assert services.gate.get(second.digest).state is ReleaseState.ROLLED_BACK
    rolled = [entry.body for entry in services.audit.entries() if entry.body["action"] == "release.rollback"]
    assert rolled[-1]["phase"] == "done"
    assert rolled[0]["actor"] == services.audit.identify("service:monitor")
    assert go_live(services, product).deployed.reused
    built_release(built, "third")
    built.approve()
    with pytest.raises(GateRefusedError, match="forbid-open-incident"):
        go_live(services, product)
    found = incident(built)
    resource = product_resource(services, product)
    services.incidents.settle(built.person("dana"), resource, found, "false-alarm", note="a small month")
    assert go_live(services, product).deployed.record.number == 3


def test_readers_who_get_something_else_are_given_the_release_before(
    built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    built.approve()
    go_live(built.services, built.product)
    built_release(built, "second")
    built.approve()

    def differs(*_: object) -> NoReturn:
        raise IntegrityError("A table differs", "Look at it.")

    with monkeypatch.context() as patch:
        patch.setattr(DuckDBTarget, "verify", differs)
        with pytest.raises(IntegrityError, match="Release 1 of healthcare is back in production"):
            go_live(built.services, built.product)
        with pytest.raises(IntegrityError, match="still in production: healthcare has no earlier release"):
            go_live(built.services, built.product)
        with pytest.raises(IntegrityError, match="it is still in production"):
            go_live(built.services, built.product)
    assert incident(built).blocking
    assert go_live(built.services, built.product).deployed.record.number == 1
