"""Nothing that matters happens without an allow from the Cedar policies, and every decision is audited.

Denied is whatever no policy permits, whatever one forbids, whatever does not fit the schema, and whatever
makes a policy fail: Cedar skips a failing policy, so a failing `forbid` would let the request through.
What the caller has by grant or delegation, and what is frozen, is looked up here and never taken on trust.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final, TypedDict, Unpack

import cedarpy

from secure_platform.access.cedar import (
    PRINCIPAL,
    Question,
    principal_entity,
    text,
    uid,
)
from secure_platform.access.principals import Principal
from secure_platform.access.resources import (
    Action,
    Resource,
    product_of,
    resource_entity,
    title,
)
from secure_platform.access.rules import PolicyRules, load_rules
from secure_platform.access.situation import NOTHING, Held, Situation
from secure_platform.audit.log import JSON, AuditLog
from secure_platform.control.database import utc_now
from secure_platform.errors import AccessDeniedError

_NO_RULE: Final = "no rule allows it"
_NO_RULE_FIX: Final = (
    "Check the state of what you act on, and your roles with an administrator; "
    "docs/permission-matrix.md lists who may do what."
)


class Seen(TypedDict, total=False):
    """What the caller saw when they decided.

    Attributes:
        digest: Of the release they act on.
        base: Digest of the release in production, None for none.
    """

    digest: str | None
    base: str | None


# What an approver lends by delegation; never more.
DELEGABLE: Final = frozenset({Action.RELEASE_APPROVE, Action.RELEASE_REJECT})
CALM: Final = Situation()
# The same few people ask about the same few things again and again; the text says all that is parsed from it.
MOST_ENTITIES: Final = 1024


@dataclass(frozen=True)
class Decision:
    """What the policy said.

    Attributes:
        allowed: Whether the action may go on.
        action: What was asked.
        rules: @id of the permits that allowed it, or of the forbids that stopped it; empty if none applied.
        policy_digest: Of schema and policies.
        errors: Why the request could not be judged; none if it is allowed.
        grants: Ids of the grants and the delegation that were taken into account.
        groups: Approver groups that the caller had.
        behalf: Names of those for whom the caller acted, by delegation.
    """

    allowed: bool
    action: str
    rules: tuple[str, ...]
    policy_digest: str
    errors: tuple[str, ...]
    grants: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    behalf: frozenset[str] = frozenset()


class Policy:
    """Decides, and records what it decided.

    Args:
        audit: Where decisions are recorded.
        extra: A folder of further `*.cedar` files, judged together with ours; a forbid in any of them wins.
        situation: Grants, freezes and what products declare.
        clock: The present moment, aware.

    Raises:
        ContractError: If a policy does not parse, does not fit the schema, or lacks an @id of its own.
    """

    def __init__(
        self,
        audit: AuditLog,
        extra: Path | None = None,
        situation: Situation = CALM,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._audit = audit
        self._rules: PolicyRules = load_rules(extra)
        self._entities = lru_cache(MOST_ENTITIES)(self._parsed)
        self._situation = situation
        self._clock = clock

    @property
    def digest(self) -> str:
        """Of schema and policies, `sha256:<64 hex>`."""
        return self._rules.digest

    def decide(
        self,
        principal: Principal,
        action: Action,
        resource: Resource,
        *,
        at: datetime | None = None,
        **seen: Unpack[Seen],
    ) -> Decision:
        """Judge and record.

        Args:
            principal: Who asks, and how they come.
            action: What for.
            resource: On what.
            at: The moment; None for now.
            seen: What the caller saw.
        """
        moment = at or self._clock()
        decision, question = self._answer(
            principal, action, resource, at=moment, grants=None, situation=self._situation, seen=seen
        )
        detail: dict[str, JSON] = {
            "action": decision.action,
            "allowed": decision.allowed,
            "rules": list(decision.rules),
            "policy": decision.policy_digest,
            "errors": len(decision.errors),
            "grants": sorted(decision.grants),
            "question": question.without_names(self._audit.identify),
        }
        self._audit.append("policy.decide", actor=principal.name, subject=title(resource), detail=detail)
        return decision

    def require(
        self,
        principal: Principal,
        action: Action,
        resource: Resource,
        *,
        at: datetime | None = None,
        **seen: Unpack[Seen],
    ) -> Decision:
        """Judge, record, and stop what is not allowed; arguments as for `decide`.

        Raises:
            AccessDeniedError: Naming the action, the rules that stopped it, and what to do.
        """
        decision = self.decide(principal, action, resource, at=at, **seen)
        if not decision.allowed:
            reason, fix = self.explain(decision)
            raise AccessDeniedError(
                f"{principal.name} may not do {action} on {title(resource)}: {reason}", fix
            )
        return decision

    def evaluate(
        self,
        principal: Principal,
        action: Action,
        resource: Resource,
        *,
        at: datetime | None = None,
        grants: Collection[str] | None = None,
        situation: Situation | None = None,
        **seen: Unpack[Seen],
    ) -> Decision:
        """The decision without its record: to show what somebody may do, never to do it.

        Args:
            principal: Who asks, and how they come.
            action: What for.
            resource: On what.
            at: The moment; None for now.
            grants: Ids of the grants that count; None for all that hold.
            situation: In place of the present one.
            seen: What the caller saw.
        """
        decision, _ = self._answer(
            principal,
            action,
            resource,
            at=at or self._clock(),
            grants=grants,
            situation=situation or self._situation,
            seen=seen,
        )
        return decision

    def ask(self, question: Question, held: Held = NOTHING, groups: frozenset[str] = frozenset()) -> Decision:
        """The decision on a question in Cedar's JSON.

        Args:
            question: Has all that the policies see.
            held: What of it came from grants, for the decision to tell.
            groups: Approver groups of the caller, the same.
        """
        rules = self._rules
        action = question.request["action"]["id"]

        def decided(*, allowed: bool, applied: tuple[str, ...], errors: tuple[str, ...]) -> Decision:
            taken = (held.grants, groups, held.delegators)
            return Decision(allowed, action, applied, rules.digest, errors, *taken)

        try:
            known = self._entities(text(question.entities))
            policies = rules.policies.about(action)
            result = cedarpy.is_authorized(dict(question.request), policies, known, schema=rules.schema)
        except ValueError as error:
            return decided(allowed=False, applied=(), errors=(str(error),))
        errors = tuple(result.diagnostics.errors)
        named = result.diagnostics.id_annotations_by_reason
        applied = tuple(sorted(named[reason] for reason in result.diagnostics.reasons))
        if result.allowed and errors:
            return decided(allowed=False, applied=(), errors=errors)
        return decided(allowed=result.allowed, applied=applied, errors=errors)

    def explain(self, decision: Decision) -> tuple[str, str]:
        """Why a decision is a denial, and what the caller can do."""
        if decision.errors and not decision.rules:
            return "the policies could not judge the request", "Check the policies and the caller's roles."
        fixes = [self._rules.fixes[rule] for rule in decision.rules if rule in self._rules.fixes]
        return ", ".join(decision.rules) or _NO_RULE, " ".join(fixes) or _NO_RULE_FIX

    def _parsed(self, entities: str) -> cedarpy.Entities:
        return cedarpy.Entities.from_json_str(entities, self._rules.schema)

    def _answer(
        self,
        principal: Principal,
        action: Action,
        resource: Resource,
        *,
        at: datetime,
        grants: Collection[str] | None,
        situation: Situation,
        seen: Seen,
    ) -> tuple[Decision, Question]:
        product = product_of(resource)
        target = resource_entity(resource, situation, at)
        request = {
            "principal": uid(PRINCIPAL, principal.name),
            "action": uid("Action", action),
            "resource": target["uid"],
            "context": {
                **principal.circumstances.as_context(action, product, at),
                **{name: value or "" for name, value in seen.items()},
            },
        }

        def judged(held: Held) -> tuple[Decision, Question]:
            question = Question(request, [principal_entity(principal, held), target])
            return self.ask(question, held, principal.groups | held.groups), question

        own = situation.held(principal, product, at, grants)
        answers = [judged(own)]
        if not answers[0][0].allowed and product is not None and action in DELEGABLE:
            lent = situation.delegated(principal, product, at, grants)
            answers += [judged(own | each) for each in lent]
        # Who is refused as themselves, and for another by a rule, is told that rule.
        return max(answers, key=lambda answer: (answer[0].allowed, bool(answer[0].rules)))
