"""Who approved is computed, never remembered: an approval counts while the policy would let it be given.

One whose principal was disabled, lost the role, requested the release, or looked at another production base
or at other policies does not count. Whether the approvals are enough is asked of the policy too, as if a
pipeline were to deploy.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import combinations
from typing import Final

from sqlalchemy import Connection

from secure_platform.access.policy import Action, Policy, ReleaseResource, Seen
from secure_platform.access.principals import ANONYMOUS, Principal, Principals
from secure_platform.gate.approvals import Approval, stored
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.keys.ring import KeyRing
from secure_platform.taxonomy.classification import Classification

MOST_APPROVALS: Final = 2
_ANY_PIPELINE: Final = Principal("service:any-pipeline", "service", frozenset({"pipeline"}), active=True)


@dataclass(frozen=True)
class Position:
    """Where a release stands now.

    Attributes:
        record: In the state that its approvals support.
        holding: The approvals that count.
        lost: Why each of the others does not.
    """

    record: ReleaseRecord
    holding: tuple[Approval, ...]
    lost: tuple[str, ...]

    @property
    def resource(self) -> ReleaseResource:
        """The release as the policy sees it."""
        return resource(self.record, self.holding)


class Standing:
    """Computes where a release stands from its verified approvals."""

    def __init__(self, policy: Policy, keys: KeyRing, principals: Principals) -> None:
        self._policy = policy
        self._keys = keys
        self._principals = principals

    def position(self, connection: Connection, record: ReleaseRecord, now: datetime) -> Position:
        """Where the release stands; raises what `holding` does."""
        holding = self.holding(connection, record, now)
        lost = self.lost(connection, record, now)
        return Position(self.supported(record, holding), tuple(holding), tuple(lost))

    def holding(self, connection: Connection, record: ReleaseRecord, now: datetime) -> list[Approval]:
        """The approvals that count now.

        Raises:
            IntegrityError: If a stored approval is not what was signed.
        """
        approvals = stored(connection, self._keys, record, "approve")
        return [approval for approval in approvals if self._problem(approval, record, now) is None]

    def lost(self, connection: Connection, record: ReleaseRecord, now: datetime) -> list[str]:
        """Why each of the others does not count; raises what `holding` does."""
        approvals = stored(connection, self._keys, record, "approve")
        problems = (self._problem(approval, record, now) for approval in approvals)
        return [f"an approval {problem}" for problem in problems if problem is not None]

    def _problem(self, approval: Approval, record: ReleaseRecord, now: datetime) -> str | None:
        if now >= approval.not_after:
            return "has expired"
        if approval.policy != self._policy.digest:
            return "was given under other policies than those in force"
        voter = self._principals.get(approval.principal)
        if voter is None:
            return "was given by somebody who is no longer a principal"
        asked = resource(replace(record, state=ReleaseState.PENDING), ())
        seen: Seen = {"digest": approval.release, "base": approval.base}
        decision = self._policy.evaluate(voter, Action.RELEASE_APPROVE, asked, **seen)
        if decision.allowed:
            return None
        return f"could not be given now ({', '.join(decision.rules) or 'no rule permits it'})"

    def suffices(self, record: ReleaseRecord, holding: Iterable[Approval]) -> bool:
        """Whether a pipeline could deploy the release with these approvals."""
        return self._deploys(record, resource(replace(record, state=ReleaseState.APPROVED), holding))

    def _deploys(self, record: ReleaseRecord, asked: ReleaseResource) -> bool:
        return self._policy.evaluate(
            _ANY_PIPELINE, Action.RELEASE_DEPLOY, asked, digest=record.digest, base=record.base
        ).allowed

    def lacking(self, position: Position, able: Iterable[str]) -> int | None:
        """How many of those who are able to approve still have to; None if all of them are not enough."""
        approved = replace(position.resource, state=ReleaseState.APPROVED)
        names = sorted(set(able) - approved.approvers)
        for further in range(min(len(names), MOST_APPROVALS) + 1):
            for chosen in combinations(names, further):
                asked = replace(approved, approvers=approved.approvers.union(chosen))
                if self._deploys(position.record, asked):
                    return further
        return None

    def supported(self, record: ReleaseRecord, holding: Iterable[Approval]) -> ReleaseRecord:
        """The record in the state that its approvals support: approved while they suffice, else pending.

        A failed deployment does not undo the decision that allowed it.
        """
        if record.state not in {ReleaseState.APPROVED, ReleaseState.DEPLOY_FAILED}:
            return record
        suffices = self.suffices(record, holding)
        return replace(record, state=ReleaseState.APPROVED if suffices else ReleaseState.PENDING)

    def present(self, principal: Principal) -> Principal:
        """The principal as it is now, which may be less than when it was authenticated."""
        if principal == ANONYMOUS:
            return ANONYMOUS
        return self._principals.get(principal.name) or replace(principal, active=False)


def resource(record: ReleaseRecord, holding: Iterable[Approval]) -> ReleaseResource:
    """The release as the policy sees it."""
    return ReleaseResource(
        digest=record.digest,
        product=record.product,
        environment=record.environment,
        classification=Classification.parse(record.classification),
        requested_by=record.requested_by,
        state=record.state,
        base=record.base,
        approvers=frozenset(approval.principal for approval in holding),
    )
