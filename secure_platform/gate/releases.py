"""No release reaches production unless the policy allows it, on the basis of verified decisions only.

Who approved is computed from signed bundles in the same transaction that changes the state, so that
simultaneous decisions are made one after the other. Every change of state is announced in the audit log
before it happens, and its outcome recorded after it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from secure_platform import canonical
from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal, Principals
from secure_platform.access.resources import Action
from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, utc_now
from secure_platform.errors import AccessDeniedError, GateRefusedError, UsageError
from secure_platform.gate.approvals import Approval, Given, Verb, decide, reason_hash, say, store, stored
from secure_platform.gate.closed import Closings, release_subject
from secure_platform.gate.records import (
    ReleaseRecord,
    load,
    move,
    require_digest,
    require_transition,
)
from secure_platform.gate.registry import LIFETIME, Registry
from secure_platform.gate.standing import Position, Standing, resource
from secure_platform.gate.states import OVERTAKEN, REPORTED, ReleaseState
from secure_platform.keys.ring import KeyRing

# What the policy is asked, and the state that follows; a rollback changes no state before it has happened.
_VERBS: Final[Mapping[Verb, tuple[Action, ReleaseState | None]]] = {
    "approve": (Action.RELEASE_APPROVE, ReleaseState.APPROVED),
    "reject": (Action.RELEASE_REJECT, ReleaseState.REJECTED),
    "withdraw": (Action.RELEASE_WITHDRAW, ReleaseState.WITHDRAWN),
    "rollback": (Action.RELEASE_ROLLBACK, None),
}


class Gate(Registry):
    """The releases of one home.

    Args:
        database: Holds states and decisions.
        audit: Where every change is recorded.
        policy: Decides.
        keys: Sign and verify decisions.
        principals: Who the principals are now.
        lifetime: How long after its registration a release can be approved and deployed.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        database: ControlDatabase,
        audit: AuditLog,
        policy: Policy,
        keys: KeyRing,
        principals: Principals,
        *,
        lifetime: timedelta = LIFETIME,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(database, audit, lifetime=lifetime, clock=clock)
        self._policy = policy
        self._keys = keys
        self._standing = Standing(policy, keys, principals)

    def approvals(self, digest: str) -> list[Approval]:
        """All decisions on a release, verified.

        Raises:
            IntegrityError: If one is not what was signed.
        """
        with self._database.read() as connection:
            record = load(connection, digest, self._clock())
            return stored(connection, self._keys, record, "approve", "reject", "withdraw", "rollback")

    def position(self, digest: str) -> Position:
        """Where a release stands: the approvals that count, and why others do not.

        Raises:
            GateRefusedError: If none is registered.
            IntegrityError: If a stored approval is not what was signed.
        """
        self._write_expiry()
        with self._database.read() as connection:
            now = self._clock()
            return self._standing.position(connection, load(connection, digest, now), now)

    def lacking(self, position: Position, able: Iterable[str]) -> int | None:
        """How many of those who are able to approve still have to; None if all of them are not enough."""
        return self._standing.lacking(position, able)

    def approve(self, digest: str, principal: Principal, *, reason: str, base: str | None) -> ReleaseRecord:
        """Approve a release against what is in production now.

        It is approved as soon as the policy would let a pipeline deploy it; until then it stays pending.

        Raises:
            AccessDeniedError: If the policy does not let this principal approve it.
            GateRefusedError: If it is no longer pending.
            IntegrityError: If a stored decision on it is not what was signed, or it was closed before.
        """
        return self._decide("approve", digest, principal, reason, base)

    def reject(self, digest: str, principal: Principal, *, reason: str) -> ReleaseRecord:
        """Reject a pending release for good; raises what `approve` does."""
        return self._decide("reject", digest, principal, reason, self.get(digest).base)

    def withdraw(self, digest: str, principal: Principal, *, reason: str) -> ReleaseRecord:
        """Withdraw a release that is not deployed; raises what `approve` does."""
        return self._decide("withdraw", digest, principal, reason, self.get(digest).base)

    def deployable(self, digest: str, *, base: str | None, deployer: Principal) -> tuple[Approval, ...]:
        """The approvals that allow this deployer to put this release over this production base now.

        Raises:
            GateRefusedError: If the policy does not allow it with the approvals that hold.
            IntegrityError: If a stored decision on it is not what was signed, or it was closed before.
        """
        require_digest(digest)
        self._write_expiry()
        closings = Closings(self._audit, digest)
        with self._database.write() as connection:
            now = self._clock()
            record = load(connection, digest, now)
            closings.require_none(record)
            holding = self._standing.holding(connection, record, now)
            lost = self._standing.lost(connection, record, now)
            record = self._standing.supported(record, holding)
            present = self._standing.present(deployer)
            asked = resource(record, holding)
            try:
                self._policy.require(present, Action.RELEASE_DEPLOY, asked, at=now, digest=digest, base=base)
            except AccessDeniedError as denied:
                raise GateRefusedError(
                    f"{denied.culprit}; {record.title} is {record.state}, valid approvals: {len(holding)}"
                    + "".join(f"; {reason}" for reason in lost),
                    denied.fix,
                ) from None
        return tuple(holding)

    def record(self, digest: str, state: ReleaseState, *, actor: str) -> ReleaseRecord:
        """Record what a deployment or rollback did; recording it again changes nothing.

        Raises:
            GateRefusedError: If the release cannot have come to this state.
            UsageError: If the state is not one that a deployment or rollback reports.
        """
        require_digest(digest)
        if state not in REPORTED:
            raise UsageError(f"{state} is not recorded but decided", "Use approve, reject or withdraw.")
        with (
            self._audit.effect(f"release.{state}", actor=actor, subject=release_subject(digest)) as outcome,
            self._database.write() as connection,
        ):
            record = load(connection, digest, self._clock())
            # What failed on an overtaken release left production as it was, and is not tried again.
            over = state is ReleaseState.DEPLOY_FAILED and record.state in OVERTAKEN
            if record.state is not state and not over:
                require_transition(record, state)
                record = move(connection, record, state)
            outcome["state"] = record.state
        return record

    def authorise_rollback(
        self, digest: str, principal: Principal, *, reason: str, base: str
    ) -> ReleaseRecord:
        """Allow an earlier release back into production, in place of `base`.

        Raises:
            AccessDeniedError: If the policy does not let this principal roll back.
            GateRefusedError: If the release was never in production, or was itself rolled back.
        """
        return self._decide("rollback", digest, principal, reason, base)

    def authorise_restore(self, digest: str, deployer: Principal) -> None:
        """Allow the database of the release in production to be built again from its package.

        Raises:
            AccessDeniedError: If the policy does not let this deployer do it.
        """
        self._require(Action.RELEASE_RESTORE, digest, deployer)

    def require_may_roll_back(self, digest: str, principal: Principal) -> None:
        """Refuse who may not take this release out of production, before anything is done in their name.

        Raises:
            AccessDeniedError: If the policy does not let this principal roll back.
        """
        self._require(Action.RELEASE_ROLLBACK, digest, principal)

    def _require(self, action: Action, digest: str, principal: Principal) -> None:
        require_digest(digest)
        with self._database.read() as connection:
            now = self._clock()
            record = load(connection, digest, now)
            self._policy.require(self._standing.present(principal), action, resource(record, []), at=now)

    def _decide(
        self, verb: Verb, digest: str, principal: Principal, reason: str, base: str | None
    ) -> ReleaseRecord:
        require_digest(digest)
        action, target = _VERBS[verb]
        detail = {"base": base, "reason": reason_hash(self._keys, reason)}
        self._write_expiry()
        closings = Closings(self._audit, digest)
        said = say(self._keys, reason)
        with (
            self._audit.effect(
                f"release.{verb}", actor=principal.name, subject=release_subject(digest), detail=detail
            ) as outcome,
            self._database.write() as connection,
        ):
            now = self._clock()
            record = load(connection, digest, now)
            closings.require_none(record)
            holding = self._standing.holding(connection, record, now)
            record = self._standing.supported(record, holding)
            _require_fit(record, target, base)
            present = self._standing.present(principal)
            asked = resource(record, holding)
            decision = self._policy.require(present, action, asked, at=now, digest=digest, base=base)
            given = Given.of(present.circumstances, decision, now)
            made = decide(self._keys, record, present.name, verb, base=base, given=given, said=said, now=now)
            store(connection, made, said)
            record = self._settle(connection, record, target, now)
            outcome.update(nonce=made.nonce, bundle=canonical.sha256(made.bundle), state=str(record.state))
        # Signed before anybody can act on it: who rewrites the log afterwards contradicts a checkpoint.
        self._audit.checkpoint()
        return record

    def _settle(
        self, connection: Connection, record: ReleaseRecord, target: ReleaseState | None, now: datetime
    ) -> ReleaseRecord:
        """Move the release to what was decided, an approved one only when its approvals are enough."""
        if target is None:
            return record
        if target is ReleaseState.APPROVED:
            holding = self._standing.holding(connection, record, now)
            if not self._standing.suffices(record, holding):
                return record
        decided_at = now if target is ReleaseState.APPROVED else None
        return move(connection, record, target, decided_at=decided_at)


def _require_fit(record: ReleaseRecord, target: ReleaseState | None, base: str | None) -> None:
    if target is not None:
        require_transition(record, target)
    elif record.state is not ReleaseState.DEPLOYED or record.digest == base:
        raise GateRefusedError(
            f"{record.title} is {record.state}: production cannot go back to it",
            f"Choose an earlier deployed one: secure-platform release list {record.product}",
        )
