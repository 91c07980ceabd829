"""By month, what was promised about deliveries and what was kept of it; to read, or as CSV."""

from itertools import groupby

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.control.database import utc_now
from secure_platform.orchestration.steps.sla import COLUMNS, sla_report, sla_rows
from secure_platform.services import Services
from secure_platform.spreadsheet import csv_text
from secure_platform.web.pages.desk import download
from secure_platform.web.pages.watching import Watching
from secure_platform.web.routes import OwnRoute


class Promises(Watching):
    """The SLA report of a product."""

    def report(self, request: Request) -> Response:
        """The last twelve months, the newest first."""
        product = self.services.product(request.path_params["product"])
        self.require_read(request, product.name)
        found = sla_report(self.services, product, utc_now())
        months = groupby(sla_rows(found), key=lambda row: row["month"])
        return self.show(
            request,
            "sla.html",
            product=product.name,
            promises=[each for each in found if each.dataset is not None],
            months=[(month, list(rows)) for month, rows in months],
        )

    def csv(self, request: Request) -> Response:
        """The same as a file."""
        product = self.services.product(request.path_params["product"])
        self.require_read(request, product.name)
        rows = sla_rows(sla_report(self.services, product, utc_now()))
        text = csv_text(COLUMNS, [tuple(row.values()) for row in rows])
        return download(text.encode(), f"sla-{product.name}.csv", "text/csv")


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Promises(services)
    return [
        room.get("/observability/{product}/sla", room.report, Action.INCIDENT_READ),
        room.get("/observability/{product}/sla.csv", room.csv, Action.INCIDENT_READ),
    ]
