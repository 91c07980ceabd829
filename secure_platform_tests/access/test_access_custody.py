"""What is done to keys needs the right people, and leaves the platform able to undo it."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import LargeBinary, update

from secure_platform.access.circumstances import Circumstances
from secure_platform.access.own_records import ENCRYPTED
from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.control.database import utc_now
from secure_platform.control.tables import key_version, metadata
from secure_platform.errors import AccessDeniedError, GateRefusedError, IntegrityError, UsageError
from secure_platform.homes import initialise
from secure_platform.keys.catalog import KeyState, KeyVersion
from secure_platform.services import Services
from secure_platform.settings import load_settings

STAFF = {
    "ada": ("admin",),
    "abe": ("admin",),
    "petra": ("privacy_officer",),
    "otto": ("auditor",),
    "sam": ("data_steward",),
    "dan": ("data_engineer",),
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("custody") / "home"
    settings = load_settings(home=home)
    initialise(settings)
    services = Services(settings)
    for name, roles in STAFF.items():
        services.principals.add(name, roles=roles, actor="service:scheduler")
    services.keys.token_key("patient")
    return home


@pytest.fixture
def services(original: Path, tmp_path: Path) -> Services:
    return Services(load_settings(home=Path(shutil.copytree(original, tmp_path / "home"))))


def nothing_held(_: KeyVersion) -> None:
    """No legal hold needs it."""


def who(services: Services, name: str) -> Principal:
    found = services.principals.get(name)
    assert found is not None
    return found


def on_the_web(principal: Principal, minutes: float) -> Principal:
    proven = utc_now() - timedelta(minutes=minutes)
    return replace(principal, circumstances=Circumstances("web", "password", proven))


def state(services: Services, name: str, version: int) -> str:
    return services.custody.find(name, version).state


def test_a_key_is_disabled_by_one_person_and_destroyed_by_another(services: Services) -> None:
    custody, ada, petra = services.custody, who(services, "ada"), who(services, "petra")
    former = services.keys.token_key("patient")
    assert custody.rotate(ada, "token/patient").version == 2
    assert services.keys.token_key("patient", 1) == former
    custody.disable(ada, "token/patient", 1)
    with pytest.raises(IntegrityError, match="disabled"):
        services.keys.token_key("patient", 1)
    with pytest.raises(AccessDeniedError, match="forbid-destroying-alone"):
        custody.destroy(ada, "token/patient", 1, require_unheld=nothing_held)
    assert state(services, "token/patient", 1) == KeyState.DISABLED
    assert custody.destroy(petra, "token/patient", 1, require_unheld=nothing_held).state == KeyState.DESTROYED
    with pytest.raises(IntegrityError, match="destroyed"):
        Services(services.settings).keys.token_key("patient", 1)
    assert services.keys.token_key("patient").version == 2


def test_what_was_disabled_is_enabled_and_reads_again(services: Services) -> None:
    custody, petra = services.custody, who(services, "petra")
    former = services.keys.token_key("patient")
    custody.rotate(who(services, "ada"), "token/patient")
    custody.disable(petra, "token/patient", 1)
    assert custody.enable(petra, "token/patient", 1).state == KeyState.DECRYPT_ONLY
    assert services.keys.token_key("patient", 1) == former


def test_who_disabled_it_last_counts_across_a_rotation_of_pseudonyms(services: Services) -> None:
    custody, ada, abe = services.custody, who(services, "ada"), who(services, "abe")
    custody.rotate(ada, "token/patient")
    custody.disable(abe, "token/patient", 1)
    custody.enable(ada, "token/patient", 1)
    custody.disable(ada, "token/patient", 1)
    custody.rotate(abe, "digest")
    with pytest.raises(AccessDeniedError, match="forbid-destroying-alone"):
        custody.destroy(ada, "token/patient", 1, require_unheld=nothing_held)
    custody.destroy(abe, "token/patient", 1, require_unheld=nothing_held)


def test_a_key_that_nobody_is_known_to_have_disabled_is_not_destroyed(services: Services) -> None:
    """As after a crash between the change and its record, or by somebody who is no principal."""
    services.custody.rotate(who(services, "ada"), "token/patient")
    services.keys.lifecycle.disable("token/patient", 1, actor="somebody-else")
    with pytest.raises(AccessDeniedError, match="forbid-destroying-alone"):
        services.custody.destroy(who(services, "petra"), "token/patient", 1, require_unheld=nothing_held)


def test_the_schedule_rotates_a_secret_and_never_chooses_it(services: Services) -> None:
    """The secret of a proxy, or of an identity provider, is enough to be anybody."""
    custody, scheduler = services.secret_custody, who(services, "service:scheduler")
    custody.set(who(services, "ada"), "proxy", b"chosen by a person")
    before = services.secrets.get("secret://local/proxy").value
    with pytest.raises(AccessDeniedError, match="secret_manage"):
        custody.set(scheduler, "proxy", b"known to a thief")
    with pytest.raises(AccessDeniedError, match="secret_manage"):
        custody.remove(scheduler, "proxy")
    assert services.secrets.get("secret://local/proxy").value == before
    custody.rotate(scheduler, "secret://local/proxy")
    assert services.secrets.get("secret://local/proxy").value != before
    with pytest.raises(AccessDeniedError, match="key_rotate"):
        custody.rotate(who(services, "petra"), "secret://local/proxy")


@pytest.mark.parametrize("again", [False, True])
def test_what_somebody_enabled_meanwhile_is_not_destroyed(
    services: Services, monkeypatch: pytest.MonkeyPatch, *, again: bool
) -> None:
    """Whether it was left enabled, or the one who destroys it has disabled it alone."""
    custody, ada, petra = services.custody, who(services, "ada"), who(services, "petra")
    custody.rotate(ada, "token/patient")
    custody.disable(ada, "token/patient", 1)
    other = Services(services.settings).custody
    decides = services.policy.require

    def decided_and_then(*asked: Any, **further: Any) -> None:
        decides(*asked, **further)
        other.enable(ada, "token/patient", 1)
        if again:
            other.disable(petra, "token/patient", 1)

    monkeypatch.setattr(services.policy, "require", decided_and_then)
    with pytest.raises(GateRefusedError, match="changed by somebody else since it was looked at"):
        custody.destroy(petra, "token/patient", 1, require_unheld=nothing_held)
    assert state(services, "token/patient", 1) == (KeyState.DISABLED if again else KeyState.DECRYPT_ONLY)


@pytest.mark.parametrize("name", ["mac", "digest", "sign", "log"])
def test_what_evidence_rests_on_is_never_destroyed(services: Services, name: str) -> None:
    custody, ada = services.custody, who(services, "ada")
    custody.rotate(ada, name)
    with pytest.raises(AccessDeniedError, match="forbid-destroying-evidence"):
        custody.destroy(who(services, "petra"), name, 1, require_unheld=nothing_held)


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("ada", {"read", "rotate", "rewrap", "disable"}),
        ("petra", {"read", "disable"}),
        ("otto", {"read"}),
        ("sam", {"read"}),
        ("dan", set()),
        ("service:scheduler", {"rotate", "rewrap"}),
        ("service:deployer", set()),
        (None, set()),
    ],
)
def test_who_may_do_what(services: Services, name: str | None, may: set[str]) -> None:
    custody = services.custody
    custody.rotate(who(services, "ada"), "token/patient")
    caller = ANONYMOUS if name is None else who(services, name)
    tried: dict[str, Callable[[], object]] = {
        "read": lambda: custody.report(caller),
        "rotate": lambda: custody.rotate(caller, "token/patient"),
        "rewrap": lambda: custody.rewrap(caller),
        "disable": lambda: custody.disable(caller, "token/patient", 1),
    }
    for done, attempt in tried.items():
        if done in may:
            attempt()
        else:
            with pytest.raises(AccessDeniedError):
                attempt()


def test_a_session_that_somebody_took_over_changes_no_key(services: Services) -> None:
    custody, ada = services.custody, who(services, "ada")
    for stale in (on_the_web(ada, 16), replace(ada, circumstances=Circumstances("api", "token"))):
        for attempt in (
            partial(custody.rotate, stale, "token/patient"),
            partial(custody.disable, stale, "token/patient", 1),
            partial(custody.rewrap, stale),
        ):
            with pytest.raises(AccessDeniedError, match="forbid-custody-without-mfa"):
                attempt()
    assert custody.rotate(on_the_web(ada, 5), "token/patient").version == 2


@pytest.mark.parametrize("name", ["mac", "digest"])
def test_a_version_that_the_platform_itself_needs_is_not_disabled(services: Services, name: str) -> None:
    """Else nobody could be authenticated to enable it again."""
    custody, ada = services.custody, who(services, "ada")
    custody.rotate(ada, name)
    with pytest.raises(GateRefusedError, match=r"needs Version 1 of key"):
        custody.disable(ada, name, 1)
    assert Services(services.settings).principals.get("ada") == ada


def test_a_data_key_that_reasons_were_written_under_is_not_disabled(services: Services) -> None:
    custody, ada = services.custody, who(services, "ada")
    services.grants.give(
        ada, "dan", "analyst", product="sales", lasts=timedelta(days=1), reason="leave of ana"
    )
    custody.rotate(ada, "data")
    with pytest.raises(GateRefusedError, match="1 of access_grant"):
        custody.disable(ada, "data", 1)


def test_every_column_that_holds_bytes_is_a_hash_wrapped_or_known_to_need_the_data_key() -> None:
    columns = [column for table in metadata.sorted_tables for column in table.columns]
    binary = {str(column) for column in columns if isinstance(column.type, LargeBinary)}
    assert binary - {str(column) for column in ENCRYPTED} == {
        *("credential.link_hash", "session.secret_hash", "token.secret_hash"),
        *("key_version.wrapped", "subject_key.wrapped", "token_page.sealed"),
        # Counts under the log's keyed names, authenticated.
        "habit.state",
    }


def test_an_unknown_key_is_named(services: Services) -> None:
    ada = who(services, "ada")
    for name, version in (("tokens", None), ("token/patient", 7)):
        with pytest.raises(UsageError, match=r"There is no (key|version 7)"):
            services.custody.find(name, version)
    with pytest.raises(UsageError, match="There is no key"):
        services.custody.rotate(ada, "token/nobody")


def test_a_state_that_was_edited_in_the_database_counts_for_nothing(services: Services) -> None:
    custody, ada = services.custody, who(services, "ada")
    custody.rotate(ada, "token/patient")
    custody.disable(ada, "token/patient", 1)
    with services.database.write() as connection:
        connection.execute(
            update(key_version).where(key_version.c.state == "disabled").values(state="active")
        )
    with pytest.raises(IntegrityError):
        Services(services.settings).keys.token_key("patient", 1)


def test_who_comes_second_to_a_rotation_alarms_nobody(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(services.custody, "_announce", lambda event, **_: told.append(event))
    services.custody.rotate(who(services, "ada"), "data", after=1)
    with pytest.raises(GateRefusedError, match="newest version is 2"):
        services.custody.rotate(who(services, "abe"), "data", after=1)
    assert told == ["key.rotated"]
    assert "key.rotation_failed" not in {entry.body["action"] for entry in services.audit.entries()}


def test_what_was_done_is_recorded_and_told(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(services.custody, "_announce", lambda event, **_: told.append(event))
    ada, petra = who(services, "ada"), who(services, "petra")
    services.custody.rotate(ada, "token/patient")
    services.custody.disable(ada, "token/patient", 1)
    services.custody.destroy(petra, "token/patient", 1, require_unheld=nothing_held)
    assert told == ["key.rotated", "key.disabled", "key.destroyed"]
    entries = [entry.body for entry in services.audit.entries()]
    for action, name in (("key.rotate", "ada"), ("key.disable", "ada"), ("key.destroy", "petra")):
        phases = [body["phase"] for body in entries if body["action"] == action]
        assert phases == ["intent", "done"]
        done = next(body for body in entries if body["action"] == action)
        assert done["actor"] == services.keys.identify(name)
    asked = [body["detail"]["action"] for body in entries if body["action"] == "policy.decide"]
    assert asked == ["key_rotate", "key_disable", "key_destroy"]
