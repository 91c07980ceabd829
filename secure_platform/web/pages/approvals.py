"""What you see is what you sign: a decision carries the digest, base and policies of the page it is made on.

If any of them is another one by then, nothing is decided, and the page shows the release as it is now.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.policy import Decision
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action
from secure_platform.control.database import utc_now
from secure_platform.errors import GateRefusedError, SecurePlatformError, UsageError
from secure_platform.gate.records import ReleaseRecord
from secure_platform.gate.standing import Position
from secure_platform.gate.states import OPEN, TRANSITIONS, ReleaseState
from secure_platform.orchestration.steps.decide import approve, reject, withdraw
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.forms import form_of
from secure_platform.web.pages.desk import Desk
from secure_platform.web.pages.review import review
from secure_platform.web.problems import status_of
from secure_platform.web.rendering import go
from secure_platform.web.routes import OwnRoute

_VERBS: Final[Mapping[str, tuple[Action, ReleaseState]]] = {
    "approve": (Action.RELEASE_APPROVE, ReleaseState.APPROVED),
    "reject": (Action.RELEASE_REJECT, ReleaseState.REJECTED),
    "withdraw": (Action.RELEASE_WITHDRAW, ReleaseState.WITHDRAWN),
}
_CHANGED_FIX: Final = "Nothing was decided. Look at the release as it is now, then decide."


@dataclass(frozen=True)
class Choice:
    """A decision that the state of a release leaves open, and whether this reader may make it.

    Attributes:
        needs_mfa: Whether only a fresh second factor is missing.
        reason: Why they may not; empty if they may.
        fix: What they can do about it.
    """

    verb: str
    allowed: bool
    needs_mfa: bool
    reason: str
    fix: str


@dataclass(frozen=True)
class Waiting:
    """A release at the gate, as one reader sees it."""

    record: ReleaseRecord
    approvals: int
    choice: Choice


class Approvals(Desk):
    """The queue, one release, and the decision on it."""

    def queue(self, request: Request) -> Response:
        """What waits for the reader, what waits for others and why, what waits for its deployment."""
        principal = principal_of(request)
        readable = [
            record
            for record in self.services.gate.list()
            if self.may_with(principal, Action.RELEASE_READ, record)
        ]
        waiting = [
            self._waiting(principal, record) for record in readable if record.state is ReleaseState.PENDING
        ]
        return self.show(
            request,
            "approvals.html",
            overdue=[grant for grant in self.unreviewed() if grant.overdue(utc_now())],
            mine=[each for each in waiting if each.choice.allowed or each.choice.needs_mfa],
            others=[each for each in waiting if not (each.choice.allowed or each.choice.needs_mfa)],
            ready=[
                record
                for record in readable
                if record.state in {ReleaseState.APPROVED, ReleaseState.DEPLOY_FAILED}
            ],
        )

    def release(self, request: Request) -> Response:
        """One release: all that a decision on it rests on."""
        return self._release(request, request.path_params["digest"])

    def decide(self, request: Request) -> Response:
        """Approve, reject or withdraw; what is refused is shown above the release, the reason still there."""
        digest, form = request.path_params["digest"], form_of(request)
        verb, reason = form.get("decision", ""), form.get("reason", "")
        try:
            self._decide(digest, principal_of(request), verb, reason, form)
        except SecurePlatformError as error:
            return self._release(request, digest, error=error, given=form)
        return go(request, f"/approvals/{digest}?decided={verb}")

    def _decide(
        self, digest: str, principal: Principal, verb: str, reason: str, form: Mapping[str, str]
    ) -> None:
        if verb not in _VERBS:
            raise UsageError("The form names no decision", "Use one of the buttons.")
        record = self.services.gate.get(digest)
        seen = form.get("base") or None
        self._require_unchanged(record, seen, form.get("policy", ""))
        ticket = form.get("ticket", "").strip() or None
        if verb == "approve":
            approve(self.services, digest, principal, reason=reason, base=seen, ticket=ticket)
        elif verb == "reject":
            reject(self.services, digest, principal, reason=reason, ticket=ticket)
        else:
            withdraw(self.services, digest, principal, reason=reason, ticket=ticket)

    def _require_unchanged(self, record: ReleaseRecord, base: str | None, policy: str) -> None:
        present = self.services.target.base(record.product)
        if present != base:
            raise GateRefusedError(
                f"Production of {record.product} changed since you looked: it was {self._name(base)},"
                f" now it is {self._name(present)}",
                _CHANGED_FIX,
            )
        if policy != self.services.policy.digest:
            raise GateRefusedError("The policies in force changed since you looked", _CHANGED_FIX)

    def _name(self, base: str | None) -> str:
        numbers = {record.digest: record.number for record in self.services.gate.list()}
        return f"release {numbers[base]}" if base in numbers else "empty"

    def _waiting(self, principal: Principal, record: ReleaseRecord) -> Waiting:
        position = self.services.gate.position(record.digest)
        return Waiting(record, len(position.holding), self._choice(principal, "approve", position))

    def _release(
        self,
        request: Request,
        digest: str,
        *,
        error: SecurePlatformError | None = None,
        given: Mapping[str, str] = {},
    ) -> Response:
        services, principal = self.services, principal_of(request)
        position = services.gate.position(digest)
        services.policy.require(principal, Action.RELEASE_READ, position.resource)
        record = position.record
        open_to = TRANSITIONS[record.state] if record.state in OPEN else frozenset()
        able = self._able(position) if record.state is ReleaseState.PENDING else []
        return self.show(
            request,
            "release.html",
            status=status_of(error) if error else 200,
            error=error,
            given=given,
            decided=request.query_params.get("decided", "") if not error else "",
            review=review(services, record),
            decisions=services.gate.approvals(digest),
            position=position,
            choices=[
                self._choice(principal, verb, position)
                for verb, (_, state) in _VERBS.items()
                if state in open_to
            ],
            able=able,
            lacking=services.gate.lacking(position, able),
            base=services.target.base(record.product),
            policy=services.policy.digest,
        )

    def _able(self, position: Position) -> list[str]:
        """Who could approve it besides those who did, once they proved a second factor in the browser."""
        return [
            principal.name
            for principal in self.services.principals.list()
            if self._asked(_as_in_browser(principal), Action.RELEASE_APPROVE, position).allowed
        ]

    def _choice(self, principal: Principal, verb: str, position: Position) -> Choice:
        action, _ = _VERBS[verb]
        decision = self._asked(principal, action, position)
        if decision.allowed:
            return Choice(verb, allowed=True, needs_mfa=False, reason="", fix="")
        proven = replace(principal, circumstances=replace(principal.circumstances, mfa_at=utc_now()))
        reason, fix = self.services.policy.explain(decision)
        needs_mfa = self._asked(proven, action, position).allowed
        return Choice(verb, allowed=False, needs_mfa=needs_mfa, reason=reason, fix=fix)

    def _asked(self, principal: Principal, action: Action, position: Position) -> Decision:
        record = position.record
        return self.services.policy.evaluate(
            principal, action, position.resource, digest=record.digest, base=record.base
        )


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Approvals(services)
    return [
        room.get("/approvals", room.queue, Action.UI_READ),
        room.get("/approvals/{digest}", room.release, Action.UI_READ),
        room.post("/approvals/{digest}", room.decide, Action.UI_READ),
    ]


def _as_in_browser(principal: Principal) -> Principal:
    how = replace(principal.circumstances, channel="web", method="password", mfa_at=utc_now())
    return replace(principal, circumstances=how)
