"""The metrics history: one record per snapshot; the row counts that were kept before move into it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KEY = ("snapshot_id", "product", "dataset", "zone")


def upgrade() -> None:
    """Create the table, and move into it what is known."""
    profile = op.create_table(
        "profile",
        sa.Column("snapshot_id", sa.String(length=32), nullable=False),
        sa.Column("product", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("zone", sa.String(length=16), nullable=False),
        sa.Column("numbers", sa.JSON(), nullable=False),
        sa.Column("sketches", sa.JSON(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("verdicts", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("snapshot_id", name=op.f("pk_profile")),
    )
    op.create_index("ix_profile_history", "profile", ["product", "dataset", "zone", "recorded_at"])
    old = sa.table(
        "metric",
        *map(sa.column, (*_KEY, "name", "value")),
        sa.column("recorded_at", sa.DateTime(timezone=True)),
    )
    nothing: dict[str, object] = {"sketches": {}, "columns": {}, "findings": {}, "verdicts": {}}
    moved = [
        {
            **{name: getattr(row, name) for name in (*_KEY, "recorded_at")},
            "numbers": {"rows": row.value},
            **nothing,
        }
        for row in op.get_bind().execute(sa.select(old).where(old.c.name == "rows"))
    ]
    if moved:
        op.bulk_insert(profile, moved)
    op.drop_table("metric")
