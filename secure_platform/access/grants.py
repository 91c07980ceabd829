"""Rights for a time: given by an administrator, lent by an approver, or taken in an emergency.

Nobody gives a right to themselves, except by breaking the glass, which is announced at once, lasts an hour at
most, and is reviewed by somebody else. The roles that run the platform (`admin`, `pipeline`, `scheduler`) are
never given for a time: who has `admin` could make the right permanent. The policy is asked here.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from secure_platform.access.policy import Policy
from secure_platform.access.principals import Principal, Principals
from secure_platform.access.reasons import require_reason, seal_reason
from secure_platform.access.resources import Action, PlatformResource, ProductResource
from secure_platform.access.seals import Change, SealedRows
from secure_platform.access.situation import (
    APPROVER,
    Announce,
    Grant,
    GrantKind,
    HomeSituation,
    may_delegate,
)
from secure_platform.control.database import utc_now
from secure_platform.control.tables import access_grant
from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.keys.ring import KeyRing

GRANTABLE: Final = frozenset(
    {"analyst", "data_engineer", "ml_engineer", "data_steward", "privacy_officer", "auditor"}
)
LONGEST_GRANT: Final = timedelta(days=365)
LONGEST_DELEGATION: Final = timedelta(days=30)
LONGEST_EMERGENCY: Final = timedelta(minutes=60)


class Grants:
    """The grants, delegations and break-glasses of one home.

    Args:
        rows: Write and verify their rows.
        keys: Seal their reasons.
        principals: Who gives and who has.
        policy: Decides who may.
        situation: Reads them.
        announce: Tells of a broken glass.
        clock: The present moment, aware.
    """

    def __init__(
        self,
        rows: SealedRows,
        keys: KeyRing,
        principals: Principals,
        policy: Policy,
        situation: HomeSituation,
        *,
        announce: Announce,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._principals = principals
        self._policy = policy
        self._situation = situation
        self._announce = announce
        self._clock = clock

    def list(self) -> Sequence[Grant]:
        """All that were ever given, oldest first."""
        return self._situation.grants()

    def give(
        self, giver: Principal, name: str, role: str, *, product: str | None, lasts: timedelta, reason: str
    ) -> Grant:
        """Give somebody a role on a product (None: on every product) for a time.

        Raises:
            AccessDeniedError: If the policy does not let the giver, or it is for themselves.
            UsageError: If the principal, role, time or reason will not do.
        """
        self._require(giver, Action.GRANT_GIVE)
        if name == giver.name:
            raise AccessDeniedError("Nobody gives a right to themselves", "Ask another administrator.")
        _require_role(role)
        _require_time(lasts, LONGEST_GRANT)
        self._require_person(name)
        return self._write("grant", giver.name, name, role, product, lasts, reason)

    def delegate(
        self, giver: Principal, name: str, *, product: str | None, lasts: timedelta, reason: str
    ) -> Grant:
        """Lend one's own right to approve and reject to a person, for at most 30 days.

        Raises:
            AccessDeniedError: If the giver has no such right of their own, or it is for themselves.
            UsageError: If the principal, time or reason will not do.
        """
        self._require(giver, Action.GRANT_DELEGATE)
        own = self._principals.get(giver.name)
        if name == giver.name or own is None or not may_delegate(own):
            raise AccessDeniedError(
                f"{giver.name} has no approver right of their own to lend to {name}",
                "A delegation lends a data steward's own right to another person.",
            )
        _require_time(lasts, LONGEST_DELEGATION)
        self._require_person(name)
        return self._write("delegation", giver.name, name, APPROVER, product, lasts, reason)

    def break_glass(
        self, holder: Principal, role: str, resource: ProductResource, *, lasts: timedelta, reason: str
    ) -> Grant:
        """Take a role on one product in an emergency, for at most 60 minutes; it is announced at once.

        Raises:
            AccessDeniedError: If the policy does not let them, e.g. while an earlier one waits for review.
            UsageError: If the role, time or reason will not do.
        """
        self._policy.require(holder, Action.BREAK_GLASS, resource, at=self._clock())
        _require_role(role)
        _require_time(lasts, LONGEST_EMERGENCY)
        opened = self._write("break_glass", holder.name, holder.name, role, resource.name, lasts, reason)
        self._announce("break_glass.opened", product=resource.name)
        return opened

    def review(self, reviewer: Principal, grant_id: str, *, finding: str) -> Grant:
        """Say after the fact what a break-glass was; it needs somebody else than its holder.

        Raises:
            AccessDeniedError: If the policy does not let the reviewer, or it was theirs.
            UsageError: If there is none, it was reviewed before, or nothing is said.
        """
        self._require(reviewer, Action.BREAK_GLASS_REVIEW)
        grant = self._find(grant_id)
        if grant.kind != "break_glass" or grant.reviewed_at is not None:
            raise UsageError(f"{grant_id} does not wait for a review", "See: secure-platform access list.")
        if grant.principal == reviewer.name:
            raise AccessDeniedError("Nobody reviews their own break-glass", "Ask another auditor.")
        sealed = seal_reason(self._keys, grant_id, require_reason(finding))
        changes = {"reviewed_by": reviewer.name, "reviewed_at": self._clock(), "review": sealed}
        return self._change("break_glass.review", grant, changes, actor=reviewer.name)

    def revoke(self, principal: Principal, grant_id: str) -> Grant:
        """End a right now; who gave it and who has it may always, an administrator may end any.

        Raises:
            AccessDeniedError: If it is none of theirs and the policy does not let them.
            UsageError: If there is no such grant.
        """
        grant = self._find(grant_id)
        if principal.name not in {grant.given_by, grant.principal}:
            self._require(principal, Action.GRANT_GIVE)
        if grant.revoked_at is not None:
            return grant
        changes = {"revoked_at": self._clock()}
        return self._change(f"{grant.kind}.revoke", grant, changes, actor=principal.name)

    def _require(self, principal: Principal, action: Action) -> None:
        self._policy.require(principal, action, PlatformResource(), at=self._clock())

    def _require_person(self, name: str) -> None:
        found = self._principals.get(name)
        if found is None or not found.active or found.kind != "user":
            raise UsageError(f"There is no active person named {name}", "See: secure-platform principal list")

    def _find(self, grant_id: str) -> Grant:
        for grant in self._situation.grants():
            if grant.grant_id == grant_id:
                return grant
        raise UsageError("There is no grant with this id", "See: secure-platform access list.")

    def _write(
        self,
        kind: GrantKind,
        giver: str,
        name: str,
        role: str,
        product: str | None,
        lasts: timedelta,
        reason: str,
    ) -> Grant:
        now = self._clock()
        grant = Grant(
            grant_id=secrets.token_hex(16),
            kind=kind,
            principal=name,
            role=role,
            product=product,
            given_by=giver,
            reason=require_reason(reason),
            starts_at=now,
            expires_at=now + lasts,
            revoked_at=None,
            reviewed_by=None,
            reviewed_at=None,
            review=None,
        )
        row = {name: getattr(grant, name) for name in Grant.__dataclass_fields__}
        row["reason"] = seal_reason(self._keys, grant.grant_id, reason)
        self._rows.write(
            f"{kind}.open",
            [Change(access_grant, None, row)],
            actor=giver,
            subject=f"grant:{grant.grant_id}",
            detail={
                "principal": self._rows.pseudonym(name),
                "role": role,
                "product": product,
                "expires_at": grant.expires_at.isoformat(),
            },
        )
        return grant

    def _change(self, action: str, grant: Grant, changes: Mapping[str, Any], *, actor: str) -> Grant:
        before = self._rows.one(access_grant, grant.grant_id) or {}
        self._rows.write(
            action,
            [Change(access_grant, before, {**before, **changes})],
            actor=actor,
            subject=f"grant:{grant.grant_id}",
            detail={"principal": self._rows.pseudonym(grant.principal)},
        )
        return self._find(grant.grant_id)


def _require_role(role: str) -> None:
    if role not in GRANTABLE:
        raise UsageError(
            f"The role {role!r} is not given for a time", f"Use one of: {', '.join(sorted(GRANTABLE))}."
        )


def _require_time(lasts: timedelta, longest: timedelta) -> None:
    if not timedelta() < lasts <= longest:
        raise UsageError("A right cannot be given for this time", f"Give more than none, at most {longest}.")
