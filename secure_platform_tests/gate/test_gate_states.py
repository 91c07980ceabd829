"""States change only along the table, whatever order things happen in."""

import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from gate_support import DEPLOYER, Clock, Home, digest, new_home
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from secure_platform.errors import AccessDeniedError, GateRefusedError, IntegrityError, UsageError
from secure_platform.gate.states import OPEN, REPORTED, TRANSITIONS, ReleaseState

S = ReleaseState
# Written by hand from the specification, to be compared with the table in force.
EXPECTED = {
    S.PENDING: {S.APPROVED, S.REJECTED, S.WITHDRAWN, S.EXPIRED, S.SUPERSEDED},
    S.APPROVED: {S.DEPLOYED, S.DEPLOY_FAILED, S.WITHDRAWN, S.EXPIRED, S.SUPERSEDED},
    S.DEPLOY_FAILED: {S.DEPLOYED, S.WITHDRAWN, S.EXPIRED, S.SUPERSEDED},
    S.DEPLOYED: {S.ROLLED_BACK},
    S.ROLLED_BACK: set(),
    S.REJECTED: {S.DEPLOYED},
    S.WITHDRAWN: {S.DEPLOYED},
    S.EXPIRED: {S.DEPLOYED},
    S.SUPERSEDED: {S.DEPLOYED},
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path)


def test_the_table_is_the_specified_one() -> None:
    assert {state: set(after) for state, after in TRANSITIONS.items()} == EXPECTED
    assert set(TRANSITIONS) == set(S)


@pytest.mark.parametrize("reported", sorted(REPORTED))
@pytest.mark.parametrize("state", list(S))
def test_only_transitions_of_the_table_are_recorded(home: Home, state: S, reported: S) -> None:
    record = home.approved()
    home.tamper("UPDATE release SET state = :state", state=state)
    overtaken = reported is S.DEPLOY_FAILED and state in {S.REJECTED, S.WITHDRAWN, S.EXPIRED, S.SUPERSEDED}
    if reported in EXPECTED[state] or reported is state:
        assert home.gate.record(record.digest, reported, actor=DEPLOYER).state is reported
    elif overtaken:
        assert home.gate.record(record.digest, reported, actor=DEPLOYER).state is state
    else:
        with pytest.raises(GateRefusedError, match=f"is {state} and cannot become {reported}"):
            home.gate.record(record.digest, reported, actor=DEPLOYER)
        assert home.gate.get(record.digest).state is state


@pytest.mark.parametrize("state", list(S))
@pytest.mark.parametrize(("verb", "target"), [("reject", S.REJECTED), ("withdraw", S.WITHDRAWN)])
def test_only_transitions_of_the_table_are_decided(home: Home, state: S, verb: str, target: S) -> None:
    record = home.release(classification="restricted")
    for name in ("sam", "tess"):
        home.gate.approve(record.digest, home.person(name), reason="x", base=None)
    home.tamper("UPDATE release SET state = :state", state=state)
    act = getattr(home.gate, verb)
    if target in EXPECTED[state]:
        assert act(record.digest, home.person("sam"), reason="x").state is target
    else:
        with pytest.raises(GateRefusedError, match=f"is {S.APPROVED if state in OPEN else state}"):
            act(record.digest, home.person("sam"), reason="x")


@pytest.mark.parametrize("state", [S.PENDING, S.APPROVED, S.REJECTED, S.EXPIRED, S.SUPERSEDED])
def test_a_decision_cannot_be_recorded_like_a_deployment(home: Home, state: S) -> None:
    record = home.release()
    with pytest.raises(UsageError):
        home.gate.record(record.digest, state, actor=DEPLOYER)


def test_recording_again_changes_nothing(home: Home) -> None:
    record = home.approved()
    for _ in range(2):
        assert home.gate.record(record.digest, S.DEPLOYED, actor=DEPLOYER).state is S.DEPLOYED


def test_a_failed_deployment_may_be_tried_again_while_its_approvals_hold(home: Home) -> None:
    record = home.approved()
    home.gate.record(record.digest, S.DEPLOY_FAILED, actor=DEPLOYER)
    assert len(home.gate.deployable(record.digest, base=None, deployer=home.deployer)) == 1
    with pytest.raises(GateRefusedError, match="forbid-stale-base"):
        home.gate.deployable(record.digest, base=digest("other"), deployer=home.deployer)
    home.gate.record(record.digest, S.DEPLOYED, actor=DEPLOYER)


def test_a_failed_deployment_is_not_tried_again_without_approvals(home: Home) -> None:
    record = home.approved()
    home.gate.record(record.digest, S.DEPLOY_FAILED, actor=DEPLOYER)
    home.principals.disable("sam", actor="ada")
    with pytest.raises(GateRefusedError, match="valid approvals: 0"):
        home.gate.deployable(record.digest, base=None, deployer=home.deployer)
    approved = home.gate.approve(record.digest, home.person("tess"), reason="retry", base=None)
    assert approved.state is S.APPROVED


def test_a_deployment_that_was_overtaken_still_tells_the_truth(home: Home) -> None:
    deploying = home.approved("r1")
    home.release("r2")
    assert home.gate.get(deploying.digest).state is S.SUPERSEDED
    assert home.gate.record(deploying.digest, S.DEPLOYED, actor=DEPLOYER).state is S.DEPLOYED


def test_a_deployment_that_was_rejected_meanwhile_still_tells_the_truth_and_stays_closed(home: Home) -> None:
    deploying = home.approved()
    home.principals.disable("sam", actor="ada")
    home.gate.reject(deploying.digest, home.person("tess"), reason="wrong rows")
    with pytest.raises(GateRefusedError, match="is rejected"):
        home.gate.deployable(deploying.digest, base=None, deployer=home.deployer)
    failed = home.gate.record(deploying.digest, S.DEPLOY_FAILED, actor=DEPLOYER)
    assert failed.state is S.REJECTED
    assert home.gate.record(deploying.digest, S.DEPLOYED, actor=DEPLOYER).state is S.DEPLOYED
    home.tamper("UPDATE release SET state = 'approved'")
    with pytest.raises(IntegrityError, match=r"release\.deployed, which closed it"):
        home.gate.deployable(deploying.digest, base=None, deployer=home.deployer)


def test_a_release_that_was_never_approved_is_never_recorded_as_deployed(home: Home) -> None:
    record = home.release("r1")
    pending = home.release("r2")
    with pytest.raises(GateRefusedError, match="is superseded and cannot become deployed"):
        home.gate.record(record.digest, S.DEPLOYED, actor=DEPLOYER)
    home.gate.withdraw(pending.digest, home.person("sam"), reason="x")
    with pytest.raises(GateRefusedError, match="is withdrawn and cannot become deployed"):
        home.gate.record(pending.digest, S.DEPLOYED, actor=DEPLOYER)
    refused = home.release("r3")
    home.gate.reject(refused.digest, home.person("sam"), reason="x")
    with pytest.raises(GateRefusedError, match="is rejected and cannot become deployed"):
        home.gate.record(refused.digest, S.DEPLOYED, actor=DEPLOYER)


def test_a_state_that_does_not_exist_is_found(home: Home) -> None:
    record = home.release()
    home.tamper("UPDATE release SET state = 'blessed'")
    with pytest.raises(IntegrityError, match="state that does not exist"):
        home.gate.get(record.digest)


FOLDER = tempfile.TemporaryDirectory()


class AnyOrder(RuleBasedStateMachine):
    """Whatever stewards, clock and builds do: what is deployable was approved by an active other person."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.mkdtemp(dir=FOLDER.name)
        self.clock = Clock()
        self.home = new_home(Path(self.folder), self.clock)
        self.votes: dict[str, set[str]] = {}
        self.names: list[str] = []
        self.disabled: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.home.audit.close()
            self.home.database.close()
            shutil.rmtree(self.folder)

    @rule(requester=st.sampled_from(["rita", "sam"]), kind=st.sampled_from(["internal", "restricted"]))
    def build(self, requester: str, kind: str) -> None:
        name = f"r{len(self.names)}"
        record = self.home.release(name, requested_by=requester, classification=kind)
        self.names.append(record.digest)
        self.votes[record.digest] = set()

    @rule(person=st.sampled_from(["sam", "tess", "both", "rita"]), which=st.integers(0, 3))
    def approve(self, person: str, which: int) -> None:
        for chosen in self.names[-1 - which : len(self.names) - which]:
            try:
                self.home.gate.approve(chosen, self.home.person(person), reason="x", base=None)
            except (AccessDeniedError, GateRefusedError):
                continue
            assert person in {"sam", "tess"} - self.disabled
            assert person not in self.votes[chosen]
            self.votes[chosen].add(person)

    @rule(verb=st.sampled_from(["reject", "withdraw"]))
    def end(self, verb: str) -> None:
        for chosen in self.names[-1:]:
            try:
                getattr(self.home.gate, verb)(chosen, self.home.person("tess"), reason="x")
            except (AccessDeniedError, GateRefusedError):
                continue
            self.votes[chosen] = set()

    @rule(name=st.sampled_from(["sam", "tess"]))
    def disable(self, name: str) -> None:
        self.home.principals.disable(name, actor="ada")
        self.disabled.add(name)

    @rule(days=st.sampled_from([1, 4, -2]))
    def wait(self, days: int) -> None:
        self.clock.advance(days=days)

    @invariant()
    def deployable_only_with_enough_valid_approvals(self) -> None:
        for chosen in getattr(self, "names", []):
            record = self.home.gate.get(chosen)
            try:
                approvals = self.home.gate.deployable(chosen, base=None, deployer=self.home.deployer)
            except GateRefusedError:
                continue
            voters = {approval.principal for approval in approvals}
            assert voters == self.votes[chosen] - self.disabled
            assert record.requested_by not in voters
            assert len(voters) >= (2 if record.classification == "restricted" else 1)
            assert chosen == self.names[-1]
            assert self.clock.now < record.created_at + timedelta(days=7)


AnyOrder.TestCase.settings = settings(
    max_examples=8, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAnyOrder = AnyOrder.TestCase
