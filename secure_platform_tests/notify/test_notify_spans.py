"""Spans arrive as OTLP, say nothing but what they may, and stop nobody."""

import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loopback_servers import raw_server
from notify_support import SECRETS
from otlp_receiver import Receiver, receiving

from secure_platform.notify import spans as spans_module
from secure_platform.notify.spans import MOST, WAIT_SECONDS, About, Place, Traces, begun, current, stage
from secure_platform.site import TraceSettings

MARGIN_SECONDS = 3.0
IDS = st.tuples(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


def traces_to(url: str, **given: object) -> Traces:
    settings = TraceSettings.model_validate({"url": url, "allow": ("127.0.0.0/8",), **given})
    return Traces(settings, lambda: SECRETS, environment="test")


def test_stages_stand_below_what_they_are_stages_of(receiver: Receiver) -> None:
    traces = traces_to(receiver.inbox.url)
    with traces.root("step", About("shop", "orders", "raw")) as outer:
        with stage("validate"):
            pass
        outer.rows = 7
    inner, step = receiver.spans
    assert (step.name, step.parent, inner.parent) == ("step", "", step.span)
    assert step.trace == inner.trace
    assert step.attributes == {
        "secure_platform.product": "shop",
        "secure_platform.dataset": "orders",
        "secure_platform.zone": "raw",
        "secure_platform.rows": 7,
    }
    ((_, headers, _),) = receiver.inbox.received
    assert headers["content-type"] == "application/x-protobuf"


def test_a_stage_of_nothing_is_nothing(receiver: Receiver) -> None:
    with stage("scan") as nothing, begun(None, "gate", About()):
        assert nothing is None
        assert current() is None
    assert receiver.spans == []


def test_of_an_error_only_its_class_is_told(receiver: Receiver) -> None:
    traces = traces_to(receiver.inbox.url)
    with pytest.raises(ValueError, match="999-12-3456"), traces.root("step", About("shop")):
        raise ValueError("999-12-3456")
    assert current() is None
    (only,) = receiver.spans
    assert only.failed
    assert only.attributes["error.type"] == "ValueError"
    assert not any(b"999-12" in body for body in receiver.inbox.bodies)


def test_what_a_span_can_say_is_spelled_out() -> None:
    said = {"product", "dataset", "zone", "rows", "state", "route", "error"}
    assert {each.name for each in fields(About)} == said
    with pytest.raises(TypeError):
        About(value="x")  # type: ignore[call-arg]


def test_a_receiver_that_hangs_holds_a_step_up_once_and_not_for_long() -> None:
    release = threading.Event()

    def hang(connection: socket.socket) -> None:
        connection.recv(1)
        release.wait(60)

    with raw_server(hang) as url:
        traces = traces_to(url)
        began = time.monotonic()
        for _ in range(20):
            with traces.root("step", About("shop")):
                pass
        taken = time.monotonic() - began
        release.set()
    assert taken < WAIT_SECONDS + MARGIN_SECONDS


@pytest.mark.parametrize("status", [404, 500])
def test_what_did_not_arrive_is_sent_when_the_receiver_is_back(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans_module, "PAUSE_SECONDS", 0.0)
    with receiving(status=status) as broken:
        traces = traces_to(broken.inbox.url)
        with traces.root("first", About()):
            pass
        assert len(broken.spans) == 1
    with receiving() as back:
        object.__setattr__(traces._settings, "url", back.inbox.url)
        with traces.root("second", About()):
            pass
        assert [each.name for each in back.spans] == ["first", "second"]
        traces.flush()
        assert len(back.spans) == 2


def test_memory_is_bounded_while_nobody_takes_anything() -> None:
    traces = traces_to("http://127.0.0.1:1/")
    for _ in range(MOST + 10):
        with traces.root("step", About(), send=False):
            pass
    assert len(traces._waiting) == MOST


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/v1/traces", "http://93.184.215.14/v1/traces", "ftp://x/"]
)
def test_it_reaches_nothing_that_a_channel_may_not(url: str, caplog: pytest.LogCaptureFixture) -> None:
    traces = traces_to(url, allow=())
    with traces.root("step", About("shop")):
        pass
    assert len(traces._waiting) == 1
    assert "did not arrive" in caplog.text


def test_the_token_is_sent(receiver: Receiver, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("t0k3n\n")
    path.chmod(0o600)
    with traces_to(receiver.inbox.url, secret=f"secret://file/{path}").root("step", About()):
        pass
    ((_, headers, _),) = receiver.inbox.received
    assert headers["authorization"] == "Bearer t0k3n"


def test_without_the_packages_of_the_extra_it_is_said_once_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    traces = traces_to("http://127.0.0.1:1/")
    for _ in range(3):
        with traces.root("step", About("shop")), stage("scan"):
            pass
    assert caplog.text.count("secure-platform[otel]") == 1


@given(IDS)
def test_a_traceparent_reads_as_it_was_written(ids: tuple[int, int]) -> None:
    place = Place(*ids)
    assert Place.parse(str(place)) == place


@given(st.text() | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{30,33}-[0-9a-f]{15,17}-[0-9a-f]{2}\n?"))
def test_what_is_no_traceparent_is_none(text: str) -> None:
    found = Place.parse(text)
    assert found is None or (found.trace and found.span and text.startswith(str(found)[:-3]))


def test_zeros_and_other_versions_are_no_place() -> None:
    assert Place.parse(f"00-{0:032x}-{1:016x}-01") is None
    assert Place.parse(f"00-{1:032x}-{0:016x}-01") is None
    assert Place.parse(f"ff-{1:032x}-{1:016x}-01") is None
    assert Place.parse(f"00-{1:032x}-{1:016x}-01\n") is None
    assert Place.parse(None) is None


def test_every_process_computes_the_same_place_for_a_run() -> None:
    place = Place.of_run("r1", None)
    assert place == Place.of_run("r1", None) != Place.of_run("r2", None)
    asked = Place(5, 6)
    assert Place.of_run("r1", asked) == Place(5, place.span)
