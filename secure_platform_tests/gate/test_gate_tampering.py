"""Somebody who can write the control database cannot forge, move or stretch an approval."""

import base64
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from gate_support import Clock, Home, digest, new_home
from sqlalchemy import select

from secure_platform.access.policy import Policy
from secure_platform.audit.verify import parse_body
from secure_platform.control.tables import approval as approval_table
from secure_platform.errors import GateRefusedError, IntegrityError
from secure_platform.gate.approvals import PREDICATE_TYPE
from secure_platform.gate.closed import Closings, release_subject
from secure_platform.gate.releases import Gate
from secure_platform.gate.states import ReleaseState
from secure_platform.release.bundle import sign_statement, verify_bundle


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path, clock: Clock) -> Home:
    return new_home(tmp_path, clock)


def bundle(home: Home, record_digest: str) -> str:
    with home.database.read() as connection:
        query = select(approval_table.c.bundle).where(approval_table.c.release == record_digest)
        found: str = connection.execute(query).scalar_one()
    return found


def replace(home: Home, record_digest: str, content: str) -> None:
    home.tamper(
        "UPDATE approval SET bundle = :bundle WHERE release = :release",
        bundle=content,
        release=record_digest,
    )


def refused(home: Home, record_digest: str, error: type[Exception] = IntegrityError) -> None:
    """Neither deployment nor any other decision goes past it."""
    with pytest.raises(error):
        home.gate.deployable(record_digest, base=None, deployer=home.deployer)
    if error is IntegrityError:
        for act in (
            lambda: home.gate.withdraw(record_digest, home.person("sam"), reason="x"),
            lambda: home.gate.approve(record_digest, home.person("tess"), reason="x", base=None),
            lambda: home.gate.approvals(record_digest),
        ):
            with pytest.raises(IntegrityError):
                act()


def test_an_approved_state_without_approvals_is_worth_nothing(home: Home) -> None:
    record = home.release()
    home.tamper("UPDATE release SET state = 'approved'")
    refused(home, record.digest, GateRefusedError)


@pytest.mark.parametrize("place", range(0, 1200, 97))
def test_an_edited_bundle_is_found(home: Home, place: int) -> None:
    record = home.approved()
    content = bundle(home, record.digest)
    place %= len(content)
    changed = "A" if content[place] != "A" else "B"
    replace(home, record.digest, content[:place] + changed + content[place + 1 :])
    refused(home, record.digest)


def test_an_edited_payload_is_found(home: Home) -> None:
    record = home.approved()
    document = json.loads(bundle(home, record.digest))
    payload = base64.b64decode(document["dsseEnvelope"]["payload"])
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload.replace(b"sam", b"tom")).decode()
    replace(home, record.digest, json.dumps(document, separators=(",", ":"), sort_keys=True))
    refused(home, record.digest)


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", "x" * 2_000_000])
def test_what_is_no_bundle_is_found(home: Home, content: str) -> None:
    record = home.approved()
    replace(home, record.digest, content)
    refused(home, record.digest)


def test_the_bundle_of_another_release_is_found(home: Home) -> None:
    first = home.approved("r1")
    other = bundle(home, first.digest)
    second = home.approved("r2")
    replace(home, second.digest, other)
    refused(home, second.digest)


def test_an_approval_row_moved_to_another_release_is_found(home: Home) -> None:
    first = home.approved("r1")
    second = home.release("r2")
    home.tamper("UPDATE approval SET release = :to", to=second.digest)
    home.tamper("UPDATE release SET state = 'approved' WHERE digest = :to", to=second.digest)
    refused(home, second.digest)
    assert home.gate.approvals(first.digest) == []


def test_an_approval_for_another_environment_is_found(home: Home) -> None:
    record = home.approved(environment="staging")
    home.tamper("UPDATE release SET environment = 'production'")
    refused(home, record.digest)


@pytest.mark.parametrize(
    "change",
    [
        "classification = 'public'",
        "requested_by = 'tess'",
        "product = 'finance'",
        "number = 7",
    ],
)
def test_an_edited_release_no_longer_fits_its_approvals(home: Home, change: str) -> None:
    record = home.approved()
    home.tamper(f"UPDATE release SET {change}")  # noqa: S608 - constants
    refused(home, record.digest)


@pytest.mark.parametrize("change", ["principal = 'tess'", "reason = x'00'", "reason = x''"])
def test_an_edited_approval_row_is_found(home: Home, change: str) -> None:
    record = home.approved()
    home.tamper(f"UPDATE approval SET {change}")  # noqa: S608 - constants
    refused(home, record.digest)


def test_a_rejection_turned_into_an_approval_is_found(home: Home) -> None:
    record = home.release()
    home.gate.reject(record.digest, home.person("sam"), reason="x")
    home.tamper("UPDATE approval SET decision = 'approve'")
    home.tamper("UPDATE release SET state = 'approved'")
    refused(home, record.digest)


def test_an_edited_base_makes_the_approval_stale(home: Home) -> None:
    record = home.approved(base=digest("old"))
    home.tamper("UPDATE release SET base = :base", base=digest("new"))
    with pytest.raises(GateRefusedError, match="valid approvals: 0"):
        home.gate.deployable(record.digest, base=digest("new"), deployer=home.deployer)


def test_a_stretched_expiry_does_not_stretch_the_approval(home: Home, clock: Clock) -> None:
    record = home.approved()
    home.tamper("UPDATE release SET expires_at = '2099-01-01 00:00:00.000000'")
    clock.advance(days=6)
    assert home.gate.deployable(record.digest, base=None, deployer=home.deployer)
    clock.advance(days=1)
    with pytest.raises(GateRefusedError, match="valid approvals: 0"):
        home.gate.deployable(record.digest, base=None, deployer=home.deployer)


def test_a_copied_row_does_not_make_two_approvals(home: Home) -> None:
    record = home.release(classification="restricted")
    home.gate.approve(record.digest, home.person("sam"), reason="x", base=None)
    home.tamper(
        "INSERT INTO approval (release, principal, decision, reason, bundle, created_at)"
        " SELECT release, 'tess', decision, reason, bundle, created_at FROM approval"
    )
    refused(home, record.digest)


def test_a_statement_of_our_key_that_is_no_decision_is_found(home: Home) -> None:
    record = home.approved()
    for kind, predicate in (
        ("https://in-toto.io/attestation/release/v0.2", {"principal": "sam"}),
        (PREDICATE_TYPE, {"principal": "sam", "decision": "approve"}),
    ):
        made = sign_statement(
            home.keys,
            subject_name="manifest.json",
            subject_digest=record.digest,
            predicate_type=kind,
            predicate=predicate,
        )
        replace(home, record.digest, made.decode())
        refused(home, record.digest)


def test_a_bundle_signed_in_another_home_is_found(home: Home, tmp_path: Path) -> None:
    record = home.approved()
    foreign = Home(tmp_path / "foreign", Clock())
    foreign.approved()
    replace(home, record.digest, bundle(foreign, record.digest))
    refused(home, record.digest)


def reject(home: Home, _clock: Clock, name: str) -> None:
    home.gate.reject(name, home.person("sam"), reason="x")


def withdraw(home: Home, _clock: Clock, name: str) -> None:
    home.gate.approve(name, home.person("sam"), reason="x", base=None)
    home.gate.withdraw(name, home.person("tess"), reason="x")


def expire(home: Home, clock: Clock, name: str) -> None:
    home.gate.approve(name, home.person("sam"), reason="x", base=None)
    clock.advance(days=8)
    home.gate.list()
    clock.advance(days=-8)


def supersede(home: Home, _clock: Clock, name: str) -> None:
    home.gate.approve(name, home.person("sam"), reason="x", base=None)
    home.release("r2")


def deploy(home: Home, _clock: Clock, name: str) -> None:
    home.gate.approve(name, home.person("sam"), reason="x", base=None)
    home.gate.record(name, ReleaseState.DEPLOYED, actor="a")


def roll_back(home: Home, clock: Clock, name: str) -> None:
    deploy(home, clock, name)
    home.gate.record(name, ReleaseState.ROLLED_BACK, actor="a")


CLOSED: dict[Callable[[Home, Clock, str], None], str] = {
    reject: "release.reject, which",
    withdraw: "release.withdraw, which",
    expire: "release.expire, which",
    supersede: "release.register of a newer one, which",
    deploy: "release.deployed, which",
    roll_back: "release.(deployed|rolled_back), which",
}


@pytest.mark.parametrize("state", ["pending", "approved", "deploy_failed"])
@pytest.mark.parametrize("close", CLOSED)
def test_a_closed_release_is_not_opened_again_by_editing_the_database(
    home: Home, clock: Clock, close: Callable[[Home, Clock, str], None], state: str
) -> None:
    """Its approval is genuine, and what closed it is deleted: only the audit log still tells."""
    record = home.release()
    close(home, clock, record.digest)
    home.tamper("DELETE FROM approval WHERE decision <> 'approve'")
    home.tamper("UPDATE release SET state = :state WHERE digest = :name", state=state, name=record.digest)
    said = rf"is stored as {state}, but audit entry \d+ records {CLOSED[close]} closed it"
    for act in (
        lambda: home.gate.deployable(record.digest, base=None, deployer=home.deployer),
        lambda: home.gate.approve(record.digest, home.person("tess"), reason="x", base=None),
    ):
        with pytest.raises(IntegrityError, match=said):
            act()


def test_what_closed_a_release_is_found_between_its_registration_and_the_write_lock(home: Home) -> None:
    """Entries before a registration began are not read, those that come while the lock is waited for are."""
    record = home.release()
    closings = Closings(home.audit, record.digest)
    closings.require_none(record)
    home.gate.reject(record.digest, home.person("sam"), reason="x")
    with pytest.raises(IntegrityError, match=r"release\.reject, which closed it"):
        closings.require_none(record)
    with pytest.raises(GateRefusedError, match="registered already"):
        home.release()
    with pytest.raises(IntegrityError, match=r"release\.reject, which closed it"):
        Closings(home.audit, record.digest).require_none(record)


def test_a_rejection_that_overtook_the_record_of_the_registration_is_found(home: Home) -> None:
    record = home.release()
    name = digest("late")
    with home.audit.effect("release.register", actor="a", subject=release_subject(name)) as outcome:
        outcome["superseded"] = []
        with home.audit.effect("release.reject", actor="a", subject=release_subject(name)):
            pass
    with pytest.raises(IntegrityError, match=r"release\.reject, which closed it"):
        Closings(home.audit, name).require_none(record)


def test_only_the_log_since_its_registration_is_read_for_a_release(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("secure_platform.audit.reader.PAGE", 2)
    read: list[int] = []

    def noticed(seq: int, body: bytes) -> Mapping[str, Any]:
        read.append(seq)
        return parse_body(seq, body)

    for number in range(5):
        home.audit.append("asset.check", actor="a", subject=f"{digest('r1')} {number}")
    begun = home.audit.size()
    record = home.release("r1")
    monkeypatch.setattr("secure_platform.audit.reader.parse_body", noticed)
    Closings(home.audit, record.digest).require_none(record)
    assert read == [begun + 1, begun]


def test_an_approval_holds_only_under_the_policies_that_were_in_force(home: Home, tmp_path: Path) -> None:
    record = home.approved()
    more = tmp_path / "policies"
    more.mkdir()
    (more / "more.cedar").write_text(
        '@id("auditors-deploy")\n'
        'permit (principal in Role::"auditor", action == Action::"release_deploy", resource);\n'
    )
    policy = Policy(home.audit, more)
    edited = Gate(home.database, home.audit, policy, home.keys, home.principals, clock=Clock())
    with pytest.raises(GateRefusedError, match="an approval was given under other policies") as caught:
        edited.deployable(record.digest, base=None, deployer=home.deployer)
    assert "is pending, valid approvals: 0" in str(caught.value)
    edited.approve(record.digest, home.person("sam"), reason="seen again", base=None)
    assert edited.deployable(record.digest, base=None, deployer=home.deployer)
    assert home.gate.approvals(record.digest)[0].given.policy == policy.digest


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda home: home.principals.disable("sam", actor="ada"),
            r"could not be given now \(forbid-inactive\)",
        ),
        (
            lambda home: home.principals.change("sam", roles=[], actor="ada"),
            r"could not be given now \(no rule permits",
        ),
        (
            lambda home: home.tamper("UPDATE release SET base = 'sha256:0'"),
            r"could not be given now \(forbid-stale-base\)",
        ),
    ],
)
def test_a_deployer_is_told_why_an_approval_no_longer_counts(
    home: Home, change: Callable[[Home], object], why: str
) -> None:
    record = home.approved()
    change(home)
    with pytest.raises(GateRefusedError, match=why):
        home.gate.deployable(record.digest, base=None, deployer=home.deployer)


def test_the_approval_says_exactly_what_was_approved(home: Home) -> None:
    record = home.approved(base=digest("old"))
    stated = verify_bundle(
        home.keys,
        bundle(home, record.digest).encode(),
        predicate_type=PREDICATE_TYPE,
        subject_digest=record.digest,
    )
    reason = stated["reason"]
    assert reason.startswith("m1:")
    assert len(stated["nonce"]) == 32
    assert {k: v for k, v in stated.items() if k not in {"nonce", "reason"}} == {
        "product": "healthcare",
        "number": 1,
        "environment": "production",
        "classification": "confidential",
        "requested_by": "rita",
        "principal": "sam",
        "decision": "approve",
        "base": digest("old"),
        "policy": home.policy.digest,
        "approver_groups": [[], []],
        "circumstances": {
            "channel": "web",
            "method": "password",
            "mfa_age_s": 0,
            "address": "192.0.2.7",
            "groups": [],
            "grants": [],
            "behalf": [],
        },
        "created_at": "2026-11-01T12:00:00+00:00",
        "not_after": "2026-11-08T12:00:00+00:00",
    }
