"""An approval is one principal's signed decision on one release digest against one production base.

It is an in-toto statement about the release's manifest in a Sigstore bundle v0.3, and binds what the
principal saw: product, number, environment, classification, requester, approver groups, base, the policies in
force, until when it holds, and how they came: with which proof, by which grant, for whom. A stored decision
that does not verify or fit is an error, never just ignored. The reason is free text and may hold names: it is
encrypted in the control database, and only its keyed hash is signed and logged.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Self, TypeAlias

from sqlalchemy import Connection, delete, insert, select

from secure_platform.access.circumstances import Channel, Circumstances, Method
from secure_platform.access.policy import Decision
from secure_platform.access.reasons import open_reason, require_reason, seal_reason
from secure_platform.control.tables import approval as approval_table
from secure_platform.errors import IntegrityError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.keys.ring import KeyRing
from secure_platform.release.bundle import sign_statement, verify_bundle

Verb: TypeAlias = Literal["approve", "reject", "withdraw", "rollback"]

PREDICATE_TYPE: Final = "urn:secure-platform:release-decision:v1"
SUBJECT: Final = "manifest.json"
_PURPOSE: Final = "release-decision-reason"
_OWN: Final = frozenset({"base", "policy", "created_at", "not_after", "nonce", "reason", "circumstances"})


@dataclass(frozen=True)
class Given:
    """Under which circumstances a decision was given; it is judged again under the same.

    Attributes:
        policy: Digest of the policies.
        channel: How the principal came.
        method: How they proved who they are.
        mfa_age_s: Seconds since their second factor; None if there was none.
        address: IP address they came from.
        groups: Approver groups they had.
        grants: Ids of the grants, and of the delegation, that gave them the right.
        behalf: For whom they acted, by delegation.
    """

    policy: str
    channel: Channel
    method: Method
    mfa_age_s: int | None
    address: str | None
    groups: frozenset[str]
    grants: frozenset[str]
    behalf: frozenset[str]

    @classmethod
    def of(cls, come: Circumstances, decision: Decision, now: datetime) -> Self:
        """How somebody came whom the policy has just allowed it."""
        return cls(
            decision.policy_digest,
            come.channel,
            come.method,
            come.mfa_age(now),
            come.address,
            decision.groups,
            decision.grants,
            decision.behalf,
        )

    def circumstances(self, at: datetime) -> Circumstances:
        """How they came then, as the policy is asked about it."""
        age = self.mfa_age_s
        proven = None if age is None else at - timedelta(seconds=age)
        return Circumstances(self.channel, self.method, proven, self.address)

    def to_json(self) -> dict[str, Any]:
        """As it is signed, besides the policies."""
        return {
            "channel": self.channel,
            "method": self.method,
            "mfa_age_s": self.mfa_age_s,
            "address": self.address,
            **{name: sorted(getattr(self, name)) for name in ("groups", "grants", "behalf")},
        }

    @classmethod
    def read(cls, policy: str, stated: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        sets = {name: frozenset(stated[name]) for name in ("groups", "grants", "behalf")}
        return cls(policy, **{**stated, **sets})


@dataclass(frozen=True)
class Approval:
    """A verified decision.

    Attributes:
        release: Digest of the release it is about.
        base: Digest of what was in production when it was made, None for nothing.
        given: Under which circumstances it was made.
        not_after: Until when it holds.
        nonce: 128 random bits that tell this decision from any other; also in the audit log.
        reason: Free text; it may hold names.
        bundle: The signed bundle that all this was read from.
    """

    release: str
    principal: str
    decision: Verb
    base: str | None
    given: Given
    created_at: datetime
    not_after: datetime
    nonce: str
    reason: str
    bundle: bytes


@dataclass(frozen=True)
class Said:
    """Why somebody decides, encrypted before the database is locked: the key's uses are counted in it.

    Attributes:
        nonce: Of the decision.
        reason: Free text.
        sealed: As it is stored.
    """

    nonce: str
    reason: str
    sealed: bytes


def say(keys: KeyRing, reason: str) -> Said:
    """Encrypt the reason of a new decision."""
    nonce = secrets.token_hex(16)
    return Said(nonce, reason, seal_reason(keys, nonce, reason))


def reason_hash(keys: KeyRing, reason: str) -> str:
    """The keyed hash under which a reason is signed and logged.

    Raises:
        UsageError: If there is no reason, it is too long, or no text.
    """
    return keys.mac(_PURPOSE, require_reason(reason).encode())


def decide(
    keys: KeyRing,
    record: ReleaseRecord,
    principal: str,
    decision: Verb,
    *,
    base: str | None,
    given: Given,
    said: Said,
    now: datetime,
) -> Approval:
    """Sign a decision."""
    predicate = {
        **_bound(record),
        "principal": principal,
        "decision": decision,
        "base": base,
        "policy": given.policy,
        "circumstances": given.to_json(),
        "created_at": now.isoformat(),
        "not_after": record.expires_at.isoformat(),
        "nonce": said.nonce,
        "reason": reason_hash(keys, said.reason),
    }
    bundle = sign_statement(
        keys,
        subject_name=SUBJECT,
        subject_digest=record.digest,
        predicate_type=PREDICATE_TYPE,
        predicate=predicate,
    )
    return Approval(
        record.digest,
        principal,
        decision,
        base,
        given,
        now,
        record.expires_at,
        said.nonce,
        said.reason,
        bundle,
    )


def store(connection: Connection, approval: Approval, said: Said) -> None:
    """Keep a decision; it replaces the same decision of the same principal on the same release."""
    columns = approval_table.c
    connection.execute(
        delete(approval_table).where(
            columns.release == approval.release,
            columns.principal == approval.principal,
            columns.decision == approval.decision,
        )
    )
    connection.execute(
        insert(approval_table).values(
            release=approval.release,
            principal=approval.principal,
            decision=approval.decision,
            reason=said.sealed,
            bundle=approval.bundle.decode(),
            created_at=approval.created_at,
        )
    )


def stored(connection: Connection, keys: KeyRing, record: ReleaseRecord, *decisions: Verb) -> list[Approval]:
    """The stored decisions on a release, each verified from its bundle.

    Raises:
        IntegrityError: If one was edited, is about another release, or does not fit the release's record.
    """
    query = (
        select(approval_table)
        .where(approval_table.c.release == record.digest, approval_table.c.decision.in_(decisions))
        .order_by(approval_table.c.id)
    )
    return [_read(keys, record, row) for row in connection.execute(query)]


def _read(keys: KeyRing, record: ReleaseRecord, row: Any) -> Approval:
    bundle = row.bundle.encode()
    stated = verify_bundle(keys, bundle, predicate_type=PREDICATE_TYPE, subject_digest=record.digest)
    expected = {**_bound(record), "principal": row.principal, "decision": row.decision}
    fits = stated.keys() == expected.keys() | _OWN and all(
        stated[name] == value for name, value in expected.items()
    )
    reason = _reason(keys, stated["nonce"], row.reason) if fits else None
    if reason is None or not keys.verify_mac(_PURPOSE, reason.encode(), stated["reason"]):
        raise IntegrityError(
            f"A stored decision on {record.title} is not the one that was signed",
            "Treat the control database as tampered with: restore it from a copy.",
        )
    return Approval(
        record.digest,
        row.principal,
        row.decision,
        stated["base"],
        Given.read(stated["policy"], stated["circumstances"]),
        datetime.fromisoformat(stated["created_at"]),
        datetime.fromisoformat(stated["not_after"]),
        stated["nonce"],
        reason,
        bundle,
    )


def _reason(keys: KeyRing, nonce: str, sealed: bytes) -> str | None:
    """The reason of the decision with this nonce; None if what is stored is that of another, or none."""
    try:
        return open_reason(keys, nonce, sealed)
    except IntegrityError:
        return None


def _bound(record: ReleaseRecord) -> Mapping[str, Any]:
    """What a decision is bound to besides the digest: an edited record no longer fits it."""
    return {
        "product": record.product,
        "number": record.number,
        "environment": record.environment,
        "classification": record.classification,
        "requested_by": record.requested_by,
        "approver_groups": [list(record.approver_groups), list(record.second_approver_groups)],
    }
