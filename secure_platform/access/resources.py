"""What the policy can be asked: the actions, what they act on, and that in Cedar's JSON."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from secure_platform.access.cedar import PRINCIPAL, Entity, reference, references, uid
from secure_platform.access.principals import ANONYMOUS
from secure_platform.access.situation import Situation


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
    DATA_REVEAL = "data_reveal"
    SUBJECT_ERASE = "subject_erase"
    LEGAL_HOLD = "legal_hold"
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
    METRICS_READ = "metrics_read"
    INCIDENT_READ = "incident_read"
    INCIDENT_MANAGE = "incident_manage"
    KEY_READ = "key_read"
    KEY_ROTATE = "key_rotate"
    KEY_DISABLE = "key_disable"
    KEY_DESTROY = "key_destroy"
    KEY_BACKUP = "key_backup"
    SECRET_MANAGE = "secret_manage"  # noqa: S105 - the name of an action


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
        behalf: Names of those for whom approvers among them acted, by delegation.
        approver_groups: Who may approve it, as its contracts say; empty for every data steward.
        levels: Number of approver levels that its contracts name.
        levels_met: Number of these levels that have an approval of their own.
    """

    digest: str
    product: str
    environment: str
    classification: int
    requested_by: str
    state: str
    base: str | None
    approvers: frozenset[str]
    behalf: frozenset[str] = frozenset()
    approver_groups: frozenset[str] = frozenset()
    levels: int = 0
    levels_met: int = 0


@dataclass(frozen=True)
class PlatformResource:
    """The platform itself."""


@dataclass(frozen=True)
class KeyResource:
    """One version of a key.

    Attributes:
        name: Its kind, or `kind/qualifier`.
        disabled_by: Name of who disabled it; nobody's where it is not disabled, or that is not known.
    """

    name: str
    version: int
    state: str
    disabled_by: str = ANONYMOUS.name


Resource: TypeAlias = ProductResource | ReleaseResource | PlatformResource | KeyResource


def product_of(resource: Resource) -> str | None:
    """Name of the product that a resource belongs to, None for the platform."""
    match resource:
        case ProductResource():
            return resource.name
        case ReleaseResource():
            return resource.product
        case PlatformResource() | KeyResource():
            return None


def resource_entity(resource: Resource, situation: Situation, at: datetime) -> Entity:
    """A resource with all that the policies see of it at a moment."""
    if isinstance(resource, PlatformResource):
        return {"uid": uid("Platform", "platform"), "attrs": {}, "parents": []}
    if isinstance(resource, ReleaseResource):
        return _release_entity(resource, situation, at)
    if isinstance(resource, KeyResource):
        return _key_entity(resource)
    declared = situation.declared(resource.name)
    attributes = {
        "environment": resource.environment,
        "classification": int(resource.classification),
        "owner": declared.owner,
        "purposes": sorted(declared.purposes),
        "frozen": situation.frozen(resource.name, at),
    }
    return {"uid": uid("Product", resource.name), "attrs": attributes, "parents": []}


def _release_entity(resource: ReleaseResource, situation: Situation, at: datetime) -> Entity:
    attributes = {
        "environment": resource.environment,
        "classification": int(resource.classification),
        "digest": resource.digest,
        "state": resource.state,
        "base": resource.base or "",
        "requested_by": reference(PRINCIPAL, resource.requested_by),
        "approver_groups": references("Group", resource.approver_groups),
        "approvers": references(PRINCIPAL, resource.approvers | resource.behalf),
        "approvals": len(resource.approvers),
        "levels": resource.levels,
        "levels_met": resource.levels_met,
        "frozen": situation.frozen(resource.product, at),
        "blocked": situation.blocked(resource.product),
        "in_window": situation.declared(resource.product).in_window(at),
    }
    return {
        "uid": uid("Release", resource.digest),
        "attrs": attributes,
        "parents": [uid("Product", resource.product)],
    }


def _key_entity(resource: KeyResource) -> Entity:
    attributes = {
        "kind": resource.name.partition("/")[0],
        "state": resource.state,
        "disabled_by": reference(PRINCIPAL, resource.disabled_by),
    }
    return {"uid": uid("Key", f"{resource.name}:{resource.version}"), "attrs": attributes, "parents": []}


def title(resource: Resource) -> str:
    """What the audit log and refusals call a resource."""
    match resource:
        case ProductResource():
            return f"product:{resource.name}"
        case ReleaseResource():
            return f"release:{resource.digest}"
        case KeyResource():
            return f"key:{resource.name}:{resource.version}"
        case PlatformResource():
            return "platform"
