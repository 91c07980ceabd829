"""Who may do what, computed from the policies in force and never written by hand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from secure_platform.access.circumstances import Circumstances
from secure_platform.access.policy import Policy, Seen
from secure_platform.access.principals import ANONYMOUS, ROLES, Principal
from secure_platform.access.resources import (
    Action,
    KeyResource,
    PlatformResource,
    ProductResource,
    ReleaseResource,
    Resource,
)
from secure_platform.access.situation import Declared, Situation

CLASSIFICATIONS: Final = ("public", "internal", "confidential", "restricted")
ANY_DIGEST: Final = "sha256:" + "0" * 64
"""Of a release in a question that is about no real one."""
_PURPOSE: Final = "research"
_NOW: Final = datetime(2026, 1, 5, 12, tzinfo=UTC)
_STATES: Final = {
    Action.RELEASE_DEPLOY: "approved",
    Action.RELEASE_ROLLBACK: "deployed",
    Action.RELEASE_RESTORE: "deployed",
}
_ABOUT_PRODUCTS: Final = frozenset(
    {
        *(Action.BUILD, Action.PRODUCTION_QUERY, Action.DATA_REVEAL, Action.SUBJECT_ERASE),
        *(Action.LEGAL_HOLD, Action.BREAK_GLASS, Action.FREEZE),
        *(Action.INCIDENT_READ, Action.INCIDENT_MANAGE),
    }
)
_ABOUT_THE_PLATFORM: Final = frozenset(
    {
        *(Action.PRINCIPAL_MANAGE, Action.AUDIT_READ, Action.UI_READ, Action.RUN_READ, Action.INSTANCE_READ),
        *(Action.PLATFORM_OPERATE, Action.ACCESS_READ, Action.GRANT_GIVE, Action.GRANT_DELEGATE),
        *(Action.BREAK_GLASS_REVIEW, Action.KEY_READ, Action.KEY_BACKUP, Action.SECRET_MANAGE),
        Action.METRICS_READ,
    }
)
# A key in the state that the action is meant for, disabled by somebody else.
ABOUT_KEYS: Final = {
    action: KeyResource("token/domain", 1, state, disabled_by="custodian")
    for action, state in (
        (Action.KEY_ROTATE, "active"),
        (Action.KEY_DISABLE, "decrypt-only"),
        (Action.KEY_DESTROY, "disabled"),
    )
}


@dataclass(frozen=True)
class Permission:
    """What one kind of caller may do.

    Attributes:
        caller: A role, or who has none.
        action: What is asked, on something in the state it is meant for, with one approval where one counts.
        mfa: Whether they come through the web page with a second factor just proven, or with a token.
        classifications: For which classifications of the output it is allowed.
    """

    caller: str
    action: Action
    mfa: bool
    classifications: tuple[str, ...]


class _Purpose(Situation):
    """Nothing is granted or frozen, and what the caller says they need the data for is a purpose."""

    def declared(self, product: str) -> Declared:
        del product
        return Declared(purposes=frozenset({_PURPOSE}))


def permission_matrix(policy: Policy) -> list[Permission]:
    """Every caller, action and classification, with a second factor and without."""
    return [
        Permission(caller, action, mfa, _allowed(policy, principal, action, mfa=mfa))
        for action in Action
        for caller, principal in _callers().items()
        for mfa in (False, True)
    ]


def _callers() -> dict[str, Principal]:
    callers = {
        role: Principal(
            "someone",
            "service" if role in {"pipeline", "scheduler", "monitor"} else "user",
            frozenset({role}),
            active=True,
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


def _allowed(policy: Policy, principal: Principal, action: Action, *, mfa: bool) -> tuple[str, ...]:
    come = (
        Circumstances("web", "password", _NOW, purpose=_PURPOSE)
        if mfa
        else Circumstances("local" if principal is ANONYMOUS else "api", "token", purpose=_PURPOSE)
    )
    caller = replace(principal, circumstances=come)
    return tuple(
        label
        for classification, label in enumerate(CLASSIFICATIONS)
        if policy.evaluate(
            caller,
            action,
            _resource(action, classification),
            at=_NOW,
            situation=_Purpose(),
            **_seen(action),
        ).allowed
    )


def _resource(action: Action, classification: int) -> Resource:
    if action in _ABOUT_THE_PLATFORM:
        return PlatformResource()
    if action in _ABOUT_PRODUCTS:
        return ProductResource("product", "production", classification)
    if action in ABOUT_KEYS:
        return ABOUT_KEYS[action]
    return ReleaseResource(
        digest=ANY_DIGEST,
        product="product",
        environment="production",
        classification=classification,
        requested_by="requester",
        state=_STATES.get(action, "pending"),
        base=None,
        approvers=frozenset({"approver"}) if action in _STATES else frozenset(),
    )


def _seen(action: Action) -> Seen:
    if action in _ABOUT_THE_PLATFORM | _ABOUT_PRODUCTS | ABOUT_KEYS.keys():
        return {}
    return {"digest": ANY_DIGEST, "base": None}


def matrix_rows(permissions: Sequence[Permission]) -> list[tuple[str, ...]]:
    """Caller, then a cell per action: `no`, `yes`, or up to which classification, and what a factor adds."""
    cells: dict[str, dict[Action, list[tuple[str, ...]]]] = {}
    for each in permissions:
        cells.setdefault(each.caller, {}).setdefault(each.action, []).append(each.classifications)
    return [
        (caller, *(_cell(*without_and_with) for without_and_with in row.values()))
        for caller, row in cells.items()
    ]


def _cell(without: tuple[str, ...], with_factor: tuple[str, ...]) -> str:
    if without == with_factor:
        return _words(without)
    return f"{_words(without)}; on the web with MFA {_words(with_factor)}"


def _words(allowed: tuple[str, ...]) -> str:
    if allowed in {(), CLASSIFICATIONS}:
        return "yes" if allowed else "no"
    upto = allowed == CLASSIFICATIONS[: len(allowed)]
    return f"up to {allowed[-1]}" if upto else ", ".join(allowed)
