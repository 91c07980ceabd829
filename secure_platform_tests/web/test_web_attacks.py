"""What an attacker tries on the whole server: odd paths, odd documents, odd bodies, and what is nested."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.load_target import PythonFileTarget
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.types import Message, Scope
from web_login import BASE, admin_token, bearer, logged_in, person, web_app
from web_support import Client

from secure_platform.homes import initialise
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.site import ProxySettings, ServerSettings, TlsSettings
from secure_platform.web.guard import FORM, JSON, MOST_BODY_BYTES

PROXY = ProxySettings(addresses=("10.0.0.0/8",))
BEHIND = ServerSettings(host="0.0.0.0", url="https://data.example.org/platform", proxy=PROXY)  # noqa: S104
TLS = TlsSettings(certificate=Path("c.pem"), key=Path("k.pem"))
CHANGE = 'setConcurrencyLimit(concurrencyKey:"x",limit:1)'
PUBLIC = {"/healthz", "/readyz", "/login", "/setup"}


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Services:
    found = load_settings(home=tmp_path_factory.mktemp("attacks") / "home")
    initialise(found)
    return Services(found)


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp() as opened:
        yield opened


@pytest.fixture(scope="module")
def app(services: Services, instance: dg.DagsterInstance) -> Iterator[Starlette]:
    with web_app(services, instance) as served:
        yield served


@pytest.fixture(scope="module")
def admin(services: Services, app: Starlette) -> Client:
    return Client(app, BASE, admin_token(services.settings))


def status_of(app: Starlette, path: str, *, method: str = "GET", **headers: str) -> int:
    """The status of a request whose path reaches the application exactly as written."""
    sent: list[Message] = []
    named = {"host": "127.0.0.1:3000"} | {name.replace("_", "-"): text for name, text in headers.items()}
    scope: Scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "client": ("127.0.0.1", 5),
        "server": ("127.0.0.1", 3000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named.items()],
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "path",
    [
        *(
            "//graphql",
            "/graphql/",
            "/./graphql",
            "/GRAPHQL",
            "/graphql;a=b",
            "/graphql%00",
            "/%67raphql",
            "",
        ),
        *("", "/healthz/", "/healthz/../graphql", "/healthz;/graphql", "//healthz", "/HEALTHZ", "/healthz/x"),
        *("/login/../graphql", "/login/x", "/platform-static/../graphql", "/platform-static/../../server.py"),
        *("/platform-static/", "/platform-static", "/platform-static//etc/passwd", "\\graphql", "*", "/.."),
        *("/_next/../../../../etc/passwd", "/vendor/..", "/favicon.png", "/index.html", "/server_info"),
    ],
)
def test_no_way_of_writing_a_path_leads_anybody_past_the_login(path: str, app: Starlette) -> None:
    assert status_of(app, path) in {401, 404}


@pytest.mark.parametrize("name", ["..", "../server.py", "platform.css/..", "%2e%2e", ".", "x", ""])
def test_a_static_file_is_one_of_ours_or_none(name: str, app: Starlette, admin: Client) -> None:
    assert status_of(app, f"/platform-static/{name}") in {401, 404}
    assert admin.get("/platform-static/platform.css").status_code == 200


@pytest.mark.parametrize(
    ("document", "word"),
    [
        ("{" + " ".join(f"a{n}: version" for n in range(41)) + "}", "roots"),
        ("{instance{daemonHealth{" + " ".join(f"a{n}: id" for n in range(5001)) + "}}}", "fields"),
        ("query{...F} fragment F on Query{...F}", "itself"),
        ("{__schema{types" + "{fields{type" * 20 + "{name}" + "}}" * 20 + "}}", "levels"),
        (f"mutation{{a: {CHANGE} b: {CHANGE}}}", "roots"),
        (
            f"mutation{{...F ...G}} fragment F on Mutation{{{CHANGE}}} fragment G on Mutation{{a: {CHANGE}}}",
            "roots",
        ),
        ("{a" * 4000 + "}" * 4000, ""),
        (
            "query{...F0}"
            + "".join(f" fragment F{n} on Query{{...F{n + 1}}}" for n in range(3000))
            + " fragment F3000 on Query{version}",
            "",
        ),
        ("{version}" + "#" * 100_001, ""),
    ],
)
def test_a_document_that_asks_for_too_much_is_refused_before_it_runs(
    document: str, word: str, admin: Client, services: Services
) -> None:
    before = services.audit.size()
    answer = admin.post("/graphql", json={"query": document})
    assert answer.status_code == 400
    assert word in answer.text
    assert services.audit.size() == before


def test_fragments_that_double_each_other_are_counted_written_out(admin: Client) -> None:
    layers = [
        f"fragment F{n} on Instance{{a: daemonHealth{{id}} ...F{n + 1} ...F{n + 1}}}" for n in range(30)
    ]
    document = "{instance{...F0}} " + " ".join(layers) + " fragment F30 on Instance{id}"
    assert "fields" in admin.post("/graphql", json={"query": document}).text


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b'[{"query":"{version}"}]',
        b"1",
        b"null",
        b'"x"',
        b"{",
        b"\xff",
        b"[" * 90_000,
        b'{"query":1}',
        b'{"query":"{version}","variables":[]}',
        b'{"query":"{version}","operationName":1}',
        b"{}",
    ],
)
def test_a_body_that_is_no_request_is_refused(body: bytes, admin: Client) -> None:
    answer = admin.post("/graphql", content=body, headers={"Content-Type": JSON})
    assert answer.status_code == 400


def test_a_body_has_an_end(app: Starlette, admin: Client) -> None:
    long = b"x" * (MOST_BODY_BYTES + 1)
    for headers in ({}, admin_headers(admin)):
        answer = Client(app, BASE, headers).post("/graphql", content=long, headers={"Content-Type": JSON})
        assert answer.status_code == 413


def admin_headers(client: Client) -> dict[str, str]:
    return dict(client._headers)


def test_introspection_is_for_those_who_have_logged_in(app: Starlette, admin: Client) -> None:
    query = {"query": "{__schema{queryType{name}}}"}
    assert admin.post("/graphql", json=query).status_code == 200
    assert Client(app, BASE).post("/graphql", json=query).status_code == 401


def test_what_is_nested_is_guarded_like_what_is_not(
    services: Services, instance: dg.DagsterInstance, app: Starlette
) -> None:
    key = dg.AssetKey(["healthcare", "raw", "patients"])
    dg.materialize([dg.asset(key=key)(lambda: None)], instance=instance)
    query = """{ assetOrError(assetKey: {path: ["healthcare", "raw", "patients"]}) { ... on Asset {
        assetMaterializations { runId runOrError { __typename ... on Run { runConfigYaml eventConnection {
            events { __typename } } } } } } }
        assetsLatestInfo(assetKeys: [{path: ["healthcare", "raw", "patients"]}]) { latestRun { id } }
        instance { daemonHealth { allDaemonStatuses { lastHeartbeatErrors { message } } } } }"""
    seen = {}
    for role in ("analyst", "auditor"):
        client = Client(app, BASE, logged_in(services, person(services, role)))
        seen[role] = client.post("/graphql", json={"query": query}).json()["data"]["assetOrError"]
    analyst, auditor = (seen[role]["assetMaterializations"][0]["runOrError"] for role in seen)
    assert analyst == {"__typename": "PythonError"}
    assert auditor["__typename"] == "Run"
    assert auditor["eventConnection"]["events"]


def test_a_program_with_a_narrow_token_sends_no_forms(services: Services, app: Starlette) -> None:
    dana = person(services, "data_engineer")
    services.sessions.open(dana, method="password", address=None)
    token = bearer(services, dana, "build:healthcare")
    shown = Client(app, BASE, token).get("/account")
    csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', shown.text)
    assert csrf
    cookie = shown.headers["set-cookie"].partition(";")[0]
    program = Client(app, BASE, {**token, "Cookie": cookie, "Origin": BASE})
    answer = program.post("/account/sessions", data={"csrf": csrf[1], "others": "1"})
    assert (answer.status_code, "A program sends no forms" in answer.text) == (403, True)
    assert len(services.sessions.list(dana.name)) == 1


@pytest.mark.parametrize(
    "path", ["/graphql?query={version}", "/server_info", "/approvals", "/healthz", "/no"]
)
def test_what_is_answered_is_kept_by_nobody(path: str, admin: Client) -> None:
    assert admin.get(path).headers["cache-control"] == "no-store"


@pytest.mark.filterwarnings("ignore:Error loading repository location")
def test_the_code_lines_of_an_error_are_for_those_who_read_runs(
    services: Services, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    (tmp_path / "broken.py").write_text("raise ValueError\n")
    broken = PythonFileTarget(str(tmp_path / "broken.py"), None, None, "here")
    query = """{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError {
        ... on PythonError { stack causes { stack } errorChain { error { stack } } } } } } } }"""
    seen = {}
    with web_app(services, instance, workspace=broken) as served:
        for role in ("analyst", "auditor"):
            client = Client(served, BASE, logged_in(services, person(services, role)))
            seen[role] = client.post("/graphql", json={"query": query}).text
    assert "broken.py" not in seen["analyst"]
    assert "broken.py" in seen["auditor"]


def test_the_dump_of_a_run_is_for_those_who_read_runs_and_recorded(
    services: Services, instance: dg.DagsterInstance, app: Starlette
) -> None:
    run = dg.materialize([dg.asset(name="dumped")(lambda: None)], instance=instance).run_id
    analyst, auditor = (
        Client(app, BASE, logged_in(services, person(services, role))) for role in ("analyst", "auditor")
    )
    assert analyst.get(f"/download_debug/{run}").status_code == 403
    before = services.audit.size()
    assert auditor.get(f"/download_debug/{run}").status_code == 200
    (entry,) = [entry.body for entry in services.audit.entries(before)]
    assert (entry["action"], entry["subject"]) == ("run.download", f"run:{run}")
    assert auditor.get("/download_debug/none").status_code == 404


ODD = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20)
PATHS = st.one_of(
    ODD.map(lambda text: "/" + text),
    st.sampled_from(
        [
            "/graphql",
            "/approvals/",
            "/releases/",
            "/audit/",
            "/data-map/",
            "/account",
            "/access/",
            "/login",
            "/setup",
            "/mfa",
            "/platform-static/",
            "/download_debug/",
            "/_next/",
            "/api/v1/",
        ]
    ).flatmap(lambda path: ODD.map(lambda text: path + text)),
)


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=PATHS,
    method=st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"]),
    media=st.sampled_from([JSON, FORM, "text/plain", ""]),
    who=st.sampled_from(["admin", "nobody"]),
)
def test_nothing_that_is_sent_fails_the_server_or_passes_the_login(
    path: str, method: str, media: str, who: str, app: Starlette, admin: Client
) -> None:
    headers = {"content_type": media, "origin": BASE}
    if who == "admin":
        headers |= {name.lower(): value for name, value in admin._headers.items()}
    status = status_of(app, path, method=method, **headers)
    assert status < 500 or path == "/readyz"
    if who == "nobody" and status < 400:
        assert path in PUBLIC or path.startswith("/platform-static/")
