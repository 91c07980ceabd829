"""The guarded Dagster API in this process, beside the stock one: every attack works there and not here."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import dagster as dg
import pytest
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster_webserver.webserver import DagsterWebserver
from web_login import BASE, admin_token, web_app
from web_support import Client

from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import load_settings

EVIL = "http://evil.example"
KEY = "written"
MUTATION = f'mutation{{setConcurrencyLimit(concurrencyKey:"{KEY}",limit:1)}}'
EVENTS = "subscription S{locationStateChangeEvents{event{message}}}"
HIDDEN = f'query Harmless{{version}} mutation Other{{setConcurrencyLimit(concurrencyKey:"{KEY}",limit:1)}}'
IN_QUERY = "/graphql?" + urlencode({"query": MUTATION})
Attack = Callable[[Client], Any]

ATTACKS: dict[str, Attack] = {
    "GET": lambda client: client.get(IN_QUERY),
    "GET beside a query": lambda client: client.get(
        "/graphql", params={"query": HIDDEN, "operationName": "Other"}
    ),
    "text/plain": lambda client: client.post(IN_QUERY, headers={"Content-Type": "text/plain"}),
    "text/plain; application/json": lambda client: client.post(
        "/graphql",
        content=json.dumps({"query": MUTATION}),
        headers={"Content-Type": "text/plain; application/json"},
    ),
    "application/graphql": lambda client: client.post(
        "/graphql", content=MUTATION, headers={"Content-Type": "application/graphql"}
    ),
    "form": lambda client: client.post(IN_QUERY, data={"a": "b"}),
    "query string without a type": lambda client: client.post(IN_QUERY),
    "foreign Origin": lambda client: client.post(
        "/graphql", json={"query": MUTATION}, headers={"Origin": EVIL}
    ),
    "Origin null": lambda client: client.post(
        "/graphql", json={"query": MUTATION}, headers={"Origin": "null"}
    ),
    "foreign Host": lambda client: client.post(
        "/graphql", json={"query": MUTATION}, headers={"Host": "rebound.example:3000"}
    ),
}
STATUS = {
    "GET": 405,
    "GET beside a query": 405,
    "foreign Origin": 403,
    "Origin null": 403,
    "foreign Host": 421,
}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    settings = load_settings(home=tmp_path_factory.mktemp("api") / "home")
    initialise(settings)
    return Services(settings)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as opened:
        yield opened


@pytest.fixture(scope="module")
def stock(instance: dg.DagsterInstance) -> Iterator[Client]:
    with WorkspaceProcessContext(instance, workspace_load_target=EmptyWorkspaceTarget()) as context:
        yield Client(DagsterWebserver(context).create_asgi_app(), BASE)


@pytest.fixture(scope="module")
def ours(services: Services, instance: dg.DagsterInstance) -> Iterator[Client]:
    """As the administrator, who may do what the attacks want done."""
    with web_app(services, instance) as app:
        yield Client(app, BASE, admin_token(services.settings))


@pytest.fixture(autouse=True)
def unwritten(instance: dg.DagsterInstance) -> Iterator[None]:
    yield
    instance.event_log_storage.delete_concurrency_limit(KEY)


def _written(instance: dg.DagsterInstance) -> bool:
    return KEY in instance.event_log_storage.get_concurrency_keys()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_that_works_on_the_stock_server_changes_nothing_here(
    name: str, instance: dg.DagsterInstance, stock: Client, ours: Client
) -> None:
    refused = ATTACKS[name](ours)
    assert refused.status_code == STATUS.get(name, 415)
    assert not _written(instance)
    assert ATTACKS[name](stock).status_code == 200
    assert _written(instance)


def test_a_json_post_of_our_own_page_changes_things(instance: dg.DagsterInstance, ours: Client) -> None:
    answer = ours.post("/graphql", json={"query": MUTATION}, headers={"Origin": BASE})
    assert answer.json() == {"data": {"setConcurrencyLimit": True}}
    assert _written(instance)


@pytest.mark.parametrize("query", ["{version}", "query Q{version}", "fragment F on Query{version} {...F}"])
def test_queries_by_get_work(query: str, ours: Client) -> None:
    answer = ours.get("/graphql", params={"query": query})
    assert answer.status_code == 200
    assert set(answer.json()["data"]) == {"version"}


def test_a_malformed_query_by_get_is_a_clear_refusal(ours: Client) -> None:
    answer = ours.get("/graphql", params={"query": "mutation{"})
    assert answer.status_code == 400
    assert "Syntax Error" in answer.text


@pytest.mark.parametrize("definition", [EVENTS, f"query Q{{version}} {EVENTS}"])
def test_by_get_only_queries_run(definition: str, ours: Client) -> None:
    assert ours.get("/graphql", params={"query": definition}).status_code == 405


@pytest.mark.parametrize("what", ["materialization", "check", "observation"])
def test_reporting_from_outside_is_not_served(what: str, stock: Client, ours: Client) -> None:
    path = f"/report_asset_{what}/a"
    body = {"check_name": "c", "passed": True, "data_version": "1"}
    assert stock.post(path, json=body).status_code == 200
    assert ours.post(path, json=body).status_code == 405


@pytest.mark.parametrize("origin", [None, BASE])
def test_a_websocket_of_our_own_page_is_served_but_changes_nothing(
    origin: str | None, instance: dg.DagsterInstance, ours: Client
) -> None:
    accepted, acknowledged, answer = ours.websocket(MUTATION, origin=origin)
    assert accepted["type"] == "websocket.accept"
    assert json.loads(acknowledged["text"]) == {"type": "connection_ack"}
    assert json.loads(answer["text"])["type"] == "error"
    assert not _written(instance)


def test_a_websocket_of_another_origin_is_refused(stock: Client, ours: Client) -> None:
    assert stock.websocket(MUTATION, origin=EVIL)[0]["type"] == "websocket.accept"
    (refusal,) = ours.websocket(MUTATION, origin=EVIL)
    assert (refusal["type"], refusal["code"]) == ("websocket.close", 1008)


def test_the_pages_of_the_ui_are_served_and_cannot_be_framed(ours: Client) -> None:
    for path in ("/", "/overview/activity", "/assets"):
        page = ours.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert "<html" in page.text
        assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
        assert "script-src 'nonce-" in page.headers["Content-Security-Policy"]
        assert page.headers["X-Frame-Options"] == "DENY"
    assert ours.get("/graphql", headers={"Accept": "text/html"}).headers["X-Frame-Options"] == "DENY"
    assert ours.get("/favicon.png").headers["Content-Type"] == "image/png"
