"""What is done, when and for how long, as OpenTelemetry spans, sent by OTLP over HTTP.

A span names product, dataset, zone, rows, state, route and the class of an error; there is no way to give it
more. Its name comes from the code, so it contains no value and no person. Without a collector, a span costs
one look at a variable. Finished spans wait in memory, at most `MOST` of them, and the oldest are dropped
first. Sending takes a caller at most `WAIT_SECONDS`, and after a failure nobody tries again for
`PAUSE_SECONDS`. Failures here are never raised.

A trace takes its id from the Dagster run, unless whoever requested the run supplied one. A run and its steps
are separate processes, so span ids that others refer to are computed from what all of them know.
"""

import hashlib
import logging
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from secure_platform.keys.secrets.resolver import Secrets
from secure_platform.notify.post import post
from secure_platform.site import TraceSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

MOST: Final = 4096
WAIT_SECONDS: Final = 2.0
PAUSE_SECONDS: Final = 60.0
SERVICE: Final = "secure-platform"
_TRACE_BITS: Final = 128
_SPAN_BITS: Final = 64
_PARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where in a trace something happens; W3C Trace Context, level 1."""

    trace: int
    span: int

    @classmethod
    def parse(cls, text: str | None) -> "Place | None":
        """Read a `traceparent`; None if it is none."""
        found = _PARENT.fullmatch(text or "")
        place = cls(int(found[1], 16), int(found[2], 16)) if found else None
        return place if place and place.trace and place.span else None

    @classmethod
    def of_run(cls, run_id: str, parent: "Place | None") -> "Place":
        """The span of a run, whichever process asks."""
        return cls(parent.trace if parent else _computed(run_id, _TRACE_BITS), _computed(run_id, _SPAN_BITS))

    def __str__(self) -> str:
        """As a `traceparent`."""
        return f"00-{self.trace:032x}-{self.span:016x}-01"


@dataclass(frozen=True)
class About:
    """What a span says; nothing else can be said.

    Attributes:
        state: How it ended: of a run, a release, or an HTTP status.
        route: Of a web request, as the code names it: without what fills it.
        error: Class of the error.
    """

    product: str | None = None
    dataset: str | None = None
    zone: str | None = None
    rows: int | None = None
    state: str | None = None
    route: str | None = None
    error: str | None = None

    def attributes(self) -> dict[str, str | int]:
        """By OpenTelemetry's names where it has one."""
        known = {
            "secure_platform.product": self.product,
            "secure_platform.dataset": self.dataset,
            "secure_platform.zone": self.zone,
            "secure_platform.rows": self.rows,
            "secure_platform.state": self.state,
            "http.route": self.route,
            "error.type": self.error,
        }
        return {name: value for name, value in known.items() if value is not None}


@dataclass
class Span:
    """A span that has begun; rows and state may be known only at its end."""

    traces: "Traces"
    place: Place
    rows: int | None = None
    state: str | None = None


_CURRENT: ContextVar[Span | None] = ContextVar("span", default=None)


class Traces:
    """The spans of one process for one receiver.

    Args:
        settings: Where they go.
        secrets: Where the receiver's token is.
        environment: Where this runs.
    """

    def __init__(self, settings: TraceSettings, secrets: Callable[[], Secrets], *, environment: str) -> None:
        self._settings = settings
        self._secrets = secrets
        self._environment = environment
        self._waiting: deque[ReadableSpan] = deque(maxlen=MOST)
        self._sending: threading.Thread | None = None
        self._lock = threading.Lock()
        self._not_before = 0.0
        self._complained = False

    @contextmanager
    def root(
        self, name: str, about: About, parent: Place | None = None, *, send: bool = True
    ) -> Iterator[Span]:
        """A span below one of another process, or below none.

        Args:
            name: Of what is done.
            about: What it is done to.
            parent: In another process; None where a trace begins, unless a span is open here.
            send: Whether what is collected is sent when it ends; else somebody else calls `flush`.
        """
        here = _CURRENT.get()
        above = parent or (here.place if here else None)
        try:
            with self._span(name, about, above) as span:
                yield span
        finally:
            if send and here is None:
                self.flush()

    def run(
        self, name: str, about: About, place: Place, parent: Place | None, when: tuple[float, float]
    ) -> None:
        """Note a run that has ended, and send what is collected.

        Args:
            name: Of its job.
            about: What it was.
            place: Of its own span.
            parent: Of who asked for it.
            when: Begin and end, seconds since 1970.
        """
        self._note(name, about, place, parent, (_nanoseconds(when[0]), _nanoseconds(when[1])))
        self.flush()

    def flush(self) -> None:
        """Send what is collected, and wait for it a little; what did not arrive stays for the next time."""
        with self._lock:
            busy = self._sending is not None and self._sending.is_alive()
            if busy or not self._waiting or time.monotonic() < self._not_before:
                return
            # Until it has arrived it counts as failed.
            self._not_before = time.monotonic() + PAUSE_SECONDS
            self._sending = threading.Thread(target=self._send, name="traces", daemon=True)
            self._sending.start()
            sending = self._sending
        sending.join(WAIT_SECONDS)

    @contextmanager
    def _span(self, name: str, about: About, parent: Place | None) -> Iterator[Span]:
        trace = parent.trace if parent else secrets.randbits(_TRACE_BITS) | 1
        span = Span(self, Place(trace, secrets.randbits(_SPAN_BITS) | 1))
        token, begin = _CURRENT.set(span), time.time_ns()
        error: str | None = None
        try:
            yield span
        except BaseException as problem:
            error = type(problem).__name__
            raise
        finally:
            # A generator may be closed in another context than it was begun in.
            if _CURRENT.get() is span:
                _CURRENT.set(token.old_value if token.old_value is not token.MISSING else None)
            told = About(
                **{**vars(about), "rows": span.rows, "state": span.state or about.state, "error": error}
            )
            self._note(name, told, span.place, parent, (begin, time.time_ns()))

    def _note(
        self, name: str, about: About, place: Place, parent: Place | None, when: tuple[int, int]
    ) -> None:
        try:
            self._waiting.append(_readable(name, about, place, parent, when, self._environment))
        except ImportError:
            if self._complained:
                return
            self._complained = True
            _complain("traces need the packages of the extra `otel`: pip install 'secure-platform[otel]'")

    def _send(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.common.trace_encoder import (  # noqa: PLC0415 - optional
                encode_spans,
            )

            spans = list(self._waiting)
            post(self._settings, self._settings.url, encode_spans(spans).SerializeToString(), self._headers())
        except Exception as error:  # noqa: BLE001 - see the module's rule
            _complain(f"they did not arrive: {type(error).__name__}")
            return
        sent = set(map(id, spans))
        # More may have come meanwhile, and pushed out some of these.
        while self._waiting and id(self._waiting[0]) in sent:
            self._waiting.popleft()
        self._not_before = 0.0

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/x-protobuf"}
        if self._settings.secret is not None:
            headers["Authorization"] = f"Bearer {self._secrets().get(self._settings.secret).line.strip()}"
        return headers


def begun(traces: Traces | None, name: str, about: About) -> AbstractContextManager[object]:
    """A span below the one that is open here, else at the begin of a trace, if anybody collects one.

    Args:
        traces: Who collects.
        name: Of what is done.
        about: What it is done to.
    """
    return nullcontext() if traces is None else traces.root(name, about)


@contextmanager
def stage(name: str) -> Iterator[Span | None]:
    """A span below the one that is open here; nothing where none is.

    Args:
        name: Of what is done.
    """
    above = _CURRENT.get()
    if above is None:
        yield None
        return
    with above.traces._span(name, About(), above.place) as span:  # noqa: SLF001 - one class, told apart for callers
        yield span


def current() -> Place | None:
    """Where we are; None if no span is open here."""
    span = _CURRENT.get()
    return span.place if span else None


def _computed(run_id: str, bits: int) -> int:
    digest = hashlib.sha256(f"{bits}/{run_id}".encode()).digest()
    return int.from_bytes(digest[: bits // 8]) | 1


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


def _readable(
    name: str, about: About, place: Place, parent: Place | None, when: tuple[int, int], environment: str
) -> "ReadableSpan":
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

    said: dict[str, Any] = {"service.name": SERVICE, "deployment.environment.name": environment}
    return ReadableSpan(
        name,
        context=_context(place),
        parent=_context(parent) if parent else None,
        resource=Resource(said),
        attributes=about.attributes(),
        status=Status(StatusCode.ERROR if about.error else StatusCode.OK),
        start_time=when[0],
        end_time=when[1],
        instrumentation_scope=InstrumentationScope(SERVICE),
    )


def _context(place: Place) -> "SpanContext":
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415 - optional

    return SpanContext(place.trace, place.span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _complain(why: str) -> None:
    _logger.warning("No traces are sent; %s", why)
