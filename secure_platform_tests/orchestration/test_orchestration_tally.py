"""The audit log is counted once, whoever counts and whenever they stop."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as of_hypothesis
from hypothesis import strategies as st

from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource, ProductResource
from secure_platform.audit.log import JSON
from secure_platform.audit.reader import Entry
from secure_platform.errors import IntegrityError
from secure_platform.homes import initialise
from secure_platform.orchestration.tally import Asked, Tally
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = "healthcare"
RESTRICTED = 3
NOBODY = Principal("nobody", "user", frozenset(), active=True)


@pytest.fixture
def services(tmp_path: Path) -> Services:
    settings = load_settings(home=tmp_path / "home")
    initialise(settings)
    return Services(settings)


def ask(
    services: Services, product: str, classification: int = 1, action: Action = Action.DATA_REVEAL
) -> None:
    resource = ProductResource(product, "production", classification)
    services.policy.decide(NOBODY, action, resource)


def counts(tally: Tally) -> dict[tuple[str, str, bool, bool], int]:
    return {
        (each.product, each.action, each.allowed, each.restricted): count
        for each, count in tally.decisions().items()
    }


def path(services: Services) -> Path:
    return services.settings.home / "telemetry" / "tally.json"


def test_denials_are_counted_by_product_and_action(services: Services) -> None:
    ask(services, PRODUCT)
    ask(services, PRODUCT)
    ask(services, PRODUCT, RESTRICTED)
    ask(services, "gone")
    services.policy.decide(NOBODY, Action.AUDIT_READ, PlatformResource())
    tally = Tally(services)
    assert tally.count()
    assert counts(tally) == {
        (PRODUCT, "data_reveal", False, False): 2,
        (PRODUCT, "data_reveal", False, True): 1,
        ("other", "data_reveal", False, False): 1,
        ("platform", "audit_read", False, False): 1,
    }
    assert path(services).stat().st_mode & 0o777 == 0o600


def test_what_was_counted_is_not_counted_again(services: Services) -> None:
    ask(services, PRODUCT)
    assert Tally(services).count()
    ask(services, PRODUCT)
    again = Tally(services)
    assert again.count()
    assert again.count()
    assert counts(again) == {(PRODUCT, "data_reveal", False, False): 2}


def test_nothing_is_told_before_all_is_counted(services: Services) -> None:
    for _ in range(5):
        ask(services, PRODUCT)
    tally = Tally(services)
    while not tally.count(3):
        assert tally.decisions() == {}
    assert counts(tally) == {(PRODUCT, "data_reveal", False, False): 5}


@of_hypothesis(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.integers(1, 7), max_size=8))
def test_wherever_counting_stops_the_sum_is_the_same(services: Services, portions: list[int]) -> None:
    path(services).unlink(missing_ok=True)
    ask(services, PRODUCT)
    for most in portions:
        Tally(services).count(most)
    parts, whole = Tally(services), Tally(services)
    parts.count()
    path(services).unlink(missing_ok=True)
    whole = Tally(services)
    whole.count()
    assert parts.decisions() == whole.decisions()


def test_the_newest_result_of_a_check_counts(services: Services) -> None:
    patients = "healthcare/raw/patients"

    def note(check: str, *, passed: bool) -> None:
        detail: dict[str, JSON] = {"asset": patients, "check": check, "passed": passed}
        services.audit.append("asset.check", actor="dagster", subject="healthcare_build", detail=detail)

    note("scan", passed=True)
    note("scan", passed=False)
    tally = Tally(services)
    tally.count()
    note("drift", passed=True)
    tally.count(1)
    assert tally.checks() == {
        (patients, "scan"): False,
        (patients, "drift"): True,
    }


@pytest.mark.parametrize("garbage", [b"", b"[]", b'{"seq": -1}', b'{"seq": 10000000}', b'{"seq": "x"}'])
def test_what_does_not_fit_the_log_is_counted_anew(services: Services, garbage: bytes) -> None:
    ask(services, PRODUCT)
    path(services).parent.mkdir()
    path(services).write_bytes(garbage)
    tally = Tally(services)
    tally.count()
    assert counts(tally) == {(PRODUCT, "data_reveal", False, False): 1}


def test_what_was_edited_is_counted_anew(services: Services) -> None:
    ask(services, PRODUCT)
    assert Tally(services).count()
    kept = json.loads(path(services).read_bytes())
    state = json.loads(kept["state"])
    assert state["decisions"]
    path(services).write_text(json.dumps({**kept, "state": json.dumps({**state, "decisions": {}})}))
    tally = Tally(services)
    assert tally.count()
    assert counts(tally) == {(PRODUCT, "data_reveal", False, False): 1}


def test_counts_of_another_log_are_not_taken(services: Services) -> None:
    ask(services, PRODUCT)
    assert Tally(services).count()
    state = json.loads(json.loads(path(services).read_bytes())["state"])
    other = json.dumps({**state, "leaf": "00" * 32, "decisions": {}})
    seal = services.keys.mac("tally", other.encode())
    path(services).write_text(json.dumps({"state": other, "seal": seal}))
    assert counts(_counted(services)) == {(PRODUCT, "data_reveal", False, False): 1}


def test_counting_that_fails_half_way_counts_nothing_twice(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        ask(services, PRODUCT)
    tally = Tally(services)
    backwards = services.audit.backwards

    def locked(text: str, start: int = 0, stop: int | None = None) -> Iterator[Entry]:
        if "asset.check" in text:
            raise sqlite3.OperationalError("database is locked")
        return backwards(text, start, stop)

    with monkeypatch.context() as patch:
        patch.setattr(services.audit, "backwards", locked)
        for _ in range(2):
            with pytest.raises(sqlite3.OperationalError):
                tally.count()
    assert tally.count()
    assert counts(tally) == {(PRODUCT, "data_reveal", False, False): 3}
    assert counts(tally) == counts(_counted(services))


def _counted(services: Services) -> Tally:
    tally = Tally(services)
    tally.count()
    return tally


def test_an_asset_may_be_named_with_a_space(services: Services) -> None:
    detail: dict[str, JSON] = {"asset": "foreign/my asset", "check": "a check", "passed": True}
    services.audit.append("asset.check", actor="dagster", subject="foreign", detail=detail)
    assert _counted(services).checks() == {("foreign/my asset", "a check"): True}


def test_a_changed_entry_is_not_counted(services: Services) -> None:
    ask(services, PRODUCT)
    with services.audit._storage.write() as connection:
        seq, body = connection.execute("SELECT seq, body FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
        changed = body.replace(b'"allowed":false', b'"allowed":true')
        assert changed != body
        connection.execute("UPDATE entry SET body = ? WHERE seq = ?", (changed, seq))
    with pytest.raises(IntegrityError):
        Tally(services).count()


@pytest.mark.parametrize("action", ["policy.decide", "asset.check", "release.deployed"])
def test_an_entry_without_its_detail_stops_no_counting(services: Services, action: str) -> None:
    services.audit.append(action, actor="x", subject="x")
    tally = Tally(services)
    assert tally.count()
    assert (tally.decisions(), tally.checks(), tally.deployed()) == ({}, {}, {})


def test_an_action_that_is_none_of_ours_becomes_no_name(services: Services) -> None:
    detail: dict[str, JSON] = {"action": "x\ny", "allowed": False, "question": {"entities": [{"attrs": {}}]}}
    services.audit.append("policy.decide", actor="x", subject="product:healthcare", detail=detail)
    tally = Tally(services)
    tally.count()
    assert tally.decisions() == {}
    assert Asked("2026-11", "a", "b", allowed=True, restricted=False) > Asked("2026-10", "z", "z", True, True)
