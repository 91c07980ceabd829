"""A browser for an application in this process: it keeps cookies, and follows no redirect by itself."""

import asyncio
import re
from typing import Any

import httpx
from starlette.types import ASGIApp

ADDRESS = ("127.0.0.1", 50_000)
_TOKEN = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Browser:
    """One browser; several share nothing."""

    def __init__(
        self,
        app: ASGIApp,
        base: str = "http://127.0.0.1:3000",
        *,
        root_path: str = "",
        address: tuple[str, int] = ADDRESS,
    ) -> None:
        self._app = app
        self._base = base
        self._root_path = root_path
        self.address = address
        self.cookies = httpx.Cookies()

    def get(self, path: str, **arguments: Any) -> httpx.Response:
        return self._request("GET", path, **arguments)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self._request("POST", path, **arguments)

    def send_form(self, path: str, to: str | None = None, **fields: str) -> httpx.Response:
        """Open the page and send a form with its token, to the page itself unless it goes elsewhere."""
        found = _TOKEN.search(self.get(path).text)
        assert found, f"{path} shows no form"
        return self.post(to or path, data={"csrf": found[1], **fields})

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, root_path=self._root_path, client=self.address)
            async with httpx.AsyncClient(
                transport=transport, base_url=self._base, cookies=self.cookies
            ) as client:
                answer = await client.request(method, path, **arguments)
                self.cookies = client.cookies
                return answer

        return asyncio.run(request())
