"""Who has proven who they are gets a new session of their own, and goes on to one of our own pages only."""

import re
from datetime import datetime
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from secure_platform.access.circumstances import Method
from secure_platform.access.principals import Principal
from secure_platform.access.sessions import Session
from secure_platform.access.throttle import LoginRefusedError
from secure_platform.services import Services
from secure_platform.web.authentication import COOKIE, session_of
from secure_platform.web.cookies import delete_cookie, set_cookie
from secure_platform.web.forms import FORM_COOKIE
from secure_platform.web.problems import form_page

HOME: Final = "/approvals"
# Browsers read `//`, `/\` and a tab or line break after the slash as the beginning of another site's address.
_LOCAL: Final = re.compile(r"/(?![/\\])[!-\[\]-~]{0,1023}")


def local_path(request: Request, wanted: str) -> str:
    """The path to go on to: what was wanted if it is one of this server's, else the first page."""
    root = request.scope.get("root_path", "")
    if _LOCAL.fullmatch(wanted) and (not root or wanted == root or wanted.startswith(f"{root}/")):
        return wanted
    return f"{root}{HOME}"


def own_url(request: Request, services: Services, path: str) -> str:
    """The whole address of one of our pages, as browsers reach it."""
    base = services.settings.server.url or str(request.base_url)
    return f"{base.rstrip('/')}{path}"


def address_of(request: Request) -> str | None:
    """IP address of the caller."""
    return request.client.host if request.client else None


def enter(
    request: Request,
    services: Services,
    principal: Principal,
    *,
    method: Method,
    mfa_at: datetime | None,
    wanted: str,
) -> Response:
    """Log a principal in, who has just proven who they are; the browser's session before ends."""
    if not principal.active:
        raise LoginRefusedError("This account is disabled", "Ask an administrator.")
    before = session_of(request)
    if before is not None:
        services.sessions.revoke(before.session_id, actor=before.principal)
    opened = services.sessions.open(
        principal,
        method=method,
        address=address_of(request),
        client=request.headers.get("user-agent", ""),
        mfa_at=mfa_at,
    )
    response = RedirectResponse(local_path(request, wanted), status_code=303)
    set_cookie(request, response, COOKIE, opened.secret)
    delete_cookie(request, response, FORM_COOKIE)
    return response


def step_up(request: Request, services: Services, session: Session, *, wanted: str) -> Response:
    """Go on in a session whose person has just proven a second factor."""
    opened = services.sessions.prove_mfa(session.session_id)
    response = RedirectResponse(local_path(request, wanted), status_code=303)
    set_cookie(request, response, COOKIE, opened.secret)
    return response


def login_page(
    request: Request, services: Services, *, wanted: str, problem: LoginRefusedError | None = None
) -> Response:
    """Every way to log in that the settings allow."""
    identity = services.settings.identity
    return form_page(
        request,
        "login.html",
        problem,
        wanted=local_path(request, wanted),
        with_password=identity.local or identity.ldap is not None,
        with_oidc=identity.oidc is not None,
    )
