"""Principals are added, changed and invited here; each change is asked of the policy first, and recorded."""

from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.grants import GRANTABLE
from secure_platform.access.principals import ROLES, Principal
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.control.database import utc_now
from secure_platform.errors import SecurePlatformError, UsageError
from secure_platform.services import Services
from secure_platform.web.authentication import principal_of
from secure_platform.web.entry import own_url
from secure_platform.web.forms import form_of
from secure_platform.web.pages.desk import Desk
from secure_platform.web.problems import status_of
from secure_platform.web.rendering import go
from secure_platform.web.routes import OwnRoute

_PAST_SHOWN: Final = 20


class People(Desk):
    """Principals and what holds for them for a time."""

    def overview(self, request: Request) -> Response:
        """Everybody, what is granted for a time, what is frozen."""
        return self._overview(request)

    def principal(self, request: Request) -> Response:
        """One principal: roles, groups, tokens, sessions."""
        return self._principal(request, request.path_params["name"])

    def add(self, request: Request) -> Response:
        """Add a person or a program."""
        form = form_of(request)
        name = form.get("name", "").strip()
        try:
            self.services.principals.add(
                name,
                kind="service" if form.get("kind") == "service" else "user",
                roles=_roles(form),
                groups=_groups(form),
                actor=self._manager(request).name,
            )
        except SecurePlatformError as error:
            return self._overview(request, error=error, given=form)
        return go(request, f"/access/principals/{name}")

    def change(self, request: Request) -> Response:
        """Give a principal other roles and groups, disable them, or end a token or session of theirs."""
        form, name = form_of(request), request.path_params["name"]
        try:
            self._change(name, form, self._manager(request).name)
        except SecurePlatformError as error:
            return self._principal(request, name, error=error)
        return go(request, f"/access/principals/{name}")

    def invite(self, request: Request) -> Response:
        """Make a one-time link; the answer is the only page that ever shows it."""
        form_of(request)
        name = request.path_params["name"]
        try:
            invitation = self.services.credentials.invite(name, actor=self._manager(request).name)
        except SecurePlatformError as error:
            return self._principal(request, name, error=error)
        return self._principal(request, name, link=own_url(request, self.services, invitation.path))

    def _change(self, name: str, form: Mapping[str, str], actor: str) -> None:
        principals = self.services.principals
        match form.get("do"):
            case "change":
                principals.change(name, roles=_roles(form), groups=_groups(form), actor=actor)
            case "disable":
                principals.disable(name, actor=actor)
            case "token":
                self.services.tokens.revoke(form.get("token", ""), actor=actor)
            case "session":
                self.services.sessions.revoke(form.get("session", ""), actor=actor)
            case _:
                raise UsageError("The form names no change", "Use one of the buttons.")

    def _manager(self, request: Request) -> Principal:
        principal = principal_of(request)
        self.services.policy.require(principal, Action.PRINCIPAL_MANAGE, PlatformResource())
        return principal

    def _overview(
        self, request: Request, *, error: SecurePlatformError | None = None, given: Mapping[str, str] = {}
    ) -> Response:
        now, grants = utc_now(), self.services.situation.grants()
        return self.show(
            request,
            "access.html",
            status=status_of(error) if error else 200,
            error=error,
            given=given,
            principals=self.services.principals.list(),
            roles=sorted(ROLES),
            grantable=sorted(GRANTABLE),
            actions=list(Action),
            products=sorted(self.services.products),
            unreviewed=self.unreviewed(),
            held=[grant for grant in grants if grant.holds(now)],
            past=[grant for grant in grants[::-1] if not grant.holds(now)][:_PAST_SHOWN],
            freezes=[freeze for freeze in self.services.situation.freezes() if freeze.holds(now)],
            now=now,
        )

    def _principal(
        self,
        request: Request,
        name: str,
        *,
        error: SecurePlatformError | None = None,
        link: str | None = None,
    ) -> Response:
        found = self.services.principals.get(name)
        if found is None:
            raise UsageError("There is no principal of this name", "See the list of principals.")
        return self.show(
            request,
            "principal.html",
            status=status_of(error) if error else 200,
            error=error,
            link=link,
            person=found,
            roles=sorted(ROLES),
            tokens=self.services.tokens.list(name),
            sessions=self.services.sessions.list(name),
            now=utc_now(),
        )


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = People(services)
    return [
        room.get("/access", room.overview, Action.ACCESS_READ),
        room.post("/access/principals", room.add, Action.PRINCIPAL_MANAGE),
        room.get("/access/principals/{name}", room.principal, Action.ACCESS_READ),
        room.post("/access/principals/{name}", room.change, Action.PRINCIPAL_MANAGE),
        room.post("/access/principals/{name}/invite", room.invite, Action.PRINCIPAL_MANAGE),
    ]


def _roles(form: Mapping[str, str]) -> list[str]:
    return [role for role in sorted(ROLES) if form.get(f"role_{role}")]


def _groups(form: Mapping[str, str]) -> list[str]:
    return form.get("groups", "").replace(",", " ").split()
