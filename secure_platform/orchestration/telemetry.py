"""What a Prometheus server is told: counts, ages and states; no data value, and nobody's name.

A label has as many values as the project has products, datasets and jobs: what people or data name never
becomes one.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import dagster as dg

from secure_platform.control.database import utc_now
from secure_platform.errors import IntegrityError
from secure_platform.monitor.anomaly import UNUSUAL
from secure_platform.monitor.deeds import PLATFORM
from secure_platform.monitor.history import delivered
from secure_platform.monitor.incident import Incident
from secure_platform.orchestration.automation import build_job_name, deploy_job_name
from secure_platform.orchestration.exposition import Family, Key, Sample, samples
from secure_platform.orchestration.steps.observe import JUDGING, freshness_hours
from secure_platform.orchestration.steps.production import ZONE as PRODUCTION
from secure_platform.orchestration.steps.production import recorded_places
from secure_platform.orchestration.tally import Tally
from secure_platform.orchestration.telemetry_outcomes import outcomes
from secure_platform.services import Services
from secure_platform.store.snapshot import Zone

RUNS_OF: Final = timedelta(days=1)


def measure(services: Services, instance: dg.DagsterInstance, tally: Tally) -> list[Family]:
    """Everything, as it is now."""
    now = utc_now()
    return [
        *_incidents(services, now),
        *_data(services, now),
        _releases(services),
        _runs(services, instance, now),
        *_platform(services, now),
        *outcomes(services, tally, now),
    ]


def _incidents(services: Services, now: datetime) -> Iterator[Family]:
    """What is wrong; of incidents that cannot be believed nothing is told but that."""
    tampered = 0.0
    try:
        services.incidents.require_genuine()
        yield from _believed(services, now)
    except IntegrityError:
        tampered = 1.0
    about = "Whether an incident is not the one that was recorded last, or one is missing."
    yield Family("incidents_tampered", about, samples((), {(): tampered}))


def _believed(services: Services, now: datetime) -> Iterator[Family]:
    # Denials of the platform itself are incidents of it.
    products = [*services.products, PLATFORM]
    incidents = [each for each in services.incidents.all() if each.product in products]
    unsettled = Counter(
        (each.product, each.kind, each.severity, each.state) for each in incidents if each.unsettled
    )
    yield Family(
        "incidents",
        "Incidents that nobody has settled.",
        samples(("product", "kind", "severity", "state"), unsettled),
    )
    blocked = {(name,): services.incidents.blocks(name) for name in services.products}
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
    judging: dict[tuple[str, ...], float] = {}
    judged: dict[tuple[str, ...], float] = {}
    tampered: dict[tuple[str, ...], float] = {}
    unusual: Counter[tuple[str, ...]] = Counter()
    for product, zone, dataset in _places(services):
        try:
            came = services.metrics.arrivals(product, dataset, zone)
            record = services.metrics.find(came[-1].snapshot_id) if came else None
        except IntegrityError:
            tampered[product, zone, dataset] = 1.0
            continue
        tampered[product, zone, dataset] = 0.0
        if not came:
            continue
        ages[product, zone, dataset] = (now - delivered(came)[-1]).total_seconds()
        if record and JUDGING in record.numbers:
            judging[product, zone, dataset] = record.numbers[JUDGING]
            judged[product, zone, dataset] = float(len(record.verdicts))
        states = [verdict["state"] for verdict in record.verdicts.values()] if record else []
        unusual.update((product, zone, dataset, state) for state in states if state in UNUSUAL)
    place = ("product", "zone", "dataset")
    about = "Whether the newest record of the metrics history is not the one that was written."
    yield Family("history_tampered", about, samples(place, tampered))
    yield Family("data_age_seconds", "Since the newest data that were new.", samples(place, ages))
    promised = {each: seconds for each, seconds in _promises(services) if each in ages}
    yield Family("data_promised_seconds", "How old data may be, by their contract.", samples(place, promised))
    yield Family("detector_seconds", "How long it took to judge the newest data.", samples(place, judging))
    yield Family("judged_metrics", "How many metrics of the newest data were judged.", samples(place, judged))
    yield Family(
        "unusual_metrics",
        "Metrics of the newest data that are unusual.",
        samples((*place, "state"), unusual),
    )


def _promises(services: Services) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, product in services.products.items():
        hours = {(str(Zone.RAW), each.dataset): each.freshness_hours for each in product.contracts.values()}
        strictest = freshness_hours(product)
        hours |= {(PRODUCTION, table): strictest for table in product.models}
        yield from (((name, *place), 3600 * most) for place, most in hours.items() if most is not None)


def _places(services: Services) -> Iterator[tuple[str, str, str]]:
    for name, product in services.products.items():
        yield from ((name, *place) for place in recorded_places(product))


def _releases(services: Services) -> Family:
    known = [each for each in services.gate.list() if each.product in services.products]
    counted = Counter((each.product, str(each.state)) for each in known)
    return Family("releases", "Releases by state.", samples(("product", "state"), counted))


def _runs(services: Services, instance: dg.DagsterInstance, now: datetime) -> Family:
    jobs = {of(name) for name in services.products for of in (build_job_name, deploy_job_name)}
    runs = (each.dagster_run for each in instance.get_run_records(dg.RunsFilter(created_after=now - RUNS_OF)))
    counted = Counter((run.job_name, run.status.value.lower()) for run in runs if run.job_name in jobs)
    return Family("runs", "Runs of the last 24 hours.", samples(("job", "status"), counted))


def _platform(services: Services, now: datetime) -> Iterator[Family]:
    notices = {(state,): count for state, count in services.notices.counts().items()}
    yield Family("notices", "Notices by what became of them.", samples(("state",), notices))
    last = services.watchdog.last()
    if last is not None:
        silence = {(): (now - last).total_seconds()}
        yield Family("daemon_silence_seconds", "Since the daemon gave a sign of life.", samples((), silence))
    size = samples((), {(): services.audit.size()})
    yield Family("audit_entries_total", "Entries of the audit log.", size, "counter")


def _by_product(values: Mapping[Key, float]) -> list[Sample]:
    return samples(("product",), values)
