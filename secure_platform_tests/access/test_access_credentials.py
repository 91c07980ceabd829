"""Credentials: one link, two factors, each code once."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from access_home import migrate
from argon2 import PasswordHasher
from identity_home import PASSWORD, IdentityHome, app_of
from sqlalchemy import delete, select, update

from secure_platform.access.credentials import LINK_LIVES
from secure_platform.access.seals import Change
from secure_platform.control.tables import credential
from secure_platform.errors import GateRefusedError, IntegrityError, UsageError


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[IdentityHome]:
    opened = IdentityHome(tmp_path, migrated)
    opened.person("alice")
    yield opened
    opened.audit.close()
    opened.database.close()


def stored(home: IdentityHome) -> dict[str, Any]:
    with home.database.read() as connection:
        return dict(connection.execute(select(credential)).one()._mapping)


def tamper(home: IdentityHome, **values: Any) -> None:
    with home.database.write() as connection:
        connection.execute(update(credential).values(values))


def test_with_the_link_a_person_sets_both_factors_and_logs_in(home: IdentityHome) -> None:
    app = home.set_up()
    principal = home.credentials.verify("alice", PASSWORD, home.code(app))
    assert principal is not None
    assert principal.name == "alice"


def test_with_fips_nobody_gets_a_password_here(home: IdentityHome) -> None:
    home.keys._opened.fips = True
    with pytest.raises(UsageError, match=r"Argon2id is not approved by FIPS 140-3.*keys\.fips"):
        home.set_up()
    assert stored(home)["password_hash"] is None


def test_nothing_that_proves_is_stored_or_recorded_in_clear(home: IdentityHome) -> None:
    link = home.credentials.invite("alice", actor="admin").link
    secret = home.credentials.secret_for(link)
    app = app_of(secret)
    home.credentials.set_up(link, home.code(app), PASSWORD)
    home.audit.close()
    home.database.close()
    kept = b"".join(file.read_bytes() for file in sorted(home.directory.glob("*.db*")))
    for shown in (link.encode(), PASSWORD.encode(), secret, app.secret.encode(), home.code(app).encode()):
        assert shown not in kept
    assert "spl_" not in repr(home.credentials.invite("alice", actor="admin"))


@pytest.mark.parametrize("code", ["", "000000", "12345", "1234567", "abcdef", "１２３４５６"])  # noqa: RUF001 wide digits
def test_a_wrong_code_is_refused(home: IdentityHome, code: str) -> None:
    home.set_up()
    assert home.credentials.verify("alice", PASSWORD, code) is None


@pytest.mark.parametrize("password", ["", PASSWORD.upper(), PASSWORD + "x", "x" * 10_000])
def test_a_wrong_password_is_refused_and_uses_no_code_up(home: IdentityHome, password: str) -> None:
    app = home.set_up()
    assert home.credentials.verify("alice", password, home.code(app)) is None
    assert home.credentials.verify("alice", PASSWORD, home.code(app))


def test_a_code_counts_once_and_so_do_those_before_it(home: IdentityHome) -> None:
    app = home.set_up()
    assert home.credentials.verify("alice", PASSWORD, home.code(app))
    assert home.credentials.verify("alice", PASSWORD, home.code(app)) is None
    assert home.credentials.prove("alice", home.code(app)) is None
    assert home.credentials.verify("alice", PASSWORD, home.code(app, -30)) is None
    assert home.credentials.prove("alice", home.code(app, 30))


def test_the_code_that_the_set_up_was_proven_with_is_used_up(home: IdentityHome) -> None:
    link = home.credentials.invite("alice", actor="admin").link
    app = app_of(home.credentials.secret_for(link))
    assert home.credentials.set_up(link, home.code(app), PASSWORD)
    assert home.credentials.verify("alice", PASSWORD, home.code(app)) is None


@pytest.mark.parametrize(("seconds", "counts"), [(-60, False), (-30, True), (30, True), (60, False)])
def test_a_clock_may_be_half_a_minute_off(home: IdentityHome, seconds: int, *, counts: bool) -> None:
    app = home.set_up()
    home.clock.forward(minutes=10)
    assert (home.credentials.verify("alice", PASSWORD, home.code(app, seconds)) is not None) == counts


def test_of_two_logins_with_one_code_at_once_one_counts(home: IdentityHome) -> None:
    app = home.set_up()
    with ThreadPoolExecutor(4) as pool:
        proven = pool.map(lambda _: home.credentials.prove("alice", home.code(app)), range(8))
    assert sum(each is not None for each in proven) == 1


def test_a_link_works_once(home: IdentityHome) -> None:
    link = home.credentials.invite("alice", actor="admin").link
    app = app_of(home.credentials.secret_for(link))
    assert home.credentials.invited(link)
    assert home.credentials.set_up(link, home.code(app), PASSWORD)
    assert home.credentials.invited(link) is None
    assert home.credentials.set_up(link, home.code(app, 30), PASSWORD) is None


def test_a_link_stops_working_after_a_day(home: IdentityHome) -> None:
    link = home.credentials.invite("alice", actor="admin").link
    home.clock.now += LINK_LIVES
    assert home.credentials.invited(link) is None
    assert (
        home.credentials.set_up(link, home.code(app_of(home.credentials.secret_for(link))), PASSWORD) is None
    )


def test_a_new_link_replaces_the_one_before(home: IdentityHome) -> None:
    first = home.credentials.invite("alice", actor="admin").link
    second = home.credentials.invite("alice", actor="admin").link
    assert home.credentials.invited(first) is None
    assert home.credentials.invited(second)


@pytest.mark.parametrize(
    "link", ["", "spl_", "spl_" + "A" * 43, "%", "' OR 1=1 --", "spl_" + "A" * 43 + "\n"]
)
def test_a_made_up_link_is_nobodys(home: IdentityHome, link: str) -> None:
    home.credentials.invite("alice", actor="admin")
    assert home.credentials.invited(link) is None


def test_a_link_with_a_wrong_code_or_a_bad_password_can_still_be_used(home: IdentityHome) -> None:
    link = home.credentials.invite("alice", actor="admin").link
    app = app_of(home.credentials.secret_for(link))
    assert home.credentials.set_up(link, "000000", PASSWORD) is None
    with pytest.raises(UsageError, match="tried first"):
        home.credentials.set_up(link, home.code(app), "alice alice alice")
    assert home.credentials.set_up(link, home.code(app), PASSWORD)


def test_until_a_new_link_is_used_the_old_factors_count_and_then_they_do_not(home: IdentityHome) -> None:
    before = home.set_up()
    link = home.credentials.invite("alice", actor="admin").link
    assert home.credentials.verify("alice", PASSWORD, home.code(before))
    home.clock.forward(minutes=1)
    after = app_of(home.credentials.secret_for(link))
    assert after.secret != before.secret
    assert home.credentials.set_up(link, home.code(after), "another sentence nobody knows")
    home.clock.forward(minutes=1)
    assert home.credentials.verify("alice", PASSWORD, home.code(after)) is None
    assert home.credentials.prove("alice", home.code(before)) is None


def disabled(home: IdentityHome) -> str:
    home.person("admin2", "admin")
    home.principals.disable("alice", actor="admin")
    return "alice"


def a_service(home: IdentityHome) -> str:
    return home.principals.add("robot", kind="service", roles=(), actor="admin").name


def nobody(_: IdentityHome) -> str:
    return "nobody"


@pytest.mark.parametrize("who", [disabled, a_service, nobody])
def test_only_an_active_person_gets_a_link(home: IdentityHome, who: Callable[[IdentityHome], str]) -> None:
    with pytest.raises(UsageError, match="no active person"):
        home.credentials.invite(who(home), actor="admin")


def test_a_disabled_person_neither_logs_in_nor_uses_a_link(home: IdentityHome) -> None:
    app = home.set_up()
    link = home.credentials.invite("alice", actor="admin").link
    disabled(home)
    assert home.credentials.verify("alice", PASSWORD, home.code(app)) is None
    assert home.credentials.prove("alice", home.code(app)) is None
    assert home.credentials.invited(link) is None
    code = home.code(app_of(home.credentials.secret_for(link)))
    assert home.credentials.set_up(link, code, PASSWORD) is None


@pytest.mark.parametrize("name", ["bob", "", "nobody", "Alice", "alice\x00", "x" * 5_000])
def test_an_unknown_name_is_refused(home: IdentityHome, name: str) -> None:
    app = home.set_up()
    assert home.credentials.verify(name, PASSWORD, home.code(app)) is None


def test_for_whom_somebody_else_vouches_has_codes_only(home: IdentityHome) -> None:
    home.principals.provision("ldaps://ldap.example", "7", name="bob", roles=(), groups=(), email=None)
    app = home.set_up("bob")
    assert home.credentials.has_code("bob")
    for password in ("", PASSWORD, "nobody has this password"):
        assert home.credentials.verify("bob", password, home.code(app)) is None
    assert home.credentials.prove("bob", home.code(app))


@pytest.mark.usefixtures("slow_passwords")
def test_a_weaker_hash_is_renewed_at_the_next_login(
    home: IdentityHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with monkeypatch.context() as patch:
        patch.setattr("secure_platform.access.passwords._hasher", weak)
        app = home.set_up()
    assert ",t=1," in stored(home)["password_hash"]
    assert home.credentials.verify("alice", PASSWORD, home.code(app))
    assert ",t=3," in stored(home)["password_hash"]
    assert home.credentials.verify("alice", PASSWORD, home.code(app, 30))


def a_hash_of_ones_own(home: IdentityHome) -> None:
    tamper(home, password_hash=PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD))


def an_earlier_step(home: IdentityHome) -> None:
    tamper(home, totp_step=1)


def a_link_of_ones_own(home: IdentityHome) -> None:
    tamper(home, link_hash=b"x" * 32)


def the_secret_of_another(home: IdentityHome) -> None:
    home.person("eve")
    home.set_up("eve", "eve has this sentence alone")
    with home.database.read() as connection:
        theirs: bytes = connection.execute(
            select(credential.c.totp_secret).where(credential.c.principal == "eve")
        ).scalar_one()
    tamper(home, totp_secret=theirs)


@pytest.mark.parametrize(
    "change", [a_hash_of_ones_own, an_earlier_step, a_link_of_ones_own, the_secret_of_another]
)
def test_an_edited_row_stops_the_login(home: IdentityHome, change: Callable[[IdentityHome], None]) -> None:
    app = home.set_up()
    change(home)
    with pytest.raises(IntegrityError, match="credential"):
        home.credentials.verify("alice", PASSWORD, home.code(app))


def test_an_older_row_put_back_stops_the_login(home: IdentityHome) -> None:
    app = home.set_up()
    before = stored(home)
    assert home.credentials.verify("alice", PASSWORD, home.code(app))
    tamper(home, **before)
    with pytest.raises(IntegrityError, match="credential"):
        home.credentials.verify("alice", PASSWORD, home.code(app))


def test_a_deleted_row_stops_the_login(home: IdentityHome) -> None:
    app = home.set_up()
    with home.database.write() as connection:
        connection.execute(delete(credential))
    with pytest.raises(IntegrityError, match="credential"):
        home.credentials.verify("alice", PASSWORD, home.code(app))


def test_the_log_says_what_happened_and_names_nobody(home: IdentityHome) -> None:
    home.set_up()
    with sqlite3.connect(home.directory / "audit.db") as log:
        bodies = b"".join(body for (body,) in log.execute("SELECT body FROM entry"))
    assert b"credential.invite" in bodies
    assert b"credential.set" in bodies
    assert b"alice" not in bodies


def test_who_announces_the_same_row_too_late_does_not_take_it_away(home: IdentityHome) -> None:
    home.set_up()
    before = home.rows.one(credential, "alice")
    assert before is not None
    after = {name: value for name, value in before.items() if name != "seal"} | {"totp_step": 7}
    home.rows.write(
        "credential.use", [Change(credential, before, after)], actor="alice", subject="credential"
    )
    with pytest.raises(GateRefusedError):
        home.rows.write(
            "credential.use", [Change(credential, before, after)], actor="alice", subject="credential"
        )
    row = home.rows.one(credential, "alice")
    assert row is not None
    assert row["totp_step"] == 7
