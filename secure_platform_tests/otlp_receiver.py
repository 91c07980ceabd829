"""A receiver of OTLP over HTTP on loopback that decodes what it is sent, and keeps it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from loopback_servers import Inbox, http_server
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Seen:
    """A span as it arrived."""

    name: str
    trace: str
    span: str
    parent: str
    attributes: dict[str, Any]
    failed: bool
    seconds: float


@dataclass(frozen=True)
class Receiver:
    """What arrived."""

    inbox: Inbox

    @property
    def spans(self) -> list[Seen]:
        return [seen for body in self.inbox.bodies for seen in _decoded(body)]


def _decoded(body: bytes) -> Iterator[Seen]:
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                told = {each.key: _value(each.value) for each in span.attributes}
                yield Seen(
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    told,
                    span.status.code == 2,
                    (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
                )


def _value(value: Any) -> Any:
    return getattr(value, value.WhichOneof("value"))


@contextmanager
def receiving(status: int = 200) -> Iterator[Receiver]:
    """A receiver that gives everybody the same answer."""
    with http_server(status=status) as inbox:
        yield Receiver(inbox)
