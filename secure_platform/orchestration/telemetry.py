"""What a Prometheus server is told: counts, ages and states; no data value, and nobody's name.

A label has as many values as the project has products, datasets and jobs: what people or data name never
becomes one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeVar

import dagster as dg

from secure_platform.control.database import utc_now
from secure_platform.monitor.anomaly import UNUSUAL
from secure_platform.monitor.incident import Incident
from secure_platform.orchestration.automation import build_job_name, deploy_job_name
from secure_platform.orchestration.steps.production import recorded_places
from secure_platform.services import Services

PREFIX: Final = "secure_platform_"
RUNS_OF: Final = timedelta(days=1)
_ESCAPED: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})

Labels = Mapping[str, str]
Sample = tuple[Labels, float]
Key = TypeVar("Key", bound=tuple[str, ...])


@dataclass(frozen=True)
class Family:
    """A metric with all its samples."""

    name: str
    text: str
    samples: Sequence[Sample]
    kind: Literal["gauge", "counter"] = "gauge"

    def lines(self) -> Iterator[str]:
        """In the text format of Prometheus."""
        name = PREFIX + self.name
        yield f"# HELP {name} {self.text}"
        yield f"# TYPE {name} {self.kind}"
        for labels, value in self.samples:
            said = ",".join(f'{key}="{text.translate(_ESCAPED)}"' for key, text in labels.items())
            yield f"{name}{{{said}}} {value:.17g}" if said else f"{name} {value:.17g}"


def exposition(families: Iterable[Family]) -> str:
    """The text that Prometheus scrapes."""
    return "".join(f"{line}\n" for family in families for line in family.lines())


def measure(services: Services, instance: dg.DagsterInstance) -> list[Family]:
    """Everything, as it is now."""
    now = utc_now()
    return [
        *_incidents(services, now),
        *_data(services, now),
        _releases(services),
        _runs(services, instance, now),
        *_platform(services, now),
    ]


def _incidents(services: Services, now: datetime) -> Iterator[Family]:
    products = services.products
    incidents = [each for each in services.incidents.all() if each.product in products]
    unsettled = Counter(
        (each.product, each.kind, each.severity, each.state) for each in incidents if each.unsettled
    )
    yield Family(
        "incidents",
        "Incidents that nobody has settled.",
        _samples(("product", "kind", "severity", "state"), unsettled),
    )
    blocked = {(name,): services.incidents.blocks(name) for name in products}
    yield Family("deployments_blocked", "Whether an incident stops deployments.", _by_product(blocked))
    oldest = {(name,): 0.0 for name in products}
    for each in incidents:
        if each.state == "open":
            age = (now - each.opened_at).total_seconds()
            oldest[each.product,] = max(oldest[each.product,], age)
    yield Family(
        "incident_oldest_seconds",
        "Age of the oldest incident that nobody has acknowledged.",
        _by_product(oldest),
    )
    yield from _containment(products, incidents)


def _containment(products: Iterable[str], incidents: Iterable[Incident]) -> Iterator[Family]:
    """How long it took until somebody had looked; what ended by itself before does not count."""
    seconds, looks = ({(name,): 0.0 for name in products} for _ in range(2))
    for each in incidents:
        if each.contained_at is not None:
            seconds[each.product,] += (each.contained_at - each.opened_at).total_seconds()
            looks[each.product,] += 1
    about = "Seconds until a person had acknowledged or settled an incident"
    yield Family("containment_seconds_sum", f"{about}: all together.", _by_product(seconds), "counter")
    yield Family("containment_seconds_count", f"{about}: how many.", _by_product(looks), "counter")


def _data(services: Services, now: datetime) -> Iterator[Family]:
    ages: dict[tuple[str, ...], float] = {}
    unusual: Counter[tuple[str, ...]] = Counter()
    for product, zone, dataset in _places(services):
        came = services.metrics.arrivals(product, dataset, zone)
        if not came:
            continue
        snapshot_id, at = came[-1]
        ages[product, zone, dataset] = (now - at).total_seconds()
        record = services.metrics.find(snapshot_id)
        states = [verdict["state"] for verdict in record.verdicts.values()] if record else []
        unusual.update((product, zone, dataset, state) for state in states if state in UNUSUAL)
    place = ("product", "zone", "dataset")
    yield Family("data_age_seconds", "Since the newest data that were new.", _samples(place, ages))
    yield Family(
        "unusual_metrics",
        "Metrics of the newest data that are unusual.",
        _samples((*place, "state"), unusual),
    )


def _places(services: Services) -> Iterator[tuple[str, str, str]]:
    for name, product in services.products.items():
        yield from ((name, *place) for place in recorded_places(product))


def _releases(services: Services) -> Family:
    known = [each for each in services.gate.list() if each.product in services.products]
    counted = Counter((each.product, str(each.state)) for each in known)
    return Family("releases", "Releases by state.", _samples(("product", "state"), counted))


def _runs(services: Services, instance: dg.DagsterInstance, now: datetime) -> Family:
    jobs = {of(name) for name in services.products for of in (build_job_name, deploy_job_name)}
    runs = (each.dagster_run for each in instance.get_run_records(dg.RunsFilter(created_after=now - RUNS_OF)))
    counted = Counter((run.job_name, run.status.value.lower()) for run in runs if run.job_name in jobs)
    return Family("runs", "Runs of the last 24 hours.", _samples(("job", "status"), counted))


def _platform(services: Services, now: datetime) -> Iterator[Family]:
    notices = {(state,): count for state, count in services.notices.counts().items()}
    yield Family("notices", "Notices by what became of them.", _samples(("state",), notices))
    last = services.watchdog.last()
    if last is not None:
        silence = {(): (now - last).total_seconds()}
        yield Family("daemon_silence_seconds", "Since the daemon gave a sign of life.", _samples((), silence))
    size = _samples((), {(): services.audit.size()})
    yield Family("audit_entries_total", "Entries of the audit log.", size, "counter")


def _by_product(values: Mapping[Key, float]) -> list[Sample]:
    return _samples(("product",), values)


def _samples(names: Sequence[str], values: Mapping[Key, float]) -> list[Sample]:
    """Label values → value, in a fixed order."""
    return [(dict(zip(names, key, strict=True)), float(values[key])) for key in sorted(values)]
