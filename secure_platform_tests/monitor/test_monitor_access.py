"""The audit log is read once, and what is unusual in it is one incident, whatever dies or is edited."""

import json
import shutil
import zlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Delete, Update, delete, select, update

from secure_platform.access.allowance import AllowanceSpentError, Limits
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource, ProductResource
from secure_platform.control.database import utc_now
from secure_platform.control.tables import habit
from secure_platform.errors import AccessDeniedError
from secure_platform.homes import initialise
from secure_platform.monitor import access
from secure_platform.monitor.deeds import PLATFORM
from secure_platform.monitor.incident import Incident
from secure_platform.orchestration.steps.access import look_at_access
from secure_platform.orchestration.steps.reveal import allowance
from secure_platform.services import Services
from secure_platform.settings import load_settings

PRODUCT = ProductResource("healthcare", "production", 2)
EVE = Principal("eve@example.org", "user", frozenset({"auditor"}), active=True)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("access") / "home"
    initialise(load_settings(home=folder))
    return folder


@pytest.fixture
def services(fresh: Path, tmp_path: Path) -> Services:
    return Services(load_settings(home=Path(shutil.copytree(fresh, tmp_path / "home"))))


def try_in_vain(services: Services, times: int, resource: ProductResource = PRODUCT) -> None:
    for _ in range(times):
        with pytest.raises(AccessDeniedError):
            services.policy.require(EVE, Action.PRODUCTION_QUERY, resource)


def only(services: Services) -> Incident:
    (found,) = services.incidents.all()
    return found


def test_denied_attempts_are_a_security_incident_with_a_pseudonym_and_counts(services: Services) -> None:
    try_in_vain(services, 7)
    assert look_at_access(services).found == ()
    assert services.incidents.all() == []
    try_in_vain(services, 3)
    look_at_access(services)
    incident = only(services)
    (signal,) = incident.signals
    assert (incident.product, incident.kind, incident.lasts) == ("healthcare", "security", True)
    assert (signal.zone, signal.dataset, signal.check) == (
        "access",
        services.audit.identify(EVE.name),
        "denials",
    )
    assert signal.metrics == ("denied 10, usual is at most 7",)
    assert EVE.name not in repr(incident)


def test_what_is_public_or_internal_may_be_asked_for_in_vain(services: Services) -> None:
    try_in_vain(services, 20, ProductResource("healthcare", "production", 1))
    assert look_at_access(services).found == ()


def test_trying_what_one_may_do_on_the_platform_is_told(services: Services) -> None:
    for action in (
        Action.PRINCIPAL_MANAGE,
        Action.PLATFORM_OPERATE,
        Action.GRANT_GIVE,
        Action.SECRET_MANAGE,
    ):
        services.policy.decide(EVE, action, PlatformResource())
    look_at_access(services)
    assert (only(services).product, only(services).severity) == (PLATFORM, "fail")


def test_who_reveals_up_to_the_limit_is_told_before_and_when_they_are_refused(services: Services) -> None:
    limit = services.settings.reveal.values_per_hour
    spend = allowance(services).spend
    with spend("ann", limit - 1, subject="healthcare/patients.name", detail={}) as outcome:
        outcome |= {"revealed": limit - 1, "unknown": 0}
    look_at_access(services)
    assert only(services).severity == "warn"
    with (
        pytest.raises(AllowanceSpentError),
        spend("ann", 2, subject="healthcare/patients.name", detail={}),
    ):
        pytest.fail("it was refused")
    look_at_access(services)
    incident = only(services)
    assert (incident.severity, incident.revision) == ("fail", 2)
    assert {signal.check for signal in incident.signals} == {"reveal_limit"}


def test_nothing_is_read_twice_and_a_look_at_nothing_new_leaves_no_trace(services: Services) -> None:
    try_in_vain(services, 10)
    look_at_access(services)
    look_at_access(services)
    size, known = services.audit.size(), only(services)
    looked = look_at_access(services)
    assert (looked.cursor, looked.behind, looked.found) == (size, 0, ())
    assert (services.audit.size(), only(services)) == (size, known)


def test_a_long_log_is_read_in_pieces(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    try_in_vain(services, 10)
    monkeypatch.setattr(access, "AT_ONCE", 6)
    looked = look_at_access(services)
    assert looked.behind > 0
    while looked.behind:
        looked = look_at_access(services)
    assert only(services).signals[0].check == "denials"


def test_a_look_that_takes_too_long_keeps_what_it_has(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_in_vain(services, 10)
    monkeypatch.setattr(access, "SECONDS", -1.0)
    first, second = look_at_access(services), look_at_access(services)
    assert (first.cursor, second.cursor) == (1, 2)
    monkeypatch.undo()
    look_at_access(services)
    assert only(services).signals[0].check == "denials"


def test_who_dies_before_it_is_kept_or_told_finds_it_again_once(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_in_vain(services, 10)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for room, name in ((services.incidents, "report"), (services.access_watch, "keep")):
        with monkeypatch.context() as patch:
            patch.setattr(room, name, dies)
            with pytest.raises(KeyboardInterrupt):
                look_at_access(services)
    known = only(services)
    look_at_access(services)
    assert only(services) == known
    assert (known.revision, known.signals[0].times) == (1, 1)


def test_habits_that_were_edited_are_learned_again_and_told_in_the_log(services: Services) -> None:
    try_in_vain(services, 7)
    look_at_access(services)
    with services.database.write() as connection:
        connection.execute(update(habit).values(state=b"{}"))
    try_in_vain(services, 1)
    look_at_access(services)
    assert only(services).signals[0].metrics == ("denied 8, usual is at most 7",)
    assert [entry.body["action"] for entry in services.audit.entries()].count(access.CHANGED) == 1


def test_habits_that_are_put_back_only_make_it_read_again(services: Services) -> None:
    try_in_vain(services, 4)
    look_at_access(services)
    with services.database.read() as connection:
        before = dict(connection.execute(select(habit)).one()._mapping)
    try_in_vain(services, 3)
    look_at_access(services)
    with services.database.write() as connection:
        connection.execute(update(habit).values(**before))
    try_in_vain(services, 1)
    look_at_access(services)
    assert only(services).signals[0].metrics == ("denied 8, usual is at most 7",)


def test_habits_of_another_log_are_not_believed(services: Services, tmp_path: Path) -> None:
    other = Services(load_settings(home=Path(shutil.copytree(services.settings.home, tmp_path / "other"))))
    try_in_vain(other, 4)
    try_in_vain(services, 8)
    look_at_access(other)
    with other.database.read() as connection:
        row = dict(connection.execute(select(habit)).one()._mapping)
    look_at_access(services)
    with services.database.write() as connection:
        connection.execute(update(habit).values(**row))
    known = only(services)
    look_at_access(services)
    assert only(services) == known
    assert access.CHANGED in [entry.body["action"] for entry in services.audit.entries()]


def known(services: Services) -> Mapping[str, Any]:
    """Product → who → what is kept of them."""
    with services.database.read() as connection:
        state: bytes = connection.execute(select(habit.c.state)).scalar_one()
    found: Mapping[str, Any] = json.loads(zlib.decompress(state))["known"]
    return found


def test_a_row_that_was_taken_away_is_told_in_the_log_once(services: Services) -> None:
    try_in_vain(services, 7)
    look_at_access(services)
    with services.database.write() as connection:
        connection.execute(delete(habit))
    try_in_vain(services, 1)
    for _ in range(2):
        look_at_access(services)
    assert only(services).signals[0].metrics == ("denied 8, usual is at most 7",)
    assert [entry.body["action"] for entry in services.audit.entries()].count(access.CHANGED) == 1


def later(services: Services, wait: timedelta) -> access.AccessWatch:
    """The watch of the same home as the time goes by."""
    limits = allowance_limits(services)
    return access.AccessWatch(
        services.database, services.audit, services.keys, limits, clock=lambda: utc_now() + wait
    )


def allowance_limits(services: Services) -> Limits:
    limits = services.settings.reveal
    return Limits(limits.calls_per_hour, limits.values_per_hour)


def points(watch: access.AccessWatch) -> set[str]:
    looked = watch.look([EVE.name], {}, lambda _: ())
    watch.keep(looked)
    return {each.point for each in looked.found}


def test_only_what_is_older_than_a_week_when_watching_begins_is_not_told(services: Services) -> None:
    try_in_vain(services, 10)
    assert points(later(services, timedelta(days=8))) == set()


def test_a_daemon_that_was_away_for_weeks_tells_what_happened_meanwhile(services: Services) -> None:
    points(later(services, timedelta(0)))
    try_in_vain(services, 10)
    assert len(points(later(services, timedelta(days=30)))) == 1


@pytest.mark.parametrize("spoil", [delete(habit), update(habit).values(state=b"{}")])
def test_what_is_learned_again_weeks_later_comes_out_the_same(
    services: Services, spoil: Delete | Update
) -> None:
    points(later(services, timedelta(0)))
    try_in_vain(services, 10)
    told = points(later(services, timedelta(0)))
    first = known(services)
    with services.database.write() as connection:
        connection.execute(spoil)
    assert points(later(services, timedelta(days=30))) == told
    assert known(services) == first
    assert next(iter(first["healthcare"].values()))["aside"]["denied"]
