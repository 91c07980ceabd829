"""Nothing that matters happens without an allow from the Cedar policies, and every decision is audited.

Denied is whatever no policy permits, whatever one forbids, whatever does not fit the schema, and whatever
makes a policy fail: Cedar skips a failing policy, so a failing `forbid` would let the request through.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, TypeAlias

import cedarpy

from secure_platform.access.principals import Principal
from secure_platform.access.rules import PolicyRules, load_rules
from secure_platform.audit.log import AuditLog
from secure_platform.errors import AccessDeniedError

_NO_RULE: Final = "no rule allows it"
_NO_RULE_FIX: Final = (
    "Check the state of what you act on, and your roles with an administrator; "
    "docs/permission-matrix.md lists who may do what."
)


class Action(StrEnum):
    """What can be asked of the policy."""

    BUILD = "build"
    RELEASE_READ = "release_read"
    RELEASE_APPROVE = "release_approve"
    RELEASE_REJECT = "release_reject"
    RELEASE_WITHDRAW = "release_withdraw"
    RELEASE_DEPLOY = "release_deploy"
    RELEASE_ROLLBACK = "release_rollback"
    RELEASE_RESTORE = "release_restore"
    PRODUCTION_QUERY = "production_query"
    PRINCIPAL_MANAGE = "principal_manage"
    AUDIT_READ = "audit_read"
    UI_READ = "ui_read"
    RUN_READ = "run_read"
    INSTANCE_READ = "instance_read"
    PLATFORM_OPERATE = "platform_operate"
    ACCESS_READ = "access_read"
    GRANT_GIVE = "grant_give"
    GRANT_DELEGATE = "grant_delegate"
    BREAK_GLASS = "break_glass"
    BREAK_GLASS_REVIEW = "break_glass_review"
    FREEZE = "freeze"


@dataclass(frozen=True)
class ProductResource:
    """A data product in one environment.

    Attributes:
        classification: Of its outputs: public 0, internal 1, confidential 2, restricted 3.
    """

    name: str
    environment: str
    classification: int


@dataclass(frozen=True)
class ReleaseResource:
    """A release as the gate knows it.

    Attributes:
        classification: Of its outputs: public 0, internal 1, confidential 2, restricted 3.
        requested_by: Name of the principal that asked for it.
        base: Digest of the release in production that it was built against, None for the first one.
        approvers: Names of the principals whose approvals hold.
    """

    digest: str
    product: str
    environment: str
    classification: int
    requested_by: str
    state: str
    base: str | None
    approvers: frozenset[str]


@dataclass(frozen=True)
class PlatformResource:
    """The platform itself."""


Resource: TypeAlias = ProductResource | ReleaseResource | PlatformResource


@dataclass(frozen=True)
class Decision:
    """What the policy said.

    Attributes:
        allowed: Whether the action may go on.
        action: What was asked.
        rules: @id of the permits that allowed it, or of the forbids that stopped it; empty if none applied.
        policy_digest: Of schema and policies.
        errors: Why the request could not be judged; never empty together with `allowed`.
    """

    allowed: bool
    action: str
    rules: tuple[str, ...]
    policy_digest: str
    errors: tuple[str, ...]


class Policy:
    """Decides, and records what it decided.

    Args:
        audit: Where decisions are recorded.
        extra: A folder of further `*.cedar` files, judged together with ours; a forbid in any of them wins.

    Raises:
        ContractError: If a policy does not parse, does not fit the schema, or lacks an @id of its own.
    """

    def __init__(self, audit: AuditLog, extra: Path | None = None) -> None:
        self._audit = audit
        self._rules: PolicyRules = load_rules(extra)

    @property
    def digest(self) -> str:
        """Of schema and policies, `sha256:<64 hex>`."""
        return self._rules.digest

    def decide(
        self, principal: Principal, action: Action, resource: Resource, **context: str | None
    ) -> Decision:
        """Judge and record.

        Args:
            principal: Who asks.
            action: What for.
            resource: On what.
            context: What the caller saw: `digest` of the release they act on, and `base`, the digest in
                production (None for none).
        """
        decision = self.evaluate(principal, action, resource, **context)
        self._audit.append(
            "policy.decide",
            actor=principal.name,
            subject=_title(resource),
            detail={
                "action": decision.action,
                "allowed": decision.allowed,
                "rules": list(decision.rules),
                "policy": decision.policy_digest,
                "errors": len(decision.errors),
            },
        )
        return decision

    def require(
        self, principal: Principal, action: Action, resource: Resource, **context: str | None
    ) -> Decision:
        """Judge, record, and stop what is not allowed.

        Raises:
            AccessDeniedError: Naming the action, the rules that stopped it, and what to do.
        """
        decision = self.decide(principal, action, resource, **context)
        if not decision.allowed:
            reason, fix = self.explain(decision)
            raise AccessDeniedError(
                f"{principal.name} may not do {action} on {_title(resource)}: {reason}", fix
            )
        return decision

    def evaluate(
        self, principal: Principal, action: Action, resource: Resource, **context: str | None
    ) -> Decision:
        """The decision without its record: to show what somebody may do, never to do it."""
        target = _resource_entity(resource)
        request = {
            "principal": _uid("Principal", principal.name),
            "action": _uid("Action", action),
            "resource": target["uid"],
            "context": {name: value or "" for name, value in context.items()},
        }
        return self._judge(request, [_principal_entity(principal), target])

    def explain(self, decision: Decision) -> tuple[str, str]:
        """Why something was refused, and what its caller can do about it."""
        if decision.errors and not decision.rules:
            return "the policies could not judge the request", "Check the policies and the caller's roles."
        fixes = [self._rules.fixes[rule] for rule in decision.rules if rule in self._rules.fixes]
        return ", ".join(decision.rules) or _NO_RULE, " ".join(fixes) or _NO_RULE_FIX

    def _judge(self, request: Mapping[str, Any], entities: list[dict[str, Any]]) -> Decision:
        rules = self._rules
        action = request["action"]["id"]
        try:
            known = cedarpy.Entities.from_json_str(json.dumps(entities), rules.schema)
            result = cedarpy.is_authorized(dict(request), rules.policies, known, schema=rules.schema)
        except ValueError as error:
            return Decision(False, action, (), rules.digest, (str(error),))
        errors = tuple(result.diagnostics.errors)
        named = result.diagnostics.id_annotations_by_reason
        applied = tuple(sorted(named[reason] for reason in result.diagnostics.reasons))
        if result.allowed and errors:
            return Decision(False, action, (), rules.digest, errors)
        return Decision(result.allowed, action, applied, rules.digest, errors)


def _uid(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _reference(name: str) -> dict[str, dict[str, str]]:
    return {"__entity": _uid("Principal", name)}


def _principal_entity(principal: Principal) -> dict[str, Any]:
    return {
        "uid": _uid("Principal", principal.name),
        "attrs": {"kind": principal.kind, "active": principal.active},
        "parents": [_uid("Role", role) for role in sorted(principal.roles)],
    }


def _resource_entity(resource: Resource) -> dict[str, Any]:
    if isinstance(resource, PlatformResource):
        return {"uid": _uid("Platform", "platform"), "attrs": {}, "parents": []}
    attributes: dict[str, Any] = {
        "environment": resource.environment,
        "classification": int(resource.classification),
    }
    if isinstance(resource, ProductResource):
        return {"uid": _uid("Product", resource.name), "attrs": attributes, "parents": []}
    attributes |= {
        "digest": resource.digest,
        "state": resource.state,
        "base": resource.base or "",
        "requested_by": _reference(resource.requested_by),
        "approvers": [_reference(name) for name in sorted(resource.approvers)],
        "approvals": len(resource.approvers),
    }
    return {
        "uid": _uid("Release", resource.digest),
        "attrs": attributes,
        "parents": [_uid("Product", resource.product)],
    }


def _title(resource: Resource) -> str:
    match resource:
        case ProductResource():
            return f"product:{resource.name}"
        case ReleaseResource():
            return f"release:{resource.digest}"
        case PlatformResource():
            return "platform"
