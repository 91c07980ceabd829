"""The governance pages in Chromium: accessible in light, dark and on a phone; nothing runs but our file."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_support import ARGUMENTS, PATIENCE_MILLISECONDS, PICTURES, WRITE_PICTURES
from built_home import PRODUCT, Built
from pages_support import governed, person, served, watched_for_a_month
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright
from web_login import session_cookie

from secure_platform.access.resources import PlatformResource
from secure_platform.services import Services
from secure_platform.web.authentication import COOKIE

pytestmark = [pytest.mark.slow, pytest.mark.system]

PAGES = {
    "approvals": "/approvals",
    "release": "/approvals/{digest}",
    "releases": "/releases",
    "history": f"/releases/{PRODUCT}",
    "compare": f"/releases/{PRODUCT}/compare?old=1&new=2",
    "proof": f"/releases/{PRODUCT}/1",
    "search": "/data-map?q=birth",
    "data-map": f"/data-map/{PRODUCT}",
    "dataset": f"/data-map/{PRODUCT}/patients",
    "mart": f"/data-map/{PRODUCT}/patient_summary",
    "observability": "/observability",
    "watched": f"/observability/{PRODUCT}",
    "outcomes": "/outcomes",
    "sla": f"/observability/{PRODUCT}/sla",
    "measured": f"/observability/{PRODUCT}/marts/encounter_facts",
    "incident": "/incidents/{incident}",
    "audit": "/audit?action=release.",
    "entry": "/audit/3",
    "access": "/access",
    "principal": "/access/principals/tess",
    "explain": f"/access/explain?action=release_approve&product={PRODUCT}",
    "matrix": "/access/matrix",
    "keys": "/keys",
    "account": "/account",
    "problem": "/releases/nothing",
}
DESK: ViewportSize = {"width": 1400, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HOSTILE = '"><img src=x onerror=alert(1)><script>alert(2)</script>'
SHOWN = ("release", "data-map", "audit", "access", "account")


@dataclass(frozen=True)
class Window:
    """One browser window in which somebody is logged in, and what it complained about."""

    page: Page
    base: str
    digest: str
    incident: str
    heard: list[str]

    def open(self, name: str) -> Page:
        self.page.goto(self.base + PAGES[name].format(digest=self.digest, incident=self.incident))
        return self.page


@pytest.fixture(scope="module")
def site(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Services, str, str]]:
    copy = built_once.copy(tmp_path_factory.mktemp("seen") / "built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
        services, _, second = governed(copy)
        watched_for_a_month(services)
        with served(services) as base:
            yield services, base, second.digest


@pytest.fixture(scope="module")
def chrome(chromium: Path) -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield started
        started.close()


@contextmanager
def window(
    chrome: Chromium,
    site: tuple[Services, str, str],
    name: str,
    *,
    size: ViewportSize = DESK,
    colours: Literal["light", "dark"] = "light",
) -> Iterator[Window]:
    services, base, digest = site
    context = chrome.new_context(viewport=size, color_scheme=colours, locale="en-GB")
    cookie = session_cookie(services, person(services, name), mfa=True)
    context.add_cookies([{"name": COOKIE, "value": cookie, "url": base}])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
    yield Window(page, base, digest, services.incidents.all(PRODUCT)[0].incident_id, heard)
    context.close()


def violations(page: Page) -> list[str]:
    """What axe finds, one line for each rule and the first element that breaks it."""
    options = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"]}
    found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found]


@pytest.mark.parametrize(
    ("size", "colours"), [(DESK, "light"), (DESK, "dark"), (PHONE, "light")], ids=["light", "dark", "phone"]
)
def test_every_page_is_accessible(
    chrome: Chromium,
    site: tuple[Services, str, str],
    size: ViewportSize,
    colours: Literal["light", "dark"],
) -> None:
    with window(chrome, site, "admin", size=size, colours=colours) as seen:
        for name in PAGES:
            page = seen.open(name)
            page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
            assert violations(page) == [], name
            # Wide tables and drawings scroll in frames of their own, never the page.
            assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, name
        assert [text for text in seen.heard if "400 (Bad Request)" not in text] == []


def test_the_keyboard_reaches_the_content_and_the_decision(
    chrome: Chromium, site: tuple[Services, str, str]
) -> None:
    with window(chrome, site, "tess") as seen:
        page = seen.open("release")
        page.keyboard.press("Tab")
        expect(page.get_by_text("Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        page.get_by_label("Reason").focus()
        for label in ("Change ticket", "Approve", "Reject"):
            page.keyboard.press("Tab")
            expect(page.get_by_label(label).or_(page.get_by_role("button", name=label))).to_be_focused()


def test_a_hostile_reason_runs_nothing(chrome: Chromium, site: tuple[Services, str, str]) -> None:
    services, _, digest = site
    services.freezes.set(person(services, "sam"), PlatformResource(), reason=HOSTILE)
    issued = services.tokens.issue("admin", actor="admin", label=HOSTILE)
    with window(chrome, site, "admin") as seen:
        for name in ("access", "account", "release"):
            seen.open(name)
        expect(seen.open("access").get_by_text(HOSTILE)).to_be_visible()
        assert seen.heard == []
    services.tokens.revoke(issued.token_id, actor="admin")
    services.freezes.lift(person(services, "sam"), None)
    assert services.gate.get(digest).state == "pending"


def test_a_steward_decides_with_the_mouse(chrome: Chromium, site: tuple[Services, str, str]) -> None:
    services, _, digest = site
    with window(chrome, site, "tess") as seen:
        for name in SHOWN[:2]:
            picture(seen, name)
        page = seen.open("release")
        page.get_by_label("Reason").fill("Row counts and findings are as expected.")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("status")).to_contain_text("Your approval is recorded.")
        assert seen.heard == []
    assert services.gate.get(digest).state == "approved"


def test_the_pictures_of_the_documentation(chrome: Chromium, site: tuple[Services, str, str]) -> None:
    with window(chrome, site, "otto", colours="dark") as seen:
        picture(seen, "audit")
    with window(chrome, site, "admin") as seen:
        for name in ("access", "account", "keys", "incident", "watched", "sla", "measured"):
            picture(seen, name)


def picture(seen: Window, name: str) -> None:
    """Open a page, and keep what is seen of it if that is asked for."""
    page = seen.open(name)
    expect(page.locator("h1")).to_be_visible()
    if os.environ.get(WRITE_PICTURES):
        page.screenshot(path=PICTURES / f"page-{name}.png", animations="disabled")
