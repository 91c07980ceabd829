"""Months of two products, a delivery a day through the real stages: what is told when, and what is found.

New York's taxi trips (three months, a sample of about 330 a day) and an online shop (twelve days) are pulled,
validated, scanned, protected and judged day by day; nobody settles anything. Faults are tried on some days,
before what really came on that day; their records are taken out again. What was looked into and found to be
so is listed in `months_explained.yaml`; every other alert counts as false.
"""

import gzip
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import polars as pl
import yaml
from sqlalchemy import delete

from benchmarks.anomalies import test_data
from benchmarks.bench import Bench, Figure
from benchmarks.measure import Stopwatch
from benchmarks.shop import made
from secure_platform.control.tables import profile
from secure_platform.monitor.anomaly import State
from secure_platform.monitor.chain import Chain
from secure_platform.monitor.freshness import judge_freshness
from secure_platform.monitor.history import MetricsHistory, delivered
from secure_platform.monitor.incident import Incident, Severity, Sighting, begin, join
from secure_platform.orchestration.steps.context import StepContext, StepOutcome
from secure_platform.orchestration.steps.observe import (
    MONITORED,
    PROTECTED,
    RAW,
    Again,
    keep,
    said_of,
    terms_of,
)
from secure_platform.orchestration.steps.protect import protect
from secure_platform.orchestration.steps.pull import pull
from secure_platform.orchestration.steps.reports import sighting

EXPLAINED: Final = Path(__file__).with_name("months_explained.yaml")
ARRIVES: Final = time(10, tzinfo=UTC)
"""The morning after, when a day is delivered; three hours later somebody looks whether it came."""
LOOKED: Final = timedelta(hours=3)
DAY: Final = timedelta(days=1)
MONTH: Final = 365.25 / 12
WANTED: Final = 0.95
ENOUGH: Final = 5
"""Trials that tell something."""
CHECKS: Final = {"raw": RAW, "protected": PROTECTED}


@dataclass(frozen=True)
class Given:
    """A product and what came every day.

    Attributes:
        number: Whose unit a fault changes, and that another one empties.
        moment: The column of the time of day.
        first, every: On which days faults are tried.
    """

    product: str
    dataset: str
    days: Mapping[date, pl.DataFrame]
    number: str
    moment: str
    first: int
    every: int

    @property
    def calendar(self) -> list[date]:
        """Every day from the first to the last."""
        first, last = min(self.days), max(self.days)
        return [first + DAY * place for place in range((last - first).days + 1)]


Fault = Callable[[Given, pl.DataFrame], pl.DataFrame]


def _half(given: Given, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col(given.moment).str.slice(11, 2).cast(pl.Int32) < 12)


def _unit(given: Given, frame: pl.DataFrame) -> pl.DataFrame:
    hundred = (pl.col(given.number).cast(pl.Float64) * 100).cast(pl.String)
    return frame.with_columns(hundred.alias(given.number))


def _empty(given: Given, frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.lit(None, pl.String).alias(given.number))


def _twice(_: Given, frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame])


FAULTS: Final[Mapping[str, Fault]] = {
    "half a day missing": _half,
    "unit x 100": _unit,
    "a column empty": _empty,
    "loaded twice": _twice,
}
STALE: Final = "the day before again"


class Undone(MetricsHistory):
    """A history from which the simulation takes records out again: the log would, rightly, miss them."""

    def require_whole(self, product: str, dataset: str, zone: str) -> None:
        """Miss nothing."""


class Simulation:
    """One product in a home of its own, whose history is dated as the data are.

    Args:
        folder: Where the home is made.
        given: The product and its days.
    """

    def __init__(self, folder: Path, given: Given) -> None:
        self.given = given
        self._source = folder / "source"
        self._source.mkdir(parents=True)
        contract = Path(__file__).with_name(f"{given.dataset}.odcs.yaml")
        services, self._product = made(folder, given.product, contract)
        services.metrics = Undone(services.database, Chain(services.keys, services.audit), services.audit)
        self._services = services
        self._terms = terms_of(self._product.contracts[given.dataset])
        self._incident: Incident | None = None
        self.notices = 0

    def deliver(self, day: date, frame: pl.DataFrame) -> tuple[list[Sighting], list[str]]:
        """Let a day come in; returns what its checks say, and the ids of what is new."""
        frame.write_csv(self._source / f"{self.given.dataset}.csv")
        context = StepContext(self._services, self._product, "months", "service:scheduler", self._source)
        pulled = pull(context, self.given.dataset)
        if pulled.snapshot.reused:
            return self._again(day, pulled), []
        seen, new = self._judged(day, pulled), [pulled.snapshot.snapshot_id]
        if pulled.snapshot.verdicts["validate"].passed:
            protected = protect(context, self.given.dataset)
            seen += self._judged(day, protected)
            new.append(protected.snapshot.snapshot_id)
        return seen, new

    def try_out(self, day: date, frame: pl.DataFrame) -> list[Sighting]:
        """The same, without a trace in the history."""
        seen, new = self.deliver(day, frame)
        self._forget(new)
        return seen

    def late(self, day: date) -> list[Sighting]:
        """What is said three hours after the usual moment, if nothing new came then."""
        came = self._services.metrics.arrivals(self.given.product, self.given.dataset, "raw")
        now = datetime.combine(day + DAY, ARRIVES) + LOOKED
        zone = ZoneInfo(self._terms.monitor.timezone)
        arrivals = delivered(came)
        found = judge_freshness(arrivals, now, promised=self._terms.promised, zone=zone)
        wrong: dict[State, Severity] = {"warn": "warn", "fail": "fail"}
        state = wrong.get(found.state)
        place = ("raw", self.given.dataset, "freshness")
        return [Sighting(*place, came[-1].snapshot_id, state, metrics=("freshness",))] if state else []

    def take_in(self, day: date, seen: Sequence[Sighting]) -> None:
        """Let the incident of the product grow, and count what people are told: opened, or worse."""
        now, known = datetime.combine(day + DAY, ARRIVES), self._incident
        wrong = [each for each in seen if each.state is not None]
        if known is not None and known.unsettled:
            self._incident = join(known, seen, now)
            self.notices += self._incident.revision > known.revision
        elif wrong:
            self._incident = begin("simulated", self.given.product, wrong, now)
            self.notices += 1

    def _judged(self, day: date, outcome: StepOutcome) -> list[Sighting]:
        """Judge again what the step has just recorded, as of the morning after the day."""
        metrics, snapshot = self._services.metrics, outcome.snapshot
        record = metrics.find(snapshot.snapshot_id)
        assert record is not None
        self._forget([snapshot.snapshot_id])
        at = datetime.combine(day + DAY, ARRIVES)
        keep(self._services, replace(record, verdicts={}, recorded_at=at), self._terms)
        zone = str(snapshot.zone)
        said = said_of(metrics, snapshot.snapshot_id, self._terms, CHECKS[zone])
        place = (zone, snapshot.dataset, snapshot.snapshot_id)
        others = [check for check in outcome.checks if check.name not in MONITORED]
        return [sighting(place, check) for check in (*said, *others)]

    def _again(self, day: date, outcome: StepOutcome) -> list[Sighting]:
        """What is said on the morning after the day about a file that was written again with what it held."""
        snapshot, now = outcome.snapshot, datetime.combine(day + DAY, ARRIVES)
        metrics = self._services.metrics
        arrived = delivered(metrics.arrivals(snapshot.product, snapshot.dataset, str(snapshot.zone)))
        again = Again(now, arrived, written=datetime.now(UTC))
        said = said_of(metrics, snapshot.snapshot_id, self._terms, ("freshness",), again=again)
        place = ("raw", snapshot.dataset, snapshot.snapshot_id)
        return [sighting(place, check) for check in said]

    def _forget(self, snapshots: Sequence[str]) -> None:
        with self._services.database.write() as connection:
            connection.execute(delete(profile).where(profile.c.snapshot_id.in_(snapshots)))
        self._services.metrics.adopt()


def run(bench: Bench) -> list[Figure]:
    """Each product in turn."""
    figures = []
    for product in PRODUCTS:
        measured = bench.measure(
            f"months of {product}",
            "months:simulated",
            folder=str(bench.folder / product),
            product=product,
            days=bench.scale.days,
        )
        detail = measured.detail
        months = detail["days"] / MONTH
        figures += [
            Figure(f"days simulated, {product}", detail["days"], ""),
            Figure(f"alerts, {product}", len(detail["told"]) / months, "per month"),
            Figure(f"alerts told to people, {product}", detail["notices"] / months, "per month"),
            Figure(f"false alarms, {product}", len(detail["false"]) / months, "per month"),
            *_found(product, detail),
        ]
    return figures


def _found(product: str, detail: Mapping[str, Any]) -> Iterator[Figure]:
    for name, tried in detail["tried"].items():
        if tried:
            share = detail["found"][name] / tried
            target = WANTED if tried >= ENOUGH else None
            said = f"found of {tried} tried, {name}, {product}"
            yield Figure(said, share, "share", "", target, at_least=True)


def simulated(watch: Stopwatch, folder: str, product: str, days: int) -> dict[str, Any]:
    """All days of a product, one after the other, with every fault tried in between."""
    given = PRODUCTS[product]()
    simulation = Simulation(Path(folder), given)
    explained = yaml.safe_load(EXPLAINED.read_text(encoding="utf-8"))[product] or {}
    told: list[tuple[date, Sighting]] = []
    tried: dict[str, list[bool]] = {name: [] for name in (*FAULTS, STALE)}
    with watch:
        for place, day in enumerate(given.calendar[:days]):
            seen: list[Sighting] = []
            if day in given.days:
                if place >= given.first and place % given.every == 0:
                    _try_all(simulation, day, tried)
                seen, _ = simulation.deliver(day, given.days[day])
            seen += simulation.late(day)
            simulation.take_in(day, seen)
            told += [(day, each) for each in seen if each.state is not None]
    return {
        "days": len(given.calendar[:days]),
        "notices": simulation.notices,
        "told": [_words(day, each) for day, each in told],
        "false": [
            _words(day, each) for day, each in told if not {*each.metrics} & {*explained.get(str(day), ())}
        ],
        "tried": {name: len(found) for name, found in tried.items()},
        "found": {name: sum(found) for name, found in tried.items()},
    }


def _words(day: date, seen: Sighting) -> str:
    return f"{day} {seen.zone} {seen.check} {seen.state}: {', '.join(seen.metrics)}"


def _try_all(simulation: Simulation, day: date, tried: Mapping[str, list[bool]]) -> None:
    given = simulation.given
    for name, fault in FAULTS.items():
        seen = simulation.try_out(day, fault(given, given.days[day]))
        tried[name].append(_finds(name, given, seen))
    before = given.days.get(day - DAY)
    if before is not None:
        again, _ = simulation.deliver(day, before)
        tried[STALE].append(_finds(STALE, given, [*again, *simulation.late(day)]))


def _finds(name: str, given: Given, seen: Sequence[Sighting]) -> bool:
    """Whether what is told is about the fault."""
    about = {
        "half a day missing": {"rows", f"hours:{given.moment}"},
        "unit x 100": {f"{kind}:{given.number}" for kind in ("mean", "p05", "p50", "p95", "drift")},
        "a column empty": {f"null_rate:{given.number}"},
        "loaded twice": {"rows", "duplicate_rate", "repeated_rate"},
        STALE: {"freshness"},
    }[name]
    return any(about & {*each.metrics} for each in seen if each.state is not None)


def _trips() -> Given:
    folder = test_data() / "ecommerce" / "taxi_monthly"
    months = pl.concat([_text(path) for path in sorted(folder.glob("yellow_*.csv.gz"))])
    day = pl.col("pickup_datetime").str.slice(0, 10)
    parts = months.with_columns(day.alias("day")).partition_by("day", as_dict=True, include_key=False)
    # One trip of the sample is dated weeks after its month.
    days = {date.fromisoformat(str(key[0])): part for key, part in parts.items() if part.height > 1}
    return Given("city", "trips", days, "fare_amount", "pickup_datetime", first=3, every=6)


def _sales() -> Given:
    folder = test_data() / "ecommerce" / "online_retail_by_day"
    days = {date.fromisoformat(path.name[:10]): _text(path) for path in folder.glob("*.csv.gz")}
    return Given("retail", "sales", days, "UnitPrice", "InvoiceDate", first=3, every=1)


PRODUCTS: Final[Mapping[str, Callable[[], Given]]] = {"city": _trips, "retail": _sales}


def _text(path: Path) -> pl.DataFrame:
    with gzip.open(path) as file:
        return pl.read_csv(file.read(), infer_schema=False)
