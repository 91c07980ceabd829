"""Logging in at an OpenID Connect provider: what comes back counts in the browser that asked, once, and soon.

What was asked is kept in that browser, encrypted by the key ring. The provider says who somebody is (issuer
and subject) and which groups they are in; the settings say what a group means here, and none means nothing.
"""

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from secure_platform import canonical
from secure_platform.access.principals import Principal, is_persons_name, require_roles
from secure_platform.access.sessions import Session
from secure_platform.access.throttle import LoginRefusedError
from secure_platform.control.database import utc_now
from secure_platform.errors import AccessDeniedError, IntegrityError, UsageError
from secure_platform.services import Services
from secure_platform.site import OidcSettings
from secure_platform.web.authentication import session_of
from secure_platform.web.cookies import delete_cookie, read_cookie, set_cookie
from secure_platform.web.entry import address_of, enter, local_path, login_page, own_url, step_up
from secure_platform.web.oidc_provider import Asked, Provider, require_safe
from secure_platform.web.oidc_token import ProviderRefusedError, proven_at, texts

ASKED_COOKIE: Final = "secure_platform_oidc"
LIFETIME: Final = timedelta(minutes=10)
CALLBACK: Final = "/oidc/callback"
_PURPOSE: Final = "oidc-login"
_EMAIL_CHARACTERS: Final = 320


@dataclass(frozen=True)
class _Login:
    """A login that has begun.

    Attributes:
        asked: What the provider was asked.
        wanted: Where to go on to.
        session_id: Of the session whose person proves a second factor again; None for a new login.
    """

    asked: Asked
    wanted: str
    session_id: str | None


class OidcLogin:
    """The endpoints of logging in at the provider.

    Args:
        services: The rooms.
        settings: The provider.
        clock: The present moment, aware.
    """

    def __init__(
        self, services: Services, settings: OidcSettings, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        require_safe(settings)
        require_roles(role for given in settings.roles.values() for role in given)
        self._services = services
        longest = timedelta(hours=services.settings.identity.session.absolute_hours)
        self._provider = Provider(settings, services.secrets, longest=longest, clock=clock)
        self._clock = clock
        self._lock = Lock()
        self._used: dict[str, datetime] = {}

    def start(self, request: Request) -> Response:
        """Send the browser to the provider."""
        session = session_of(request) if "again" in request.query_params else None
        again = session is not None and session.method == "oidc"
        login = _Login(
            Asked(
                secrets.token_urlsafe(32),
                secrets.token_urlsafe(32),
                secrets.token_urlsafe(48),
                self._clock(),
                again,
            ),
            local_path(request, request.query_params.get("next", "")),
            session.session_id if session is not None and again else None,
        )
        try:
            url = self._provider.authorization_url(login.asked, self._redirect_uri(request))
        except ProviderRefusedError as problem:
            return self._refuse(request, problem)
        response = RedirectResponse(url, status_code=303)
        set_cookie(request, response, ASKED_COOKIE, self._seal(login), lifetime=LIFETIME)
        return response

    def callback(self, request: Request) -> Response:
        """Take the provider's answer."""
        try:
            login = self._begun(request)
            person, mfa_at = self._services.throttle.guard(
                "oidc", None, address_of(request), lambda: self._person(request, login)
            )
            response = self._go_on(request, login, person, mfa_at)
        except LoginRefusedError as problem:
            response = self._refuse(request, problem)
        delete_cookie(request, response, ASKED_COOKIE)
        return response

    def logout_url(self, request: Request) -> str | None:
        """Where the browser logs out of the provider, too; None if that is not to be had now."""
        try:
            return self._provider.logout_url(own_url(request, self._services, "/login"))
        except ProviderRefusedError:
            return None

    def _begun(self, request: Request) -> _Login:
        """The login that this answer belongs to, which is then used up."""
        login = self._open(read_cookie(request, ASKED_COOKIE))
        states, now = request.query_params.getlist("state"), self._clock()
        if login is None or now - login.asked.begun_at > LIFETIME or len(states) != 1:
            raise ProviderRefusedError("state")
        if not hmac.compare_digest(states[0].encode(), login.asked.state.encode()):
            raise ProviderRefusedError("state")
        with self._lock:
            self._used = {state: until for state, until in self._used.items() if until > now}
            if login.asked.state in self._used:
                raise ProviderRefusedError("replay")
            self._used[login.asked.state] = now + 2 * LIFETIME
        return login

    def _person(self, request: Request, login: _Login) -> tuple[Principal, datetime | None]:
        answer = dict(request.query_params)
        if "error" in answer or len(answer) != len(request.query_params.multi_items()):
            raise ProviderRefusedError("denied")
        claims = self._provider.redeem(answer, login.asked, self._redirect_uri(request))
        return self._provision(claims), self._second_factor(claims)

    def _provision(self, claims: Mapping[str, Any]) -> Principal:
        settings = self._provider.settings
        groups = texts(claims.get(settings.groups_claim))
        email = _email(claims)
        try:
            return self._services.principals.provision(
                settings.issuer,
                claims["sub"],
                name=_name(claims),
                roles={role for group in groups for role in settings.roles.get(group, ())},
                groups={settings.approver_groups[group] for group in groups & set(settings.approver_groups)},
                email=email,
            )
        except (AccessDeniedError, UsageError) as error:
            raise LoginRefusedError(error.culprit, "Ask an administrator.") from None

    def _second_factor(self, claims: Mapping[str, Any]) -> datetime | None:
        """When the person proved a second factor; what the provider does not say does not count."""
        settings = self._provider.settings
        shown = texts(claims.get("amr")) & set(settings.mfa_amr) or claims.get("acr") in settings.mfa_acr
        return proven_at(claims, now=self._clock()) if shown else None

    def _go_on(self, request: Request, login: _Login, person: Principal, mfa_at: datetime | None) -> Response:
        if login.session_id is None:
            return enter(request, self._services, person, method="oidc", mfa_at=mfa_at, wanted=login.wanted)
        session = session_of(request)
        if session is None or not _is_same(session, login, person) or mfa_at is None:
            raise ProviderRefusedError("second factor")
        return step_up(request, self._services, session, wanted=login.wanted)

    def _refuse(self, request: Request, problem: LoginRefusedError) -> Response:
        if isinstance(problem, ProviderRefusedError):
            self._services.audit.append(
                "login.refuse", actor="anonymous", subject="oidc", detail={"reason": problem.reason}
            )
        return login_page(request, self._services, wanted="", problem=problem)

    def _redirect_uri(self, request: Request) -> str:
        return own_url(request, self._services, CALLBACK)

    def _seal(self, login: _Login) -> str:
        asked = login.asked
        said = [asked.state, asked.nonce, asked.verifier, asked.begun_at.isoformat(), asked.again]
        text = canonical.dumps([*said, login.wanted, login.session_id])
        return base64.urlsafe_b64encode(self._services.keys.seal_secret(_PURPOSE, {}, text)).decode()

    def _open(self, sealed: str) -> _Login | None:
        try:
            raw = base64.urlsafe_b64decode(sealed.encode())
            said = json.loads(self._services.keys.open_secret(_PURPOSE, {}, raw))
        except (binascii.Error, ValueError, IntegrityError):
            return None
        state, nonce, verifier, begun_at, again, wanted, session_id = said
        asked = Asked(state, nonce, verifier, datetime.fromisoformat(begun_at), again)
        return _Login(asked, wanted, session_id)


def _email(claims: Mapping[str, Any]) -> str | None:
    """The e-mail address, unless the provider says that anybody could have typed it."""
    email = claims.get("email")
    told = isinstance(email, str) and claims.get("email_verified") is not False
    return str(email)[:_EMAIL_CHARACTERS] if told else None


def _name(claims: Mapping[str, Any]) -> str:
    """A name for somebody who is new here, as readable as the provider allows."""
    for said in (claims.get("preferred_username"), _email(claims)):
        name = str(said or "").lower()
        if is_persons_name(name):
            return name
    digest = canonical.sha256(canonical.dumps([claims["iss"], claims["sub"]]))
    return f"oidc:{digest.partition(':')[2][:16]}"


def _is_same(session: Session, login: _Login, person: Principal) -> bool:
    return session.session_id == login.session_id and session.principal == person.name and person.active
