"""Principals: how they come, go, and what is recorded of it."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from access_home import Home, migrate
from sqlalchemy import select

from secure_platform.access.circumstances import Circumstances
from secure_platform.access.principals import ANONYMOUS, ROLES, Principal
from secure_platform.control.database import utc_now
from secure_platform.control.tables import principal as principal_table
from secure_platform.control.tables import token as token_table
from secure_platform.errors import AccessDeniedError, IntegrityError, UsageError


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[Home]:
    opened = Home(tmp_path, migrated)
    yield opened
    opened.audit.close()
    opened.database.close()


def test_added_principals_are_found_and_listed(home: Home) -> None:
    bob = home.principals.add("bob", roles=["analyst", "data_steward", "analyst"], actor="admin")
    deployer = home.principals.add("service:deployer", kind="service", roles=["pipeline"], actor="admin")
    scheduler = home.principals.add("service:scheduler", kind="service", roles=(), actor="admin")
    assert bob == Principal("bob", "user", frozenset({"analyst", "data_steward"}), active=True)
    assert home.principals.get("bob") == bob
    assert home.principals.get("nobody") is None
    assert home.principals.list() == [bob, deployer, scheduler]


@pytest.mark.parametrize("name", ["ab", "a1", "eve@example.org", "a" * 128, "a.b_c-d:e@f"])
def test_names_that_can_be_used(home: Home, name: str) -> None:
    assert home.principals.add(name, roles=[], actor="admin").name == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "Alice",
        "1a",
        ":a",
        "al ice",
        "alice\n",
        "älice",
        "al\u0131ce",
        "а" + "lice",  # noqa: RUF001 a Cyrillic letter
        "a" * 129,
        "a\0b",
        'a"b',
        "a'; DROP TABLE principal; --",
        "anonymous",
    ],
)
def test_what_cannot_be_a_name_is_refused_and_not_recorded(home: Home, name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a principal's name"):
        home.principals.add(name, roles=[], actor="admin")
    assert home.principals.list() == []
    assert home.audit.size() == 0


@pytest.mark.parametrize("name", ["service:key-ring", "service:gate", "service:nobody"])
def test_nobody_is_named_as_the_platform_names_itself(home: Home, name: str) -> None:
    """The audit log says who did something by name only."""
    with pytest.raises(UsageError, match="names a program, not a person"):
        home.principals.add(name, roles=["admin"], actor="admin")
    assert home.principals.get(name) is None
    assert home.principals.add(name, kind="service", roles=["pipeline"], actor="admin").kind == "service"


@pytest.mark.parametrize("role", ["Admin", "root", "", "admin ", "steward"])
def test_unknown_roles_are_refused(home: Home, role: str) -> None:
    with pytest.raises(UsageError, match=f"no role '{role}'.*data_steward"):
        home.principals.add("alice", roles=["analyst", role], actor="admin")


def test_an_unknown_kind_is_refused(home: Home) -> None:
    with pytest.raises(UsageError, match="'robot' is not a kind"):
        home.principals.add("alice", kind="robot", roles=[], actor="admin")  # type: ignore[arg-type] # the point


def test_a_name_is_taken_once_and_for_all(home: Home) -> None:
    home.principals.add("alice", roles=["analyst"], actor="admin")
    home.principals.disable("alice", actor="admin")
    with pytest.raises(UsageError, match="alice exists already"):
        home.principals.add("alice", roles=["data_steward"], actor="admin")
    assert home.principals.get("alice") == Principal("alice", "user", frozenset({"analyst"}), active=False)
    assert home.entries()[-2:] == [
        ("principal.add", "intent", "principal"),
        ("principal.add", "failed", "principal"),
    ]


def test_disable_revokes_every_token_at_once(home: Home) -> None:
    first = home.add()
    second = home.tokens.issue("alice", actor="admin")
    other = home.add("bob")
    home.principals.disable("alice", actor="admin")
    alice = home.principals.get("alice")
    assert alice is not None
    assert not alice.active
    for issued in (first, second):
        with pytest.raises(AccessDeniedError, match="was revoked"):
            home.tokens.authenticate(issued.secret)
    assert home.tokens.authenticate(other.secret).name == "bob"
    with pytest.raises(UsageError, match="alice is disabled"):
        home.tokens.issue("alice", actor="admin")
    home.principals.disable("alice", actor="admin")


def test_a_revoked_token_whose_row_was_put_back_is_found(home: Home) -> None:
    issued = home.add()
    before = home.token(issued.token_id)
    home.principals.disable("alice", actor="admin")
    home.set_token(issued.token_id, revoked_at=None, seal=before.seal)
    with pytest.raises(IntegrityError, match="A row of token"):
        home.tokens.authenticate(issued.secret)


def test_roles_and_groups_change_from_now_on(home: Home) -> None:
    issued = home.add("alice", "analyst")
    changed = home.principals.change("alice", roles=["data_steward"], groups=["clinical"], actor="admin")
    assert changed.roles == {"data_steward"}
    assert changed.groups == {"clinical"}
    assert home.tokens.authenticate(issued.secret) == changed
    assert home.principals.change("alice", groups=[], actor="admin").roles == {"data_steward"}
    size = home.audit.size()
    home.principals.change("alice", groups=[], actor="admin")
    assert home.audit.size() == size


def test_nobody_changes_their_own_roles_and_an_administrator_stays(home: Home) -> None:
    home.add("admin", "admin")
    with pytest.raises(UsageError, match="their own roles"):
        home.principals.change("admin", roles=["admin", "data_steward"], actor="admin")
    with pytest.raises(UsageError, match="only administrator"):
        home.principals.change("admin", roles=["data_steward"], actor="somebody")
    with pytest.raises(UsageError, match="no role 'emperor'"):
        home.principals.change("admin", roles=["emperor"], actor="somebody")
    with pytest.raises(UsageError, match="no principal nobody"):
        home.principals.change("nobody", roles=[], actor="somebody")


ISSUER = "https://id.example.org"


def provision(home: Home, subject: str, name: str, *roles: str, issuer: str = ISSUER) -> Principal:
    return home.principals.provision(
        issuer, subject, name=name, roles=roles, groups=["clinical"], email="a@example.org"
    )


def test_a_provider_makes_a_principal_and_says_what_they_may(home: Home) -> None:
    first = provision(home, "s1", "alice", "analyst")
    assert first == home.principals.get("alice")
    assert first.groups == {"clinical"}
    again = provision(home, "s1", "renamed", "data_steward")
    assert again.name == "alice"
    assert again.roles == {"data_steward"}
    assert home.principals.get("renamed") is None
    size = home.audit.size()
    provision(home, "s1", "alice", "data_steward")
    assert home.audit.size() == size


def test_a_name_is_never_taken_over(home: Home) -> None:
    home.add("local", "admin")
    provision(home, "s1", "alice", "analyst")
    for subject, name, issuer in (
        ("s2", "alice", ISSUER),
        ("s1", "alice", "https://other.example.org"),
        ("s3", "local", ISSUER),
    ):
        with pytest.raises(AccessDeniedError, match=f"The name {name} belongs to another"):
            provision(home, subject, name, "admin", issuer=issuer)
    for name in ("anonymous", "service:deployer", "Alice", ""):
        with pytest.raises(UsageError):
            provision(home, "s4", name)
    assert home.principals.get("alice") == Principal(
        "alice", "user", frozenset({"analyst"}), active=True, groups=frozenset({"clinical"})
    )


def test_who_was_disabled_stays_disabled_whatever_the_provider_says(home: Home) -> None:
    provision(home, "s1", "alice", "analyst")
    home.principals.disable("alice", actor="admin")
    assert not provision(home, "s1", "alice", "data_steward").active


def test_only_who_is_logged_in_on_the_web_page_makes_their_own_token(home: Home) -> None:
    issued = home.add("alice", "analyst")
    alice = home.tokens.authenticate(issued.secret)
    with pytest.raises(AccessDeniedError, match="logged in on the web page"):
        home.tokens.issue_own(alice)
    session = replace(alice, circumstances=Circumstances("web", "password"))
    made = home.tokens.issue_own(session, days=7, label="ci", scopes=["build:sales", "build:sales"])
    assert home.tokens.authenticate(made.secret).circumstances.scopes == frozenset({"build:sales"})
    (listed,) = [each for each in home.tokens.list("alice") if each.token_id == made.token_id]
    assert (listed.label, listed.scopes, listed.works(utc_now())) == ("ci", ("build:sales",), True)
    home.tokens.revoke(made.token_id, actor="alice")
    assert [each.token_id for each in home.tokens.list()] == [issued.token_id]


@pytest.mark.parametrize("scope", ["", "Build", "build:", "build sales", "build:Sales", "a:b:c", "x" * 100])
def test_what_is_no_scope_is_refused(home: Home, scope: str) -> None:
    home.add()
    with pytest.raises(UsageError, match="is not a scope"):
        home.tokens.issue("alice", actor="admin", scopes=[scope])
    with pytest.raises(UsageError, match="label"):
        home.tokens.issue("alice", actor="admin", label="two\nlines")


def test_the_last_administrator_stays(home: Home) -> None:
    home.add("admin", "admin")
    home.add("alice", "data_steward")
    with pytest.raises(UsageError, match=r"only administrator.*role admin first"):
        home.principals.disable("admin", actor="admin")
    home.add("second", "admin", "auditor")
    home.principals.disable("admin", actor="second")
    with pytest.raises(UsageError, match="only administrator"):
        home.principals.disable("second", actor="second")
    home.principals.disable("alice", actor="second")


@pytest.mark.parametrize("unknown", ["nobody", "anonymous", ""])
def test_an_unknown_principal_is_neither_disabled_nor_given_a_token(home: Home, unknown: str) -> None:
    for use in (home.principals.disable, home.tokens.issue):
        with pytest.raises(UsageError, match=f"no principal {unknown}"):
            use(unknown, actor="admin")


def test_every_change_is_recorded_before_and_after(home: Home) -> None:
    issued = home.add("alice", "data_steward")
    home.tokens.revoke(issued.token_id, actor="admin")
    home.principals.disable("alice", actor="admin")
    token = f"token:{issued.token_id}"
    assert home.entries() == [
        (action, phase, subject)
        for action, subject in (
            ("principal.add", "principal"),
            ("token.issue", token),
            ("token.revoke", token),
            ("principal.disable", "principal"),
        )
        for phase in ("intent", "done")
    ]
    bodies = [entry.body for entry in home.audit.entries()]
    assert {body["actor"] for body in bodies} == {home.audit.identify("admin")}
    assert bodies[0]["detail"].pop("sealed").keys() == {f"principal:{home.audit.identify('alice')}"}
    assert bodies[0]["detail"] == {
        "principal": home.audit.identify("alice"),
        "kind": "user",
        "roles": ["data_steward"],
    }
    assert bodies[2]["detail"]["principal"] == home.audit.identify("alice")
    assert "alice" not in str(bodies)
    assert issued.secret not in str(bodies)


def test_every_refusal_is_recorded_without_the_secret(home: Home) -> None:
    issued = home.add()
    expired, revoked = (home.tokens.issue("alice", actor="admin") for _ in range(2))
    home.write_token(expired.token_id, expires_at=utc_now())
    home.tokens.revoke(revoked.token_id, actor="admin")
    before = home.audit.size()
    guess = issued.secret[:-43] + "B" * 43
    for presented in ("nonsense-secret", guess, expired.secret, revoked.secret):
        with pytest.raises(AccessDeniedError) as refusal:
            home.tokens.authenticate(presented)
        assert presented[-43:] not in str(refusal.value)
    bodies = [entry.body for entry in home.audit.entries(before)]
    assert [(b["action"], b["phase"], b["detail"]["reason"], b["subject"]) for b in bodies] == [
        ("token.refuse", "event", "malformed", "token"),
        ("token.refuse", "event", "unknown", "token"),
        ("token.refuse", "event", "expired", f"token:{expired.token_id}"),
        ("token.refuse", "event", "revoked", f"token:{revoked.token_id}"),
    ]
    for presented in ("nonsense-secret", guess[-43:], expired.secret[-43:], revoked.secret[-43:]):
        assert presented not in str(bodies)


def test_success_is_not_a_refusal(home: Home) -> None:
    issued = home.add()
    before = home.audit.size()
    home.tokens.authenticate(issued.secret)
    assert home.audit.size() == before


def test_without_a_record_nothing_changes(home: Home) -> None:
    """The log is made read-only for appending: the intent fails, and so the change never happens."""
    issued = home.add()
    home.audit.close()
    with sqlite3.connect(home.directory / "audit.db") as connection:
        connection.execute("ALTER TABLE entry RENAME TO gone")
    changes: list[Callable[[], object]] = [
        lambda: home.principals.add("bob", roles=[], actor="admin"),
        lambda: home.principals.disable("alice", actor="admin"),
        lambda: home.tokens.issue("alice", actor="admin"),
        lambda: home.tokens.revoke(issued.token_id, actor="admin"),
    ]
    for change in changes:
        with pytest.raises(IntegrityError):
            change()
    with home.database.read() as connection:
        tokens = connection.execute(select(token_table)).all()
        people = connection.execute(select(principal_table)).all()
    assert [(row.name, row.active) for row in people] == [("alice", True)]
    assert [(row.token_id, row.revoked_at) for row in tokens] == [(issued.token_id, None)]


def test_anonymous_has_no_roles_and_never_authenticates(home: Home) -> None:
    assert Principal("anonymous", "service", frozenset(), active=True) == ANONYMOUS
    assert home.principals.get("anonymous") is None
    assert len(ROLES) == 10


def test_importing_access_is_cheap_enough_for_the_command_line() -> None:
    """No data frame library comes along."""
    program = (
        "import secure_platform.access.policy, sys; print('polars' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
