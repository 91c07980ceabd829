"""The page of a scan in Chromium: it asks for nothing, is accessible, and nothing in it runs."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser_support import ARGUMENTS, PICTURES, WRITE_PICTURES
from playwright.sync_api import sync_playwright

from secure_platform.scan.columns import Scanner
from secure_platform.scan.page import page
from secure_platform.scan.report import Section, document
from secure_platform.scan.secrets.baseline import sift
from secure_platform.scan.secrets.document import own_rules
from secure_platform.scan.secrets.scanner import SecretScanner
from secure_platform.scan.sources.documents import FileDocument
from secure_platform.scan.sources.inspection import Inspection
from secure_platform.scan.text.scanner import TextScanner
from secure_platform.taxonomy.info_types import info_types

pytestmark = [pytest.mark.slow, pytest.mark.system]

MADE = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HOSTILE = "<script>alert(1)</script>"
FILES = {
    "exports/patients.csv": "patient_id,first_name,last_name,birth_date,ssn,email,phone,city,notes\n"
    + "".join(
        f"{n},Anna,Meyer,19{40 + n}-03-1{n},219-09-{9990 + n},anna{n}@example.org,+49 30 901820{n}5,Berlin,"
        f"{'call her sister at ' + 'eve@example.org' if n == 4 else 'came back for a check'}\n"
        for n in range(8)
    ),
    "exports/orders.ndjson": "\n".join(
        f'{{"order": {n}, "card": "{card}", "amount": 12.5, "ship_to": {{"email": "bob{n}@example.org"}}}}'
        for n, card in enumerate(("4111111111111111", "5555555555554444", "378282246310005"))
    ),
    "logs/access.log": "".join(
        f"GET /account?mail=eve{n}@example.org 200 from 203.0.113.{n}\n" for n in range(9)
    ),
    f"logs/{HOSTILE.replace('/', '')}.log": "paid with 4111 1111 1111 1111\n",
    "logs/photo.jpg": "\0\1\2",
}


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, whole = tmp_path_factory.mktemp("scan"), Section()
    types = info_types()
    personal = {name: kind for name, kind in types.items() if kind.group != "secret"}
    inspection = Inspection(
        Scanner(types), SecretScanner(own_rules(), bytes(32)), TextScanner(personal), bytes(32)
    )
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        whole.add(inspection.document(FileDocument(path, name)))
    made = page(document(whole, sift(whole.findings, (), MADE.date())), made=MADE)
    (folder / "report.html").write_text(made, encoding="utf-8")
    return folder / "report.html"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_the_page_is_accessible_and_runs_nothing(
    chromium: Path, report: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        # Its policy would stop the checker too, which is put into it.
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 1400}, bypass_csp=True
        )
        shown, heard, asked = context.new_page(), [], []
        shown.on("console", lambda message: heard.append(message.text))
        shown.on("dialog", lambda dialog: heard.append(dialog.message))
        shown.on("request", lambda request: asked.append(request.url))
        shown.goto(report.as_uri())
        for summary in shown.locator("summary").all():
            summary.click()
        result = Axe().run(shown, options={"runOnly": {"type": "tag", "values": WCAG}})
        assert result.violations_count == 0, result.generate_report()
        assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert (heard, asked) == ([], [report.as_uri()])
        assert HOSTILE.replace("/", "") in shown.inner_text("body")
        if os.environ.get(WRITE_PICTURES) and (scheme, width) == ("light", 1200):
            shown.reload()
            shown.screenshot(path=PICTURES / "scan-report.png")
        browser.close()


def test_the_page_shows_itself_under_its_own_policy(chromium: Path, report: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        shown, heard = browser.new_page(color_scheme="light"), []
        shown.on("console", lambda message: heard.append(message.text))
        shown.goto(report.as_uri())
        assert (
            shown.evaluate("getComputedStyle(document.querySelector('.heat-5')).backgroundColor")
            == "rgb(143, 42, 10)"
        )
        assert heard == []
        browser.close()
