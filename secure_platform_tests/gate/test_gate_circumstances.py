"""How an approval is given counts: proof, levels, whose eyes, for how long, and when it is deployed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from gate_support import Clock, Home, new_home

from secure_platform.access.circumstances import LOCAL, Circumstances
from secure_platform.access.policy import Policy
from secure_platform.access.resources import PlatformResource, ProductResource
from secure_platform.access.situation import Declared
from secure_platform.access.windows import read_window
from secure_platform.errors import AccessDeniedError, GateRefusedError, UsageError
from secure_platform.gate.approvals import Approval
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.releases import Gate
from secure_platform.gate.standing import levels_met
from secure_platform.gate.states import ReleaseState

PRODUCT = ProductResource("healthcare", "production", 2)
WEEK = timedelta(days=7)
EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "policies"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def home(tmp_path: Path, clock: Clock) -> Home:
    return new_home(tmp_path, clock)


def approve(home: Home, record: ReleaseRecord, name: str) -> ReleaseRecord:
    return home.gate.approve(record.digest, home.person(name), reason="fine", base=record.base)


def deployable(home: Home, record: ReleaseRecord) -> Sequence[Approval]:
    return home.gate.deployable(record.digest, base=record.base, deployer=home.deployer)


@pytest.mark.parametrize(
    ("channel", "minutes"),
    [("local", None), ("local", 1), ("api", 1), ("web", None), ("web", 16), ("web", -1)],
)
def test_restricted_data_is_approved_only_with_a_factor_just_proven_on_the_web_page(
    home: Home, clock: Clock, channel: str, minutes: int | None
) -> None:
    record = home.release(classification="restricted")
    proven = None if minutes is None else clock.now - timedelta(minutes=minutes)
    come = replace(LOCAL, channel=channel, mfa_at=proven)  # type: ignore[arg-type] # parametrized
    with pytest.raises(AccessDeniedError, match="forbid-restricted-without-fresh-mfa"):
        home.gate.approve(record.digest, home.coming("sam", come), reason="x", base=None)


def test_an_approval_is_judged_again_as_it_was_given(home: Home, clock: Clock) -> None:
    """The factor was fresh then; that an hour has passed since does not matter."""
    record = home.release(classification="restricted")
    approve(home, record, "sam")
    clock.advance(hours=1)
    assert approve(home, record, "tess").state is ReleaseState.APPROVED
    clock.advance(days=3)
    assert [approval.given.mfa_age_s for approval in deployable(home, record)] == [0, 0]


def test_an_approval_keeps_where_it_came_from(home: Home) -> None:
    record = home.release()
    come = Circumstances("api", "token", None, "2001:db8::1")
    home.gate.approve(record.digest, home.coming("sam", come), reason="x", base=None)
    (approval,) = deployable(home, record)
    given = approval.given
    assert (given.channel, given.method, given.mfa_age_s, given.address) == (
        "api",
        "token",
        None,
        "2001:db8::1",
    )


def test_two_levels_need_somebody_of_each(home: Home) -> None:
    for name, groups in (("sam", ["clinical"]), ("tess", ["clinical"]), ("pia", ["privacy"])):
        home.principals.change(name, groups=groups, actor="ada")
    record = home.release(approver_groups=("clinical",), second_approver_groups=("privacy",))
    assert approve(home, record, "sam").state is ReleaseState.PENDING
    assert approve(home, record, "tess").state is ReleaseState.PENDING
    with pytest.raises(GateRefusedError, match="is pending, valid approvals: 2"):
        deployable(home, record)
    assert approve(home, record, "pia").state is ReleaseState.APPROVED
    home.principals.change("pia", groups=[], actor="ada")
    with pytest.raises(GateRefusedError):
        deployable(home, record)


def test_who_is_in_no_approver_group_of_the_contracts_does_not_approve(home: Home) -> None:
    record = home.release(approver_groups=("clinical",))
    with pytest.raises(AccessDeniedError, match="forbid-outside-approver-groups"):
        approve(home, record, "sam")
    home.principals.change("sam", groups=["clinical"], actor="ada")
    assert approve(home, record, "sam").state is ReleaseState.APPROVED


F, S, B = frozenset({"f"}), frozenset({"s"}), frozenset({"f", "s"})


@pytest.mark.parametrize(
    ("approvals", "met"),
    [([], 0), ([F], 1), ([S], 1), ([B], 1), ([F, F], 1), ([F, S], 2), ([B, F], 2), ([S, B], 2), ([B, B], 2)],
)
def test_each_level_takes_an_approval_of_its_own(approvals: list[frozenset[str]], met: int) -> None:
    assert levels_met([F, S], approvals) == met
    assert levels_met([], approvals) == 0


def test_a_site_may_want_more_approvals_than_we_do(home: Home) -> None:
    policy = Policy(home.audit, EXAMPLES, home.situation, clock=home.clock)
    gate = Gate(home.database, home.audit, policy, home.keys, home.principals, clock=home.clock)
    position = gate.position(home.release(classification="restricted").digest)
    assert gate.lacking(position, ["sam", "tess", "tom"]) == 3
    assert gate.lacking(position, ["sam", "tess"]) is None


def test_a_delegate_approves_with_the_givers_right_and_the_two_count_once(home: Home) -> None:
    record = home.release(classification="restricted")
    with pytest.raises(AccessDeniedError):
        approve(home, record, "anna")
    given = home.grants.delegate(home.person("sam"), "anna", product="healthcare", lasts=WEEK, reason="leave")
    approve(home, record, "anna")
    with pytest.raises(AccessDeniedError, match="forbid-double-approval"):
        approve(home, record, "sam")
    assert approve(home, record, "tess").state is ReleaseState.APPROVED
    approvals = {each.principal: each.given for each in deployable(home, record)}
    assert approvals["anna"].behalf == {"sam"}
    assert approvals["anna"].grants == {given.grant_id}
    assert approvals["tess"].behalf == approvals["tess"].grants == frozenset()


def test_a_delegate_does_not_approve_what_the_giver_asked_for(home: Home) -> None:
    record = home.release(requested_by="sam")
    home.grants.delegate(home.person("sam"), "anna", product=None, lasts=WEEK, reason="leave")
    with pytest.raises(AccessDeniedError, match="forbid-self-approval"):
        approve(home, record, "anna")


def test_a_delegate_cannot_follow_the_giver(home: Home) -> None:
    record = home.release(classification="restricted")
    approve(home, record, "sam")
    home.grants.delegate(home.person("sam"), "anna", product=None, lasts=WEEK, reason="leave")
    with pytest.raises(AccessDeniedError, match="forbid-double-approval"):
        approve(home, record, "anna")


def test_an_approval_that_comes_back_to_life_is_no_second_pair_of_eyes(home: Home) -> None:
    record = home.release(classification="restricted")
    home.grants.delegate(home.person("sam"), "anna", product=None, lasts=WEEK, reason="leave")
    approve(home, record, "anna")
    home.principals.change("anna", roles=["admin"], actor="ada")
    assert approve(home, record, "sam").state is ReleaseState.PENDING
    home.principals.change("anna", roles=["analyst"], actor="ada")
    with pytest.raises(GateRefusedError, match="whose approval counts already"):
        deployable(home, record)
    assert approve(home, record, "tess").state is ReleaseState.APPROVED


def test_an_approval_outlives_its_delegation_but_not_its_revocation(home: Home, clock: Clock) -> None:
    day = timedelta(days=1)
    first = home.grants.delegate(home.person("sam"), "anna", product=None, lasts=day, reason="leave")
    record = home.release()
    approve(home, record, "anna")
    clock.advance(days=2)
    assert deployable(home, record)
    home.grants.revoke(home.person("sam"), first.grant_id)
    with pytest.raises(GateRefusedError, match="valid approvals: 0"):
        deployable(home, record)


def test_a_delegation_ends_with_the_givers_right(home: Home) -> None:
    home.grants.delegate(home.person("sam"), "anna", product=None, lasts=WEEK, reason="leave")
    record = home.release()
    approve(home, record, "anna")
    home.principals.disable("sam", actor="ada")
    with pytest.raises(GateRefusedError, match="valid approvals: 0"):
        deployable(home, record)


def test_a_granted_role_approves_on_its_product_only_and_for_its_time(home: Home, clock: Clock) -> None:
    ada = home.person("ada")
    home.grants.give(ada, "anna", "data_steward", product="healthcare", lasts=WEEK, reason="cover")
    with pytest.raises(AccessDeniedError):
        approve(home, home.release("o1", product="other"), "anna")
    approve(home, home.release("r1"), "anna")
    clock.advance(days=8)
    with pytest.raises(AccessDeniedError):
        approve(home, home.release("r2"), "anna")


def test_who_broke_the_glass_does_not_approve(home: Home, clock: Clock) -> None:
    record = home.release()
    home.grants.break_glass(
        home.person("sam"), "data_engineer", PRODUCT, lasts=timedelta(minutes=30), reason="outage"
    )
    with pytest.raises(AccessDeniedError, match="forbid-emergency-approval"):
        approve(home, record, "sam")
    clock.advance(minutes=31)
    assert approve(home, record, "sam").state is ReleaseState.APPROVED


def test_a_freeze_stops_the_deployment_and_not_the_decision_nor_the_rollback(home: Home) -> None:
    frozen = home.freezes.set(home.person("pia"), PlatformResource(), reason="year-end")
    record = home.release()
    assert approve(home, record, "sam").state is ReleaseState.APPROVED
    with pytest.raises(GateRefusedError, match="forbid-frozen"):
        deployable(home, record)
    home.gate.require_may_roll_back(record.digest, home.person("sam"))
    assert home.told == [("freeze.set", None)]
    assert home.freezes.lift(home.person("ada"), None)[0].freeze_id == frozen.freeze_id
    assert home.gate.get(record.digest).state is ReleaseState.APPROVED
    assert deployable(home, record)
    with pytest.raises(UsageError, match="No freeze holds"):
        home.freezes.lift(home.person("ada"), None)


def test_a_freeze_of_another_product_or_time_does_not_matter(home: Home, clock: Clock) -> None:
    sam = home.person("sam")
    home.freezes.set(sam, replace(PRODUCT, name="other"), reason="x")
    home.freezes.set(sam, PRODUCT, reason="x", lasts=timedelta(hours=1))
    record = home.approved()
    with pytest.raises(GateRefusedError, match="forbid-frozen"):
        deployable(home, record)
    clock.advance(hours=1)
    assert deployable(home, record)
    with pytest.raises(AccessDeniedError):
        home.freezes.set(home.person("anna"), PRODUCT, reason="x")


def test_outside_its_window_an_approved_release_waits(home: Home, clock: Clock) -> None:
    home.declared["healthcare"] = Declared(windows=(read_window("Mon-Fri 08:00-17:00 Europe/Berlin"),))
    record = home.approved()  # on a Sunday
    with pytest.raises(GateRefusedError, match="forbid-outside-window"):
        deployable(home, record)
    clock.advance(hours=20)
    assert deployable(home, record)


def test_no_reason_lies_in_the_clear(home: Home) -> None:
    text = "because of Mrs. Smith in room 7"
    record = home.release()
    home.gate.approve(record.digest, home.person("sam"), reason=text, base=None)
    home.grants.delegate(home.person("sam"), "anna", product=None, lasts=WEEK, reason=text)
    home.freezes.set(home.person("sam"), PRODUCT, reason=text)
    assert home.gate.approvals(record.digest)[0].reason == text
    assert home.grants.list()[0].reason == home.freezes.list()[0].reason == text
    home.database.close()
    home.audit.close()
    for file in filter(Path.is_file, home.path.rglob("*")):
        assert b"Smith" not in file.read_bytes(), file.name
