"""Who may do what, computed from the policies in force and never written by hand."""

from dataclasses import dataclass
from typing import Final

from secure_platform.access.policy import (
    Action,
    PlatformResource,
    Policy,
    ProductResource,
    ReleaseResource,
    Resource,
    Seen,
)
from secure_platform.access.principals import ANONYMOUS, ROLES, Principal

CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
_DIGEST: Final = "sha256:" + "0" * 64
_STATES: Final = {
    Action.RELEASE_DEPLOY: "approved",
    Action.RELEASE_ROLLBACK: "deployed",
    Action.RELEASE_RESTORE: "deployed",
}
_ABOUT_PRODUCTS: Final = frozenset({Action.BUILD, Action.PRODUCTION_QUERY})
_ABOUT_THE_PLATFORM: Final = frozenset({Action.PRINCIPAL_MANAGE, Action.AUDIT_READ})


@dataclass(frozen=True)
class Permission:
    """What one kind of caller may do.

    Attributes:
        caller: A role, or who has none.
        action: What is asked, on something in the state it is meant for, with one approval where one counts.
        classifications: For which classifications of the output it is allowed.
    """

    caller: str
    action: Action
    classifications: tuple[str, ...]


def permission_matrix(policy: Policy) -> list[Permission]:
    """Every caller, action and classification."""
    return [
        Permission(caller, action, _allowed(policy, principal, action))
        for action in Action
        for caller, principal in _callers().items()
    ]


def _callers() -> dict[str, Principal]:
    callers = {
        role: Principal(
            "someone", "service" if role == "pipeline" else "user", frozenset({role}), active=True
        )
        for role in sorted(ROLES)
    }
    steward = frozenset({"data_steward"})
    return {
        "anonymous": ANONYMOUS,
        "no role": Principal("someone", "user", frozenset(), active=True),
        **callers,
        "the requester": Principal("requester", "user", frozenset(), active=True),
        "the requester, a data_steward": Principal("requester", "user", steward, active=True),
        "a disabled data_steward": Principal("someone", "user", steward, active=False),
    }


def _allowed(policy: Policy, principal: Principal, action: Action) -> tuple[str, ...]:
    return tuple(
        label
        for classification, label in enumerate(CLASSIFICATIONS)
        if policy.evaluate(principal, action, _resource(action, classification), **_seen(action)).allowed
    )


def _resource(action: Action, classification: int) -> Resource:
    if action in _ABOUT_THE_PLATFORM:
        return PlatformResource()
    if action in _ABOUT_PRODUCTS:
        return ProductResource("product", "production", classification)
    return ReleaseResource(
        digest=_DIGEST,
        product="product",
        environment="production",
        classification=classification,
        requested_by="requester",
        state=_STATES.get(action, "pending"),
        base=None,
        approvers=frozenset({"approver"}) if action in _STATES else frozenset(),
    )


def _seen(action: Action) -> Seen:
    if action in _ABOUT_THE_PLATFORM | _ABOUT_PRODUCTS:
        return {}
    return {"digest": _DIGEST, "base": None}
