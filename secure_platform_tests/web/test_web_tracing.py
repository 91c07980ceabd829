"""Requests of those who are known are spans; nobody else decides where in a trace something stands.

What a request decides or reveals is below it; what it launches, and a deployment, are told as they arrive.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_support import API, Api, api
from bank_home import PRODUCT, STAFF, Bank, people
from otlp_receiver import Receiver, Seen, receiving
from waiting import wait_for

from secure_platform.homes import initialise
from secure_platform.orchestration.launch import run_deploy
from secure_platform.services import Services
from secure_platform.settings import load_settings
from secure_platform.site import TraceSettings

TRACE, SPAN = "a" * 32, "b" * 16
PARENT = {"traceparent": f"00-{TRACE}-{SPAN}-01"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Api, Receiver]]:
    settings = load_settings(home=tmp_path_factory.mktemp("tracing") / "home")
    initialise(settings)
    with receiving() as receiver:
        told = TraceSettings.model_validate({"url": receiver.inbox.url, "allow": ("127.0.0.0/8",)})
        with api(Services(settings.model_copy(update={"traces": told}))) as opened:
            yield opened, receiver


def flushed(place: Api, receiver: Receiver) -> Receiver:
    assert place.services.traces is not None
    place.services.traces.flush()
    return receiver


def arrived(place: Api, receiver: Receiver, *names: str, after: int = 0) -> list[Seen]:
    """What has arrived after the first ones, once spans of these names are among it."""

    def have() -> bool:
        return set(names) <= {each.name for each in flushed(place, receiver).spans[after:]}

    assert wait_for(have, 60), [each.name for each in receiver.spans[after:]]
    return receiver.spans[after:]


def test_a_known_caller_says_where_the_request_stands(site: tuple[Api, Receiver]) -> None:
    place, receiver = site
    digest = "sha256:" + "c" * 64
    asked = place.of("auditor", name="frida").get(f"/approvals/{digest}", headers=PARENT)
    assert asked.status_code == 409
    (only,) = [each for each in arrived(place, receiver, "GET /approvals/{digest}") if each.trace == TRACE]
    assert (only.parent, only.name) == (SPAN, "GET /approvals/{digest}")
    assert only.attributes == {"http.route": "/approvals/{digest}", "secure_platform.state": "409"}
    sent = b"".join(receiver.inbox.bodies)
    assert b"frida" not in sent
    assert digest.encode() not in sent


@pytest.mark.parametrize("path", ["/login", "/healthz", "/audit", "/graphql", "/nowhere"])
def test_of_somebody_unknown_nothing_is_noted(site: tuple[Api, Receiver], path: str) -> None:
    place, receiver = site
    unknown = {"traceparent": f"00-{'d' * 32}-{SPAN}-01"}
    place.anonymous.get(path, headers=unknown)
    assert not any(each.trace == "d" * 32 for each in flushed(place, receiver).spans)


def test_what_is_no_traceparent_begins_a_trace_of_its_own(site: tuple[Api, Receiver]) -> None:
    place, receiver = site
    forged = {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}
    before = len(flushed(place, receiver).spans)
    place.of("auditor").get("/audit", headers=forged)
    new = arrived(place, receiver, "GET /audit", after=before)
    assert [(each.name, each.parent) for each in new] == [("GET /audit", "")]
    assert new[0].trace != TRACE


def test_without_a_receiver_nothing_is_collected(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home")
    initialise(settings)
    assert Services(settings).traces is None


def named(seen: list[Seen], name: str) -> Seen:
    (only,) = [each for each in seen if each.name == name]
    return only


def asked(place: Api, who: str, path: str, body: dict[str, object], *scopes: str) -> None:
    answer = place.of(*STAFF[who], name=who, scopes=scopes).post(f"{API}{path}", json=body, headers=PARENT)
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
def test_deciding_deploying_and_revealing_are_seen_where_they_belong(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving() as receiver:
        told = {"url": receiver.inbox.url, "allow": ["127.0.0.0/8"]}
        monkeypatch.setenv("SECURE_PLATFORM_TRACES", json.dumps(told))
        digest = bank.services.gate.list(PRODUCT)[-1].digest
        with api(bank.services) as place:
            asked(place, "sam", f"/releases/{digest}/approve", {"base": None, "reason": "Given7 agreed"})
            decided = arrived(place, receiver, "gate", f"POST {API}/releases/{{digest}}/approve")
            report = run_deploy(bank.settings, bank.services.product(PRODUCT), listener=lambda _: None)
            before = len(decided)
            deployed = arrived(place, receiver, "deploy", "compare", f"run {PRODUCT}_deploy", after=before)
            body: dict[str, object] = {"table": "accounts", "column": "login", "purpose": "fraud"}
            asked(place, "petra", f"/products/{PRODUCT}/reveal", body, f"data_reveal:{PRODUCT}")
            before += len(deployed)
            asking = f"POST {API}/products/{{product}}/reveal"
            revealed = arrived(place, receiver, "reveal", asking, after=before)
        sent = b"".join(receiver.inbox.bodies)
    assert report.succeeded
    of_product = {"secure_platform.product": PRODUCT}
    for seen, stage in ((decided, "gate"), (revealed, "reveal")):
        request = next(each for each in seen if each.parent == SPAN)
        done = named(seen, stage)
        assert {each.trace for each in seen} == {TRACE}
        assert (done.parent, done.attributes, done.failed) == (request.span, of_product, False)
    run, step = named(deployed, f"run {PRODUCT}_deploy"), named(deployed, "step")
    assert run.parent == ""
    assert {each.trace for each in deployed} == {run.trace}
    assert step.parent == run.span
    for stage in ("deploy", "compare"):
        assert named(deployed, stage).parent == step.span
    secret = [*STAFF, digest, *people()["login"], *people()["name"], "Given7", "fraud", "v_"]
    assert not [text for text in secret if text.encode() in sent]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["reject", "withdraw"])
def test_closing_a_release_is_a_decision_too(bank: Bank, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        told = {"url": receiver.inbox.url, "allow": ["127.0.0.0/8"]}
        monkeypatch.setenv("SECURE_PLATFORM_TRACES", json.dumps(told))
        digest = bank.services.gate.list(PRODUCT)[-1].digest
        with api(bank.services) as place:
            asked(place, "sam", f"/releases/{digest}/{verb}", {"reason": "wrong"})
            seen = arrived(place, receiver, "gate")
    assert named(seen, "gate").attributes == {"secure_platform.product": PRODUCT}
