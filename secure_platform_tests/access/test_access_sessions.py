"""Sessions: they end when idle, when old, when revoked, and whenever anything about them is not ours."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from access_home import migrate
from identity_home import IdentityHome
from sqlalchemy import delete, select, update

from secure_platform.access.sessions import ABSOLUTE, IDLE, OpenedSession, Sessions
from secure_platform.control.tables import session
from secure_platform.errors import IntegrityError, UsageError


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[IdentityHome]:
    opened = IdentityHome(tmp_path, migrated)
    opened.person("alice", "data_steward")
    opened.person("root", "admin")
    yield opened
    opened.audit.close()
    opened.database.close()


def log_in(home: IdentityHome, name: str = "alice", *, mfa: bool = False) -> OpenedSession:
    principal = home.principals.get(name)
    assert principal is not None
    proven = home.clock() if mfa else None
    return home.sessions.open(
        principal, method="password", address="192.0.2.1", client="Browser/1.0", mfa_at=proven
    )


def name_of(home: IdentityHome, opened: OpenedSession) -> str | None:
    found = home.sessions.authenticate(opened.secret)
    return None if found is None else found[0].name


def test_the_secret_is_who_logged_in_and_how(home: IdentityHome) -> None:
    opened = log_in(home, mfa=True)
    found = home.sessions.authenticate(opened.secret)
    assert found is not None
    principal, shown = found
    how = principal.circumstances
    assert (principal.name, principal.roles) == ("alice", frozenset({"data_steward"}))
    assert (how.channel, how.method, how.mfa_at) == ("web", "password", home.clock())
    assert shown.session_id == opened.session.session_id


def test_every_login_is_a_session_of_its_own(home: IdentityHome) -> None:
    first, second = log_in(home), log_in(home)
    assert first.secret != second.secret
    assert {each.session_id for each in home.sessions.list("alice")} == {
        first.session.session_id,
        second.session.session_id,
    }


def test_the_secret_is_neither_stored_nor_shown(home: IdentityHome) -> None:
    opened = log_in(home)
    random = opened.secret.rpartition("_")[2]
    home.audit.close()
    home.database.close()
    kept = b"".join(file.read_bytes() for file in sorted(home.directory.glob("*.db*")))
    assert random.encode() not in kept
    assert random not in repr(opened)


def test_unused_it_ends(home: IdentityHome) -> None:
    opened = log_in(home)
    home.clock.now += IDLE - timedelta(seconds=1)
    assert name_of(home, opened) == "alice"
    home.clock.now += IDLE - timedelta(seconds=1)
    assert name_of(home, opened) == "alice"
    home.clock.now += IDLE
    assert name_of(home, opened) is None
    assert home.sessions.list() == []
    assert not home.sessions.lives(opened.session.session_id)


def test_however_much_it_is_used_it_ends_one_day(home: IdentityHome) -> None:
    opened = log_in(home)
    until = home.clock.now + ABSOLUTE
    while home.clock.now < until - timedelta(minutes=20):
        home.clock.forward(minutes=20)
        assert name_of(home, opened) == "alice"
    home.clock.now = until
    assert name_of(home, opened) is None


def test_the_settings_say_when_it_ends(home: IdentityHome) -> None:
    parts = (home.database, home.audit, home.rows, home.principals)
    home.sessions = Sessions(
        *parts, idle=timedelta(minutes=2), absolute=timedelta(minutes=5), clock=home.clock
    )
    opened = log_in(home)
    for _ in range(4):
        home.clock.forward(minutes=1)
        assert name_of(home, opened) == "alice"
    home.clock.forward(minutes=1)
    assert name_of(home, opened) is None


def test_revoked_it_is_worthless_at_once_and_for_ever(home: IdentityHome) -> None:
    opened, other = log_in(home), log_in(home)
    assert home.sessions.lives(opened.session.session_id)
    home.sessions.revoke(opened.session.session_id, actor="root")
    home.sessions.revoke(opened.session.session_id, actor="root")
    assert name_of(home, opened) is None
    assert not home.sessions.lives(opened.session.session_id)
    assert name_of(home, other) == "alice"
    with pytest.raises(UsageError, match="no session"):
        home.sessions.revoke("0" * 32, actor="root")


def test_it_ends_with_its_principal(home: IdentityHome) -> None:
    opened = log_in(home)
    home.principals.disable("alice", actor="root")
    assert name_of(home, opened) is None
    assert not home.sessions.lives(opened.session.session_id)


def test_a_second_factor_is_noted_in_this_session_alone(home: IdentityHome) -> None:
    opened, other = log_in(home), log_in(home)
    home.clock.forward(minutes=5)
    proven = home.sessions.prove_mfa(opened.session.session_id)
    found, untouched = home.sessions.authenticate(proven.secret), home.sessions.authenticate(other.secret)
    assert found is not None
    assert untouched is not None
    assert found[0].circumstances.mfa_at == home.clock()
    assert untouched[0].circumstances.mfa_at is None
    assert (found[1].session_id, found[1].expires_at) == (
        opened.session.session_id,
        opened.session.expires_at,
    )


def test_whoever_copied_the_secret_before_has_no_part_in_a_second_factor(home: IdentityHome) -> None:
    opened = log_in(home)
    home.sessions.prove_mfa(opened.session.session_id)
    assert home.sessions.authenticate(opened.secret) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda secret: secret[:-1],
        lambda secret: secret + "A",
        lambda secret: secret[:-1] + ("A" if secret[-1] != "A" else "B"),
        lambda secret: secret.replace("sps_", "spt_"),
        lambda secret: secret + "\n",
        lambda secret: secret.upper(),
        lambda secret: "sps_" + "0" * 32 + secret[36:],
    ],
)
def test_any_other_secret_is_nobodys(home: IdentityHome, change: Callable[[str], str]) -> None:
    assert home.sessions.authenticate(change(log_in(home).secret)) is None


@pytest.mark.parametrize(
    "values",
    [
        {"principal": "root"},
        {"expires_at": None},
        {"mfa_at": None},
        {"method": "oidc"},
        {"secret_hash": b"x" * 32},
        {"address": "10.0.0.1"},
        {"seal": "m1:" + "0" * 64},
    ],
    ids=str,
)
def test_an_edited_session_is_refused(home: IdentityHome, values: dict[str, object]) -> None:
    opened = log_in(home, mfa=True)
    if "expires_at" in values:
        values = {"expires_at": home.clock() + timedelta(days=365)}
    if "mfa_at" in values:
        values = {"mfa_at": home.clock() + timedelta(hours=1)}
    with home.database.write() as connection:
        connection.execute(update(session).values(values))
    with pytest.raises(IntegrityError, match="session"):
        home.sessions.authenticate(opened.secret)


def test_a_session_from_before_its_revocation_put_back_is_refused(home: IdentityHome) -> None:
    opened = log_in(home)
    with home.database.read() as connection:
        before = dict(connection.execute(select(session)).one()._mapping)
    home.sessions.revoke(opened.session.session_id, actor="root")
    with home.database.write() as connection:
        connection.execute(update(session).values(before))
    with pytest.raises(IntegrityError, match="session"):
        home.sessions.authenticate(opened.secret)


def test_a_deleted_session_is_no_login(home: IdentityHome) -> None:
    opened = log_in(home)
    with home.database.write() as connection:
        connection.execute(delete(session))
    with pytest.raises(IntegrityError, match="session"):
        home.sessions.authenticate(opened.secret)


def test_what_a_browser_calls_itself_is_cut_off(home: IdentityHome) -> None:
    alice = home.principals.get("alice")
    assert alice is not None
    home.sessions.open(alice, method="password", address=None, client="x" * 5000)
    assert len(home.sessions.list("alice")[0].client) == 255


def test_openings_and_ends_are_recorded_without_names(home: IdentityHome) -> None:
    opened = log_in(home)
    home.sessions.revoke(opened.session.session_id, actor="root")
    said = [entry.body for entry in home.audit.entries() if entry.body["action"].startswith("session.")]
    assert [body["action"] for body in said] == ["session.open"] * 2 + ["session.revoke"] * 2
    assert "alice" not in str(said)
    assert {body["subject"] for body in said} == {f"session:{opened.session.session_id}"}
