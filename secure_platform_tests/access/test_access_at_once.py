"""What another process changes counts at the very next request of one that has been asked before."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from access_home import Home, migrate
from identity_home import IdentityHome

from secure_platform.access.sessions import Session
from secure_platform.errors import AccessDeniedError, IntegrityError

PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from identity_home import IdentityHome
home = IdentityHome(Path(sys.argv[2]), None)
{}
home.audit.close()
"""


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[IdentityHome]:
    opened = IdentityHome(tmp_path, migrated)
    opened.person("alice", "data_engineer")
    yield opened
    opened.audit.close()
    opened.database.close()


def elsewhere(home: Home, statement: str) -> None:
    """Another process of ours does it."""
    program = PROGRAM.format(statement)
    folder = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", program, folder, str(home.directory)], check=True)


def tampering(home: Home, statement: str, *values: str) -> None:
    """Another program edits the database, as we never would."""
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1])\n"
        "with c:\n    c.execute(sys.argv[2], sys.argv[3:])\n"
    )
    path = str(home.directory / "control.db")
    subprocess.run([sys.executable, "-c", program, path, statement, *values], check=True)


def logged_in(home: IdentityHome) -> tuple[Session, Callable[[], str | None]]:
    """A session that was used already; who it says is calling."""
    alice = home.principals.get("alice")
    assert alice is not None
    opened = home.sessions.open(alice, method="password", address="127.0.0.1")

    def caller() -> str | None:
        found = home.sessions.authenticate(opened.secret)
        return None if found is None else ",".join([found[0].name, *sorted(found[0].roles)])

    assert [caller() for _ in range(3)] == ["alice,data_engineer"] * 3
    return opened.session, caller


def test_a_session_that_another_process_revokes_is_over(home: IdentityHome) -> None:
    session, caller = logged_in(home)
    elsewhere(home, f"home.sessions.revoke({session.session_id!r}, actor='admin')")
    assert caller() is None
    assert not home.sessions.lives(session.session_id)


def test_a_principal_whom_another_process_disables_is_nobody(home: IdentityHome) -> None:
    token = home.tokens.issue("alice", actor="admin")
    _, caller = logged_in(home)
    assert home.tokens.authenticate(token.secret).name == "alice"
    home.person("root", "admin")
    elsewhere(home, "home.principals.disable('alice', actor='admin')")
    assert caller() is None
    with pytest.raises(AccessDeniedError):
        home.tokens.authenticate(token.secret)


def test_roles_that_another_process_takes_are_gone(home: IdentityHome) -> None:
    _, caller = logged_in(home)
    elsewhere(home, "home.principals.change('alice', roles=[], actor='admin')")
    assert caller() == "alice"


def test_a_token_that_another_process_revokes_is_worthless(home: IdentityHome) -> None:
    token = home.tokens.issue("alice", actor="admin")
    assert home.tokens.authenticate(token.secret).name == "alice"
    elsewhere(home, f"home.tokens.revoke({token.token_id!r}, actor='admin')")
    with pytest.raises(AccessDeniedError, match="revoked"):
        home.tokens.authenticate(token.secret)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE principal SET roles = '[\"admin\"]'",
        "UPDATE session SET expires_at = '2099-01-01 00:00:00'",
        "UPDATE session SET principal = 'root'",
        "DELETE FROM principal WHERE name = 'alice'",
        "DELETE FROM session",
        "UPDATE key_version SET state = 'disabled' WHERE name = 'mac'",
        "UPDATE key_version SET wrapped = x'00' WHERE name = 'mac'",
        "DELETE FROM key_version WHERE name = 'mac'",
    ],
)
def test_what_another_program_edits_is_refused(home: IdentityHome, statement: str) -> None:
    home.person("root", "admin")
    _, caller = logged_in(home)
    tampering(home, statement)
    with pytest.raises(IntegrityError):
        caller()


def test_a_row_that_another_program_puts_back_is_refused(home: IdentityHome) -> None:
    session, caller = logged_in(home)
    older = row_of(home, session)
    home.sessions.revoke(session.session_id, actor="admin")
    assert caller() is None
    tampering(home, "UPDATE session SET revoked_at = NULL, seal = ?", str(older["seal"]))
    with pytest.raises(IntegrityError, match="A row of session"):
        caller()


def row_of(home: Home, session: Session) -> dict[str, object]:
    connection = sqlite3.connect(home.directory / "control.db")
    connection.row_factory = sqlite3.Row
    query = "SELECT * FROM session WHERE session_id = ?"
    row = dict(connection.execute(query, (session.session_id,)).fetchone())
    connection.close()
    return row


def test_a_seal_that_the_log_no_longer_knows_as_the_newest_is_refused_though_the_row_is_as_it_was(
    home: IdentityHome,
) -> None:
    """The database is untouched: it is the log that another process of ours has written to."""
    _, caller = logged_in(home)
    elsewhere(
        home,
        "name = f'principal:{home.audit.identify(\"alice\")}'\n"
        "detail = {'sealed': {name: 'm1:' + '0' * 64}}\n"
        "intent = home.audit._append('principal.change', 'a', 's', 'intent', {'detail': detail}).seq\n"
        "home.audit._append('principal.change', 'a', 's', 'done', {'intent': intent, 'detail': detail})\n",
    )
    with pytest.raises(IntegrityError, match="A row of principal"):
        caller()


def test_nobody_is_found_as_soon_as_they_are_somebody(home: IdentityHome) -> None:
    assert home.principals.get("bob") is None
    elsewhere(home, "home.person('bob', 'analyst')")
    found = home.principals.get("bob")
    assert found is not None
    assert found.roles == {"analyst"}


def test_an_idle_session_is_over_though_nothing_was_written(home: IdentityHome) -> None:
    _, caller = logged_in(home)
    home.clock.forward(minutes=31)
    assert caller() is None
