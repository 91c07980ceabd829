"""Requests with a known answer, for every policy."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from secure_platform.access.cedar import Question
from secure_platform.access.policy import Decision, Policy, Seen
from secure_platform.access.principals import ANONYMOUS, ROLES, Principal
from secure_platform.access.resources import (
    Action,
    KeyResource,
    PlatformResource,
    ProductResource,
    ReleaseResource,
    Resource,
)
from secure_platform.access.situation import Declared, Held, Situation
from secure_platform.access.windows import read_window
from secure_platform.audit.log import AuditLog
from secure_platform.keys.signing import LogSigner

DIGEST = "sha256:" + "a" * 64
BASE = "sha256:" + "b" * 64
NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)  # a Monday

PENDING = ReleaseResource(
    digest=DIGEST,
    product="healthcare",
    environment="production",
    classification=2,
    requested_by="requester",
    state="pending",
    base=BASE,
    approvers=frozenset(),
)
RESTRICTED = replace(PENDING, classification=3)
NAMED = replace(PENDING, approver_groups=frozenset({"clinical", "privacy"}), levels=2)
APPROVED = replace(PENDING, state="approved", approvers=frozenset({"steward"}))
DEPLOYED = replace(PENDING, state="deployed")
PRODUCT = ProductResource("healthcare", "production", 2)
OPEN_PRODUCT = replace(PRODUCT, classification=1)
PLATFORM = PlatformResource()
KEY = KeyResource("token/patient", 2, "active")
DISABLED = replace(KEY, state="disabled", disabled_by="ada")
SEEN: Seen = {"digest": DIGEST, "base": BASE}


NOTHING = Held()
RESEARCH = Declared(purposes=frozenset({"research"}))


@dataclass(frozen=True)
class Fixed(Situation):
    """A situation that is written down."""

    has: Held = NOTHING
    lent: tuple[Held, ...] = ()
    is_frozen: bool = False
    is_blocked: bool = False
    says: Declared = RESEARCH

    def held(self, *_: Any, **__: Any) -> Held:
        return self.has

    def delegated(self, *_: Any, **__: Any) -> Iterator[Held]:
        yield from self.lent

    def frozen(self, *_: Any) -> bool:
        return self.is_frozen

    def blocked(self, *_: Any) -> bool:
        return self.is_blocked

    def declared(self, *_: Any) -> Declared:
        return self.says


PLAIN = Fixed()
FROZEN = Fixed(is_frozen=True)
BLOCKED = Fixed(is_blocked=True)
CLOSED = Fixed(says=Declared(windows=(read_window("Sat-Sun 08:00-17:00 UTC"),)))
SAMS_RIGHT = Held(
    frozenset({"data_steward"}), frozenset({"clinical"}), frozenset({"sam"}), grants=frozenset({"d"})
)
LENT = Fixed(lent=(SAMS_RIGHT,))
EMERGENCY = Fixed(has=Held(emergency=True))
OVERDUE = Fixed(has=Held(review_overdue=True))


def person(*roles: str, name: str = "someone", active: bool = True) -> Principal:
    return Principal(name, "user", frozenset(roles), active=active)


def service(*roles: str, name: str = "service:deployer", active: bool = True) -> Principal:
    return Principal(name, "service", frozenset(roles), active=active)


def coming(principal: Principal, **circumstances: Any) -> Principal:
    return replace(principal, circumstances=replace(principal.circumstances, **circumstances))


def web(principal: Principal, minutes: float = 5) -> Principal:
    return coming(principal, channel="web", method="password", mfa_at=NOW - timedelta(minutes=minutes))


def member(principal: Principal, *groups: str) -> Principal:
    return replace(principal, groups=frozenset(groups))


STEWARD = person("data_steward", name="steward2")
PIPELINE = service("pipeline")
ANALYST = coming(person("analyst"), purpose="research")
REVEALER = coming(person("privacy_officer"), purpose="research")
SCHEDULER = service("scheduler", name="service:scheduler")


@dataclass(frozen=True)
class Case:
    """One request."""

    principal: Principal
    action: Action
    resource: Resource
    seen: Seen = field(default_factory=Seen)
    situation: Situation = PLAIN

    def answer(self, policy: Policy) -> tuple[Decision, Question]:
        return policy._answer(
            self.principal,
            self.action,
            self.resource,
            at=NOW,
            grants=None,
            situation=self.situation,
            seen=self.seen,
        )

    def ask(self, policy: Policy) -> Decision:
        return self.answer(policy)[0]


def open_log(directory: Path) -> AuditLog:
    """A fresh audit log whose identifiers are plain hashes."""
    return AuditLog(
        directory / "audit.db",
        origin="secure-platform/test",
        signer=LogSigner("secure-platform/test", bytes(32)),
        identify=lambda name: f"p:{sha256(name.encode()).hexdigest()[:32]}",
    )


STAFF = ("analyst", "data_engineer", "ml_engineer", "data_steward", "privacy_officer", "auditor", "admin")
ENGINEERS = ("data_engineer", "ml_engineer")
OVERSEERS = ("admin", "auditor", "data_steward", "privacy_officer")
READERS = ("analyst", "data_engineer", "ml_engineer", "data_steward", "privacy_officer")
GUARDIANS = ("data_steward", "privacy_officer", "admin")
SETTLERS = ("data_engineer", "data_steward", "privacy_officer", "admin")
GLASS_BREAKERS = ("data_engineer", "ml_engineer", "data_steward", "privacy_officer", "admin")
CUSTODIANS = ("admin", "privacy_officer")
CUSTODY = (
    Action.KEY_ROTATE,
    Action.KEY_DISABLE,
    Action.KEY_DESTROY,
    Action.KEY_BACKUP,
    Action.SECRET_MANAGE,
    Action.DATA_REVEAL,
    Action.SUBJECT_ERASE,
    Action.LEGAL_HOLD,
)
ON_PRODUCTS = frozenset({Action.DATA_REVEAL, Action.SUBJECT_ERASE, Action.LEGAL_HOLD})
WITHDRAWABLE = ("pending", "approved", "deploy_failed")


def about(action: Action) -> Resource:
    """What a custodian would do this to."""
    if action in ON_PRODUCTS:
        return PRODUCT
    if action in {Action.KEY_BACKUP, Action.SECRET_MANAGE}:
        return PLATFORM
    return DISABLED if action is Action.KEY_DESTROY else KEY


def custodian(action: Action) -> Principal:
    """Who may, in a terminal."""
    return person("privacy_officer" if action in ON_PRODUCTS else "admin")


def _stale(comes: Principal) -> tuple[Principal, ...]:
    """Over the network, without a second factor that was just proven."""
    return (
        coming(comes, channel="web"),
        web(comes, 16),
        coming(comes, channel="api"),
        coming(web(comes), channel="api"),
    )


def by(roles: tuple[str, ...], action: Action, resource: Resource) -> list[Case]:
    return [Case(person(role), action, resource) for role in roles]


ALLOWED: dict[str, list[Case]] = {
    "engineers-build": [*by(ENGINEERS, Action.BUILD, PRODUCT), *by(ENGINEERS, Action.BUILD, PLATFORM)],
    "services-build": [
        Case(service("scheduler", name="service:scheduler"), Action.BUILD, PRODUCT),
        Case(PIPELINE, Action.BUILD, PRODUCT),
    ],
    "local-process-builds": [
        Case(ANONYMOUS, Action.BUILD, PRODUCT),
        Case(ANONYMOUS, Action.RELEASE_READ, PENDING),
        Case(ANONYMOUS, Action.RELEASE_READ, PLATFORM),
    ],
    "everyone-reads-releases": [
        *by((*STAFF, "pipeline", "scheduler", "monitor"), Action.RELEASE_READ, PENDING),
        Case(person("analyst"), Action.RELEASE_READ, PRODUCT),
    ],
    "steward-approves": [
        Case(STEWARD, Action.RELEASE_APPROVE, PENDING, SEEN),
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, approvers=frozenset({"steward"})), SEEN),
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, base=None), {"digest": DIGEST, "base": None}),
        Case(web(STEWARD), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(web(STEWARD, 15), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(member(STEWARD, "clinical"), Action.RELEASE_APPROVE, NAMED, SEEN),
        Case(person("analyst"), Action.RELEASE_APPROVE, PENDING, SEEN, LENT),
        Case(person("analyst"), Action.RELEASE_APPROVE, NAMED, SEEN, LENT),
        Case(
            coming(STEWARD, scopes=frozenset({"release_approve:healthcare"})),
            Action.RELEASE_APPROVE,
            PENDING,
            SEEN,
        ),
    ],
    "steward-rejects": [
        Case(STEWARD, Action.RELEASE_REJECT, PENDING),
        Case(STEWARD, Action.RELEASE_REJECT, PENDING, SEEN),
        Case(STEWARD, Action.RELEASE_REJECT, NAMED),
        Case(person("data_steward", name="requester"), Action.RELEASE_REJECT, PENDING),
    ],
    "named-privacy-officer-decides": [
        Case(member(person("privacy_officer"), "privacy"), action, NAMED, SEEN)
        for action in (Action.RELEASE_APPROVE, Action.RELEASE_REJECT)
    ],
    "steward-withdraws": [
        Case(STEWARD, Action.RELEASE_WITHDRAW, replace(APPROVED, state=state)) for state in WITHDRAWABLE
    ],
    "requester-withdraws": [
        Case(person(name="requester"), Action.RELEASE_WITHDRAW, replace(PENDING, state=state))
        for state in WITHDRAWABLE
    ],
    "pipeline-deploys": [
        Case(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, SEEN),
        Case(
            PIPELINE,
            Action.RELEASE_DEPLOY,
            replace(APPROVED, classification=3, approvers=frozenset({"steward", "steward2"})),
            SEEN,
        ),
        Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, levels=1, levels_met=1), SEEN),
        Case(
            PIPELINE,
            Action.RELEASE_DEPLOY,
            APPROVED,
            SEEN,
            Fixed(says=Declared(windows=(read_window("Mon-Fri 08:00-17:00 UTC"),))),
        ),
    ],
    "pipeline-restores": [
        Case(PIPELINE, Action.RELEASE_RESTORE, DEPLOYED),
        Case(PIPELINE, Action.RELEASE_RESTORE, DEPLOYED, {}, FROZEN),
    ],
    "steward-rolls-back": [
        Case(STEWARD, Action.RELEASE_ROLLBACK, DEPLOYED),
        Case(STEWARD, Action.RELEASE_ROLLBACK, DEPLOYED, {}, FROZEN),
        Case(STEWARD, Action.RELEASE_ROLLBACK, DEPLOYED, {}, CLOSED),
    ],
    "monitor-rolls-back": [
        Case(service("monitor", name="service:monitor"), Action.RELEASE_ROLLBACK, DEPLOYED),
        Case(service("monitor", name="service:monitor"), Action.RELEASE_ROLLBACK, DEPLOYED, {}, BLOCKED),
    ],
    "operators-and-the-monitor-read-metrics": [
        *by(("admin", "auditor", "data_engineer"), Action.METRICS_READ, PLATFORM),
        Case(service("monitor"), Action.METRICS_READ, PLATFORM),
    ],
    "engineers-and-overseers-read-incidents": by((*ENGINEERS, *OVERSEERS), Action.INCIDENT_READ, PRODUCT),
    "engineers-and-guardians-settle-incidents": by(SETTLERS, Action.INCIDENT_MANAGE, PRODUCT),
    "admin-rolls-back": [Case(person("admin"), Action.RELEASE_ROLLBACK, DEPLOYED)],
    "readers-query-production": [
        *(
            Case(coming(person(role), purpose="research"), Action.PRODUCTION_QUERY, PRODUCT)
            for role in READERS
        ),
        Case(person("analyst"), Action.PRODUCTION_QUERY, OPEN_PRODUCT),
        Case(
            coming(person(), purpose="research"),
            Action.PRODUCTION_QUERY,
            PRODUCT,
            {},
            Fixed(has=Held(roles=frozenset({"analyst"}))),
        ),
    ],
    "privacy-officer-reveals": [
        Case(REVEALER, Action.DATA_REVEAL, PRODUCT),
        Case(REVEALER, Action.DATA_REVEAL, OPEN_PRODUCT),
        Case(web(REVEALER, 15), Action.DATA_REVEAL, replace(PRODUCT, classification=3)),
        *(
            Case(coming(REVEALER, channel="api", scopes=frozenset({scope})), Action.DATA_REVEAL, PRODUCT)
            for scope in ("data_reveal", "data_reveal:healthcare")
        ),
        Case(
            coming(person(), purpose="research"),
            Action.DATA_REVEAL,
            PRODUCT,
            {},
            Fixed(has=Held(roles=frozenset({"privacy_officer"}))),
        ),
    ],
    "privacy-officer-erases": [
        Case(caller, action, PRODUCT)
        for action in (Action.SUBJECT_ERASE, Action.LEGAL_HOLD)
        for caller in (person("privacy_officer"), web(person("privacy_officer"), 15))
    ],
    "overseers-read-audit": by(OVERSEERS, Action.AUDIT_READ, PLATFORM),
    "everyone-reads-the-catalogue": by(STAFF, Action.UI_READ, PLATFORM),
    "engineers-and-overseers-read-runs": by((*ENGINEERS, *OVERSEERS), Action.RUN_READ, PLATFORM),
    "overseers-read-access": by(OVERSEERS, Action.ACCESS_READ, PLATFORM),
    "operators-operate": by(("admin", "data_engineer"), Action.PLATFORM_OPERATE, PLATFORM),
    "operators-read-the-instance": by(("admin", "auditor", "data_engineer"), Action.INSTANCE_READ, PLATFORM),
    "admin-manages-principals": by(("admin",), Action.PRINCIPAL_MANAGE, PLATFORM),
    "admin-grants": by(("admin",), Action.GRANT_GIVE, PLATFORM),
    "steward-delegates": by(("data_steward",), Action.GRANT_DELEGATE, PLATFORM),
    "staff-breaks-glass": [
        *by(GLASS_BREAKERS, Action.BREAK_GLASS, PRODUCT),
        Case(web(person("data_engineer"), 15), Action.BREAK_GLASS, PRODUCT),
    ],
    "overseers-review-break-glass": by(("auditor", "privacy_officer"), Action.BREAK_GLASS_REVIEW, PLATFORM),
    "guardians-freeze": [*by(GUARDIANS, Action.FREEZE, PRODUCT), *by(GUARDIANS, Action.FREEZE, PLATFORM)],
    "overseers-read-keys": by(OVERSEERS, Action.KEY_READ, PLATFORM),
    "admin-rotates": [
        Case(comes, action, resource)
        for comes in (person("admin"), web(person("admin")), web(person("admin"), 15))
        for action, resource in (
            (Action.KEY_ROTATE, KEY),
            (Action.KEY_ROTATE, PLATFORM),
            (Action.KEY_BACKUP, PLATFORM),
            (Action.SECRET_MANAGE, PLATFORM),
        )
    ],
    "scheduler-rotates": [
        Case(SCHEDULER, Action.KEY_ROTATE, KEY),
        Case(coming(SCHEDULER, channel="api"), Action.KEY_ROTATE, KEY),
        Case(SCHEDULER, Action.KEY_ROTATE, PLATFORM),
    ],
    "custodians-disable-and-destroy-keys": [
        *by(CUSTODIANS, Action.KEY_DISABLE, KEY),
        *by(CUSTODIANS, Action.KEY_DISABLE, replace(KEY, name="log")),
        *by(CUSTODIANS, Action.KEY_DISABLE, DISABLED),
        *by(CUSTODIANS, Action.KEY_DESTROY, DISABLED),
        *by(CUSTODIANS, Action.KEY_DESTROY, replace(DISABLED, name="data")),
        Case(web(person("privacy_officer")), Action.KEY_DESTROY, DISABLED),
    ],
}

# For every forbid, requests that some permit allows and only this forbid stops.
FORBIDDEN: dict[str, list[Case]] = {
    "forbid-inactive": [
        Case(replace(STEWARD, active=False), Action.RELEASE_APPROVE, PENDING, SEEN),
        Case(replace(PIPELINE, active=False), Action.RELEASE_DEPLOY, APPROVED, SEEN),
        Case(person("data_engineer", active=False), Action.BUILD, PRODUCT),
        Case(person("analyst", active=False), Action.RELEASE_READ, PENDING),
        Case(person("admin", active=False), Action.PRINCIPAL_MANAGE, PLATFORM),
        Case(person("auditor", active=False), Action.AUDIT_READ, PLATFORM),
        Case(person("analyst", active=False), Action.PRODUCTION_QUERY, OPEN_PRODUCT),
        Case(person("admin", active=False), Action.RELEASE_ROLLBACK, APPROVED),
    ],
    "forbid-anonymous": [
        Case(ANONYMOUS, Action.RELEASE_WITHDRAW, replace(PENDING, requested_by="anonymous")),
        Case(replace(ANONYMOUS, roles=frozenset({"data_steward"})), Action.RELEASE_ROLLBACK, APPROVED),
        Case(replace(ANONYMOUS, roles=frozenset({"admin"})), Action.PRINCIPAL_MANAGE, PLATFORM),
        Case(replace(ANONYMOUS, roles=frozenset({"analyst"})), Action.PRODUCTION_QUERY, OPEN_PRODUCT),
        Case(replace(ANONYMOUS, roles=frozenset({"pipeline"})), Action.RELEASE_DEPLOY, APPROVED, SEEN),
        *(
            Case(
                coming(replace(ANONYMOUS, roles=frozenset({"analyst"})), channel=channel),
                Action.RELEASE_READ,
                PENDING,
            )
            for channel in ("web", "api")
        ),
    ],
    "forbid-out-of-scope": [
        Case(coming(STEWARD, scopes=frozenset(scopes)), Action.RELEASE_APPROVE, PENDING, SEEN)
        for scopes in ((), ("build",), ("release_approve:other",), ("release_approve:healthcare2",), ("",))
    ]
    + [
        Case(
            coming(person("admin"), scopes=frozenset({"principal_manage:healthcare"})),
            Action.PRINCIPAL_MANAGE,
            PLATFORM,
        )
    ],
    "forbid-self-approval": [
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, requested_by=STEWARD.name), SEEN),
        Case(person("analyst"), Action.RELEASE_APPROVE, replace(PENDING, requested_by="sam"), SEEN, LENT),
    ],
    "forbid-double-approval": [
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, approvers=frozenset({STEWARD.name})), SEEN),
        Case(
            STEWARD, Action.RELEASE_APPROVE, replace(PENDING, approvers=frozenset({"x1", STEWARD.name})), SEEN
        ),
        Case(
            STEWARD,
            Action.RELEASE_APPROVE,
            replace(PENDING, approvers=frozenset({"tess"}), behalf=frozenset({STEWARD.name})),
            SEEN,
        ),
        Case(
            person("analyst"),
            Action.RELEASE_APPROVE,
            replace(PENDING, approvers=frozenset({"sam"})),
            SEEN,
            LENT,
        ),
    ],
    "forbid-service-approval": [Case(service("data_steward"), Action.RELEASE_APPROVE, PENDING, SEEN)],
    "forbid-admin-approval": [Case(person("admin", "data_steward"), Action.RELEASE_APPROVE, PENDING, SEEN)],
    "forbid-emergency-approval": [Case(STEWARD, Action.RELEASE_APPROVE, PENDING, SEEN, EMERGENCY)],
    "forbid-outside-approver-groups": [
        Case(STEWARD, Action.RELEASE_APPROVE, NAMED, SEEN),
        Case(member(STEWARD, "finance"), Action.RELEASE_APPROVE, NAMED, SEEN),
    ],
    "forbid-restricted-without-fresh-mfa": [
        Case(STEWARD, Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(coming(STEWARD, channel="web"), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(web(STEWARD, 15.1), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(web(STEWARD, -1), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(coming(web(STEWARD), channel="api"), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
        Case(coming(web(STEWARD), channel="local"), Action.RELEASE_APPROVE, RESTRICTED, SEEN),
    ],
    "forbid-stale-digest": [
        Case(principal, action, resource, seen)
        for principal, action, resource in (
            (STEWARD, Action.RELEASE_APPROVE, PENDING),
            (PIPELINE, Action.RELEASE_DEPLOY, APPROVED),
        )
        for seen in (
            Seen(base=BASE),
            *(Seen(base=BASE, digest=digest) for digest in (None, BASE, DIGEST.upper(), "")),
        )
    ],
    "forbid-stale-base": [
        Case(principal, action, resource, seen)
        for principal, action, resource in (
            (STEWARD, Action.RELEASE_APPROVE, PENDING),
            (PIPELINE, Action.RELEASE_DEPLOY, APPROVED),
        )
        for seen in (Seen(digest=DIGEST), *(Seen(digest=DIGEST, base=base) for base in (None, DIGEST, "")))
    ]
    + [Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, base=None), SEEN)],
    "forbid-restricted-with-one-approval": [
        Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, classification=3), SEEN)
    ],
    "forbid-missing-level": [
        Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, levels=levels, levels_met=met), SEEN)
        for levels, met in ((1, 0), (2, 0), (2, 1))
    ],
    "forbid-frozen": [Case(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, SEEN, FROZEN)],
    "forbid-open-incident": [Case(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, SEEN, BLOCKED)],
    "forbid-service-settling": [Case(service("data_engineer"), Action.INCIDENT_MANAGE, PRODUCT)],
    "forbid-outside-window": [Case(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, SEEN, CLOSED)],
    "forbid-without-purpose": [
        *by(READERS, Action.PRODUCTION_QUERY, PRODUCT),
        *(
            Case(coming(ANALYST, purpose=purpose), Action.PRODUCTION_QUERY, PRODUCT)
            for purpose in ("", "marketing", "Research", "research ")
        ),
        Case(
            ANALYST, Action.PRODUCTION_QUERY, replace(PRODUCT, classification=3), {}, Fixed(says=Declared())
        ),
    ],
    "forbid-revealing-without-purpose": [
        Case(coming(REVEALER, purpose=purpose), Action.DATA_REVEAL, resource)
        for purpose in (None, "", "marketing", "Research", "research ")
        for resource in (PRODUCT, OPEN_PRODUCT)
    ]
    + [Case(REVEALER, Action.DATA_REVEAL, OPEN_PRODUCT, {}, Fixed(says=Declared()))],
    "forbid-break-glass-without-mfa": [
        Case(coming(person("admin"), channel="web"), Action.BREAK_GLASS, PRODUCT),
        Case(web(person("admin"), 16), Action.BREAK_GLASS, PRODUCT),
        Case(coming(web(person("admin")), channel="api"), Action.BREAK_GLASS, PRODUCT),
    ],
    "forbid-break-glass-while-unreviewed": [
        Case(person("data_engineer"), Action.BREAK_GLASS, PRODUCT, {}, OVERDUE)
    ],
    "forbid-custody-without-mfa": [
        Case(coming(comes, purpose="research"), action, about(action))
        for action in CUSTODY
        if action is not Action.DATA_REVEAL
        for comes in _stale(custodian(action))
    ],
    "forbid-revealing-with-any-token": [
        Case(coming(comes, purpose="research"), Action.DATA_REVEAL, PRODUCT)
        for comes in (
            *_stale(REVEALER),
            coming(web(REVEALER, 16), scopes=frozenset({"data_reveal"})),
        )
    ],
    "forbid-service-custody": [
        Case(coming(replace(custodian(action), kind="service"), purpose="research"), action, about(action))
        for action in CUSTODY
        if action is not Action.KEY_ROTATE
    ],
    "forbid-destroying-used-keys": [
        Case(person("admin"), Action.KEY_DESTROY, replace(DISABLED, state=state))
        for state in ("active", "decrypt-only", "destroyed", "Disabled", "")
    ],
    "forbid-destroying-alone": [
        Case(person("admin", name="ada"), Action.KEY_DESTROY, DISABLED),
        Case(web(person("privacy_officer", name="ada")), Action.KEY_DESTROY, DISABLED),
        Case(person("admin"), Action.KEY_DESTROY, replace(KEY, state="disabled")),
    ],
    "forbid-destroying-evidence": [
        Case(person("admin"), Action.KEY_DESTROY, replace(DISABLED, name=name))
        for name in ("mac", "digest", "sign", "log", "digest/other")
    ],
}

CLOSED_STATES = ("rejected", "withdrawn", "expired", "superseded", "deployed", "rolled_back", "Pending", "")

# No permit applies.
NOT_PERMITTED = [
    *(
        Case(person(role), action, PENDING, SEEN)
        for role in sorted(ROLES - {"data_steward"})
        for action in (Action.RELEASE_REJECT, Action.RELEASE_WITHDRAW)
    ),
    *(
        Case(person(role), Action.RELEASE_APPROVE, PENDING, SEEN)
        for role in sorted(ROLES - {"data_steward", "admin"})
    ),
    *(
        Case(STEWARD, action, replace(PENDING, state=state), SEEN)
        for state in (*CLOSED_STATES, "approved", "deploy_failed")
        for action in (Action.RELEASE_APPROVE, Action.RELEASE_REJECT)
    ),
    *(
        Case(principal, Action.RELEASE_WITHDRAW, replace(PENDING, state=state))
        for state in CLOSED_STATES
        for principal in (STEWARD, person(name="requester"))
    ),
    *(
        Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, state=state), SEEN)
        for state in ("pending", "rejected", "withdrawn", "expired", "superseded", "deployed", "Approved", "")
    ),
    Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, approvers=frozenset()), SEEN),
    *(Case(person(role), Action.RELEASE_DEPLOY, APPROVED, SEEN) for role in sorted(ROLES)),
    *(
        Case(person(role), Action.RELEASE_ROLLBACK, DEPLOYED)
        for role in sorted(ROLES - {"data_steward", "admin"})
    ),
    Case(PIPELINE, Action.RELEASE_ROLLBACK, DEPLOYED),
    Case(person("pipeline"), Action.RELEASE_RESTORE, DEPLOYED),
    *(Case(PIPELINE, Action.RELEASE_RESTORE, replace(PENDING, state=state)) for state in ("approved", "")),
    Case(member(person("privacy_officer"), "finance"), Action.RELEASE_REJECT, NAMED),
    Case(
        member(person("privacy_officer"), "privacy"), Action.RELEASE_REJECT, replace(NAMED, state="approved")
    ),
    Case(member(person("analyst"), "privacy"), Action.RELEASE_APPROVE, NAMED, SEEN),
    Case(person(), Action.RELEASE_READ, PENDING),
    Case(person("pipeline"), Action.BUILD, PRODUCT),
    Case(person("scheduler"), Action.BUILD, PRODUCT),
    Case(service("monitor"), Action.RELEASE_DEPLOY, APPROVED, SEEN),
    Case(person("monitor"), Action.RELEASE_ROLLBACK, DEPLOYED),
    Case(service("data_engineer"), Action.BREAK_GLASS, PRODUCT),
    Case(person("analyst"), Action.RELEASE_WITHDRAW, PENDING, {}, LENT),
    Case(person("analyst"), Action.RELEASE_ROLLBACK, DEPLOYED, {}, LENT),
    *(
        Case(person(role), action, resource)
        for action, resource, roles in (
            (Action.BUILD, PRODUCT, ENGINEERS),
            (Action.PRODUCTION_QUERY, OPEN_PRODUCT, READERS),
            (Action.PRINCIPAL_MANAGE, PLATFORM, ("admin",)),
            (Action.AUDIT_READ, PLATFORM, OVERSEERS),
            (Action.UI_READ, PLATFORM, STAFF),
            (Action.RUN_READ, PLATFORM, (*ENGINEERS, *OVERSEERS)),
            (Action.ACCESS_READ, PLATFORM, OVERSEERS),
            (Action.PLATFORM_OPERATE, PLATFORM, ("admin", "data_engineer")),
            (Action.INSTANCE_READ, PLATFORM, ("admin", "auditor", "data_engineer")),
            (Action.GRANT_GIVE, PLATFORM, ("admin",)),
            (Action.GRANT_DELEGATE, PLATFORM, ("data_steward",)),
            (Action.BREAK_GLASS, PRODUCT, GLASS_BREAKERS),
            (Action.BREAK_GLASS_REVIEW, PLATFORM, ("auditor", "privacy_officer")),
            (Action.FREEZE, PRODUCT, GUARDIANS),
            (Action.INCIDENT_READ, PRODUCT, (*ENGINEERS, *OVERSEERS)),
            (Action.METRICS_READ, PLATFORM, ("admin", "auditor", "data_engineer", "monitor")),
            (Action.INCIDENT_MANAGE, PRODUCT, SETTLERS),
            (Action.KEY_READ, PLATFORM, OVERSEERS),
            (Action.KEY_ROTATE, KEY, ("admin",)),
            (Action.KEY_DISABLE, KEY, CUSTODIANS),
            (Action.KEY_DESTROY, DISABLED, CUSTODIANS),
            (Action.KEY_BACKUP, PLATFORM, ("admin",)),
            (Action.SECRET_MANAGE, PLATFORM, ("admin",)),
        )
        for role in sorted(ROLES - set(roles))
    ),
    *(
        Case(coming(person(role), purpose="research"), action, PRODUCT)
        for action in sorted(ON_PRODUCTS)
        for role in sorted(ROLES - {"privacy_officer"})
    ),
]


def every(cases: dict[str, list[Case]]) -> list[Any]:
    return [
        pytest.param(rule, case, id=f"{rule}-{number}")
        for rule, group in cases.items()
        for number, case in enumerate(group)
    ]
