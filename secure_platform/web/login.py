"""The pages where people prove who they are: log in, set up, prove a second factor, log out.

A page never says which part of a login was wrong. Everything that is proven goes through the throttle.
"""

from dataclasses import dataclass
from typing import Final

import segno
from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.circumstances import Method
from secure_platform.access.principals import Principal
from secure_platform.access.throttle import LoginRefusedError
from secure_platform.access.totp import enrolment_uri, readable_secret
from secure_platform.control.database import utc_now
from secure_platform.errors import UsageError
from secure_platform.services import Services
from secure_platform.web.authentication import COOKIE, LOGIN, principal_of, session_of
from secure_platform.web.cookies import delete_cookie
from secure_platform.web.directory import Directory
from secure_platform.web.entry import address_of, enter, local_path, login_page, step_up
from secure_platform.web.forms import csrf_token, form_of
from secure_platform.web.oidc import CALLBACK, OidcLogin
from secure_platform.web.problems import form_page
from secure_platform.web.rendering import go, page
from secure_platform.web.routes import AUTHENTICATED, PUBLIC, OwnRoute

_LONGEST_NAME: Final = 128


@dataclass(frozen=True)
class _Proven:
    """Somebody who has just proven who they are, and whether with a second factor."""

    principal: Principal
    method: Method
    with_code: bool


def routes(services: Services) -> list[OwnRoute]:
    """The pages of every way to log in that the settings allow."""
    identity = services.settings.identity
    oidc = None if identity.oidc is None else OidcLogin(services, identity.oidc)
    pages = LoginPages(services, oidc)
    found = [
        OwnRoute(LOGIN, pages.show_login, right=PUBLIC),
        OwnRoute(LOGIN, pages.log_in, right=PUBLIC, methods=("POST",)),
        OwnRoute("/setup", pages.show_set_up, right=PUBLIC),
        OwnRoute("/setup", pages.set_up, right=PUBLIC, methods=("POST",)),
        OwnRoute("/mfa", pages.show_prove, right=AUTHENTICATED),
        OwnRoute("/mfa", pages.prove, right=AUTHENTICATED, methods=("POST",)),
        OwnRoute("/logout", pages.log_out, right=AUTHENTICATED, methods=("POST",)),
    ]
    if oidc is not None:
        found += [
            OwnRoute("/oidc/start", oidc.start, right=PUBLIC),
            OwnRoute(CALLBACK, oidc.callback, right=PUBLIC),
        ]
    return found


class LoginPages:
    """The endpoints.

    Args:
        services: The rooms.
        oidc: The provider's part, if there is one.
    """

    def __init__(self, services: Services, oidc: OidcLogin | None) -> None:
        self._services = services
        self._oidc = oidc
        ldap = services.settings.identity.ldap
        self._directory = None if ldap is None else Directory(ldap)

    def show_login(self, request: Request) -> Response:
        """The form, and the way to the provider."""
        return login_page(request, self._services, wanted=request.query_params.get("next", ""))

    def log_in(self, request: Request) -> Response:
        """Name, password and code."""
        form = form_of(request)
        # A directory takes a name in any case: guesses must not be counted as those of several people.
        name, wanted = form.get("name", "").strip().lower()[:_LONGEST_NAME], form.get("next", "")
        password, code = form.get("password", ""), form.get("code", "")
        try:
            proven = self._services.throttle.guard(
                "login",
                name,
                address_of(request),
                lambda: self._local(name, password, code) or self._elsewhere(name, password, code),
            )
            return enter(
                request,
                self._services,
                proven.principal,
                method=proven.method,
                mfa_at=utc_now() if proven.with_code else None,
                wanted=wanted,
            )
        except LoginRefusedError as problem:
            return login_page(request, self._services, wanted=wanted, problem=problem)

    def _local(self, name: str, password: str, code: str) -> _Proven | None:
        if not self._services.settings.identity.local:
            return None
        principal = self._services.credentials.verify(name, password, code)
        return None if principal is None else _Proven(principal, "password", with_code=True)

    def _elsewhere(self, name: str, password: str, code: str) -> _Proven | None:
        """Somebody of the directory; what is typed for a principal of this home is never sent there."""
        principals, credentials = self._services.principals, self._services.credentials
        if self._directory is None or (principals.get(name) and not principals.is_vouched(name)):
            return None
        principal = self._directory.log_in(principals, name, password)
        if principal is None or not credentials.has_code(principal.name):
            return None if principal is None else _Proven(principal, "ldap", with_code=False)
        return _Proven(principal, "ldap", with_code=True) if credentials.prove(name, code) else None

    def show_set_up(self, request: Request) -> Response:
        """What the holder of a one-time link fills in."""
        return self._set_up_page(request, request.query_params.get("link", ""))

    def set_up(self, request: Request) -> Response:
        """Password and code of the holder of a one-time link, who is logged in with them."""
        form = form_of(request)
        link, password = form.get("link", ""), form.get("password", "")
        if self._invited(link) is None:
            return self._set_up_page(request, "")
        if password != form.get("again", ""):
            different = UsageError("The two passwords differ", "Type the same one twice.")
            return self._set_up_page(request, link, different)
        try:
            principal = self._services.throttle.guard(
                "setup",
                None,
                address_of(request),
                lambda: self._services.credentials.set_up(
                    link, form.get("code", ""), password, csrf_token(request)
                ),
            )
        except (LoginRefusedError, UsageError) as problem:
            return self._set_up_page(request, link, problem)
        for session in self._services.sessions.list(principal.name):
            self._services.sessions.revoke(session.session_id, actor=principal.name)
        if self._services.principals.is_vouched(principal.name):
            return go(request, LOGIN)
        return enter(request, self._services, principal, method="password", mfa_at=utc_now(), wanted="")

    def _set_up_page(
        self, request: Request, link: str, problem: LoginRefusedError | UsageError | None = None
    ) -> Response:
        person = self._invited(link)
        if person is None:
            return page(request, "setup.html", status=403, person=None, problem=None)
        secret = self._services.credentials.secret_for(link, csrf_token(request))
        code = segno.make(enrolment_uri(secret, person.name), micro=False)
        return form_page(
            request,
            "setup.html",
            problem,
            person=person,
            with_password=not self._services.principals.is_vouched(person.name),
            link=link,
            secret=readable_secret(secret),
            picture=code.svg_data_uri(scale=5, border=4, light="white"),
        )

    def _invited(self, link: str) -> Principal | None:
        person = self._services.credentials.invited(link)
        if person is None or self._services.principals.is_vouched(person.name):
            return person
        return person if self._services.settings.identity.local else None

    def show_prove(self, request: Request) -> Response:
        """How the person in this session can prove a second factor again."""
        return self._prove_page(request, request.query_params.get("next", ""))

    def prove(self, request: Request) -> Response:
        """A code of the person in this session."""
        form, principal, session = form_of(request), principal_of(request), session_of(request)
        if session is None or self._way(session.method, principal) != "code":
            return self._prove_page(request, form.get("next", ""))
        try:
            self._services.throttle.guard(
                "mfa",
                principal.name,
                address_of(request),
                lambda: self._services.credentials.prove(principal.name, form.get("code", "")),
            )
        except LoginRefusedError as problem:
            return self._prove_page(request, form.get("next", ""), problem)
        return step_up(request, self._services, session, wanted=form.get("next", ""))

    def _prove_page(
        self, request: Request, wanted: str, problem: LoginRefusedError | None = None
    ) -> Response:
        principal, session = principal_of(request), session_of(request)
        return form_page(
            request,
            "mfa.html",
            problem,
            way=None if session is None else self._way(session.method, principal),
            wanted=local_path(request, wanted),
        )

    def _way(self, method: Method, principal: Principal) -> str | None:
        """How somebody who came in this way proves a second factor: where they proved the first one."""
        if method == "oidc":
            return None if self._oidc is None else "oidc"
        return "code" if self._services.credentials.has_code(principal.name) else None

    def log_out(self, request: Request) -> Response:
        """End the session here; the provider's own ends where the person says so."""
        form_of(request)
        session = session_of(request)
        elsewhere = None
        if session is not None:
            self._services.sessions.revoke(session.session_id, actor=session.principal)
            if session.method == "oidc" and self._oidc is not None:
                elsewhere = self._oidc.logout_url(request)
        response: Response = go(request, LOGIN)
        if elsewhere is not None:
            response = page(request, "signed_out.html", elsewhere=elsewhere)
        delete_cookie(request, response, COOKIE)
        return response
