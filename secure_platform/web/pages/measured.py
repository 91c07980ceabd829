"""What was measured of a dataset in a zone: every course, and its distributions beside what they were.

The newest snapshot is shown, or an earlier one as it was seen then: an incident leads to the snapshot that it
is about.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from secure_platform.access.resources import Action
from secure_platform.errors import UsageError
from secure_platform.monitor.anomaly import UNUSUAL
from secure_platform.monitor.distribution import add, drift
from secure_platform.monitor.history import REFERENCE, Record
from secure_platform.monitor.watch import compared, is_numeric
from secure_platform.orchestration.steps.observe import JUDGING
from secure_platform.orchestration.steps.production import recorded_places
from secure_platform.services import Services
from secure_platform.web import courses
from secure_platform.web.courses import POINTS, Course, course
from secure_platform.web.drift_plots import AXIS, HEIGHT, WIDTH, DriftPlot, drift_plot
from secure_platform.web.pages.watching import Watching
from secure_platform.web.routes import OwnRoute

MOST: Final = 200
"""Courses of one page."""
DRIFT: Final = "drift:"


@dataclass(frozen=True)
class Said:
    """What was said of a metric that stands out.

    Attributes:
        note: Names and distances, never a value of the data.
        course: None of what is no number over time.
    """

    metric: str
    state: str
    note: str
    course: Course | None


class Measured(Watching):
    """One dataset in one zone."""

    def dataset(self, request: Request) -> Response:
        """Courses and distributions of a snapshot."""
        product = self.services.product(request.path_params["product"])
        self.require_read(request, product.name)
        zone, dataset = request.path_params["zone"], request.path_params["dataset"]
        if (zone, dataset) not in recorded_places(product):
            raise UsageError(
                f"{product.name} has no such dataset in such a zone", "Follow a link of its page."
            )
        asked = self._asked(request, (product.name, zone, dataset))
        records = self.services.metrics.before(
            product.name, dataset, zone, until=asked.recorded_at if asked else None, limit=POINTS
        )
        return self.show(
            request,
            "measured.html",
            product=product.name,
            place=f"{zone}/{dataset}",
            earlier=asked is not None,
            record=records[-1] if records else None,
            sizes={"width": courses.WIDTH, "height": courses.HEIGHT},
            plot={"width": WIDTH, "height": HEIGHT, "axis": AXIS, "reference": REFERENCE},
            **self._seen(product.name, records),
        )

    def _asked(self, request: Request, place: tuple[str, str, str]) -> Record | None:
        """The snapshot that is named, if it is of this place."""
        found = self.services.metrics.find(request.query_params.get("snapshot", ""))
        known = found is not None and (found.product, found.zone, found.dataset) == place
        return found if known else None

    def _seen(self, product: str, records: Sequence[Record]) -> dict[str, Any]:
        if not records:
            return {"said": [], "usual": [], "more": 0, "drifts": []}
        said = list(_said(records))
        told = {each.metric for each in said}
        others = [name for name in _in_order(records[-1]) if name not in told]
        drawn = [found for name in others[:MOST] if (found := course(name, records)) is not None]
        return {
            "said": said,
            "usual": drawn,
            "more": max(0, len(others) - MOST),
            "drifts": list(self._drifts(product, records)),
        }

    def _drifts(self, product: str, records: Sequence[Record]) -> Iterator[DriftPlot]:
        *history, record = records
        feedback = self.services.incidents.feedback(product)
        for column, sketch in sorted(record.sketches.items()):
            before = add(compared(record, history, column, feedback))
            numeric = is_numeric(record, column)
            found = drift(before, sketch, numeric=numeric)
            state = record.verdicts.get(DRIFT + column, {}).get("state", "learning")
            yield drift_plot(column, before, sketch, found, numeric=numeric, state=state)


def _said(records: Sequence[Record]) -> Iterator[Said]:
    """What stood out in the newest record, the gravest first."""
    verdicts = records[-1].verdicts
    unusual = [name for name, verdict in verdicts.items() if verdict["state"] in UNUSUAL]
    for name in sorted(unusual, key=lambda name: (verdicts[name]["state"] != "fail", name))[:MOST]:
        yield Said(name, verdicts[name]["state"], verdicts[name].get("note", ""), course(name, records))


def _in_order(record: Record) -> list[str]:
    """Names of the numbers of the data; what is about the whole snapshot first."""
    return sorted(record.numbers.keys() - {JUDGING}, key=lambda name: (":" in name, name))


def routes(services: Services) -> list[OwnRoute]:
    """The pages of this room."""
    room = Measured(services)
    return [room.get("/observability/{product}/{zone}/{dataset}", room.dataset, Action.INCIDENT_READ)]
