"""A home that was made by an earlier release keeps what it knew."""

from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from secure_platform.control.database import MIGRATIONS, ControlDatabase
from secure_platform.monitor.history import MetricsHistory

WHEN = datetime(2026, 1, 5, 4, tzinfo=UTC)


def test_row_counts_of_before_begin_the_metrics_history(tmp_path: Path) -> None:
    database = ControlDatabase.at(tmp_path / "control.db")
    names = ("snapshot_id", "product", "dataset", "zone", "name", "value")
    metric = sa.table("metric", *map(sa.column, names), sa.column("recorded_at", sa.DateTime(timezone=True)))
    with database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        kept = dict(zip(names, ("s", "p", "stays", "raw", "rows", 40.0), strict=True))
        connection.execute(sa.insert(metric).values(**kept, recorded_at=WHEN))
    database.migrate()
    (record,) = MetricsHistory(database).before("p", "stays", "raw")
    assert (record.snapshot_id, record.numbers, record.recorded_at) == ("s", {"rows": 40.0}, WHEN)
