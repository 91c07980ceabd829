"""A form counts only if one of our own pages, shown to this very browser, sent it.

Every form carries a token: an HMAC under the secret of the browser's session, or of a cookie of its own where
there is no session yet. Who cannot read our cookies cannot make one up, and a token of one session is
worthless in another.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qsl

from anyio import from_thread
from starlette.requests import Request
from starlette.responses import Response

from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.web.authentication import COOKIE, principal_of, session_of
from secure_platform.web.cookies import read_cookie, set_cookie
from secure_platform.web.guard import FORM

FORM_COOKIE: Final = "secure_platform_form"
FIELD: Final = "csrf"
LONGEST: Final = 64 << 10
MOST_FIELDS: Final = 64
_PURPOSE: Final = b"secure_platform form"
_NEW: Final = "secure_platform.form"


def csrf_token(request: Request) -> str:
    """What the hidden field `csrf` of every form on this page holds."""
    secret = _secret(request)
    if not secret:
        secret = request.scope[_NEW] = secrets.token_urlsafe(32)
    return _mac(secret)


def keep_form_cookie(request: Request, response: Response) -> None:
    """Send the cookie that the page's token is bound to, if the page made a new one."""
    if _NEW in request.scope:
        set_cookie(request, response, FORM_COOKIE, request.scope[_NEW])


async def read_form(request: Request) -> Mapping[str, str]:
    """The fields of a form, without the token.

    Raises:
        AccessDeniedError: If the token is missing or not this browser's, or a program sent the form.
        UsageError: If it is no form, too long, or has a field twice.
    """
    if principal_of(request).circumstances.method == "token":
        raise AccessDeniedError(
            "A program sends no forms: its token is for the API", "See /api/v1/openapi.json for what it has."
        )
    fields = _parse(request.headers.getlist("content-type"), await _body(request))
    secret, shown = _secret(request), fields.pop(FIELD, "")
    if not secret or not hmac.compare_digest(_mac(secret).encode(), shown.encode()):
        raise AccessDeniedError(
            "This form is not from a page that this server has just shown to you", "Open the page again."
        )
    return fields


def form_of(request: Request) -> Mapping[str, str]:
    """The same as `read_form`, for an endpoint that runs in a thread."""
    return from_thread.run(read_form, request)


def _secret(request: Request) -> str:
    if session_of(request) is not None:
        return read_cookie(request, COOKIE)
    return str(request.scope.get(_NEW) or read_cookie(request, FORM_COOKIE))


def _mac(secret: str) -> str:
    return hmac.new(secret.encode(), _PURPOSE, hashlib.sha256).hexdigest()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LONGEST:
            raise UsageError("The form is too long", f"Send at most {LONGEST >> 10} KiB.")
    return bytes(body)


def _parse(types: list[str], body: bytes) -> dict[str, str]:
    if [each.partition(";")[0].strip().lower() for each in types] != [FORM]:
        raise UsageError("What was sent is not a form", f"Send it as {FORM}.")
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(body),
            errors="strict",
            max_num_fields=MOST_FIELDS,
        )
    except ValueError:
        raise UsageError("The form cannot be read", "Open the page again, and send its form.") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UsageError("A field of the form was sent twice", "Send every field once.")
    return fields
