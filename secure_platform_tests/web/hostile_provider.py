"""An identity provider on loopback that says whatever a test makes it say."""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from asgi_browser import Browser
from joserfc import jwt
from joserfc.jwk import RSAKey

from secure_platform.control.database import utc_now

CLIENT = "secure-platform"
SUBJECT = "248289761001"
KEY = RSAKey.generate_key(2048, {"kid": "k1"})


@dataclass
class HostileProvider:
    """What it answers; a test changes it.

    Attributes:
        claims: Replace or, when None, remove claims of the ID token.
        header: The same for its header.
        metadata: The same for the discovery document.
        key: Signs the ID token.
        published: Keys that are published.
        token: Makes the whole ID token instead.
        tokens: Replace members of the token answer.
        answers: Whole answers by path: status and body.
        asked: Bodies that came to the token endpoint.
        secret: Of the client, in the body; None lets anybody in.
    """

    issuer: str
    key: RSAKey = field(default_factory=lambda: KEY)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    published: list[dict[str, Any]] = field(default_factory=list)
    tokens: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    token: Callable[["HostileProvider", str], str] | None = None
    userinfo: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    secret: str | None = None
    looked_up: int = 0
    nonce: str = ""
    challenge: str = ""

    def __post_init__(self) -> None:
        self.published = [dict(self.key.as_dict(private=False))]

    def answer(self, path: str, body: dict[str, str]) -> tuple[int, bytes]:
        if path in self.answers:
            return self.answers[path]
        match path:
            case "/.well-known/openid-configuration":
                return _json(_changed(self._document(), self.metadata))
            case "/jwks":
                self.looked_up += 1
                return _json({"keys": self.published})
            case "/token":
                return self._redeemed(body)
            case "/userinfo":
                return _json(self.userinfo)
        return 404, b""

    def _redeemed(self, body: dict[str, str]) -> tuple[int, bytes]:
        self.asked.append(body)
        if self.secret not in (None, body.get("client_secret")):
            return 401, b'{"error": "invalid_client"}'
        said = {"access_token": "an access token", "token_type": "Bearer", "id_token": self._token()}
        return _json(_changed(said, self.tokens))

    def said(self) -> dict[str, Any]:
        """The claims of the next ID token."""
        now = int(utc_now().timestamp())
        usual = {
            "iss": self.issuer,
            "sub": SUBJECT,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "nonce": self.nonce,
            "preferred_username": "Ana",
            "email": "ana@example.org",
            "amr": ["pwd", "otp"],
            "groups": ["stewards", "cleaners"],
        }
        return _changed(usual, self.claims)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        usual = {"alg": "RS256", "kid": self.key.kid}
        return jwt.encode(_changed(usual, {**self.header, **header}), claims, self.key)

    def _token(self) -> str:
        return self.sign(self.said()) if self.token is None else self.token(self, self.nonce)

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "end_session_endpoint": f"{self.issuer}/end",
        }

    def begin(self, browser: Browser, path: str = "/oidc/start?next=/whoami") -> dict[str, str]:
        """Let the browser begin a login; what the platform asked."""
        answer = browser.get(path)
        assert answer.status_code == 303, answer.text
        asked = {
            name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()
        }
        self.nonce, self.challenge = asked["nonce"], asked["code_challenge"]
        return asked

    def log_in(self, browser: Browser, **answer: str) -> httpx.Response:
        """A whole login; the provider's answer can be changed."""
        asked = self.begin(browser)
        return browser.get("/oidc/callback", params={"code": "a code", "state": asked["state"], **answer})

    def verifier_fits(self) -> bool:
        digest = sha256(self.asked[-1]["code_verifier"].encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == self.challenge


def _changed(usual: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def _json(value: Any) -> tuple[int, bytes]:
    return 200, json.dumps(value).encode()


@contextmanager
def hostile_provider() -> Iterator[HostileProvider]:
    """A provider on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, body: dict[str, str]) -> None:
            status, content = provider.answer(urlsplit(self.path).path, body)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if status in {301, 302, 307}:
                self.send_header("Location", content.decode())
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers["content-length"])).decode()
            self._answer({name: values[0] for name, values in parse_qs(sent).items()})

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 the base class names it
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = HostileProvider(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
