"""The metrics history: one record per snapshot in the control database, written by the step that made it.

A record contains numbers, counts and names of columns. What was said about a snapshot when it was new is
never changed. Records are verified as they are read (`chain.py`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import insert, select, update

from secure_platform.audit.log import AuditLog
from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import profile
from secure_platform.monitor.anomaly import HISTORY
from secure_platform.monitor.chain import ACTION, SEAL, Chain, Place, Row, subject_of
from secure_platform.monitor.distribution import Sketch
from secure_platform.monitor.incident import MONITOR

REFERENCE: Final = 14
"""Snapshots whose sketches together are what a new one is compared with."""
REPEATS: Final = "repeats"
"""The number of a snapshot that says whether another source had the content of the one before."""
SAME_CONTENT: Final = "same_content"
"""The same, whatever made it another snapshot: a contract that was edited, too. Neither is judged itself."""
_PLACE: Final = ("product", "dataset", "zone")
_BY_TIME: Final = select(profile).order_by(profile.c.recorded_at, profile.c.snapshot_id)


@dataclass(frozen=True)
class Record:
    """One snapshot in the history.

    Attributes:
        numbers: Metric → value.
        sketches: Column → counts by bin.
        columns: Column → type.
        findings: Column → info type → count.
        verdicts: Metric → what was said about it (see `monitor.watch.Observation`).
    """

    product: str
    dataset: str
    zone: str
    snapshot_id: str
    numbers: Mapping[str, float]
    sketches: Mapping[str, Sketch] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    recorded_at: datetime = field(default_factory=utc_now)


class Arrival(NamedTuple):
    """When a snapshot came, and whether it has other content than the one before."""

    snapshot_id: str
    at: datetime
    new: bool


def arrival(record: Record) -> Arrival:
    """When the snapshot of a record came."""
    numbers = record.numbers
    return Arrival(
        record.snapshot_id, record.recorded_at, new=not (numbers.get(SAME_CONTENT) or numbers.get(REPEATS))
    )


def delivered(came: Iterable[Arrival]) -> list[datetime]:
    """When there was other content than before, oldest first; if there never was, when the oldest came."""
    known = [*came]
    return [each.at for each in known if each.new] or [each.at for each in known[:1]]


class MetricsHistory:
    """Records of snapshots, in the control database; a snapshot has one.

    Args:
        database: Holds them.
        chain: Seals and verifies them.
        audit: Announces them.
    """

    def __init__(self, database: ControlDatabase, chain: Chain, audit: AuditLog) -> None:
        self._database = database
        self._chain = chain
        self._audit = audit

    def add(self, record: Record) -> None:
        """Keep the record of a snapshot; one that it already has stays as it is."""
        if self.find(record.snapshot_id) is not None:
            return
        said = {each.name: getattr(record, each.name) for each in fields(Record)}
        place = (record.product, record.dataset, record.zone)
        with (
            self._audit.effect(ACTION, actor=MONITOR, subject=subject_of(place)) as outcome,
            self._database.write() as connection,
        ):
            row = self._chain.sealed(connection, said)
            known = select(profile.c.seal).where(profile.c.snapshot_id == record.snapshot_id)
            other = connection.scalar(known)
            if other is None:
                connection.execute(insert(profile).values(**row))
            outcome[SEAL] = other or row[SEAL]

    def adopt(self) -> int:
        """Seal all that is there, in the order of time: for a home that was made before there were seals.

        Returns:
            How many records.
        """
        with self._database.write() as connection:
            rows = [dict(row._mapping) for row in connection.execute(_BY_TIME)]  # noqa: SLF001 - SQLAlchemy's documented access to a row by name
            connection.execute(update(profile).values(sequence=None, previous=None, content=None, seal=None))
            seals: dict[Place, str] = {}
            for row in rows:
                said = {each.name: row[each.name] for each in fields(Record)}
                sealed = self._chain.sealed(connection, said)
                where = profile.c.snapshot_id == row["snapshot_id"]
                connection.execute(update(profile).where(where).values(**sealed))
                seals[row["product"], row["dataset"], row["zone"]] = sealed[SEAL]
        for place, seal in seals.items():
            with self._audit.effect(ACTION, actor=MONITOR, subject=subject_of(place)) as outcome:
                outcome[SEAL] = seal
        return len(rows)

    def find(self, snapshot_id: str) -> Record | None:
        """The record of a snapshot.

        Raises:
            IntegrityError: If it is not what was written.
        """
        with self._database.read() as connection:
            row = connection.execute(select(profile).where(profile.c.snapshot_id == snapshot_id)).first()
        if row is None:
            return None
        self._chain.require([row._asdict()], whole=False)
        return _record(row._asdict())

    def require_whole(self, product: str, dataset: str, zone: str) -> None:
        """Refuse a history that lacks its end: asked before something is judged by it.

        Raises:
            IntegrityError: If the last record that the audit log knows is not there.
        """
        query = (
            select(profile.c.seal)
            .where(profile.c.product == product, profile.c.dataset == dataset, profile.c.zone == zone)
            .order_by(profile.c.sequence.desc())
            .limit(HISTORY)
        )
        with self._database.read() as connection:
            seals: list[str] = list(connection.scalars(query))
        self._chain.require_newest((product, dataset, zone), seals)

    def before(
        self,
        product: str,
        dataset: str,
        zone: str,
        *,
        snapshot_id: str = "",
        until: datetime | None = None,
        limit: int = HISTORY,
    ) -> list[Record]:
        """The newest records of a dataset, oldest first; the sketches of the last few only.

        Args:
            product: The data product.
            dataset: The dataset.
            zone: The zone.
            snapshot_id: A snapshot that is left out: what is under test is never in its own training.
            until: Only those that were recorded by then, if it is given.
            limit: How many at most.

        Raises:
            IntegrityError: If they are not what was written.
        """
        here = (profile.c.product == product) & (profile.c.dataset == dataset) & (profile.c.zone == zone)
        if until is not None:
            here &= profile.c.recorded_at <= until
        slim = [column for column in profile.c if column.name != "sketches"]
        newest = profile.c.sequence.desc()
        with self._database.read() as connection:
            found = connection.execute(select(*slim).where(here).order_by(newest).limit(limit + 1)).all()
            sketches: dict[str, Any] = {
                row.snapshot_id: row.sketches
                for row in connection.execute(
                    select(profile.c.snapshot_id, profile.c.sketches)
                    .where(here)
                    .order_by(newest)
                    .limit(REFERENCE + 1)
                )
            }
        rows = [
            {
                **row._asdict(),
                **({"sketches": sketches[row.snapshot_id]} if row.snapshot_id in sketches else {}),
            }
            for row in found
        ]
        self._chain.require(rows, whole=True)
        if rows and len(rows) <= limit:
            self._chain.require_first(rows[-1])
        others = [row for row in rows if row["snapshot_id"] != snapshot_id][:limit]
        kept = {row["snapshot_id"] for row in others[:REFERENCE]}
        records = [
            _record({**row, "sketches": row["sketches"] if row["snapshot_id"] in kept else {}})
            for row in others
        ]
        return sorted(records, key=lambda each: each.recorded_at)

    def arrivals(
        self, product: str, dataset: str, zone: str, *, limit: int | None = HISTORY
    ) -> list[Arrival]:
        """When the newest snapshots of a dataset came, oldest first; all without a limit.

        Raises:
            IntegrityError: If the newest record is not what was written, or one has no seal; without a limit,
                if any of them is not.
        """
        if limit is None:
            return self._all_arrivals((product, dataset, zone))
        here = (profile.c.product == product) & (profile.c.dataset == dataset) & (profile.c.zone == zone)
        same = [profile.c.numbers[name].as_float() for name in (SAME_CONTENT, REPEATS)]
        query = (
            select(profile.c.snapshot_id, profile.c.recorded_at, profile.c.seal, *same)
            .where(here)
            .order_by(profile.c.recorded_at.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        unsealed = [row.snapshot_id for row in rows if row.seal is None]
        if rows:
            # What is late hangs on the newest; to verify all of them every minute would take too long.
            for snapshot_id in (rows[0].snapshot_id, *unsealed[:1]):
                self.find(snapshot_id)
        return [
            Arrival(row.snapshot_id, as_utc(row.recorded_at), new=not any(row[3:])) for row in reversed(rows)
        ]

    def _all_arrivals(self, place: Place) -> list[Arrival]:
        """Every record is verified, but for its sketches."""
        slim = [column for column in profile.c if column.name != "sketches"]
        here = [profile.c[name] == each for name, each in zip(_PLACE, place, strict=True)]
        query = select(*slim).where(*here).order_by(profile.c.sequence.desc())
        with self._database.read() as connection:
            rows = [row._asdict() for row in connection.execute(query)]
        self._chain.require(rows, whole=True)
        if rows:
            self._chain.require_first(rows[-1])
        self._chain.require_newest(place, [row[SEAL] for row in rows])
        came = [arrival(_record({**row, "sketches": {}})) for row in rows]
        return sorted(came, key=lambda each: each.at)

    def chances(self, product: str, since: datetime) -> list[float]:
        """How likely by chance everything was that was judged of a product since then.

        Raises:
            IntegrityError: If a record is not what was written.
        """
        slim = [column for column in profile.c if column.name != "sketches"]
        query = select(*slim).where(profile.c.product == product, profile.c.recorded_at >= since)
        with self._database.read() as connection:
            rows = [row._asdict() for row in connection.execute(query)]
        self._chain.require(rows, whole=False)
        return [
            verdict["chance"]
            for row in rows
            for verdict in row["verdicts"].values()
            if verdict["state"] != "learning"
        ]


def _record(row: Row) -> Record:
    said = {each.name: row[each.name] for each in fields(Record)}
    return Record(**{**said, "recorded_at": as_utc(said["recorded_at"])})
