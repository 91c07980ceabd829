"""Requests of those who are known are spans; nobody else decides where in a trace something stands."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from api_support import Api, api
from otlp_receiver import Receiver, receiving

from secure_platform.homes import initialise
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


def test_a_known_caller_says_where_the_request_stands(site: tuple[Api, Receiver]) -> None:
    place, receiver = site
    digest = "sha256:" + "c" * 64
    asked = place.of("auditor", name="frida").get(f"/approvals/{digest}", headers=PARENT)
    assert asked.status_code == 409
    (only,) = [each for each in flushed(place, receiver).spans if each.trace == TRACE]
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
    new = flushed(place, receiver).spans[before:]
    assert [(each.name, each.parent) for each in new] == [("GET /audit", "")]
    assert new[0].trace != TRACE


def test_without_a_receiver_nothing_is_collected(tmp_path: Path) -> None:
    settings = load_settings(home=tmp_path / "home")
    initialise(settings)
    assert Services(settings).traces is None
