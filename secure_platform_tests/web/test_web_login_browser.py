"""Real Chromium: people set up, log in and prove a second factor, and nothing keeps anybody from it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pyotp
import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from browser_support import Browser, running
from identity_site import PASSWORD, IdentitySite, make_home
from oidc_server import CLIENT, oidc_server
from playwright.sync_api import Page, ViewportSize, expect
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from waiting import wait_for

from secure_platform.control.database import utc_now
from secure_platform.site import ServerSettings
from secure_platform.web.rendering import STATIC
from secure_platform.web.server import listen

pytestmark = pytest.mark.slow
PHONE: ViewportSize = {"width": 390, "height": 844}


def require_accessible(page: Page) -> None:
    """No rule of axe is broken, in light, dark and on a phone."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = Axe().run(page).response["violations"]
        assert [violation["id"] for violation in violations] == []
    before = page.viewport_size
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    if before is not None:
        page.set_viewport_size(before)
    page.emulate_media(color_scheme="light")


@contextmanager
def served(directory: Path, port: int, provider: str) -> Iterator[IdentitySite]:
    oidc = {"issuer": provider, "client_id": CLIENT, "roles": {"stewards": ["data_steward"]}}
    site = IdentitySite(directory / "site", make_home(directory), identity={"oidc": oidc})
    static = Mount("/platform-static", StaticFiles(directory=STATIC))
    app = Starlette(routes=[static, Mount("/", site.app)])
    with listen(ServerSettings(port=port)) as listener:
        running = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for(lambda: running.started, 20)
            yield site
        finally:
            running.should_exit = True
            thread.join()
            site.close()


def free_port() -> int:
    with listen(ServerSettings(port=0)) as listener:
        return int(listener.getsockname()[1])


def test_people_set_up_log_in_and_prove_a_second_factor(tmp_path: Path, chromium: Path) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with (
        oidc_server(f"{base}/oidc/callback", f"{base}/login") as provider,
        served(tmp_path, port, provider.issuer) as site,
        running(chromium) as started,
    ):
        browser = Browser(started.new_page(), base)
        site.services.principals.add("alice", roles=["data_steward"], actor="admin")
        invitation = site.services.credentials.invite("alice", actor="admin")

        page = browser.open(invitation.path)
        app = pyotp.TOTP(page.locator("p.mono").inner_text().replace(" ", ""))
        assert page.get_by_alt_text("QR code").evaluate("image => image.naturalWidth") > 100
        require_accessible(page)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same password again").fill(PASSWORD)
        page.get_by_label("The code that the app shows now").fill(app.now())
        page.get_by_role("button", name="Set up").click()

        page = browser.open("/mfa?next=/whoami")
        require_accessible(page)
        page.get_by_label("Code of your authenticator app").fill(app.at(utc_now() + timedelta(seconds=30)))
        page.get_by_role("button", name="Confirm").click()
        expect(page.locator("body")).to_contain_text('"name":"alice"')

        page = browser.open("/mfa")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        require_accessible(page)
        page.get_by_label("Name").fill("alice")
        page.get_by_label("Password").fill("not the password at all")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("This login is not right")
        require_accessible(page)

        page = browser.open("/login?next=/whoami")
        page.get_by_role("link", name="Continue with your organisation").click()
        page.goto(f"{page.url}?person=ana&amr=pwd+otp")
        expect(page.locator("body")).to_contain_text('"name":"ana"')
        page = browser.open("/mfa")
        require_accessible(page)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="You are signed out here")).to_be_visible()
        require_accessible(page)
        assert not [told for told in browser.complaints if "Content Security Policy" in told]
