"""Policies are tested like code: a case says who asks for what, and what the decision must be.

The cases are `*.yaml` files beside the policies. What a case leaves out has the value of an ordinary request.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from secure_platform.access.circumstances import Channel, Circumstances, Method
from secure_platform.access.matrix import ANY_DIGEST, CLASSIFICATIONS
from secure_platform.access.policy import Decision, Policy
from secure_platform.access.principals import Principal
from secure_platform.access.resources import (
    Action,
    KeyResource,
    PlatformResource,
    ProductResource,
    ReleaseResource,
    Resource,
)
from secure_platform.access.situation import Declared, Situation
from secure_platform.errors import ContractError

Classification = Literal["public", "internal", "confidential", "restricted"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Caller(_Part):
    """Who asks, and how they come."""

    name: str = "someone"
    kind: Literal["user", "service"] = "user"
    roles: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    active: bool = True
    channel: Channel = "local"
    method: Method = "token"
    mfa_minutes: Annotated[float | None, Field(ge=0)] = None
    address: str | None = None
    purpose: str | None = None
    scopes: frozenset[str] | None = None


class On(_Part):
    """On what: a product, a release of it, the platform, or a version of a key."""

    kind: Literal["platform", "product", "release", "key"] = "product"
    product: str = "product"
    environment: str = "production"
    classification: Classification = "internal"
    owner: str = "team:owner"
    purposes: frozenset[str] = frozenset()
    frozen: bool = False
    blocked: bool = False
    state: str = "pending"
    requested_by: str = "requester"
    approvers: frozenset[str] = frozenset()
    approver_groups: frozenset[str] = frozenset()
    key: str = "token/domain"
    disabled_by: str = "custodian"


class Expectation(_Part):
    """A case.

    Attributes:
        rule: A rule that must be among those that decided it.
        at: When it is asked.
    """

    name: str
    expect: Literal["allow", "deny"]
    action: Action
    principal: Caller = Caller()
    resource: On = On()
    rule: str | None = None
    at: AwareDatetime = datetime(2026, 1, 5, 12, tzinfo=UTC)


class _Cases(_Part):
    cases: tuple[Expectation, ...]


@dataclass(frozen=True)
class Failure:
    """A case that came out otherwise."""

    file: str
    case: Expectation
    decision: Decision


class _Stated(Situation):
    """What a case says of its product."""

    def __init__(self, on: On) -> None:
        self._on = on

    def declared(self, product: str) -> Declared:
        del product
        return Declared(self._on.owner, self._on.purposes)

    def frozen(self, product: str, at: datetime) -> bool:
        del product, at
        return self._on.frozen

    def blocked(self, product: str) -> bool:
        del product
        return self._on.blocked


def read_expectations(folder: Path) -> Iterator[tuple[str, Expectation]]:
    """Every case of a folder, with the name of its file.

    Raises:
        ContractError: If a file is not one of cases.
    """
    for file in sorted(folder.glob("*.yaml")):
        try:
            document = yaml.load(file.read_text("utf-8"), Loader=yaml.CSafeLoader)
            cases = _Cases.model_validate(document).cases
        except (OSError, ValueError, yaml.YAMLError) as error:
            where = error.errors()[0]["loc"] if isinstance(error, ValidationError) else ()
            place = ".".join(map(str, where)) or "its root"
            raise ContractError(
                f"The cases in {file.name} are not understood at {place}",
                "See docs/access.md for their form.",
            ) from None
        yield from ((file.name, case) for case in cases)


def failures(policy: Policy, folder: Path) -> tuple[int, list[Failure]]:
    """How many cases there are, and those that the policy decides otherwise than they say."""
    cases = list(read_expectations(folder))
    judged = ((file, case, _judged(policy, case)) for file, case in cases)
    return len(cases), [Failure(*each) for each in judged if not _as_expected(each[1], each[2])]


def _as_expected(case: Expectation, decision: Decision) -> bool:
    named = case.rule is None or case.rule in decision.rules
    return decision.allowed is (case.expect == "allow") and named and not decision.errors


def _judged(policy: Policy, case: Expectation) -> Decision:
    asks = case.principal
    proven = None if asks.mfa_minutes is None else case.at - timedelta(minutes=asks.mfa_minutes)
    come = Circumstances(asks.channel, asks.method, proven, asks.address, asks.purpose, asks.scopes)
    principal = Principal(asks.name, asks.kind, asks.roles, asks.active, asks.groups, come)
    resource, situation = _resource(case.resource), _Stated(case.resource)
    if isinstance(resource, ReleaseResource):
        return policy.evaluate(
            principal, case.action, resource, at=case.at, situation=situation, digest=ANY_DIGEST, base=None
        )
    return policy.evaluate(principal, case.action, resource, at=case.at, situation=situation)


def _resource(on: On) -> Resource:
    level = CLASSIFICATIONS.index(on.classification)
    match on.kind:
        case "platform":
            return PlatformResource()
        case "product":
            return ProductResource(on.product, on.environment, level)
        case "release":
            return ReleaseResource(
                digest=ANY_DIGEST,
                product=on.product,
                environment=on.environment,
                classification=level,
                requested_by=on.requested_by,
                state=on.state,
                base=None,
                approvers=on.approvers,
                approver_groups=on.approver_groups,
                levels=min(1, len(on.approver_groups)),
                levels_met=0,
            )
        case "key":
            return KeyResource(on.key, 1, on.state, on.disabled_by)
