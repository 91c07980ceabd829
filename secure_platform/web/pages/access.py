"""Who may do what, and why: answered by the policies in force, never by a list that somebody keeps."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.matrix import ABOUT_KEYS, CLASSIFICATIONS, permission_matrix
from secure_platform.access.policy import Seen
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource, ReleaseResource, Resource
from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.orchestration.steps.protect import product_resource
from secure_platform.services import Services
from secure_platform.web.pages.desk import Desk
from secure_platform.web.routes import OwnRoute

PLATFORM: Final = "the platform"
_OF_RELEASES: Final = frozenset(action for action in Action if action.name.startswith("RELEASE_"))
_OF_PRODUCTS: Final = frozenset({Action.BUILD, Action.PRODUCTION_QUERY, Action.BREAK_GLASS})


@dataclass(frozen=True)
class Answer:
    """What one principal would be told.

    Attributes:
        why: The rules that allow it or stop it.
        fix: What they can do about a denial; empty when allowed.
    """

    principal: Principal
    allowed: bool
    why: str
    fix: str


class Access(Desk):
    """Explanations of the policies in force."""

    def explain(self, request: Request) -> Response:
        """Who may do one thing on one product or on the platform, and by which rule."""
        given: Mapping[str, str] = request.query_params
        action, product = _action(given.get("action", "")), given.get("product", "")
        purpose = given.get("purpose", "").strip()[:64] or None
        resource, title = self._resource(action, product)
        return self.show(
            request,
            "explain.html",
            actions=list(Action),
            products=sorted(self.services.products),
            action=action,
            product=product,
            purpose=purpose or "",
            title=title,
            answers=self._answers(action, resource, purpose),
        )

    def matrix(self, request: Request) -> Response:
        """What every role may do, by classification, computed from the policies."""
        permissions = permission_matrix(self.services.policy)
        return self.show(
            request,
            "matrix.html",
            actions=list(Action),
            callers=list(dict.fromkeys(permission.caller for permission in permissions)),
            cells={(p.action, p.caller): p.classifications for p in permissions},
            every=CLASSIFICATIONS,
            policy=self.services.policy.digest,
        )

    def _resource(self, action: Action, product: str) -> tuple[Resource, str]:
        """What the question is about, and its name; a question about a release is about the newest one."""
        if action in ABOUT_KEYS:
            return ABOUT_KEYS[action], "a key"
        if action not in _OF_RELEASES | _OF_PRODUCTS:
            return PlatformResource(), PLATFORM
        known = self.services.product(product or min(self.services.products, default=""))
        if action in _OF_PRODUCTS:
            return product_resource(self.services, known), known.name
        records = self.services.gate.list(known.name)
        if not records:
            raise UsageError(f"{known.name} has no release yet to ask about", "Build one first.")
        position = self.services.gate.position(records[-1].digest)
        return position.resource, f"release {position.record.number} of {known.name}"

    def _answers(self, action: Action, resource: Resource, purpose: str | None) -> list[Answer]:
        seen = _seen(resource)
        answers = []
        for principal in self.services.principals.list():
            asked = _logged_in(principal, purpose)
            decision = self.services.policy.evaluate(asked, action, resource, **seen)
            why, fix = self.services.policy.explain(decision)
            if decision.allowed:
                why, fix = ", ".join(decision.rules), ""
            answers.append(Answer(principal, decision.allowed, why, fix))
        return sorted(answers, key=lambda answer: (not answer.allowed, answer.principal.name))


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Access(services)
    return [
        room.get("/access/explain", room.explain, Action.ACCESS_READ),
        room.get("/access/matrix", room.matrix, Action.ACCESS_READ),
    ]


def _action(name: str) -> Action:
    try:
        return Action(name)
    except ValueError:
        raise UsageError("There is no such action", "Choose one of the list.") from None


def _seen(resource: Resource) -> Seen:
    """What somebody who looks at it sees."""
    return {"digest": resource.digest, "base": resource.base} if isinstance(resource, ReleaseResource) else {}


def _logged_in(principal: Principal, purpose: str | None) -> Principal:
    """The principal as they would come if they tried now: people in the browser, programs with a token."""
    how = replace(principal.circumstances, purpose=purpose, channel="api", method="token")
    if principal.kind == "user":
        how = replace(how, channel="web", method="password", mfa_at=utc_now())
    return replace(principal, circumstances=how)
