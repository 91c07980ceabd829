"""The API: every operation for every role, what it answers, and what it does with whatever it is sent."""

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from urllib.parse import quote

import jsonschema_rs
import polars as pl
import pytest
from api_support import API, Api, api
from built_home import Built
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web_support import Client

from secure_platform.access.principals import ROLES
from secure_platform.control.tables import approval as approval_table
from secure_platform.orchestration.steps.deploy import deploy
from secure_platform.orchestration.steps.exchange import ARROW
from secure_platform.services import Services
from secure_platform.web.api import routes
from secure_platform.web.api_call import Operation
from secure_platform.web.api_operations import OPERATIONS
from secure_platform.web.routes import AUTHENTICATED

pytestmark = pytest.mark.slow

ENGINEERS = {"data_engineer", "ml_engineer"}
OVERSEERS = {"admin", "auditor", "data_steward", "privacy_officer"}
SERVICES = {"pipeline", "scheduler", "monitor"}
READERS = {"analyst", *ENGINEERS, "data_steward", "privacy_officer"}
EVERYBODY = {*ROLES, "nobody"}
# Who gets past the policy, by operation; nobody is a principal without a role.
ALLOWED = {
    "me": EVERYBODY,
    "products": EVERYBODY,
    "releases": EVERYBODY,
    "product": set(ROLES),
    "release": set(ROLES),
    "verify": set(ROLES),
    "approve": {"data_steward"},
    "reject": {"data_steward"},
    "withdraw": {"data_steward"},
    "rollback": {"data_steward", "admin"},
    "build": ENGINEERS,
    "build_state": EVERYBODY,
    "query": READERS,
    # Their tokens here name no scope; who has one that does is in test_web_reveal.py.
    "reveal": set(),
    "checkpoint": OVERSEERS,
}
BY_NAME = {operation.name: operation for operation in OPERATIONS}
BODIES: dict[str, dict[str, Any]] = {
    "approve": {"base": None, "reason": "reviewed"},
    "reject": {"reason": "no"},
    "withdraw": {"reason": "no"},
    "rollback": {"leave": 1, "reason": "no"},
    "build": {"product": "healthcare"},
    "reveal": {"table": "patient_summary", "column": "patient_id", "purpose": "research"},
    "query": {"sql": "from patient_summary", "purpose": "research"},
}
# What stands in the way of whoever is allowed: no code is loaded, nothing is deployed, no such run.
PAST_THE_POLICY = {"rollback": 409, "build": 409, "build_state": 400, "query": 400}
DECISIONS = ("approve", "reject", "withdraw")


@pytest.fixture(scope="module")
def place(built_once: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A home whose release waits; nothing here decides on it."""
    copy = built_once.copy(tmp_path_factory.mktemp("api") / "built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECURE_PLATFORM_HOME", str(copy.home))
        patch.delenv("SECURE_PLATFORM_TOKEN_FILE", raising=False)
        with api(copy.services) as opened:
            yield opened


@pytest.fixture
def own(built: Built) -> Iterator[Api]:
    """A home of its own, to be changed."""
    with api(built.services) as opened:
        yield opened


def _digest(services: Services) -> str:
    return services.gate.list("healthcare")[-1].digest


def _ask(client: Client, operation: Operation, services: Services, **headers: str) -> Any:
    path = API + operation.path.format(
        product="healthcare", digest=_digest(services), run="6dd9b9a5-0000-4000-8000-000000000000"
    )
    body = {"json": BODIES[operation.name]} if operation.body else {}
    return client.request(operation.method, path, headers=headers, **body)


def test_every_operation_is_in_the_table() -> None:
    assert ALLOWED.keys() == BY_NAME.keys()
    assert BODIES.keys() == {operation.name for operation in OPERATIONS if operation.body}


@pytest.mark.parametrize("role", sorted(EVERYBODY))
def test_every_operation_serves_whom_the_table_says(role: str, place: Api) -> None:
    client = place.of(*({role} & ROLES), name=f"someone.{role}")
    for name, operation in BY_NAME.items():
        if name in DECISIONS and role in ALLOWED[name]:
            continue
        expected = PAST_THE_POLICY.get(name, operation.status) if role in ALLOWED[name] else 403
        answer = _ask(client, operation, place.services)
        assert (name, answer.status_code) == (name, expected), answer.text
        if expected == 403:
            assert answer.json()["kind"] == "AccessDeniedError"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_whoever_is_not_known_gets_no_answer_from_any_operation(operation: Operation, place: Api) -> None:
    for headers in ({}, {"Authorization": "Bearer spt_0000000000000000_" + "A" * 43}):
        answer = _ask(place.anonymous, operation, place.services, **headers)
        assert answer.status_code == 401
        assert "healthcare" not in answer.text
    assert place.anonymous.get(f"{API}/openapi.json").status_code == 401


@pytest.mark.parametrize("verb", DECISIONS)
def test_a_steward_decides_with_a_ticket(verb: str, own: Api) -> None:
    services, digest = own.services, _digest(own.services)
    answer = own.of("data_steward", name="stella").post(
        f"{API}/releases/{digest}/{verb}", json=BODIES[verb] | {"ticket": "CHG0030192"}
    )
    states = {"approve": "approved", "reject": "rejected", "withdraw": "withdrawn"}
    assert (answer.status_code, answer.json()["state"]) == (200, states[verb])
    (decision,) = services.gate.approvals(digest)
    assert (decision.principal, decision.reason.partition(": ")[0]) == ("stella", "CHG0030192")
    tickets = [entry.body for entry in services.audit.entries() if entry.body["action"] == "release.ticket"]
    assert [(body["subject"], body["detail"]) for body in tickets] == [
        (f"release:{digest}", {"ticket": "CHG0030192"})
    ]


@pytest.mark.parametrize("ticket", ["", "chg1", "CHG", "CHG 1", "A1\n", "<b>1</b>"])
def test_what_is_no_ticket_decides_nothing(ticket: str, place: Api) -> None:
    answer = place.of("data_steward").post(
        f"{API}/releases/{_digest(place.services)}/reject", json={"reason": "no", "ticket": ticket}
    )
    assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)


def test_what_was_seen_is_what_is_approved(own: Api) -> None:
    steward, digest = own.of("data_steward"), _digest(own.services)
    stale = {"base": "sha256:" + "0" * 64, "reason": "reviewed"}
    refused = steward.post(f"{API}/releases/{digest}/approve", json=stale)
    assert (refused.status_code, "changed since" in refused.json()["error"]) == (409, True)
    without = steward.post(f"{API}/releases/{digest}/approve", json={"reason": "reviewed"})
    assert (without.status_code, "base" in without.json()["error"]) == (400, True)
    unknown = steward.post(f"{API}/releases/sha256:{'0' * 64}/approve", json=BODIES["approve"])
    assert (unknown.status_code, unknown.json()["exit_code"]) == (409, 4)
    with own.services.database.read() as connection:
        assert connection.execute(approval_table.select()).all() == []


def test_the_requester_cannot_approve(own: Api) -> None:
    own.services.principals.change("dana", roles=("data_engineer", "data_steward"), actor="admin")
    refused = own.of(name="dana").post(
        f"{API}/releases/{_digest(own.services)}/approve", json=BODIES["approve"]
    )
    assert (refused.status_code, "forbid-self-approval" in refused.json()["error"]) == (403, True)


def test_a_token_does_what_its_scopes_say(place: Api) -> None:
    client = place.of("data_steward", "data_engineer", name="scoped", scopes=("release_read",))
    services = place.services
    assert _ask(client, BY_NAME["release"], services).status_code == 200
    for name in ("build", "approve", "query", "checkpoint", "rollback"):
        answer = _ask(client, BY_NAME[name], services)
        assert (name, answer.status_code) == (name, 403)
        assert "forbid-out-of-scope" in answer.json()["error"]


def test_production_is_read_for_a_purpose_and_audited_without_the_statement(own: Api, built: Built) -> None:
    built.approve()
    deploy(own.services, built.product)
    path, analyst = f"{API}/production/healthcare/query", own.of("analyst")
    sql = "select count(*) as n, date '2026-01-02' as d from patient_summary"
    plain = analyst.post(path, json={"sql": sql, "purpose": "research"}).json()
    assert (plain["columns"], plain["rows"][0][1]) == (["n", "d"], "2026-01-02")
    arrow = analyst.post(path, json={"sql": sql, "purpose": "research"}, headers={"Accept": ARROW})
    assert str(pl.read_ipc_stream(BytesIO(arrow.content)).schema["d"]) == "Date"
    for purpose in (None, "curiosity"):
        refused = analyst.post(path, json={"sql": sql, "purpose": purpose})
        assert (refused.status_code, "forbid-without-purpose" in refused.json()["error"]) == (403, True)
    entries = [entry.body for entry in own.services.audit.entries()]
    asked = [body for body in entries if body["action"] == "query.run" and body["phase"] == "intent"]
    assert [body["detail"]["purpose"] for body in asked] == ["research", "research"]
    assert "patient_summary" not in json.dumps(asked)


def test_a_rollback_leaves_the_release_that_was_seen(own: Api, built: Built) -> None:
    built.approve()
    deploy(own.services, built.product)
    answer = own.of("admin").post(f"{API}/products/healthcare/rollback", json={"leave": 1, "reason": "no"})
    assert (answer.status_code, "no earlier release" in answer.json()["error"]) == (409, True)


BAD = {
    "not JSON": b"{",
    "two values of one name": b'{"reason":"a","reason":"b"}',
    "a list": b"[]",
    "an unknown member": b'{"reason":"a","path":"/etc"}',
    "a number for a text": b'{"reason":1}',
    "nothing": b"",
    "not UTF-8": b"\xff\xfe",
    "NaN": b'{"reason":NaN}',
    "nested too deeply": b"[" * 100_000,
    "too long": b'{"reason":"' + b"a" * 300_000 + b'"}',
}


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_is_not_one_strict_object_is_refused(name: str, place: Api) -> None:
    answer = place.of("data_steward").post(
        f"{API}/releases/{_digest(place.services)}/reject",
        content=BAD[name],
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["kind"]) == (400, "UsageError")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x", "folder"])
def test_a_build_takes_no_path_from_its_caller(path: str, place: Api) -> None:
    engineer = place.of("data_engineer")
    for member in ("source", "run_config", "tags"):
        answer = engineer.post(f"{API}/builds", json={"product": "healthcare", member: path})
        assert (answer.status_code, member in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize("key", ["", "a" * 129, "a b", "schlüssel"])
def test_an_idempotency_key_is_short_and_printable(key: str, place: Api) -> None:
    answer = place.of("data_engineer").post(
        f"{API}/builds", json=BODIES["build"], headers=[(b"Idempotency-Key", key.encode())]
    )
    assert (answer.status_code, answer.json()["exit_code"]) == (400, 2)


def test_what_cannot_be_understood_says_only_its_class(place: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a cell of the data")

    client = place.of("auditor")
    monkeypatch.setattr("secure_platform.audit.log.AuditLog.checkpoint", fail)
    answer = client.get(f"{API}/audit/checkpoint")
    assert (answer.status_code, answer.json()["kind"]) == (500, "ValueError")
    assert "cell" not in answer.text


def test_a_page_of_another_site_asks_nothing(place: Api) -> None:
    steward = place.of("data_steward")
    path = f"{API}/releases/{_digest(place.services)}/reject"
    evil = {"Origin": "https://evil.example"}
    assert steward.post(path, json={"reason": "no"}, headers=evil).status_code == 403
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        answer = steward.post(path, content=b'{"reason":"no"}', headers={"Content-Type": content_type})
        assert answer.status_code == 415
    assert steward.get(path).status_code == 404


# ── the document ──


def test_the_document_is_what_is_served(place: Api) -> None:
    document = place.of("analyst").get(f"{API}/openapi.json").json()
    described = {
        (method.upper(), f"{API}{path}", operation["operationId"])
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described == {(each.method, API + each.path, each.name) for each in OPERATIONS}
    served = {route.path: route for route in routes(place.services)}
    others = {f"{API}/openapi.json", "/api/{path:path}"}
    assert served.keys() == {*others, *(path for _, path, _ in described)}
    assert {route.right for route in served.values()} == {AUTHENTICATED}
    assert document["openapi"] == "3.1.0"
    for name in document["components"]["schemas"]:
        jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", **document})


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_answers_have_the_form_that_the_document_says(operation: Operation, place: Api) -> None:
    document = place.of("analyst").get(f"{API}/openapi.json").json()
    client = place.of("analyst") if operation.name != "checkpoint" else place.of("auditor")
    answer = _ask(client, operation, place.services)
    described = document["paths"][operation.path][operation.method.lower()]["responses"]
    schema = described[str(answer.status_code)]["content"]["application/json"]["schema"]
    jsonschema_rs.validate({**schema, "components": document["components"]}, answer.json())


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
@given(
    operation=st.sampled_from(OPERATIONS),
    name=st.text(min_size=1, max_size=40),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: st.dictionaries(
                st.sampled_from(["product", "reason", "base", "sql", "limit", "purpose", "leave"]), inner
            ),
            max_leaves=8,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    query=st.dictionaries(st.sampled_from(["product", "after"]), st.text(max_size=20)),
)
def test_whatever_is_sent_the_server_never_fails(
    operation: Operation, name: str, body: bytes, query: dict[str, str], place: Api
) -> None:
    client = place.of("data_engineer", name="fuzz")
    path = API + operation.path.format(
        product=quote(name, safe=""), digest=quote(name, safe=""), run=quote(name, safe="")
    )
    headers = {"Content-Type": "application/json"}
    answer = client.request(operation.method, path, content=body, params=query, headers=headers)
    assert answer.status_code < 500
    if answer.headers["content-type"] == "application/json" and answer.status_code >= 400:
        assert answer.json()["error"]
