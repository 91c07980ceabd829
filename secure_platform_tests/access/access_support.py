"""Requests with a known answer, for every policy."""

from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from secure_platform.access.policy import (
    Action,
    Decision,
    PlatformResource,
    Policy,
    ProductResource,
    ReleaseResource,
    Resource,
    _principal_entity,
    _resource_entity,
)
from secure_platform.access.principals import ANONYMOUS, ROLES, Principal
from secure_platform.audit.log import AuditLog
from secure_platform.keys.signing import LogSigner

DIGEST = "sha256:" + "a" * 64
BASE = "sha256:" + "b" * 64

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
APPROVED = replace(PENDING, state="approved", approvers=frozenset({"steward"}))
PRODUCT = ProductResource("healthcare", "production", 2)
PLATFORM = PlatformResource()
SEEN: dict[str, str | None] = {"digest": DIGEST, "base": BASE}


def person(*roles: str, name: str = "someone", active: bool = True) -> Principal:
    return Principal(name, "user", frozenset(roles), active=active)


def service(*roles: str, name: str = "service:deployer", active: bool = True) -> Principal:
    return Principal(name, "service", frozenset(roles), active=active)


STEWARD = person("data_steward", name="steward2")
PIPELINE = service("pipeline")


@dataclass(frozen=True)
class Case:
    """One request."""

    principal: Principal
    action: Action
    resource: Resource
    seen: dict[str, str | None] = field(default_factory=dict)

    def ask(self, policy: Policy) -> Decision:
        return policy.evaluate(self.principal, self.action, self.resource, **self.seen)


def open_log(directory: Path) -> AuditLog:
    """A fresh audit log whose identifiers are plain hashes."""
    return AuditLog(
        directory / "audit.db",
        origin="secure-platform/test",
        signer=LogSigner("secure-platform/test", bytes(32)),
        identify=lambda name: f"p:{sha256(name.encode()).hexdigest()[:32]}",
    )


ALLOWED = {
    "anyone-builds": [
        Case(ANONYMOUS, Action.BUILD, PRODUCT),
        Case(ANONYMOUS, Action.RELEASE_READ, PENDING),
        Case(ANONYMOUS, Action.RELEASE_READ, PLATFORM),
        Case(person(), Action.RELEASE_READ, PRODUCT),
        Case(service(name="service:scheduler"), Action.BUILD, PRODUCT),
    ],
    "steward-approves": [
        Case(STEWARD, Action.RELEASE_APPROVE, PENDING, SEEN),
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, approvers=frozenset({"steward"})), SEEN),
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, base=None), {"digest": DIGEST, "base": None}),
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, classification=3), SEEN),
    ],
    "steward-rejects": [
        Case(STEWARD, Action.RELEASE_REJECT, PENDING),
        Case(STEWARD, Action.RELEASE_REJECT, PENDING, SEEN),
        Case(person("data_steward", name="requester"), Action.RELEASE_REJECT, PENDING),
    ],
    "steward-withdraws": [Case(STEWARD, Action.RELEASE_WITHDRAW, APPROVED)],
    "requester-withdraws": [Case(person(name="requester"), Action.RELEASE_WITHDRAW, PENDING)],
    "pipeline-deploys": [
        Case(PIPELINE, Action.RELEASE_DEPLOY, APPROVED, SEEN),
        Case(
            PIPELINE,
            Action.RELEASE_DEPLOY,
            replace(APPROVED, classification=3, approvers=frozenset({"steward", "steward2"})),
            SEEN,
        ),
    ],
    "pipeline-restores": [Case(PIPELINE, Action.RELEASE_RESTORE, replace(PENDING, state="deployed"))],
    "steward-rolls-back": [Case(STEWARD, Action.RELEASE_ROLLBACK, replace(PENDING, state="deployed"))],
    "admin-rolls-back": [Case(person("admin"), Action.RELEASE_ROLLBACK, replace(PENDING, state="deployed"))],
    "readers-query-production": [
        Case(person(role), Action.PRODUCTION_QUERY, PRODUCT)
        for role in ("analyst", "data_engineer", "data_steward", "privacy_officer")
    ],
    "overseers-read-audit": [
        Case(person(role), Action.AUDIT_READ, PLATFORM)
        for role in ("admin", "auditor", "data_steward", "privacy_officer")
    ],
    "admin-manages-principals": [Case(person("admin"), Action.PRINCIPAL_MANAGE, PLATFORM)],
}

# For every forbid, requests that some permit allows and only this forbid stops.
FORBIDDEN = {
    "forbid-inactive": [
        Case(replace(STEWARD, active=False), Action.RELEASE_APPROVE, PENDING, SEEN),
        Case(replace(PIPELINE, active=False), Action.RELEASE_DEPLOY, APPROVED, SEEN),
        Case(person(active=False), Action.BUILD, PRODUCT),
        Case(person(active=False), Action.RELEASE_READ, PENDING),
        Case(person("admin", active=False), Action.PRINCIPAL_MANAGE, PLATFORM),
        Case(person("auditor", active=False), Action.AUDIT_READ, PLATFORM),
        Case(person("analyst", active=False), Action.PRODUCTION_QUERY, PRODUCT),
        Case(person("admin", active=False), Action.RELEASE_ROLLBACK, APPROVED),
    ],
    "forbid-anonymous": [
        Case(ANONYMOUS, Action.RELEASE_WITHDRAW, replace(PENDING, requested_by="anonymous")),
        Case(replace(ANONYMOUS, roles=frozenset({"data_steward"})), Action.RELEASE_ROLLBACK, APPROVED),
        Case(replace(ANONYMOUS, roles=frozenset({"admin"})), Action.PRINCIPAL_MANAGE, PLATFORM),
        Case(replace(ANONYMOUS, roles=frozenset({"analyst"})), Action.PRODUCTION_QUERY, PRODUCT),
        Case(replace(ANONYMOUS, roles=frozenset({"pipeline"})), Action.RELEASE_DEPLOY, APPROVED, SEEN),
    ],
    "forbid-self-approval": [
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, requested_by=STEWARD.name), SEEN)
    ],
    "forbid-double-approval": [
        Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, approvers=frozenset({STEWARD.name})), SEEN),
        Case(
            STEWARD, Action.RELEASE_APPROVE, replace(PENDING, approvers=frozenset({"x1", STEWARD.name})), SEEN
        ),
    ],
    "forbid-service-approval": [Case(service("data_steward"), Action.RELEASE_APPROVE, PENDING, SEEN)],
    "forbid-admin-approval": [Case(person("admin", "data_steward"), Action.RELEASE_APPROVE, PENDING, SEEN)],
    "forbid-stale-digest": [
        Case(principal, action, resource, {"base": BASE, **digest})
        for principal, action, resource in (
            (STEWARD, Action.RELEASE_APPROVE, PENDING),
            (PIPELINE, Action.RELEASE_DEPLOY, APPROVED),
        )
        for digest in ({}, {"digest": None}, {"digest": BASE}, {"digest": DIGEST.upper()}, {"digest": ""})
    ],
    "forbid-stale-base": [
        Case(principal, action, resource, {"digest": DIGEST, **base})
        for principal, action, resource in (
            (STEWARD, Action.RELEASE_APPROVE, PENDING),
            (PIPELINE, Action.RELEASE_DEPLOY, APPROVED),
        )
        for base in ({}, {"base": None}, {"base": DIGEST}, {"base": ""})
    ]
    + [Case(STEWARD, Action.RELEASE_APPROVE, replace(PENDING, base=None), SEEN)],
    "forbid-restricted-with-one-approval": [
        Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, classification=3), SEEN)
    ],
}

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
        for state in (
            "approved",
            "rejected",
            "withdrawn",
            "expired",
            "superseded",
            "deployed",
            "rolled_back",
            "",
        )
        for action in (Action.RELEASE_APPROVE, Action.RELEASE_REJECT)
    ),
    *(
        Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, state=state), SEEN)
        for state in ("pending", "rejected", "withdrawn", "expired", "superseded", "deployed", "Approved", "")
    ),
    Case(PIPELINE, Action.RELEASE_DEPLOY, replace(APPROVED, approvers=frozenset()), SEEN),
    *(Case(person(role), Action.RELEASE_DEPLOY, APPROVED, SEEN) for role in sorted(ROLES)),
    *(
        Case(person(role), Action.RELEASE_ROLLBACK, replace(PENDING, state="deployed"))
        for role in sorted(ROLES - {"data_steward", "admin"})
    ),
    Case(PIPELINE, Action.RELEASE_ROLLBACK, replace(PENDING, state="deployed")),
    *(Case(person(role), Action.PRODUCTION_QUERY, PRODUCT) for role in ("admin", "auditor", "pipeline")),
    *(Case(person(role), Action.PRINCIPAL_MANAGE, PLATFORM) for role in sorted(ROLES - {"admin"})),
    *(Case(person(role), Action.AUDIT_READ, PLATFORM) for role in ("analyst", "data_engineer", "pipeline")),
    Case(person(), Action.AUDIT_READ, PLATFORM),
    Case(person(name="someone"), Action.RELEASE_WITHDRAW, PENDING),
]


def every(cases: dict[str, list[Case]]) -> list[Any]:
    return [
        pytest.param(rule, case, id=f"{rule}-{number}")
        for rule, group in cases.items()
        for number, case in enumerate(group)
    ]


def entities(case: Case) -> list[dict[str, Any]]:
    return [_principal_entity(case.principal), _resource_entity(case.resource)]


def request(case: Case) -> dict[str, Any]:
    return {
        "principal": entities(case)[0]["uid"],
        "action": {"type": "Action", "id": case.action},
        "resource": entities(case)[1]["uid"],
        "context": {name: value or "" for name, value in case.seen.items()},
    }
