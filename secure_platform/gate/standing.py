"""Approvals are evaluated each time, never stored as a result: one counts while the policy would allow it.

An approval does not count if its principal was disabled, lost the role or requested the release, or if it was
given for another production base or under other policies. Whether the approvals are enough is also asked of
the policy, as if a pipeline were about to deploy.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from secure_platform.access.policy import CALM, Policy, Seen
from secure_platform.access.principals import ANONYMOUS, Principal, Principals
from secure_platform.access.resources import Action, ReleaseResource
from secure_platform.gate.approvals import Approval, stored
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.states import ReleaseState
from secure_platform.keys.ring import KeyRing
from secure_platform.taxonomy.classification import Classification

MOST_APPROVALS: Final = 10
"""A site may want more than ours do; how many are lacking is tried out up to this number."""
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
        return [each for each in self._judged(connection, record, now) if isinstance(each, Approval)]

    def lost(self, connection: Connection, record: ReleaseRecord, now: datetime) -> list[str]:
        """Why each of the others does not count; raises what `holding` does."""
        judged = self._judged(connection, record, now)
        return [f"an approval {problem}" for problem in judged if isinstance(problem, str)]

    def _judged(self, connection: Connection, record: ReleaseRecord, now: datetime) -> list[Approval | str]:
        """Every approval, or why it does not count; whom one of them stands for stands for no other."""
        judged: list[Approval | str] = []
        eyes: set[str] = set()
        for approval in stored(connection, self._keys, record, "approve"):
            standing = self._standing(approval, record, now)
            if isinstance(standing, Approval):
                own = {approval.principal, *approval.given.behalf}
                if own & eyes:
                    standing = "was given by, or for, somebody whose approval counts already"
                eyes |= own
            judged.append(standing)
        return judged

    def _standing(self, approval: Approval, record: ReleaseRecord, now: datetime) -> Approval | str:
        """The approval with the groups that its principal still has, or why it does not count."""
        given = approval.given
        if now >= approval.not_after:
            return "has expired"
        if given.policy != self._policy.digest:
            return "was given under other policies than those in force"
        voter = self._principals.get(approval.principal)
        if voter is None:
            return "was given by somebody who is no longer a principal"
        decision = self._policy.evaluate(
            replace(voter, circumstances=given.circumstances(approval.created_at)),
            Action.RELEASE_APPROVE,
            resource(replace(record, state=ReleaseState.PENDING), ()),
            at=approval.created_at,
            grants=given.grants,
            digest=approval.release,
            base=approval.base,
        )
        if not decision.allowed:
            return f"could not be given now ({', '.join(decision.rules) or 'no rule permits it'})"
        return replace(approval, given=replace(given, groups=given.groups & decision.groups))

    def suffices(self, record: ReleaseRecord, holding: Iterable[Approval]) -> bool:
        """Whether a pipeline could deploy the release with these approvals, were it the time for it."""
        approved = resource(replace(record, state=ReleaseState.APPROVED), holding)
        return self._policy.evaluate(
            _ANY_PIPELINE,
            Action.RELEASE_DEPLOY,
            approved,
            situation=CALM,
            digest=record.digest,
            base=record.base,
        ).allowed

    def lacking(self, position: Position, able: Iterable[str]) -> int | None:
        """How many of those who are able to approve still have to, at least; None if they are not enough.

        A freeze or a deploy window does not count: it goes by.
        """
        record, asked = position.record, replace(position.resource, state=ReleaseState.APPROVED)
        names = sorted(set(able) - asked.approvers)
        for further in range(min(len(names), MOST_APPROVALS) + 1):
            met = min(asked.levels, asked.levels_met + further)
            approvers = asked.approvers.union(names[:further])
            imagined = replace(asked, approvers=approvers, levels_met=met)
            seen: Seen = {"digest": record.digest, "base": record.base}
            if self._policy.evaluate(
                _ANY_PIPELINE, Action.RELEASE_DEPLOY, imagined, situation=CALM, **seen
            ).allowed:
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
            return principal
        found = self._principals.get(principal.name)
        if found is None:
            return replace(principal, active=False)
        return replace(found, circumstances=principal.circumstances)


def resource(record: ReleaseRecord, holding: Iterable[Approval]) -> ReleaseResource:
    """The release as the policy sees it."""
    approvals = list(holding)
    return ReleaseResource(
        digest=record.digest,
        product=record.product,
        environment=record.environment,
        classification=Classification.parse(record.classification),
        requested_by=record.requested_by,
        state=record.state,
        base=record.base,
        approvers=frozenset(approval.principal for approval in approvals),
        behalf=frozenset(name for approval in approvals for name in approval.given.behalf),
        approver_groups=frozenset().union(*record.levels),
        levels=len(record.levels),
        levels_met=levels_met(record.levels, [approval.given.groups for approval in approvals]),
    )


def levels_met(levels: Sequence[frozenset[str]], approvals: Sequence[frozenset[str]]) -> int:
    """How many levels have an approval of their own, each by the groups of its principal."""
    if not levels:
        return 0
    first, *others = levels
    skipped = levels_met(others, approvals)
    taken = (
        1 + levels_met(others, [*approvals[:place], *approvals[place + 1 :]])
        for place, groups in enumerate(approvals)
        if groups & first
    )
    return max(skipped, *taken, 0)
