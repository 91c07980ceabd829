"""Every route, query, mutation and subscription, as every role and as nobody: a new one fails here first."""

import json
import re
from collections.abc import Iterator

import dagster as dg
import httpx
import pytest
from dagster._core.workspace.permissions import Permissions
from dagster_graphql.schema import create_schema
from dagster_webserver.webserver import DagsterWebserver
from documents import document, fields
from rights_table import API, MUTATIONS, NOBODY, PEOPLE, QUERIES, ROUTES, SERVICES, SUBSCRIPTIONS, may, rows
from starlette.applications import Starlette
from web_login import BASE, bearer, logged_in, person, web_app
from web_support import Client

from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.web import permissions, rights
from secure_platform.web.authorization import CLOSED
from secure_platform.web.guard import FORM

SCHEMA = create_schema().graphql_schema
ROLES = [*PEOPLE.split(), *SERVICES.split(), NOBODY]
FILLINGS = {"name": "platform.css", "number": "1", "seq": "1"}
TABLES = {"query": QUERIES, "mutation": MUTATIONS, "subscription": SUBSCRIPTIONS}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    settings = load_settings(home=tmp_path_factory.mktemp("rights") / "home")
    initialise(settings)
    return Services(settings)


@pytest.fixture(scope="module")
def app(services: Services) -> Iterator[Starlette]:
    with dg.DagsterInstance.local_temp() as instance, web_app(services, instance) as served:
        yield served


@pytest.fixture(scope="module")
def clients(services: Services, app: Starlette) -> dict[str, Client]:
    """One for every role; people come with a session, services with a token."""
    people = {role: logged_in(services, person(services, role)) for role in PEOPLE.split()}
    people[NOBODY] = logged_in(services, person(services, name=NOBODY))
    programs = {}
    for role in SERVICES.split():
        name = f"service:{role}1"
        services.principals.add(name, kind="service", roles=(role,), actor="admin")
        found = services.principals.get(name)
        assert found is not None
        programs[role] = bearer(services, found)
    return {role: Client(app, BASE, headers) for role, headers in (people | programs).items()}


@pytest.fixture(autouse=True)
def _every_denial_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permissions, "REMEMBER_SECONDS", -1.0)


def denied(services: Services, before: int) -> set[str]:
    """The rights that somebody was refused since."""
    entries = [entry.body for entry in services.audit.entries(before)]
    decided = {
        e["detail"]["action"]
        for e in entries
        if e["action"] == "policy.decide" and not e["detail"]["allowed"]
    }
    return decided or ({"nobody"} if any(entry["action"] == "ui.refuse" for entry in entries) else set())


@pytest.mark.parametrize("kind", TABLES)
def test_the_table_names_every_field_of_the_api(kind: str) -> None:
    assert set(rows(TABLES[kind])) == set(fields(SCHEMA, kind))


def test_every_permission_of_dagster_is_decided_about() -> None:
    assert set(rights.PERMISSIONS) == set(Permissions)


@pytest.mark.parametrize("kind", ["query", "mutation"])
@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_exactly_the_fields_of_its_rights(
    kind: str, role: str, services: Services, clients: dict[str, Client]
) -> None:
    wrong = {}
    for name, right in rows(TABLES[kind]).items():
        before = services.audit.size()
        answer = clients[role].post(
            "/graphql", json={"query": document(kind, name, fields(SCHEMA, kind)[name])}
        )
        # A query that nobody has a use for is empty, without a record.
        refused = right in denied(services, before) or answer.json()["data"] == {"test": None}
        if refused == (role in may(right)):
            wrong[name] = (right, answer.text)
    assert wrong == {}


@pytest.mark.parametrize("kind", ["query", "mutation"])
def test_nobody_reaches_no_field(kind: str, services: Services, app: Starlette) -> None:
    before = services.audit.size()
    for name, field in fields(SCHEMA, kind).items():
        answer = Client(app, BASE).post("/graphql", json={"query": document(kind, name, field)})
        assert (answer.status_code, "data" in answer.json()) == (401, False)
    assert services.audit.size() == before


@pytest.mark.parametrize("role", ROLES)
def test_a_role_subscribes_to_exactly_what_it_may_read(
    role: str, services: Services, clients: dict[str, Client]
) -> None:
    for name, right in rows(SUBSCRIPTIONS).items():
        before = services.audit.size()
        text = document("subscription", name, fields(SCHEMA, "subscription")[name])
        sent = clients[role].websocket(
            text, origin=BASE, answers=1 if name == "locationStateChangeEvents" and role in may(right) else 2
        )
        refused = any(json.loads(m["text"])["type"] == "error" for m in sent if m["type"] == "websocket.send")
        assert refused == (role not in may(right)) == (right in denied(services, before)), (name, sent)


def served(app: Starlette) -> dict[str, str]:
    """Every route as the table names it → a path that leads to it."""
    found = {}
    for route in app.routes:
        path = getattr(route, "path", "")
        filled = re.sub(r"{(\w+)(:\w+)?}", lambda named: FILLINGS.get(str(named[1]), "x"), path)
        for method in (getattr(route, "methods", None) or {"GET"}) - {"HEAD"}:
            found[path if method == "GET" else f"{method}:{path}"] = filled
    return {name: path for name, path in found.items() if API not in name}


def test_the_table_names_every_route(app: Starlette) -> None:
    assert set(served(app)) == set(rows(ROUTES))


def test_what_the_stock_server_has_besides_is_closed(app: Starlette) -> None:
    stock = DagsterWebserver(app.state.process_context).build_routes()  # type: ignore[no-untyped-call]  # Dagster's has no annotation.
    ours = {getattr(route, "path", "") for route in app.routes}
    assert {route.path for route in stock} - ours == CLOSED


@pytest.mark.parametrize("role", [*ROLES, "anonymous"])
def test_a_role_reaches_exactly_the_routes_of_its_rights(
    role: str, services: Services, app: Starlette, clients: dict[str, Client]
) -> None:
    client, paths = clients.get(role, Client(app, BASE)), served(app)
    wrong = {}
    for name, right in rows(ROUTES).items():
        before = services.audit.size()
        answer = send(client, name, paths[name])
        if role == "anonymous":
            allowed, reached = right == "public", answer.status_code != 401
        else:
            allowed = right == "public" or role in may(right)
            reached = right not in denied(services, before)
        if allowed != reached or answer.status_code == 500:
            wrong[name] = (right, answer.status_code, answer.text[:200])
    assert wrong == {}


def send(client: Client, name: str, path: str) -> httpx.Response:
    """By the method that the table names; what is sent is empty."""
    if not name.startswith("POST:"):
        return client.get(path)
    if path == "/graphql":
        return client.post(path, json={})
    return client.post(path, headers={"Content-Type": FORM, "Origin": BASE})


@pytest.mark.parametrize("path", [path for path in rows(ROUTES) if not path.startswith("POST:")])
def test_a_person_who_is_not_logged_in_gets_the_login_page(path: str, app: Starlette) -> None:
    answer = Client(app, BASE).get(served(app)[path], headers={"Accept": "text/html"})
    if path in ROUTES["public"].split():
        assert answer.status_code != 303
    else:
        assert answer.status_code == 303
        assert answer.headers["Location"].startswith("/login?next=")
