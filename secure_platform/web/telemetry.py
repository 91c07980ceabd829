"""Prometheus scrapes `/metrics` with a token: no address is trusted, and who has no right gets nothing."""

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from secure_platform.access.resources import Action
from secure_platform.orchestration.exposition import exposition
from secure_platform.orchestration.tally import tally_of
from secure_platform.orchestration.telemetry import measure
from secure_platform.services import Services
from secure_platform.web.permissions import process_context
from secure_platform.web.routes import OwnRoute

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def routes(services: Services) -> list[OwnRoute]:
    """What is scraped."""
    tally = tally_of(services)

    def metrics(request: Request) -> Response:
        tally.count()
        families = measure(services, process_context(request).instance, tally)
        return PlainTextResponse(exposition(families), media_type=MEDIA_TYPE)

    return [OwnRoute("/metrics", metrics, right=Action.METRICS_READ)]
