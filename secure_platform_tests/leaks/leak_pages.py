"""Run as a program: an administrator reads pages of a server, and a scrape its numbers.

What each holds is said by the labels of its needles: nothing of a page is printed.
"""

import json
import sys
from typing import Final

import httpx
from canaries import needles
from content_search import Search

from secure_platform.services import ADMINISTRATOR, Services
from secure_platform.settings import load_settings
from secure_platform.web.authentication import COOKIE

SECONDS: Final = 60


def read(base: str, paths: list[str]) -> None:
    """Say of each page its status, how long it is, and the labels of what it holds."""
    services = Services(load_settings())
    administrator = services.principals.get(ADMINISTRATOR)
    assert administrator is not None
    session = services.sessions.open(administrator, method="password", address=None)
    cookie = {"Cookie": f"{COOKIE}={session.secret}"}
    bearer = {"Authorization": f"Bearer {services.tokens.issue(ADMINISTRATOR, actor=ADMINISTRATOR).secret}"}
    for path in paths:
        headers = bearer if path == "/metrics" else cookie
        answer = httpx.get(base + path, headers=headers, timeout=SECONDS)
        labels = sorted({label.partition(" as ")[0] for label in Search(needles()).labels(answer.content)})
        told = {"path": path, "status": answer.status_code, "bytes": len(answer.content), "holds": labels}
        print(f"++ {json.dumps(told)}", flush=True)  # noqa: T201 - this is a program


if __name__ == "__main__":
    read(sys.argv[1], json.loads(sys.argv[2]))
