"""Hostile texts as reasons and names: kept exactly and signed, or refused."""

import json
from pathlib import Path

import pytest
from gate_support import DEPLOYER, Home, new_home

from secure_platform.access.reasons import LONGEST_REASON
from secure_platform.errors import UsageError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


def test_a_hostile_reason_is_kept_exactly_and_only_its_hash_is_logged(
    home: Home, naughty_strings: list[str]
) -> None:
    reasons = [""]
    for text in naughty_strings:
        together = f"{reasons[-1]}\n{text}"
        reasons[-1:] = [together] if len(together) <= LONGEST_REASON else [reasons[-1], text]
    for number, reason in enumerate(reasons):
        record = home.release(f"r{number}")
        home.gate.approve(record.digest, home.person("sam"), reason=reason, base=None)
        (approval,) = home.gate.deployable(record.digest, base=None, deployer=home.deployer)
        assert approval.reason == reason
    assert sum(map(len, reasons)) > sum(map(len, naughty_strings))
    logged = json.dumps([dict(entry.body) for entry in home.audit.entries()])
    assert not any(json.dumps(text)[1:-1] in logged for text in naughty_strings if len(text) > 12)
    home.audit.verify()


@pytest.mark.parametrize("reason", ["", " \t\n\u3000", "x" * (LONGEST_REASON + 1), "no text \udc80"])
def test_what_is_no_reason_is_refused_before_anything_is_recorded(home: Home, reason: str) -> None:
    record = home.release()
    size = home.audit.size()
    for decide in (home.gate.reject, home.gate.withdraw):
        with pytest.raises(UsageError, match="needs a reason"):
            decide(record.digest, home.person("sam"), reason=reason)
    assert "release.reject" not in {e.body["action"] for e in home.audit.entries()}
    assert home.gate.get(record.digest) == record
    assert home.audit.size() >= size


def test_hostile_names_of_principals_are_refused(home: Home, naughty_strings: list[str]) -> None:
    before = home.principals.list()
    more = ["\udc80", "a\0b", "a\u202eb", "\u0430lice", "alice ", DEPLOYER.upper()]
    taken = [name for name in [*naughty_strings, *more] if is_taken(home, name)]
    assert not set(taken) & set(more)
    assert all(name.isascii() and name.isprintable() and " " not in name for name in taken)
    assert len(home.principals.list()) == len(before) + len(taken)
    home.audit.verify()


def is_taken(home: Home, name: str) -> bool:
    try:
        home.principals.add(name, roles=["analyst"], actor="test")
    except UsageError as error:
        if len(str(error)) > 1_000 or not str(error).isprintable():
            raise
        return False
    return True
