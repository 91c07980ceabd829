"""Everybody sees and ends their own sessions and tokens, and nobody's else."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.grants import GRANTABLE
from secure_platform.access.principals import Principal
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.access.tokens import LONGEST_DAYS, IssuedToken
from secure_platform.control.database import utc_now
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.orchestration.steps.named import named_resource
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of, session_of
from secure_platform.web.forms import form_of
from secure_platform.web.pages.desk import Desk
from secure_platform.web.problems import status_of
from secure_platform.web.rendering import go
from secure_platform.web.routes import AUTHENTICATED, OwnRoute

# What a program can be given the right to do; people do the rest themselves.
SCOPES: Final[Mapping[Action, str]] = {
    Action.BUILD: "start builds",
    Action.RELEASE_READ: "read releases",
    Action.RELEASE_APPROVE: "approve releases",
    Action.RELEASE_REJECT: "reject releases",
    Action.RELEASE_WITHDRAW: "withdraw releases",
    Action.RELEASE_ROLLBACK: "roll back",
    Action.PRODUCTION_QUERY: "query production",
    Action.AUDIT_READ: "read the audit log",
}
_ON_PLATFORM: Final[Mapping[Action, str]] = {
    Action.UI_READ: "see the catalogue, the releases and the data map",
    Action.RUN_READ: "see runs and their logs",
    Action.AUDIT_READ: "read the audit log",
    Action.ACCESS_READ: "see who may do what",
    Action.PLATFORM_OPERATE: "operate schedules, sensors and runs",
    Action.INSTANCE_READ: "see the instance's configuration",
    Action.PRINCIPAL_MANAGE: "manage principals",
    Action.GRANT_GIVE: "grant roles for a time",
    Action.GRANT_DELEGATE: "delegate your right to approve",
    Action.BREAK_GLASS_REVIEW: "review broken glass",
    Action.FREEZE: "freeze deployments",
}
_ON_PRODUCT: Final[Mapping[Action, str]] = {
    Action.BUILD: "build",
    Action.RELEASE_READ: "read releases",
    Action.BREAK_GLASS: "break the glass",
}


@dataclass(frozen=True)
class Rights:
    """What somebody may do, in words: on the platform, and on each product."""

    platform: tuple[str, ...]
    products: Mapping[str, tuple[str, ...]]


class Account(Desk):
    """One's own sessions, tokens and rights."""

    def mine(self, request: Request) -> Response:
        """All of them on one page."""
        return self._page(request)

    def revoke_session(self, request: Request) -> Response:
        """End one of one's own sessions, or all but this one."""
        form, principal, current = form_of(request), principal_of(request), session_of(request)
        own = [session.session_id for session in self.services.sessions.list(principal.name)]
        if form.get("others"):
            chosen = [each for each in own if current is None or each != current.session_id]
        else:
            chosen = [each for each in own if each == form.get("session")]
            if not chosen:
                raise UsageError(
                    "You have no such session", "It may have ended already: open the page again."
                )
        for session_id in chosen:
            self.services.sessions.revoke(session_id, actor=principal.name)
        return go(request, "/account")

    def issue_token(self, request: Request) -> Response:
        """Make a token for oneself; the answer is the only page that ever shows it."""
        form, principal = form_of(request), principal_of(request)
        days = form.get("days", "")
        product = form.get("product", "")
        scopes = [scope for scope in SCOPES if form.get(f"scope_{scope}")]
        try:
            if not scopes:
                raise UsageError("A token needs a scope", "Choose what the program may do.")
            issued = self.services.tokens.issue_own(
                principal,
                days=int(days) if days.isascii() and days.isdigit() and len(days) < LONGEST_DAYS else 0,
                label=form.get("label", "").strip(),
                scopes=[f"{scope}:{product}" if product else scope for scope in scopes],
            )
        except SecurePlatformError as error:
            return self._page(request, error=error, given=form)
        return self._page(request, issued=issued)

    def revoke_token(self, request: Request) -> Response:
        """Make one of one's own tokens worthless."""
        form, principal = form_of(request), principal_of(request)
        own = {token.token_id for token in self.services.tokens.list(principal.name)}
        if form.get("token") not in own:
            raise UsageError("You have no such token", "It may be revoked already: open the page again.")
        self.services.tokens.revoke(form["token"], actor=principal.name)
        return go(request, "/account")

    def _page(
        self,
        request: Request,
        *,
        issued: IssuedToken | None = None,
        error: SecurePlatformError | None = None,
        given: Mapping[str, str] = {},
    ) -> Response:
        principal = principal_of(request)
        now = utc_now()
        return self.show(
            request,
            "account.html",
            status=status_of(error) if error else 200,
            sessions=sorted(
                self.services.sessions.list(principal.name), key=lambda each: each.seen_at, reverse=True
            ),
            tokens=self.services.tokens.list(principal.name),
            now=now,
            issued=issued,
            error=error,
            given=given,
            scopes=SCOPES,
            longest=LONGEST_DAYS,
            products=sorted(self.services.products),
            rights=self._rights(principal),
            breakable=self._breakable(principal),
            unreviewed=[grant for grant in self.unreviewed() if grant.principal == principal.name],
            grantable=sorted(GRANTABLE),
            grants=[
                grant
                for grant in self.services.situation.grants()
                if principal.name in {grant.principal, grant.given_by} and grant.holds(now)
            ],
        )

    def _breakable(self, principal: Principal) -> list[str]:
        """Products on which they could break the glass, once they proved a second factor."""
        proven = replace(principal, circumstances=replace(principal.circumstances, mfa_at=utc_now()))
        return [
            name
            for name in self.services.products
            if self.services.policy.evaluate(
                proven, Action.BREAK_GLASS, named_resource(self.services, name)
            ).allowed
        ]

    def _rights(self, principal: Principal) -> Rights:
        policy = self.services.policy
        platform = [
            words
            for action, words in _ON_PLATFORM.items()
            if policy.evaluate(principal, action, PlatformResource()).allowed
        ]
        products = {}
        for name in self.services.products:
            resource = named_resource(self.services, name)
            products[name] = tuple(
                words
                for action, words in _ON_PRODUCT.items()
                if policy.evaluate(principal, action, resource).allowed
            )
        return Rights(tuple(platform), products)


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Account(services)
    return [
        room.get("/account", room.mine, AUTHENTICATED),
        room.post("/account/sessions", room.revoke_session, AUTHENTICATED),
        room.post("/account/tokens", room.issue_token, AUTHENTICATED),
        room.post("/account/tokens/revoke", room.revoke_token, AUTHENTICATED),
    ]
