"""Real Chromium on the served UI: what a page shows, what it asked for, what it complained about."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser as Chromium
from playwright.sync_api import (
    ConsoleMessage,
    FloatRect,
    Locator,
    Page,
    Response,
    ViewportSize,
    expect,
    sync_playwright,
)

from secure_platform.web.authentication import COOKIE

PICTURES = Path(__file__).resolve().parents[2] / "docs" / "images"
WRITE_PICTURES = "SECURE_PLATFORM_WRITE_PICTURES"
SIZE: ViewportSize = {"width": 1600, "height": 900}
BARS = 110
MARGIN = 40
HTTP_BAD = 400
PATIENCE_MILLISECONDS = 90_000
# No address but loopback can be resolved: a page that needs another one shows it.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


class Browser:
    """One tab, on the UI that is served at `base`."""

    def __init__(self, page: Page, base: str) -> None:
        self._page = page
        self._base = base
        self.requested: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requested.append(request.url))
        page.on("websocket", lambda socket: self.requested.append(socket.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._heard)
        page.on("response", self._answered)

    def open(self, path: str) -> Page:
        self._page.goto(self._base + path)
        return self._page

    @property
    def page(self) -> Page:
        """What is seen now."""
        return self._page

    def text(self) -> str:
        return self._page.locator("body").inner_text()

    def foreign(self) -> list[str]:
        """Requests that went anywhere but to the server, or to what the page itself holds."""
        host = self._base.partition("//")[2]
        ours = (f"http://{host}/", f"ws://{host}/", f"blob:http://{host}/", "data:")
        return [url for url in self.requested if not url.startswith(ours)]

    def picture(self, name: str, around: Sequence[Locator] = ()) -> None:
        """Keep what is seen, or the part around some nodes, for the documentation, if that is asked for."""
        if os.environ.get(WRITE_PICTURES):
            self._page.mouse.move(0, SIZE["height"] - 1)
            clip = _frame(around) if around else None
            self._page.screenshot(path=PICTURES / f"{name}.png", animations="disabled", clip=clip)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _answered(self, response: Response) -> None:
        if response.status >= HTTP_BAD:
            self.complaints.append(f"{response.status} {response.url}")


@contextmanager
def running(program: Path) -> Iterator[Chromium]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        expect.set_options(timeout=PATIENCE_MILLISECONDS)
        yield started
        started.close()


def tab(chromium: Chromium, base: str, session: str | None = None) -> Browser:
    """A tab of somebody who has logged in, `session` being the secret of their cookie, or of nobody yet."""
    context = chromium.new_context(viewport=SIZE, device_scale_factor=1, locale="en-GB")
    if session is not None:
        context.add_cookies([{"name": COOKIE, "value": session, "url": base}])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MILLISECONDS)
    return Browser(page, base)


def inside(nodes: Sequence[Locator]) -> bool:
    """Whether all of them are in the window, below the bars at its top."""
    frame = _frame(nodes)
    return frame["y"] >= BARS and frame["y"] + frame["height"] <= SIZE["height"]


def _frame(nodes: Sequence[Locator]) -> FloatRect:
    """What encloses the nodes, with a margin."""
    boxes = [box for node in nodes if (box := node.bounding_box())]
    left, top = min(box["x"] for box in boxes) - MARGIN, min(box["y"] for box in boxes) - MARGIN
    right = max(box["x"] + box["width"] for box in boxes) + MARGIN
    bottom = max(box["y"] + box["height"] for box in boxes) + MARGIN
    return {"x": left, "y": top, "width": right - left, "height": bottom - top}
