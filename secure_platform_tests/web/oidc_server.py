"""A real OpenID Connect provider on loopback, `oidc-provider` for Node.js; `make servers` installs it."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urljoin, urlsplit

import httpx
from asgi_browser import Browser
from optional_servers import required
from required import missing

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "tests" / "oidc"
CLIENT = "secure-platform"


@dataclass
class OidcServer:
    """A started provider; the person's browser talks to it with cookies of their own."""

    issuer: str

    def log_in(
        self, browser: Browser, person: str, *, amr: str = "pwd otp", start: str = "/oidc/start?next=/whoami"
    ) -> httpx.Response:
        """A whole login in a browser that the provider does not know yet."""
        return browser.get(self.answer(browser.get(start).headers["location"], person, amr))

    def answer(self, url: str, person: str, amr: str) -> str:
        """Where the provider sends the browser back to."""
        with httpx.Client(trust_env=False, timeout=20) as client:
            while url.startswith(self.issuer):
                if urlsplit(url).path.startswith("/interaction/"):
                    url = f"{url}?{urlencode({'person': person, 'amr': amr})}"
                answer = client.get(url)
                assert "location" in answer.headers, answer.text
                url = urljoin(url, answer.headers["location"])
        return url


@contextmanager
def oidc_server(redirect_uri: str, post_logout_uri: str) -> Iterator[OidcServer]:
    """A provider on a free port that knows our client."""
    node = required("Node.js", ("node",))
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        missing("oidc-provider is not installed: make servers")
    process = subprocess.Popen(
        [str(node), str(FOLDER / "server.mjs"), redirect_uri, post_logout_uri],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        yield OidcServer(process.stdout.readline().strip())
    finally:
        process.terminate()
        process.communicate(timeout=20)
