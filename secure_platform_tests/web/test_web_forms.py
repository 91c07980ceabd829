"""Forms: only what this server showed to this browser comes back."""

from collections.abc import Callable

import httpx
import pytest
from asgi_browser import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from secure_platform.errors import AccessDeniedError, UsageError
from secure_platform.web.authentication import _SESSION, COOKIE
from secure_platform.web.cookies import note_tls
from secure_platform.web.forms import FORM_COOKIE, csrf_token, form_of, keep_form_cookie, read_form

BASE = "http://127.0.0.1:3000"


def show(request: Request) -> Response:
    response = JSONResponse({"csrf": csrf_token(request), "again": csrf_token(request)})
    keep_form_cookie(request, response)
    return response


async def take(request: Request) -> Response:
    return JSONResponse(dict(await read_form(request)))


def take_in_thread(request: Request) -> Response:
    return JSONResponse(dict(form_of(request)))


def denied(_request: Request, error: Exception) -> Response:
    return JSONResponse(
        {"error": str(error)}, status_code=403 if isinstance(error, AccessDeniedError) else 400
    )


class Front:
    """What the authentication does for forms: whoever shows a session's cookie has that session."""

    def __init__(self, app: ASGIApp, *, secure: bool) -> None:
        self._app = app
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        note_tls(scope, secure=self._secure)
        if COOKIE in Request(scope).cookies:
            scope[_SESSION] = "a session"
        await self._app(scope, receive, send)


def client(base: str = BASE, root_path: str = "", *, secure: bool = False) -> Browser:
    app = Starlette(
        routes=[
            Route("/form", show),
            Route("/form", take, methods=["POST"]),
            Route("/thread", take_in_thread, methods=["POST"]),
        ],
        exception_handlers={AccessDeniedError: denied, UsageError: denied},
    )
    return Browser(Front(app, secure=secure), base, root_path=root_path)


@pytest.fixture
def browser() -> Browser:
    return client()


def token(browser: Browser) -> str:
    return str(browser.get("/form").json()["csrf"])


@pytest.mark.parametrize("path", ["/form", "/thread"])
def test_a_form_of_our_page_is_read_without_its_token(browser: Browser, path: str) -> None:
    answer = browser.post(path, data={"csrf": token(browser), "reason": "a+b & ü", "empty": ""})
    assert answer.json() == {"reason": "a+b & ü", "empty": ""}


def test_all_forms_of_a_page_and_of_later_pages_share_one_cookie(browser: Browser) -> None:
    shown = browser.get("/form").json()
    assert shown["csrf"] == shown["again"] == token(browser)
    assert len(browser.cookies) == 1


def without_token(_: str) -> dict[str, str]:
    return {"reason": "x"}


def with_another_browsers_token(_: str) -> dict[str, str]:
    return {"csrf": token(client())}


def with_empty_token(_: str) -> dict[str, str]:
    return {"csrf": ""}


def with_a_prefix_of_the_token(genuine: str) -> dict[str, str]:
    return {"csrf": genuine[:-1]}


def with_letters_beyond_ascii(genuine: str) -> dict[str, str]:
    return {"csrf": genuine[:-1] + "ü"}


@pytest.mark.parametrize(
    "forged",
    [
        without_token,
        with_another_browsers_token,
        with_empty_token,
        with_a_prefix_of_the_token,
        with_letters_beyond_ascii,
    ],
)
def test_a_forged_form_is_refused(browser: Browser, forged: Callable[[str], dict[str, str]]) -> None:
    assert browser.post("/form", data=forged(token(browser))).status_code == 403


def test_a_form_without_any_cookie_is_refused(browser: Browser) -> None:
    genuine = token(browser)
    browser.cookies.clear()
    assert browser.post("/form", data={"csrf": genuine}).status_code == 403


def test_the_token_from_before_the_login_is_worthless_in_the_session(browser: Browser) -> None:
    before = token(browser)
    browser.cookies.set(COOKIE, "the session's secret", domain="127.0.0.1", path="/")
    assert browser.post("/form", data={"csrf": before}).status_code == 403
    assert browser.post("/form", data={"csrf": token(browser)}).status_code == 200


def posted(browser: Browser, body: bytes, kind: str = "application/x-www-form-urlencoded") -> httpx.Response:
    return browser.post("/form", content=body, headers={"content-type": kind})


@pytest.mark.parametrize("kind", ["text/plain", "application/json", "multipart/form-data; boundary=x", ""])
def test_only_a_form_is_read(browser: Browser, kind: str) -> None:
    assert posted(browser, f"csrf={token(browser)}".encode(), kind).status_code == 400


@pytest.mark.parametrize(
    "body", ["&a=1&a=2", "&csrf=x", "&broken", "&a=%ff", "&a=ü", "&a=" + "x" * (64 << 10), "&x=" * 65]
)
def test_a_body_that_could_be_read_in_two_ways_or_is_too_long_is_refused(browser: Browser, body: str) -> None:
    assert posted(browser, f"csrf={token(browser)}{body}".encode()).status_code == 400


@pytest.mark.parametrize(
    ("root", "secure", "expected"),
    [
        ("", False, f"{FORM_COOKIE}="),
        ("", True, f"__Host-{FORM_COOKIE}="),
        ("/platform", True, f"__Secure-{FORM_COOKIE}="),
    ],
)
def test_the_cookie_is_for_this_server_only(root: str, expected: str, *, secure: bool) -> None:
    browser = client(BASE.replace("http:", "https:") if secure else BASE, root, secure=secure)
    cookie = browser.get(f"{root}/form").headers["set-cookie"]
    assert cookie.startswith(expected)
    said = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert said == {"httponly", "samesite=lax", f"path={root or '/'}"} | ({"secure"} if secure else set())
