"""The metrics history: one record per snapshot in the control database, written by the step that made it.

A record holds numbers, counts and names of columns; what was said about it when it was new stays as it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, insert, select

from secure_platform.control.database import ControlDatabase, as_utc, utc_now
from secure_platform.control.tables import profile
from secure_platform.monitor.anomaly import HISTORY
from secure_platform.monitor.distribution import Sketch

REFERENCE: Final = 14
"""Snapshots whose sketches together are what a new one is compared with."""


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


class MetricsHistory:
    """Records of snapshots, in the control database; a snapshot has one."""

    def __init__(self, database: ControlDatabase) -> None:
        self._database = database

    def add(self, record: Record) -> None:
        """Keep the record of a snapshot; one that it already has stays as it is."""
        with self._database.write() as connection:
            known = select(profile.c.snapshot_id).where(profile.c.snapshot_id == record.snapshot_id)
            if connection.scalar(known) is None:
                connection.execute(
                    insert(profile).values(
                        {column.name: getattr(record, column.name) for column in profile.columns}
                    )
                )

    def find(self, snapshot_id: str) -> Record | None:
        """The record of a snapshot."""
        with self._database.read() as connection:
            row = connection.execute(select(profile).where(profile.c.snapshot_id == snapshot_id)).first()
        return _record(row) if row is not None else None

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
        """
        here = (
            (profile.c.product == product)
            & (profile.c.dataset == dataset)
            & (profile.c.zone == zone)
            & (profile.c.snapshot_id != snapshot_id)
        )
        if until is not None:
            here &= profile.c.recorded_at <= until
        slim = [column for column in profile.c if column.name != "sketches"]
        newest = profile.c.recorded_at.desc()
        with self._database.read() as connection:
            rows = connection.execute(select(*slim).where(here).order_by(newest).limit(limit)).all()
            sketches: dict[str, Any] = {
                row.snapshot_id: row.sketches
                for row in connection.execute(
                    select(profile.c.snapshot_id, profile.c.sketches)
                    .where(here)
                    .order_by(newest)
                    .limit(REFERENCE)
                )
            }
        return [_record(row, sketches.get(row.snapshot_id, {})) for row in reversed(rows)]

    def arrivals(
        self, product: str, dataset: str, zone: str, *, limit: int | None = HISTORY
    ) -> list[tuple[str, datetime]]:
        """When the newest snapshots of a dataset came, oldest first, with their ids; all without a limit."""
        query = (
            select(profile.c.snapshot_id, profile.c.recorded_at)
            .where(profile.c.product == product, profile.c.dataset == dataset, profile.c.zone == zone)
            .order_by(profile.c.recorded_at.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [(row.snapshot_id, as_utc(row.recorded_at)) for row in reversed(rows)]

    def chances(self, product: str, since: datetime) -> list[float]:
        """How likely by chance everything was that was judged of a product since then."""
        query = select(profile.c.verdicts).where(profile.c.product == product, profile.c.recorded_at >= since)
        with self._database.read() as connection:
            found: list[dict[str, dict[str, Any]]] = list(connection.scalars(query))
        return [
            verdict["chance"]
            for verdicts in found
            for verdict in verdicts.values()
            if verdict["state"] != "learning"
        ]


def _record(row: Row[Any], sketches: Mapping[str, Sketch] | None = None) -> Record:
    fields = row._asdict()
    if sketches is not None:
        fields["sketches"] = sketches
    return Record(**{**fields, "recorded_at": as_utc(fields["recorded_at"])})
