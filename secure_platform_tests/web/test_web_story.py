"""Five people in Chromium, from the first start to a proof: one build, four eyes, production, audit.

Two log in with password and code, two at a real OpenID Connect provider; only the code of an authenticator
app and the provider's own pages are not clicked through.
"""

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyotp
import pytest
from browser_support import Browser, running, tab
from built_home import PRODUCT, Built
from oidc_server import CLIENT, OidcServer, oidc_server
from playwright.sync_api import expect
from serve_support import Serving, serving
from waiting import wait_for

from secure_platform.audit.checkpoint import NoteKey
from secure_platform.audit.proof import InclusionProof
from secure_platform.gate.states import ReleaseState
from secure_platform.sample.generate import generate

pytestmark = [pytest.mark.slow, pytest.mark.system]

PASSWORD = "nine quiet herons cross the weir"
SECONDS = 240
LINK = re.compile(r"http://\S+/setup\S+")
PEOPLE = {"vera": "analyst", "olga": "auditor"}


@dataclass(frozen=True)
class Stage:
    """A served home, a browser, and a provider at which people log in."""

    built: Built
    server: Serving
    provider: OidcServer
    new_tab: Callable[[], Browser]

    def at_provider(self, name: str) -> Browser:
        """Log in where the organisation's accounts are."""
        opened = self.new_tab()
        page = opened.open("/approvals")
        page.get_by_role("link", name="Continue with your organisation").click()
        expect(page.get_by_role("heading", name="Who are you?")).to_be_visible()
        page.goto(f"{page.url}?person={name}&amr=pwd+otp")
        expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
        return opened

    def by_link(self, link: str) -> Browser:
        """Set password and code with a one-time link."""
        opened = self.new_tab()
        place = urlsplit(link)
        page = opened.open(f"{place.path}?{place.query}")
        secret = page.locator("p.mono").inner_text().replace(" ", "")
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_label("The same password again").fill(PASSWORD)
        page.get_by_label("The code that the app shows now").fill(pyotp.TOTP(secret).now())
        page.get_by_role("button", name="Set up").click()
        expect(page.get_by_role("heading", name="Approvals")).to_be_visible()
        return opened


@pytest.fixture
def stage(built: Built, chromium: Path) -> Iterator[Stage]:
    generate(built.home / "sources" / PRODUCT, patients=41)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with oidc_server(f"{base}/oidc/callback", f"{base}/login") as provider:
        identity = {
            "oidc": {
                "issuer": provider.issuer,
                "client_id": CLIENT,
                "roles": {"stewards": ["data_steward"], "engineers": ["data_engineer"]},
            }
        }
        with (
            serving(built.root, port=port, SECURE_PLATFORM_IDENTITY=json.dumps(identity)) as server,
            running(chromium) as started,
        ):
            assert server.port == port
            yield Stage(built, server, provider, lambda: tab(started, base))


def invited(admin: Browser, name: str, role: str) -> str:
    """The administrator adds somebody and gets the one-time link for them."""
    page = admin.open("/access")
    page.get_by_text("Add a principal").click()
    page.locator("#name").fill(name)
    page.get_by_role("checkbox", name=role).check()
    page.get_by_role("button", name="Add").click()
    page.get_by_role("button", name="Make a one-time link").click()
    link = page.locator("#link").inner_text()
    assert LINK.fullmatch(link)
    return link


def newest(built: Built) -> tuple[int, str, ReleaseState]:
    record = built.newest()
    return record.number, record.requested_by, record.state


def origin(proof: InclusionProof) -> str:
    return proof.checkpoint.partition("\n")[0]


def log_key(built: Built, name: str) -> NoteKey:
    return NoteKey(name, built.services.keys.log_signer(name).public_key)


def test_from_the_first_start_to_a_proof(stage: Stage, tmp_path: Path) -> None:
    built = stage.built
    printed = wait_for(lambda: LINK.search(stage.server.text()), SECONDS)
    assert printed
    admin = stage.by_link(printed[0])
    links = {name: invited(admin, name, role) for name, role in PEOPLE.items()}

    viewer = stage.by_link(links["vera"])
    page = viewer.open(f"/assets/{PRODUCT}/protected/patients?view=overview")
    expect(page.get_by_role("button", name="Materialize")).to_be_disabled()

    engineer = stage.at_provider("ben")
    page = engineer.open(f"/locations/secure_platform/jobs/{PRODUCT}_build")
    page.get_by_role("button", name=re.compile("Materialize all")).click()
    assert wait_for(lambda: newest(built)[0] == 2, SECONDS), stage.server.text()
    requested = newest(built)
    assert requested[2] is ReleaseState.PENDING
    digest = built.newest().digest

    page = engineer.open(f"/approvals/{digest}")
    expect(
        page.get_by_text(re.compile("who requests a release, and who acts for them, does not"))
    ).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()

    steward = stage.at_provider("ana")
    page = steward.open("/approvals")
    page.get_by_role("link", name=f"{PRODUCT} 2").click()
    page.locator("#reason").fill("Rows, findings and plan are as expected.")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Your approval is recorded.")).to_be_visible()
    assert wait_for(lambda: newest(built)[2] is ReleaseState.DEPLOYED, SECONDS), stage.server.text()

    auditor = stage.by_link(links["olga"])
    page = auditor.open("/audit?action=release.approve")
    page.get_by_role("row").filter(has_text="release.approve").first.get_by_role("link").first.click()
    with page.expect_download() as downloading:
        page.get_by_role("button", name=re.compile("[Pp]roof")).click()
    kept = tmp_path / "proof.json"
    downloading.value.save_as(kept)
    proof = InclusionProof.from_json(json.loads(kept.read_text()))
    proof.verify(origin=origin(proof), key=log_key(built, origin(proof)))
    assert json.loads(proof.entry)["subject"] == f"release:{digest}"
    for somebody in (admin, viewer, engineer, steward, auditor):
        assert somebody.complaints == []
