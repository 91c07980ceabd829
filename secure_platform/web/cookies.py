"""Our cookies go to this server only, over TLS wherever there is TLS, and no script can read them.

Over TLS their names carry a prefix with which browsers refuse them from anybody else (RFC 6265bis):
`__Host-`, or `__Secure-` below a path prefix, which `__Host-` does not allow.
"""

from datetime import timedelta
from typing import Final

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

_SECURE: Final = "secure_platform.secure"


def note_tls(scope: Scope, *, secure: bool) -> None:
    """Say whether browsers reach this server over TLS; without, a cookie could not come back."""
    scope[_SECURE] = secure


def read_cookie(connection: HTTPConnection, name: str) -> str:
    """The value of our cookie; empty if the browser sent none."""
    return connection.cookies.get(_full_name(connection.scope, name), "")


def set_cookie(
    connection: HTTPConnection,
    response: Response,
    name: str,
    value: str,
    *,
    lifetime: timedelta | None = None,
) -> None:
    """Give the browser a cookie, until it is closed unless a lifetime is given."""
    response.set_cookie(
        _full_name(connection.scope, name),
        value,
        max_age=None if lifetime is None else int(lifetime.total_seconds()),
        path=_path(connection.scope),
        secure=_is_secure(connection.scope),
        httponly=True,
        samesite="lax",
    )


def delete_cookie(connection: HTTPConnection, response: Response, name: str) -> None:
    """Make the browser forget a cookie."""
    set_cookie(connection, response, name, "", lifetime=timedelta())


def _full_name(scope: Scope, name: str) -> str:
    if not _is_secure(scope):
        return name
    return f"__Host-{name}" if _path(scope) == "/" else f"__Secure-{name}"


def _path(scope: Scope) -> str:
    return scope.get("root_path") or "/"


def _is_secure(scope: Scope) -> bool:
    return bool(scope.get(_SECURE, False))
