"""What login, guards and policy add to a request, and whether fifty people at once get an answer."""

import asyncio
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import uvicorn
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.webserver import DagsterWebserver
from starlette.applications import Starlette

from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from secure_platform.access.resources import Action, PlatformResource
from secure_platform.orchestration.home import open_instance, prepare
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.site import ServerSettings
from secure_platform.web.address import SiteAddress
from secure_platform.web.authentication import COOKIE
from secure_platform.web.permissions import PolicyProcessContext, Rights
from secure_platform.web.server import create_app, listen

STOCK: Final = "the stock server"
QUERY: Final = {"query": "{ runsOrError(limit: 10) { ... on Runs { results { runId status } } } version }"}
USERS: Final = 50
PATIENCE_SECONDS: Final = 60


def run(bench: Bench) -> list[Figure]:
    """Both servers in one process, asked in turns."""
    told = bench.measure(
        "requests", "web:requests", folder=str(bench.folder), times=bench.scale.requests
    ).detail
    return [
        Figure("a GraphQL request, p50", told["ours"], "ms"),
        Figure("a GraphQL request, p50, there", told["stock"], "ms", STOCK),
        Figure("a GraphQL request, p50, more than there", told["ours"] - told["stock"], "ms", STOCK, 5),
        Figure(f"{USERS} users at once", told["rate"], "requests/s"),
        Figure(f"{USERS} users at once, answered", told["answered"], "%", "", 100, at_least=True),
        Figure("a policy decision", told["decision"], "µs", "", 150),
    ]


def requests(watch: Stopwatch, folder: str, times: int) -> dict[str, Any]:
    """The same request to both, one after the other; then everybody at once to ours; then decisions."""
    settings = load_settings(home=Path(folder) / "home")
    os.environ["SECURE_PLATFORM_HOME"] = str(settings.home)
    prepare(settings)
    services = Services(settings)
    with ExitStack() as stack:
        instance = stack.enter_context(open_instance(settings))
        stock = stack.enter_context(
            WorkspaceProcessContext(instance, workspace_load_target=EmptyWorkspaceTarget())
        )
        guarded = stack.enter_context(
            PolicyProcessContext(
                rights=Rights(services), instance=instance, workspace_load_target=EmptyWorkspaceTarget()
            )
        )
        peer = stack.enter_context(_served(lambda _port: DagsterWebserver(stock).create_asgi_app()))
        own = stack.enter_context(
            _served(lambda port: create_app(guarded, services, SiteAddress.of(settings.server, port)))
        )
        logins = [_login(services, f"user{number}") for number in range(USERS)]
        with watch:
            alone = _in_turns(peer, own, logins[0], times)
            crowd = asyncio.run(_crowd(own, logins, max(1, times // 10)))
    return {**alone, **crowd, "decision": _decision(services, times)}


@contextmanager
def _served(make: Callable[[int], Starlette]) -> Iterator[str]:
    with listen(ServerSettings(port=0)) as listener:
        port = listener.getsockname()[1]
        server = uvicorn.Server(uvicorn.Config(make(port), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join()


def _login(services: Services, name: str) -> dict[str, str]:
    who = services.principals.add(name, roles=["data_engineer"], actor="admin")
    opened = services.sessions.open(who, method="password", address="127.0.0.1")
    return {"Cookie": f"{COOKIE}={opened.secret}"}


def _in_turns(peer: str, own: str, login: dict[str, str], times: int) -> dict[str, float]:
    spent: dict[str, list[float]] = {"stock": [], "ours": []}
    with httpx.Client() as client:
        for _ in range(times):
            for name, base, headers in (("stock", peer, {}), ("ours", own, login)):
                started = time.perf_counter()
                answer = client.post(f"{base}/graphql", json=QUERY, headers=headers)
                spent[name].append(1000 * (time.perf_counter() - started))
                assert answer.status_code == 200, answer.text
    return {name: statistics.median(each) for name, each in spent.items()}


async def _crowd(own: str, logins: list[dict[str, str]], times: int) -> dict[str, float]:
    async def ask(login: dict[str, str]) -> int:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            answers = [await client.post(f"{own}/graphql", json=QUERY, headers=login) for _ in range(times)]
        return sum(answer.status_code == 200 and "errors" not in answer.json() for answer in answers)

    started = time.perf_counter()
    good = sum(await asyncio.gather(*(ask(login) for login in logins)))
    asked = len(logins) * times
    return {"rate": asked / (time.perf_counter() - started), "answered": 100 * good / asked}


def _decision(services: Services, times: int) -> float:
    principal = services.principals.get("user0")
    assert principal is not None
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        services.policy.evaluate(principal, Action.UI_READ, PlatformResource())
        spent.append(1e6 * (time.perf_counter() - started))
    return statistics.median(spent)
