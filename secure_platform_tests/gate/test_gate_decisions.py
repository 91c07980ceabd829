"""Who may decide what on a release, and when their decision counts."""

from datetime import timedelta
from pathlib import Path

import pytest
from gate_support import DEPLOYER, Clock, Home, digest, new_home

from secure_platform.access.principals import ANONYMOUS, Principal
from secure_platform.canonical import sha256
from secure_platform.errors import (
    AccessDeniedError,
    ContractError,
    GateRefusedError,
    IntegrityError,
    UsageError,
)
from secure_platform.gate.states import ReleaseState


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path, clock: Clock) -> Home:
    return new_home(tmp_path, clock)


def deployable(home: Home, record_digest: str, base: str | None = None) -> list[str]:
    approvals = home.gate.deployable(record_digest, base=base, deployer=home.deployer)
    return [approval.principal for approval in approvals]


def test_from_registration_to_production(home: Home) -> None:
    record = home.release()
    assert record.state is ReleaseState.PENDING
    assert home.gate.list("healthcare") == [record]
    approved = home.gate.approve(record.digest, home.person("sam"), reason="rows fit", base=None)
    assert approved.state is ReleaseState.APPROVED
    assert approved == home.gate.get(record.digest)
    (approval,) = home.gate.deployable(record.digest, base=None, deployer=home.deployer)
    assert (approval.principal, approval.reason, approval.base) == ("sam", "rows fit", None)
    assert approval.not_after == record.expires_at
    deployed = home.gate.record(record.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    assert deployed.state is ReleaseState.DEPLOYED
    assert home.gate.list() == [deployed]
    assert home.audit.verify().unfinished == ()


def test_every_change_is_announced_and_its_outcome_recorded(home: Home) -> None:
    record = home.approved()
    home.gate.record(record.digest, ReleaseState.DEPLOY_FAILED, actor=DEPLOYER)
    home.gate.withdraw(record.digest, home.person("sam"), reason="broken")
    for action in ("register", "approve", "deploy_failed", "withdraw"):
        assert home.phases(f"release.{action}") == ["intent", "done"], action
    (approval, _) = home.gate.approvals(record.digest)
    done = [e.body for e in home.audit.entries() if e.body["action"] == "release.approve"][1]
    assert done["detail"] == {
        "nonce": approval.nonce,
        "bundle": sha256(approval.bundle),
        "state": "approved",
    }


def test_reasons_and_names_stay_out_of_the_audit_log(home: Home) -> None:
    record = home.release()
    home.gate.approve(record.digest, home.person("sam"), reason="CANARY asked Dr. Canary", base=None)
    logged = b"".join(p.read_bytes() for p in home.path.glob("audit.db*"))
    assert b"CANARY" not in logged.upper()
    assert b'"sam"' not in logged
    assert home.gate.approvals(record.digest)[0].reason == "CANARY asked Dr. Canary"
    assert b"CANARY" not in home.gate.approvals(record.digest)[0].bundle


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 2_001])
def test_a_decision_needs_a_reason(home: Home, reason: str) -> None:
    record = home.release()
    with pytest.raises(UsageError, match="reason"):
        home.gate.approve(record.digest, home.person("sam"), reason=reason, base=None)


def test_the_requester_cannot_approve_their_own_release(home: Home) -> None:
    record = home.release(requested_by="sam")
    with pytest.raises(AccessDeniedError, match="forbid-self-approval"):
        home.gate.approve(record.digest, home.person("sam"), reason="mine", base=None)
    assert home.gate.get(record.digest).state is ReleaseState.PENDING
    assert home.phases("release.approve") == ["intent", "failed"]


@pytest.mark.parametrize("name", ["rita", "ada", "both", "anna", "olga", "pia", DEPLOYER])
def test_who_is_not_a_data_steward_cannot_approve(home: Home, name: str) -> None:
    record = home.release(requested_by="tess")
    with pytest.raises(AccessDeniedError):
        home.gate.approve(record.digest, home.person(name), reason="x", base=None)
    assert home.gate.approvals(record.digest) == []


@pytest.mark.parametrize("name", ["rita", "ada", "anna", "olga", "pia", DEPLOYER])
def test_who_is_not_a_data_steward_cannot_reject(home: Home, name: str) -> None:
    record = home.release()
    with pytest.raises(AccessDeniedError):
        home.gate.reject(record.digest, home.person(name), reason="x")


def test_nobody_and_the_unknown_decide_nothing(home: Home) -> None:
    record = home.release()
    ghost = Principal("ghost", "user", frozenset({"data_steward"}), active=True)
    for principal in (ANONYMOUS, ghost):
        with pytest.raises(AccessDeniedError):
            home.gate.approve(record.digest, principal, reason="x", base=None)
        with pytest.raises(AccessDeniedError):
            home.gate.reject(record.digest, principal, reason="x")
        with pytest.raises(AccessDeniedError):
            home.gate.withdraw(record.digest, principal, reason="x")


def test_rights_are_those_of_now_and_not_of_the_authentication(home: Home) -> None:
    record = home.release()
    sam = home.person("sam")
    home.principals.disable("sam", actor="ada")
    with pytest.raises(AccessDeniedError, match="forbid-inactive"):
        home.gate.approve(record.digest, sam, reason="x", base=None)
    pretender = Principal("anna", "user", frozenset({"data_steward"}), active=True)
    with pytest.raises(AccessDeniedError):
        home.gate.approve(record.digest, pretender, reason="x", base=None)


def test_a_digest_that_is_not_registered_is_refused(home: Home) -> None:
    home.release()
    with pytest.raises(GateRefusedError, match="No release"):
        home.gate.approve(digest("other"), home.person("sam"), reason="x", base=None)
    with pytest.raises(GateRefusedError, match="No release"):
        deployable(home, digest("other"))
    with pytest.raises(GateRefusedError, match="No release"):
        home.gate.get("x")


@pytest.mark.parametrize("name", ["", "sha256:", "sha256:" + "A" * 64, "0" * 64, f"{digest('r1')}\n"])
def test_what_is_no_digest_is_refused_before_anything_is_logged(home: Home, name: str) -> None:
    size = home.audit.size()
    for act in (
        lambda: home.gate.approve(name, home.person("sam"), reason="x", base=None),
        lambda: home.gate.record(name, ReleaseState.DEPLOYED, actor=DEPLOYER),
        lambda: deployable(home, name),
        lambda: home.release(digest=name),
    ):
        with pytest.raises(UsageError):
            act()
    assert home.audit.size() == size


def test_an_approval_against_another_base_is_refused(home: Home) -> None:
    record = home.release(base=digest("old"))
    for base in (None, digest("newer")):
        with pytest.raises(AccessDeniedError, match="forbid-stale-base"):
            home.gate.approve(record.digest, home.person("sam"), reason="x", base=base)
    assert home.gate.approve(record.digest, home.person("sam"), reason="x", base=digest("old"))


def test_a_release_is_not_deployed_over_another_base(home: Home) -> None:
    record = home.approved(base=digest("old"))
    for base in (None, digest("newer"), record.digest):
        with pytest.raises(GateRefusedError, match="forbid-stale-base"):
            deployable(home, record.digest, base)
    assert deployable(home, record.digest, digest("old")) == ["sam"]


@pytest.mark.parametrize("name", ["rita", "sam", "ada", "anna"])
def test_only_the_pipeline_service_deploys(home: Home, name: str) -> None:
    record = home.approved()
    with pytest.raises(GateRefusedError):
        home.gate.deployable(record.digest, base=None, deployer=home.person(name))


def test_a_disabled_or_anonymous_deployer_is_refused(home: Home) -> None:
    record = home.approved()
    deployer = home.deployer
    with pytest.raises(GateRefusedError, match="forbid-anonymous"):
        home.gate.deployable(record.digest, base=None, deployer=ANONYMOUS)
    home.principals.disable(DEPLOYER, actor="ada")
    with pytest.raises(GateRefusedError, match="forbid-inactive"):
        home.gate.deployable(record.digest, base=None, deployer=deployer)


def test_a_pending_release_is_not_deployable(home: Home) -> None:
    record = home.release()
    with pytest.raises(GateRefusedError, match="is pending, valid approvals: 0"):
        deployable(home, record.digest)


def test_restricted_data_needs_two_people(home: Home) -> None:
    record = home.release(classification="restricted")
    first = home.gate.approve(record.digest, home.person("sam"), reason="one", base=None)
    assert first.state is ReleaseState.PENDING
    with pytest.raises(GateRefusedError):
        deployable(home, record.digest)
    with pytest.raises(AccessDeniedError, match="forbid-double-approval"):
        home.gate.approve(record.digest, home.person("sam"), reason="again", base=None)
    second = home.gate.approve(record.digest, home.person("tess"), reason="two", base=None)
    assert second.state is ReleaseState.APPROVED
    assert deployable(home, record.digest) == ["sam", "tess"]


def test_an_approved_release_is_not_approved_again(home: Home) -> None:
    record = home.approved()
    for name in ("sam", "tess"):
        with pytest.raises(GateRefusedError, match="is approved and cannot become approved"):
            home.gate.approve(record.digest, home.person(name), reason="again", base=None)
    assert len(home.gate.approvals(record.digest)) == 1


def test_a_disabled_approver_no_longer_counts_and_another_may_take_over(home: Home) -> None:
    record = home.approved()
    home.principals.disable("sam", actor="ada")
    with pytest.raises(GateRefusedError, match="is pending, valid approvals: 0"):
        deployable(home, record.digest)
    home.gate.approve(record.digest, home.person("tess"), reason="instead", base=None)
    assert deployable(home, record.digest) == ["tess"]


@pytest.mark.parametrize("roles", [[], ["analyst"], ["data_steward", "admin"]])
def test_an_approver_who_lost_the_role_no_longer_counts(home: Home, roles: list[str]) -> None:
    record = home.approved()
    home.principals.change("sam", roles=roles, actor="ada")
    with pytest.raises(GateRefusedError):
        deployable(home, record.digest)


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM principal WHERE name = 'sam'",
        "UPDATE principal SET kind = 'service' WHERE name = 'sam'",
        "UPDATE principal SET roles = '[\"data_steward\", \"admin\"]' WHERE name = 'sam'",
    ],
)
def test_an_approver_whose_row_was_tampered_with_stops_everything(home: Home, change: str) -> None:
    record = home.approved()
    home.tamper(change)
    with pytest.raises(IntegrityError, match="A row of principal"):
        deployable(home, record.digest)


def test_one_of_two_approvers_lost_is_not_enough(home: Home) -> None:
    record = home.release(classification="restricted")
    for name in ("sam", "tess"):
        home.gate.approve(record.digest, home.person(name), reason="x", base=None)
    home.principals.disable("tess", actor="ada")
    with pytest.raises(GateRefusedError, match="valid approvals: 1"):
        deployable(home, record.digest)


def test_a_rejected_release_stays_rejected(home: Home) -> None:
    record = home.release()
    rejected = home.gate.reject(record.digest, home.person("sam"), reason="rows missing")
    assert rejected.state is ReleaseState.REJECTED
    with pytest.raises(GateRefusedError, match="is rejected"):
        home.gate.approve(record.digest, home.person("tess"), reason="x", base=None)
    with pytest.raises(GateRefusedError):
        deployable(home, record.digest)
    with pytest.raises(GateRefusedError, match="is rejected"):
        home.gate.withdraw(record.digest, home.person("rita"), reason="x")


def test_an_approver_may_still_reject_while_more_approvals_are_needed(home: Home) -> None:
    record = home.release(classification="restricted")
    home.gate.approve(record.digest, home.person("sam"), reason="x", base=None)
    rejected = home.gate.reject(record.digest, home.person("sam"), reason="second thoughts")
    assert rejected.state is ReleaseState.REJECTED
    assert [a.decision for a in home.gate.approvals(record.digest)] == ["approve", "reject"]


def test_requester_and_steward_withdraw_even_an_approved_release(home: Home) -> None:
    for number, name in enumerate(("rita", "sam")):
        record = home.approved(f"r{number}")
        withdrawn = home.gate.withdraw(record.digest, home.person(name), reason="wrong")
        assert withdrawn.state is ReleaseState.WITHDRAWN
        with pytest.raises(GateRefusedError):
            deployable(home, record.digest)
    record = home.approved("r3")
    with pytest.raises(AccessDeniedError):
        home.gate.withdraw(record.digest, home.person("anna"), reason="x")


def test_nobody_withdraws_what_is_in_production(home: Home) -> None:
    record = home.approved()
    home.gate.record(record.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    with pytest.raises(GateRefusedError, match="is deployed"):
        home.gate.withdraw(record.digest, home.person("sam"), reason="x")


def test_a_pending_release_expires(home: Home, clock: Clock) -> None:
    record = home.release()
    clock.advance(days=7, microseconds=-1)
    assert home.gate.get(record.digest).state is ReleaseState.PENDING
    clock.advance(microseconds=1)
    with pytest.raises(GateRefusedError, match="is expired"):
        home.gate.approve(record.digest, home.person("sam"), reason="late", base=None)
    assert home.phases("release.expire") == ["intent", "done"]
    assert [r.state for r in home.gate.list()] == [ReleaseState.EXPIRED]
    assert home.phases("release.expire") == ["intent", "done"]


def test_an_approved_release_expires_and_a_clock_set_back_does_not_revive_it(
    home: Home, clock: Clock
) -> None:
    record = home.approved()
    clock.advance(days=8)
    with pytest.raises(GateRefusedError, match="is expired"):
        deployable(home, record.digest)
    clock.advance(days=-5)
    with pytest.raises(GateRefusedError, match="is expired"):
        deployable(home, record.digest)
    with pytest.raises(GateRefusedError, match="is expired"):
        home.gate.withdraw(record.digest, home.person("sam"), reason="x")


def test_only_the_pipeline_restores_and_only_what_is_in_production(home: Home) -> None:
    record = home.approved()
    with pytest.raises(AccessDeniedError):
        home.gate.authorise_restore(record.digest, home.deployer)
    home.gate.record(record.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    home.gate.authorise_restore(record.digest, home.deployer)
    for name in ("sam", "ada", "rita"):
        with pytest.raises(AccessDeniedError):
            home.gate.authorise_restore(record.digest, home.person(name))


def test_what_is_in_production_does_not_expire(home: Home, clock: Clock) -> None:
    record = home.approved()
    home.gate.record(record.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    clock.advance(days=1000)
    assert home.gate.get(record.digest).state is ReleaseState.DEPLOYED


def test_a_release_that_runs_out_while_it_is_decided_is_refused(tmp_path: Path) -> None:
    clock = Clock()
    home = new_home(tmp_path, clock)
    record = home.release()
    written = home.gate._write_expiry

    def write_and_wait() -> None:
        written()
        clock.advance(days=8)

    home.gate._write_expiry = write_and_wait  # type: ignore[method-assign]
    with pytest.raises(GateRefusedError, match="is expired"):
        home.gate.approve(record.digest, home.person("sam"), reason="x", base=None)


def test_a_new_release_supersedes_the_open_ones_of_its_product(home: Home) -> None:
    other = home.release("other", product="finance")
    deployed = home.approved("r0")
    home.gate.record(deployed.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    rejected = home.release("r1", base=deployed.digest)
    home.gate.reject(rejected.digest, home.person("sam"), reason="x")
    approved = home.approved("r2", base=deployed.digest)
    pending = home.release("r3", base=deployed.digest)
    newest = home.release("r4", base=deployed.digest)
    states = {r.digest: r.state for r in home.gate.list()}
    assert states == {
        other.digest: ReleaseState.PENDING,
        deployed.digest: ReleaseState.DEPLOYED,
        rejected.digest: ReleaseState.REJECTED,
        approved.digest: ReleaseState.SUPERSEDED,
        pending.digest: ReleaseState.SUPERSEDED,
        newest.digest: ReleaseState.PENDING,
    }
    with pytest.raises(GateRefusedError, match="is superseded"):
        home.gate.approve(pending.digest, home.person("sam"), reason="x", base=deployed.digest)
    with pytest.raises(GateRefusedError, match="is superseded"):
        deployable(home, approved.digest, deployed.digest)
    last = [e.body for e in home.audit.entries() if e.body["action"] == "release.register"][-1]
    assert last["detail"] == {"superseded": [pending.digest]}


def test_a_digest_or_number_that_is_taken_is_refused_and_changes_nothing(home: Home) -> None:
    record = home.release()
    for changes in ({"number": 9}, {"digest": digest("r2"), "number": 1}):
        with pytest.raises(GateRefusedError, match="registered already"):
            home.release(**changes)
    assert home.gate.list() == [record]


def test_an_unknown_classification_is_refused(home: Home) -> None:
    with pytest.raises(ContractError):
        home.release(classification="secret")


def test_numbers_count_per_product(home: Home) -> None:
    assert home.gate.next_number("healthcare") == 1
    home.release("a")
    home.release("b")
    assert home.gate.next_number("healthcare") == 3
    assert home.gate.next_number("finance") == 1


def test_the_same_input_finds_its_release_while_that_counts(home: Home, clock: Clock) -> None:
    def found(name: str) -> str | None:
        record = home.gate.find("healthcare", f"input of {name}")
        return None if record is None else record.digest

    assert found("r1") is None
    first = home.release("r1")
    assert found("r1") == first.digest
    assert found("r2") is None
    assert home.gate.find("finance", "input of r1") is None
    home.gate.approve(first.digest, home.person("sam"), reason="x", base=None)
    assert found("r1") == first.digest
    home.gate.record(first.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    assert found("r1") == first.digest
    second = home.approved("r2", base=first.digest)
    assert (found("r1"), found("r2")) == (first.digest, second.digest)
    home.gate.record(second.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    assert (found("r1"), found("r2")) == (None, second.digest)
    home.gate.record(second.digest, ReleaseState.ROLLED_BACK, actor="sam")
    assert (found("r1"), found("r2")) == (first.digest, None)
    stale = home.release("r3", base=second.digest)
    assert stale.base == second.digest
    assert found("r3") is None
    fourth = home.release("r4", base=first.digest)
    assert found("r4") == fourth.digest
    clock.advance(days=8)
    assert (found("r4"), found("r1")) == (None, first.digest)
    fifth = home.release("r5", base=first.digest)
    home.gate.reject(fifth.digest, home.person("sam"), reason="x")
    assert found("r5") == fifth.digest
    sixth = home.release("r6", base=first.digest)
    home.gate.withdraw(sixth.digest, home.person("sam"), reason="x")
    assert found("r6") is None


def two_deployed(home: Home) -> tuple[str, str]:
    first = home.approved("r1")
    home.gate.record(first.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    second = home.approved("r2", base=first.digest)
    home.gate.record(second.digest, ReleaseState.DEPLOYED, actor=DEPLOYER)
    return first.digest, second.digest


def test_a_rollback_is_decided_and_signed_like_everything_else(home: Home) -> None:
    first, second = two_deployed(home)
    record = home.gate.authorise_rollback(first, home.person("tess"), reason="wrong rows", base=second)
    assert (record.digest, record.state) == (first, ReleaseState.DEPLOYED)
    made = home.gate.approvals(first)[-1]
    assert (made.principal, made.decision, made.base) == ("tess", "rollback", second)
    assert home.phases("release.rollback") == ["intent", "done"]
    # A rollback that failed half way is authorised again.
    home.gate.authorise_rollback(first, home.person("tess"), reason="again", base=second)
    assert home.gate.record(second, ReleaseState.ROLLED_BACK, actor="tess").state == "rolled_back"


@pytest.mark.parametrize("name", ["rita", "anna", "olga", "pia", DEPLOYER])
def test_who_may_not_roll_back_does_not(home: Home, name: str) -> None:
    first, second = two_deployed(home)
    with pytest.raises(AccessDeniedError):
        home.gate.authorise_rollback(first, home.person(name), reason="x", base=second)
    with pytest.raises(AccessDeniedError):
        home.gate.authorise_rollback(first, ANONYMOUS, reason="x", base=second)


def test_production_goes_back_only_to_what_was_in_production(home: Home) -> None:
    first, second = two_deployed(home)
    third = home.approved("r3", base=second)
    steward = home.person("sam")
    for target in (third.digest, second):
        with pytest.raises(GateRefusedError, match="cannot go back"):
            home.gate.authorise_rollback(target, steward, reason="x", base=second)
    home.gate.record(second, ReleaseState.ROLLED_BACK, actor="sam")
    with pytest.raises(GateRefusedError, match="cannot go back"):
        home.gate.authorise_rollback(second, steward, reason="x", base=first)


def test_nothing_changes_when_the_audit_log_cannot_be_written(home: Home) -> None:
    record = home.release()
    moved = home.path / "audit.moved"
    (home.path / "audit.db").rename(moved)
    with pytest.raises(IntegrityError):
        home.gate.approve(record.digest, home.person("sam"), reason="x", base=None)
    with pytest.raises(IntegrityError):
        home.release("r2")
    moved.rename(home.path / "audit.db")
    assert home.gate.list() == [record]
    assert home.gate.approvals(record.digest) == []


def test_a_shorter_lifetime_is_honoured(tmp_path: Path, clock: Clock) -> None:
    home = new_home(tmp_path, clock)
    home.gate._lifetime = timedelta(hours=1)
    assert home.release().expires_at == clock.now + timedelta(hours=1)
