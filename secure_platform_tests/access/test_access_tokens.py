"""Tokens: which one gets in, and that nothing else does."""

import os
import pickle
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from access_home import Home, migrate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secure_platform.access.principals import Principal, Principals
from secure_platform.access.tokens import Tokens, read_token
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.errors import AccessDeniedError, UsageError


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrate(tmp_path_factory.mktemp("migrated") / "control.db")


@pytest.fixture
def home(tmp_path: Path, migrated: Path) -> Iterator[Home]:
    opened = Home(tmp_path, migrated)
    yield opened
    opened.audit.close()
    opened.database.close()


def test_a_token_is_its_principal(home: Home) -> None:
    issued = home.add("alice", "data_steward")
    assert re.fullmatch(r"spt_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", issued.secret)
    assert issued.secret.split("_")[1] == issued.token_id
    assert home.tokens.authenticate(issued.secret) == Principal(
        "alice", "user", frozenset({"data_steward"}), active=True
    )
    assert timedelta(days=89) < issued.expires_at - utc_now() <= timedelta(days=90)


def test_tokens_are_all_different(home: Home) -> None:
    home.add()
    issued = [home.tokens.issue("alice", actor="admin") for _ in range(20)]
    assert len({token.secret for token in issued}) == len({token.token_id for token in issued}) == 20


def test_only_the_hash_is_stored(home: Home) -> None:
    issued = home.add()
    secret = issued.secret.removeprefix(f"spt_{issued.token_id}_")
    assert home.token(issued.token_id).secret_hash == sha256(issued.secret.encode()).digest()
    home.database.close()
    home.audit.close()
    for file in filter(Path.is_file, home.directory.iterdir()):
        assert secret.encode() not in file.read_bytes(), file.name
    assert secret not in f"{issued} {issued!r}"


def test_every_changed_character_of_a_token_is_refused(home: Home) -> None:
    issued = home.add()
    for position, character in enumerate(issued.secret):
        other = "a" if character != "a" else "b"
        with pytest.raises(AccessDeniedError):
            home.tokens.authenticate(issued.secret[:position] + other + issued.secret[position + 1 :])


MALFORMED: list[Callable[[str], str]] = [
    lambda _: "",
    lambda token: token + "\n",
    lambda token: " " + token,
    lambda token: token[:-1],
    lambda token: token + "A",
    str.upper,
    lambda token: token.replace("spt_", "spt-"),
    lambda token: token.replace("spt_", "SPT_"),
    lambda token: token[:10] + "\0" + token[11:],
    lambda token: token[:5] + "\u0661" + token[6:],
    lambda token: "spt_" + "'" * 16 + token[20:],
    lambda token: "Bearer " + token,
    lambda token: token * 1000,
    lambda token: token[:-1] + "\udcff",
]


@pytest.mark.parametrize("change", MALFORMED)
def test_malformed_tokens_are_refused(home: Home, change: Callable[[str], str]) -> None:
    issued = home.add()
    with pytest.raises(AccessDeniedError, match="is not a token"):
        home.tokens.authenticate(change(issued.secret))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(text=st.text(max_size=80) | st.from_regex(r"spt_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", fullmatch=True))
def test_no_other_text_gets_in(home: Home, text: str) -> None:
    with pytest.raises(AccessDeniedError):
        home.tokens.authenticate(text)


def test_the_secret_of_one_token_does_not_open_another(home: Home) -> None:
    alice, bob = home.add(), home.add("bob")
    mixed = f"spt_{bob.token_id}_{alice.secret[21:]}"
    with pytest.raises(AccessDeniedError, match="not one of this home"):
        home.tokens.authenticate(mixed)


def test_an_expired_token_is_refused_from_its_last_moment_on(home: Home) -> None:
    issued = home.add()
    assert as_utc(home.token(issued.token_id).expires_at) == issued.expires_at
    home.write_token(issued.token_id, expires_at=utc_now() + timedelta(minutes=1))
    home.tokens.authenticate(issued.secret)
    home.write_token(issued.token_id, expires_at=utc_now())
    with pytest.raises(AccessDeniedError, match=f"token {issued.token_id} has expired"):
        home.tokens.authenticate(issued.secret)


def test_a_wrong_secret_learns_nothing_about_the_token(home: Home) -> None:
    issued = home.add()
    guess = issued.secret[:-43] + "A" * 43
    texts = set()
    for change in ({}, {"expires_at": utc_now()}, {"revoked_at": utc_now()}):
        if change:
            home.write_token(issued.token_id, **change)
        with pytest.raises(AccessDeniedError) as refusal:
            home.tokens.authenticate(guess)
        texts.add(str(refusal.value))
    with pytest.raises(AccessDeniedError) as unknown:
        home.tokens.authenticate("spt_" + "0" * 16 + "_" + "A" * 43)
    assert texts == {str(unknown.value)}


def test_a_revoked_token_is_refused_and_another_one_goes_on(home: Home) -> None:
    first = home.add()
    second = home.tokens.issue("alice", actor="admin")
    home.tokens.revoke(first.token_id, actor="admin")
    with pytest.raises(AccessDeniedError, match=f"token {first.token_id} was revoked"):
        home.tokens.authenticate(first.secret)
    assert home.tokens.authenticate(second.secret).name == "alice"
    revoked = home.token(first.token_id).revoked_at
    home.tokens.revoke(first.token_id, actor="admin")
    assert home.token(first.token_id).revoked_at == revoked


def test_revoking_an_unknown_token_does_not_repeat_what_was_typed(home: Home) -> None:
    """Somebody may paste the whole token."""
    issued = home.add()
    before = home.audit.size()
    with pytest.raises(UsageError, match="no token with this id") as refusal:
        home.tokens.revoke(issued.secret, actor="admin")
    assert issued.secret not in str(refusal.value)
    assert home.audit.size() == before


@pytest.mark.parametrize("days", [0, -1, 366, 10**9])
def test_lifetimes_out_of_range_are_refused(home: Home, days: int) -> None:
    home.add()
    with pytest.raises(UsageError, match=f"valid for {days} days.*1 to 365"):
        home.tokens.issue("alice", actor="admin", days=days)


def test_lifetimes_at_the_ends(home: Home) -> None:
    home.add()
    for days in (1, 365):
        issued = home.tokens.issue("alice", actor="admin", days=days)
        assert timedelta(days=days - 1) < issued.expires_at - utc_now() <= timedelta(days=days)


def test_another_process_sees_what_was_changed_here(home: Home) -> None:
    issued = home.add("alice", "analyst")
    database = ControlDatabase.at(home.directory / "control.db")
    others = Principals(database, home.audit, home.rows)
    other = Tokens(database, home.audit, home.rows, others)
    assert other.authenticate(issued.secret).name == "alice"
    home.tokens.revoke(issued.token_id, actor="admin")
    with pytest.raises(AccessDeniedError):
        other.authenticate(issued.secret)


def test_an_issued_token_is_not_pickled(home: Home) -> None:
    with pytest.raises(UsageError, match="holds key material"):
        pickle.dumps(home.add())


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "alice.token"
    file.write_text("spt_0123456789abcdef_" + "x" * 43 + "\n")
    file.chmod(0o600)
    return file


def test_a_private_token_file_is_read(token_file: Path) -> None:
    assert read_token(token_file) == token_file.read_text().strip()


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o666, 0o400, 0o700, 0o777])
def test_a_token_file_of_another_mode_is_refused(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(UsageError, match=f"mode {mode:04o}.*chmod 600"):
        read_token(token_file)


def test_a_token_file_that_is_no_file_of_ours_is_refused(
    token_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(token_file)
    with pytest.raises(UsageError, match="symbolic link"):
        read_token(link)
    with pytest.raises(UsageError, match="not a regular file"):
        read_token(tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        read_token(tmp_path / "missing")
    ours = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: ours + 1)
    with pytest.raises(UsageError, match="belongs to user id"):
        read_token(token_file)


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"secret", b"spt_0123456789abcdef_", b"\xff" * 64, b"spt_0123456789abcdef_" + b"x" * 44],
)
def test_a_file_without_a_token_is_refused_without_its_content(token_file: Path, content: bytes) -> None:
    token_file.write_bytes(content)
    with pytest.raises(UsageError, match="does not hold one token") as refusal:
        read_token(token_file)
    assert "spt_" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_a_file_with_two_tokens_or_a_long_tail_is_refused(token_file: Path) -> None:
    token = token_file.read_text()
    for content in (token * 2, token + "x", " " * 300 + token):
        token_file.write_text(content)
        with pytest.raises(UsageError, match="does not hold one token"):
            read_token(token_file)
